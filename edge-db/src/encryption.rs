//! Encryption at rest: who opens a database with a key finds it encrypted by XChaCha20-Poly1305.
//!
//! Everything is encrypted by a random data key, and that by the caller's key, in the file `key`.
//! So another key need only encrypt the data key anew. Each piece has a random nonce, and says as
//! associated data where it belongs: [`Place`].
//!
//! Without the cargo feature `encryption` the types are there and have no values, so that nothing
//! is left of them in what is built.

#[cfg(not(feature = "encryption"))]
mod absent;
#[cfg(feature = "encryption")]
mod cipher;
#[cfg(feature = "encryption")]
mod key;
#[cfg(feature = "encryption")]
mod rotation;
#[cfg(feature = "encryption")]
mod wrapped;

use std::io;

#[cfg(not(feature = "encryption"))]
pub(crate) use absent::{Cipher, Encryption, EncryptionKey};
#[cfg(feature = "encryption")]
pub(crate) use cipher::Cipher;
#[cfg(feature = "encryption")]
pub use key::{EncryptionKey, KeyFileError};
#[cfg(feature = "encryption")]
pub use rotation::RotateKeyError;
#[cfg(feature = "encryption")]
pub(crate) use wrapped::Encryption;

use crate::disk::Disk;
use crate::error::{OpenError, StoreError};
use crate::{journal, tree};

/// The file with the encrypted data key; what it is called while it is written.
pub(crate) const FILE: &str = "key";
const UNBORN: &str = "key.new";

/// The format of that file.
pub(crate) const FORMAT: u32 = 1;

/// Bytes of that file: it stands in the front of a backup, too.
pub(crate) const WRAPPED_BYTES: usize = 92;

/// A nonce and a tag, for each piece that is encrypted.
pub(crate) const SEAL_BYTES: usize = 40;

/// Where a piece belongs. Elsewhere it does not decrypt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// A block of the data file, by redb's number.
    Block(u64),
    /// The record of the journal with this revision, wherever it is written.
    Record(u64),
    /// A frame of the backup of this revision, counted from 0.
    Frame { revision: u64, number: u64 },
}

impl Place {
    /// A byte for what it is, and two numbers.
    #[cfg_attr(not(feature = "encryption"), expect(dead_code, reason = "nothing is encrypted"))]
    fn bytes(self) -> [u8; 17] {
        let (what, one, other) = match self {
            Place::Block(number) => (1, number, 0),
            Place::Record(revision) => (2, revision, 0),
            Place::Frame { revision, number } => (3, revision, number),
        };
        let mut bytes = [what; 17];
        bytes[1..9].copy_from_slice(&one.to_le_bytes());
        bytes[9..].copy_from_slice(&other.to_le_bytes());
        bytes
    }
}

impl Cipher {
    /// Encrypts what a record has from `from` on, and appends nonce and tag.
    pub(crate) fn encrypt_behind(
        &self,
        from: usize,
        place: Place,
        record: &mut Vec<u8>,
    ) -> io::Result<()> {
        let seal = self.encrypt(place, &mut record[from..])?;
        record.extend_from_slice(&seal);
        Ok(())
    }

    /// What was encrypted like that; `None` if it is not what was written for the place.
    pub(crate) fn decrypt_all(&self, place: Place, mut bytes: Vec<u8>) -> Option<Vec<u8>> {
        let (payload, seal) = bytes.split_last_chunk_mut()?;
        if !self.decrypt(place, payload, seal) {
            return None;
        }
        bytes.truncate(bytes.len() - SEAL_BYTES);
        Some(bytes)
    }
}

/// Why a data key was not decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(not(feature = "encryption"), expect(dead_code, reason = "nothing is encrypted"))]
pub(crate) enum UnlockError {
    #[error("the file `{FILE}` is damaged: put a copy of it back, or restore a backup")]
    Damaged,
    #[error("the file `{FILE}` has format {0}, which this build does not know")]
    Format(u32),
    #[error("this is another key")]
    WrongKey,
}

