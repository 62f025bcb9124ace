//! The database: opening, handles by name, closing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::backup;
use crate::batch::{Batch, Op};
use crate::builder::DbBuilder;
use crate::catalog::{Catalog, FORMAT_KEY, Found, Kind, Named, system_error};
use crate::claim::Claims;
use crate::committer::Committer;
use crate::error::{OpenError, ReadError, ShutdownError, WriteError};
use crate::journal::{End, Journal};
use crate::ledger::Ledger;
use crate::log::LogOptions;
use crate::queue::Queue;
use crate::space::Space;
use crate::store::{Store, settle_until_stopped};
use crate::transaction::Turns;
use crate::tree::Tree;
use crate::upkeep::Extracts;
use crate::view::View;
use crate::watch::{Signal, Signals};
use crate::{CompactSummary, Key, Keyspace, Log, Revision, Snapshot, Stats, Table, codec};

/// The format of everything that this crate writes; 1 had no journal and was never released.
pub(crate) const FORMAT: u32 = 3;

/// An embedded database in one folder: a cheap handle, shared by clones.
///
/// Calls may block for the disk. Writers that wait at the same time share one sync, so that the
/// more threads write, the fewer syncs each of them costs. Reads never wait for writes.
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
    extracts: Extracts,
    turns: Turns,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.queue.close(WriteError::Closed, false);
        self.shared.store.stop();
    }
}

/// What handles and the committer have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Arc<Store>,
    pub(crate) queue: Queue,
    pub(crate) signals: Signals,
    pub(crate) counters: Counters,
    /// How far the journal is durable.
    pub(crate) end: Arc<Mutex<End>>,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) commits: AtomicU64,
    pub(crate) batches: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) journal_bytes: AtomicU64,
    pub(crate) journaled: AtomicU64,
}

