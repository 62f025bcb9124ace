//! redb's storage: a file of blocks, each with a checksum in front of its group.
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

use parking_lot::RwLock;
use redb::StorageBackend;
use twox_hash::XxHash3_64;

use super::health::Health;
use super::layout::{
    BLOCK_BYTES, SUM_BYTES, file_len, group_end, len_in, offset_of, runs, sum_offset_of,
};
use crate::disk::DiskFile;

/// Stands for the checksum of block 0: what the file is, and its format.
const MAGIC: u32 = u32::from_le_bytes(*b"EDP1");

#[derive(Debug)]
pub(super) struct Pages {
    file: Arc<dyn DiskFile>,
    /// The length that redb wants.
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

impl Known {
    /// Whether a block is what was written.
    fn is_good(&self, block: usize, bytes: &[u8]) -> bool {
        let sum = self.sums.get(block).copied().unwrap_or_default();
        // What was never written is zeros; what was has a checksum, or lost it.
        if sum == 0 { bytes.iter().all(|&byte| byte == 0) } else { sum == sum_of(block, bytes) }
    }
}

impl Pages {
    pub(super) fn open(file: Arc<dyn DiskFile>, health: Arc<Health>) -> io::Result<Pages> {
        let found = file.len()?;
        let len = len_in(found);
        let mut known = Known { sums: read_sums(&*file, len)?, changed: BTreeSet::new() };
        if found == 0 {
            known.sums.push(MAGIC);
            known.changed.insert(0);
        } else if known.sums.first() != Some(&MAGIC) {
            return Err(health.damaged(0));
        }
        let (len, known) = (RwLock::new(len), RwLock::new(known));
        Ok(Pages { file, len, known, refused: RwLock::default(), health })
    }

    fn read_compared(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let first = blocks(offset)?;
        for (offset, part) in runs(first, out.len()) {
            let part = &mut out[part];
            if self.health.check().is_ok() {
                self.file.read(offset, part)?;
            } else {
                self.read_what_is_there(offset, part)?;
            }
        }
        for (block, bytes) in (first..).zip(out.chunks_mut(BLOCK_BYTES)) {
            // Empty unless the disk refused.
            if let Some(written) = self.refused.read().get(&block) {
                let both = written.len().min(bytes.len());
                bytes[..both].copy_from_slice(&written[..both]);
            }
        }
        let known = self.known.read();
        for (block, bytes) in (first..).zip(out.chunks_exact(BLOCK_BYTES)) {
            if block == 0 {
                continue;
            }
            if !known.is_good(block, bytes) {
                return Err(self.health.damaged(offset_of(block)));
            }
        }
        Ok(())
    }

    /// The file may not have grown as far as redb wanted.
    fn read_what_is_there(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let there = self.file.len()?.saturating_sub(offset);
        let there = usize::try_from(there).unwrap_or(usize::MAX).min(out.len());
        if there > 0 {
            self.file.read(offset, &mut out[..there])?;
        }
        out[there..].fill(0);
        Ok(())
    }

    fn keep_refused(&self, first: usize, data: &[u8]) {
        let mut refused = self.refused.write();
        for (block, bytes) in (first..).zip(data.chunks(BLOCK_BYTES)) {
            let kept = refused.entry(block).or_default();
            kept.resize(kept.len().max(bytes.len()), 0);
            kept[..bytes.len()].copy_from_slice(bytes);
        }
    }

    /// Opens a file that may be damaged, for [`Pages::read_any`]; and whether its first checksums
    /// say what it is.
    pub(super) fn open_any(file: Arc<dyn DiskFile>) -> io::Result<(Pages, bool)> {
        let len = len_in(file.len()?);
        let mut sums = vec![0; blocks(len)?];
        let has_magic = match read_sums(&*file, len) {
            Ok(found) => {
                sums = found;
                sums.first() == Some(&MAGIC)
            }
            Err(_) => false,
        };
        let known = RwLock::new(Known { sums, changed: BTreeSet::new() });
        let health = Arc::new(Health::reading_only());
        let len = RwLock::new(len);
        Ok((Pages { file, len, known, refused: RwLock::default(), health }, has_magic))
    }

