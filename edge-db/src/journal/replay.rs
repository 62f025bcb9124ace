//! Reading the journal at open: what of it has not settled yet, and whether all of that is there.
//!
//! The one record that was not synced when the power went may be torn: it ends the journal. A bad
//! record that later ones show to have been durable is damage.
//!
//! What a killed process left to the system's cache becomes durable before anybody sees it. A sync
//! alone would not do: after one that failed the system takes what it could not write for clean,
//! and says yes to the next. So records that nothing proves to be durable, the last few, are
//! written again where they are; torn, that leaves them as they were.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::mark::Mark;
use super::record::{self, ALIGN, HEADER_BYTES};
use super::segment::{self, Header, HeaderError, Segment, seed};
use crate::disk::{Disk, DiskFile};
use crate::encryption::Cipher;
use crate::revision::Revision;
use crate::store::Write;

/// What is wrong with the journal.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Damage {
    #[error("{file} cannot be read")]
    Io { file: String, source: io::Error },
    #[error("{file} has no header of a journal segment")]
    Header { file: String },
    #[error("{file} has journal format {found}, this build knows {}", segment::FORMAT)]
    Format { file: String, found: u32 },
    #[error("{file} has {len} bytes, its header says {expected}")]
    Length { file: String, len: u64, expected: u64 },
    #[error("{file} and {other} are the same segment")]
    Twice { file: String, other: String },
    #[error("{file} is damaged at offset {offset}: commit {revision} should be there")]
    Record { file: String, offset: u64, revision: Revision },
    #[error("the journal ends with commit {last}, commit {durable} was durable")]
    Missing { last: Revision, durable: Revision },
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Replay {
    found: Vec<Found>,
    last: Revision,
}

#[derive(Debug)]
struct Found {
    name: String,
    file: Arc<dyn DiskFile>,
    header: Header,
    /// The revision of the first record; `None` without one.
    first: Option<Revision>,
    last: Revision,
}

impl Found {
    fn failed(&self, source: io::Error) -> Damage {
        Damage::Io { file: self.name.clone(), source }
    }
}

impl Replay {
    /// The last revision of the database.
    pub(crate) fn last(&self) -> Revision {
        self.last
    }

    pub(super) fn segments(&self) -> impl Iterator<Item = Segment> {
        self.found.iter().map(|found| {
            Segment::found(found.name.clone(), Arc::clone(&found.file), found.header, found.last)
        })
    }

    pub(super) fn next_number(&self) -> u64 {
        self.found.last().map_or(1, |found| found.header.number + 1)
    }
}

/// Hands every group behind `settled` to `apply`, in order.
pub(crate) fn replay(
    disk: &dyn Disk,
    cipher: Option<&Cipher>,
    settled: Revision,
    mut apply: impl FnMut(Revision, Vec<Write>),
) -> Result<Replay, Damage> {
    let mut found = find(disk)?;
    let durable = Mark::read(disk);
    let mut expected = None;
    let mut doubtful = Doubtful { proven: durable.max(settled), records: VecDeque::new() };
    for place in 0..found.len() {
        let (segment, later) = found[place..].split_first_mut().expect("place is below the length");
        // The first record of a later segment says where this one ends: behind it only what a
        // failed write left.
        let end = later.iter().filter_map(|later| later.first).min();
        if end.is_some_and(|end| end <= settled.next()) {
            continue;
        }
        let later = later.first().map(|later| later.name.as_str());
        let doubtful = &mut doubtful;
        let walk = Walk { place, segment, cipher, settled, end, later, durable, doubtful };
        expected = walk.run(expected, &mut apply)?;
    }
    let last = expected.map_or(settled, |next: Revision| Revision::new(next.get() - 1));
    let last = last.max(settled);
    if last < durable {
        return Err(Damage::Missing { last, durable });
    }
    doubtful.make_durable(&found)?;
    Ok(Replay { found, last })
}

/// Records that were read, and that the disk may not have.
struct Doubtful {
    /// Up to here it has them.
    proven: Revision,
    /// Oldest first.
    records: VecDeque<Place>,
}

/// Where a record is.
struct Place {
    revision: Revision,
    segment: usize,
    offset: u64,
    bytes: usize,
}

impl Doubtful {
    fn push(&mut self, record: Place, durable: Revision) {
        self.proven = self.proven.max(durable);
        self.records.push_back(record);
        let is_proven = |record: &mut Place| record.revision <= self.proven;
        while self.records.pop_front_if(is_proven).is_some() {}
    }

    fn make_durable(self, segments: &[Found]) -> Result<(), Damage> {
        let mut files: Vec<&Found> = Vec::new();
        for record in self.records {
            let segment = &segments[record.segment];
            let mut bytes = vec![0; record.bytes];
            let read = segment.file.read(record.offset, &mut bytes);
            let written = read.and_then(|()| segment.file.write(record.offset, &bytes));
            written.map_err(|source| segment.failed(source))?;
            files.push(segment);
        }
        files.dedup_by_key(|found| found.header.number);
        files.iter().try_for_each(|found| found.file.sync().map_err(|source| found.failed(source)))
    }
}

