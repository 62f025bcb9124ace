//! A batch of rows, evaluated and brought into the order of panes.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions,
    TimestampMicrosecondArray, UInt32Array, new_null_array,
};
use arrow::compute::take;
use arrow::datatypes::{Schema, TimestampMicrosecondType};
use datafusion::common::cast::as_boolean_array;
use datafusion::error::DataFusionError;
use datafusion::physical_expr::PhysicalExpr;

use super::pane::{Aggregate, Rows};
use crate::error::OperatorError;
use crate::operator::buckets::buckets_of;

/// A row to try out an operator with when its query is planned.
pub(in crate::operator) fn row_of_nulls(input: &Schema) -> Result<RecordBatch, OperatorError> {
    let fields = input.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let columns = schema.fields().iter().map(|field| new_null_array(field.data_type(), 1));
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let columns = columns.collect();
    Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
}

/// What the expressions gave for one batch.
pub(in crate::operator) struct Evaluated {
    /// Where each row's pane begins; where each key has windows of its own the row's time, without
    /// windows the number of its bucket.
    starts: ArrayRef,
    pub(in crate::operator) keys: Vec<ArrayRef>,
    /// What rows open and close windows by.
    deciding: Vec<ArrayRef>,
    arguments: Vec<Vec<ArrayRef>>,
    filters: Vec<Option<ArrayRef>>,
}

impl Evaluated {
    /// All expressions of an operator, for the whole batch at once.
    pub(in crate::operator) fn new(
        pane: &Arc<dyn PhysicalExpr>,
        keys: &[Arc<dyn PhysicalExpr>],
        aggregates: &[Aggregate],
        batch: &RecordBatch,
    ) -> Result<Evaluated, OperatorError> {
        let starts = pane.evaluate(batch)?.into_array(batch.num_rows())?;
        Evaluated::with_starts(|_| Ok(starts), keys, aggregates, batch)
    }

    /// The same without windows: rows lie in buckets by their keys.
    pub(in crate::operator) fn in_buckets(
        keys: &[Arc<dyn PhysicalExpr>],
        aggregates: &[Aggregate],
        batch: &RecordBatch,
    ) -> Result<Evaluated, OperatorError> {
        let buckets = |keys: &[ArrayRef]| -> Result<ArrayRef, DataFusionError> {
            let buckets = buckets_of(keys, batch.num_rows())?;
            Ok(Arc::new(TimestampMicrosecondArray::from(buckets)))
        };
        Evaluated::with_starts(buckets, keys, aggregates, batch)
    }

    fn with_starts(
        starts: impl FnOnce(&[ArrayRef]) -> Result<ArrayRef, DataFusionError>,
        keys: &[Arc<dyn PhysicalExpr>],
        aggregates: &[Aggregate],
        batch: &RecordBatch,
    ) -> Result<Evaluated, OperatorError> {
        let rows = batch.num_rows();
        let column = |expr: &Arc<dyn PhysicalExpr>| expr.evaluate(batch)?.into_array(rows);
        let columns = |exprs: &[Arc<dyn PhysicalExpr>]| {
            exprs.iter().map(column).collect::<Result<Vec<_>, DataFusionError>>()
        };
        let (mut arguments, mut filters) = (Vec::new(), Vec::new());
        for aggregate in aggregates {
            arguments.push(columns(&aggregate.arguments)?);
            filters.push(aggregate.filter.as_ref().map(column).transpose()?);
        }
        let (keys, deciding) = (columns(keys)?, Vec::new());
        Ok(Evaluated { starts: starts(&keys)?, keys, deciding, arguments, filters })
    }

    /// The same with what rows open and close windows by.
    pub(in crate::operator) fn with_deciding(
        mut self,
        deciding: &[Arc<dyn PhysicalExpr>],
        batch: &RecordBatch,
    ) -> Result<Evaluated, OperatorError> {
        for expr in deciding {
            self.deciding.push(expr.evaluate(batch)?.into_array(batch.num_rows())?);
        }
        Ok(self)
    }

    /// What `pane` gave for each row, or its bucket.
    pub(in crate::operator) fn starts(&self) -> &[i64] {
        self.starts.as_primitive::<TimestampMicrosecondType>().values()
    }

    /// Brings rows of one pane together, in the order in which they came. Rows mostly come in
    /// that order, and then this costs one look at each.
    pub(in crate::operator) fn sort_by_pane(&mut self) -> Result<(), OperatorError> {
        let starts = self.starts();
        if starts.is_sorted() {
            return Ok(());
        }
        let rows = u32::try_from(starts.len()).expect("batches have at most some thousand rows");
        let mut order: Vec<u32> = (0..rows).collect();
        order.sort_by_key(|row| starts[*row as usize]);
        self.reorder(&order.into())
    }

    /// Brings rows into an order of their places.
    pub(in crate::operator) fn reorder(
        &mut self,
        order: &UInt32Array,
    ) -> Result<(), OperatorError> {
        let arguments = self.arguments.iter_mut().flatten();
        let filters = self.filters.iter_mut().flatten();
        let columns = std::iter::once(&mut self.starts).chain(&mut self.keys);
        for column in columns.chain(&mut self.deciding).chain(arguments).chain(filters) {
            *column = take(&*column, order, None)?;
        }
        Ok(())
    }

    /// Each pane's start and rows.
    pub(in crate::operator) fn panes(&self) -> Vec<(i64, std::ops::Range<usize>)> {
        let mut end = 0;
        let runs = self.starts().chunk_by(|a, b| a == b);
        runs.map(|run| {
            end += run.len();
            (run[0], end - run.len()..end)
        })
        .collect()
    }

    pub(in crate::operator) fn slice(
        &self,
        range: std::ops::Range<usize>,
    ) -> Result<Rows, OperatorError> {
        let (from, len) = (range.start, range.len());
        let slice = |column: &ArrayRef| column.slice(from, len);
        let slices = |columns: &Vec<ArrayRef>| columns.iter().map(slice).collect();
        let filters = self.filters.iter().map(|filter| match filter {
            None => Ok(None),
            Some(filter) => as_boolean_array(&slice(filter)).cloned().map(Some),
        });
        let filters = filters.collect::<Result<Vec<Option<BooleanArray>>, DataFusionError>>()?;
        let arguments = self.arguments.iter().map(slices).collect();
        let (keys, deciding) = (slices(&self.keys), slices(&self.deciding));
        Ok(Rows { len, keys, deciding, arguments, filters })
    }
}