/// Why a database is not unlocked.
#[derive(Debug)]
pub(crate) enum Locked {
    /// The folder or the key file cannot be read.
    Unread(io::Error),
    KeyNeeded,
    /// A key would not help: this build cannot decrypt.
    EncryptionOff,
    /// There is a key too many.
    NotEncrypted,
    /// There are encrypted files, so there was a key file.
    KeyMissing,
    Key(UnlockError),
}

/// In words, as the cause of another error.
#[derive(Debug, thiserror::Error)]
#[error("the file `{FILE}` is missing: put a copy of it back, or restore a backup")]
struct KeyMissing;

/// Finds out whether a database is encrypted, and unlocks it. Changes nothing.
pub(crate) fn unlock(
    disk: &dyn Disk,
    key: Option<&EncryptionKey>,
) -> Result<Option<Encryption>, Locked> {
    match (has(disk, |name| name == FILE)?, key) {
        (true, None) if cfg!(feature = "encryption") => Err(Locked::KeyNeeded),
        (true, None) => Err(Locked::EncryptionOff),
        (true, Some(key)) => {
            let file = read(disk).map_err(Locked::Unread)?;
            Encryption::unlock(&file, key).map(Some).map_err(Locked::Key)
        }
        // Of a data file that does not say what it is, the journal may.
        (false, _) if tree::is_encrypted(disk).unwrap_or_else(|| journal::is_encrypted(disk)) => {
            Err(Locked::KeyMissing)
        }
        (false, None) => Ok(None),
        (false, Some(_)) => Err(Locked::NotEncrypted),
    }
}

/// [`unlock`] for opening: a new database becomes encrypted if there is a key. Nothing is changed
/// where that does not fit.
pub(crate) fn open(
    disk: &dyn Disk,
    key: Option<&EncryptionKey>,
) -> Result<Option<Encryption>, OpenError> {
    match (unlock(disk, key), key) {
        (Err(Locked::NotEncrypted), Some(key)) if is_new(disk) => {
            // A crash before the name is durable leaves an empty folder, one after it a key without
            // data, which opens as a new database.
            let created = Encryption::create(disk, key);
            created.map(Some).map_err(|error| refused(disk, Locked::Unread(error)))
        }
        (Err(locked), _) => Err(refused(disk, locked)),
        (Ok(unlocked), _) => {
            if unlocked.is_some() && has(disk, |name| name == UNBORN).unwrap_or(false) {
                // The power was cut while the key was rotated.
                drop(disk.remove(UNBORN));
            }
            Ok(unlocked)
        }
    }
}

fn has(disk: &dyn Disk, file: impl Fn(&str) -> bool) -> Result<bool, Locked> {
    let names = disk.names().map_err(Locked::Unread)?;
    Ok(names.iter().any(|name| file(name)))
}

/// Whether there is nothing of a database that was created without a key.
fn is_new(disk: &dyn Disk) -> bool {
    has(disk, |name| name == tree::FILE || journal::is_segment(name)).is_ok_and(|found| !found)
}

fn refused(disk: &dyn Disk, locked: Locked) -> OpenError {
    let place = disk.place();
    match locked {
        Locked::Unread(source) => OpenError::Folder { place, source },
        Locked::KeyNeeded => OpenError::KeyNeeded { place },
        Locked::EncryptionOff => OpenError::EncryptionOff { place },
        Locked::NotEncrypted => OpenError::NotEncrypted { place },
        Locked::Key(UnlockError::WrongKey) => OpenError::WrongKey { place },
        Locked::KeyMissing => {
            OpenError::Damaged { place, source: StoreError::new("open", KeyMissing) }
        }
        Locked::Key(error) => OpenError::Damaged { place, source: StoreError::new("open", error) },
    }
}

/// The file, as far as it is of interest.
fn read(disk: &dyn Disk) -> io::Result<Vec<u8>> {
    let file = disk.open(FILE)?;
    // One byte more than it has: a longer one is not whole, either.
    let len = file.len()?.min(WRAPPED_BYTES as u64 + 1);
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    file.read(0, &mut bytes)?;
    Ok(bytes)
}
