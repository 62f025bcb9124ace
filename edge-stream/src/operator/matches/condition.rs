//! What `DEFINE` says about a variable, as an expression over values of rows of the match.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use datafusion::common::cast::as_boolean_array;
use datafusion::physical_expr::PhysicalExpr;

use crate::error::OperatorError;
use crate::matching::Reference;

/// When a row may be a variable.
#[derive(Debug)]
pub(crate) enum Condition {
    Always,
    /// It depends on the row alone, and is computed for many at once.
    Row(Computed),
    /// It looks back at other rows of the match.
    Rows(Computed),
}

/// An expression over values of rows that are referred to.
#[derive(Debug)]
pub(crate) struct Computed {
    /// A row, and which of its values: one for each column of `schema`.
    pub(crate) sources: Vec<(Reference, usize)>,
    pub(crate) schema: SchemaRef,
    pub(crate) expr: Arc<dyn PhysicalExpr>,
}

impl Computed {
    /// `value` gives the column of a source.
    pub(super) fn evaluate(
        &self,
        value: impl Fn(Reference, usize) -> Result<ArrayRef, OperatorError>,
        rows: usize,
    ) -> Result<ArrayRef, OperatorError> {
        let columns = self.sources.iter().map(|(row, number)| value(*row, *number));
        let columns = columns.collect::<Result<_, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let schema = SchemaRef::clone(&self.schema);
        let sources = RecordBatch::try_new_with_options(schema, columns, &options)?;
        Ok(self.expr.evaluate(&sources)?.into_array(rows)?)
    }

    /// Whether it is true of one row.
    pub(super) fn is_true(
        &self,
        value: impl Fn(Reference, usize) -> Result<ArrayRef, OperatorError>,
    ) -> Result<bool, OperatorError> {
        holds(&self.evaluate(value, 1)?, 0)
    }
}

/// Whether a column of conditions is true in a row.
pub(super) fn holds(column: &ArrayRef, row: usize) -> Result<bool, OperatorError> {
    let column = as_boolean_array(column)?;
    Ok(column.is_valid(row) && column.value(row))
}
