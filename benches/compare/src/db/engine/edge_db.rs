//! edge-db: a keyspace, a batch for each put; a Log for what is appended.

mod counters;

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use edge_db::{Commit, Db, Entry, Keyspace, Log, LogOptions};

use super::{CACHE_BYTES, Counters, Memory, Scanned, Store};
use crate::Result;
use crate::db::rows::Row;

/// More than any run appends: nothing may be refused or dropped.
const LOG_BYTES: u64 = 1 << 40;
/// What each memory table may hold beside the cache that all stores have: half of the write
/// buffers that RocksDB (two of 64 MiB) and fjall have by default.
const TABLE_BYTES: usize = 32 << 20;
/// Records of one read of the Log.
const READ_RECORDS: usize = 1_000;

#[derive(Clone)]
pub(super) struct EdgeDb {
    db: Db,
    rows: Keyspace,
    log: Option<Log>,
}

impl EdgeDb {
    pub(super) fn open(dir: &Path, memory: Memory) -> Result<EdgeDb> {
        let mut builder = Db::builder();
        if memory == Memory::Equal {
            builder = builder.memory_bytes(CACHE_BYTES + 2 * TABLE_BYTES).table_bytes(TABLE_BYTES);
        }
        let db = builder.open(dir)?;
        let rows = db.keyspace("rows")?;
        Ok(EdgeDb { db, rows, log: None })
    }

    /// The Log; made when it is first used, so that it costs the other works nothing.
    fn log(&mut self) -> Result<Log> {
        if let Some(log) = &self.log {
            return Ok(log.clone());
        }
        let log = self.db.log_with("log", LogOptions::new().max_bytes(LOG_BYTES))?;
        self.log = Some(log.clone());
        Ok(log)
    }

    fn commit(&self, row: &Row) -> Commit {
        let mut batch = self.db.batch();
        batch.put(&self.rows, row.key, row.value);
        batch.commit_async()
    }
}

impl Store for EdgeDb {
    fn handle(&self) -> Result<Box<dyn Store>> {
        Ok(Box::new(self.clone()))
    }

    fn put(&mut self, rows: &[Row]) -> Result<()> {
        let mut batch = self.db.batch();
        for row in rows {
            batch.put(&self.rows, row.key, row.value);
        }
        batch.commit()?;
        Ok(())
    }

    fn get(&mut self, key: &[u8], value: &mut Vec<u8>) -> Result<bool> {
        let found = self.rows.get(key)?;
        if let Some(found) = &found {
            value.clear();
            value.extend_from_slice(found);
        }
        Ok(found.is_some())
    }

    fn scan(&mut self) -> Result<Scanned> {
        let mut scanned = Scanned::default();
        // Nothing is copied, as with redb's guards.
        self.rows.visit::<&[u8]>(.., |key, value| {
            scanned.add(key, value);
            ControlFlow::Continue(())
        })?;
        Ok(scanned)
    }

    fn append(&mut self, rows: &[Row]) -> Result<()> {
        let log = self.log()?;
        let mut batch = self.db.batch();
        for row in rows {
            batch.append(&log, Entry::new(row.value.to_vec()).key(row.key.to_vec()));
        }
        batch.commit()?;
        Ok(())
    }

    fn read_appended(&mut self) -> Result<Scanned> {
        let log = self.log()?;
        let mut scanned = Scanned::default();
        let mut position = log.bounds()?.start;
        loop {
            let records = log.read(position, READ_RECORDS)?;
            if records.is_empty() {
                return Ok(scanned);
            }
            position = records.next();
            for record in records.iter() {
                scanned.add(record.key(), record.value());
            }
        }
    }

    fn put_async(&mut self, in_flight: usize, end: Instant) -> Result<Option<u64>> {
        let mut waiting = VecDeque::with_capacity(in_flight);
        let mut count = 0;
        while Instant::now() < end {
            if waiting.len() == in_flight {
                waiting.pop_front().map(Commit::wait).transpose()?;
            }
            waiting.push_back(self.commit(&Row::new(count)));
            count += 1;
        }
        for commit in waiting {
            commit.wait()?;
        }
        Ok(Some(count))
    }

    fn counters(&self) -> Counters {
        counters::of(&self.db.stats())
    }

    fn close(self: Box<Self>) -> Result<Counters> {
        // Closing alone leaves in the journal what has not settled.
        self.db.checkpoint()?;
        self.db.shutdown(Duration::from_secs(60))?;
        Ok(self.counters())
    }
}
