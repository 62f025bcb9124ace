//! The ordered map below tables and logs: two memory tables in front of a tree, under one
//! revision.
//!
//! Commits go into the active table. When that is full it is frozen, and a thread of its own
//! settles it into the tree while commits go on into a fresh one. Every read sees the active
//! table, then the frozen one, then the tree.

mod settling;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use parking_lot::Mutex;

use settling::Settling;
pub(crate) use settling::settle_until_stopped;

use crate::Time;
use crate::disk::counted::{Counted, Traffic};
use crate::disk::{Disk, DiskLock, LockError};
#[cfg(feature = "encryption")]
use crate::encryption::RotateKeyError;
use crate::encryption::{self, Cipher, Encryption, EncryptionKey};
use crate::error::{OpenError, ReadError, StoreError, WriteError};
use crate::journal::{Commits, End, Journal, mark, replay};
use crate::memory::{Found, MemoryTable};
use crate::new_folder::INCOMPLETE;
use crate::revision::Revision;
use crate::space::Space;
use crate::tree::{Alarm, CacheUse, FILE, Tree, TreeView};
use crate::view::View;

/// One change to the map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Write {
    Put(Bytes, Bytes),
    Delete(Bytes),
    /// Everything from the first key (included) to the second (excluded).
    DeleteRange(Bytes, Bytes),
}

impl Write {
    /// Bytes of keys and value.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Write::Put(key, value) => key.len() + value.len(),
            Write::Delete(key) => key.len(),
            Write::DeleteRange(from, to) => from.len() + to.len(),
        }
    }
}

/// How much a [`Store`] may hold in memory and in its journal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// For pages of the tree.
    pub(crate) cache_bytes: usize,
    /// For each of the two tables.
    pub(crate) table_bytes: usize,
    /// For the journal in all.
    pub(crate) journal_bytes: u64,
    /// For what of the journal has settled.
    pub(crate) keep_journal_bytes: u64,
    /// A table with something in it is frozen after about this.
    pub(crate) table_age: Duration,
    /// For everything on disk.
    pub(crate) budget_bytes: u64,
}

impl Limits {
    /// For the journal with what is kept of it.
    pub(crate) fn most_journal_bytes(&self) -> u64 {
        self.journal_bytes.saturating_add(self.keep_journal_bytes)
    }
}

#[derive(Debug)]
pub(crate) struct Store {
    disk: Arc<dyn Disk>,
    /// `None` once closed.
    lock: Mutex<Option<DiskLock>>,
    /// Since it was opened.
    traffic: Arc<Traffic>,
    limits: Limits,
    encryption: Option<Encryption>,
    /// `None` once closed. Readers take it without waiting for each other or for who replaces it.
    layers: ArcSwapOption<Layers>,
    /// What reads see: everything up to here.
    visible: AtomicU64,
    /// How many views are open at each revision.
    readers: Mutex<BTreeMap<Revision, usize>>,
    settling: Arc<Settling>,
    /// Bytes of the data file that are no holes.
    in_use: AtomicU64,
    /// Values that were dropped because they had expired.
    expired: AtomicU64,
    /// Spaces with values that expire, and when they were last rid of those.
    expiring: Mutex<HashMap<Space, Expiring>>,
}

/// A disk budget that is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fullness {
    pub(crate) used_bytes: u64,
    pub(crate) budget_bytes: u64,
}

impl From<Fullness> for WriteError {
    fn from(Fullness { used_bytes, budget_bytes }: Fullness) -> WriteError {
        WriteError::Full { used_bytes, budget_bytes }
    }
}

/// How values of a space expire.
#[derive(Debug)]
struct Expiring {
    /// `None` as long as nobody said so.
    age: Option<Duration>,
    swept: Time,
    /// Indexes, whose entries go with the rows.
    hanging: BTreeSet<Space>,
}

impl Default for Expiring {
    fn default() -> Expiring {
        Expiring { age: None, swept: Time::now(), hanging: BTreeSet::new() }
    }
}

/// What a read looks into, from top to bottom. Replaced whole.
#[derive(Debug, Clone)]
pub(crate) struct Layers {
    pub(crate) active: Arc<MemoryTable>,
    pub(crate) frozen: Option<Arc<MemoryTable>>,
    pub(crate) base: Arc<Base>,
}

/// The tree at one moment.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) tree: TreeView,
}

