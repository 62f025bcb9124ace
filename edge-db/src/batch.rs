//! One atomic change over tables, keyspaces, logs and cursors.

use std::fmt;
use std::ops::{Range, RangeBounds};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{DecodeError, EncodeError, WriteError};
use crate::log::LogOptions;
use crate::queue::Commit;
use crate::space::Space;
use crate::upkeep::Hang;
use crate::{Cursor, Db, Entry, Key, Keyspace, Log, Revision, Seq, Table, Time, codec};

/// The longest key, in bytes.
const MAX_KEY_BYTES: usize = 64 * 1024;
/// The most that one batch, and so one value, may hold.
const MAX_BATCH_BYTES: usize = 64 * 1024 * 1024;
/// What an operation costs in the queue beside its own bytes.
const OPERATION_BYTES: usize = 64;

/// Changes that become durable together or not at all.
///
/// Operations apply in the order in which they were added. Nothing is visible before the commit
/// is on disk, unless [`Batch::within`] says so. A batch holds at most 64 MiB, a key at most 64 KiB; one that holds more is refused
/// whole by the commit.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let db = edge_db::Db::open(dir.path())?;
/// let rooms = db.table::<String, f64>("rooms")?;
/// let log = db.log("readings")?;
/// let cursor = log.cursor("average")?;
///
/// let mut batch = db.batch();
/// batch.append(&log, edge_db::Entry::new("21.5").key("lab"));
/// batch.insert(&rooms, &"lab".to_owned(), &21.5)?;
/// let receipt = batch.commit()?;                       // one fsync, shared with other threads
///
/// let mut batch = db.batch();
/// batch.advance(&cursor, receipt.seqs(&log).expect("appended above").end);
/// batch.commit()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a batch changes nothing until it is committed"]
pub struct Batch {
    db: Db,
    pub(crate) ops: Vec<Op>,
    bytes: usize,
    pub(crate) within: Option<Duration>,
    /// The first operation that cannot be stored, told at the commit.
    refused: Option<WriteError>,
}

/// Says whether a stored value is as expected.
pub(crate) struct Test(
    pub(crate) Box<dyn FnOnce(Option<Bytes>) -> Result<bool, DecodeError> + Send>,
);

/// Makes a new stored value of the old one; `None` is no value.
pub(crate) struct Change(pub(crate) Box<ChangeFn>);

type ChangeFn = dyn FnOnce(Option<Bytes>) -> Result<Option<Vec<u8>>, WriteError> + Send;

impl fmt::Debug for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Test")
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Change")
    }
}

/// One operation, its keys complete with their space. Those of the first group are resolved into
/// the others in the commit's order.
#[derive(Debug)]
pub(crate) enum Op {
    Check {
        table: Arc<str>,
        key: Vec<u8>,
        test: Test,
    },
    CheckRange {
        table: Arc<str>,
        from: Vec<u8>,
        to: Vec<u8>,
        digest: u64,
    },
    Update {
        table: Arc<str>,
        key: Vec<u8>,
        change: Change,
    },
    /// Gives an index the entry of a row that was there before it.
    IndexRow {
        key: Vec<u8>,
        index: Arc<str>,
    },
    /// Counts a table anew.
    Recount {
        space: Space,
    },
    /// What hangs on a table from now on; not stored.
    Hang {
        space: Space,
        table: Arc<str>,
        hang: Hang,
    },

    DeleteRange {
        from: Vec<u8>,
        to: Vec<u8>,
    },
    Put {
        key: Vec<u8>,
        value: Vec<u8>,
    },
    Delete {
        key: Vec<u8>,
    },
    Append {
        log: Space,
        entry: Entry,
        time: Time,
    },
    Advance {
        log: Space,
        cursor: Arc<str>,
        to: Seq,
    },
    RemoveCursor {
        log: Space,
        cursor: Arc<str>,
    },
    Clear {
        space: Space,
    },
    Trim {
        log: Space,
        before: Seq,
    },
    OpenLog {
        log: Space,
        name: Arc<str>,
        options: LogOptions,
    },
    OpenCursor {
        log: Space,
        cursor: Arc<str>,
    },
}

