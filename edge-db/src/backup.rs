//! A copy of everything at one moment, as a stream of bytes; and a database made of it again.
//!
//! ```text
//!  0  8  "EDGEBKUP", or "EDGEBKUX" if it is encrypted
//!  8  4  format, 1
//! 12  8  revision
//! 20     if it is encrypted: 92 bytes, the file `key`
//!        frames: 4 bytes for the length of the payload, 8 for its XXH3-64, then puts as in a record
//!        of the journal; the last frame has no payload
//! ```
//! An encrypted payload, that of the last frame, too, has nonce and tag behind it.
//!
//! Numbers are little-endian. The seed of a frame's checksum is the revision plus the frame's number,
//! XOR its length shifted by 32 bits: nothing can be altered, left out or put elsewhere.

mod increment;
mod restore;
mod stream;

use std::io::{self, Read};
use std::ops::Bound;

use crate::Db;
use crate::encryption::{Encryption, EncryptionKey, UnlockError, WRAPPED_BYTES};
use crate::error::{ReadError, StoreError, WriteError};
use crate::journal::record;
use crate::new_folder::{FillError, NewFolder, NewFolderError};
use crate::revision::Revision;
use crate::space::Space;
use crate::store::Write;
pub(crate) use increment::{history, new_history};
pub use restore::{Restore, restore};
use stream::{FRAME_BYTES, Frames, Kind, ReadFrames};

const FULL: Kind = Kind { magic: b"EDGEBKUP", encrypted_magic: b"EDGEBKUX", mark: 0 };

/// What a backup holds, or what was restored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupSummary {
    /// The last commit that is in it.
    pub revision: Revision,
    /// Keys of all kinds: rows, chunks of logs, cursors, names. Of an increment: what its commits
    /// put and removed.
    pub keys: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
}

