//! What can be read of a database in a folder, damaged or not: the tree with the journal on top.

use std::convert::Infallible;
use std::ops::Bound;

use bytes::Bytes;

use super::commits::Commits;
use super::merge::Merge;
use super::progress::Told;
use super::{Progress, Report, VerifyError};
use crate::audit::findings::Findings;
use crate::disk::Disk;
use crate::encryption::{self, Cipher};
use crate::journal::{self, mark};
use crate::memory::{Found, MemoryTable};
use crate::revision::Revision;
use crate::space::Space;
use crate::tree::{self, FILE, Lookup, Lost, Piece, Settled, UNBORN, Walker};

/// What is done about damage that costs nothing.
const ANEW: &str = "the file is made anew, nothing is lost";

/// What is left, in the order of keys.
pub(crate) enum Left<'a> {
    Entry(&'a [u8], &'a [u8]),
    Lost(Lost),
}

#[derive(Debug)]
pub(crate) struct Remains {
    /// `None` if there is no data file.
    walker: Option<Walker>,
    /// What the journal has that has not settled.
    journal: MemoryTable,
    cipher: Option<Cipher>,
    /// The last commit that is left.
    pub(crate) revision: Revision,
}

/// Whether there is a database in this folder, or anything of one.
pub(crate) fn is_database(disk: &dyn Disk) -> bool {
    let files = [FILE, UNBORN, mark::FILE, encryption::FILE, crate::new_folder::INCOMPLETE];
    let is_segment = |name: &str| journal::is_segment(name) || journal::is_unborn(name);
    let names = disk.names().unwrap_or_default();
    names.iter().any(|name| files.contains(&name.as_str()) || is_segment(name))
}

impl Remains {
    /// Opens the files, and reads the journal.
    pub(crate) fn gather(
        disk: &dyn Disk,
        cipher: Option<Cipher>,
        found: &mut Findings,
        report: &mut Report,
    ) -> Result<Remains, VerifyError> {
        let walker = match Walker::open(disk, cipher.clone()) {
            Ok(walker) => Some(walker),
            // One that was never completed has nothing in it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && is_unborn(disk) => None,
            Err(error) => {
                found.file(
                    FILE,
                    None,
                    format!("it cannot be read: {error}"),
                    "what had settled is lost",
                );
                None
            }
        };
        tell_files(walker.as_ref(), found);
        if mark::is_damaged(disk) {
            let what =
                "it does not match its checksum: how far the journal was durable is not known";
            found.file(mark::FILE, None, what, "it is written anew, nothing is lost");
        }
        let commits = match settled(walker.as_ref(), disk) {
            Some(settled) => Commits::read(disk, cipher.as_ref(), settled, found, report)?,
            None => Commits::guess(disk, cipher.as_ref(), walker.as_ref(), found, report)?,
        };
        Ok(Remains { walker, journal: commits.table, cipher, revision: commits.last })
    }

