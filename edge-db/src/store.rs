//! The file below the store: an ordered map from bytes to bytes, on redb.
//!
//! Nothing else in this crate names redb, and redb sees nothing but bytes, so that its file
//! format may change between majors. One tree holds everything, for each further tree costs
//! 12 KB of device writes in a commit.

use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use parking_lot::RwLock;
use redb::{Database, DatabaseError, ReadOnlyTable, ReadableDatabase, TableDefinition, TableError};

use crate::error::{OpenError, ReadError, StoreError};

const TREE: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("edge-db");

/// The data file inside the database folder.
const FILE: &str = "data.redb";

/// One change to the map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Write {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    /// Everything from the first key (included) to the second (excluded).
    DeleteRange(Vec<u8>, Vec<u8>),
}

#[derive(Debug)]
pub(crate) struct Store {
    file: PathBuf,
    /// `None` once closed.
    database: RwLock<Option<Database>>,
}

impl Store {
    /// Opens or creates the file. With `check`, reads all of it and compares its checksums.
    pub(crate) fn open(dir: &Path, cache_bytes: usize, check: bool) -> Result<Store, OpenError> {
        let folder_error = |source| OpenError::Folder { path: dir.to_owned(), source };
        std::fs::create_dir_all(dir).map_err(folder_error)?;
        let file = dir.join(FILE);
        // redb checks invariants of its pages by panicking where checksums were not looked at.
        let opened = catch_unwind(AssertUnwindSafe(|| {
            Database::builder()
                .set_cache_size(cache_bytes)
                .set_check_integrity_on_open(check)
                .create(&file)
        }));
        let damaged = |source| OpenError::Damaged { path: file.clone(), source };
        let database = match opened {
            Ok(Ok(database)) => database,
            Ok(Err(DatabaseError::DatabaseAlreadyOpen)) => {
                return Err(OpenError::InUse { path: dir.to_owned() });
            }
            Ok(Err(DatabaseError::Storage(redb::StorageError::Io(source))))
                if source.kind() != std::io::ErrorKind::InvalidData
                    && source.kind() != std::io::ErrorKind::UnexpectedEof =>
            {
                return Err(folder_error(source));
            }
            Ok(Err(error)) => return Err(damaged(StoreError::new("open", error))),
            Err(_panic) => return Err(damaged(StoreError::new("open", "its pages are damaged"))),
        };
        create_tree(&database).map_err(damaged)?;
        // Without this a power cut could lose the name of a file whose content is safe.
        sync_folder(dir).map_err(folder_error)?;
        Ok(Store { file, database: RwLock::new(Some(database)) })
    }

    /// The map as it is now; later writes do not change it.
    pub(crate) fn view(&self) -> Result<View, ReadError> {
        let database = self.database.read();
        let database = database.as_ref().ok_or(ReadError::Closed)?;
        let tree = open_tree(database)?;
        Ok(View { tree })
    }

    /// Applies all writes in order and returns once they are on disk; on an error none is.
    pub(crate) fn apply(&self, writes: &[Write]) -> Result<(), StoreError> {
        let database = self.database.read();
        let closed = || StoreError::new("write", "database is closed");
        let database = database.as_ref().ok_or_else(closed)?;
        catch_unwind(AssertUnwindSafe(|| apply(database, writes)))
            .unwrap_or_else(|_panic| Err(StoreError::new("write", "its pages are damaged")))
    }

    /// Bytes that the file occupies on disk.
    pub(crate) fn file_bytes(&self) -> u64 {
        std::fs::metadata(&self.file).map_or(0, |metadata| allocated_bytes(&metadata))
    }

    /// Closes the file once the last view of it is gone.
    pub(crate) fn close(&self) {
        drop(self.database.write().take());
    }
}