impl Batch {
    pub(crate) fn new(db: Db) -> Batch {
        Batch { db, ops: Vec::new(), bytes: 0, within: None, refused: None }
    }

    /// Stores a value under its key, in place of an earlier one.
    ///
    /// # Errors
    /// When serde cannot encode the value; the batch is as it was.
    pub fn insert<K: Key, V: Serialize + DeserializeOwned>(
        &mut self,
        table: &Table<K, V>,
        key: &K,
        value: &V,
    ) -> Result<(), EncodeError> {
        let value = table.encode(value)?;
        self.check_handle(table.keyspace().db());
        let key = table.stored_key(key);
        self.push(key.len() + value.len(), key.len(), Op::Put { key, value });
        Ok(())
    }

    /// Removes a key and its value, if they are there.
    pub fn remove<K: Key, V>(&mut self, table: &Table<K, V>, key: &K) {
        self.check_handle(table.keyspace().db());
        let key = table.stored_key(key);
        self.push(key.len(), key.len(), Op::Delete { key });
    }

    /// Removes all rows whose keys lie in `range`: at the cost of one where nothing hangs on the
    /// table, else one by one.
    pub fn remove_range<K: Key, V>(&mut self, table: &Table<K, V>, range: impl RangeBounds<K>) {
        self.check_handle(table.keyspace().db());
        let (from, to) = table.stored_range(&range);
        self.push(from.len() + to.len(), from.len().max(to.len()), Op::DeleteRange { from, to });
    }

