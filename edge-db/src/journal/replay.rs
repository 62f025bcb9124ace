//! Reading the journal at open: what of it has not settled yet, and whether all of that is there.
//!
//! Records that were not synced when the power went may be torn or missing: the first of them ends
//! the journal, and segments that were begun behind it go. A bad record that others show to have
//! been durable is damage.

mod doubtful;
mod found;
mod walk;

use std::io;
use std::sync::Arc;

use doubtful::Doubtful;
pub(super) use found::first_revision;
pub(crate) use found::is_encrypted;
use found::{Found, find};
use walk::Walk;

use super::archive::End;
use super::mark::Mark;
use super::record::{self, ALIGN};
use super::segment::{self, Segment, seed};
use crate::disk::Disk;
use crate::encryption::Cipher;
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

impl Damage {
    /// The file, and where in it.
    pub(crate) fn place(&self) -> (&str, Option<u64>) {
        match self {
            Damage::Io { file, .. }
            | Damage::Write { file, .. }
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
    next_number: u64,
    /// Segments that hold nothing but what lies behind a gap.
    lost: Vec<Found>,
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

    /// Where the journal ends.
    pub(super) fn end(&self) -> End {
        let segment = self.found.iter().rfind(|found| found.first.is_some());
        End { revision: self.last, segment: segment.map_or(0, |found| found.header.number) }
    }

    pub(super) fn next_number(&self) -> u64 {
        self.next_number
    }
}

/// Hands every group behind `settled` to `apply`, in order. All of them are durable when this
/// returns.
pub(crate) fn replay(
    disk: &dyn Disk,
    cipher: Option<&Cipher>,
    settled: Revision,
    apply: impl FnMut(Revision, Vec<Write>),
) -> Result<Replay, Damage> {
    let (mut replay, doubtful) = read(disk, cipher, settled, apply, &mut Err)?;
    remove(disk, std::mem::take(&mut replay.lost))?;
    doubtful.make_durable(&replay.found)?;
    Ok(replay)
}

/// [`replay`] that tells `note` of each damage, and gives it up only if that does. What lies
/// behind the first commit that is lost is not applied. Writes nothing.
pub(crate) fn salvage(
    disk: &dyn Disk,
    cipher: Option<&Cipher>,
    settled: Revision,
    apply: impl FnMut(Revision, Vec<Write>),
    note: &mut dyn FnMut(Damage) -> Result<(), Damage>,
) -> Result<Replay, Damage> {
    read(disk, cipher, settled, apply, note).map(|(replay, _)| replay)
}

fn read(
    disk: &dyn Disk,
    cipher: Option<&Cipher>,
    settled: Revision,
    mut apply: impl FnMut(Revision, Vec<Write>),
    note: &mut dyn FnMut(Damage) -> Result<(), Damage>,
) -> Result<(Replay, Doubtful), Damage> {
    let mut found = find(disk, note)?;
    let next_number = found.last().map_or(1, |found| found.header.number + 1);
    let durable = Mark::read(disk);
    let mut expected = None;
    let mut doubtful = Doubtful::new(durable.max(settled));
    let mut lost = Vec::new();
    let mut is_damaged = false;
    for place in 0..found.len() {
        let (segment, later) = found[place..].split_first_mut().expect("place is below the length");
        // The first record of a later segment says where this one ends: behind it only what a
        // failed write left.
        let end = later.iter().filter_map(|later| later.first).min();
        if end.is_some_and(|end| end <= settled.next()) {
            continue;
        }
        let mut walk =
            Walk { place, segment, cipher, settled, end, later, durable, doubtful: &mut doubtful };
        let walked = match walk.gap_before(expected) {
            Ok(Some(missing)) => {
                let is_lost = |found: &mut Found| found.first.is_some_and(|first| first > missing);
                lost.extend(found.extract_if(.., is_lost));
                break;
            }
            Ok(None) => walk.run(&mut expected, &mut apply, note),
            Err(damage) => Err(damage),
        };
        if let Err(damage) = walked {
            note(damage)?;
            is_damaged = true;
            break;
        }
    }
    let last = expected.map_or(settled, |next: Revision| Revision::new(next.get() - 1));
    let last = last.max(settled);
    if last < durable && !is_damaged {
        note(Damage::Missing { last, durable })?;
    }
    Ok((Replay { found, last, durable, next_number, lost }, doubtful))
}

/// Removes segments that hold nothing but what lies behind a gap. Else their records would follow
/// good ones once other commits have filled the gap.
fn remove(disk: &dyn Disk, lost: Vec<Found>) -> Result<(), Damage> {
    if lost.is_empty() {
        return Ok(());
    }
    for found in lost {
        disk.remove(&found.name).map_err(|source| Damage::Write { file: found.name, source })?;
    }
    // A crash before this may leave any of them, which are behind the same gap then.
    let folder = || "the folder".to_owned();
    disk.sync_names().map_err(|source| Damage::Write { file: folder(), source })
}

/// What segments begin with, in the order of their numbers.
pub(crate) fn first_revisions(disk: &dyn Disk) -> Vec<Revision> {
    let found = find(disk, &mut |_| Ok(())).unwrap_or_default();
    found.iter().filter_map(|found| found.first).collect()
}
