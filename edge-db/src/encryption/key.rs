//! The caller's key.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use zeroize::Zeroizing;

use super::Cipher;

const BYTES: usize = 32;

/// The key that a database is opened with: 32 bytes that nobody can guess. It encrypts the data key
/// only, see [`DbBuilder::encryption_key`](crate::DbBuilder::encryption_key).
///
/// A passphrase is no key: derive one from it before, by Argon2 for example, and keep the salt. The
/// bytes are zeroed in memory when the last clone is dropped, and `Debug` does not show them.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// use edge_db::{Db, EncryptionKey};
///
/// // Say `head -c 32 /dev/urandom`, or what the device's secure element gives.
/// # let path = dir.path().join("site.key");
/// # std::fs::write(&path, [7; 32])?;
/// let key = EncryptionKey::from_file(path)?;
/// let db = Db::builder().encryption_key(key.clone()).open(dir.path().join("db"))?;
/// # db.shutdown(std::time::Duration::from_secs(5))?;
///
/// // Once it is closed: is everything there as it was written?
/// let report = Db::builder().encryption_key(key).verify(dir.path().join("db"), |_| {})?;
/// assert!(report.is_clean(), "{:?}", report.findings);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct EncryptionKey(Zeroizing<[u8; BYTES]>);

/// Why a file gave no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The file cannot be read.
    #[error("cannot read the key in {place}")]
    Read {
        /// The file.
        place: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// It holds something else.
    #[error("{place} holds no key: a key is 32 bytes, or 64 hexadecimal digits")]
    Format {
        /// The file.
        place: String,
    },
}

impl EncryptionKey {
    /// The key of these bytes.
    pub fn from_bytes(bytes: [u8; BYTES]) -> EncryptionKey {
        EncryptionKey(Zeroizing::new(bytes))
    }

    /// The key in a file: 32 bytes as they are, or 64 hexadecimal digits, which white space may
    /// surround.
    ///
    /// # Errors
    /// See [`KeyFileError`].
    pub fn from_file(path: impl AsRef<Path>) -> Result<EncryptionKey, KeyFileError> {
        let path = path.as_ref();
        let place = path.display().to_string();
        let read = fs::read(path).map(Zeroizing::new);
        let text = read.map_err(|source| KeyFileError::Read { place: place.clone(), source })?;
        parse(&text).ok_or(KeyFileError::Format { place })
    }

    pub(super) fn cipher(&self) -> Cipher {
        Cipher::new(&self.0)
    }
}

fn parse(text: &[u8]) -> Option<EncryptionKey> {
    let mut key = Zeroizing::new([0; BYTES]);
    if text.len() == BYTES {
        key.copy_from_slice(text);
        return Some(EncryptionKey(key));
    }
    let digits = text.trim_ascii();
    if digits.len() != 2 * BYTES {
        return None;
    }
    for (byte, digits) in key.iter_mut().zip(digits.as_chunks::<2>().0) {
        let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
        *byte = u8::try_from(high? * 16 + low?).expect("two digits");
    }
    Some(EncryptionKey(key))
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EncryptionKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_bytes_or_digits() {
        let bytes: [u8; 32] = std::array::from_fn(|n| u8::try_from(n * 8).unwrap());
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let found = |text: &[u8]| parse(text).map(|key| *key.0);
        assert_eq!(found(&bytes), Some(bytes));
        assert_eq!(found(digits.as_bytes()), Some(bytes));
        assert_eq!(found(format!(" {}\r\n", digits.to_uppercase()).as_bytes()), Some(bytes));
        assert_eq!(found(&digits.as_bytes()[1..]), None);
        assert_eq!(found(digits.replace('f', "g").as_bytes()), None);
        assert_eq!(found(b""), None);
        assert_eq!(found(&[7; 33]), None);
    }
}
