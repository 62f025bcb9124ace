//! Secondary indexes and counts of a table.

use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::batch::Op;
use crate::catalog::Kind;
use crate::codec;
use crate::error::{OpenError, ReadError, WriteError};
use crate::key::{Key, decode_whole};
use crate::space::{Space, end_of_prefix, without_space};
use crate::upkeep::{Extract, Hang, IndexUpkeep};
use crate::view::{self, View};
use crate::{Table, Time};

/// Rows that get their index entry in one commit, while an index is new.
const ROWS_AT_ONCE: usize = 1000;

/// A secondary index of a [`Table`]: rows by something else than their key. Every commit that
/// changes a row changes its entry, too, whoever made the batch.
///
/// The function that gives a row's entry is code, so each process opens the index, with the same
/// function, before it writes to the table; without, writes are refused with
/// [`WriteError::IndexNotOpen`]. A put reads the old row and writes up to two entries.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let db = edge_db::Db::open(dir.path())?;
/// let people = db.table::<u64, (String, String)>("people")?;
/// let by_city = people.index("city", |(_name, city)| Some(city.clone()))?;
/// let mut batch = db.batch();
/// batch.insert(&people, &1, &("Ada".into(), "London".into()))?;
/// batch.insert(&people, &2, &("Grace".into(), "New York".into()))?;
/// batch.commit()?;
/// let (key, row) = by_city.get(&"London".to_owned())?.next().expect("one lives there")?;
/// assert_eq!((key, row.0.as_str()), (1, "Ada"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Index<I, K, V> {
    table: Table<K, V>,
    space: Space,
    key: PhantomData<fn(I) -> I>,
}

impl<I, K, V> Clone for Index<I, K, V> {
    fn clone(&self) -> Self {
        Index { table: self.table.clone(), space: self.space, key: PhantomData }
    }
}

impl<I, K, V> std::fmt::Debug for Index<I, K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").field("table", &self.table).finish_non_exhaustive()
    }
}

impl<I: Key, K: Key, V: DeserializeOwned> Index<I, K, V> {
    /// The rows with this index key, in the order of their own keys.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn get(&self, key: &I) -> Result<IndexRows<I, K, V>, ReadError> {
        let from = self.stored_key(key);
        let to = end_of_prefix(&from).unwrap_or_else(|| self.space.next().prefix().to_vec());
        self.rows(&from, &to)
    }

    /// The rows whose index keys lie in `range`, in the order of those.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn range(&self, range: impl RangeBounds<I>) -> Result<IndexRows<I, K, V>, ReadError> {
        let end = || self.space.next().prefix().to_vec();
        // All entries of a key begin with it, and none of another one does.
        let behind = |key: &I| end_of_prefix(&self.stored_key(key)).unwrap_or_else(end);
        let from = match range.start_bound() {
            Bound::Included(key) => self.stored_key(key),
            Bound::Excluded(key) => behind(key),
            Bound::Unbounded => self.space.prefix().to_vec(),
        };
        let to = match range.end_bound() {
            Bound::Included(key) => behind(key),
            Bound::Excluded(key) => self.stored_key(key),
            Bound::Unbounded => end(),
        };
        self.rows(&from, &to)
    }

    fn stored_key(&self, key: &I) -> Vec<u8> {
        let mut stored = self.space.prefix().to_vec();
        key.encode(&mut stored);
        stored
    }

    fn rows(&self, from: &[u8], to: &[u8]) -> Result<IndexRows<I, K, V>, ReadError> {
        let view = self.table.keyspace().db().view()?;
        let entries = view.range(Bound::Included(from), Bound::Excluded(to))?;
        Ok(IndexRows { view, entries, table: self.table.clone(), key: PhantomData })
    }
}

/// Rows of a [`Table`] in the order of an [`Index`], from either end. All of one moment.
pub struct IndexRows<I, K, V> {
    view: View,
    entries: view::Range,
    table: Table<K, V>,
    key: PhantomData<fn(I) -> I>,
}

impl<I: Key, K: Key, V: DeserializeOwned> IndexRows<I, K, V> {
    /// `None` for a row that has expired.
    fn row(&self, entry: view::Entry) -> Option<Result<(K, V), ReadError>> {
        let row = || {
            let (entry, stored) = entry?;
            // Of a row that expired before another one took its place.
            if codec::is_expired(&stored, Time::now()) {
                return Ok(None);
            }
            let mut rest = without_space(&entry);
            let key = I::decode(&mut rest).and_then(|_| decode_whole::<K>(rest));
            let key = key.ok_or_else(|| self.table.keyspace().key_error())?;
            Ok(self.table.get_in(&self.view, &key)?.map(|value| (key, value)))
        };
        row().transpose()
    }
}

impl<I: Key, K: Key, V: DeserializeOwned> Iterator for IndexRows<I, K, V> {
    type Item = Result<(K, V), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let entry = self.entries.next()?;
            if let Some(row) = self.row(entry) {
                return Some(row);
            }
        }
    }
}

impl<I: Key, K: Key, V: DeserializeOwned> DoubleEndedIterator for IndexRows<I, K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        loop {
            let entry = self.entries.next_back()?;
            if let Some(row) = self.row(entry) {
                return Some(row);
            }
        }
    }
}

impl<I, K, V> std::fmt::Debug for IndexRows<I, K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IndexRows").field("table", &self.table).finish_non_exhaustive()
    }
}

