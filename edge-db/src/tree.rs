//! What has settled: an ordered map from bytes to bytes, on redb.
//!
//! Nothing else in this crate names redb, and redb sees nothing but bytes, so that its file
//! format may change between majors. One tree holds everything, for each further tree costs
//! 12 KB of device writes in a transaction.

mod compaction;
mod entries;
mod health;
mod layout;
mod nodes;
mod pages;
mod seal;
mod sweep;
mod view;
mod walk;
mod weight;
mod writer;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};

use redb::{Database, DatabaseError, Durability, TableDefinition};

use crate::disk::{Disk, DiskFile};
use crate::encryption::Cipher;
use crate::error::StoreError;
use crate::journal;
use crate::log::coalesce::Coalescer;
use crate::memory::MemoryTable;
use crate::revision::Revision;
use crate::space::Space;
pub(crate) use compaction::Compaction;
pub(crate) use health::Alarm;
use health::Health;
use pages::Pages;
use seal::Seal;
pub(crate) use sweep::Sweep;
pub(crate) use view::{CacheUse, Show, TreeEntry, TreeRange, TreeView};
pub(crate) use walk::{Lookup, Lost, Piece, Walker};
pub(crate) use weight::Weight;
use writer::Writer;

const NAME: &str = "edge-db";
type Table<'txn> = redb::Table<'txn, &'static [u8], &'static [u8]>;

const TREE: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new(NAME);

/// The file on the disk, and what it is called while it is being created.
pub(crate) const FILE: &str = "data.pages";
pub(crate) const UNBORN: &str = "data.pages.new";

#[derive(Debug)]
pub(crate) struct Tree {
    database: Arc<Database>,
    disk: Arc<dyn Disk>,
    seal: Seal,
    cache_bytes: usize,
    health: Arc<Health>,
    on_failed_read: Alarm,
    /// Handles before this one, as long as somebody reads from them.
    before: Vec<Weak<Database>>,
    /// Whether the file's name must be made durable before anything settles in it.
    owes_names: bool,
    weight: Weight,
    /// What the caches of the handles before this one were asked for.
    asked_before: CacheUse,
}