    /// Reads what is there, zeros where nothing can be read, and gives the offsets in the file of
    /// the blocks that are not what was written. For looking at a file that may be damaged: nothing
    /// is noted.
    pub(super) fn read_any(&self, offset: u64, out: &mut [u8]) -> io::Result<Vec<u64>> {
        let first = blocks(offset)?;
        let mut parts = runs(first, out.len());
        let whole = parts.all(|(at, part)| self.file.read(at, &mut out[part]).is_ok());
        let known = self.known.read();
        let mut bad = Vec::new();
        for (block, bytes) in (first..).zip(out.chunks_mut(BLOCK_BYTES)) {
            let at = offset_of(block);
            let is_read = whole || self.file.read(at, bytes).is_ok();
            if !is_read {
                bytes.fill(0);
            }
            if !is_read || (block > 0 && !known.is_good(block, bytes)) {
                bad.push(at);
            }
        }
        Ok(bad)
    }

    /// Writes changed checksums, neighbours at once.
    fn write_sums(&self) -> io::Result<()> {
        let mut known = self.known.write();
        let changed = std::mem::take(&mut known.changed);
        let mut changed = changed.into_iter().peekable();
        while let Some(first) = changed.next() {
            let mut last = first;
            // A gap of few blocks is cheaper written than seeked over.
            let is_near = |next: &usize, last| *next <= last + 64 && *next < group_end(first);
            while let Some(next) = changed.next_if(|next| is_near(next, last)) {
                last = next;
            }
            let run = known.sums.get(first..=last.min(known.sums.len().saturating_sub(1)));
            let bytes: Vec<u8> =
                run.unwrap_or_default().iter().flat_map(|sum| sum.to_le_bytes()).collect();
            let written = self.file.write(sum_offset_of(first), &bytes);
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
        self.health.attempt(|| self.file.set_len(file_len(len)));
        *self.len.write() = len;
        let mut known = self.known.write();
        let before = known.sums.len();
        let now = blocks(len)?;
        known.sums.resize(now.max(1), 0);
        known.changed.split_off(&now.max(1));
        // The group may still hold those of blocks that were cut off before.
        known.changed.extend(before..now.min(group_end(before)));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.health.attempt(|| {
            self.write_sums()?;
            self.file.sync()
        });
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let first = blocks(offset)?;
        self.health.attempt(|| {
            let mut parts = runs(first, data.len());
            parts.try_for_each(|(offset, part)| self.file.write(offset, &data[part]))
        });
        if self.health.check().is_err() {
            self.keep_refused(first, data);
        }
        let sums = (first..).zip(data.chunks_exact(BLOCK_BYTES)).filter(|(block, _)| *block > 0);
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

/// The block that begins at `offset`; redb reads and writes from the beginning of blocks on.
fn blocks(offset: u64) -> io::Result<usize> {
    debug_assert!(offset.is_multiple_of(BLOCK_BYTES as u64), "{offset} is within a block");
    usize::try_from(offset / BLOCK_BYTES as u64).map_err(io::Error::other)
}

/// The checksums of a file that holds `len` bytes of redb's.
fn read_sums(file: &dyn DiskFile, len: u64) -> io::Result<Vec<u32>> {
    let count = blocks(len)?;
    let mut sums = Vec::with_capacity(count);
    while sums.len() < count {
        let first = sums.len();
        let mut bytes = vec![0; (group_end(first).min(count) - first) * SUM_BYTES];
        file.read(sum_offset_of(first), &mut bytes)?;
        sums.extend(bytes.as_chunks().0.iter().map(|sum| u32::from_le_bytes(*sum)));
    }
    Ok(sums)
}

/// Never 0. A block counts at its own place only.
fn sum_of(block: usize, bytes: &[u8]) -> u32 {
    let sum = XxHash3_64::oneshot_with_seed(block as u64, bytes);
    u32::try_from(sum & u64::from(u32::MAX)).expect("masked").max(1)
}
