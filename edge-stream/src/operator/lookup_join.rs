//! `JOIN` of a stream with a table: each row with the row of the table that its key has at the
//! moment when it is processed. Nothing is kept.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{CastOptions, kernels::cmp::eq};
use arrow::compute::{and, cast_with_options, filter_record_batch, is_not_null, nullif, take};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::cast::as_boolean_array;
use datafusion::error::DataFusionError;
use datafusion::physical_expr::PhysicalExpr;

use super::{Explain, Operator, Out};
use crate::error::OperatorError;
use crate::lookup::Lookup;

/// What a part of the table's key equals.
#[derive(Debug)]
pub(crate) struct KeyPart {
    pub(crate) value: Arc<dyn PhysicalExpr>,
    /// The type of the key's column.
    pub(crate) kind: DataType,
}

#[derive(Debug)]
pub(crate) struct LookupJoin {
    pub(crate) lookup: Arc<dyn Lookup>,
    /// One for each column of the key, in its order.
    pub(crate) key: Vec<KeyPart>,
    /// The columns of the table that are wanted.
    pub(crate) columns: Vec<usize>,
    /// What else must hold for a pair, over the columns of both.
    pub(crate) filter: Option<Arc<dyn PhysicalExpr>>,
    /// Whether rows that the table has nothing for come out too.
    pub(crate) is_outer: bool,
    /// Columns of the stream, then of the table.
    pub(crate) output: SchemaRef,
}

impl KeyPart {
    /// The values in the type of the key; null where it has no such value.
    fn values(&self, rows: &RecordBatch) -> Result<ArrayRef, DataFusionError> {
        let values = self.value.evaluate(rows)?.into_array(rows.num_rows())?;
        if *values.data_type() == self.kind {
            return Ok(values);
        }
        let options = CastOptions { safe: true, ..CastOptions::default() };
        let cast = |values: &ArrayRef, kind| cast_with_options(values, kind, &options);
        let keys = cast(&values, &self.kind)?;
        // 1.5 is no whole number, and finds none.
        let is_other = arrow::compute::not(&eq(&cast(&keys, values.data_type())?, &values)?)?;
        Ok(nullif(&keys, &is_other)?)
    }
}

impl LookupJoin {
    fn joined(
        &self,
        stream: &RecordBatch,
        table: &RecordBatch,
        places: &UInt32Array,
    ) -> Result<RecordBatch, OperatorError> {
        let looked_up = self.columns.iter().map(|column| take(table.column(*column), places, None));
        let columns = stream.columns().iter().cloned().map(Ok).chain(looked_up);
        let columns = columns.collect::<Result<_, _>>()?;
        Ok(RecordBatch::try_new(SchemaRef::clone(&self.output), columns)?)
    }

    /// Which rows are in a pair.
    fn holds(
        &self,
        joined: &RecordBatch,
        found: &BooleanArray,
    ) -> Result<BooleanArray, OperatorError> {
        let Some(filter) = &self.filter else { return Ok(found.clone()) };
        let holds = filter.evaluate(joined)?.into_array(joined.num_rows())?;
        let holds = as_boolean_array(&holds)?;
        let is_true = holds.iter().map(|holds| Some(holds == Some(true))).collect();
        Ok(and(&is_true, found)?)
    }
}

impl Operator for LookupJoin {
    fn explain(&self) -> Explain {
        let key: Vec<_> = self.key.iter().map(|part| part.value.to_string()).collect();
        Explain::stateless(format!("look up in a table by {}", key.join(", ")))
    }

    fn on_batch(
        &mut self,
        _: usize,
        batch: RecordBatch,
        out: &mut Out,
    ) -> Result<(), OperatorError> {
        let keys = self.key.iter().map(|part| part.values(&batch));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        let found = self.lookup.find(&keys)?;
        let is_found = is_not_null(&found.places)?;
        // Only columns of the table may be null where nothing is found, so these come first.
        let (stream, places) = match self.is_outer {
            true => (batch, found.places),
            false => {
                let places: ArrayRef = Arc::new(found.places);
                let places = arrow::compute::filter(&places, &is_found)?;
                (filter_record_batch(&batch, &is_found)?, places.as_primitive().clone())
            }
        };
        let joined = self.joined(&stream, &found.rows, &places)?;
        let holds = self.holds(&joined, &is_not_null(&places)?)?;
        if !self.is_outer {
            out.push(filter_record_batch(&joined, &holds)?);
        } else if self.filter.is_none() {
            out.push(joined);
        } else {
            let others = arrow::compute::not(&holds)?;
            let places = nullif(&places, &others)?;
            out.push(self.joined(&stream, &found.rows, places.as_primitive())?);
        }
        Ok(())
    }
}
