//! A folder that a database is made in: it opens as one once all of it is there.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::backup::{self, BackupSummary};
use crate::codec;
use crate::disk::{Disk, DiskLock, Folder, LockError};
use crate::encryption::Encryption;
use crate::error::StoreError;
use crate::memory::MemoryTable;
use crate::revision::Revision;
use crate::space::Space;
use crate::store::Write;
use crate::tree::{Alarm, Tree};

/// There while the database is not complete.
pub(crate) const INCOMPLETE: &str = "restoring";
/// Settled at once.
const TABLE_BYTES: usize = 8 * 1024 * 1024;

/// Why a folder is none that a database can be made in.
#[derive(Debug)]
pub(crate) enum NewFolderError {
    NotEmpty { place: String },
    Folder { place: String, source: io::Error },
}

#[derive(Debug)]
pub(crate) struct NewFolder {
    disk: Arc<dyn Disk>,
    place: String,
    tree: Tree,
    table: MemoryTable,
    summary: BackupSummary,
    _lock: DiskLock,
}

/// Why a database was not made.
#[derive(Debug)]
pub(crate) enum FillError {
    Folder(NewFolderError),
    Store(StoreError),
}

impl From<StoreError> for FillError {
    fn from(error: StoreError) -> FillError {
        FillError::Store(error)
    }
}

impl NewFolder {
    /// Takes a new folder.
    pub(crate) fn begin(
        dir: &Path,
        encryption: Option<&Encryption>,
    ) -> Result<NewFolder, FillError> {
        let place = dir.display().to_string();
        let not_empty = || FillError::Folder(NewFolderError::NotEmpty { place: place.clone() });
        let failed =
            |source| FillError::Folder(NewFolderError::Folder { place: place.clone(), source });
        let disk = Folder::new(dir).map_err(failed)?;
        let lock = disk.lock().map_err(|error| match error {
            LockError::Held { .. } => not_empty(),
            LockError::Io(source) => failed(source),
        })?;
        // The lock itself is there.
        if disk.names().map_err(failed)?.len() > 1 {
            return Err(not_empty());
        }
        disk.create(INCOMPLETE).and_then(|_| disk.sync_names()).map_err(failed)?;
        let disk: Arc<dyn Disk> = Arc::new(disk);
        if let Some(encryption) = encryption {
            encryption.store(&*disk).map_err(|error| StoreError::new("write", error))?;
        }
        let cipher = encryption.map(Encryption::cipher);
        let tree = Tree::open(Arc::clone(&disk), cipher, TABLE_BYTES, false, Alarm::new(|| {}))?;
        let (table, summary) = (MemoryTable::default(), BackupSummary::default());
        Ok(NewFolder { disk, place, tree, table, summary, _lock: lock })
    }

    /// What is written from here on is of this revision; the database goes on behind the last one.
    pub(crate) fn go_to(&mut self, revision: Revision) {
        self.summary.revision = revision;
    }

    /// How far it is.
    pub(crate) fn revision(&self) -> Revision {
        self.summary.revision
    }

    /// Whose history it holds so far.
    pub(crate) fn history(&mut self) -> Result<u64, StoreError> {
        self.settle()?;
        let stored = self.tree.view()?.get(&Space::HISTORY.prefix())?;
        backup::history(stored).map_err(|error| StoreError::new("read", error))
    }

    /// Writes these, which settle together or not at all.
    pub(crate) fn write(&mut self, writes: Vec<Write>) -> Result<(), StoreError> {
        self.summary.keys += writes.len() as u64;
        self.summary.bytes += writes.iter().map(|write| write.bytes() as u64).sum::<u64>();
        self.apply(writes);
        if self.table.bytes() >= TABLE_BYTES {
            self.settle()?;
        }
        Ok(())
    }

    fn apply(&mut self, writes: Vec<Write>) {
        self.table.apply(writes, self.revision(), self.revision());
    }

    fn settle(&mut self) -> Result<(), StoreError> {
        let table = std::mem::take(&mut self.table);
        self.tree.settle(&table, self.revision())
    }

    /// All is written: from here on the folder opens as a database, with commits to come that are
    /// others than those of the original.
    pub(crate) fn complete(mut self) -> Result<BackupSummary, FillError> {
        let key = Bytes::copy_from_slice(&Space::HISTORY.prefix());
        let history = codec::number(backup::new_history());
        self.apply(vec![Write::Put(key, history.into())]);
        self.settle()?;
        // A crash before this leaves a folder that does not open.
        let removed = self.disk.remove(INCOMPLETE).and_then(|()| self.disk.sync_names());
        let place = self.place.clone();
        removed.map_err(|source| FillError::Folder(NewFolderError::Folder { place, source }))?;
        Ok(self.summary)
    }
}
