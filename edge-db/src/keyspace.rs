//! Ordered bytes under a name.

use std::ops::{Bound, ControlFlow, RangeBounds};
use std::sync::Arc;

use bytes::Bytes;

use crate::codec::{self, Codec};
use crate::error::{DecodeError, ReadError, StoreError};
use crate::space::{Space, end_of_prefix, without_space};
use crate::view::{self, View};
use crate::watch::{Signal, Watch};
use crate::{Db, Snapshot};

/// An ordered map from bytes to bytes. Writes go through a [`Batch`](crate::Batch).
///
/// Reads see what is on disk; each call sees one moment. For several calls that see the same
/// moment take a [`Snapshot`].
#[derive(Debug, Clone)]
pub struct Keyspace {
    db: Db,
    space: Space,
    name: Arc<str>,
    signal: Arc<Signal>,
}

impl Keyspace {
    pub(crate) fn new(db: Db, space: Space, name: Arc<str>) -> Keyspace {
        let signal = db.signal(space.prefix().to_vec());
        Keyspace { db, space, name, signal }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The bytes stored under `key`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>, ReadError> {
        let stored = self.db.shared().store.get(&self.space.key(key.as_ref()))?;
        stored.map(|stored| self.raw(&stored)).transpose()
    }

    /// Everything, in the order of the keys.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn iter(&self) -> Result<Entries, ReadError> {
        self.prefix([])
    }

    /// The entries whose keys begin with `prefix`, in order.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Result<Entries, ReadError> {
        self.prefix_in(&self.db.view()?, prefix.as_ref())
    }

    /// The entries whose keys lie in `range`, in order.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn range<B: AsRef<[u8]>>(&self, range: impl RangeBounds<B>) -> Result<Entries, ReadError> {
        self.range_in(&self.db.view()?, &range)
    }

    /// Shows every entry whose key lies in `range` to `visit`, in order, until that breaks. Nothing
    /// is copied: of all ways to read much, this is the fastest.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let db = edge_db::Db::open(dir.path())?;
    /// # let rooms = db.keyspace("rooms")?;
    /// let mut bytes = 0;
    /// rooms.visit::<&[u8]>(.., |_key, value| {
    ///     bytes += value.len();
    ///     std::ops::ControlFlow::Continue(())
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn visit<B: AsRef<[u8]>>(
        &self,
        range: impl RangeBounds<B>,
        mut visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let (start, end) = self.bounds(&range);
        let view = self.db.view()?;
        let mut malformed = None;
        view.visit(as_slice(&start), as_slice(&end), |key, stored| {
            match codec::body(stored, Codec::Raw, 0) {
                Ok(value) => visit(without_space(key), value),
                Err(source) => {
                    malformed = Some(self.value_error(source));
                    ControlFlow::Break(())
                }
            }
        })?;
        malformed.map_or(Ok(()), Err)
    }

    /// Wakes when something in here was committed.
    pub fn watch(&self) -> Watch {
        Watch::new(&self.signal)
    }

    /// Wakes when a key that begins with `prefix` was put or deleted; with a whole key, when that
    /// was, or one that it is the front of.
    pub fn watch_prefix(&self, prefix: impl AsRef<[u8]>) -> Watch {
        Watch::new(&self.db.signal(self.space.key(prefix.as_ref())))
    }

    pub(crate) fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    pub(crate) fn db(&self) -> &Db {
        &self.db
    }

    pub(crate) fn space(&self) -> Space {
        self.space
    }

    pub(crate) fn get_in(&self, view: &View, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        let stored = view.get(&self.space.key(key))?;
        stored.map(|stored| self.raw(&stored)).transpose()
    }

    pub(crate) fn prefix_in(&self, view: &View, prefix: &[u8]) -> Result<Entries, ReadError> {
        let start = self.space.key(prefix);
        let end = end_of_prefix(&start);
        let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        self.entries(view.range(Bound::Included(&start), end)?)
    }

    pub(crate) fn range_in<B: AsRef<[u8]>>(
        &self,
        view: &View,
        range: &impl RangeBounds<B>,
    ) -> Result<Entries, ReadError> {
        let (start, end) = self.bounds(range);
        self.entries(view.range(as_slice(&start), as_slice(&end))?)
    }

    pub(crate) fn bounds<B: AsRef<[u8]>>(
        &self,
        range: &impl RangeBounds<B>,
    ) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
        let start = match range.start_bound() {
            Bound::Unbounded => Bound::Included(self.space.prefix().to_vec()),
            bound => bound.map(|key| self.space.key(key.as_ref())),
        };
        let end = match range.end_bound() {
            Bound::Unbounded => Bound::Excluded(self.space.next().prefix().to_vec()),
            bound => bound.map(|key| self.space.key(key.as_ref())),
        };
        (start, end)
    }

    fn entries(&self, range: view::Range) -> Result<Entries, ReadError> {
        Ok(Entries { range, keyspace: self.clone() })
    }

    fn raw(&self, stored: &Bytes) -> Result<Bytes, ReadError> {
        codec::shared_body(stored, Codec::Raw, 0).map_err(|source| self.value_error(source))
    }

    pub(crate) fn value_error(&self, source: DecodeError) -> ReadError {
        ReadError::Value { name: self.name.to_string(), source }
    }

    pub(crate) fn key_error(&self) -> ReadError {
        ReadError::Key { name: self.name.to_string() }
    }
}

pub(crate) fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_ref().map(Vec::as_slice)
}

/// Entries of a [`Keyspace`] in the order of their keys, from either end.
pub struct Entries {
    range: view::Range,
    keyspace: Keyspace,
}

impl Entries {
    fn entry(
        &self,
        entry: Result<(Bytes, Bytes), StoreError>,
    ) -> Result<(Bytes, Bytes), ReadError> {
        let (key, stored) = entry?;
        Ok((key.slice_ref(without_space(&key)), self.keyspace.raw(&stored)?))
    }
}

impl Iterator for Entries {
    type Item = Result<(Bytes, Bytes), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.range.next()?;
        Some(self.entry(entry))
    }
}

impl DoubleEndedIterator for Entries {
    fn next_back(&mut self) -> Option<Self::Item> {
        let entry = self.range.next_back()?;
        Some(self.entry(entry))
    }
}

impl std::fmt::Debug for Entries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entries").field("keyspace", &self.keyspace.name).finish_non_exhaustive()
    }
}

impl Snapshot {
    /// The bytes stored under `key` at this moment.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn get_bytes(
        &self,
        keyspace: &Keyspace,
        key: impl AsRef<[u8]>,
    ) -> Result<Option<Bytes>, ReadError> {
        keyspace.get_in(self.view(), key.as_ref())
    }

    /// The entries whose keys begin with `prefix` at this moment, in order.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn prefix(
        &self,
        keyspace: &Keyspace,
        prefix: impl AsRef<[u8]>,
    ) -> Result<Entries, ReadError> {
        keyspace.prefix_in(self.view(), prefix.as_ref())
    }
}
