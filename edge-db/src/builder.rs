//! How a database is opened.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::Db;
use crate::db::Opened;
use crate::disk::{Disk, Folder};
use crate::encryption::EncryptionKey;
use crate::error::OpenError;
use crate::store::{Limits, Store};

/// Less memory than this is no working database.
const LEAST_MEMORY_BYTES: usize = 64 * 1024;
/// A journal is never smaller: two tables with one small segment each.
const LEAST_JOURNAL_BYTES: u64 = 64 * 1024;

/// How a [`Db`] is opened; from [`Db::builder`].
#[derive(Debug, Clone)]
#[must_use]
pub struct DbBuilder {
    memory_bytes: usize,
    table_bytes: Option<usize>,
    journal_bytes: u64,
    keep_journal_bytes: u64,
    queue_bytes: usize,
    checkpoint_age: Duration,
    check_on_open: bool,
    disk_budget: u64,
    encryption_key: Option<EncryptionKey>,
}

impl Default for DbBuilder {
    fn default() -> DbBuilder {
        DbBuilder {
            memory_bytes: 16 << 20,
            table_bytes: None,
            journal_bytes: 32 << 20,
            keep_journal_bytes: 0,
            queue_bytes: 16 << 20,
            checkpoint_age: Duration::from_secs(15 * 60),
            check_on_open: false,
            disk_budget: u64::MAX,
            encryption_key: None,
        }
    }
}

impl DbBuilder {
    /// Memory for all that is cached or has not settled; 16 MiB without this call, 64 KiB at
    /// least. A quarter is for pages of the data file, the rest for two memory tables: the larger
    /// they are, the fewer bytes reach the device for each one that is put. One batch may
    /// overshoot it by its own size.
    pub fn memory_bytes(mut self, bytes: usize) -> DbBuilder {
        self.memory_bytes = bytes.max(LEAST_MEMORY_BYTES);
        self
    }

    /// How much of [`DbBuilder::memory_bytes`] each of the two memory tables may take; three eighths
    /// without this call, half at most. The rest is for pages of the data file.
    pub fn table_bytes(mut self, bytes: usize) -> DbBuilder {
        self.table_bytes = Some(bytes);
        self
    }

    /// How long the journal may grow; 32 MiB without this call, 64 KiB at least. Opening reads
    /// all of it but what [`DbBuilder::keep_journal_bytes`] keeps. One batch may overshoot it by its own size.
    pub fn journal_bytes(mut self, bytes: u64) -> DbBuilder {
        self.journal_bytes = bytes.max(LEAST_JOURNAL_BYTES);
        self
    }

    /// How much of the disk the folder may take; no limit without this call.
    ///
    /// Once it is used up, batches that put something are refused with
    /// [`WriteError::Full`](crate::WriteError::Full); those that only remove, trim or move cursors
    /// are taken, and so are appends to logs that drop their oldest records, which then drop as
    /// much as is appended. Room is known a few milliseconds after what was removed is asked for.
    ///
    /// Counted are the journal at its limits, the blocks of the data file that are in use (holes in
    /// it are taken by what comes, [`Db::compact`] gives them back), and what is still to settle.
    /// What is in use is an estimate, for redb does not say; and removing rows all over a large
    /// table rewrites pages before it frees them. So leave a fifth of the disk free. [`Db::backup`] and compacting need space
    /// of their own.
    pub fn disk_budget(mut self, bytes: u64) -> DbBuilder {
        self.disk_budget = bytes;
        self
    }

    /// How much of the journal stays on disk once it has settled, beside
    /// [`DbBuilder::journal_bytes`], for [`Db::backup_since`]; nothing without this call. The oldest
    /// goes first. Opening reads nothing of it but the first record of each file; files have up to
    /// 4 MiB, and each is open as long as the database is.
    pub fn keep_journal_bytes(mut self, bytes: u64) -> DbBuilder {
        self.keep_journal_bytes = bytes;
        self
    }

    /// Memory for batches that wait for the disk; 16 MiB without this call. Who comes to a full
    /// queue waits.
    pub fn queue_bytes(mut self, bytes: usize) -> DbBuilder {
        self.queue_bytes = bytes;
        self
    }

    /// When a database that is written to little settles what its journal holds; 15 minutes
    /// without this call. It may take up to twice as long.
    pub fn checkpoint_age(mut self, age: Duration) -> DbBuilder {
        self.checkpoint_age = age;
        self
    }

    /// Whether opening reads the whole data file and compares its checksums; it does not without
    /// this call: every block is compared when it is read.
    pub fn check_on_open(mut self, check: bool) -> DbBuilder {
        self.check_on_open = check;
        self
    }

    /// Encrypts a new database, and opens one that is encrypted; needs the cargo feature
    /// `encryption`. A key is never taken for a database that was created without one, nor the
    /// other way round: see [`OpenError`].
    ///
    /// Everything is encrypted by XChaCha20-Poly1305 under a random key of the database's own, which
    /// lies in the file `key`, encrypted by this one. Who loses this key or that file loses the
    /// database: keep copies of both, apart from each other. The [front page](crate#encryption) says
    /// what is protected and what it costs. [`Db::rotate_key`] changes the key.
    #[cfg(feature = "encryption")]
    pub fn encryption_key(mut self, key: EncryptionKey) -> DbBuilder {
        self.encryption_key = Some(key);
        self
    }

    /// What was given by `encryption_key`.
    pub(crate) fn key(&self) -> Option<&EncryptionKey> {
        self.encryption_key.as_ref()
    }

    /// Opens the database in this folder; creates both if they are not there.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(self, dir: impl AsRef<Path>) -> Result<Db, OpenError> {
        let dir = dir.as_ref();
        let folder = Folder::new(dir);
        let folder = folder
            .map_err(|source| OpenError::Folder { place: dir.display().to_string(), source })?;
        self.open_on(Arc::new(folder))
    }

    /// Opens the database on this storage; creates it there if it is empty.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_on(self, disk: Arc<dyn Disk>) -> Result<Db, OpenError> {
        let table_bytes = self.table_bytes.unwrap_or(self.memory_bytes / 8 * 3);
        let table_bytes = table_bytes.min(self.memory_bytes / 2);
        let limits = Limits {
            cache_bytes: self.memory_bytes - 2 * table_bytes,
            table_bytes,
            journal_bytes: self.journal_bytes,
            keep_journal_bytes: self.keep_journal_bytes,
            table_age: self.checkpoint_age,
            budget_bytes: self.disk_budget,
        };
        let place = disk.place();
        let least_bytes = limits.most_journal_bytes().saturating_add(4 * limits.table_bytes as u64);
        if limits.budget_bytes < least_bytes {
            return Err(OpenError::Budget { budget_bytes: limits.budget_bytes, least_bytes });
        }
        let (store, journal, tree) =
            Store::open(disk, limits, self.check_on_open, self.encryption_key.as_ref())?;
        Db::start(Opened { store, journal, tree, place, queue_bytes: self.queue_bytes })
    }
}