impl<K, V> Table<K, V>
where
    K: Key + 'static,
    V: DeserializeOwned + 'static,
{
    /// The index of this name, by what `key` gives for a row; rows for which it gives `None` are
    /// not in it. A new one is filled from the rows that are there, many at once, while others go
    /// on writing; blocks until it is complete.
    ///
    /// # Errors
    /// When the index has other keys or is unique, or could not be stored.
    pub fn index<I: Key + 'static>(
        &self,
        name: &str,
        key: impl Fn(&V) -> Option<I> + Send + Sync + 'static,
    ) -> Result<Index<I, K, V>, OpenError> {
        self.open_index(name, key, false)
    }

    /// [`Table::index`] that no two rows have the same key in: a batch that would make two is
    /// refused with [`WriteError::NotUnique`].
    ///
    /// # Errors
    /// When the index has other keys or is not unique, when rows that are there have the same key,
    /// or when it could not be stored.
    pub fn unique_index<I: Key + 'static>(
        &self,
        name: &str,
        key: impl Fn(&V) -> Option<I> + Send + Sync + 'static,
    ) -> Result<Index<I, K, V>, OpenError> {
        self.open_index(name, key, true)
    }

    fn open_index<I: Key + 'static>(
        &self,
        name: &str,
        key: impl Fn(&V) -> Option<I> + Send + Sync + 'static,
        is_unique: bool,
    ) -> Result<Index<I, K, V>, OpenError> {
        let db = self.keyspace().db();
        let table = self.keyspace().space();
        let kind =
            |is_ready| Kind::Index { table, is_unique, key: I::kind().into_owned(), is_ready };
        let stored_name = index_name(self.name(), name);
        let named = db.named(&stored_name, kind(false))?;
        // No handle of the table: the committer keeps this, and would keep the database open.
        let decode = self.decoder();
        let extract: Extract = Arc::new(move |stored| {
            let value = decode(stored)?;
            Ok(value.and_then(|value| key(&value)).map(|key| {
                let mut encoded = Vec::new();
                key.encode(&mut encoded);
                encoded
            }))
        });
        db.extracts().note(named.space, Arc::clone(&extract));
        let upkeep = IndexUpkeep {
            name: name.into(),
            space: named.space,
            is_unique,
            extract: Some(extract),
        };
        self.hang(Hang::Index(upkeep))?;
        // Its entries go with their rows.
        self.share_expiry(named.space);
        if !matches!(named.kind, Kind::Index { is_ready: true, .. }) {
            if let Err(error) = self.fill_index(name) {
                self.remove_index(name)?;
                return Err(error);
            }
            db.rename_kind(&stored_name, named.space, kind(true))?;
        }
        Ok(Index { table: self.clone(), space: named.space, key: PhantomData })
    }

    fn fill_index(&self, name: &str) -> Result<(), OpenError> {
        let name: Arc<str> = name.into();
        let db = self.keyspace().db();
        let (from, to) = self.stored_range(&(..));
        let mut rows = db.view()?.range(Bound::Included(&from), Bound::Excluded(&to));
        let rows = rows.as_mut().map_err(|error| ReadError::Store(error.clone()))?;
        loop {
            let mut batch = db.batch();
            for row in rows.by_ref().take(ROWS_AT_ONCE) {
                let (key, _) = row.map_err(ReadError::Store)?;
                batch.push_system(Op::IndexRow { key: key.into(), index: Arc::clone(&name) });
            }
            if batch.is_empty() {
                return Ok(());
            }
            batch.commit()?;
        }
    }
}

impl<K, V> Table<K, V> {
    /// Removes an index and its entries; handles of it find nothing any more.
    ///
    /// # Errors
    /// When it could not be stored.
    pub fn remove_index(&self, name: &str) -> Result<(), OpenError> {
        self.hang(Hang::NoIndex(name.into()))?;
        Ok(self.keyspace().db().remove_name(&index_name(self.name(), name))?)
    }

    /// Keeps the number of rows from now on, so that [`Table::count`] costs one read. Counts them
    /// once, while commits wait. Each put and remove reads the old row then.
    ///
    /// # Errors
    /// When it could not be stored, or [rows expire](WriteError::CountedExpires).
    pub fn keep_count(&self) -> Result<(), OpenError> {
        let db = self.keyspace().db();
        let space = self.keyspace().space();
        let stored_name = format!("{}\0count", self.name());
        db.named(&stored_name, Kind::Count { table: space })?;
        let mut batch = db.batch();
        let table = self.keyspace().shared_name();
        batch.push_system(Op::Hang { space, table, hang: Hang::Count });
        batch.push_system(Op::Recount { space });
        let counted = batch.commit();
        if let Err(WriteError::CountedExpires { .. }) = &counted {
            // Rows may go on expiring, as if nobody had asked.
            self.hang(Hang::NoCount)?;
            db.remove_name(&stored_name)?;
        }
        counted?;
        Ok(())
    }

    pub(crate) fn hang(&self, hang: Hang) -> Result<(), WriteError> {
        let mut batch = self.keyspace().db().batch();
        let (space, table) = (self.keyspace().space(), self.keyspace().shared_name());
        batch.push_system(Op::Hang { space, table, hang });
        batch.commit().map(drop)
    }

    /// How many rows there are; rows that have expired may count until they leave the disk. One
    /// read after [`Table::keep_count`], else a walk over all rows.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn count(&self) -> Result<u64, ReadError> {
        let space = self.keyspace().space();
        let view = self.keyspace().db().view()?;
        if let Some(stored) = view.get(&space.count_key())? {
            return codec::decode(&stored, 0).map_err(|error| self.keyspace().value_error(error));
        }
        let (from, to) = (space.prefix(), space.next().prefix());
        let mut count = 0;
        view.visit(Bound::Included(&from), Bound::Excluded(&to), |_, _| {
            count += 1;
            std::ops::ControlFlow::Continue(())
        })?;
        Ok(count)
    }
}

fn index_name(table: &str, index: &str) -> String {
    format!("{table}\0index\0{index}")
}
