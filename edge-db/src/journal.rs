//! The write-ahead journal: what makes a commit durable, by one write and one sync.
//!
//! Segments of fixed length are written from front to back, one checksummed record for each group
//! of batches, and used again once everything in them has settled. `docs/format.md` draws the
//! bytes. Only the committer writes here.

mod archive;
pub(crate) mod mark;
pub(crate) mod record;
mod replay;
mod segment;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

pub(crate) use archive::{ArchiveError, Commits, End};
pub(crate) use replay::{Damage, Replay, first_revisions, is_encrypted, replay, salvage};
pub(crate) use segment::{FORMAT, is_segment, is_unborn};

use crate::disk::Disk;
use crate::encryption::Cipher;
use crate::revision::Revision;
use crate::store::Limits;
use mark::Mark;
use segment::Segment;

/// The first segment: an empty database stays small.
const FIRST_BYTES: u64 = 64 * 1024;
/// Segments double up to this: creating one writes so many zeros, while writers wait.
const LARGEST_BYTES: u64 = 4 * 1024 * 1024;

/// The segments, and the place in the youngest that the next record goes to.
#[derive(Debug)]
pub(crate) struct Journal {
    disk: Arc<dyn Disk>,
    cipher: Option<Cipher>,
    current: Option<Segment>,
    /// Full segments, oldest first: what has not settled, and in front of it what is kept.
    retired: VecDeque<Segment>,
    /// Segments that may be written from the front again.
    free: Vec<Segment>,
    next_number: u64,
    /// Length of the youngest segment; the next one is twice as long.
    grown_to: u64,
    /// The last revision that a sync has covered.
    durable: Revision,
    /// The same for those who read the segments.
    end: Arc<Mutex<End>>,
    /// Records that no sync has covered, oldest first.
    unsynced: Vec<(Revision, Vec<u8>)>,
    unsynced_bytes: usize,
    /// Segments behind which the journal has gone on before a sync.
    unsynced_segments: Vec<Segment>,
    /// Whether they must be written again.
    is_owing: bool,
    mark: Mark,
    largest_bytes: u64,
    limit_bytes: u64,
    keep_bytes: u64,
}

