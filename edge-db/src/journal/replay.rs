//! Reading the journal at open: what of it has not settled yet, and whether all of that is there.
//!
//! Nothing is changed, but what a killed process left to the system's cache is written again as it
//! is and synced, so that it is durable before anybody sees it. Records that were not synced when the power went may be torn
//! or missing: the first of them ends the journal, and segments that were begun behind it go. A bad
//! record that others show to have been durable is damage.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::mark::Mark;
use super::record::{self, ALIGN, HEADER_BYTES};
use super::segment::{self, Header, HeaderError, PREFIX, Segment, UNBORN, seed};
use crate::disk::{Disk, DiskFile};
use crate::revision::Revision;
use crate::store::Write;

/// What is wrong with the journal.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Damage {
    #[error("{file} cannot be read")]
    Io { file: String, source: io::Error },
    #[error("{file} cannot be written")]
    Write { file: String, source: io::Error },
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
    next_number: u64,
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
    fn read(&self) -> Result<Vec<u8>, Damage> {
        let file = || self.name.clone();
        let failed = |source| Damage::Io { file: file(), source };
        let expected = self.header.len;
        let len = self.file.len().map_err(failed)?;
        if len != expected {
            return Err(Damage::Length { file: file(), len, expected });
        }
        let mut bytes = vec![0; usize::try_from(len).map_err(|e| failed(io::Error::other(e)))?];
        self.file.read(0, &mut bytes).map_err(failed)?;
        Ok(bytes)
    }

    /// Whether a record at `from` or behind it says that this revision was durable. `bytes` are the
    /// segment's.
    fn tells_durable(&self, revision: Revision, bytes: &[u8], from: u64) -> bool {
        let from = usize::try_from(from).expect("the segment is in memory");
        (from..bytes.len()).step_by(ALIGN).any(|at| {
            let seed = seed(self.header.number, at as u64);
            record::open(&bytes[at..], seed).is_some_and(|(head, _)| head.durable >= revision)
        })
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
        self.next_number
    }
}

/// Hands every group behind `settled` to `apply`, in order.
pub(crate) fn replay(
    disk: &dyn Disk,
    settled: Revision,
    mut apply: impl FnMut(Revision, Vec<Write>),
) -> Result<Replay, Damage> {
    let mut found = find(disk)?;
    let next_number = found.last().map_or(1, |found| found.header.number + 1);
    let durable = Mark::read(disk);
    let mut expected = None;
    for place in 0..found.len() {
        let (segment, later) = found[place..].split_first_mut().expect("place is below the length");
        // The first record of a later segment says where this one ends: behind it only what a
        // failed write left.
        let end = later.iter().filter_map(|later| later.first).min();
        if end.is_some_and(|end| end <= settled.next()) {
            continue;
        }
        let walk = Walk { segment, settled, end, later, durable };
        if let Some(missing) = walk.gap_before(expected)? {
            let is_lost = |found: &mut Found| found.first.is_some_and(|first| first > missing);
            remove(disk, found.extract_if(.., is_lost))?;
            break;
        }
        expected = walk.run(expected, &mut apply)?;
    }
    let last = expected.map_or(settled, |next: Revision| Revision::new(next.get() - 1));
    let last = last.max(settled);
    if last < durable {
        return Err(Damage::Missing { last, durable });
    }
    // A killed process may have left a record that the disk does not have yet.
    for found in found.iter().filter(|found| found.last > settled) {
        let failed = |source| Damage::Io { file: found.name.clone(), source };
        found.file.sync().map_err(failed)?;
    }
    Ok(Replay { found, last, next_number })
}

