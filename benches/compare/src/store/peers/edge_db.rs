//! edge-db: a keyspace, a batch for each put.

use std::path::Path;
use std::time::Duration;

use edge_db::{Db, Keyspace};

use super::{CACHE_BYTES, Scanned, Store};
use crate::Result;
use crate::store::rows::Row;

#[derive(Clone)]
pub(super) struct EdgeDb {
    db: Db,
    rows: Keyspace,
}

impl EdgeDb {
    pub(super) fn create(dir: &Path) -> Result<EdgeDb> {
        let db = Db::builder().cache_bytes(CACHE_BYTES).open(dir)?;
        let rows = db.keyspace("rows")?;
        Ok(EdgeDb { db, rows })
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
        for entry in self.rows.iter()? {
            let (key, value) = entry?;
            scanned.add(&key, &value);
        }
        Ok(scanned)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.db.shutdown(Duration::from_secs(30))?)
    }
}
