//! What a database lies on: named files that can be written, synced, renamed and removed.
//!
//! [`Folder`] is the one that [`Db::open`](crate::Db::open) uses. Another one, given to
//! [`DbBuilder::open_on`](crate::DbBuilder::open_on), puts a database on other storage, or makes
//! storage fail on purpose: the crash tests of this crate cut the power at every write that way.

pub(crate) mod counted;
mod folder;
pub(crate) mod unchanged;

use std::any::Any;
use std::fmt;
use std::io;
use std::sync::Arc;

pub use folder::Folder;

/// Named files, as a file system gives them.
///
/// A database relies on this and nothing more: what [`DiskFile::sync`] has returned for survives a
/// power cut; a name created, renamed or removed survives one after [`Disk::sync_names`]; of what
/// was written and not synced any 512-byte sector may survive, whole and in any order.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Where it is, for messages.
    fn place(&self) -> String;

    /// Takes the sole right to write here, until the lock is dropped.
    ///
    /// # Errors
    /// [`LockError::Held`] when somebody else has it.
    fn lock(&self) -> Result<DiskLock, LockError>;

    /// The names of all files.
    ///
    /// # Errors
    /// When the storage cannot be read.
    fn names(&self) -> io::Result<Vec<String>>;

    /// Opens a file that is there.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when it is not.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file that is there and will only be read, be it on a medium that takes no writes; as
    /// [`Disk::open`] does without more.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when it is not.
    fn open_to_read(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.open(name)
    }

    /// Creates an empty file, in place of one that is there.
    ///
    /// # Errors
    /// When the storage refuses.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Gives a file another name, in place of one that has it.
    ///
    /// # Errors
    /// When the storage refuses.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// When the storage refuses.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes created, renamed and removed names durable.
    ///
    /// # Errors
    /// When the storage refuses.
    fn sync_names(&self) -> io::Result<()>;
}

/// One file of a [`Disk`].
pub trait DiskFile: fmt::Debug + Send + Sync + 'static {
    /// Its length in bytes.
    ///
    /// # Errors
    /// When the storage cannot be read.
    fn len(&self) -> io::Result<u64>;

    /// Whether it is empty.
    ///
    /// # Errors
    /// When the storage cannot be read.
    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|len| len == 0)
    }

    /// Bytes that it takes of the storage; less than its length where it has holes.
    ///
    /// # Errors
    /// When the storage cannot be read.
    fn allocated_bytes(&self) -> io::Result<u64> {
        self.len()
    }

    /// Fills `out` from `offset` on.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when the file ends before.
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;

    /// Writes all of `data` at `offset`; the file grows where it must.
    ///
    /// # Errors
    /// When the storage refuses; any part of `data` may be written then.
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// Cuts the file, or lets it grow by zeros.
    ///
    /// # Errors
    /// When the storage refuses.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes content and length durable.
    ///
    /// # Errors
    /// When the storage refuses; nothing is known of what was not synced before.
    fn sync(&self) -> io::Result<()>;
}

/// The sole right to write to a [`Disk`]; dropping it gives the right back.
pub struct DiskLock {
    _held: Box<dyn Any + Send + Sync>,
}

impl DiskLock {
    /// A lock that is given back when `held` is dropped.
    pub fn new(held: impl Any + Send + Sync) -> DiskLock {
        DiskLock { _held: Box::new(held) }
    }
}

impl fmt::Debug for DiskLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskLock").finish_non_exhaustive()
    }
}

/// Why a [`Disk`] could not be locked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Somebody else has the right to write.
    #[error("held by {holder}")]
    Held {
        /// Who, as far as is known.
        holder: String,
    },
    /// The storage refused.
    #[error("cannot be locked")]
    Io(#[from] io::Error),
}