/// Removes segments that hold nothing but what lies behind a gap. Else their records would follow
/// good ones once other commits have filled the gap.
fn remove(disk: &dyn Disk, lost: impl Iterator<Item = Found>) -> Result<(), Damage> {
    for found in lost {
        let failed = |source| Damage::Io { file: found.name.clone(), source };
        disk.remove(&found.name).map_err(failed)?;
    }
    // A crash before this may leave any of them, which are behind the same gap then.
    disk.sync_names().map_err(|source| Damage::Io { file: "the folder".to_owned(), source })
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
        if !name.starts_with(PREFIX) {
            continue;
        }
        if name.ends_with(UNBORN) {
            drop(disk.remove(&name));
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
    segment: &'a mut Found,
    settled: Revision,
    /// Where a later segment goes on.
    end: Option<Revision>,
    /// The segments after it.
    later: &'a [Found],
    /// What the mark says.
    durable: Revision,
}

impl Walk<'_> {
    /// The commit that is missing before the first one of this segment, if any is. It was not
    /// durable then, and neither was anything behind it: what a power cut left of that is lost.
    fn gap_before(&self, expected: Option<Revision>) -> Result<Option<Revision>, Damage> {
        let next = expected.unwrap_or(self.settled.next());
        let first = self.segment.first.filter(|first| self.is_before_end(*first));
        if first.is_none_or(|first| first <= next) {
            return Ok(None);
        }
        let here = segment::HEADER_BYTES;
        if self.was_durable(next, &self.segment.read()?, here)? {
            return Err(self.damaged(here, next));
        }
        Ok(Some(next))
    }

    /// Gives the revision that is expected next.
    fn run(
        self,
        mut expected: Option<Revision>,
        apply: &mut impl FnMut(Revision, Vec<Write>),
    ) -> Result<Option<Revision>, Damage> {
        let bytes = self.segment.read()?;
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
                return self.ended(&bytes, offset, next).map(|()| expected);
            };
            if head.revision > next || expected.is_some_and(|next| head.revision != next) {
                return Err(self.damaged(offset, next));
            }
            let whole = at + end.next_multiple_of(ALIGN);
            if head.revision > self.settled {
                // Copied, so that memory holds no more of the segment than what is still needed.
                let payload = Bytes::copy_from_slice(&bytes[at + HEADER_BYTES..at + end]);
                let writes = record::writes(&payload).ok_or_else(|| self.damaged(offset, next))?;
                apply(head.revision, writes);
            }
            if head.revision > self.settled.max(self.durable) {
                // Its sync may have failed in a process that was killed then. Only what is written
                // again do systems save after that; a crash meanwhile leaves what there was.
                let failed = |source| Damage::Write { file: self.segment.name.clone(), source };
                // A segment that was used again has a header that is as old as its first record.
                let from = if offset == segment::HEADER_BYTES { 0 } else { at };
                self.segment.file.write(from as u64, &bytes[from..whole]).map_err(failed)?;
            }
            self.segment.last = head.revision;
            expected = Some(head.revision.next());
            offset = whole as u64;
        }
    }

    fn is_before_end(&self, revision: Revision) -> bool {
        self.end.is_none_or(|end| revision < end)
    }

    /// At `at` is no record that counts: fine if `next` was never durable.
    fn ended(&self, bytes: &[u8], at: u64, next: Revision) -> Result<(), Damage> {
        if self.end.is_some_and(|end| end <= next) || !self.was_durable(next, bytes, at)? {
            return Ok(());
        }
        match self.later.first() {
            // That one was begun because this one was full.
            Some(later) if self.end.is_none() && !self.segment.tells_durable(next, bytes, at) => {
                Err(Damage::Record {
                    file: later.name.clone(),
                    offset: segment::HEADER_BYTES,
                    revision: next,
                })
            }
            _ => Err(self.damaged(at, next)),
        }
    }

    /// Whether the mark, the segment from here on, or a later one says that a commit was durable.
    fn was_durable(&self, revision: Revision, bytes: &[u8], from: u64) -> Result<bool, Damage> {
        if self.durable >= revision || self.segment.tells_durable(revision, bytes, from) {
            return Ok(true);
        }
        for later in self.later {
            if later.tells_durable(revision, &later.read()?, segment::HEADER_BYTES) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn damaged(&self, offset: u64, revision: Revision) -> Damage {
        Damage::Record { file: self.segment.name.clone(), offset, revision }
    }
}