impl Store {
    /// Opens the tree and replays the journal into memory. Of an existing database it writes
    /// nothing, but for the last records of the journal again.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        limits: Limits,
        check: bool,
        key: Option<&EncryptionKey>,
    ) -> Result<(Store, Journal, Tree), OpenError> {
        let traffic = Arc::<Traffic>::default();
        let disk: Arc<dyn Disk> = Arc::new(Counted::new(disk, Arc::clone(&traffic), mark::FILE));
        let place = disk.place();
        let lock = match disk.lock() {
            Ok(lock) => lock,
            Err(LockError::Held { holder }) => return Err(OpenError::InUse { place, holder }),
            Err(LockError::Io(source)) => return Err(OpenError::Folder { place, source }),
        };
        let damaged = |source| OpenError::Damaged { place: place.clone(), source };
        if disk.open(INCOMPLETE).is_ok() {
            let unfinished =
                "a restore or repair into it was not completed: remove it and begin again";
            return Err(damaged(StoreError::new("open", unfinished)));
        }
        let encryption = encryption::open(&*disk, key)?;
        let cipher = encryption.as_ref().map(Encryption::cipher);
        let settling = Arc::<Settling>::default();
        let alarm = Arc::clone(&settling);
        let alarm = Alarm::new(move || alarm.read_failed());
        let tree = Tree::open(Arc::clone(&disk), cipher.clone(), limits.cache_bytes, check, alarm);
        let tree = tree.map_err(damaged)?;
        let view = tree.view().map_err(damaged)?;
        let settled = view.settled().map_err(damaged)?.revision;
        let table = MemoryTable::default();
        let found = replay(&*disk, cipher.as_ref(), settled, |revision, writes| {
            table.apply(writes, revision, revision);
        });
        let found = found.map_err(|error| damaged(StoreError::new("open", error)))?;
        settling.begin(settled);
        let base = Arc::new(Base { tree: view });
        let store = Store {
            disk: Arc::clone(&disk),
            lock: Mutex::new(Some(lock)),
            traffic,
            limits,
            encryption,
            layers: ArcSwapOption::from_pointee(Layers {
                active: Arc::new(table),
                frozen: None,
                base,
            }),
            visible: AtomicU64::new(found.last().get()),
            readers: Mutex::default(),
            settling,
            in_use: AtomicU64::new(tree.weight().in_use()),
            expired: AtomicU64::new(0),
            expiring: Mutex::default(),
        };
        let journal = Journal::new(disk, cipher, &found, limits);
        Ok((store, journal, tree))
    }

    /// What is stored under a key now.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        let layers = self.layers.load();
        let layers = layers.as_ref().ok_or(ReadError::Closed)?;
        // The revision is read while the table stands still, so that no version that it asks for
        // is pruned before.
        match layers.active.get(key, || self.visible()) {
            Found::Value(value) => return Ok(Some(value)),
            Found::Deleted => return Ok(None),
            Found::Below => {}
        }
        let all = Revision::new(u64::MAX);
        match layers.frozen.as_ref().map_or(Found::Below, |frozen| frozen.get(key, || all)) {
            Found::Value(value) => Ok(Some(value)),
            Found::Deleted => Ok(None),
            Found::Below => Ok(layers.base.tree.get(key)?),
        }
    }

    /// The map as it is now; later commits do not change it.
    pub(crate) fn view(self: &Arc<Store>) -> Result<View, ReadError> {
        // Under the lock that `oldest` takes, so that what this view may ask for stays.
        let mut readers = self.readers.lock();
        let layers = self.layers()?;
        let revision = self.visible();
        *readers.entry(revision).or_default() += 1;
        drop(readers);
        Ok(View::new(Arc::clone(self), layers, revision))
    }

    /// What the journal has of the commits behind `since`.
    pub(crate) fn commits(&self, since: Revision, upto: End) -> Result<Commits, ReadError> {
        self.layers()?;
        let commits = Commits::open(&*self.disk, self.cipher(), since, upto);
        Ok(commits.map_err(|error| StoreError::new("read", error))?)
    }

    /// Says that a view of this revision is gone.
    pub(crate) fn view_closed(&self, revision: Revision) {
        let mut readers = self.readers.lock();
        if let Some(count) = readers.get_mut(&revision) {
            *count -= 1;
            if *count == 0 {
                readers.remove(&revision);
            }
        }
    }

    /// Says that values of this space expire after about this time.
    pub(crate) fn expires(&self, space: Space, age: Duration) {
        let mut expiring = self.expiring.lock();
        let known = expiring.entry(space).or_default();
        known.age = Some(known.age.map_or(age, |known| known.min(age)));
    }

    /// Says that values of this space expire with those of a table, if they do.
    pub(crate) fn expires_with(&self, space: Space, table: Space) {
        self.expiring.lock().entry(table).or_default().hanging.insert(space);
    }

    /// The spaces that are worth looking through for expired values now.
    fn due_spaces(&self, now: Time) -> Vec<Space> {
        let mut expiring = self.expiring.lock();
        let mut due = Vec::new();
        for (space, known) in expiring.iter_mut() {
            if known.age.is_some_and(|age| now.since(known.swept) >= age / 10) {
                known.swept = now;
                due.push(*space);
                due.extend(&known.hanging);
            }
        }
        due
    }

    /// The last commit that reads see.
    pub(crate) fn visible(&self) -> Revision {
        Revision::new(self.visible.load(Ordering::Acquire))
    }

    /// Shows a group to everybody. Only the committer calls this.
    pub(crate) fn publish(&self, writes: Vec<Write>, revision: Revision) -> Result<(), ReadError> {
        let layers = self.layers()?;
        layers.active.apply(writes, revision, self.oldest());
        self.visible.store(revision.get(), Ordering::Release);
        Ok(())
    }

    /// The oldest revision that anybody reads at.
    fn oldest(&self) -> Revision {
        let readers = self.readers.lock();
        let visible = self.visible();
        readers.keys().next().map_or(visible, |oldest| visible.min(*oldest))
    }

    fn cipher(&self) -> Option<Cipher> {
        self.encryption.as_ref().map(Encryption::cipher)
    }

    pub(crate) fn encryption(&self) -> Option<&Encryption> {
        self.encryption.as_ref()
    }

    /// Has another key open the database from now on.
    #[cfg(feature = "encryption")]
    pub(crate) fn rotate_key(&self, to: &EncryptionKey) -> Result<(), RotateKeyError> {
        // Held, so that nobody else has the folder meanwhile.
        let lock = self.lock.lock();
        if lock.is_none() {
            return Err(RotateKeyError::Closed);
        }
        let encryption = self.encryption.as_ref().ok_or(RotateKeyError::NotEncrypted)?;
        Ok(encryption.rotate(&*self.disk, to)?)
    }

    /// What went to and from the device since it was opened.
    pub(crate) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Values that were dropped because they had expired.
    pub(crate) fn expired(&self) -> u64 {
        self.expired.load(Ordering::Relaxed)
    }

    /// What it takes of the disk budget: the journal at its limits, what of the data file is in
    /// use, and what is to settle yet.
    pub(crate) fn used_bytes(&self) -> u64 {
        let data = self.in_use.load(Ordering::Relaxed) + self.table_bytes();
        self.limits.most_journal_bytes().saturating_add(data)
    }

    /// What no more may be put beside, once it is used up.
    pub(crate) fn fullness(&self) -> Option<Fullness> {
        let budget_bytes = self.limits.budget_bytes;
        if budget_bytes == u64::MAX {
            return None;
        }
        let used_bytes = self.used_bytes();
        (used_bytes >= budget_bytes).then_some(Fullness { used_bytes, budget_bytes })
    }

    /// Bytes in both memory tables.
    pub(crate) fn table_bytes(&self) -> u64 {
        let Ok(layers) = self.layers() else { return 0 };
        let tables = [Some(&layers.active), layers.frozen.as_ref()];
        tables.into_iter().flatten().map(|table| table.bytes() as u64).sum()
    }

    /// What the cache of the data file was asked for; nothing once closed.
    pub(crate) fn cache_use(&self) -> CacheUse {
        self.layers().map(|layers| layers.base.tree.cache_use()).unwrap_or_default()
    }

    /// Bytes that the data file occupies.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.disk.open(FILE).and_then(|file| file.allocated_bytes()).unwrap_or(0)
    }

    pub(crate) fn layers(&self) -> Result<Arc<Layers>, ReadError> {
        self.layers.load_full().ok_or(ReadError::Closed)
    }
}
