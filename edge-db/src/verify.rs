//! Looks at everything in a database, and says what is wrong.

mod commits;
mod merge;
mod progress;
pub(crate) mod remains;
mod report;

use std::collections::HashMap;
use std::ops::{Bound, ControlFlow};
use std::path::Path;
use std::sync::Arc;

pub use progress::Progress;
pub use report::{Finding, Place, Report};

use crate::audit::findings::Findings;
use crate::audit::{Audit, Sources};
use crate::disk::unchanged::Unchanged;
use crate::disk::{Disk, DiskLock, Folder, LockError};
use crate::encryption::{self, Cipher, Encryption, EncryptionKey, Locked, UnlockError};
use crate::error::{ReadError, StoreError};
use crate::{Db, DbBuilder, Time};
use remains::Remains;

/// Why a folder could not be looked at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The folder cannot be read.
    #[error("cannot read the database folder {place}")]
    Folder {
        /// The folder.
        place: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The database is encrypted, and no key was given. Give the key that opens it to the builder,
    /// by `DbBuilder::encryption_key`, and verify or plan from there.
    #[error("database {place} is encrypted: give its key, by DbBuilder::encryption_key")]
    KeyNeeded {
        /// The folder.
        place: String,
    },
    /// The database is encrypted by another key than this one.
    #[error("database {place} is encrypted by another key than the one given")]
    WrongKey {
        /// The folder.
        place: String,
    },
    /// The file `key` of an encrypted database is damaged: without it there is nothing to see. Put a
    /// copy of it back, or restore a backup.
    #[error("the file `key` of {place} is damaged: put a copy of it back, or restore a backup")]
    KeyDamaged {
        /// The folder.
        place: String,
    },
    /// There are encrypted files and no file `key`: without it there is nothing to see. Put a copy
    /// of it back, or restore a backup.
    #[error("the file `key` of {place} is missing: put a copy of it back, or restore a backup")]
    KeyMissing {
        /// The folder.
        place: String,
    },
    /// A key was given, but the database was created without one. Verify it without.
    #[error("database {place} is not encrypted: verify it without a key")]
    NotEncrypted {
        /// The folder.
        place: String,
    },
    /// The database is encrypted, and this build cannot decrypt. Build edge-db with the cargo
    /// feature `encryption`.
    #[error("database {place} is encrypted, this build cannot: cargo feature `encryption` is off")]
    EncryptionOff {
        /// The folder.
        place: String,
    },
    /// There is no database in the folder, nor anything left of one.
    #[error("there is no database in {place}")]
    NoDatabase {
        /// The folder.
        place: String,
    },
    /// Another process, or a [`Db`](crate::Db) in this one, has the database open, and would change
    /// it meanwhile. Close it first, or use [`Db::verify`](crate::Db::verify).
    #[error("database {place} is in use: {holder} has it open")]
    InUse {
        /// The folder.
        place: String,
        /// Who has it open, as far as is known.
        holder: String,
    },
    /// A later edge-db wrote it. Verify it with that version.
    #[error("the database has format {found}, this build knows {known}")]
    Format {
        /// The format in it.
        found: u32,
        /// The one that this build knows.
        known: u32,
    },
    /// A [`restore`](crate::restore) or repair into the folder was not completed: there is nothing
    /// in it that is not elsewhere, too. Remove it and begin again.
    #[error("{place} is incomplete: remove it, and restore or repair into it again")]
    Incomplete {
        /// The folder.
        place: String,
    },
}

