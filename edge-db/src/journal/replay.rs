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

use bytes::Bytes;

use super::mark::Mark;
use super::record::{self, ALIGN, HEADER_BYTES};
use super::segment::{self, Header, HeaderError, Segment, seed};
use crate::disk::{Disk, DiskFile};
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

impl Damage {
    /// The file, and where in it.
    pub(crate) fn place(&self) -> (&str, Option<u64>) {
        match self {
            Damage::Io { file, .. }
            | Damage::Header { file }
            | Damage::Format { file, .. }
            | Damage::Length { file, .. }
            | Damage::Twice { other: file, .. } => (file, None),
            Damage::Record { file, offset, .. } => (file, Some(*offset)),
            Damage::Missing { .. } => ("the journal", None),
        }
    }

    /// What is wrong there.
    pub(crate) fn what(&self) -> String {
        match self {
            Damage::Io { source, .. } => format!("it cannot be read: {source}"),
            Damage::Header { .. } => "it has no header of a journal segment".to_owned(),
            Damage::Record { revision, .. } => format!("commit {revision} should be there"),
            other => other.to_string(),
        }
    }
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Replay {
    found: Vec<Found>,
    last: Revision,
    /// What the mark says.
    durable: Revision,
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

    /// The youngest revision that anything left of the journal speaks of, in records that do not
    /// count, too.
    pub(crate) fn latest_told(&self) -> Revision {
        let told = self.found.iter().filter_map(|found| {
            let bytes = found.read_any();
            let number = found.header.number;
            let records = (0..bytes.len())
                .step_by(ALIGN)
                .filter_map(move |at| record::open(&bytes[at..], seed(number, at as u64)));
            records.map(|(head, _)| head.revision.max(head.durable)).max()
        });
        told.max().unwrap_or_default().max(self.durable).max(self.last)
    }

    /// How many segments there are.
    pub(crate) fn segments_found(&self) -> u64 {
        self.found.len() as u64
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

impl Found {
    /// What can be read of it, zeros for the rest.
    fn read_any(&self) -> Vec<u8> {
        const STEP: usize = 4096;
        let len = self.file.len().unwrap_or(0).min(self.header.len);
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        if self.file.read(0, &mut bytes).is_err() {
            for (place, part) in bytes.chunks_mut(STEP).enumerate() {
                if self.file.read((place * STEP) as u64, part).is_err() {
                    part.fill(0);
                }
            }
        }
        bytes
    }
}

/// Hands every group behind `settled` to `apply`, in order. All of them are durable when this
/// returns.
pub(crate) fn replay(
    disk: &dyn Disk,
    settled: Revision,
    apply: impl FnMut(Revision, Vec<Write>),
) -> Result<Replay, Damage> {
    let (replay, doubtful) = read(disk, settled, apply, &mut Err)?;
    doubtful.make_durable(&replay.found)?;
    Ok(replay)
}

/// [`replay`] that tells `note` of each damage, and gives it up only if that does. What lies
/// behind the first commit that is lost is not applied. Writes nothing.
pub(crate) fn salvage(
    disk: &dyn Disk,
    settled: Revision,
    apply: impl FnMut(Revision, Vec<Write>),
    note: &mut dyn FnMut(Damage) -> Result<(), Damage>,
) -> Result<Replay, Damage> {
    read(disk, settled, apply, note).map(|(replay, _)| replay)
}

fn read(
    disk: &dyn Disk,
    settled: Revision,
    mut apply: impl FnMut(Revision, Vec<Write>),
    note: &mut dyn FnMut(Damage) -> Result<(), Damage>,
) -> Result<(Replay, Doubtful), Damage> {
    let mut found = find(disk, note)?;
    let durable = Mark::read(disk);
    let mut expected = None;
    let mut doubtful = Doubtful { proven: durable.max(settled), records: VecDeque::new() };
    let mut is_lost = false;
    for place in 0..found.len() {
        let (segment, later) = found[place..].split_first_mut().expect("place is below the length");
        // The first record of a later segment says where this one ends: behind it only what a
        // failed write left.
        let end = later.iter().filter_map(|later| later.first).min();
        if end.is_some_and(|end| end <= settled.next()) {
            continue;
        }
        let later = later.first().map(|later| later.name.as_str());
        let walk = Walk { place, segment, settled, end, later, durable, doubtful: &mut doubtful };
        if let Err(damage) = walk.run(&mut expected, &mut apply, note) {
            note(damage)?;
            is_lost = true;
            break;
        }
    }
    let last = expected.map_or(settled, |next: Revision| Revision::new(next.get() - 1));
    let last = last.max(settled);
    if last < durable && !is_lost {
        note(Damage::Missing { last, durable })?;
    }
    Ok((Replay { found, last, durable }, doubtful))
}

/// What segments begin with, in the order of their numbers.
pub(crate) fn first_revisions(disk: &dyn Disk) -> Vec<Revision> {
    let found = find(disk, &mut |_| Ok(())).unwrap_or_default();
    found.iter().filter_map(|found| found.first).collect()
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
fn find(
    disk: &dyn Disk,
    note: &mut dyn FnMut(Damage) -> Result<(), Damage>,
) -> Result<Vec<Found>, Damage> {
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
        match read_header(disk, &name) {
            Ok((file, header, first)) => {
                found.push(Found { name, file, header, first, last: Revision::ZERO });
            }
            Err(damage) => note(damage)?,
        }
    }
    found.sort_by_key(|found| found.header.number);
    let mut segments: Vec<Found> = Vec::new();
    for found in found {
        match segments.last().filter(|before| before.header.number == found.header.number) {
            Some(before) => note(Damage::Twice { file: before.name.clone(), other: found.name })?,
            None => segments.push(found),
        }
    }
    Ok(segments)
}

type Headed = (Arc<dyn DiskFile>, Header, Option<Revision>);

fn read_header(disk: &dyn Disk, name: &str) -> Result<Headed, Damage> {
    let file_name = || name.to_owned();
    let failed = |source| Damage::Io { file: file_name(), source };
    let file = disk.open(name).map_err(failed)?;
    let mut bytes = [0; 64];
    match file.read(0, &mut bytes) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(Damage::Header { file: file_name() });
        }
        Err(error) => return Err(failed(error)),
    }
    let header = segment::decode(&bytes).map_err(|error| match error {
        HeaderError::Format(found) => Damage::Format { file: file_name(), found },
        HeaderError::Damaged => Damage::Header { file: file_name() },
    })?;
    let first = first_revision(&*file, header).map_err(failed)?;
    Ok((file, header, first))
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
    /// Moves on the revision that is expected next.
    fn run(
        self,
        expected: &mut Option<Revision>,
        apply: &mut impl FnMut(Revision, Vec<Write>),
        note: &mut dyn FnMut(Damage) -> Result<(), Damage>,
    ) -> Result<(), Damage> {
        let bytes = match self.read() {
            Ok(bytes) => bytes,
            Err(damage) => {
                note(damage)?;
                self.segment.read_any()
            }
        };
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
                    *expected = None;
                    return Ok(());
                }
                return self.ended(&bytes, at, next);
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
                let (revision, segment) = (head.revision, self.place);
                let record = Place { revision, segment, offset, bytes: whole - at };
                self.doubtful.push(record, head.durable);
            }
            self.segment.last = head.revision;
            *expected = Some(head.revision.next());
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
