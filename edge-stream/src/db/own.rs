//! Tables of the application: rows of serde types, as columns.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow_json::reader::{ReaderBuilder, infer_json_schema_from_iterator};
use datafusion::error::{DataFusionError, Result};
use edge_db::{Key, Snapshot, Table};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::cells::Cell;
use super::lookup::{self, key_field};
use super::stored::StoredRows;
use crate::history::Wanted;

/// Rows of one batch of a bounded query.
const BATCH_ROWS: usize = 1024;

type Give<'a> = &'a mut dyn FnMut(Value) -> Result<bool>;

type Get = dyn Fn(&Snapshot, &[Cell]) -> Result<Option<Value>> + Send + Sync;

type Each = dyn Fn(&Snapshot, Give<'_>) -> Result<()> + Send + Sync;

/// A Table of the application, its types forgotten.
#[derive(Clone)]
pub(crate) struct OwnTable {
    /// Gives all rows at a moment, until it is told that no more are wanted.
    each: Arc<Each>,
    get: Arc<Get>,
    /// The columns of its key; none if no row can be looked up by them.
    key: Vec<Field>,
}

impl fmt::Debug for OwnTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnTable").finish_non_exhaustive()
    }
}

impl OwnTable {
    pub(crate) fn new<K, V>(table: &Table<K, V>) -> OwnTable
    where
        K: Key + Serialize + 'static,
        V: Serialize + DeserializeOwned + 'static,
    {
        let (table, by_key) = (table.clone(), table.clone());
        let kind = K::kind();
        let parts = lookup::parts(&kind);
        let name = |place| match parts.len() {
            1 if !kind.starts_with('(') => "_key".to_owned(),
            _ => format!("_key_{place}"),
        };
        let key = parts.iter().enumerate().map(|(place, part)| key_field(&name(place), part));
        let key = key.collect::<Option<_>>().unwrap_or_default();
        let get = move |at: &Snapshot, key: &[Cell]| {
            let bytes = lookup::encode(&lookup::parts(&K::kind()), key);
            let Some(key) = bytes.and_then(|bytes| K::decode(&mut bytes.as_slice())) else {
                return Ok(None);
            };
            let value = at.get(&by_key, &key).map_err(external)?;
            value.map(|value| row_of(&key, &value)).transpose()
        };
        let each = move |at: &Snapshot, give: Give<'_>| {
            for row in at.iter(&table).map_err(external)? {
                let (key, value) = row.map_err(external)?;
                if !give(row_of(&key, &value)?)? {
                    break;
                }
            }
            Ok(())
        };
        OwnTable { each: Arc::new(each), get: Arc::new(get), key }
    }

    /// The table with the columns that its rows have at this moment; reads all of them.
    pub(crate) fn rows_at(&self, at: &Snapshot) -> Result<OwnRows> {
        let mut schema = Schema::empty();
        let mut rows = Vec::new();
        let merge = |schema: &Schema, rows: &mut Vec<Value>| {
            let found = infer_json_schema_from_iterator(rows.drain(..).map(Ok))?;
            Schema::try_merge([schema.clone(), found])
        };
        (self.each)(at, &mut |row| {
            rows.push(row);
            if rows.len() == BATCH_ROWS {
                schema = merge(&schema, &mut rows)?;
            }
            Ok(true)
        })?;
        let schema = merge(&schema, &mut rows)?;
        // They come in no order.
        let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
        // What the key is, is known without rows.
        for key in &self.key {
            if schema.index_of(key.name()).is_err() {
                fields.push(Arc::new(key.clone()));
            }
        }
        fields.sort_by(|a, b| a.name().cmp(b.name()));
        Ok(OwnRows { table: self.clone(), schema: Arc::new(Schema::new(fields)) })
    }
}

/// A Table of the application as one query sees it.
#[derive(Debug)]
pub(crate) struct OwnRows {
    table: OwnTable,
    schema: SchemaRef,
}

impl OwnRows {
    /// The places of the key's columns.
    pub(crate) fn key(&self) -> Vec<usize> {
        let places = self.table.key.iter().map(|key| self.schema.index_of(key.name()));
        places.collect::<Result<_, _>>().unwrap_or_default()
    }

    /// One row, by its key.
    pub(crate) fn get(&self, at: &Snapshot, key: &[Cell]) -> Result<Option<Value>> {
        (self.table.get)(at, key)
    }

    /// Rows as a batch, which may be empty.
    pub(crate) fn batch_of(&self, rows: &[Value]) -> Result<RecordBatch> {
        let empty = || RecordBatch::new_empty(Arc::clone(&self.schema));
        Ok(self.batch(rows)?.unwrap_or_else(empty))
    }

    fn batch(&self, rows: &[Value]) -> Result<Option<RecordBatch>> {
        let builder = ReaderBuilder::new(Arc::clone(&self.schema)).with_batch_size(BATCH_ROWS);
        let mut decoder = builder.with_coerce_primitive(true).build_decoder()?;
        decoder.serialize(rows)?;
        Ok(decoder.flush()?)
    }
}

impl StoredRows for OwnRows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn read(
        &self,
        at: &Snapshot,
        _: &Wanted,
        give: &mut dyn FnMut(RecordBatch) -> bool,
    ) -> Result<()> {
        let mut rows = Vec::new();
        (self.table.each)(at, &mut |row| {
            rows.push(row);
            if rows.len() < BATCH_ROWS {
                return Ok(true);
            }
            let batch = self.batch(&rows)?;
            rows.clear();
            Ok(batch.is_none_or(&mut *give))
        })?;
        if let Some(batch) = self.batch(&rows)? {
            give(batch);
        }
        Ok(())
    }
}

/// One row: the parts of the key, then the fields of the value.
fn row_of(key: &impl Serialize, value: &impl Serialize) -> Result<Value> {
    let mut row = Map::new();
    match serde_json::to_value(key).map_err(external)? {
        Value::Array(parts) => {
            let named = parts.into_iter().enumerate();
            row.extend(named.map(|(place, part)| (format!("_key_{place}"), part)));
        }
        key => drop(row.insert("_key".to_owned(), key)),
    }
    match serde_json::to_value(value).map_err(external)? {
        Value::Object(fields) => row.extend(fields),
        value => drop(row.insert("value".to_owned(), value)),
    }
    Ok(Value::Object(row))
}

pub(super) fn external(error: impl std::error::Error + Send + Sync + 'static) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