impl Tree {
    /// Opens or creates the file, encrypted if there is a cipher. With `check`, reads all of it and
    /// compares its checksums.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        cipher: Option<Cipher>,
        cache_bytes: usize,
        check: bool,
        on_failed_read: Alarm,
    ) -> Result<Tree, StoreError> {
        let health = Arc::new(Health::new(on_failed_read.clone()));
        let seal = Seal::new(cipher);
        let database = open(&*disk, &seal, cache_bytes, check, &health)?;
        let (database, before) = (Arc::new(database), Vec::new());
        let (owes_names, weight) = (false, Weight::default());
        let asked_before = CacheUse::default();
        let mut tree = Tree {
            database,
            disk,
            seal,
            cache_bytes,
            health,
            on_failed_read,
            before,
            owes_names,
            weight,
            asked_before,
        };
        tree.weigh(tree.view()?.settled()?.weight);
        Ok(tree)
    }

    /// Opens the file again after an error: redb does nothing more until then. Views of the handles
    /// before still read, but must be gone before anything is written: see [`Tree::is_outlived`].
    pub(crate) fn reopen(&mut self) -> Result<(), StoreError> {
        let health = Arc::new(Health::new(self.on_failed_read.clone()));
        self.retire();
        let database = open(&*self.disk, &self.seal, self.cache_bytes, false, &health)?;
        self.replace_handle(database, health);
        // What failed may be there all the same.
        self.weigh(self.view()?.settled()?.weight);
        Ok(())
    }

    /// Lets nothing more of the handle reach the file: it writes once more when its last view is
    /// gone.
    fn retire(&self) {
        self.health.fail(std::io::Error::other("another handle has the file"));
    }

    fn replace_handle(&mut self, database: Database, health: Arc<Health>) {
        self.retire();
        let before = std::mem::replace(&mut self.database, Arc::new(database));
        self.health = health;
        self.asked_before = self.asked_before.and(&before);
        self.before.push(Arc::downgrade(&before));
    }

    /// Whether views of a handle before this one are open. Pages that only they need count as
    /// free to this one.
    pub(crate) fn is_outlived(&mut self) -> bool {
        self.before.retain(|before| before.strong_count() > 0);
        !self.before.is_empty()
    }

    /// What it holds, and what that takes.
    pub(crate) fn weight(&self) -> Weight {
        self.weight
    }

    fn weigh(&mut self, weight: Weight) {
        let file = self.disk.open(FILE).and_then(|file| file.allocated_bytes());
        // Where that cannot be had, it is as it was.
        self.weight = file.map_or(weight, |file| weight.measured(file));
    }

    /// Writes a memory table into the tree, and that everything up to `revision` is there now;
    /// durable when this returns.
    pub(crate) fn settle(
        &mut self,
        table: &MemoryTable,
        revision: Revision,
    ) -> Result<(), StoreError> {
        self.change(|tree, is_written| {
            let content = write_table(tree, table, None, is_written)?;
            // A crash before the commit leaves the tree as it was, and the journal with it.
            Ok((revision, content))
        })
    }

    /// Changes the tree, durably when this returns. `with` says up to where everything is in it
    /// then, and by how much its content grew.
    fn change(
        &mut self,
        with: impl FnOnce(
            &mut Table<'_>,
            &dyn Fn() -> Result<(), StoreError>,
        ) -> Result<(Revision, i64), StoreError>,
    ) -> Result<(), StoreError> {
        if self.owes_names {
            self.disk.sync_names().map_err(|error| StoreError::new("settle", error))?;
            self.owes_names = false;
        }
        let weight = guarded("settle", || {
            let is_written = || {
                self.health.check().map_err(|error| StoreError::new("settle", SharedError(error)))
            };
            let mut transaction = self.database.begin_write().map_err(unsettled)?;
            // Without this a crash makes the next open walk all of the file.
            transaction.set_quick_repair(true);
            transaction.set_durability(Durability::Immediate).map_err(unsettled)?;
            let settled;
            {
                let mut tree = transaction.open_table(TREE).map_err(unsettled)?;
                let (revision, content) = with(&mut tree, &is_written)?;
                let content = self.weight.content().saturating_add_signed(content);
                settled = Settled { revision, weight: self.weight.with_content(content) };
                tree.insert(Space::SETTLED.prefix().as_slice(), settled.encode().as_slice())
                    .map_err(unsettled)?;
            }
            transaction.commit().map_err(unsettled)?;
            is_written().map(|()| settled.weight)
        })?;
        self.weigh(weight);
        Ok(())
    }
}

fn unsettled(error: impl Into<redb::Error>) -> StoreError {
    StoreError::new("settle", error.into())
}

/// What the tree says of itself.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Settled {
    /// Everything up to here is in it.
    pub(crate) revision: Revision,
    weight: Weight,
}

impl Settled {
    fn encode(self) -> Vec<u8> {
        [&self.revision.get().to_be_bytes()[..], &self.weight.encode()].concat()
    }

    pub(crate) fn decode(stored: &[u8]) -> Option<Settled> {
        let (revision, weight) = stored.split_first_chunk()?;
        let revision = Revision::new(u64::from_be_bytes(*revision));
        Some(Settled { revision, weight: Weight::decode(weight.try_into().ok()?) })
    }
}

/// Writes what a memory table says of keys, of those in front of `upto` if that is given. Gives by
/// how much the content grew.
fn write_table(
    tree: &mut Table<'_>,
    table: &MemoryTable,
    upto: Option<&[u8]>,
    is_written: impl Fn() -> Result<(), StoreError>,
) -> Result<i64, StoreError> {
    let writer = RefCell::new(Writer::new(tree));
    let erase = |from: &[u8], to: &[u8]| {
        let to = upto.map_or(to, |upto| upto.min(to));
        if from < to { writer.borrow_mut().erase(from, to) } else { Ok(()) }
    };
    let write = |key: &[u8], value: Option<&[u8]>| {
        if upto.is_some_and(|upto| key >= upto) {
            return Ok(());
        }
        match value {
            Some(value) => writer.borrow_mut().put(key, value)?,
            None => writer.borrow_mut().remove(key)?,
        }
        is_written()
    };
    let mut coalescer = Coalescer::default();
    table.settle(erase, |key, value| coalescer.push(key, value, write))?;
    coalescer.flush(write)?;
    let grown = writer.into_inner().finish()?;
    is_written().map(|()| grown)
}

