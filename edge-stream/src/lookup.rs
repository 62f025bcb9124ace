//! Tables that a job looks rows up in, by their key.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;

/// Finds rows by the key of a table.
pub(crate) trait Lookup: Debug + Send + Sync {
    /// The columns of the key, among those of the table.
    fn key(&self) -> &[usize];

    /// Looks up each row of `keys`, which are columns of the types of the key, all at one moment.
    /// It may wait for the disk.
    fn find(&self, keys: &[ArrayRef]) -> Result<Found>;
}

/// What a look-up has found.
#[derive(Debug)]
pub(crate) struct Found {
    /// Rows with all columns of the table.
    pub(crate) rows: RecordBatch,
    /// For each key the place of its row among them; null where there is none.
    pub(crate) places: UInt32Array,
}

/// A table under its name in a query: rows for bounded queries, and look-ups for jobs.
#[derive(Debug, Clone)]
pub(crate) struct LookupTable {
    pub(crate) name: String,
    pub(crate) rows: Arc<dyn TableProvider>,
    pub(crate) lookup: Arc<dyn Lookup>,
}

#[async_trait]
impl TableProvider for LookupTable {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    fn table_type(&self) -> TableType {
        self.rows.table_type()
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.rows.scan(state, projection, filters, limit).await
    }
}
