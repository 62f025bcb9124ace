//! redb's storage: a file of blocks, each with an entry in front of its group that tells whether it
//! is as it was written.
//!
//! redb keeps checksums too, but compares them only when it walks the whole file. Here every block
//! that is read is compared, so that a damaged one is an error and never a wrong answer. The
//! entries are in memory: 1 MiB for each GiB of data, 10 MiB if it is encrypted.
//!
//! After a write that the disk refused, redb answers no read any more that its cache does not hold.
//! So it is not told: from then on nothing it writes reaches the disk but stays in memory, and
//! whoever has it write asks [`Health`] whether it did, and opens the file again if not.
//!
//! redb never overwrites a page that the last durable commit needs, but for block 0, which has
//! checksums of its own and is never encrypted: so a power cut between a block and its entry
//! concerns blocks only that nobody reads.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::RwLock;
use redb::StorageBackend;

use super::entries::Entries;
use super::health::Health;
use super::layout::{BLOCK_BYTES, Layout};
use super::seal::{Seal, is_written};
use crate::disk::DiskFile;

#[derive(Debug)]
pub(super) struct Pages {
    file: Arc<dyn DiskFile>,
    seal: Seal,
    layout: Layout,
    /// The length that redb wants.
    len: RwLock<u64>,
    entries: RwLock<Entries>,
    /// What the disk refused, by block: redb reads what it wrote before it gives up. No more than
    /// the rest of one settling, for no other is begun.
    refused: RwLock<BTreeMap<usize, Vec<u8>>>,
    health: Arc<Health>,
}

impl Pages {
    pub(super) fn open(
        file: Arc<dyn DiskFile>,
        seal: Seal,
        health: Arc<Health>,
    ) -> io::Result<Pages> {
        let found = file.len()?;
        let layout = seal.layout();
        let len = layout.len_in(found);
        let mut entries = Entries::read(&*file, layout, blocks(len)?)?;
        let head = seal.head();
        if found == 0 {
            entries.set(0, &head);
        } else if entries.get(0) != head {
            return Err(health.damaged(0));
        }
        let (len, entries) = (RwLock::new(len), RwLock::new(entries));
        Ok(Pages { file, seal, layout, len, entries, refused: RwLock::default(), health })
    }

    fn read_compared(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let first = blocks(offset)?;
        for (offset, part) in self.layout.runs(first, out.len()) {
            let part = &mut out[part];
            if self.health.check().is_ok() {
                self.file.read(offset, part)?;
            } else {
                self.read_what_is_there(offset, part)?;
            }
        }
        // Empty unless the disk refused.
        let refused = self.refused.read();
        let entries = self.entries.read();
        for (block, bytes) in (first..).zip(out.chunks_mut(BLOCK_BYTES)) {
            if let Some(written) = refused.get(&block) {
                let both = written.len().min(bytes.len());
                bytes[..both].copy_from_slice(&written[..both]);
            } else if block > 0 && !self.seal.open(block, bytes, entries.get(block)) {
                return Err(self.health.damaged(self.layout.offset_of(block)));
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

    fn write_sealed(&self, first: usize, data: &[u8]) -> io::Result<()> {
        if first == 0 {
            let (header, rest) = data.split_at(data.len().min(BLOCK_BYTES));
            self.file.write(self.layout.offset_of(0), header)?;
            return if rest.is_empty() { Ok(()) } else { self.write_sealed(1, rest) };
        }
        let (sealed, entries) = self.seal.seal(first, data)?;
        for (offset, part) in self.layout.runs(first, data.len()) {
            self.file.write(offset, &sealed[part])?;
        }
        self.entries.write().set(first, &entries);
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

    /// Opens a file that may be damaged, for [`Pages::read_any`]; and whether its first entry says
    /// that it is sealed like that.
    pub(super) fn open_any(file: Arc<dyn DiskFile>, seal: Seal) -> io::Result<(Pages, bool)> {
        let layout = seal.layout();
        let len = layout.len_in(file.len()?);
        let found = Entries::read(&*file, layout, blocks(len)?);
        let has_magic = found.as_ref().is_ok_and(|entries| entries.get(0) == seal.head());
        let entries = found.or_else(|_| Ok::<_, io::Error>(Entries::none(layout, blocks(len)?)))?;
        let health = Arc::new(Health::reading_only());
        let (len, entries) = (RwLock::new(len), RwLock::new(entries));
        let refused = RwLock::default();
        Ok((Pages { file, seal, layout, len, entries, refused, health }, has_magic))
    }

    /// Whether what is read must be what was encrypted.
    pub(super) fn is_encrypted(&self) -> bool {
        self.seal.is_encrypted()
    }

    /// Where a block begins in the file.
    pub(super) fn offset_of(&self, block: usize) -> u64 {
        self.layout.offset_of(block)
    }

    /// Bytes of redb's that the file holds.
    pub(super) fn bytes(&self) -> u64 {
        *self.len.read()
    }

    /// Reads what is there, zeros where nothing can be read, and gives the offsets in the file of
    /// the blocks that are not what was written. For looking at a file that may be damaged: nothing
    /// is noted. An encrypted block that is not what was written is decrypted all the same.
    pub(super) fn read_any(&self, offset: u64, out: &mut [u8]) -> io::Result<Vec<u64>> {
        let first = blocks(offset)?;
        let mut parts = self.layout.runs(first, out.len());
        let whole = parts.all(|(at, part)| self.file.read(at, &mut out[part]).is_ok());
        let entries = self.entries.read();
        let mut bad = Vec::new();
        for (block, bytes) in (first..).zip(out.chunks_mut(BLOCK_BYTES)) {
            let at = self.layout.offset_of(block);
            let is_read = whole || self.file.read(at, bytes).is_ok();
            let entry = entries.get(block);
            if !is_read {
                bytes.fill(0);
                bad.push(at);
            } else if block > 0 && !self.seal.open(block, bytes, entry) {
                self.seal.guess(bytes, entry);
                bad.push(at);
            }
        }
        Ok(bad)
    }

    /// Whether a block was never written: no damage as long as nobody reads it.
    pub(super) fn is_unwritten(&self, block: usize) -> bool {
        let is_zeros = || {
            let mut bytes = vec![0; BLOCK_BYTES];
            let read = self.file.read(self.layout.offset_of(block), &mut bytes);
            read.is_ok() && bytes.iter().all(|&byte| byte == 0)
        };
        !is_written(self.entries.read().get(block)) && is_zeros()
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
        self.health.attempt(|| self.file.set_len(self.layout.file_len(len)));
        *self.len.write() = len;
        self.entries.write().resize(blocks(len)?.max(1));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.health.attempt(|| {
            self.entries.write().write(&*self.file)?;
            self.file.sync()
        });
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let first = blocks(offset)?;
        self.health.attempt(|| self.write_sealed(first, data));
        if self.health.check().is_err() {
            self.keep_refused(first, data);
        }
        Ok(())
    }
}

/// The block that begins at `offset`; redb reads and writes from the beginning of blocks on.
fn blocks(offset: u64) -> io::Result<usize> {
    debug_assert!(offset.is_multiple_of(BLOCK_BYTES as u64), "{offset} is within a block");
    usize::try_from(offset / BLOCK_BYTES as u64).map_err(io::Error::other)
}
