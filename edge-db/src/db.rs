//! The database: opening, handles by name, closing.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::batch::Batch;
use crate::catalog::{Catalog, Found, Kind, Named};
use crate::claim::Claims;
use crate::error::{DecodeError, OpenError, ReadError, ShutdownError, WriteError};
use crate::ledger::Ledger;
use crate::log::{LogOptions, LogState};
use crate::queue::Queue;
use crate::space::{Space, end_of_prefix, without_space};
use crate::store::{Store, View};
use crate::watch::{Signal, Signals};
use crate::{Key, Keyspace, Log, Seq, Snapshot, Stats, Table, codec, committer};

/// The format of everything that this crate writes into the file.
const FORMAT: u32 = 1;
/// Under this key of the catalog's space the format is stored; no name is empty.
const FORMAT_KEY: &[u8] = &[];

/// An embedded database in one folder: a cheap handle, shared by clones.
///
/// Calls may block for the disk. All durable writes share one committer thread, so that the more
/// threads write, the fewer syncs each of them costs. Reads never wait for writes.
///
/// Dropping the last handle, those of tables and logs included, aborts: what was not yet
/// acknowledged may be lost. [`Db::shutdown`] drains first.
#[derive(Debug, Clone)]
pub struct Db {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    catalog: Mutex<Catalog>,
    claims: Claims,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.queue.close(WriteError::Closed, false);
    }
}

/// What handles and the committer thread have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) queue: Queue,
    pub(crate) signals: Signals,
    pub(crate) counters: Counters,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) commits: AtomicU64,
    pub(crate) batches: AtomicU64,
    pub(crate) bytes: AtomicU64,
}

/// How a [`Db`] is opened.
#[derive(Debug, Clone)]
#[must_use]
pub struct DbBuilder {
    cache_bytes: usize,
    queue_bytes: usize,
    check_on_open: bool,
}

impl DbBuilder {
    /// Memory for pages of the file; 8 MiB without this call.
    pub fn cache_bytes(mut self, bytes: usize) -> DbBuilder {
        self.cache_bytes = bytes;
        self
    }

    /// Memory for batches that wait for the disk; 16 MiB without this call. Who comes to a full
    /// queue waits.
    pub fn queue_bytes(mut self, bytes: usize) -> DbBuilder {
        self.queue_bytes = bytes;
        self
    }

    /// Whether opening reads the whole file and compares its checksums; it does without this
    /// call. Without the check a damaged file may be noticed late, or make a read panic.
    pub fn check_on_open(mut self, check: bool) -> DbBuilder {
        self.check_on_open = check;
        self
    }

    /// Opens the database in this folder; creates both if they are not there.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(self, dir: impl AsRef<Path>) -> Result<Db, OpenError> {
        let dir = dir.as_ref();
        let store = Store::open(dir, self.cache_bytes, self.check_on_open)?;
        let view = store.view()?;
        let is_new = check_format(&view)?;
        let catalog = read_catalog(&view)?;
        let ledger = read_ledger(&view, &catalog)?;
        drop(view);
        let shared = Arc::new(Shared {
            store,
            queue: Queue::new(self.queue_bytes),
            signals: Signals::default(),
            counters: Counters::default(),
        });
        let committer = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("edge-db-commit".to_owned())
            .spawn(move || committer::run(&committer, ledger))
            .map_err(|source| OpenError::Folder { path: dir.to_owned(), source })?;
        let db = Db {
            inner: Arc::new(Inner {
                shared,
                catalog: Mutex::new(catalog),
                claims: Claims::default(),
            }),
        };
        if is_new {
            db.store_format()?;
        }
        Ok(db)
    }
}

