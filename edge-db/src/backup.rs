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

use std::io::{self, Read, Write as _};
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use twox_hash::XxHash3_64;

use crate::disk::{Disk, Folder, LockError};
use crate::encryption::{Cipher, Encryption, EncryptionKey, Place, UnlockError, WRAPPED_BYTES};
use crate::error::{ReadError, StoreError};
use crate::journal::record;
use crate::memory::MemoryTable;
use crate::revision::Revision;
use crate::space::Space;
use crate::store::Write;
use crate::tree::Alarm;
use crate::tree::Tree;
use crate::{Db, Time};

const MAGIC: &[u8; 8] = b"EDGEBKUP";
const ENCRYPTED_MAGIC: &[u8; 8] = b"EDGEBKUX";
const FORMAT: u32 = 1;
/// Bytes of one frame, but for a value that is larger.
const FRAME_BYTES: usize = 256 * 1024;
/// No frame is longer: a batch, and so a value, has at most 64 MiB.
const MOST_FRAME_BYTES: usize = 80 * 1024 * 1024;
/// Settled at once while restoring.
const TABLE_BYTES: usize = 8 * 1024 * 1024;
/// There while a restore is not complete.
pub(crate) const RESTORING: &str = "restoring";

/// What a backup holds, or what was restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupSummary {
    /// Keys of all kinds: rows, chunks of logs, cursors, names.
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
    /// The backup is encrypted. Restore it by `restore_encrypted`, with the key that its database
    /// had at the time.
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
    /// [`restore`](crate::restore) makes a database of it. Reads all of the database once; memory
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
        let revision = view.revision().get();
        let encryption = self.shared().store.encryption();
        let cipher = encryption.map(Encryption::cipher);
        let mut out = Frames { to: io::BufWriter::new(to), cipher, revision, number: 0 };
        out.to.write_all(if encryption.is_some() { ENCRYPTED_MAGIC } else { MAGIC })?;
        out.to.write_all(&FORMAT.to_le_bytes())?;
        out.to.write_all(&revision.to_le_bytes())?;
        if let Some(encryption) = encryption {
            out.to.write_all(&encryption.wrapped())?;
        }
        let mut summary = BackupSummary { keys: 0, bytes: 0 };
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
        out.write(&mut frame)?;
        out.to.flush()?;
        Ok(summary)
    }
}

struct Frames<W: io::Write> {
    to: io::BufWriter<W>,
    cipher: Option<Cipher>,
    revision: u64,
    /// Of the next frame.
    number: u64,
}

impl<W: io::Write> Frames<W> {
    /// Writes a frame, and leaves its payload empty.
    fn write(&mut self, payload: &mut Vec<u8>) -> io::Result<()> {
        let Frames { revision, number, .. } = *self;
        if let Some(cipher) = &self.cipher {
            cipher.encrypt_behind(0, Place::Frame { revision, number }, payload)?;
        }
        let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
        self.to.write_all(&length.to_le_bytes())?;
        self.to.write_all(&checksum(revision, number, payload).to_le_bytes())?;
        self.number += 1;
        self.to.write_all(payload)?;
        payload.clear();
        Ok(())
    }
}

fn checksum(revision: u64, number: u64, payload: &[u8]) -> u64 {
    // The revision is in it, so that this is checked, too; and the length, so that an end that was
    // made up is none.
    let seed = revision.wrapping_add(number) ^ ((payload.len() as u64) << 32);
    XxHash3_64::oneshot_with_seed(seed, payload)
}

/// Makes a database in a new folder of what [`Db::backup`] wrote. The folder can be opened once
/// this has returned; if it fails, remove it.
///
/// # Errors
/// See [`RestoreError`].
pub fn restore(from: impl Read, dir: impl AsRef<Path>) -> Result<BackupSummary, RestoreError> {
    restore_into(dir.as_ref(), from, None)
}

/// Makes a database in a new folder of what [`Db::backup`] wrote of an encrypted one, as [`restore`]
/// does. It is encrypted in the same way, and opens with the same key: the one that the database had
/// when the backup was made.
///
/// # Errors
/// See [`RestoreError`].
#[cfg(feature = "encryption")]
pub fn restore_encrypted(
    from: impl Read,
    dir: impl AsRef<Path>,
    key: &EncryptionKey,
) -> Result<BackupSummary, RestoreError> {
    restore_into(dir.as_ref(), from, Some(key))
}

