//! What has settled: an ordered map from bytes to bytes, on redb.
//!
//! Nothing else in this crate names redb, and redb sees nothing but bytes, so that its file
//! format may change between majors. One tree holds everything, for each further tree costs
//! 12 KB of device writes in a transaction.

mod backend;

use std::cell::RefCell;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use redb::{
    Database, DatabaseError, Durability, ReadOnlyTable, ReadableDatabase, TableDefinition,
    TableError,
};

use crate::disk::Disk;
use crate::error::StoreError;
use crate::log::coalesce::Coalescer;
use crate::memory::MemoryTable;
use crate::revision::Revision;
use crate::space::Space;
use backend::Backend;

const TREE: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("edge-db");

/// The file on the disk.
pub(crate) const FILE: &str = "data.redb";

#[derive(Debug)]
pub(crate) struct Tree {
    database: Database,
    disk: Arc<dyn Disk>,
    cache_bytes: usize,
}

impl Tree {
    /// Opens or creates the file. With `check`, reads all of it and compares its checksums.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        cache_bytes: usize,
        check: bool,
    ) -> Result<Tree, StoreError> {
        let database = open(&*disk, cache_bytes, check)?;
        Ok(Tree { database, disk, cache_bytes })
    }

    /// Opens the file again after an error: redb refuses writes until then. Views of the old one
    /// still read, but must be gone before anything is written.
    pub(crate) fn reopen(&mut self) -> Result<(), StoreError> {
        self.database = open(&*self.disk, self.cache_bytes, false)?;
        Ok(())
    }

    /// The tree as it is now; later changes do not show.
    pub(crate) fn view(&self) -> Result<TreeView, StoreError> {
        let fail = |error: redb::Error| StoreError::new("read", error);
        let transaction = self.database.begin_read().map_err(|e| fail(e.into()))?;
        let table = transaction.open_table(TREE).map_err(|e| fail(e.into()))?;
        Ok(TreeView { table })
    }

    /// Writes a memory table into the tree, and that everything up to `revision` is there now;
    /// durable when this returns.
    pub(crate) fn settle(&self, table: &MemoryTable, revision: Revision) -> Result<(), StoreError> {
        guarded("settle", || {
            let fail = |error: redb::Error| StoreError::new("settle", error);
            let mut transaction = self.database.begin_write().map_err(|e| fail(e.into()))?;
            // Without this a crash makes the next open walk all of the file.
            transaction.set_quick_repair(true);
            transaction.set_durability(Durability::Immediate).map_err(|e| fail(e.into()))?;
            {
                let tree = transaction.open_table(TREE).map_err(|e| fail(e.into()))?;
                let tree = RefCell::new(tree);
                let write = |key: &[u8], value: Option<&[u8]>| {
                    let mut tree = tree.borrow_mut();
                    let done = match value {
                        Some(value) => tree.insert(key, value),
                        None => tree.remove(key),
                    };
                    done.map(drop).map_err(|e| fail(e.into()))
                };
                let erase = |from: &[u8], to: &[u8]| {
                    let done = tree.borrow_mut().retain_in(from..to, |_, _| false);
                    done.map_err(|e| fail(e.into()))
                };
                let mut coalescer = Coalescer::default();
                table.settle(erase, |key, value| coalescer.push(key, value, write))?;
                coalescer.flush(write)?;
                // A crash before the commit leaves the tree as it was, and the journal with it.
                write(&Space::SETTLED.prefix(), Some(&revision.get().to_be_bytes()))?;
            }
            transaction.commit().map_err(|e| fail(e.into()))
        })
    }
}

fn open(disk: &dyn Disk, cache_bytes: usize, check: bool) -> Result<Database, StoreError> {
    guarded("open", || {
        let fail = |error: redb::Error| StoreError::new("open", error);
        let io = |error| StoreError::new("open", error);
        let (file, is_new) = match disk.open(FILE) {
            Ok(file) => (file, false),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                (disk.create(FILE).map_err(io)?, true)
            }
            Err(error) => return Err(io(error)),
        };
        let database = Database::builder()
            .set_cache_size(cache_bytes)
            .set_check_integrity_on_open(check)
            .create_with_backend(Backend::new(file))
            .map_err(|error: DatabaseError| fail(error.into()))?;
        create_tree(&database)?;
        if is_new {
            // Without this a power cut could lose the name of a file whose content is safe.
            disk.sync_names().map_err(io)?;
        }
        Ok(database)
    })
}

fn create_tree(database: &Database) -> Result<(), StoreError> {
    let fail = |error: redb::Error| StoreError::new("open", error);
    let reading = database.begin_read().map_err(|e| fail(e.into()))?;
    match reading.open_table(TREE) {
        Ok(_) => return Ok(()),
        Err(TableError::TableDoesNotExist(_)) => {}
        Err(error) => return Err(fail(error.into())),
    }
    drop(reading);
    let mut transaction = database.begin_write().map_err(|e| fail(e.into()))?;
    transaction.set_quick_repair(true);
    transaction.open_table(TREE).map_err(|e| fail(e.into()))?;
    transaction.commit().map_err(|e| fail(e.into()))
}

/// redb checks invariants of its pages by panicking where checksums were not looked at.
fn guarded<T>(
    doing: &'static str,
    work: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_panic| Err(StoreError::new(doing, "pages of the data file are damaged")))
}

/// The tree at one moment.
pub(crate) struct TreeView {
    table: ReadOnlyTable<&'static [u8], &'static [u8]>,
}

impl TreeView {
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let found = self.table.get(key).map_err(|e| StoreError::new("read", e))?;
        Ok(found.map(|value| Bytes::copy_from_slice(value.value())))
    }

    /// The entries between the bounds, from either end. The bounds must not cross.
    pub(crate) fn range(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
    ) -> Result<TreeRange, StoreError> {
        let inner = self.table.range_owned::<&[u8]>((from, to));
        Ok(TreeRange { inner: inner.map_err(|e| StoreError::new("read", e))? })
    }

    /// Up to which revision everything is in the tree.
    pub(crate) fn settled(&self) -> Result<Revision, StoreError> {
        let Some(stored) = self.get(&Space::SETTLED.prefix())? else { return Ok(Revision::ZERO) };
        let number = stored.as_ref().try_into().map(u64::from_be_bytes);
        let number = number.map_err(|_| StoreError::new("read", "its position is damaged"))?;
        Ok(Revision::new(number))
    }
}

impl std::fmt::Debug for TreeView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TreeView").finish_non_exhaustive()
    }
}

type Guard = redb::OwnedAccessGuard<&'static [u8]>;

/// A key and its value, in a page of the tree's cache.
pub(crate) struct TreeEntry {
    key: Guard,
    value: Guard,
}

impl TreeEntry {
    pub(crate) fn key(&self) -> &[u8] {
        self.key.value()
    }

    pub(crate) fn value(&self) -> &[u8] {
        self.value.value()
    }
}

/// Entries of a [`TreeView`].
pub(crate) struct TreeRange {
    inner: redb::OwnedRange<&'static [u8], &'static [u8]>,
}

impl Iterator for TreeRange {
    type Item = Result<TreeEntry, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.inner.next().map(entry)
    }
}

impl DoubleEndedIterator for TreeRange {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.inner.next_back().map(entry)
    }
}

fn entry(entry: Result<(Guard, Guard), redb::StorageError>) -> Result<TreeEntry, StoreError> {
    let (key, value) = entry.map_err(|e| StoreError::new("read", e))?;
    Ok(TreeEntry { key, value })
}