impl Journal {
    /// Goes on behind what was replayed, in a new segment: records behind a torn one stay where
    /// they are and must never follow a good one.
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        cipher: Option<Cipher>,
        found: &Replay,
        limits: Limits,
    ) -> Journal {
        let (limit_bytes, keep_bytes) = (limits.journal_bytes, limits.keep_journal_bytes);
        // What is kept counts, for each segment is an open file.
        let largest_bytes = limits.most_journal_bytes() / 8;
        Journal {
            mark: Mark::open(&*disk),
            disk,
            cipher,
            current: None,
            retired: found.segments().collect(),
            free: Vec::new(),
            next_number: found.next_number(),
            grown_to: 0,
            durable: found.last(),
            end: Arc::new(Mutex::new(found.end())),
            unsynced: Vec::new(),
            unsynced_bytes: 0,
            unsynced_segments: Vec::new(),
            is_owing: false,
            largest_bytes: largest_bytes.clamp(4096, LARGEST_BYTES),
            limit_bytes,
            keep_bytes,
        }
    }

    /// Writes the record of a group, to be made durable by the next [`Journal::sync`]. `record` is
    /// what [`record::begin`] began. Segments that hold nothing younger than `settled` are used
    /// again.
    ///
    /// After an error nothing of the group counts.
    pub(crate) fn append(
        &mut self,
        mut record: Vec<u8>,
        revision: Revision,
        settled: Revision,
    ) -> io::Result<()> {
        record::finish(&mut record, revision, self.cipher.as_ref())?;
        self.write_owed(settled)?;
        self.make_room(record.len() as u64, settled)?;
        let written = self.write(&mut record, revision);
        if written.is_err() {
            self.give_up_segment();
            return written;
        }
        self.unsynced_bytes += record.len();
        self.unsynced.push((revision, record));
        Ok(())
    }

    /// Makes durable what was written. After an error nobody knows what is on the disk: the segment
    /// is not written to again, and everything that was not durable is owed to a new one.
    pub(crate) fn sync(&mut self, settled: Revision) -> io::Result<()> {
        self.write_owed(settled)?;
        let Some((last, _)) = self.unsynced.last() else { return Ok(()) };
        let last = *last;
        let mut segments = self.unsynced_segments.iter().chain(&self.current);
        if let Err(error) = segments.try_for_each(|segment| segment.file().sync()) {
            self.give_up_segment();
            return Err(error);
        }
        self.durable = last;
        let current = self.current.as_ref().expect("the last record was written to it");
        *self.end.lock() = End { revision: last, segment: current.number() };
        self.unsynced_segments.clear();
        self.unsynced.clear();
        self.unsynced_bytes = 0;
        self.mark.write(last);
        Ok(())
    }

    /// Takes back the youngest record, which was written and not made durable: nothing of its group
    /// counts, though a power cut right after may bring it back.
    pub(crate) fn take_back(&mut self) {
        if let Some((_, record)) = self.unsynced.pop() {
            self.unsynced_bytes -= record.len();
        }
        self.give_up_segment();
    }

    /// Bytes that were written and are not durable.
    pub(crate) fn unsynced_bytes(&self) -> usize {
        self.unsynced_bytes
    }

    /// How far it is durable, now and later.
    pub(crate) fn end(&self) -> Arc<Mutex<End>> {
        Arc::clone(&self.end)
    }

    fn give_up_segment(&mut self) {
        self.retired.extend(self.current.take());
        self.unsynced_segments.clear();
        self.is_owing = !self.unsynced.is_empty();
    }

    /// Writes again, into a new segment, what a failed sync left in doubt.
    fn write_owed(&mut self, settled: Revision) -> io::Result<()> {
        if !self.is_owing {
            return Ok(());
        }
        let mut owed = std::mem::take(&mut self.unsynced);
        let written = owed.iter_mut().try_for_each(|(revision, record)| {
            self.make_room(record.len() as u64, settled)?;
            self.write(record, *revision)
        });
        self.unsynced = owed;
        if written.is_err() {
            self.give_up_segment();
            return written;
        }
        self.is_owing = false;
        Ok(())
    }

    /// Sees to it that the current segment takes so many bytes.
    fn make_room(&mut self, bytes: u64, settled: Revision) -> io::Result<()> {
        if self.current.as_ref().is_none_or(|segment| segment.room() < bytes) {
            self.rotate(bytes, settled)?;
        }
        Ok(())
    }

    fn write(&mut self, record: &mut [u8], revision: Revision) -> io::Result<()> {
        let bytes = record.len() as u64;
        let segment = self.current.as_mut().expect("room was made before");
        record::seal(record, revision, self.durable, segment.seed());
        segment.file().write(segment.tail(), record)?;
        segment.advance(bytes, revision);
        Ok(())
    }

    /// Takes a free segment, or a new one twice as long as the last.
    fn rotate(&mut self, record_bytes: u64, settled: Revision) -> io::Result<()> {
        self.release(settled);
        let least = record_bytes + segment::HEADER_BYTES;
        let wanted =
            (self.grown_to * 2).clamp(FIRST_BYTES.min(self.largest_bytes), self.largest_bytes);
        let wanted = wanted.max(least.next_multiple_of(4096));
        let fitting = self.free.iter().position(|segment| segment.len() >= wanted);
        let segment = match fitting {
            Some(place) => self.free.swap_remove(place).recycle(&mut self.next_number)?,
            None => {
                // Smaller ones have had their time; nothing in them is needed.
                for outgrown in self.free.drain(..) {
                    outgrown.remove(&*self.disk)?;
                }
                Segment::create(&*self.disk, &mut self.next_number, wanted)?
            }
        };
        self.grown_to = segment.len().min(self.largest_bytes);
        if let Some(full) = self.current.replace(segment) {
            // What is owed is on its way from `unsynced` into the segments.
            if self.is_owing || !self.unsynced.is_empty() {
                self.unsynced_segments.push(full.clone());
            }
            self.retired.push_back(full);
        }
        Ok(())
    }

    /// Segments that have settled become free, but for the youngest ones that are kept. Those of
    /// one huge record are removed, and what a larger journal left.
    fn release(&mut self, settled: Revision) {
        let has_settled = |segment: &&Segment| segment.last() <= settled;
        let settled = self.retired.iter().take_while(has_settled).map(Segment::len);
        let mut kept: u64 = settled.sum();
        let mut free: u64 = self.free.iter().map(Segment::len).sum();
        while kept > self.keep_bytes {
            let Some(segment) = self.retired.pop_front() else { return };
            kept -= segment.len();
            if segment.len() > self.largest_bytes || free + segment.len() > self.limit_bytes {
                // A crash before this is durable leaves a segment that replays nothing.
                drop(segment.remove(&*self.disk));
            } else {
                free += segment.len();
                self.free.push(segment);
            }
        }
    }

    /// Bytes of all segments, those that are kept among them.
    pub(crate) fn bytes(&self) -> u64 {
        let segments = self.retired.iter().chain(&self.free).chain(&self.current);
        segments.map(Segment::len).sum()
    }
}