/// Looks at everything in the database in this folder: each record of the journal, each block of
/// the data file, the tree in it, and each entry: keys and values as far as their kinds are known,
/// names, chunks of logs and what is counted of them, cursors, index entries and their rows,
/// counts. Tells `progress` how far it is.
///
/// One that is encrypted takes its key: [`DbBuilder::verify`].
///
/// Changes nothing but the file `lock`, which it holds meanwhile. What a power cut or a kill leaves
/// is no damage. Reads the journal and the data file once, pages of an index and its table more
/// often. Memory takes what has not settled, a byte for each block, the names, and the findings.
///
/// What it cannot know: whether a value is one of its table's type; whether a row that has no index
/// entry should have one, which [`Db::verify`](crate::Db::verify) knows of indexes that are open;
/// and whether the journal went on behind its end, if the file `durable` is lost as well.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("db");
/// # edge_db::Db::open(&path)?.shutdown(std::time::Duration::from_secs(5))?;
/// let report = edge_db::verify(&path, |progress| {
///     eprintln!("{} of {} bytes", progress.done_bytes, progress.all_bytes);
/// })?;
/// assert!(report.is_clean(), "{:?}", report.findings);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// See [`VerifyError`]. What is wrong with the database is no error but in the report.
pub fn verify(
    dir: impl AsRef<Path>,
    progress: impl FnMut(Progress),
) -> Result<Report, VerifyError> {
    Db::builder().verify(dir, progress)
}

/// [`verify`] for a database on other storage, as
/// [`DbBuilder::open_on`](crate::DbBuilder::open_on) puts it.
///
/// # Errors
/// See [`VerifyError`].
pub fn verify_on(
    disk: Arc<dyn Disk>,
    progress: impl FnMut(Progress),
) -> Result<Report, VerifyError> {
    Db::builder().verify_on(disk, progress)
}

impl DbBuilder {
    /// [`verify`](crate::verify) for a database that may be encrypted, with the key that was given
    /// by `encryption_key`; all else that was set is of no matter. What does not decrypt as what was
    /// written at its place is found as what does not match a checksum is. A block is named, be it
    /// altered or its seal.
    ///
    /// # Errors
    /// See [`VerifyError`].
    pub fn verify(
        self,
        dir: impl AsRef<Path>,
        mut progress: impl FnMut(Progress),
    ) -> Result<Report, VerifyError> {
        let source = Source::open(dir.as_ref(), self.key())?;
        source.look(&mut progress).map(|looked| looked.report)
    }

    /// [`DbBuilder::verify`] for a database on other storage, as [`DbBuilder::open_on`] puts it.
    ///
    /// # Errors
    /// See [`VerifyError`].
    pub fn verify_on(
        self,
        disk: Arc<dyn Disk>,
        mut progress: impl FnMut(Progress),
    ) -> Result<Report, VerifyError> {
        let source = Source::open_on(disk, self.key())?;
        source.look(&mut progress).map(|looked| looked.report)
    }
}

/// A folder that nobody else writes to.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) disk: Arc<dyn Disk>,
    /// That unlocked it, if it is encrypted.
    pub(crate) key: Option<EncryptionKey>,
    cipher: Option<Cipher>,
    _lock: DiskLock,
}

/// What was found, and what is left.
#[derive(Debug)]
pub(crate) struct Looked {
    pub(crate) report: Report,
    pub(crate) edits: Vec<crate::store::Write>,
    pub(crate) remains: Remains,
}

impl Source {
    pub(crate) fn open(dir: &Path, key: Option<&EncryptionKey>) -> Result<Source, VerifyError> {
        let place = dir.display().to_string();
        let folder = Folder::existing(dir);
        let folder =
            folder.map_err(|source| VerifyError::Folder { place: place.clone(), source })?;
        Source::open_on(Arc::new(folder), key)
    }

    fn open_on(disk: Arc<dyn Disk>, key: Option<&EncryptionKey>) -> Result<Source, VerifyError> {
        let place = disk.place();
        let disk = Arc::new(Unchanged::new(disk));
        if !remains::is_database(&*disk) {
            return Err(VerifyError::NoDatabase { place });
        }
        let lock = disk.lock().map_err(|error| match error {
            LockError::Held { holder } => VerifyError::InUse { place: place.clone(), holder },
            LockError::Io(source) => VerifyError::Folder { place: place.clone(), source },
        })?;
        if disk.open(crate::new_folder::INCOMPLETE).is_ok() {
            return Err(VerifyError::Incomplete { place });
        }
        let unlocked =
            encryption::unlock(&*disk, key).map_err(|locked| locked_out(place, locked))?;
        let cipher = unlocked.as_ref().map(Encryption::cipher);
        Ok(Source { disk, key: key.cloned(), cipher, _lock: lock })
    }