impl Db {
    /// Opens the database in this folder with default options; creates both if they are not there.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(dir: impl AsRef<Path>) -> Result<Db, OpenError> {
        Db::builder().open(dir)
    }

    /// How to open one otherwise.
    pub fn builder() -> DbBuilder {
        DbBuilder { cache_bytes: 8 << 20, queue_bytes: 16 << 20, check_on_open: true }
    }

    /// The keyspace of this name; a new one is stored when this returns.
    ///
    /// # Errors
    /// When the name is something else, or could not be stored.
    pub fn keyspace(&self, name: &str) -> Result<Keyspace, OpenError> {
        let named = self.named(name, Kind::Keyspace)?;
        Ok(Keyspace::new(self.clone(), named.space, name.into()))
    }

    /// The table of this name; a new one is stored when this returns.
    ///
    /// # Errors
    /// When the name is something else or has other keys, or could not be stored.
    pub fn table<K: Key, V>(&self, name: &str) -> Result<Table<K, V>, OpenError> {
        let named = self.named(name, Kind::Table(K::kind().into_owned()))?;
        Ok(Table::new(Keyspace::new(self.clone(), named.space, name.into())))
    }

    /// The log of this name with the options that it has; a new one, with [`LogOptions::new`],
    /// is stored when this returns.
    ///
    /// # Errors
    /// When the name is something else, or could not be stored.
    pub fn log(&self, name: &str) -> Result<Log, OpenError> {
        let named = self.named(name, Kind::Log(LogOptions::new()))?;
        Ok(Log::new(self.clone(), named.space, name.into()))
    }

    /// The log of this name, from now on with these options.
    ///
    /// # Errors
    /// When the name is something else, or could not be stored.
    pub fn log_with(&self, name: &str, options: LogOptions) -> Result<Log, OpenError> {
        let wanted = Kind::Log(options);
        let named = self.named(name, wanted.clone())?;
        if named.kind != wanted {
            let named = Named { space: named.space, kind: wanted };
            self.store_name(name, &named)?;
            self.inner.catalog.lock().insert(name, named);
        }
        Ok(Log::new(self.clone(), named.space, name.into()))
    }

    /// The log of this name, if there is one.
    pub fn find_log(&self, name: &str) -> Option<Log> {
        let catalog = self.inner.catalog.lock();
        let found = catalog.iter().find(|(found, _)| *found == name)?;
        let space = matches!(found.1.kind, Kind::Log(_)).then_some(found.1.space)?;
        Some(Log::new(self.clone(), space, name.into()))
    }

    /// The names of all logs, in order.
    pub fn log_names(&self) -> Vec<String> {
        let catalog = self.inner.catalog.lock();
        let logs = catalog.iter().filter(|(_, named)| matches!(named.kind, Kind::Log(_)));
        let mut names: Vec<_> = logs.map(|(name, _)| name.to_owned()).collect();
        names.sort();
        names
    }

    /// An empty batch.
    pub fn batch(&self) -> Batch {
        Batch::new(self.clone())
    }

    /// The database as it is now, over all tables, logs and cursors.
    ///
    /// What it shows is kept on disk as long as it lives: do not keep it for long.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn snapshot(&self) -> Result<Snapshot, ReadError> {
        Ok(Snapshot::new(self.view()?))
    }

    /// Numbers of this database since it was opened. Cheap.
    pub fn stats(&self) -> Stats {
        let shared = &self.inner.shared;
        let (queued_batches, queued_bytes) = shared.queue.depth();
        Stats {
            commits: shared.counters.commits.load(Ordering::Relaxed),
            batches: shared.counters.batches.load(Ordering::Relaxed),
            written_bytes: shared.counters.bytes.load(Ordering::Relaxed),
            file_bytes: shared.store.file_bytes(),
            queued_batches,
            queued_bytes,
        }
    }

    /// Refuses further writes, makes durable what is in the queue, and closes the file. Calling
    /// it again does nothing. Blocks, at most until the deadline.
    ///
    /// The folder can be opened again once snapshots and iterators are gone, too.
    ///
    /// # Errors
    /// When batches still waited at the deadline.
    pub fn shutdown(&self, deadline: Duration) -> Result<(), ShutdownError> {
        let shared = &self.inner.shared;
        shared.queue.close(WriteError::Closed, true);
        shared.queue.wait_stopped(deadline).map_err(|waiting| ShutdownError { waiting })?;
        shared.store.close();
        Ok(())
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    pub(crate) fn claims(&self) -> &Claims {
        &self.inner.claims
    }

    pub(crate) fn view(&self) -> Result<View, ReadError> {
        self.inner.shared.store.view()
    }

    pub(crate) fn signal(&self, prefix: Vec<u8>) -> Arc<Signal> {
        self.inner.shared.signals.get(prefix)
    }

    pub(crate) fn is_same(&self, other: &Db) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    fn named(&self, name: &str, kind: Kind) -> Result<Named, OpenError> {
        // Held over the commit, so that two callers do not give one name two spaces.
        let mut catalog = self.inner.catalog.lock();
        match catalog.find(name, kind)? {
            Found::Stored(named) => Ok(named),
            Found::New(named) => {
                self.store_name(name, &named)?;
                catalog.insert(name, named.clone());
                Ok(named)
            }
        }
    }

    fn store_name(&self, name: &str, named: &Named) -> Result<(), WriteError> {
        let mut batch = self.batch();
        let value = codec::encode(named, 0).expect("a name always encodes");
        batch.put_system(Space::CATALOG.key(name.as_bytes()), value);
        if let Kind::Log(options) = named.kind {
            batch.open_log(named.space, name.into(), options);
        }
        batch.commit().map(drop)
    }

    fn store_format(&self) -> Result<(), WriteError> {
        let mut batch = self.batch();
        let value = codec::encode(&FORMAT, 0).expect("a number always encodes");
        batch.put_system(Space::CATALOG.key(FORMAT_KEY), value);
        batch.commit().map(drop)
    }
}

