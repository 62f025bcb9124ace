//! redb as its README shows it: a durable transaction for each put, a read one for each get.

use std::path::Path;
use std::sync::Arc;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::{CACHE_BYTES, Counters, Memory, Scanned, Store};
use crate::Result;
use crate::db::rows::Row;

const ROWS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("rows");

pub(super) struct Redb {
    database: Arc<Database>,
}

impl Redb {
    pub(super) fn open(dir: &Path, memory: Memory) -> Result<Redb> {
        let path = dir.join("data.redb");
        let new = !path.exists();
        let mut builder = Database::builder();
        if memory == Memory::Equal {
            builder.set_cache_size(CACHE_BYTES);
        }
        let database = builder.create(path)?;
        if new {
            let transaction = database.begin_write()?;
            transaction.open_table(ROWS)?;
            transaction.commit()?;
        }
        Ok(Redb { database: Arc::new(database) })
    }
}

impl Store for Redb {
    fn handle(&self) -> Result<Box<dyn Store>> {
        Ok(Box::new(Redb { database: Arc::clone(&self.database) }))
    }

    fn put(&mut self, rows: &[Row]) -> Result<()> {
        let transaction = self.database.begin_write()?;
        let mut table = transaction.open_table(ROWS)?;
        for row in rows {
            table.insert(row.key.as_slice(), row.value.as_slice())?;
        }
        drop(table);
        transaction.commit()?;
        Ok(())
    }

    fn get(&mut self, key: &[u8], value: &mut Vec<u8>) -> Result<bool> {
        let table = self.database.begin_read()?.open_table(ROWS)?;
        let found = table.get(key)?;
        if let Some(found) = &found {
            value.clear();
            value.extend_from_slice(found.value());
        }
        Ok(found.is_some())
    }

    fn scan(&mut self) -> Result<Scanned> {
        let table = self.database.begin_read()?.open_table(ROWS)?;
        let mut scanned = Scanned::default();
        for entry in table.iter()? {
            let (key, value) = entry?;
            scanned.add(key.value(), value.value());
        }
        Ok(scanned)
    }

    fn close(self: Box<Self>) -> Result<Counters> {
        Ok(Counters::default())
    }
}