fn apply(database: &Database, writes: &[Write]) -> Result<(), StoreError> {
    let fail = |error: redb::Error| StoreError::new("write", error);
    let transaction = database.begin_write().map_err(|e| fail(e.into()))?;
    {
        let mut tree = transaction.open_table(TREE).map_err(|e| fail(e.into()))?;
        for write in writes {
            match write {
                Write::Put(key, value) => tree.insert(key.as_slice(), value.as_slice()).map(drop),
                Write::Delete(key) => tree.remove(key.as_slice()).map(drop),
                Write::DeleteRange(from, to) => {
                    tree.retain_in(from.as_slice()..to.as_slice(), |_, _| false)
                }
            }
            .map_err(|e| fail(e.into()))?;
        }
    }
    transaction.commit().map_err(|e| fail(e.into()))
}

fn create_tree(database: &Database) -> Result<(), StoreError> {
    let fail = |error: redb::Error| StoreError::new("open", error);
    let reading = database.begin_read().map_err(|e| fail(e.into()))?;
    match reading.open_table(TREE) {
        Ok(_) => return Ok(()),
        Err(TableError::TableDoesNotExist(_)) => {}
        Err(error) => return Err(fail(error.into())),
    }
    apply(database, &[])
}

fn open_tree(
    database: &Database,
) -> Result<ReadOnlyTable<&'static [u8], &'static [u8]>, StoreError> {
    let fail = |error: redb::Error| StoreError::new("read", error);
    let transaction = database.begin_read().map_err(|e| fail(e.into()))?;
    transaction.open_table(TREE).map_err(|e| fail(e.into()))
}

/// The file is sparse: its blocks of 512 bytes count, its length does not.
#[cfg(unix)]
fn allocated_bytes(metadata: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(metadata) * 512
}

#[cfg(not(unix))]
fn allocated_bytes(metadata: &std::fs::Metadata) -> u64 {
    metadata.len()
}

fn sync_folder(dir: &Path) -> std::io::Result<()> {
    std::fs::File::open(dir)?.sync_all()?;
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => std::fs::File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}

/// The map at one moment.
pub(crate) struct View {
    tree: ReadOnlyTable<&'static [u8], &'static [u8]>,
}

impl View {
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let found = self.tree.get(key).map_err(|e| StoreError::new("read", e))?;
        Ok(found.map(|value| Bytes::copy_from_slice(value.value())))
    }

    /// The entries between the bounds, in the order of their keys, from either end.
    pub(crate) fn range(&self, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Result<Range, StoreError> {
        if is_empty(from, to) {
            return Ok(Range { inner: None });
        }
        let inner = self.tree.range_owned::<&[u8]>((from, to));
        Ok(Range { inner: Some(inner.map_err(|e| StoreError::new("read", e))?) })
    }

    /// The last key between the bounds, without its value.
    pub(crate) fn last_key(&self, from: &[u8], to: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let range = self.range(Bound::Included(from), Bound::Included(to))?;
        let last = range.inner.and_then(|mut inner| inner.next_back()).transpose();
        let last = last.map_err(|e| StoreError::new("read", e))?;
        Ok(last.map(|(key, _)| Bytes::copy_from_slice(key.value())))
    }
}

/// redb panics on bounds that cross, as `BTreeMap` does; an empty answer is kinder.
fn is_empty(from: Bound<&[u8]>, to: Bound<&[u8]>) -> bool {
    match (from, to) {
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Excluded(to))
        | (Bound::Excluded(from), Bound::Included(to)) => from >= to,
        _ => false,
    }
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").finish_non_exhaustive()
    }
}

/// Entries of a [`View`], in the order of their keys.
pub(crate) struct Range {
    inner: Option<redb::OwnedRange<&'static [u8], &'static [u8]>>,
}

type Entry = Result<(Bytes, Bytes), StoreError>;

impl Iterator for Range {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        self.inner.as_mut()?.next().map(owned)
    }
}

impl DoubleEndedIterator for Range {
    fn next_back(&mut self) -> Option<Entry> {
        self.inner.as_mut()?.next_back().map(owned)
    }
}

type Guard = redb::OwnedAccessGuard<&'static [u8]>;

fn owned(entry: Result<(Guard, Guard), redb::StorageError>) -> Entry {
    let (key, value) = entry.map_err(|e| StoreError::new("read", e))?;
    Ok((Bytes::copy_from_slice(key.value()), Bytes::copy_from_slice(value.value())))
}
