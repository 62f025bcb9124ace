//! Makes a new database of what is left of a damaged one.

use std::fmt;
use std::path::Path;

use bytes::Bytes;

use crate::backup::BackupSummary;
use crate::encryption::Encryption;
use crate::error::StoreError;
use crate::new_folder::{FillError, NewFolder, NewFolderError};
use crate::store::Write;
use crate::verify::remains::Left;
use crate::verify::{Looked, Progress, Report, Source, VerifyError};
use crate::{Db, DbBuilder};

/// Entries are written as many at once.
const ENTRIES_AT_ONCE: usize = 256;

/// Why nothing was repaired. The damaged database is as it was; a folder in which repair has begun
/// does not open as a database: remove it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepairError {
    /// There is something in the folder. Repair into a new one.
    #[error("{place} is not empty: repair into a new folder")]
    NotEmpty {
        /// The folder.
        place: String,
    },
    /// The folder cannot be used.
    #[error("cannot use {place} as a database folder")]
    Folder {
        /// The folder.
        place: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The new database could not be written.
    #[error("could not write the repaired database")]
    Store(#[from] StoreError),
    /// Less, or something else, could be read than when the plan was made: the medium gets worse.
    /// Copy the folder elsewhere, and plan again.
    #[error("the database does not read as it did when the repair was planned: plan it again")]
    Changed,
}

/// What a repair would do, and the means to do it; from [`plan_repair`]. It keeps the damaged
/// database locked, so that what is done is what was planned.
///
/// As text it says line for line what is wrong, and what would be dropped or built anew.
#[must_use = "nothing is repaired before `apply`"]
pub struct RepairPlan {
    source: Source,
    looked: Looked,
}

/// Looks at everything as [`verify`](crate::verify) does, and says what a repair would keep, drop
/// and build anew. Changes nothing. One that is encrypted takes its key: [`DbBuilder::plan_repair`].
///
/// What is kept is what is known by its checksums to be what was written:
///
/// - Of the journal, everything up to the first commit that is lost. What came behind it is
///   dropped, so that the database becomes as it was before that commit.
/// - Of the data file, everything on undamaged pages. Of a page that leads to others, what it led
///   to is kept as far as it can be found.
/// - Records of a log that are lost become a gap of it ([`Log::gaps`](crate::Log::gaps), with the
///   reason [`GapReason::Damaged`](crate::GapReason::Damaged)); the others keep their positions,
///   and readers are told by [`Records::missing`](crate::Records::missing).
/// - Counts, and what is said of a log, are made of what is there. An index of a table that lost
///   anything is emptied; the next open of it fills it.
/// - What lost its name is kept under the name `recovered-` and a number. Of cursors that are lost
///   not even the names may be known; their readers begin anew at the oldest record.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let (damaged, repaired) = (dir.path().join("db"), dir.path().join("repaired"));
/// # edge_db::Db::open(&damaged)?.shutdown(std::time::Duration::from_secs(5))?;
/// let plan = edge_db::plan_repair(&damaged, |_| {})?;
/// print!("{plan}");                         // and only when somebody has agreed:
/// plan.apply(&repaired, |_| {})?;           // the damaged folder stays as it is
/// assert!(edge_db::verify(&repaired, |_| {})?.is_clean());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// See [`VerifyError`].
pub fn plan_repair(
    dir: impl AsRef<Path>,
    progress: impl FnMut(Progress),
) -> Result<RepairPlan, VerifyError> {
    Db::builder().plan_repair(dir, progress)
}

impl DbBuilder {
    /// [`plan_repair`](crate::plan_repair) for a database that may be encrypted, with the key that
    /// was given by `encryption_key`; all else that was set is of no matter.
    ///
    /// What is kept of it is what decrypts as what was written at its place. Of a page that leads to
    /// others and does not decrypt, what is said of those is tried all the same: they prove
    /// themselves. Blocks whose seals are lost are lost, up to 102 with one block of seals.
    ///
    /// The repaired database opens with the same key, but has a data key of its own, so a file `key`
    /// of its own: take a copy of that one for those that you have.
    ///
    /// # Errors
    /// See [`VerifyError`].
    pub fn plan_repair(
        self,
        dir: impl AsRef<Path>,
        mut progress: impl FnMut(Progress),
    ) -> Result<RepairPlan, VerifyError> {
        let source = Source::open(dir.as_ref(), self.key())?;
        let looked = source.look(&mut progress)?;
        Ok(RepairPlan { source, looked })
    }
}

impl RepairPlan {
    /// What was found, and what would be done about each of it.
    pub fn report(&self) -> &Report {
        &self.looked.report
    }

    /// Writes the repaired database into a new folder, and leaves the damaged one as it is:
    /// somebody puts the one in place of the other. A power cut on the way leaves a folder that
    /// does not open, to be removed. Reads all of the damaged database once more; takes as much of
    /// the disk as the result, and about 24 MiB of memory.
    ///
    /// # Errors
    /// See [`RepairError`].
    pub fn apply(
        self,
        into: impl AsRef<Path>,
        mut progress: impl FnMut(Progress),
    ) -> Result<BackupSummary, RepairError> {
        let Looked { report, edits, remains } = self.looked;
        // Not the data key of the damaged one, which may lie beside the new one for long: commits
        // from here on have revisions that lost ones had, blocks the same numbers. What was of the
        // one would decrypt in the other, be it put there by mistake.
        let encryption = self.source.key.as_ref().map(Encryption::generate).transpose();
        let encryption = encryption.map_err(|error| StoreError::new("write", error))?;
        let mut folder = NewFolder::begin(into.as_ref(), encryption.as_ref())?;
        folder.go_to(remains.revision);
        let (mut entries, mut bytes) = (0, 0);
        let mut writes = Vec::new();
        remains.each(&mut progress, &mut |left| {
            let Left::Entry(key, value) = left else { return Ok(()) };
            entries += 1;
            bytes += (key.len() + value.len()) as u64;
            let [key, value] = [key, value].map(Bytes::copy_from_slice);
            writes.push(Write::Put(key, value));
            if writes.len() < ENTRIES_AT_ONCE {
                return Ok(());
            }
            folder.write(std::mem::take(&mut writes))
        })?;
        if (entries, bytes) != (report.entries, report.bytes) {
            return Err(RepairError::Changed);
        }
        folder.write(writes)?;
        folder.write(edits)?;
        let summary = folder.complete()?;
        drop(self.source);
        Ok(summary)
    }
}

/// Without what is in the database, which may be encrypted for a reason.
impl fmt::Debug for RepairPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RepairPlan").field("report", self.report()).finish_non_exhaustive()
    }
}

impl fmt::Display for RepairPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.report();
        for finding in &report.findings {
            writeln!(f, "{}: {}", finding.place, finding.what)?;
            writeln!(f, "    {}", finding.repair)?;
        }
        if report.more_findings > 0 {
            writeln!(f, "and {} more of such", report.more_findings)?;
        }
        if report.is_clean() {
            writeln!(f, "nothing is wrong")?;
        }
        writeln!(f, "{} entries are kept", report.entries)
    }
}

impl From<FillError> for RepairError {
    fn from(error: FillError) -> RepairError {
        match error {
            FillError::Folder(NewFolderError::NotEmpty { place }) => {
                RepairError::NotEmpty { place }
            }
            FillError::Folder(NewFolderError::Folder { place, source }) => {
                RepairError::Folder { place, source }
            }
            FillError::Store(error) => RepairError::Store(error),
        }
    }
}
