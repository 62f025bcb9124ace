//! What the journal has that has not settled, as far as it can be read.

use std::collections::HashMap;
use std::convert::Infallible;

use super::{Report, VerifyError};
use crate::Seq;
use crate::audit::findings::Findings;
use crate::disk::Disk;
use crate::encryption::Cipher;
use crate::journal::{self, Damage, Replay};
use crate::log::{chunk, chunk_last};
use crate::memory::MemoryTable;
use crate::revision::Revision;
use crate::space::Space;
use crate::store::Write;
use crate::tree::{FILE, Piece, Walker};

#[derive(Debug, Default)]
pub(super) struct Commits {
    pub(super) table: MemoryTable,
    /// The last one.
    pub(super) last: Revision,
}

impl Commits {
    /// Those behind `settled`, up to the first one that is lost.
    pub(super) fn read(
        disk: &dyn Disk,
        cipher: Option<&Cipher>,
        settled: Revision,
        found: &mut Findings,
        report: &mut Report,
    ) -> Result<Commits, VerifyError> {
        let table = MemoryTable::default();
        let mut damages = Vec::new();
        let replay = salvage(disk, cipher, settled, &mut damages, &mut |revision, writes| {
            report.commits += 1;
            table.apply(writes, revision, revision);
        })?;
        report.segments = replay.segments_found();
        tell_damages(&damages, &replay, found);
        Ok(Commits { table, last: replay.last() })
    }

    /// Those of a database of which nobody knows what has settled: from the earliest one on that
    /// all later ones follow. What of it has settled is there twice then, and the same.
    pub(super) fn guess(
        disk: &dyn Disk,
        cipher: Option<&Cipher>,
        walker: Option<&Walker>,
        found: &mut Findings,
        report: &mut Report,
    ) -> Result<Commits, VerifyError> {
        let mut firsts = journal::first_revisions(disk);
        firsts.sort();
        let settled = walker.and_then(last_chunks);
        let chunks = settled.as_ref();
        let what = "how much of the journal has settled is not known";
        for (place, first) in firsts.iter().enumerate() {
            let (table, mut damages, mut commits) = (MemoryTable::default(), Vec::new(), 0);
            let before = Revision::new(first.get().saturating_sub(1));
            let replay = salvage(disk, cipher, before, &mut damages, &mut |revision, writes| {
                commits += 1;
                table.apply(behind(writes, chunks), revision, revision);
            })?;
            let is_broken = damages
                .iter()
                .any(|damage| matches!(damage, Damage::Record { .. } | Damage::Missing { .. }));
            if is_broken && place + 1 < firsts.len() {
                continue;
            }
            report.segments = replay.segments_found();
            tell_damages(&damages, &replay, found);
            if is_broken && settled.is_some() {
                // Older values must not hide younger ones.
                found.file(
                    FILE,
                    None,
                    what,
                    "all of the journal is left out: what had not settled is lost",
                );
                return Ok(Commits { last: replay.latest_told(), ..Commits::default() });
            }
            let repair = format!(
                "the journal is taken from commit {first} on; what came before is lost unless it \
                 had settled"
            );
            found.file(FILE, None, what, repair);
            report.commits = commits;
            return Ok(Commits { table, last: replay.last() });
        }
        let mut damages = Vec::new();
        let replay = salvage(disk, cipher, Revision::ZERO, &mut damages, &mut |_, _| {})?;
        report.segments = replay.segments_found();
        tell_damages(&damages, &replay, found);
        found.file(FILE, None, what, "the journal has no commits that can be read");
        Ok(Commits { last: replay.latest_told(), ..Commits::default() })
    }
}

/// The last chunk of each log in the tree; `None` if nothing is in it.
fn last_chunks(walker: &Walker) -> Option<HashMap<Space, Seq>> {
    let mut chunks = None;
    let walked = walker.walk(&mut |piece| {
        if let Piece::Entry(key, value) = piece {
            let chunks = chunks.get_or_insert_with(HashMap::new);
            chunks.extend(chunk_of(key, value));
        }
        Ok::<(), Infallible>(())
    });
    walked.unwrap_or_else(|never| match never {});
    chunks
}

/// Reads the journal past what is damaged.
fn salvage(
    disk: &dyn Disk,
    cipher: Option<&Cipher>,
    settled: Revision,
    damages: &mut Vec<Damage>,
    apply: &mut dyn FnMut(Revision, Vec<Write>),
) -> Result<Replay, VerifyError> {
    let replay = journal::salvage(disk, cipher, settled, apply, &mut |damage| match damage {
        // Nobody knows what is in it: nothing may be given up for it.
        Damage::Format { .. } => Err(damage),
        damage => {
            damages.push(damage);
            Ok(())
        }
    });
    replay.map_err(|damage| match damage {
        Damage::Format { found, .. } => VerifyError::Format { found, known: journal::FORMAT },
        other => VerifyError::Folder { place: disk.place(), source: std::io::Error::other(other) },
    })
}

fn tell_damages(damages: &[Damage], replay: &Replay, found: &mut Findings) {
    for damage in damages {
        let (file, offset) = damage.place();
        let lost = match damage {
            Damage::Twice { .. } => "the second one is left out, nothing is lost".to_owned(),
            Damage::Record { revision, .. } => {
                let last = replay.latest_told();
                let mut lost = format!("commits from {revision} on are lost");
                if last >= *revision {
                    lost = format!("commits {revision} to {last} are lost, and any behind them");
                }
                format!("{lost}; everything becomes as it was before")
            }
            Damage::Missing { last, durable } => {
                format!("commits {} to {durable} are lost, and any behind them", last.next())
            }
            _ => "its commits that had not settled are lost, if there were any".to_owned(),
        };
        found.file(file, offset, damage.what(), lost);
    }
}

/// A chunk of a log: its space and last record.
fn chunk_of(key: &[u8], value: &[u8]) -> Option<(Space, Seq)> {
    chunk::front(value).ok()?;
    Some((Space::of(key)?, chunk_last(key)?))
}

/// Writes without the chunks that the tree has, or had, as parts of joined ones.
fn behind(writes: Vec<Write>, chunks: Option<&HashMap<Space, Seq>>) -> Vec<Write> {
    let Some(chunks) = chunks else { return writes };
    let is_behind = |write: &Write| match write {
        Write::Put(key, value) => chunk_of(key, value)
            .is_none_or(|(space, last)| chunks.get(&space).is_none_or(|settled| last > *settled)),
        _ => true,
    };
    writes.into_iter().filter(is_behind).collect()
}
