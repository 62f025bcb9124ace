//! Reading commits back from the segments, beside the committer, which may begin them anew
//! meanwhile.
//!
//! What is overwritten is noticed, for the checksum of a record is seeded with the number of its
//! segment. But a segment may end with records that do not count, because a sync failed; where it
//! ends only the next one says. So segments are read without a hole in their numbers, up to the one
//! that the last durable commit is in.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::record::{self, ALIGN};
use super::replay::first_revision;
use super::segment::{self, Header, is_segment, seed};
use crate::disk::{Disk, DiskFile};
use crate::encryption::Cipher;
use crate::revision::Revision;

/// How far the journal is durable.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End {
    pub(crate) revision: Revision,
    /// The number of the segment that holds it.
    pub(super) segment: u64,
}

/// Why a commit was not read.
#[derive(Debug)]
pub(crate) enum ArchiveError {
    Io(io::Error),
    /// It is not there any more; what follows from `oldest` on may be.
    Gap {
        oldest: Revision,
    },
}

impl From<io::Error> for ArchiveError {
    fn from(error: io::Error) -> ArchiveError {
        ArchiveError::Io(error)
    }
}

/// The payloads of commits, in order and without a gap, from the one behind `since` to the last
/// durable one. Holds one segment in memory.
#[derive(Debug)]
pub(crate) struct Commits {
    next: Revision,
    last: Revision,
    parts: VecDeque<Part>,
    reading: Option<Reading>,
    cipher: Option<Cipher>,
}

/// What of a segment counts.
#[derive(Debug)]
struct Part {
    file: Arc<dyn DiskFile>,
    header: Header,
    /// `None` without a record.
    first: Option<Revision>,
    /// The first revision that a later segment has.
    end: Revision,
}

#[derive(Debug)]
struct Reading {
    bytes: Bytes,
    at: usize,
    number: u64,
    end: Revision,
}

impl Commits {
    pub(crate) fn open(
        disk: &dyn Disk,
        cipher: Option<Cipher>,
        since: Revision,
        upto: End,
    ) -> io::Result<Commits> {
        let mut found = Vec::new();
        for name in disk.names()?.iter().filter(|name| is_segment(name)) {
            found.extend(look(disk, name)?.filter(|part| part.header.number <= upto.segment));
        }
        found.sort_by_key(|part| part.header.number);
        let mut parts = VecDeque::new();
        let (mut number, mut end) = (upto.segment, upto.revision.next());
        while let Some(part) = found.pop_if(|part| part.header.number == number) {
            number = number.saturating_sub(1);
            if let Some(first) = part.first.filter(|first| *first < end) {
                parts.push_front(Part { end, ..part });
                end = first;
            }
        }
        let (next, last) = (since.next(), upto.revision);
        Ok(Commits { next, last, parts, reading: None, cipher })
    }

    /// The next record of the segment that is being read.
    fn read(&mut self) -> Option<Bytes> {
        let reading = self.reading.as_mut()?;
        loop {
            let seed = seed(reading.number, reading.at as u64);
            let (head, end) = record::open(reading.bytes.get(reading.at..)?, seed)?;
            let record = reading.at..reading.at + end;
            reading.at += end.next_multiple_of(ALIGN);
            if head.revision >= reading.end || head.revision > self.next {
                return None;
            }
            if head.revision == self.next {
                return record::payload(&reading.bytes[record], head, self.cipher.as_ref());
            }
        }
    }

    /// Goes on to the segment that has the next commit.
    fn turn(&mut self) -> Result<(), ArchiveError> {
        // What the last segment lacks of its own is in none.
        let lacking = self.reading.take().map(|reading| reading.end);
        if let Some(oldest) = lacking.filter(|end| *end > self.next) {
            return Err(ArchiveError::Gap { oldest });
        }
        while self.parts.pop_front_if(|part| part.end <= self.next).is_some() {}
        let part = self.parts.pop_front();
        let first = part.as_ref().and_then(|part| part.first).unwrap_or(self.last.next());
        let Some(part) = part.filter(|_| first <= self.next) else {
            return Err(ArchiveError::Gap { oldest: first });
        };
        let len = usize::try_from(part.header.len).map_err(io::Error::other)?;
        let mut bytes = vec![0; len];
        part.file.read(0, &mut bytes)?;
        let at = usize::try_from(segment::HEADER_BYTES).map_err(io::Error::other)?;
        let (bytes, number) = (bytes.into(), part.header.number);
        self.reading = Some(Reading { bytes, at, number, end: part.end });
        Ok(())
    }
}

impl Iterator for Commits {
    type Item = Result<Bytes, ArchiveError>;

    /// Gives nothing more behind an error.
    fn next(&mut self) -> Option<Self::Item> {
        while self.next <= self.last {
            if let Some(payload) = self.read() {
                self.next = self.next.next();
                return Some(Ok(payload));
            }
            if let Err(error) = self.turn() {
                self.next = self.last.next();
                return Some(Err(error));
            }
        }
        None
    }
}

/// One segment; `None` if it is gone, or begun anew just now.
fn look(disk: &dyn Disk, name: &str) -> io::Result<Option<Part>> {
    let file = match disk.open(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let header = || {
        let mut bytes = [0; 64];
        file.read(0, &mut bytes).map(|()| segment::decode(&bytes).ok())
    };
    let Some(found) = header()? else { return Ok(None) };
    let first = first_revision(&*file, found)?;
    // Begun anew in between, it would seem to be empty.
    let is_same = header()? == Some(found);
    let end = Revision::ZERO;
    Ok(is_same.then_some(Part { file, header: found, first, end }))
}