    /// What is stored under a key; `None` if that cannot be read.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Option<Bytes>> {
        match self.journal.get(key, || self.revision) {
            Found::Value(value) => return Some(Some(value)),
            Found::Deleted => return Some(None),
            Found::Below => {}
        }
        match self.walker.as_ref().map_or(Lookup::Absent, |walker| walker.get(key)) {
            Lookup::Found(value) => Some(Some(value.into())),
            Lookup::Absent => Some(None),
            Lookup::Lost => None,
        }
    }

    /// All that is left. The visitor may stop by an error.
    pub(crate) fn each<E>(
        &self,
        progress: &mut dyn FnMut(Progress),
        visit: &mut dyn FnMut(Left<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut merge = Merge { table: &self.journal, at: self.revision, from: Bound::Unbounded };
        let Some(walker) = &self.walker else { return merge.rest(visit) };
        let mut told = Told::new(0, walker.bytes(), progress);
        walker.walk(&mut |piece| match piece {
            Piece::Read(bytes) => {
                told.read(bytes);
                Ok(())
            }
            Piece::Lost(lost) => visit(Left::Lost(lost)),
            Piece::Entry(key, _) if key == Space::SETTLED.prefix() => Ok(()),
            Piece::Entry(key, value) => merge.below(key, value, visit),
        })?;
        merge.rest(visit)
    }

    /// What is not read for entries: redb's own pages, blocks that nobody uses, and whether redb
    /// opens the file.
    pub(crate) fn rest(
        &self,
        disk: &dyn Disk,
        progress: &mut dyn FnMut(Progress),
        found: &mut Findings,
        report: &mut Report,
    ) {
        let Some(walker) = &self.walker else { return };
        let mut told = Told::new(walker.seen_bytes(), walker.bytes(), progress);
        let unused = walker.rest(&mut |piece| {
            if let Piece::Read(bytes) = piece {
                told.read(bytes);
            }
            Ok::<(), Infallible>(())
        });
        report.blocks = walker.bytes() / 4096;
        if walker.has_sums() {
            report.unused_blocks = unused.unwrap_or_else(|never| match never {});
        }
        tell_shape(walker, found);
        if walker.is_encrypted() && walker.opens_nothing() {
            let what = format!("no block of {FILE} can be decrypted with what is in it");
            let repair = "if it is another database's, put the right one back and verify again";
            found.file(encryption::FILE, None, what, repair);
        }
        if found.list.is_empty()
            && let Err(error) = tree::try_open(disk, self.cipher.clone())
        {
            let cause =
                std::error::Error::source(&error).map_or_else(String::new, ToString::to_string);
            found.file(FILE, None, format!("redb does not open it: {cause}"), ANEW);
        }
    }
}

/// What the files are, whatever is in them.
fn tell_files(walker: Option<&Walker>, found: &mut Findings) {
    let Some(walker) = walker else { return };
    if let Some(damage) = walker.header_damage() {
        let repair = "what can be read from there is kept, in a new file";
        found.file(FILE, Some(4096), format!("its header is damaged: {damage}"), repair);
    }
    if !walker.has_sums() {
        let entries = if walker.is_encrypted() { "seals" } else { "checksums" };
        let what = format!("it does not begin with {entries} of its blocks");
        found.file(FILE, Some(0), what, ANEW);
    }
}

/// Up to which commit everything is in the tree; `None` if that is not known.
fn settled(walker: Option<&Walker>, disk: &dyn Disk) -> Option<Revision> {
    let Some(walker) = walker else { return is_unborn(disk).then_some(Revision::ZERO) };
    match walker.get(&Space::SETTLED.prefix()) {
        Lookup::Found(stored) => Settled::decode(&stored).map(|settled| settled.revision),
        Lookup::Absent => Some(Revision::ZERO),
        Lookup::Lost => None,
    }
}

/// What the walks came by.
fn tell_shape(walker: &Walker, found: &mut Findings) {
    let shape = walker.shape();
    if walker.has_sums() {
        for offset in &shape.mended {
            let what = "the block does not match its checksum, its content is whole";
            found.file(FILE, Some(*offset), what, ANEW);
        }
    }
    for offset in &shape.bypassed {
        let what = "a page that leads to others is damaged";
        let repair = "what it led to is kept as far as it can be found";
        found.file(FILE, Some(*offset), what, repair);
    }
    for offset in &shape.bookkeeping {
        found.file(FILE, Some(*offset), "a page of redb's own is damaged", ANEW);
    }
    if shape.missing > 0 {
        let what = format!("{} entries that were stored are not there", shape.missing);
        found.file(FILE, None, what, "what the journal does not have of them is lost");
    }
    if shape.surplus > 0 {
        let what = format!("{} entries are more than were stored", shape.surplus);
        found.file(FILE, None, what, "those in their place are kept");
    }
}

/// Whether creating the database was never completed.
fn is_unborn(disk: &dyn Disk) -> bool {
    let names = disk.names().unwrap_or_default();
    !names.iter().any(|name| name == FILE || name == mark::FILE || journal::is_segment(name))
}
