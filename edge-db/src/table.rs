//! Typed, ordered keys and serde values under a name.

use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{self, Codec, Stored};
use crate::error::{DecodeError, EncodeError, ReadError, StoreError, WriteError};
use crate::key::{Key, decode_whole};
use crate::keyspace::Keyspace;
use crate::space::{Space, end_of_prefix, without_space};
use crate::view::{self, View};
use crate::watch::Watch;
use crate::{Snapshot, Time};

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
    codec: Codec,
    expire_after: Option<Duration>,
    migrate: Option<Migrate<V>>,
    types: PhantomData<Types<K, V>>,
}

/// A table takes and gives keys and values, and holds none: it is `Send` and `Sync` for all types.
type Types<K, V> = fn(K, V) -> (K, V);

/// Makes a value of one that was stored under another schema version.
type Migrate<V> = Arc<dyn Fn(OldValue<'_>) -> Result<V, DecodeError> + Send + Sync>;

/// A value as another schema version stored it; given to [`Table::migrate`]'s function.
#[derive(Debug, Clone, Copy)]
pub struct OldValue<'a> {
    stored: Stored<'a>,
}

impl OldValue<'_> {
    /// The schema version that it was stored under.
    pub fn version(&self) -> u8 {
        self.stored.version
    }

    /// The value as the type that it had then.
    ///
    /// # Errors
    /// When it is no such value.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        self.stored.decode()
    }
}

impl<K, V> Clone for Table<K, V> {
    fn clone(&self) -> Self {
        Table {
            keyspace: self.keyspace.clone(),
            schema_version: self.schema_version,
            codec: self.codec,
            expire_after: self.expire_after,
            migrate: self.migrate.clone(),
            types: PhantomData,
        }
    }
}

impl<K, V> std::fmt::Debug for Table<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("name", &self.name()).finish_non_exhaustive()
    }
}

impl<K, V> Table<K, V> {
    pub(crate) fn new(keyspace: Keyspace) -> Table<K, V> {
        Table {
            keyspace,
            schema_version: 0,
            codec: Codec::Bincode,
            expire_after: None,
            migrate: None,
            types: PhantomData,
        }
    }

    /// Reads and writes values under this schema version; 0 without this call.
    #[must_use]
    pub fn version(mut self, schema_version: u8) -> Table<K, V> {
        self.schema_version = schema_version;
        self
    }

    /// Reads values of other schema versions through this function. They stay as they are until
    /// they are inserted again.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let db = edge_db::Db::open(dir.path())?;
    /// let rooms = db.table::<String, (f64, Option<u32>)>("rooms")?.version(1).migrate(|old| {
    ///     Ok((old.decode::<f64>()?, None))             // version 0 had no second field
    /// });
    /// # let _: Option<_> = rooms.get(&"lab".to_owned())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn migrate(
        mut self,
        migrate: impl Fn(OldValue<'_>) -> Result<V, DecodeError> + Send + Sync + 'static,
    ) -> Table<K, V> {
        self.migrate = Some(Arc::new(migrate));
        self
    }

    /// Writes values by postcard instead of bincode; both are read.
    #[cfg(feature = "postcard")]
    #[must_use]
    pub fn postcard(mut self) -> Table<K, V> {
        self.codec = Codec::Postcard;
        self
    }

    /// Values that this handle inserts count as gone after this time, by the machine's clock. They
    /// leave the disk when the table next settles after a tenth of it, at the cost of nobody's
    /// commit. An expiry is no change: change logs do not have it.
    ///
    /// Every process that opens the table says so again; without it values are inserted for ever,
    /// and what has expired stays on disk, unseen.
    #[must_use]
    pub fn expire_after(mut self, age: Duration) -> Table<K, V> {
        self.expire_after = Some(age);
        self.keyspace.db().shared().store.expires(self.keyspace.space(), age);
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

    /// Lets values of this space leave the disk as those of the table do.
    pub(crate) fn share_expiry(&self, space: Space) {
        self.keyspace.db().shared().store.expires_with(space, self.keyspace.space());
    }

    pub(crate) fn keyspace(&self) -> &Keyspace {
        &self.keyspace
    }
}

impl<K: Key, V> Table<K, V> {
    pub(crate) fn stored_key(&self, key: &K) -> Vec<u8> {
        let mut stored = self.keyspace.space().prefix().to_vec();
        key.encode(&mut stored);
        stored
    }

