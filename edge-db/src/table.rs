//! Typed, ordered keys and serde values under a name.

use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::Snapshot;
use crate::codec;
use crate::error::{ReadError, StoreError};
use crate::key::{Key, decode_whole};
use crate::keyspace::{Keyspace, as_slice};
use crate::space::{end_of_prefix, without_space};
use crate::view::{self, View};
use crate::watch::Watch;

/// An ordered map from keys to values. Writes go through a [`Batch`](crate::Batch).
///
/// Keys sort as their type does. Values are stored by bincode 2 behind a codec byte and a schema
/// version. bincode stores no field names, so **adding, removing or reordering a field changes
/// what stored bytes mean**: open the table under a new version with [`Table::version`] when the
/// type changes; values of another version are then an error instead of nonsense.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let db = edge_db::Db::open(dir.path())?;
/// let rooms = db.table::<(String, u32), f64>("rooms")?;
/// let mut batch = db.batch();
/// batch.insert(&rooms, &("lab".into(), 2), &21.5)?;
/// batch.insert(&rooms, &("lab".into(), 1), &20.5)?;
/// batch.commit()?;
/// let all: Vec<_> = rooms.iter()?.collect::<Result<_, _>>()?;
/// assert_eq!(all[0], (("lab".into(), 1), 20.5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Table<K, V> {
    keyspace: Keyspace,
    schema_version: u8,
    types: PhantomData<Types<K, V>>,
}

/// A table takes and gives keys and values, and holds none: it is `Send` and `Sync` for all types.
type Types<K, V> = fn(K, V) -> (K, V);

impl<K, V> Clone for Table<K, V> {
    fn clone(&self) -> Self {
        let keyspace = self.keyspace.clone();
        Table { keyspace, schema_version: self.schema_version, types: PhantomData }
    }
}

impl<K, V> std::fmt::Debug for Table<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("name", &self.name()).finish_non_exhaustive()
    }
}

impl<K, V> Table<K, V> {
    pub(crate) fn new(keyspace: Keyspace) -> Table<K, V> {
        Table { keyspace, schema_version: 0, types: PhantomData }
    }

    /// Reads and writes values under this schema version; 0 without this call.
    #[must_use]
    pub fn version(mut self, schema_version: u8) -> Table<K, V> {
        self.schema_version = schema_version;
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.keyspace.name()
    }

    /// Wakes when something in here was committed.
    pub fn watch(&self) -> Watch {
        self.keyspace.watch()
    }

    pub(crate) fn keyspace(&self) -> &Keyspace {
        &self.keyspace
    }

    pub(crate) fn schema_version(&self) -> u8 {
        self.schema_version
    }
}

impl<K: Key, V> Table<K, V> {
    pub(crate) fn stored_key(&self, key: &K) -> Vec<u8> {
        let mut stored = self.keyspace.space().prefix().to_vec();
        key.encode(&mut stored);
        stored
    }
}

impl<K: Key, V: DeserializeOwned> Table<K, V> {
    /// The value stored under `key`.
    ///
    /// # Errors
    /// When the file cannot be read, or the value is of another type or version.
    pub fn get(&self, key: &K) -> Result<Option<V>, ReadError> {
        let stored = self.keyspace.db().shared().store.get(&self.stored_key(key))?;
        stored.map(|stored| self.value(&stored)).transpose()
    }

    /// All keys and values, in the order of the keys.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn iter(&self) -> Result<Rows<K, V>, ReadError> {
        self.iter_in(&self.keyspace.db().view()?)
    }

    /// The keys in `range` and their values, in order.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn range(&self, range: impl RangeBounds<K>) -> Result<Rows<K, V>, ReadError> {
        self.range_in(&self.keyspace.db().view()?, &range)
    }

    fn get_in(&self, view: &View, key: &K) -> Result<Option<V>, ReadError> {
        let stored = view.get(&self.stored_key(key))?;
        stored.map(|stored| self.value(&stored)).transpose()
    }

    fn iter_in(&self, view: &View) -> Result<Rows<K, V>, ReadError> {
        let prefix = self.keyspace.space().prefix();
        let end = end_of_prefix(&prefix);
        let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        Ok(Rows { range: view.range(Bound::Included(&prefix), end)?, table: self.clone() })
    }

    fn range_in(&self, view: &View, range: &impl RangeBounds<K>) -> Result<Rows<K, V>, ReadError> {
        let encoded = |key: &K| {
            let mut bytes = Vec::new();
            key.encode(&mut bytes);
            bytes
        };
        let bounds = (range.start_bound().map(encoded), range.end_bound().map(encoded));
        let (start, end) = self.keyspace.bounds(&bounds);
        Ok(Rows { range: view.range(as_slice(&start), as_slice(&end))?, table: self.clone() })
    }

    fn value(&self, stored: &[u8]) -> Result<V, ReadError> {
        codec::decode(stored, self.schema_version)
            .map_err(|source| self.keyspace.value_error(source))
    }
}

/// Keys and values of a [`Table`] in the order of the keys, from either end.
pub struct Rows<K, V> {
    range: view::Range,
    table: Table<K, V>,
}

impl<K: Key, V: DeserializeOwned> Rows<K, V> {
    fn row(&self, entry: Result<(Bytes, Bytes), StoreError>) -> Result<(K, V), ReadError> {
        let (key, stored) = entry?;
        let key = decode_whole(without_space(&key));
        Ok((key.ok_or_else(|| self.table.keyspace.key_error())?, self.table.value(&stored)?))
    }
}

impl<K: Key, V: DeserializeOwned> Iterator for Rows<K, V> {
    type Item = Result<(K, V), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.range.next()?;
        Some(self.row(entry))
    }
}

impl<K: Key, V: DeserializeOwned> DoubleEndedIterator for Rows<K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let entry = self.range.next_back()?;
        Some(self.row(entry))
    }
}

impl<K, V> std::fmt::Debug for Rows<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows").field("table", &self.table).finish_non_exhaustive()
    }
}

impl Snapshot {
    /// The value stored under `key` at this moment.
    ///
    /// # Errors
    /// When the file cannot be read, or the value is of another type or version.
    pub fn get<K: Key, V: DeserializeOwned>(
        &self,
        table: &Table<K, V>,
        key: &K,
    ) -> Result<Option<V>, ReadError> {
        table.get_in(self.view(), key)
    }

    /// All keys and values at this moment, in the order of the keys.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn iter<K: Key, V: DeserializeOwned>(
        &self,
        table: &Table<K, V>,
    ) -> Result<Rows<K, V>, ReadError> {
        table.iter_in(self.view())
    }
}
