//! Which names a query knows: streams, views, and every Log that is none of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::error::{DataFusionError, Result};
use edge_db::Db;
use parking_lot::RwLock;

use crate::history::LogTable;
use crate::lookup::LookupTable;
use crate::stream::{EventTimeColumn, StreamTable};

use super::blocking;
use super::lookup::OwnLookup;
use super::own::OwnTable;
use super::stored::{LogRows, Partition, StoredRows};

/// The end of the names of Logs of late rows.
pub(crate) const LATE: &str = "_late";

/// The tables of one engine.
#[derive(Debug)]
pub(crate) struct Tables {
    db: Db,
    by_name: RwLock<BTreeMap<String, Arc<dyn TableProvider>>>,
    /// Tables of the application.
    own: RwLock<BTreeMap<String, OwnTable>>,
}

impl Tables {
    pub(crate) fn new(db: Db) -> Tables {
        Tables { db, by_name: RwLock::default(), own: RwLock::default() }
    }

    /// The same tables, from here on apart.
    pub(crate) fn snapshot(&self) -> Tables {
        let (by_name, own) = (self.by_name.read().clone(), self.own.read().clone());
        Tables { db: self.db.clone(), by_name: RwLock::new(by_name), own: RwLock::new(own) }
    }

    pub(crate) fn insert(&self, name: &str, table: Arc<dyn TableProvider>) {
        self.by_name.write().insert(name.to_owned(), table);
    }

    /// Takes in a Table of the application, in place of one of this name.
    pub(crate) fn insert_own(&self, name: &str, table: OwnTable) {
        self.own.write().insert(name.to_owned(), table);
    }

    pub(crate) fn has_own(&self, name: &str) -> bool {
        self.own.read().contains_key(name)
    }

    /// The event time of a stream, if there is this stream and it has one.
    pub(crate) fn event_time(&self, stream: &str) -> Option<EventTimeColumn> {
        let by_name = self.by_name.read();
        let table: &dyn TableProvider = by_name.get(stream)?.as_ref();
        table.downcast_ref::<StreamTable>()?.event_time.clone()
    }

    /// The late rows of a stream that keeps them, by the name of their Log.
    fn late(&self, log: &str) -> Option<Arc<dyn TableProvider>> {
        let by_name = self.by_name.read();
        let table: &dyn TableProvider = by_name.get(log.strip_suffix(LATE)?)?.as_ref();
        table.downcast_ref::<StreamTable>()?.late.clone()
    }

    pub(crate) fn remove(&self, name: &str) {
        self.by_name.write().remove(name);
    }
}

/// A table over what lies in the database.
pub(crate) fn table_of(db: &Db, rows: Arc<impl StoredRows>) -> Result<Arc<dyn TableProvider>> {
    let schema = Arc::clone(rows.schema());
    let partition = Arc::new(Partition::new(db, rows));
    Ok(Arc::new(StreamingTable::try_new(schema, vec![partition])?))
}

#[async_trait]
impl SchemaProvider for Tables {
    fn table_names(&self) -> Vec<String> {
        let mut names = self.db.log_names();
        names.extend(self.by_name.read().keys().cloned());
        names.extend(self.own.read().keys().cloned());
        names.sort();
        names.dedup();
        names
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if let Some(table) = self.by_name.read().get(name) {
            return Ok(Some(Arc::clone(table)));
        }
        if let Some(late) = self.late(name) {
            return Ok(Some(late));
        }
        let own = self.own.read().get(name).cloned();
        if let Some(own) = own {
            let db = self.db.clone();
            // Which columns there are, its rows say.
            let rows = blocking(move || {
                let snapshot = db.snapshot();
                own.rows_at(&snapshot.map_err(|error| DataFusionError::External(error.into()))?)
            });
            let rows = Arc::new(rows.await.map_err(DataFusionError::Execution)??);
            let lookup =
                OwnLookup { db: self.db.clone(), key: rows.key(), rows: Arc::clone(&rows) };
            let (rows, lookup) = (table_of(&self.db, rows)?, Arc::new(lookup) as _);
            return Ok(Some(Arc::new(LookupTable { name: name.to_owned(), rows, lookup })));
        }
        let rows = self.db.find_log(name).map(|log| Arc::new(LogRows::new(log)));
        Ok(rows.map(|rows| Arc::new(LogTable(Arc::new(Partition::new(&self.db, rows)))) as _))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.by_name.read().contains_key(name)
            || self.own.read().contains_key(name)
            || self.db.find_log(name).is_some()
    }
}