    /// The stored keys from the first (included) to the second (excluded).
    pub(crate) fn stored_range(&self, range: &impl RangeBounds<K>) -> (Vec<u8>, Vec<u8>) {
        let stored = |bound: Bound<&K>| bound.map(|key| self.stored_key(key));
        let bounds = (stored(range.start_bound()), stored(range.end_bound()));
        self.keyspace.space().half_open(bounds)
    }
}

impl<K, V: Serialize> Table<K, V> {
    /// As it is stored, to expire as this handle says.
    pub(crate) fn encode(&self, value: &V) -> Result<Vec<u8>, EncodeError> {
        let expires = self.expire_after.map(|age| Time::now().plus(age));
        self.encode_until(value, expires)
    }

    pub(crate) fn encode_until(
        &self,
        value: &V,
        expires: Option<Time>,
    ) -> Result<Vec<u8>, EncodeError> {
        let mut stored = codec::header_until(self.codec, self.schema_version, expires);
        codec::encode_into(value, self.codec, &mut stored)?;
        Ok(stored)
    }

    /// As it would be stored for ever, to compare.
    pub(crate) fn encode_plain(&self, value: &V) -> Result<Vec<u8>, EncodeError> {
        self.encode_until(value, None)
    }
}

impl<K, V: DeserializeOwned> Table<K, V> {
    /// The value in stored bytes; `None` if it has expired.
    pub(crate) fn decode(&self, stored: &[u8]) -> Result<Option<V>, DecodeError> {
        decode(stored, self.schema_version, self.migrate.as_ref())
    }

    /// Decodes as this handle does, and holds no handle: the committer may keep it.
    pub(crate) fn decoder(&self) -> impl Fn(&[u8]) -> Result<Option<V>, DecodeError> + use<K, V> {
        let (version, migrate) = (self.schema_version, self.migrate.clone());
        move |stored| decode(stored, version, migrate.as_ref())
    }

    pub(crate) fn value(&self, stored: &[u8]) -> Result<Option<V>, ReadError> {
        self.decode(stored).map_err(|source| self.keyspace.value_error(source))
    }
}

fn decode<V: DeserializeOwned>(
    stored: &[u8],
    version: u8,
    migrate: Option<&Migrate<V>>,
) -> Result<Option<V>, DecodeError> {
    let stored = Stored::parse(stored)?;
    if stored.expires.is_some() && stored.is_expired(Time::now()) {
        return Ok(None);
    }
    if stored.version == version {
        return stored.decode().map(Some);
    }
    match migrate {
        Some(migrate) => migrate(OldValue { stored }).map(Some),
        None => Err(DecodeError::SchemaVersion { found: stored.version, expected: version }),
    }
}

impl<K: Key, V: DeserializeOwned> Table<K, V> {
    /// The value stored under `key`.
    ///
    /// # Errors
    /// When the file cannot be read, or the value is of another type or version.
    pub fn get(&self, key: &K) -> Result<Option<V>, ReadError> {
        let stored = self.keyspace.db().shared().store.get(&self.stored_key(key))?;
        Ok(stored.map(|stored| self.value(&stored)).transpose()?.flatten())
    }

    /// Whether there is a value under `key`.
    ///
    /// # Errors
    /// When the file cannot be read, or the value is of another type or version.
    pub fn contains(&self, key: &K) -> Result<bool, ReadError> {
        self.get(key).map(|value| value.is_some())
    }

    /// All keys and values, in the order of the keys.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn iter(&self) -> Result<Rows<K, V>, ReadError> {
        self.iter_in(&self.keyspace.db().view()?)
    }