/// Why there is no backup, or no whole one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The database could not be read.
    #[error("could not read the database")]
    Read(#[from] ReadError),
    /// What the database shows could not be made durable. There is no backup of what a power cut
    /// may still take back.
    #[error("could not make durable what is to be backed up")]
    Sync(#[from] WriteError),
    /// The journal has not all of the commits any more: take a full backup, and let the next
    /// increments follow that. More often, or with more of
    /// [`DbBuilder::keep_journal_bytes`](crate::DbBuilder::keep_journal_bytes), it does not come
    /// to this.
    #[error("the journal lacks commits behind {since}, it has those from {oldest} on")]
    Gap {
        /// Where the increment was to begin.
        since: Revision,
        /// The first commit that the journal has, with all that follow.
        oldest: Revision,
    },
    /// The database has not come that far: it is not the one that this revision is of.
    #[error("there is no commit {since}: the last one is {last}")]
    Ahead {
        /// Where the increment was to begin.
        since: Revision,
        /// The last commit of the database.
        last: Revision,
    },
    /// The backup could not be written. What was written is of no use.
    #[error("could not write the backup")]
    Write(#[from] io::Error),
}

/// Why nothing was restored. A folder in which restoring has begun does not open as a database:
/// remove it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The backup could not be read.
    #[error("could not read the backup")]
    Read(#[from] io::Error),
    /// It is no backup, or a later edge-db wrote it.
    #[error("this is no backup that this build can read")]
    Format,
    /// It was altered, or ends too soon.
    #[error("the backup is damaged in its frame {frame}")]
    Damaged {
        /// Counted from 0.
        frame: u64,
    },
    /// An increment does not follow on what is before it: one is missing.
    #[error("the increment follows on commit {since}, but what is before it ends at {last}")]
    Gap {
        /// The commit that the increment follows on.
        since: Revision,
        /// The last commit before the increment.
        last: Revision,
    },
    /// An increment is of another database, or of this one as it was before it was restored.
    #[error("the increment is of another database")]
    OtherDatabase,
    /// What was asked for lies before the full backup. Take an earlier one.
    #[error("the full backup holds commit {full}, only {up_to} was asked for")]
    TooLate {
        /// The last commit that was asked for.
        up_to: Revision,
        /// The commit of the full backup.
        full: Revision,
    },
    /// What was asked for lies behind all that there is.
    #[error("the backups end with commit {last}, {up_to} was asked for")]
    TooShort {
        /// The last commit that was asked for.
        up_to: Revision,
        /// The last commit that there is.
        last: Revision,
    },
    /// An increment cannot be used. Those in front of it can: restore up to there.
    #[error("could not restore increment {number}")]
    Increment {
        /// Counted from 0.
        number: usize,
        /// Why.
        source: Box<RestoreError>,
    },
    /// The backup is encrypted. Restore it with the key that its database had at the time,
    /// by `Restore::key`.
    #[error("the backup is encrypted: restore it with its key")]
    KeyNeeded,
    /// The database of the backup had another key than this one.
    #[error("the backup is encrypted by another key than the one given")]
    WrongKey,
    /// A key was given, but the backup is not encrypted, and anybody could have made it. Restore it
    /// by [`restore`].
    #[error("the backup is not encrypted: restore it without a key")]
    NotEncrypted,
    /// The backup is encrypted, and this build cannot decrypt. Build edge-db with the cargo feature
    /// `encryption`.
    #[error("the backup is encrypted, this build cannot: cargo feature `encryption` is off")]
    EncryptionOff,
    /// There is something in the folder. Restore into a new one.
    #[error("{place} is not empty: restore into a new folder")]
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
        source: io::Error,
    },
    /// The database could not be written.
    #[error("could not write the database")]
    Store(#[from] StoreError),
}

impl Db {
    /// Writes everything as it is now, over all tables, logs and cursors, while writing goes on.
    /// [`restore`](crate::restore) makes a database of it, [`Restore`](crate::Restore) of it and of
    /// what [`Db::backup_since`] writes from then on. Reads all of the database once; memory
    /// does not grow with it, though what is overwritten meanwhile is kept as for a
    /// [`Snapshot`](crate::Snapshot). The backup of an encrypted database is encrypted, too, and
    /// opens with the same key, whatever becomes of that database's key later.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let db = edge_db::Db::open(dir.path().join("db"))?;
    /// let mut file = std::fs::File::create(dir.path().join("backup"))?;
    /// db.backup(&mut file)?;
    /// file.sync_all()?;
    /// edge_db::restore(std::fs::File::open(dir.path().join("backup"))?, dir.path().join("copy"))?;
    /// let copy = edge_db::Db::open(dir.path().join("copy"))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// See [`BackupError`].
    pub fn backup(&self, to: impl io::Write) -> Result<BackupSummary, BackupError> {
        let view = self.view()?;
        // A commit that a power cut takes back gives its number to another one.
        if self.revision() < view.revision() {
            self.batch().commit()?;
        }
        let encryption = self.shared().store.encryption();
        let cipher = encryption.map(Encryption::cipher);
        let mut out = Frames::begin(to, cipher, view.revision(), &FULL)?;
        if let Some(encryption) = encryption {
            out.write_plain(&encryption.wrapped())?;
        }
        let mut summary = BackupSummary { revision: view.revision(), ..BackupSummary::default() };
        let mut frame = Vec::with_capacity(FRAME_BYTES);
        let entries = view.range(Bound::Unbounded, Bound::Unbounded).map_err(ReadError::from)?;
        for entry in entries {
            let (key, value) = entry.map_err(ReadError::from)?;
            if Space::of(&key) == Some(Space::SETTLED) {
                continue;
            }
            summary.keys += 1;
            summary.bytes += (key.len() + value.len()) as u64;
            record::put_write(&mut frame, &Write::Put(key, value));
            if frame.len() >= FRAME_BYTES {
                out.write(&mut frame)?;
            }
        }
        if !frame.is_empty() {
            out.write(&mut frame)?;
        }
        out.end()?;
        Ok(summary)
    }
}

impl From<FillError> for RestoreError {
    fn from(error: FillError) -> RestoreError {
        match error {
            FillError::Folder(NewFolderError::NotEmpty { place }) => {
                RestoreError::NotEmpty { place }
            }
            FillError::Folder(NewFolderError::Folder { place, source }) => {
                RestoreError::Folder { place, source }
            }
            FillError::Store(error) => RestoreError::Store(error),
        }
    }
}

/// The head of a full backup.
struct Head {
    revision: Revision,
    /// What decrypts what follows, if that is encrypted.
    encryption: Option<Encryption>,
}

fn read_head(from: &mut impl Read, key: Option<&EncryptionKey>) -> Result<Head, RestoreError> {
    let (revision, is_encrypted) = stream::read_head(from, &FULL)?;
    Ok(Head { revision, encryption: unlock(from, is_encrypted, key)? })
}

/// Fills a new folder.
fn fill(from: impl Read, head: &Head, folder: &mut NewFolder) -> Result<(), RestoreError> {
    folder.go_to(head.revision);
    let cipher = head.encryption.as_ref().map(Encryption::cipher);
    let mut frames = ReadFrames::new(from, cipher, head.revision, &FULL);
    loop {
        let damaged = frames.damaged();
        let payload = frames.next()?;
        if payload.is_empty() {
            return Ok(());
        }
        folder.write(record::writes(&payload).ok_or(damaged)?)?;
    }
}

/// What decrypts the frames behind, if they are encrypted.
fn unlock(
    from: &mut impl Read,
    is_encrypted: bool,
    key: Option<&EncryptionKey>,
) -> Result<Option<Encryption>, RestoreError> {
    match (is_encrypted, key) {
        (false, None) => Ok(None),
        (false, Some(_)) => Err(RestoreError::NotEncrypted),
        (true, None) if cfg!(feature = "encryption") => Err(RestoreError::KeyNeeded),
        (true, None) => Err(RestoreError::EncryptionOff),
        (true, Some(key)) => {
            let mut wrapped = [0; WRAPPED_BYTES];
            from.read_exact(&mut wrapped).map_err(|_| RestoreError::Format)?;
            let encryption = Encryption::unlock(&wrapped, key);
            encryption.map(Some).map_err(|error| match error {
                UnlockError::WrongKey => RestoreError::WrongKey,
                UnlockError::Damaged | UnlockError::Format(_) => RestoreError::Format,
            })
        }
    }
}
