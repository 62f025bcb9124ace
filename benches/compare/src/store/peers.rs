//! The stores, behind one trait.

mod disk;
mod edge_db;
mod redb;
mod sqlite;

use std::path::Path;

use super::rows::Row;
use crate::Result;

/// Memory for pages, the same for each.
const CACHE_BYTES: usize = 64 << 20;

/// A store, as one thread uses it.
pub(super) trait Store: Send {
    /// The same store for another thread.
    fn handle(&self) -> Result<Box<dyn Store>>;
    /// Stores the rows in one transaction; returns once they are on disk.
    fn put(&mut self, rows: &[Row]) -> Result<()>;
    /// Reads the value of a key as it is now into `value`; whether there is one.
    fn get(&mut self, key: &[u8], value: &mut Vec<u8>) -> Result<bool>;
    /// Reads all rows in the order of their keys.
    fn scan(&mut self) -> Result<Scanned>;
    /// Closes the file; all other handles are gone.
    fn close(self: Box<Self>) -> Result<()>;
}

/// What a scan saw.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scanned {
    pub(super) rows: u64,
    pub(super) bytes: usize,
    /// Sum of the last byte of each value: no store gets away without reading values.
    pub(super) last_bytes: u64,
}

impl Scanned {
    fn add(&mut self, key: &[u8], value: &[u8]) {
        self.rows += 1;
        self.bytes += key.len() + value.len();
        self.last_bytes += value.last().map_or(0, |byte| u64::from(*byte));
    }
}

/// What is compared.
#[derive(Debug, Clone, Copy)]
pub(super) enum Peer {
    EdgeDb,
    Redb,
    Sqlite,
    Disk,
}

impl Peer {
    /// Ours comes first: the others are compared with it.
    const STORES: [Peer; 3] = [Peer::EdgeDb, Peer::Redb, Peer::Sqlite];

    /// The stores; where one thread puts, the disk itself, too.
    pub(super) fn all(cases: &[&str]) -> Vec<Peer> {
        let mut peers = Peer::STORES.to_vec();
        peers.extend((cases == ["put-1"]).then_some(Peer::Disk));
        peers
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Peer::EdgeDb => "edge-db",
            Peer::Redb => "redb 4.6",
            Peer::Sqlite => "SQLite, WAL, FULL",
            Peer::Disk => "(append + fdatasync)",
        }
    }

    /// A new store in this empty folder.
    pub(super) fn create(self, dir: &Path) -> Result<Box<dyn Store>> {
        Ok(match self {
            Peer::EdgeDb => Box::new(edge_db::EdgeDb::create(dir)?),
            Peer::Redb => Box::new(redb::Redb::create(dir)?),
            Peer::Sqlite => Box::new(sqlite::Sqlite::create(dir)?),
            Peer::Disk => Box::new(disk::Disk::create(dir)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_store_reads_what_it_stored() {
        for peer in Peer::STORES {
            let dir = tempfile::tempdir().unwrap();
            let mut store = peer.create(dir.path()).unwrap();
            let rows: Vec<Row> = (0..50).map(Row::new).collect();
            store.put(&rows[..20]).unwrap();
            store.handle().unwrap().put(&rows[20..]).unwrap();
            let mut value = Vec::new();
            assert!(store.get(&rows[30].key, &mut value).unwrap(), "{}", peer.name());
            assert_eq!(value, rows[30].value, "{}", peer.name());
            assert!(!store.get(b"nobody", &mut value).unwrap(), "{}", peer.name());
            let last_bytes = rows.iter().map(|row| u64::from(row.value[99])).sum();
            let all = Scanned { rows: 50, bytes: 50 * 116, last_bytes };
            assert_eq!(store.scan().unwrap(), all, "{}", peer.name());
            store.close().unwrap();
        }
    }
}
