//! The write-ahead journal: what makes a commit durable, by one write and one sync.
//!
//! Segments of fixed length are written from front to back, one checksummed record for each group
//! of batches, and used again once everything in them has settled. `docs/format.md` draws the
//! bytes. Only the committer writes here.

mod mark;
pub(crate) mod record;
mod replay;
mod segment;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

pub(crate) use replay::{Replay, replay};

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
            largest_bytes,
        }
    }

    /// Makes a group durable: writes its record and syncs. `payload` is what
    /// [`record::begin`] began. Segments that hold nothing younger than `settled` are used again.
    ///
    /// After an error nothing of the group counts, though a power cut right after may bring it
    /// back; the segment that failed is not written to again, for nobody knows what it holds.
    pub(crate) fn append(
        &mut self,
        mut payload: Vec<u8>,
        revision: Revision,
        settled: Revision,
    ) -> io::Result<()> {
        let result = self.write(&mut payload, revision, settled).and_then(|()| self.sync(revision));
        if result.is_err() {
            self.retired.extend(self.current.take());
        }
        result
    }

    fn write(
        &mut self,
        record: &mut Vec<u8>,
        revision: Revision,
        settled: Revision,
    ) -> io::Result<()> {
        record::pad(record);
        let bytes = record.len() as u64;
        if self.current.as_ref().is_none_or(|segment| segment.room() < bytes) {
            self.rotate(bytes, settled)?;
        }
        let segment = self.current.as_mut().expect("rotated above if there was none");
        let head = Record { revision, durable: self.durable };
        record::seal(record, head, segment.seed());
        segment.file().write(segment.tail(), record)?;
        segment.advance(bytes, revision);
        Ok(())
    }

    fn sync(&mut self, revision: Revision) -> io::Result<()> {
        let segment = self.current.as_mut().expect("written to before it is synced");
        segment.file().sync()?;
        self.durable = revision;
        self.mark.write(revision);
        Ok(())
    }

    /// Takes a free segment, or a new one twice as long as the last.
    fn rotate(&mut self, record_bytes: u64, settled: Revision) -> io::Result<()> {
        self.release(settled);
        let least = record_bytes + segment::HEADER_BYTES;
        let wanted =
            (self.grown_to * 2).clamp(FIRST_BYTES.min(self.largest_bytes), self.largest_bytes);
        let wanted = wanted.max(least.next_multiple_of(4096));
        let number = self.next_number;
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
        self.next_number += 1;
        self.grown_to = segment.len().min(self.largest_bytes);
        self.retired.extend(self.current.replace(segment));
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
