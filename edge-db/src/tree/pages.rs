//! redb's storage: pages in one file, a checksum for each block of 4 KiB in another.
//!
//! redb keeps checksums too, but compares them only when it walks the whole file. Here every block
//! that is read is compared, so that a damaged one is an error and never a wrong answer. The
//! checksums are in memory, 1 MiB for each GiB of data.
//!
//! After a write that the disk refused, redb answers no read any more that its cache does not hold.
//! So it is not told: from then on nothing it writes reaches the disk but stays in memory, and
//! whoever has it write asks [`Health`] whether it did, and opens the file again if not.
//!
//! redb never overwrites a page that the last durable commit needs, but for block 0, which has
//! checksums of its own: so a power cut between a block and its checksum concerns blocks only that
//! nobody reads.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};
use redb::StorageBackend;
use twox_hash::XxHash3_64;

use crate::disk::DiskFile;

const BLOCK_BYTES: usize = 4096;
const SUM_BYTES: usize = 4;

/// A block that is not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("data.redb is damaged at offset {offset}: restore a backup")]
pub(crate) struct DamagedBlock {
    offset: u64,
}

/// What became of the files.
#[derive(Debug)]
pub(super) struct Health {
    /// The first damaged block that was read.
    damage: Mutex<Option<DamagedBlock>>,
    has_failed: AtomicBool,
    is_closed: AtomicBool,
    /// Why the first write failed.
    failure: Mutex<Option<Arc<io::Error>>>,
    /// Told of a read that failed: redb refuses all others from then on.
    on_failed_read: Alarm,
}

/// Whom to tell.
#[derive(Clone)]
pub(crate) struct Alarm(Arc<dyn Fn() + Send + Sync>);

impl Alarm {
    pub(crate) fn new(sound: impl Fn() + Send + Sync + 'static) -> Alarm {
        Alarm(Arc::new(sound))
    }
}

impl std::fmt::Debug for Alarm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Alarm").finish_non_exhaustive()
    }
}

impl Health {
    pub(super) fn new(on_failed_read: Alarm) -> Health {
        Health {
            damage: Mutex::default(),
            has_failed: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            failure: Mutex::default(),
            on_failed_read,
        }
    }

    /// From here on another process may write to the files. redb would do so once more when its
    /// last view is gone, whenever that is.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.fail(io::Error::other("database is closed"));
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    pub(super) fn damage(&self) -> Option<DamagedBlock> {
        *self.damage.lock()
    }

    /// An error if something that redb wrote is not on the disk.
    pub(super) fn check(&self) -> Result<(), Arc<io::Error>> {
        if !self.has_failed.load(Ordering::Acquire) {
            return Ok(());
        }
        self.failure.lock().clone().map_or(Ok(()), Err)
    }

    /// Does what redb asks for, unless something failed before.
    fn attempt(&self, work: impl FnOnce() -> io::Result<()>) {
        if self.has_failed.load(Ordering::Acquire) {
            return;
        }
        if let Err(error) = work() {
            self.fail(error);
        }
    }

    fn read_failed(&self) {
        // Otherwise the file is about to be opened again, or has been.
        if !self.has_failed.load(Ordering::Acquire) {
            (self.on_failed_read.0)();
        }
    }

    /// From here on nothing more reaches the disk.
    pub(super) fn fail(&self, error: io::Error) {
        self.failure.lock().get_or_insert_with(|| Arc::new(error));
        self.has_failed.store(true, Ordering::Release);
    }
}

#[derive(Debug)]
pub(super) struct Pages {
    data: Arc<dyn DiskFile>,
    sums: Arc<dyn DiskFile>,
    /// The length that redb wants the data to have.
    len: RwLock<u64>,
    known: RwLock<Known>,
    /// What the disk refused, by block: redb reads what it wrote before it gives up. No more than
    /// the rest of one settling, for no other is begun.
    refused: RwLock<BTreeMap<usize, Vec<u8>>>,
    health: Arc<Health>,
}

#[derive(Debug)]
struct Known {
    /// By block; 0 where nothing was written.
    sums: Vec<u32>,
    /// Blocks whose checksums are not in the file yet.
    changed: BTreeSet<usize>,
}

impl Pages {
    pub(super) fn open(
        data: Arc<dyn DiskFile>,
        sums: Arc<dyn DiskFile>,
        health: Arc<Health>,
    ) -> io::Result<Pages> {
        let len = data.len()?;
        let blocks = blocks(len)?;
        let stored = usize::try_from(sums.len()?).map_err(io::Error::other)? / SUM_BYTES;
        let mut bytes = vec![0; stored.min(blocks) * SUM_BYTES];
        sums.read(0, &mut bytes)?;
        let mut known: Vec<u32> =
            bytes.as_chunks().0.iter().map(|sum| u32::from_le_bytes(*sum)).collect();
        known.resize(blocks, 0);
        let known = Known { sums: known, changed: BTreeSet::new() };
        Ok(Pages {
            data,
            sums,
            len: RwLock::new(len),
            known: RwLock::new(known),
            refused: RwLock::default(),
            health,
        })
    }