    /// Changes a value in the commit's order: `change` gets the value as all earlier commits left
    /// it, and gives the one to store, or `None` to remove it. It runs in any thread that
    /// commits, while other commits wait: it must be quick, and must not call this database.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let db = edge_db::Db::open(dir.path())?;
    /// let seen = db.table::<String, u64>("seen")?;
    /// let mut batch = db.batch();
    /// batch.update(&seen, &"lab".to_owned(), |count| Some(count.unwrap_or(0) + 1));
    /// batch.commit()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn update<K, V>(
        &mut self,
        table: &Table<K, V>,
        key: &K,
        change: impl FnOnce(Option<V>) -> Option<V> + Send + 'static,
    ) where
        K: Key + 'static,
        V: Serialize + DeserializeOwned + 'static,
    {
        self.check_handle(table.keyspace().db());
        let key = table.stored_key(key);
        let name = table.keyspace().shared_name();
        let (bytes, table) = (key.len(), table.clone());
        let change = Change(Box::new(move |stored| {
            let named = || table.name().to_owned();
            let old = stored.map(|stored| table.decode(&stored)).transpose();
            let old = old.map_err(|source| WriteError::Value { table: named(), source })?;
            let new = change(old.flatten()).map(|new| table.encode(&new)).transpose();
            new.map_err(|source| WriteError::Encode { table: named(), source })
        }));
        self.push(2 * bytes, bytes, Op::Update { table: name, key, change });
    }

    /// Lets the batch be stored only if the key holds this value, or none, when its turn comes;
    /// else the commit is refused with [`WriteError::Conflict`]. What the batch itself did to the
    /// key before counts.
    ///
    /// # Errors
    /// When serde cannot encode the value; the batch is as it was.
    pub fn expect<K, V>(
        &mut self,
        table: &Table<K, V>,
        key: &K,
        value: Option<&V>,
    ) -> Result<(), EncodeError>
    where
        K: Key + 'static,
        V: Serialize + DeserializeOwned + 'static,
    {
        self.check_handle(table.keyspace().db());
        let expected = value.map(|value| table.encode_plain(value)).transpose()?;
        let key = table.stored_key(key);
        let name = table.keyspace().shared_name();
        let bytes = key.len() + expected.as_ref().map_or(0, Vec::len);
        let table = table.clone();
        let test = Test(Box::new(move |stored| {
            // Compared as this handle would store it, so that an older version of it counts.
            let found = stored.map(|stored| table.decode(&stored)).transpose()?.flatten();
            let found = found.map(|found| table.encode_plain(&found)).transpose();
            Ok(found.is_ok_and(|found| found == expected))
        }));
        let key_bytes = key.len();
        self.push(bytes, key_bytes, Op::Check { table: name, key, test });
        Ok(())
    }

    /// Stores bytes under a key, in place of earlier ones.
    pub fn put(&mut self, keyspace: &Keyspace, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.check_handle(keyspace.db());
        let key = keyspace.space().key(key.as_ref());
        let value = codec::raw(value.as_ref());
        self.push(key.len() + value.len(), key.len(), Op::Put { key, value });
    }

    /// Removes a key and its bytes, if they are there.
    pub fn delete(&mut self, keyspace: &Keyspace, key: impl AsRef<[u8]>) {
        self.check_handle(keyspace.db());
        let key = keyspace.space().key(key.as_ref());
        self.push(key.len(), key.len(), Op::Delete { key });
    }

    /// Removes the keys of a keyspace that lie in `range`, at the cost of one.
    pub fn delete_range<B: AsRef<[u8]>>(
        &mut self,
        keyspace: &Keyspace,
        range: impl RangeBounds<B>,
    ) {
        self.check_handle(keyspace.db());
        let (from, to) = keyspace.space().half_open(keyspace.bounds(&range));
        self.push(from.len() + to.len(), from.len().max(to.len()), Op::DeleteRange { from, to });
    }

    /// Removes all keys of a keyspace, at the cost of one.
    pub fn clear(&mut self, keyspace: &Keyspace) {
        self.check_handle(keyspace.db());
        self.push(0, 0, Op::Clear { space: keyspace.space() });
    }

    /// Removes all keys of a table, at the cost of one.
    pub fn clear_table<K, V>(&mut self, table: &Table<K, V>) {
        self.clear(table.keyspace());
    }

    /// Appends to a log. Its position is in the [`Receipt`]; an entry without a time gets the
    /// time of this call.
    pub fn append(&mut self, log: &Log, entry: Entry) {
        self.check_handle(log.db());
        let (bytes, key_bytes) = (entry.payload_bytes(), entry.key.len());
        let time = entry.time.unwrap_or_else(Time::now);
        self.push(bytes, key_bytes, Op::Append { log: log.space(), entry, time });
    }

    /// Moves a cursor: `to` is the next position that its reader wants. It may point at most to
    /// the end that its log has after this batch.
    pub fn advance(&mut self, cursor: &Cursor, to: Seq) {
        self.check_handle(cursor.log().db());
        let (log, name) = (cursor.log().space(), cursor.shared_name());
        self.push(name.len(), 0, Op::Advance { log, cursor: name, to });
    }

    /// Removes a cursor, so that it no longer holds records back. Its handles read position 0.
    pub fn remove_cursor(&mut self, cursor: &Cursor) {
        self.check_handle(cursor.log().db());
        let (log, name) = (cursor.log().space(), cursor.shared_name());
        self.push(name.len(), 0, Op::RemoveCursor { log, cursor: name });
    }

    /// Gives up the records before `before`, whatever cursors say. Whole chunks go: those of a
    /// commit that also holds later records stay.
    pub fn trim(&mut self, log: &Log, before: Seq) {
        self.check_handle(log.db());
        self.push(0, 0, Op::Trim { log: log.space(), before });
    }

    pub(crate) fn push_system(&mut self, op: Op) {
        self.push(0, 0, op);
    }

    /// Puts conditions in front of everything else.
    pub(crate) fn check_first(&mut self, checks: impl Iterator<Item = Op>) {
        let mut ops: Vec<Op> = checks.collect();
        self.bytes += ops.len() * OPERATION_BYTES;
        ops.append(&mut self.ops);
        self.ops = ops;
    }

    pub(crate) fn open_log(&mut self, log: Space, name: Arc<str>, options: LogOptions) {
        self.push(name.len(), 0, Op::OpenLog { log, name, options });
    }

    pub(crate) fn open_cursor(&mut self, log: Space, cursor: Arc<str>) {
        self.push(cursor.len(), 0, Op::OpenCursor { log, cursor });
    }

    pub(crate) fn put_system(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.push(key.len() + value.len(), key.len(), Op::Put { key, value });
    }

    /// Lets the batch be visible and acknowledged before it is durable, for at most this long: a
    /// power cut may lose it until then, never only a part of it, and never one before it. Without
    /// this call a batch is durable before anybody sees it.
    ///
    /// For telemetry on slow flash: however many batches come within that time share one sync. It
    /// shares that of a durable batch, if one comes. A disk that refuses the sync makes later
    /// commits fail, until it has taken what it owes.
    pub fn within(mut self, delay: Duration) -> Batch {
        self.within = Some(delay);
        self
    }

    /// Operations that were added.
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// About how many bytes the batch holds; what [`DbBuilder::queue_bytes`] counts.
    ///
    /// [`DbBuilder::queue_bytes`]: crate::DbBuilder::queue_bytes
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes the batch durable; returns once it is on disk, together with whatever other threads
    /// committed meanwhile. Waits first while the queue is full.
    ///
    /// # Errors
    /// When nothing of the batch was stored; see [`WriteError`].
    pub fn commit(self) -> Result<Receipt, WriteError> {
        let db = self.db.clone();
        Commit::run(db.shared(), self)
    }

    /// Makes the batch durable without blocking: it is in the queue when this returns, behind
    /// those of earlier calls, unless the queue is full. Then it gets there when the future is
    /// polled and there is room. Once it is in the queue, dropping the future does not undo it.
    pub fn commit_async(self) -> Commit {
        let db = self.db.clone();
        Commit::begin(db.shared(), self)
    }

    /// [`Batch::commit_async`], if there is room in the queue; else gives the batch back. Never
    /// waits, whatever the disk does.
    ///
    /// # Errors
    /// The batch itself: try later, or do without.
    pub fn try_commit(self) -> Result<Commit, Box<Batch>> {
        let db = self.db.clone();
        Commit::try_begin(db.shared(), self).map_err(Box::new)
    }

    /// What makes the batch impossible before anything is looked at.
    pub(crate) fn refusal(&self) -> Option<WriteError> {
        let too_large = (self.bytes > MAX_BATCH_BYTES).then_some(WriteError::TooLarge {
            what: "batch",
            bytes: self.bytes,
            limit_bytes: MAX_BATCH_BYTES,
        });
        self.refused.clone().or(too_large)
    }

    fn push(&mut self, bytes: usize, key_bytes: usize, op: Op) {
        if key_bytes > MAX_KEY_BYTES {
            self.refused.get_or_insert(WriteError::TooLarge {
                what: "key",
                bytes: key_bytes,
                limit_bytes: MAX_KEY_BYTES,
            });
        }
        self.bytes += bytes + OPERATION_BYTES;
        self.ops.push(op);
    }

    fn check_handle(&mut self, db: &Db) {
        if !self.db.is_same(db) {
            self.refused.get_or_insert(WriteError::ForeignHandle);
        }
    }
}

/// What a durable batch got.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipt {
    pub(crate) appended: Vec<(Space, Range<Seq>)>,
    pub(crate) revision: Revision,
}

impl Receipt {
    /// The commit that has the batch, with others that came at the same time; if it changed
    /// nothing, one before which nothing changed.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The positions that the batch's entries got in this log; `None` if it appended none there.
    pub fn seqs(&self, log: &Log) -> Option<Range<Seq>> {
        let space = log.space();
        self.appended.iter().find(|(found, _)| *found == space).map(|(_, range)| range.clone())
    }
}
