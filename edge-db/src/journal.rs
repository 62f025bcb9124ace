//! The write-ahead journal: what makes a commit durable, by one write and one sync.
//!
//! Segments of fixed length are written from front to back, one checksummed record for each group
//! of batches, and used again once everything in them has settled. `docs/format.md` draws the
//! bytes. Only the committer writes here.

pub(crate) mod mark;
pub(crate) mod record;
mod replay;
mod segment;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

pub(crate) use replay::{Damage, Replay, first_revisions, replay, salvage};
pub(crate) use segment::{FORMAT, is_segment, is_unborn};

use crate::disk::Disk;
use crate::revision::Revision;
use mark::Mark;
use record::Record;
use segment::Segment;

/// The first segment: an empty database stays small.
const FIRST_BYTES: u64 = 64 * 1024;
/// Segments double up to this: creating one writes so many zeros, while writers wait.
const LARGEST_BYTES: u64 = 4 * 1024 * 1024;

/// The segments, and the place in the youngest that the next record goes to.
#[derive(Debug)]
pub(crate) struct Journal {
    disk: Arc<dyn Disk>,
    current: Option<Segment>,
    /// Full segments, oldest first.
    retired: VecDeque<Segment>,
    /// Segments that may be written from the front again.
    free: Vec<Segment>,
    next_number: u64,
    /// Length of the youngest segment; the next one is twice as long.
    grown_to: u64,
    /// The last revision that a sync has covered.
    durable: Revision,
    /// Records that no sync has covered, oldest first.
    unsynced: Vec<(Revision, Vec<u8>)>,
    unsynced_bytes: usize,
    /// Segments behind which the journal has gone on before a sync.
    unsynced_segments: Vec<Segment>,
    /// Whether they must be written again.
    is_owing: bool,
    mark: Mark,
    largest_bytes: u64,
}

impl Journal {
    /// Goes on behind what was replayed, in a new segment: records behind a torn one stay where
    /// they are and must never follow a good one.
    pub(crate) fn new(disk: Arc<dyn Disk>, found: &Replay, limit_bytes: u64) -> Journal {
        let largest_bytes = (limit_bytes / 8).clamp(4096, LARGEST_BYTES);
        Journal {
            mark: Mark::open(&*disk),
            disk,
            current: None,
            retired: found.segments().collect(),
            free: Vec::new(),
            next_number: found.next_number(),
            grown_to: 0,
            durable: found.last(),
            unsynced: Vec::new(),
            unsynced_bytes: 0,
            unsynced_segments: Vec::new(),
            is_owing: false,
            largest_bytes,
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
        record::pad(&mut record);
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
        record::seal(record, Record { revision, durable: self.durable }, segment.seed());
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
        // Even if this fails: a header with the number may be on the disk then.
        let number = self.next_number;
        self.next_number += 1;
        let fitting = self.free.iter().position(|segment| segment.len() >= wanted);
        let segment = match fitting {
            Some(place) => self.free.swap_remove(place).recycle(number)?,
            None => {
                // Smaller ones have had their time; nothing in them is needed.
                for outgrown in self.free.drain(..) {
                    outgrown.remove(&*self.disk)?;
                }
                Segment::create(&*self.disk, number, wanted)?
            }
        };
        self.grown_to = segment.len().min(self.largest_bytes);
        if let Some(full) = self.current.replace(segment) {
            if !self.unsynced.is_empty() {
                self.unsynced_segments.push(full.clone());
            }
            self.retired.push_back(full);
        }
        Ok(())
    }

    /// Segments that have settled become free; those of one huge record are removed.
    fn release(&mut self, settled: Revision) {
        while self.retired.front().is_some_and(|segment| segment.last() <= settled) {
            let Some(segment) = self.retired.pop_front() else { return };
            if segment.len() > self.largest_bytes {
                // A crash before this is durable leaves a segment that replays nothing.
                drop(segment.remove(&*self.disk));
            } else {
                self.free.push(segment);
            }
        }
    }

    /// Bytes of all segments.
    pub(crate) fn bytes(&self) -> u64 {
        let segments = self.retired.iter().chain(&self.free).chain(&self.current);
        segments.map(Segment::len).sum()
    }
}