/// Whether the file is new; an error if a later edge-db wrote it.
fn check_format(view: &View) -> Result<bool, OpenError> {
    let Some(stored) = view.get(&Space::CATALOG.key(FORMAT_KEY)).map_err(ReadError::from)? else {
        return Ok(true);
    };
    match codec::decode::<u32>(&stored, 0).map_err(system_error)? {
        FORMAT => Ok(false),
        found => Err(OpenError::Format { found, known: FORMAT }),
    }
}

fn read_catalog(view: &View) -> Result<Catalog, OpenError> {
    let mut names = Vec::new();
    for entry in entries_below(view, &Space::CATALOG.key(&[]))? {
        let (key, stored) = entry.map_err(ReadError::from)?;
        let name = without_space(&key);
        if name != FORMAT_KEY {
            let name = String::from_utf8_lossy(name).into_owned();
            names.push((name, codec::decode(&stored, 0).map_err(system_error)?));
        }
    }
    Ok(Catalog::restore(names))
}

fn read_ledger(view: &View, catalog: &Catalog) -> Result<Ledger, OpenError> {
    let mut ledger = Ledger::default();
    for (name, named) in catalog.iter() {
        let Kind::Log(options) = named.kind else { continue };
        let state = view.get(&named.space.log_state_key()).map_err(ReadError::from)?;
        let state = state.map(|stored| codec::decode::<LogState>(&stored, 0)).transpose();
        let state = state.map_err(system_error)?.unwrap_or_default();
        let cursors = read_cursors(view, named.space)?;
        ledger.restore(named.space, name.into(), options, state, cursors);
    }
    Ok(ledger)
}

fn read_cursors(view: &View, log: Space) -> Result<BTreeMap<Arc<str>, Seq>, OpenError> {
    let prefix = log.cursor_key("");
    let mut cursors = BTreeMap::new();
    for entry in entries_below(view, &prefix)? {
        let (key, stored) = entry.map_err(ReadError::from)?;
        let name = String::from_utf8_lossy(&key[prefix.len()..]);
        cursors.insert(name.into(), codec::decode(&stored, 0).map_err(system_error)?);
    }
    Ok(cursors)
}

fn entries_below(view: &View, prefix: &[u8]) -> Result<crate::store::Range, ReadError> {
    let end = end_of_prefix(prefix);
    let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    Ok(view.range(Bound::Included(prefix), end)?)
}

fn system_error(source: DecodeError) -> ReadError {
    ReadError::Value { name: "the catalog".to_owned(), source }
}
