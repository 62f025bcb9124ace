//! RocksDB with its default settings, a Bloom filter as its tuning guide has it, and a synced log.

use std::path::Path;
use std::sync::Arc;

use rocksdb::{
    BlockBasedOptions, Cache, DB, Options, WaitForCompactOptions, WriteBatch, WriteOptions,
};

use super::{CACHE_BYTES, Counters, Memory, Scanned, Store};
use crate::Result;
use crate::db::rows::Row;

pub(super) struct RocksDb {
    db: Arc<DB>,
    synced: WriteOptions,
}

impl RocksDb {
    pub(super) fn open(dir: &Path, memory: Memory) -> Result<RocksDb> {
        let mut blocks = BlockBasedOptions::default();
        blocks.set_bloom_filter(10.0, false);
        if memory == Memory::Equal {
            blocks.set_block_cache(&Cache::new_lru_cache(CACHE_BYTES));
        }
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_block_based_table_factory(&blocks);
        Ok(RocksDb::of(Arc::new(DB::open(&options, dir.join("data"))?)))
    }

    fn of(db: Arc<DB>) -> RocksDb {
        let mut synced = WriteOptions::default();
        synced.set_sync(true);
        RocksDb { db, synced }
    }
}

impl Store for RocksDb {
    fn handle(&self) -> Result<Box<dyn Store>> {
        Ok(Box::new(RocksDb::of(Arc::clone(&self.db))))
    }

    fn put(&mut self, rows: &[Row]) -> Result<()> {
        let mut batch = WriteBatch::default();
        for row in rows {
            batch.put(row.key, row.value);
        }
        Ok(self.db.write_opt(batch, &self.synced)?)
    }

    fn get(&mut self, key: &[u8], value: &mut Vec<u8>) -> Result<bool> {
        let found = self.db.get_pinned(key)?;
        if let Some(found) = &found {
            value.clear();
            value.extend_from_slice(found);
        }
        Ok(found.is_some())
    }

    fn scan(&mut self) -> Result<Scanned> {
        let mut scanned = Scanned::default();
        let mut rows = self.db.raw_iterator();
        rows.seek_to_first();
        while let Some((key, value)) = rows.item() {
            scanned.add(key, value);
            rows.next();
        }
        rows.status()?;
        Ok(scanned)
    }

    fn close(self: Box<Self>) -> Result<Counters> {
        // Closing alone leaves rows in the log, and their cost to whoever opens it next.
        let mut settled = WaitForCompactOptions::default();
        settled.set_flush(true);
        self.db.wait_for_compact(&settled)?;
        Ok(Counters::default())
    }
}