fn restore_into(
    dir: &Path,
    from: impl Read,
    key: Option<&EncryptionKey>,
) -> Result<BackupSummary, RestoreError> {
    let place = dir.display().to_string();
    let failed = |source| RestoreError::Folder { place: place.clone(), source };
    let disk = Folder::new(dir).map_err(failed)?;
    let _lock = disk.lock().map_err(|error| match error {
        LockError::Held { .. } => RestoreError::NotEmpty { place: place.clone() },
        LockError::Io(source) => failed(source),
    })?;
    // The lock itself is there.
    if disk.names().map_err(failed)?.len() > 1 {
        return Err(RestoreError::NotEmpty { place });
    }
    disk.create(RESTORING).and_then(|_| disk.sync_names()).map_err(failed)?;
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let summary = fill(io::BufReader::new(from), &disk, key)?;
    // A crash before this leaves a folder that does not open.
    disk.remove(RESTORING).and_then(|()| disk.sync_names()).map_err(failed)?;
    Ok(summary)
}

fn fill(
    mut from: impl Read,
    disk: &Arc<dyn Disk>,
    key: Option<&EncryptionKey>,
) -> Result<BackupSummary, RestoreError> {
    let mut head = [0; 20];
    from.read_exact(&mut head).map_err(|_| RestoreError::Format)?;
    let format = u32::from_le_bytes(head[8..12].try_into().expect("4 bytes"));
    let is_encrypted = &head[..8] == ENCRYPTED_MAGIC;
    if !is_encrypted && &head[..8] != MAGIC || format != FORMAT {
        return Err(RestoreError::Format);
    }
    let encryption = unlock(&mut from, is_encrypted, key)?;
    if let Some(encryption) = &encryption {
        encryption.store(&**disk).map_err(|error| StoreError::new("write", error))?;
    }
    let cipher = encryption.as_ref().map(Encryption::cipher);
    let revision = u64::from_le_bytes(head[12..].try_into().expect("8 bytes"));
    let revision = Revision::new(revision);
    let mut tree =
        Tree::open(Arc::clone(disk), cipher.clone(), TABLE_BYTES, false, Alarm::new(|| {}))?;
    let settle =
        |tree: &mut Tree, table: &MemoryTable| tree.settle(table, revision, &[], Time::now());
    let mut table = MemoryTable::default();
    let mut summary = BackupSummary { keys: 0, bytes: 0 };
    for number in 0.. {
        let payload = read_frame(&mut from, cipher.as_ref(), number, revision)?;
        if payload.is_empty() {
            settle(&mut tree, &table)?;
            return Ok(summary);
        }
        let writes = record::writes(&payload).ok_or(RestoreError::Damaged { frame: number })?;
        summary.keys += writes.len() as u64;
        summary.bytes += writes.iter().map(|write| write.bytes() as u64).sum::<u64>();
        table.apply(writes, revision, revision);
        if table.bytes() >= TABLE_BYTES {
            settle(&mut tree, &table)?;
            table = MemoryTable::default();
        }
    }
    unreachable!("a stream ends before its frames cannot be counted")
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

fn read_frame(
    from: &mut impl Read,
    cipher: Option<&Cipher>,
    number: u64,
    revision: Revision,
) -> Result<Bytes, RestoreError> {
    let damaged = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => RestoreError::Damaged { frame: number },
        _ => RestoreError::Read(error),
    };
    let mut head = [0; 12];
    from.read_exact(&mut head).map_err(damaged)?;
    let length = u32::from_le_bytes(head[..4].try_into().expect("4 bytes")) as usize;
    let expected = u64::from_le_bytes(head[4..].try_into().expect("8 bytes"));
    if length > MOST_FRAME_BYTES {
        return Err(RestoreError::Damaged { frame: number });
    }
    let mut payload = Vec::new();
    from.take(length as u64).read_to_end(&mut payload).map_err(damaged)?;
    let revision = revision.get();
    if payload.len() != length || checksum(revision, number, &payload) != expected {
        return Err(RestoreError::Damaged { frame: number });
    }
    let payload = match cipher {
        Some(cipher) => cipher.decrypt_all(Place::Frame { revision, number }, payload),
        None => Some(payload),
    };
    payload.map(Bytes::from).ok_or(RestoreError::Damaged { frame: number })
}
