//! The data key of a database, and the file `key` that has it encrypted.
//!
//! ```text
//!  0  8  "EDGEDKEY"
//!  8  4  format, 1
//! 12 32  the data key, encrypted by the caller's key; the associated data are the 12 bytes before
//! 44 40  nonce and tag
//! 84  8  XXH3-64 of the 84 bytes before: tells a damaged file from a wrong key
//! ```

use std::fmt;
use std::io;

use chacha20poly1305::aead::Generate;
use parking_lot::Mutex;
use twox_hash::XxHash3_64;
use zeroize::Zeroizing;

use super::{Cipher, EncryptionKey, FILE, FORMAT, UNBORN, UnlockError, WRAPPED_BYTES};
use crate::disk::Disk;

const MAGIC: &[u8; 8] = b"EDGEDKEY";

type DataKey = Zeroizing<[u8; 32]>;
type Wrapped = [u8; WRAPPED_BYTES];

/// The encryption of one database.
pub(crate) struct Encryption {
    data_key: DataKey,
    cipher: Cipher,
    /// The file as it is, or is to be.
    wrapped: Mutex<Wrapped>,
}

impl Encryption {
    /// Makes a data key.
    pub(crate) fn generate(key: &EncryptionKey) -> io::Result<Encryption> {
        let data_key = <[u8; 32]>::try_generate().map_err(io::Error::other)?;
        let data_key = Zeroizing::new(data_key);
        let wrapped = wrap(&data_key, key)?;
        Ok(Encryption::new(data_key, wrapped))
    }

    /// Makes a data key, and stores it durably.
    pub(crate) fn create(disk: &dyn Disk, key: &EncryptionKey) -> io::Result<Encryption> {
        let encryption = Encryption::generate(key)?;
        encryption.store(disk)?;
        Ok(encryption)
    }

    /// Decrypts the data key in the bytes of the file.
    pub(crate) fn unlock(file: &[u8], key: &EncryptionKey) -> Result<Encryption, UnlockError> {
        let wrapped = Wrapped::try_from(file).map_err(|_| UnlockError::Damaged)?;
        let data_key = unwrap(&wrapped, key)?;
        Ok(Encryption::new(data_key, wrapped))
    }

    fn new(data_key: DataKey, wrapped: Wrapped) -> Encryption {
        Encryption { cipher: Cipher::new(&data_key), data_key, wrapped: Mutex::new(wrapped) }
    }

    /// What encrypts everything in the database.
    pub(crate) fn cipher(&self) -> Cipher {
        self.cipher.clone()
    }

    /// The bytes of the file.
    pub(crate) fn wrapped(&self) -> Wrapped {
        *self.wrapped.lock()
    }

    /// Has another key open the database from now on. After an error it may be this one or the one
    /// before.
    pub(crate) fn rotate(&self, disk: &dyn Disk, to: &EncryptionKey) -> io::Result<()> {
        let wrapped = wrap(&self.data_key, to)?;
        let mut current = self.wrapped.lock();
        store(disk, &wrapped)?;
        *current = wrapped;
        Ok(())
    }

    /// Writes the file, durably.
    pub(crate) fn store(&self, disk: &dyn Disk) -> io::Result<()> {
        store(disk, &self.wrapped.lock())
    }
}

impl fmt::Debug for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encryption").finish_non_exhaustive()
    }
}

fn store(disk: &dyn Disk, wrapped: &Wrapped) -> io::Result<()> {
    let file = disk.create(UNBORN)?;
    file.write(0, wrapped)?;
    file.sync()?;
    // A crash before this leaves the file as it was, one after it that one or the new one, whole.
    disk.rename(UNBORN, FILE)?;
    disk.sync_names()
}

fn wrap(data_key: &DataKey, key: &EncryptionKey) -> io::Result<Wrapped> {
    let mut wrapped = [0; WRAPPED_BYTES];
    wrapped[..8].copy_from_slice(MAGIC);
    wrapped[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    let mut encrypted = data_key.clone();
    let seal = key.cipher().encrypt_for(&wrapped[..12], &mut *encrypted)?;
    wrapped[12..44].copy_from_slice(&*encrypted);
    wrapped[44..84].copy_from_slice(&seal);
    let checksum = XxHash3_64::oneshot(&wrapped[..84]);
    wrapped[84..].copy_from_slice(&checksum.to_le_bytes());
    Ok(wrapped)
}

fn unwrap(wrapped: &Wrapped, key: &EncryptionKey) -> Result<DataKey, UnlockError> {
    let checksum = XxHash3_64::oneshot(&wrapped[..84]);
    if &wrapped[..8] != MAGIC || wrapped[84..] != checksum.to_le_bytes() {
        return Err(UnlockError::Damaged);
    }
    let format = u32::from_le_bytes(wrapped[8..12].try_into().expect("4 bytes"));
    if format != FORMAT {
        return Err(UnlockError::Format(format));
    }
    let mut data_key = DataKey::default();
    data_key.copy_from_slice(&wrapped[12..44]);
    let seal = wrapped[44..84].try_into().expect("40 bytes");
    if !key.cipher().decrypt_for(&wrapped[..12], &mut *data_key, seal) {
        return Err(UnlockError::WrongKey);
    }
    Ok(data_key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_is_damage_and_no_wrong_key() {
        let [right, wrong] = [1, 2].map(|byte| EncryptionKey::from_bytes([byte; 32]));
        let data_key = Zeroizing::new([3; 32]);
        let wrapped = wrap(&data_key, &right).unwrap();
        assert_eq!(unwrap(&wrapped, &right).unwrap(), data_key);
        assert_eq!(unwrap(&wrapped, &wrong), Err(UnlockError::WrongKey));
        for bit in 0..WRAPPED_BYTES * 8 {
            let mut flipped = wrapped;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unwrap(&flipped, &right), Err(UnlockError::Damaged), "bit {bit}");
        }
    }
}
