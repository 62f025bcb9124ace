//! The engines, behind one trait.

mod disk;
mod edge_db;
mod fjall;
mod redb;
#[cfg(feature = "rocksdb")]
mod rocksdb;
mod scanned;
mod sqlite;

use std::path::Path;
use std::time::Instant;

pub(super) use scanned::Scanned;

use super::rows::Row;
use crate::Result;
use crate::figures::Contender;

/// Memory for pages or blocks, the same for each.
const CACHE_BYTES: usize = 64 << 20;

/// An open store, as one thread uses it.
pub(super) trait Store: Send {
    /// The same store for another thread.
    fn handle(&self) -> Result<Box<dyn Store>>;

    /// Stores the rows in one transaction; returns once they are on disk.
    fn put(&mut self, rows: &[Row]) -> Result<()>;

    /// Reads the value of a key as it is now into `value`; whether there is one.
    fn get(&mut self, key: &[u8], value: &mut Vec<u8>) -> Result<bool>;

    /// Reads all rows in the order of their keys.
    fn scan(&mut self) -> Result<Scanned>;

    /// Like `put`, of rows in the order of their keys: where there is a log, at its end.
    fn append(&mut self, rows: &[Row]) -> Result<()> {
        self.put(rows)
    }

    /// Reads all that was appended.
    fn read_appended(&mut self) -> Result<Scanned> {
        self.scan()
    }

    /// Puts lone rows from number 0 on without waiting for each, up to `in_flight` at once, until
    /// `end`, then waits for the rest. How many; `None` where there is no such call.
    fn put_async(&mut self, _in_flight: usize, _end: Instant) -> Result<Option<u64>> {
        Ok(None)
    }

    /// What the engine itself counts.
    fn counters(&self) -> Counters {
        Counters::default()
    }

    /// Brings all to its place and closes the files; all other handles are gone. The last
    /// counters, with what that cost.
    fn close(self: Box<Self>) -> Result<Counters>;
}

/// What an engine counts since it was opened; `None` where it does not.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counters {
    /// Bytes written to its files.
    pub(super) written_bytes: Option<u64>,
    /// Times that rows went from memory to their place in the data file.
    pub(super) settlings: Option<u64>,
    /// Puts that waited for that although a memory table had room.
    pub(super) settling_waits: Option<u64>,
    /// How much of its limit the journal takes, from 0 to 1.
    pub(super) journal_used: Option<f64>,
}

/// How much memory an engine may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Memory {
    /// As much for pages as all others.
    Equal,
    /// What it takes when nobody says anything.
    Default,
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Engine {
    EdgeDb,
    Redb,
    Fjall,
    RocksDb,
    Sqlite,
    /// No store, but what none can beat: a file and its syncs.
    Disk,
}

impl Engine {
    /// Ours comes first: the others are compared with it.
    pub(super) const ALL: [Engine; 6] = [
        Engine::EdgeDb,
        Engine::Redb,
        Engine::Fjall,
        Engine::RocksDb,
        Engine::Sqlite,
        Engine::Disk,
    ];

    /// The engine of this id.
    pub(super) fn of_id(id: &str) -> Result<Engine> {
        let engine = Engine::ALL.into_iter().find(|engine| engine.id() == id);
        engine.ok_or_else(|| format!("no engine `{id}`").into())
    }

    /// Opens the store in this folder; a new one where the folder is empty.
    pub(super) fn open(self, dir: &Path, memory: Memory) -> Result<Box<dyn Store>> {
        Ok(match self {
            Engine::EdgeDb => Box::new(edge_db::EdgeDb::open(dir, memory)?),
            Engine::Redb => Box::new(redb::Redb::open(dir, memory)?),
            Engine::Fjall => Box::new(fjall::Fjall::open(dir, memory)?),
            #[cfg(feature = "rocksdb")]
            Engine::RocksDb => Box::new(rocksdb::RocksDb::open(dir, memory)?),
            #[cfg(not(feature = "rocksdb"))]
            Engine::RocksDb => return Err("built without the feature `rocksdb`".into()),
            Engine::Sqlite => Box::new(sqlite::Sqlite::open(dir, memory)?),
            Engine::Disk => Box::new(disk::Disk::create(dir)?),
        })
    }

    /// Bytes of rows that nearly fill the journal of a store that was just opened.
    pub(super) fn journal_bytes(self) -> usize {
        match self {
            // Counters::journal_used says it better, and comes first.
            Engine::EdgeDb => 24 << 20,
            // Both start a new journal when their memory table has 64 MiB, a fifth of it not rows.
            Engine::Fjall | Engine::RocksDb => 48 << 20,
            // None at all; and a log of 1,000 pages, which a batch of 1,000 rows fills.
            Engine::Redb | Engine::Sqlite | Engine::Disk => 1 << 20,
        }
    }
}

impl Contender for Engine {
    const OURS: Engine = Engine::EdgeDb;

    fn id(self) -> &'static str {
        match self {
            Engine::EdgeDb => "edge-db",
            Engine::Redb => "redb",
            Engine::Fjall => "fjall",
            Engine::RocksDb => "rocksdb",
            Engine::Sqlite => "sqlite",
            Engine::Disk => "disk",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Engine::EdgeDb => "edge-db",
            Engine::Redb => "redb 4.6",
            Engine::Fjall => "fjall 3.1",
            Engine::RocksDb => "RocksDB 11",
            Engine::Sqlite => "SQLite, WAL, FULL",
            Engine::Disk => "(the disk itself)",
        }
    }

    fn is_built_in(self) -> bool {
        self != Engine::RocksDb || cfg!(feature = "rocksdb")
    }
}

#[cfg(test)]
mod tests;