    /// The keys in `range` and their values, in order; `.rev()` for the other order.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn range(&self, range: impl RangeBounds<K>) -> Result<Rows<K, V>, ReadError> {
        self.range_in(&self.keyspace.db().view()?, &range)
    }

    /// Wakes when this row was put or removed.
    pub fn watch_key(&self, key: &K) -> Watch {
        Watch::new(&self.keyspace.db().signal(self.stored_key(key)))
    }

    /// Wakes when a row was put or removed whose key begins with these parts of a tuple.
    pub fn watch_prefix<P: Key>(&self, parts: &P) -> Watch {
        let mut prefix = self.keyspace.space().prefix().to_vec();
        parts.encode(&mut prefix);
        Watch::new(&self.keyspace.db().signal(prefix))
    }

    /// The rows whose keys begin with these parts of a tuple, in order: with keys
    /// `(String, u32)`, all of one string by `prefix(&text)`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn prefix<P: Key>(&self, parts: &P) -> Result<Rows<K, V>, ReadError> {
        let mut from = self.keyspace.space().prefix().to_vec();
        parts.encode(&mut from);
        let to = end_of_prefix(&from);
        let to = to.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.keyspace.db().view()?.range(Bound::Included(&from), to)?;
        Ok(Rows { range, table: self.clone() })
    }

    /// The row with the least key.
    ///
    /// # Errors
    /// When the file cannot be read, or the row is of another type or version.
    pub fn first(&self) -> Result<Option<(K, V)>, ReadError> {
        self.iter()?.next().transpose()
    }

    /// The row with the greatest key.
    ///
    /// # Errors
    /// When the file cannot be read, or the row is of another type or version.
    pub fn last(&self) -> Result<Option<(K, V)>, ReadError> {
        self.iter()?.next_back().transpose()
    }

    pub(crate) fn get_in(&self, view: &View, key: &K) -> Result<Option<V>, ReadError> {
        let stored = view.get(&self.stored_key(key))?;
        Ok(stored.map(|stored| self.value(&stored)).transpose()?.flatten())
    }

    fn iter_in(&self, view: &View) -> Result<Rows<K, V>, ReadError> {
        self.range_in(view, &(..))
    }

    pub(crate) fn range_in(
        &self,
        view: &View,
        range: &impl RangeBounds<K>,
    ) -> Result<Rows<K, V>, ReadError> {
        let (from, to) = self.stored_range(range);
        let range = view.range(Bound::Included(&from), Bound::Excluded(&to))?;
        Ok(Rows { range, table: self.clone() })
    }
}

impl<K, V> Table<K, V>
where
    K: Key + 'static,
    V: Serialize + DeserializeOwned + 'static,
{
    /// Stores `new` if the key holds `old`, `None` being no value; says whether it did. One commit.
    ///
    /// # Errors
    /// When it could not be stored.
    pub fn compare_and_set(
        &self,
        key: &K,
        old: Option<&V>,
        new: Option<&V>,
    ) -> Result<bool, WriteError> {
        let refused = |source| WriteError::Encode { table: self.name().to_owned(), source };
        let mut batch = self.keyspace.db().batch();
        batch.expect(self, key, old).map_err(refused)?;
        match new {
            Some(new) => batch.insert(self, key, new).map_err(refused)?,
            None => batch.remove(self, key),
        }
        match batch.commit() {
            Ok(_) => Ok(true),
            Err(WriteError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Keys and values of a [`Table`] in the order of the keys, from either end.
pub struct Rows<K, V> {
    range: view::Range,
    table: Table<K, V>,
}

impl<K: Key, V: DeserializeOwned> Rows<K, V> {
    pub(crate) fn new(range: view::Range, table: Table<K, V>) -> Rows<K, V> {
        Rows { range, table }
    }

    /// `None` for a row that has expired.
    fn row(&self, entry: Result<(Bytes, Bytes), StoreError>) -> Option<Result<(K, V), ReadError>> {
        let row = || {
            let (key, stored) = entry?;
            let Some(value) = self.table.value(&stored)? else { return Ok(None) };
            let key = decode_whole(without_space(&key));
            Ok(Some((key.ok_or_else(|| self.table.keyspace.key_error())?, value)))
        };
        row().transpose()
    }
}

impl<K: Key, V: DeserializeOwned> Iterator for Rows<K, V> {
    type Item = Result<(K, V), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let entry = self.range.next()?;
            if let Some(row) = self.row(entry) {
                return Some(row);
            }
        }
    }
}

impl<K: Key, V: DeserializeOwned> DoubleEndedIterator for Rows<K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        loop {
            let entry = self.range.next_back()?;
            if let Some(row) = self.row(entry) {
                return Some(row);
            }
        }
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
