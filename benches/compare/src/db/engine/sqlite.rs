//! SQLite with a write-ahead log that is synced at each commit; a connection for each thread.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::{CACHE_BYTES, Counters, Memory, Scanned, Store};
use crate::Result;
use crate::db::rows::Row;

/// How long a writer waits for the others. SQLite polls, so some wait for seconds.
const BUSY: Duration = Duration::from_secs(60);

pub(super) struct Sqlite {
    path: PathBuf,
    memory: Memory,
    connection: Connection,
}

impl Sqlite {
    pub(super) fn open(dir: &Path, memory: Memory) -> Result<Sqlite> {
        let store = Sqlite::connect(dir.join("data.sqlite"), memory)?;
        store.connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS rows (key BLOB PRIMARY KEY, value BLOB NOT NULL)
             WITHOUT ROWID",
        )?;
        Ok(store)
    }

    fn connect(path: PathBuf, memory: Memory) -> Result<Sqlite> {
        let connection = Connection::open(&path)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        if memory == Memory::Equal {
            // Negative: KiB, not pages.
            let cache = -i64::try_from(CACHE_BYTES / 1024)?;
            connection.pragma_update(None, "cache_size", cache)?;
        }
        Ok(Sqlite { path, memory, connection })
    }
}

impl Store for Sqlite {
    fn handle(&self) -> Result<Box<dyn Store>> {
        Ok(Box::new(Sqlite::connect(self.path.clone(), self.memory)?))
    }

    fn put(&mut self, rows: &[Row]) -> Result<()> {
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut insert =
            transaction.prepare_cached("INSERT OR REPLACE INTO rows VALUES (?1, ?2)")?;
        for row in rows {
            insert.execute(params![row.key.as_slice(), row.value.as_slice()])?;
        }
        drop(insert);
        transaction.commit()?;
        Ok(())
    }

    fn get(&mut self, key: &[u8], value: &mut Vec<u8>) -> Result<bool> {
        let mut select = self.connection.prepare_cached("SELECT value FROM rows WHERE key = ?1")?;
        let found = select.query_row(params![key], |row| {
            value.clear();
            value.extend_from_slice(row.get_ref(0)?.as_blob()?);
            Ok(())
        });
        Ok(found.optional()?.is_some())
    }

    fn scan(&mut self) -> Result<Scanned> {
        let mut select =
            self.connection.prepare_cached("SELECT key, value FROM rows ORDER BY key")?;
        let mut rows = select.query([])?;
        let mut scanned = Scanned::default();
        while let Some(row) = rows.next()? {
            scanned.add(row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?);
        }
        Ok(scanned)
    }

    fn close(self: Box<Self>) -> Result<Counters> {
        // The last connection brings the log into the file.
        self.connection.close().map_err(|(_, error)| error)?;
        Ok(Counters::default())
    }
}
