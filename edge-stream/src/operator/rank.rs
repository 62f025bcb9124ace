//! `OVER (PARTITION BY window_start ..)` over the result of a window: the best n of each, shares
//! of the whole.
//!
//! A window's rows come in one batch when it closes. So they can be put into any order, and
//! nothing is kept.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{
    SortColumn, SortOptions, concat, lexsort_to_indices, partition, take, take_record_batch,
};
use arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::window::WindowExpr;

use super::{Explain, Operator, Out};
use crate::error::OperatorError;

#[derive(Debug)]
pub(crate) struct Rank {
    keys: Vec<Arc<dyn PhysicalExpr>>,
    by: Vec<(Arc<dyn PhysicalExpr>, SortOptions)>,
    functions: Vec<Arc<dyn WindowExpr>>,
    output: SchemaRef,
}

impl Rank {
    pub(crate) fn new(
        keys: Vec<Arc<dyn PhysicalExpr>>,
        by: Vec<(Arc<dyn PhysicalExpr>, SortOptions)>,
        functions: Vec<Arc<dyn WindowExpr>>,
        output: SchemaRef,
    ) -> Rank {
        Rank { keys, by, functions, output }
    }

    fn sort_columns(&self, batch: &RecordBatch) -> Result<Vec<SortColumn>, DataFusionError> {
        let rows = batch.num_rows();
        let keys = self.keys.iter().map(|key| (key, SortOptions::default()));
        let by = self.by.iter().map(|(expr, options)| (expr, *options));
        let columns = keys.chain(by).map(|(expr, options)| {
            let values = expr.evaluate(batch)?.into_array(rows)?;
            Ok(SortColumn { values, options: Some(options) })
        });
        let mut columns = columns.collect::<Result<Vec<_>, DataFusionError>>()?;
        // Rows that are equal stay in the order in which they came.
        let place = u32::try_from(rows).map_err(|error| DataFusionError::External(error.into()))?;
        let values: ArrayRef = Arc::new(UInt32Array::from_iter_values(0..place));
        columns.push(SortColumn { values, options: None });
        Ok(columns)
    }
}

impl Operator for Rank {
    fn explain(&self) -> Explain {
        let names: Vec<_> = self.functions.iter().map(|function| function.name()).collect();
        Explain::stateless(format!("OVER the rows of a closed window: {}", names.join(", ")))
    }

    fn on_batch(
        &mut self,
        _: usize,
        batch: RecordBatch,
        out: &mut Out,
    ) -> Result<(), OperatorError> {
        let columns = self.sort_columns(&batch)?;
        let order = lexsort_to_indices(&columns, None)?;
        let keys = columns[..self.keys.len()].iter();
        let keys = keys.map(|column| take(&column.values, &order, None));
        let ranges = partition(&keys.collect::<Result<Vec<_>, _>>()?)?.ranges();
        let batch = take_record_batch(&batch, &order)?;
        let mut columns = batch.columns().to_vec();
        for function in &self.functions {
            let values =
                ranges.iter().map(|rows| function.evaluate(&batch.slice(rows.start, rows.len())));
            let values = values.collect::<Result<Vec<_>, _>>()?;
            let values: Vec<&dyn Array> = values.iter().map(AsRef::as_ref).collect();
            columns.push(concat(&values)?);
        }
        out.push(RecordBatch::try_new(SchemaRef::clone(&self.output), columns)?);
        Ok(())
    }
}
