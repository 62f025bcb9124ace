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
const FILE: &str = "key";
const UNBORN: &str = "key.new";

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

/// There is an encrypted data file, so there was a key.
#[derive(Debug, thiserror::Error)]
#[error("the file `{FILE}` is missing: put a copy of it back, or restore a backup")]
struct MissingKey;

/// Whether there is a key file.
pub(crate) fn is_encrypted(disk: &dyn Disk) -> bool {
    disk.names().is_ok_and(|names| names.iter().any(|name| name == FILE))
}

/// Finds out whether the database is encrypted, and unlocks it; a new one becomes so if there is a
/// key. Nothing is changed where that does not fit.
pub(crate) fn open(
    disk: &dyn Disk,
    key: Option<&EncryptionKey>,
) -> Result<Option<Encryption>, OpenError> {
    let place = disk.place();
    let failed = |source| OpenError::Folder { place: place.clone(), source };
    let damaged = |error: UnlockError| OpenError::Damaged {
        place: place.clone(),
        source: StoreError::new("open", error),
    };
    let names = disk.names().map_err(failed)?;
    let has = |name: &str| names.iter().any(|found| found == name);
    match (has(FILE), key) {
        (true, None) if cfg!(feature = "encryption") => Err(OpenError::KeyNeeded { place }),
        (true, None) => Err(OpenError::EncryptionOff { place }),
        (true, Some(key)) => {
            let file = read(disk).map_err(failed)?;
            let encryption = Encryption::unlock(&file, key).map_err(|error| match error {
                UnlockError::WrongKey => OpenError::WrongKey { place: place.clone() },
                other => damaged(other),
            })?;
            if has(UNBORN) {
                // The power was cut while the key was rotated.
                drop(disk.remove(UNBORN));
            }
            Ok(Some(encryption))
        }
        (false, _) if tree::is_encrypted(disk) == Some(true) => {
            let source = StoreError::new("open", MissingKey);
            Err(OpenError::Damaged { place, source })
        }
        (false, None) => Ok(None),
        (false, Some(key)) => {
            if has(tree::FILE) || names.iter().any(|name| journal::is_segment(name)) {
                return Err(OpenError::NotEncrypted { place });
            }
            // A crash before the name is durable leaves an empty folder, one after it a key without
            // data, which opens as a new database.
            Encryption::create(disk, key).map(Some).map_err(failed)
        }
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
