//! Another key for a database.

use std::io;

use super::EncryptionKey;
use crate::Db;

/// Why a database has no other key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RotateKeyError {
    /// The database is not encrypted: it was created without a key.
    #[error("the database is not encrypted")]
    NotEncrypted,
    /// The database was shut down.
    #[error("database is closed")]
    Closed,
    /// The disk refused. Keep both keys until a later call has succeeded: either of them may be the
    /// one that opens the database.
    #[error("could not write the new key")]
    Write(#[from] io::Error),
}

impl Db {
    /// Has this key open the database from now on, in place of the one that it was opened with.
    /// Durable when this returns; a power cut before leaves one or the other. Only the file `key`,
    /// of 92 bytes, is written.
    ///
    /// The data key stays: what was encrypted is not encrypted anew. So this helps when a key must
    /// be changed from time to time, not when somebody has got hold of the old key and of a copy of
    /// the file `key` from its time, or of a backup. Backups open with the key of their time.
    ///
    /// # Errors
    /// See [`RotateKeyError`].
    pub fn rotate_key(&self, to: &EncryptionKey) -> Result<(), RotateKeyError> {
        self.shared().store.rotate_key(to)
    }
}