    fn damaged(&self, block: usize) -> io::Error {
        let damage = DamagedBlock { offset: (block * BLOCK_BYTES) as u64 };
        self.health.damage.lock().get_or_insert(damage);
        io::Error::new(io::ErrorKind::InvalidData, damage)
    }

    /// Reads as if the disk had taken everything.
    fn read_refused(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let refused = self.refused.read();
        // The file may not have grown as far.
        let there = self.data.len()?.saturating_sub(offset);
        let there = usize::try_from(there).unwrap_or(usize::MAX).min(out.len());
        if there > 0 {
            self.data.read(offset, &mut out[..there])?;
        }
        out[there..].fill(0);
        for (block, bytes) in (blocks(offset)?..).zip(out.chunks_mut(BLOCK_BYTES)) {
            if let Some(written) = refused.get(&block) {
                let both = written.len().min(bytes.len());
                bytes[..both].copy_from_slice(&written[..both]);
            }
        }
        Ok(())
    }

    fn read_compared(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.health.check().is_ok() {
            self.data.read(offset, out)?;
        } else {
            self.read_refused(offset, out)?;
        }
        let first = blocks(offset)?;
        let known = self.known.read();
        for (block, bytes) in (first..).zip(out.chunks_exact(BLOCK_BYTES)) {
            if block == 0 {
                continue;
            }
            let sum = known.sums.get(block).copied().unwrap_or_default();
            // What was never written is zeros; what was has a checksum, or lost it.
            let is_good = if sum == 0 {
                bytes.iter().all(|&byte| byte == 0)
            } else {
                sum == sum_of(block, bytes)
            };
            if !is_good {
                return Err(self.damaged(block));
            }
        }
        Ok(())
    }

    fn keep_refused(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut refused = self.refused.write();
        for (block, bytes) in (blocks(offset)?..).zip(data.chunks(BLOCK_BYTES)) {
            let kept = refused.entry(block).or_default();
            kept.resize(kept.len().max(bytes.len()), 0);
            kept[..bytes.len()].copy_from_slice(bytes);
        }
        Ok(())
    }

    /// Writes changed checksums, neighbours at once.
    fn write_sums(&self) -> io::Result<()> {
        let mut known = self.known.write();
        let changed = std::mem::take(&mut known.changed);
        let mut changed = changed.into_iter().peekable();
        while let Some(first) = changed.next() {
            let mut last = first;
            // A gap of few blocks is cheaper written than seeked over.
            while let Some(next) = changed.next_if(|next| *next <= last + 64) {
                last = next;
            }
            let run = known.sums.get(first..=last.min(known.sums.len().saturating_sub(1)));
            let bytes: Vec<u8> =
                run.unwrap_or_default().iter().flat_map(|sum| sum.to_le_bytes()).collect();
            let written = self.sums.write((first * SUM_BYTES) as u64, &bytes);
            if written.is_err() {
                known.changed.extend(first..=last);
                known.changed.extend(changed);
                return written;
            }
        }
        Ok(())
    }
}

impl StorageBackend for Pages {
    fn len(&self) -> io::Result<u64> {
        // Not the file's: that did not grow if the disk refused.
        Ok(*self.len.read())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.read_compared(offset, out).inspect_err(|_| self.health.read_failed())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.health.attempt(|| self.data.set_len(len));
        *self.len.write() = len;
        let mut known = self.known.write();
        let before = known.sums.len();
        let now = blocks(len)?;
        known.sums.resize(now, 0);
        known.changed.split_off(&now);
        // The file may still hold those of blocks that were cut off before.
        known.changed.extend(before..now);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.health.attempt(|| {
            self.write_sums()?;
            self.sums.sync()?;
            self.data.sync()
        });
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.health.attempt(|| self.data.write(offset, data));
        if self.health.check().is_err() {
            self.keep_refused(offset, data)?;
        }
        let first = blocks(offset)?;
        let sums = (first..).zip(data.chunks_exact(BLOCK_BYTES));
        let sums: Vec<_> = sums.map(|(block, bytes)| (block, sum_of(block, bytes))).collect();
        let mut known = self.known.write();
        for (block, sum) in sums {
            if block >= known.sums.len() {
                known.sums.resize(block + 1, 0);
            }
            known.sums[block] = sum;
            known.changed.insert(block);
        }
        Ok(())
    }
}

/// The block that begins at or holds `offset`; the number of blocks in so many bytes.
fn blocks(offset: u64) -> io::Result<usize> {
    usize::try_from(offset / BLOCK_BYTES as u64).map_err(io::Error::other)
}

/// Never 0. A block counts at its own place only.
fn sum_of(block: usize, bytes: &[u8]) -> u32 {
    let sum = XxHash3_64::oneshot_with_seed(block as u64, bytes);
    u32::try_from(sum & u64::from(u32::MAX)).expect("masked").max(1)
}