/// There is a journal, so there was a data file.
#[derive(Debug, thiserror::Error)]
#[error("{FILE} is missing, or the database is of an early format: restore a backup")]
struct MissingFile;

/// An I/O error that several are told of.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct SharedError(Arc<std::io::Error>);

/// Whether the data file is encrypted; `None` if there is none.
pub(crate) fn is_encrypted(disk: &dyn Disk) -> Option<bool> {
    let mut front = [0; 4];
    disk.open(FILE).and_then(|file| file.read(0, &mut front)).ok()?;
    seal::is_encrypted(front)
}

fn open(
    disk: &dyn Disk,
    seal: &Seal,
    cache_bytes: usize,
    check: bool,
    health: &Arc<Health>,
) -> Result<Database, StoreError> {
    let opened = guarded("open", || {
        let io = |error| StoreError::new("open", error);
        let open = |file| open_file(file, seal, cache_bytes, check, health);
        match disk.open(FILE) {
            Ok(file) => open(file),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                if disk.names().map_err(io)?.iter().any(|name| journal::is_segment(name)) {
                    return Err(StoreError::new("open", MissingFile));
                }
                let database = open(disk.create(UNBORN).map_err(io)?)?;
                create_tree(&database)?;
                health.check().map_err(|error| StoreError::new("open", SharedError(error)))?;
                // A crash before this leaves no data file, one after it a complete one.
                disk.rename(UNBORN, FILE).map_err(io)?;
                disk.sync_names().map_err(io)?;
                Ok(database)
            }
            Err(error) => Err(io(error)),
        }
    });
    opened.map_err(|error| named(error, health))
}

fn open_file(
    file: Arc<dyn DiskFile>,
    seal: &Seal,
    cache_bytes: usize,
    check: bool,
    health: &Arc<Health>,
) -> Result<Database, StoreError> {
    let pages = Pages::open(file, seal.clone(), Arc::clone(health));
    let pages = pages.map_err(|error| StoreError::new("open", error))?;
    let database = Database::builder()
        .set_cache_size(cache_bytes)
        .set_check_integrity_on_open(check)
        .create_with_backend(pages);
    database.map_err(|error: DatabaseError| StoreError::new("open", error))
}

/// Whether redb opens the file. What it writes then stays in memory.
pub(crate) fn try_open(disk: &dyn Disk, cipher: Option<Cipher>) -> Result<(), StoreError> {
    const CACHE_BYTES: usize = 1 << 20;
    open(disk, &Seal::new(cipher), CACHE_BYTES, false, &Arc::new(Health::reading_only())).map(drop)
}

/// What the storage found says more than what redb makes of it.
fn named(error: StoreError, health: &Health) -> StoreError {
    match health.damage() {
        _ if health.is_closed() => StoreError::new("read", "database is closed"),
        Some(damage) => StoreError::new("read", damage),
        None => error,
    }
}

fn create_tree(database: &Database) -> Result<(), StoreError> {
    let fail = |error: redb::Error| StoreError::new("open", error);
    let mut transaction = database.begin_write().map_err(|e| fail(e.into()))?;
    transaction.set_quick_repair(true);
    transaction.open_table(TREE).map_err(|e| fail(e.into()))?;
    transaction.commit().map_err(|e| fail(e.into()))
}

/// redb checks invariants of its pages by panicking where checksums were not looked at.
fn guarded<T>(
    doing: &'static str,
    work: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_panic| Err(StoreError::new(doing, "pages of the data file are damaged")))
}