impl Db {
    /// Opens the database in this folder with default options; creates both if they are not there.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(dir: impl AsRef<std::path::Path>) -> Result<Db, OpenError> {
        Db::builder().open(dir)
    }

    /// How to open one otherwise.
    pub fn builder() -> DbBuilder {
        DbBuilder::default()
    }

    /// The keyspace of this name; a new one is stored when this returns.
    ///
    /// # Errors
    /// When the name is something else, or could not be stored.
    pub fn keyspace(&self, name: &str) -> Result<Keyspace, OpenError> {
        let named = self.user_named(name, Kind::Keyspace)?;
        Ok(Keyspace::new(self.clone(), named.space, name.into()))
    }

    /// The table of this name; a new one is stored when this returns.
    ///
    /// # Errors
    /// When the name is something else or has other keys, or could not be stored.
    pub fn table<K: Key, V>(&self, name: &str) -> Result<Table<K, V>, OpenError> {
        let named = self.user_named(name, Kind::Table(K::kind().into_owned()))?;
        Ok(Table::new(Keyspace::new(self.clone(), named.space, name.into())))
    }

    /// The log of this name with the options that it has; a new one, with [`LogOptions::new`],
    /// is stored when this returns.
    ///
    /// # Errors
    /// When the name is something else, or could not be stored.
    pub fn log(&self, name: &str) -> Result<Log, OpenError> {
        let named = self.user_named(name, Kind::Log(LogOptions::new()))?;
        Ok(Log::new(self.clone(), named.space, name.into()))
    }

    /// The log of this name, from now on with these options.
    ///
    /// # Errors
    /// When the name is something else, or could not be stored.
    pub fn log_with(&self, name: &str, options: LogOptions) -> Result<Log, OpenError> {
        if !options.compression.is_built_in() {
            let feature = options.compression.feature();
            return Err(OpenError::Compression { name: name.to_owned(), feature });
        }
        let wanted = Kind::Log(options);
        let named = self.user_named(name, wanted.clone())?;
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

    /// The last commit that is durable and that reads see. Cheap.
    pub fn revision(&self) -> Revision {
        let shared = &self.inner.shared;
        shared.end.lock().revision.min(shared.store.visible())
    }

    /// Numbers of this database since it was opened. Cheap.
    pub fn stats(&self) -> Stats {
        let shared = &self.inner.shared;
        let (settlings, last_settling) = shared.store.settlings();
        let (queued_batches, queued_bytes) = shared.queue.depth();
        let cache = shared.store.cache_use();
        Stats {
            commits: shared.counters.commits.load(Ordering::Relaxed),
            batches: shared.counters.batches.load(Ordering::Relaxed),
            written_bytes: shared.counters.bytes.load(Ordering::Relaxed),
            journal_bytes: shared.counters.journal_bytes.load(Ordering::Relaxed),
            device_bytes: shared.store.traffic().written.load(Ordering::Relaxed),
            read_bytes: shared.store.traffic().read.load(Ordering::Relaxed),
            cache_hits: cache.hits,
            cache_misses: cache.misses,
            unsettled_journal_bytes: shared.counters.journaled.load(Ordering::Relaxed),
            settlings,
            last_settling,
            file_bytes: shared.store.file_bytes(),
            used_bytes: shared.store.used_bytes(),
            memory_bytes: shared.store.table_bytes(),
            expired: shared.store.expired(),
            stalls: shared.store.stalls(),
            queued_batches,
            queued_bytes,
        }
    }

    /// Refuses further writes, makes durable what is in the queue, and closes the files. Calling
    /// it again does nothing. Blocks, at most for twice the deadline.
    ///
    /// The folder can be opened again when this returns. Snapshots and iterators that are left may
    /// answer, or say that the database is closed.
    ///
    /// # Errors
    /// When batches still waited at the deadline.
    pub fn shutdown(&self, deadline: Duration) -> Result<(), ShutdownError> {
        let shared = &self.inner.shared;
        shared.queue.close(WriteError::Closed, true);
        shared.queue.wait_stopped(deadline).map_err(|waiting| ShutdownError { waiting })?;
        // What is in the journal need not settle now; what settles is done with first.
        let closed = shared.store.close(deadline);
        // Who waits for more to read has to hear that there will be none.
        shared.signals.wake_all();
        if closed { Ok(()) } else { Err(ShutdownError { waiting: 0 }) }
    }

    /// Settles everything that was committed before this call from the journal into the data
    /// file, drops what has expired by then, and waits for it. The database does so by itself when
    /// its memory tables are full or old; this is for a moment when the device has nothing else to do, and for tests.
    ///
    /// # Errors
    /// When the disk refuses; nothing is lost, and the database goes on trying.
    pub fn checkpoint(&self) -> Result<(), WriteError> {
        let shared = &self.inner.shared;
        Ok(shared.store.checkpoint(shared.store.visible(), || shared.queue.poke())?)
    }

    /// Writes the data file anew, without the holes that removing and dropping left in it, and
    /// gives their space back to the file system.
    ///
    /// Nobody need do this for a database to go on: later rows take the holes. Reads and writes go
    /// on meanwhile; what settles waits for a few megabytes to be copied at most. Costs one read and
    /// one write of everything, and as much space again as is left in the end; the old file's space
    /// comes back when the last snapshot and iterator from before is dropped. Blocks until it is
    /// done; of several callers at once all wait for the same.
    ///
    /// # Errors
    /// When the disk refuses or has not enough space; the database stays as it was.
    pub fn compact(&self) -> Result<CompactSummary, WriteError> {
        self.checkpoint()?;
        let store = &self.inner.shared.store;
        let before_bytes = store.file_bytes();
        store.compact()?;
        Ok(CompactSummary { before_bytes, after_bytes: store.file_bytes() })
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    pub(crate) fn claims(&self) -> &Claims {
        &self.inner.claims
    }

    pub(crate) fn turns(&self) -> &Turns {
        &self.inner.turns
    }

    pub(crate) fn extracts(&self) -> &Extracts {
        &self.inner.extracts
    }

    pub(crate) fn with_catalog<T>(&self, look: impl FnOnce(&Catalog) -> T) -> T {
        look(&self.inner.catalog.lock())
    }

    pub(crate) fn view(&self) -> Result<View, ReadError> {
        self.inner.shared.store.view()
    }

    /// Starts the threads of an opened store.
    pub(crate) fn start(opened: Opened) -> Result<Db, OpenError> {
        let Opened { store, journal, tree, place, queue_bytes } = opened;
        let store = Arc::new(store);
        let view = store.view()?;
        let is_new = check_format(&view)?;
        let catalog = Catalog::read(&view)?;
        let ledger = Ledger::read(&view, &catalog)?;
        let upkeeps = catalog.upkeeps();
        drop(view);
        let shared = Arc::new(Shared {
            store,
            queue: Queue::new(queue_bytes),
            signals: Signals::default(),
            counters: Counters::default(),
            end: journal.end(),
        });
        let inner = Inner {
            shared: Arc::clone(&shared),
            catalog: Mutex::new(catalog),
            claims: Claims::default(),
            extracts: Extracts::default(),
            turns: Turns::default(),
        };
        // From here on dropping it ends the threads that were started.
        let db = Db { inner: Arc::new(inner) };
        shared.queue.start(Committer::new(Arc::clone(&shared), journal, ledger, upkeeps));
        let no_thread = |source| OpenError::Folder { place: place.clone(), source };
        let committing = Arc::clone(&shared);
        spawn("edge-db-commit", move || Committer::run(&committing)).map_err(|error| {
            // It has what has it: nobody else would let go of it.
            drop(shared.queue.dismiss());
            no_thread(error)
        })?;
        spawn("edge-db-settle", move || {
            settle_until_stopped(&shared.store, tree, || shared.queue.poke());
        })
        .map_err(no_thread)?;
        if is_new {
            db.store_format()?;
        }
        Ok(db)
    }

    pub(crate) fn signal(&self, prefix: Vec<u8>) -> Arc<Signal> {
        self.inner.shared.signals.get(prefix)
    }

    pub(crate) fn is_same(&self, other: &Db) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Names with a zero are the database's own.
    fn user_named(&self, name: &str, kind: Kind) -> Result<Named, OpenError> {
        if name.contains('\0') {
            return Err(OpenError::Name { bytes: name.len() });
        }
        self.named(name, kind)
    }

    pub(crate) fn named(&self, name: &str, kind: Kind) -> Result<Named, OpenError> {
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

    /// Stores that a name is something else now.
    pub(crate) fn rename_kind(
        &self,
        name: &str,
        space: Space,
        kind: Kind,
    ) -> Result<(), WriteError> {
        let mut catalog = self.inner.catalog.lock();
        let named = Named { space, kind };
        self.store_name(name, &named)?;
        catalog.insert(name, named);
        Ok(())
    }

    /// Removes a name and everything in its space.
    pub(crate) fn remove_name(&self, name: &str) -> Result<(), WriteError> {
        let mut catalog = self.inner.catalog.lock();
        let Some(named) = catalog.remove(name) else { return Ok(()) };
        let mut batch = self.batch();
        batch.push_system(Op::Clear { space: named.space });
        batch.push_system(Op::Delete { key: Space::CATALOG.key(name.as_bytes()) });
        let removed = batch.commit().map(drop);
        if removed.is_err() {
            catalog.insert(name, named);
        }
        removed
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
        batch.put_system(Space::HISTORY.prefix().to_vec(), codec::number(backup::new_history()));
        batch.commit().map(drop)
    }
}

/// A store without its threads.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) store: Store,
    pub(crate) journal: Journal,
    pub(crate) tree: Tree,
    pub(crate) place: String,
    pub(crate) queue_bytes: usize,
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
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
