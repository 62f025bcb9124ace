//! fjall: a keyspace, a batch with `fdatasync` for each put.

use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::{CACHE_BYTES, Counters, Memory, Scanned, Store};
use crate::Result;
use crate::db::rows::Row;

#[derive(Clone)]
pub(super) struct Fjall {
    database: Database,
    rows: Keyspace,
}

impl Fjall {
    pub(super) fn open(dir: &Path, memory: Memory) -> Result<Fjall> {
        let mut builder = Database::builder(dir.join("data"));
        if memory == Memory::Equal {
            builder = builder.cache_size(CACHE_BYTES.try_into()?);
        }
        let database = builder.open()?;
        let rows = database.keyspace("rows", KeyspaceCreateOptions::default)?;
        Ok(Fjall { database, rows })
    }
}

impl Store for Fjall {
    fn handle(&self) -> Result<Box<dyn Store>> {
        Ok(Box::new(self.clone()))
    }

    fn put(&mut self, rows: &[Row]) -> Result<()> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        for row in rows {
            batch.insert(&self.rows, row.key, row.value);
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
        for entry in self.rows.iter() {
            let (key, value) = entry.into_inner()?;
            scanned.add(&key, &value);
        }
        Ok(scanned)
    }

    fn close(self: Box<Self>) -> Result<Counters> {
        // Closing alone leaves rows in the journal, and their cost to whoever opens it next.
        self.rows.rotate_memtable_and_wait()?;
        Ok(Counters::default())
    }
}