/// All segments by number; what was not complete when the power went is removed.
fn find(disk: &dyn Disk) -> Result<Vec<Found>, Damage> {
    let failed = |file: &str| {
        let file = file.to_owned();
        move |source| Damage::Io { file, source }
    };
    // What a killed process has renamed or removed may come back otherwise.
    disk.sync_names().map_err(failed("the folder"))?;
    let mut found: Vec<Found> = Vec::new();
    for name in disk.names().map_err(failed("the folder"))? {
        if segment::is_unborn(&name) {
            drop(disk.remove(&name));
        }
        if !segment::is_segment(&name) {
            continue;
        }
        let file = disk.open(&name).map_err(failed(&name))?;
        let mut bytes = [0; 64];
        let header = match file.read(0, &mut bytes).map(|()| segment::decode(&bytes)) {
            Ok(Ok(header)) => header,
            Ok(Err(HeaderError::Format(found))) => {
                return Err(Damage::Format { file: name, found });
            }
            Ok(Err(HeaderError::Damaged)) => return Err(Damage::Header { file: name }),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(Damage::Header { file: name });
            }
            Err(error) => return Err(failed(&name)(error)),
        };
        let first = first_revision(&*file, header).map_err(failed(&name))?;
        found.push(Found { name, file, header, first, last: Revision::ZERO });
    }
    found.sort_by_key(|found| found.header.number);
    for pair in found.windows(2) {
        if pair[0].header.number == pair[1].header.number {
            let [file, other] = [&pair[0], &pair[1]].map(|found| found.name.clone());
            return Err(Damage::Twice { file, other });
        }
    }
    Ok(found)
}

fn first_revision(file: &dyn DiskFile, header: Header) -> io::Result<Option<Revision>> {
    let len = file.len()?.min(header.len);
    let offset = segment::HEADER_BYTES;
    if len < offset + HEADER_BYTES as u64 {
        return Ok(None);
    }
    let mut head = [0; HEADER_BYTES];
    file.read(offset, &mut head)?;
    let payload = u64::from(u32::from_le_bytes(head[8..12].try_into().expect("4 bytes")));
    let whole = (HEADER_BYTES as u64 + payload).next_multiple_of(ALIGN as u64);
    let Ok(size) = usize::try_from(whole) else { return Ok(None) };
    if whole > len - offset {
        return Ok(None);
    }
    let mut bytes = vec![0; size];
    file.read(offset, &mut bytes)?;
    let record = record::open(&bytes, seed(header.number, offset));
    Ok(record.map(|(head, _)| head.revision))
}

/// The way through one segment.
struct Walk<'a> {
    place: usize,
    segment: &'a mut Found,
    cipher: Option<&'a Cipher>,
    settled: Revision,
    /// Where a later segment goes on.
    end: Option<Revision>,
    /// The segment after it.
    later: Option<&'a str>,
    /// What the mark says.
    durable: Revision,
    doubtful: &'a mut Doubtful,
}

impl Walk<'_> {
    /// Gives the revision that is expected next.
    fn run(
        self,
        mut expected: Option<Revision>,
        apply: &mut impl FnMut(Revision, Vec<Write>),
    ) -> Result<Option<Revision>, Damage> {
        let bytes = self.read()?;
        let number = self.segment.header.number;
        let mut offset = segment::HEADER_BYTES;
        loop {
            let at = usize::try_from(offset).expect("the segment is in memory");
            let next = expected.unwrap_or(self.settled.next());
            let group = bytes.get(at..).and_then(|rest| record::open(rest, seed(number, offset)));
            let Some((head, end)) = group.filter(|(head, _)| self.is_before_end(head.revision))
            else {
                if next <= self.settled {
                    // Used again and written over, perhaps: nothing in it is needed.
                    return Ok(None);
                }
                return self.ended(&bytes, at, next).map(|()| expected);
            };
            if head.revision > next || expected.is_some_and(|next| head.revision != next) {
                return Err(self.damaged(offset, next));
            }
            let whole = at + end.next_multiple_of(ALIGN);
            if head.revision > self.settled {
                let payload = record::payload(&bytes[at..at + end], head, self.cipher);
                let writes = payload.and_then(|payload| record::writes(&payload));
                let writes = writes.ok_or_else(|| self.damaged(offset, next))?;
                apply(head.revision, writes);
                let (revision, segment) = (head.revision, self.place);
                let record = Place { revision, segment, offset, bytes: whole - at };
                self.doubtful.push(record, head.durable);
            }
            self.segment.last = head.revision;
            expected = Some(head.revision.next());
            offset = whole as u64;
        }
    }

    fn read(&self) -> Result<Vec<u8>, Damage> {
        let file = || self.segment.name.clone();
        let failed = |source| Damage::Io { file: file(), source };
        let expected = self.segment.header.len;
        let len = self.segment.file.len().map_err(failed)?;
        if len != expected {
            return Err(Damage::Length { file: file(), len, expected });
        }
        let mut bytes = vec![0; usize::try_from(len).map_err(|e| failed(io::Error::other(e)))?];
        self.segment.file.read(0, &mut bytes).map_err(failed)?;
        Ok(bytes)
    }

    fn is_before_end(&self, revision: Revision) -> bool {
        self.end.is_none_or(|end| revision < end)
    }

    /// At `at` is no record that counts: fine if `next` was never durable.
    fn ended(&self, bytes: &[u8], at: usize, next: Revision) -> Result<(), Damage> {
        let here = || Err(self.damaged(at as u64, next));
        if let Some(end) = self.end {
            return if end > next { here() } else { Ok(()) };
        }
        let is_durable = |later: usize| {
            let seed = seed(self.segment.header.number, later as u64);
            record::open(&bytes[later..], seed).is_some_and(|(head, _)| head.durable >= next)
        };
        if (at..bytes.len()).step_by(ALIGN).any(is_durable) {
            return here();
        }
        match self.later {
            _ if self.durable < next => Ok(()),
            // That one was begun because this one was full.
            Some(later) => Err(Damage::Record {
                file: later.to_owned(),
                offset: segment::HEADER_BYTES,
                revision: next,
            }),
            None => here(),
        }
    }

    fn damaged(&self, offset: u64, revision: Revision) -> Damage {
        Damage::Record { file: self.segment.name.clone(), offset, revision }
    }
}
