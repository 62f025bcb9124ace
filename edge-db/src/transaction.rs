//! Optimistic transactions: read, decide, write; and once more if somebody was faster.

use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{ReentrantMutex, ReentrantMutexGuard};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::batch::{Batch, Op, Test};
use crate::error::{EncodeError, ReadError, WriteError};
use crate::memory::{Found, MemoryTable};
use crate::resolve::range_digest;
use crate::revision::Revision;
use crate::store::Write;
use crate::view::View;
use crate::{Db, Key, Rows, Table, Time, codec};

/// How often a transaction is tried before it gives up.
const ATTEMPTS: usize = 32;

/// After so many the others give way to it: by chance alone one of many may always be second.
const ATTEMPTS_AMONG_ALL: usize = 4;

/// How long a transaction waits for another's turn to end. What either is doing may wait for the
/// other, so there is an end to it.
const GIVE_WAY: Duration = Duration::from_millis(100);

/// Its own writes have one revision.
const NOW: Revision = Revision::new(1);

/// One attempt of a transaction; from [`Db::transact`]. It reads one moment of the database, and
/// its own writes on top.
#[derive(Debug)]
pub struct Transaction {
    view: View,
    batch: Batch,
    own: Arc<MemoryTable>,
    /// What was read of keys: name of the table, and what was stored.
    keys: BTreeMap<Vec<u8>, (Arc<str>, Option<Bytes>)>,
    /// What was read of ranges.
    ranges: Vec<Op>,
}

/// Lets transactions that were second too often run one after the other, and new ones wait.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    waiting: AtomicUsize,
    /// Reentrant, since a transaction may start another.
    taken: ReentrantMutex<()>,
}

struct Turn<'a> {
    turns: &'a Turns,
    taken: Option<ReentrantMutexGuard<'a, ()>>,
}

impl Turns {
    fn ask(&self) -> Turn<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Turn { turns: self, taken: None }
    }

    fn give_way(&self) {
        if self.waiting.load(Ordering::Relaxed) > 0 {
            drop(self.taken.try_lock_for(GIVE_WAY));
        }
    }
}

impl Turn<'_> {
    fn take(&mut self) {
        if self.taken.is_none() {
            self.taken = self.turns.taken.try_lock_for(GIVE_WAY);
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Db {
    /// Reads, decides and writes as one: `work` is run on a snapshot; what it wrote is stored if
    /// nothing that it read has changed by then, and else it is run again, up to 32 times. From
    /// the fifth on other transactions wait for it, each at most 100 ms at a time. An error of
    /// `work` stores nothing and is given back.
    ///
    /// A key that was read costs one comparison at the commit; a range that was read is read
    /// again, while other commits wait. A row that expires meanwhile has changed.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let db = edge_db::Db::open(dir.path())?;
    /// let litres = db.table::<String, u32>("litres")?;
    /// db.transact(|tx| {
    ///     let left = tx.get(&litres, &"tank".to_owned())?.unwrap_or(0);
    ///     tx.insert(&litres, &"tank".to_owned(), &(left + 5))?;
    ///     Ok::<_, Box<dyn std::error::Error>>(())
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// That of `work`; [`WriteError::Conflict`] after the last attempt; else why it was not stored.
    pub fn transact<T, E>(
        &self,
        mut work: impl FnMut(&mut Transaction) -> Result<T, E>,
    ) -> Result<T, E>
    where
        E: From<WriteError> + From<ReadError>,
    {
        let turns = self.turns();
        let mut turn = None;
        let mut attempt = 1;
        loop {
            if attempt > ATTEMPTS_AMONG_ALL {
                turn.get_or_insert_with(|| turns.ask()).take();
            } else {
                turns.give_way();
            }
            let mut transaction = Transaction {
                view: self.view()?,
                batch: self.batch(),
                own: Arc::default(),
                keys: BTreeMap::new(),
                ranges: Vec::new(),
            };
            let result = work(&mut transaction)?;
            match transaction.commit() {
                Err(WriteError::Conflict { .. }) if attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(error.into()),
                Ok(()) => return Ok(result),
            }
        }
    }
}

impl Transaction {
    /// The value stored under `key`.
    ///
    /// # Errors
    /// When the file cannot be read, or the value is of another type or version.
    pub fn get<K: Key, V: DeserializeOwned>(
        &mut self,
        table: &Table<K, V>,
        key: &K,
    ) -> Result<Option<V>, ReadError> {
        let key = table.stored_key(key);
        let stored = match self.own.get(&key, || NOW) {
            Found::Value(stored) => Some(stored),
            Found::Deleted => None,
            Found::Below => {
                // What has expired is nothing at the commit, too.
                let stored = self.view.get(&key)?;
                let stored = stored.filter(|stored| !codec::is_expired(stored, Time::now()));
                let name = table.keyspace().shared_name();
                self.keys.entry(key).or_insert_with(|| (name, stored.clone()));
                stored
            }
        };
        Ok(stored.map(|stored| table.value(&stored)).transpose()?.flatten())
    }

    /// The keys in `range` and their values, in order.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn range<K: Key, V: DeserializeOwned>(
        &mut self,
        table: &Table<K, V>,
        range: impl RangeBounds<K>,
    ) -> Result<Rows<K, V>, ReadError> {
        let (from, to) = table.stored_range(&range);
        let bounds = || (Bound::Included(from.as_slice()), Bound::Excluded(to.as_slice()));
        let digest = range_digest(self.view.range(bounds().0, bounds().1)?, Time::now())?;
        let own = [Arc::clone(&self.own)];
        let rows = self.view.range_below(&own, NOW, bounds().0, bounds().1)?;
        let name = table.keyspace().shared_name();
        self.ranges.push(Op::CheckRange { table: name, from, to, digest });
        Ok(Rows::new(rows, table.clone()))
    }

    /// Stores a value under its key, in place of an earlier one.
    ///
    /// # Errors
    /// When serde cannot encode the value.
    pub fn insert<K: Key, V: Serialize + DeserializeOwned>(
        &mut self,
        table: &Table<K, V>,
        key: &K,
        value: &V,
    ) -> Result<(), EncodeError> {
        self.batch.insert(table, key, value)?;
        let (key, value) = (table.stored_key(key), table.encode(value)?);
        self.own.apply(vec![Write::Put(key.into(), value.into())], NOW, NOW);
        Ok(())
    }

    /// Removes a key and its value, if they are there.
    pub fn remove<K: Key, V>(&mut self, table: &Table<K, V>, key: &K) {
        self.batch.remove(table, key);
        self.own.apply(vec![Write::Delete(table.stored_key(key).into())], NOW, NOW);
    }

    /// The batch that is committed at the end, for appends and cursors. What is written to tables
    /// through it the transaction does not read.
    pub fn batch(&mut self) -> &mut Batch {
        &mut self.batch
    }

    fn commit(self) -> Result<(), WriteError> {
        let keys = self.keys.into_iter().map(|(key, (table, read))| {
            let test = Test(Box::new(move |stored| Ok(stored == read)));
            Op::Check { table, key, test }
        });
        let mut batch = self.batch;
        if batch.is_empty() {
            return Ok(());
        }
        batch.check_first(keys.chain(self.ranges));
        batch.commit().map(drop)
    }
}
