//! A database made of a backup and the increments that follow it.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::increment::Increment;
use super::{BackupSummary, RestoreError, fill, read_head};
use crate::encryption::{Encryption, EncryptionKey};
use crate::new_folder::NewFolder;
use crate::revision::Revision;

/// Makes a database in a new folder of what [`Db::backup`](crate::Db::backup) wrote. The folder can
/// be opened once this has returned; if it fails, remove it. [`Restore`] takes increments, too.
///
/// # Errors
/// See [`RestoreError`].
pub fn restore(from: impl Read, dir: impl AsRef<Path>) -> Result<BackupSummary, RestoreError> {
    Restore::new(dir).run(from, std::iter::empty::<io::Result<io::Empty>>())
}

/// Makes a database of a full backup and increments, up to any commit that they hold.
///
/// What it makes is the start of a history of its own: increments of the original do not follow on
/// its backups, nor its increments on those of the original.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let db = edge_db::Db::open(dir.path().join("db"))?;
/// # let log = db.log("readings")?;
/// let (mut full, mut first, mut second) = (Vec::new(), Vec::new(), Vec::new());
/// let at = db.backup(&mut full)?.revision;
/// log.append(edge_db::Entry::new("21.5"))?;
/// let at = db.backup_since(at, &mut first)?.revision;
/// log.append(edge_db::Entry::new("21.6"))?;
/// db.backup_since(at, &mut second)?;
///
/// let increments = [first, second].map(|bytes| Ok(std::io::Cursor::new(bytes)));
/// let restored = edge_db::Restore::new(dir.path().join("copy")).up_to(at).run(&full[..], increments)?;
/// assert_eq!(restored.revision, at);
/// let copy = edge_db::Db::open(dir.path().join("copy"))?.log("readings")?;
/// assert_eq!(copy.bounds()?.end.get(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Restore {
    dir: PathBuf,
    up_to: Option<Revision>,
    key: Option<EncryptionKey>,
}

impl Restore {
    /// Restores into this folder, which must be new or empty.
    pub fn new(dir: impl AsRef<Path>) -> Restore {
        Restore { dir: dir.as_ref().to_owned(), up_to: None, key: None }
    }

    /// Restores this commit and all before it; without this call all that there is.
    pub fn up_to(mut self, revision: Revision) -> Restore {
        self.up_to = Some(revision);
        self
    }

    /// The key that the database had when the full backup was made, for one that is encrypted. What
    /// is restored is encrypted in the same way, and opens with it.
    #[cfg(feature = "encryption")]
    pub fn key(mut self, key: EncryptionKey) -> Restore {
        self.key = Some(key);
        self
    }

    /// Makes the database. Increments are taken in order, each opened when the one before has been
    /// read: `paths.iter().map(File::open)`. They may overlap; none may be missing. What lies
    /// behind the last commit that is asked for is not read.
    ///
    /// The folder can be opened once this has returned; if it fails, remove it. Memory does not grow
    /// with what is restored, but for the largest commit.
    ///
    /// # Errors
    /// See [`RestoreError`].
    pub fn run<I: Read>(
        self,
        full: impl Read,
        increments: impl IntoIterator<Item = io::Result<I>>,
    ) -> Result<BackupSummary, RestoreError> {
        let up_to = self.up_to.unwrap_or(Revision::new(u64::MAX));
        let mut full = io::BufReader::new(full);
        let head = read_head(&mut full, self.key.as_ref())?;
        if up_to < head.revision {
            return Err(RestoreError::TooLate { up_to, full: head.revision });
        }
        let mut folder = NewFolder::begin(&self.dir, head.encryption.as_ref())?;
        fill(full, &head, &mut folder)?;
        let cipher = head.encryption.as_ref().map(Encryption::cipher);
        let history = folder.history()?;
        let mut increments = increments.into_iter().enumerate();
        while folder.revision() < up_to
            && let Some((number, from)) = increments.next()
        {
            let followed = from.map_err(RestoreError::from).and_then(|from| {
                let increment = Increment::open(io::BufReader::new(from), cipher.clone())?;
                follow(&mut folder, increment, history, up_to)
            });
            let wrong = |source| RestoreError::Increment { number, source: Box::new(source) };
            followed.map_err(wrong)?;
        }
        let last = folder.revision();
        if self.up_to.is_some_and(|up_to| up_to > last) {
            return Err(RestoreError::TooShort { up_to, last });
        }
        Ok(folder.complete()?)
    }
}

/// Applies the commits of an increment that are not there yet.
fn follow(
    folder: &mut NewFolder,
    mut increment: Increment<impl Read>,
    history: u64,
    up_to: Revision,
) -> Result<(), RestoreError> {
    let (since, last) = (increment.since(), folder.revision());
    if increment.history() != history {
        return Err(RestoreError::OtherDatabase);
    }
    if since > last {
        return Err(RestoreError::Gap { since, last });
    }
    while folder.revision() < up_to
        && let Some((revision, writes)) = increment.next()?
    {
        if revision > last {
            folder.go_to(revision);
            folder.write(writes)?;
        }
    }
    Ok(())
}
