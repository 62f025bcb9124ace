//! Record batches of a table's rows.

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, SchemaRef};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::{RowError, SchemaError, external};
use super::key::KeyColumns;
use super::schema::RowSchema;
use super::value::ValueBuilder;
use crate::Rows;
use crate::error::ReadError;

/// More rows could have more bytes of keys, of 64 KiB each, than a column of text counts.
const MAX_ROWS: usize = 32 * 1024;

/// Rows of a [`Table`](crate::Table) as record batches, from [`Rows::record_batches`] or
/// [`RowSchema::record_batches`].
///
/// All of one moment, as the [`Rows`] are; rows that have expired are not among them. Each batch
/// has at least one row.
///
/// An error is a [`ReadError`] or a [`RowError`] in [`ArrowError::ExternalError`]; nothing comes
/// after one.
#[must_use]
pub struct RowBatches<K: KeyColumns, I> {
    rows: Option<I>,
    schema: SchemaRef,
    keys: K::Builder,
    values: ValueBuilder,
    max_rows: usize,
}

impl<K: KeyColumns, V: Serialize + DeserializeOwned> Rows<K, V> {
    /// The rows that are left, in this order, as Arrow record batches of at most `max_rows` rows,
    /// with the columns of [`RowSchema::new`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let db = edge_db::Db::open(dir.path())?;
    /// let rooms = db.table::<String, f64>("rooms")?;
    /// let mut batch = db.batch();
    /// batch.insert(&rooms, &"lab".into(), &21.5)?;
    /// batch.commit()?;
    /// let snapshot = db.snapshot()?;
    /// for batch in snapshot.iter(&rooms)?.record_batches(8192)? {
    ///     assert_eq!(batch?.num_rows(), 1);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the types do not tell their columns.
    pub fn record_batches(self, max_rows: usize) -> Result<RowBatches<K, Rows<K, V>>, SchemaError> {
        RowSchema::new()?.record_batches(self, max_rows)
    }
}

impl<K: KeyColumns, I> RowBatches<K, I> {
    pub(super) fn new(
        rows: I,
        schema: SchemaRef,
        values: ValueBuilder,
        max_rows: usize,
    ) -> RowBatches<K, I> {
        let max_rows = max_rows.clamp(1, MAX_ROWS);
        RowBatches { rows: Some(rows), schema, keys: K::Builder::default(), values, max_rows }
    }
}

impl<K, V, I> RowBatches<K, I>
where
    K: KeyColumns,
    V: Serialize,
    I: Iterator<Item = Result<(K, V), ReadError>>,
{
    /// The next batch; empty when there are no more rows.
    fn read(&mut self) -> Result<RecordBatch, ArrowError> {
        for row in self.rows.iter_mut().flatten().take(self.max_rows) {
            let (key, value) = row.map_err(external)?;
            self.values.push(&value).map_err(|source| {
                let key = format!("{key:?}");
                external(RowError { key, source })
            })?;
            key.append(&mut self.keys);
        }
        let mut columns = K::finish(&mut self.keys);
        columns.extend(self.values.finish().map_err(external)?);
        RecordBatch::try_new(SchemaRef::clone(&self.schema), columns)
    }
}

impl<K, V, I> Iterator for RowBatches<K, I>
where
    K: KeyColumns,
    V: Serialize,
    I: Iterator<Item = Result<(K, V), ReadError>>,
{
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.rows.as_ref()?;
        match self.read() {
            Ok(batch) => {
                if batch.num_rows() < self.max_rows {
                    self.rows = None;
                }
                (batch.num_rows() > 0).then_some(Ok(batch))
            }
            Err(error) => {
                self.rows = None;
                Some(Err(error))
            }
        }
    }
}

impl<K, V, I> RecordBatchReader for RowBatches<K, I>
where
    K: KeyColumns,
    V: Serialize,
    I: Iterator<Item = Result<(K, V), ReadError>>,
{
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }
}

impl<K: KeyColumns, I> std::fmt::Debug for RowBatches<K, I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowBatches").field("schema", &self.schema).finish_non_exhaustive()
    }
}
