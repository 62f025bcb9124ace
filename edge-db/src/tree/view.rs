//! The tree at one moment, as readers see it.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use bytes::Bytes;
use redb::{Database, ReadOnlyTable, ReadableDatabase};

use super::health::Health;
use super::{Settled, TREE, Tree, named};
use crate::error::StoreError;
use crate::space::Space;

/// Takes a key and its value where they lie; may have enough.
pub(crate) type Show<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// The tree at one moment.
pub(crate) struct TreeView {
    table: ReadOnlyTable<&'static [u8], &'static [u8]>,
    /// redb reads no more once this is dropped.
    database: Arc<Database>,
    asked_before: CacheUse,
    health: Arc<Health>,
}

impl Tree {
    /// The tree as it is now; later changes do not show.
    pub(crate) fn view(&self) -> Result<TreeView, StoreError> {
        let fail = |error: redb::Error| StoreError::new("read", error);
        let transaction = self.database.begin_read().map_err(|e| fail(e.into()))?;
        let table = transaction.open_table(TREE).map_err(|e| fail(e.into()))?;
        Ok(TreeView {
            table,
            database: Arc::clone(&self.database),
            asked_before: self.asked_before,
            health: Arc::clone(&self.health),
        })
    }
}

impl TreeView {
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let found = self.table.get(key).map_err(|error| self.error(error))?;
        Ok(found.map(|value| Bytes::copy_from_slice(value.value())))
    }

    /// The entries between the bounds, from either end. The bounds must not cross.
    pub(crate) fn range(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
    ) -> Result<TreeRange, StoreError> {
        let inner = self.table.range_owned::<&[u8]>((from, to));
        let inner = inner.map_err(|error| self.error(error))?;
        Ok(TreeRange { inner, health: Arc::clone(&self.health) })
    }

    /// Shows the entries between the bounds, until that breaks. The bounds must not cross.
    pub(crate) fn visit(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        mut show: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        for entry in self.table.range::<&[u8]>((from, to)).map_err(|error| self.error(error))? {
            let (key, value) = entry.map_err(|error| self.error(error))?;
            if show(key.value(), value.value()).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// What the cache was asked for by now, by this view and all others.
    pub(crate) fn cache_use(&self) -> CacheUse {
        self.asked_before.and(&self.database)
    }

    /// Lets reads that find something else than they look for say why.
    pub(crate) fn close(&self) {
        self.health.close();
    }

    fn error(&self, error: redb::StorageError) -> StoreError {
        named(StoreError::new("read", error), &self.health)
    }

    /// Up to which revision everything is in the tree, and how much that is.
    pub(crate) fn settled(&self) -> Result<Settled, StoreError> {
        let Some(stored) = self.get(&Space::SETTLED.prefix())? else {
            return Ok(Settled::default());
        };
        Settled::decode(&stored).ok_or_else(|| StoreError::new("read", "its position is damaged"))
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
    health: Arc<Health>,
}

impl TreeRange {
    fn entry(&self, entry: Result<(Guard, Guard), redb::StorageError>) -> Entry {
        let (key, value) =
            entry.map_err(|error| named(StoreError::new("read", error), &self.health))?;
        Ok(TreeEntry { key, value })
    }
}

type Entry = Result<TreeEntry, StoreError>;

impl Iterator for TreeRange {
    type Item = Entry;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.inner.next()?;
        Some(self.entry(entry))
    }
}

impl DoubleEndedIterator for TreeRange {
    fn next_back(&mut self) -> Option<Self::Item> {
        let entry = self.inner.next_back()?;
        Some(self.entry(entry))
    }
}

/// How often pages were asked for that the cache had, and that it had not.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CacheUse {
    pub(crate) hits: u64,
    pub(crate) misses: u64,
}

impl CacheUse {
    /// With what the cache of this handle was asked for.
    pub(super) fn and(self, database: &Database) -> CacheUse {
        let asked = database.cache_stats();
        CacheUse {
            hits: self.hits + asked.read_hits() + asked.write_hits(),
            misses: self.misses + asked.read_misses() + asked.write_misses(),
        }
    }
}