    pub(crate) fn look(&self, progress: &mut dyn FnMut(Progress)) -> Result<Looked, VerifyError> {
        let mut found = Findings::default();
        let mut report = Report::default();
        let cipher = self.cipher.clone();
        let remains = Remains::gather(&*self.disk, cipher, &mut found, &mut report)?;
        let get = |key: &[u8]| remains.get(key);
        let sources = Sources { get: &get, extracts: HashMap::new(), now: Time::now() };
        let mut audit = Audit::new(sources, found);
        remains
            .each(progress, &mut |piece| {
                match piece {
                    remains::Left::Entry(key, value) => audit.entry(key, value),
                    remains::Left::Lost(lost) => audit.lost(lost),
                }
                Ok::<(), std::convert::Infallible>(())
            })
            .unwrap_or_else(|never| match never {});
        if let Some(found) = audit.later_format {
            return Err(VerifyError::Format { found, known: crate::db::FORMAT });
        }
        (report.entries, report.bytes, report.names) = (audit.entries, audit.bytes, audit.names());
        let mut found = audit.finish();
        remains.rest(&*self.disk, progress, &mut found, &mut report);
        (report.findings, report.more_findings) = (found.list, found.more);
        Ok(Looked { report, edits: found.edits, remains })
    }
}

fn locked_out(place: String, locked: Locked) -> VerifyError {
    match locked {
        Locked::Unread(source) => VerifyError::Folder { place, source },
        Locked::KeyNeeded => VerifyError::KeyNeeded { place },
        Locked::EncryptionOff => VerifyError::EncryptionOff { place },
        Locked::NotEncrypted => VerifyError::NotEncrypted { place },
        Locked::KeyMissing => VerifyError::KeyMissing { place },
        Locked::Key(UnlockError::WrongKey) => VerifyError::WrongKey { place },
        Locked::Key(UnlockError::Damaged) => VerifyError::KeyDamaged { place },
        Locked::Key(UnlockError::Format(found)) => {
            VerifyError::Format { found, known: encryption::FORMAT }
        }
    }
}

impl Db {
    /// Looks at every entry as it is now, while writing goes on: as [`verify`](crate::verify) does,
    /// but through the open database, and with the code of the indexes that are open: each row
    /// that they have an entry for has that one and no other. Journal and unused blocks are not
    /// looked at. Reads all of the database once; what is overwritten meanwhile is kept as for a
    /// [`Snapshot`](crate::Snapshot).
    ///
    /// A damaged block is found as any read would find it: the walk ends there with one finding,
    /// and what is not in memory may not be readable until the database is opened again. Rather
    /// close a database that matters, and look at the folder.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let db = edge_db::Db::open(dir.path())?;
    /// assert!(db.verify()?.is_clean());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the database is closed.
    pub fn verify(&self) -> Result<Report, ReadError> {
        let view = self.view()?;
        let get = |key: &[u8]| view.get(key).ok();
        let extracts = self.extracts().all();
        let mut audit =
            Audit::new(Sources { get: &get, extracts, now: Time::now() }, Findings::default());
        let read = view.visit(Bound::Unbounded, Bound::Unbounded, |key, value| {
            audit.entry(key, value);
            ControlFlow::Continue(())
        });
        let (entries, bytes, names) = (audit.entries, audit.bytes, audit.names());
        let found = match read {
            Ok(()) => audit.finish(),
            Err(error) => unreadable(&error, audit.found),
        };
        let (findings, more_findings) = (found.list, found.more);
        Ok(Report { entries, bytes, names, findings, more_findings, ..Report::default() })
    }
}

/// What was not read says nothing of what was: counts do not agree then.
fn unreadable(error: &StoreError, mut found: Findings) -> Findings {
    let cause = std::error::Error::source(error).map_or_else(String::new, ToString::to_string);
    let repair = "close the database, and verify the folder";
    found.file(crate::tree::FILE, None, format!("it cannot be read any further: {cause}"), repair);
    found
}
