//! What a key carries on from row to row.

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::DataType;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::Accumulator;
use datafusion::scalar::ScalarValue;

use super::function::Function;

/// What a key carries on for one function.
#[derive(Debug)]
pub(super) enum Carried {
    Nothing,
    Count(u64),
    /// A value, once there is one.
    Value(Option<ScalarValue>),
    Accumulator(Box<dyn Accumulator>),
}

impl Carried {
    /// As values of one row.
    pub(super) fn state(
        &mut self,
        of: &Function,
        columns: &[DataType],
    ) -> Result<Vec<ScalarValue>, DataFusionError> {
        Ok(match self {
            Carried::Nothing => vec![],
            Carried::Count(count) => vec![ScalarValue::UInt64(Some(*count))],
            Carried::Value(value) => {
                let is_there = ScalarValue::Boolean(Some(value.is_some()));
                let null = || match of {
                    Function::Changed { argument, .. } | Function::Value { argument, .. } => {
                        ScalarValue::try_from(&columns[*argument])
                    }
                    _ => Ok(ScalarValue::Null),
                };
                vec![is_there, value.clone().map_or_else(null, Ok)?]
            }
            Carried::Accumulator(accumulator) => accumulator.state()?,
        })
    }

    /// Takes over one row of what [`Carried::state`] gave.
    pub(super) fn restore(
        &mut self,
        columns: &[ArrayRef],
        row: usize,
    ) -> Result<(), DataFusionError> {
        match self {
            Carried::Nothing => {}
            Carried::Count(count) => {
                if let ScalarValue::UInt64(Some(stored)) =
                    ScalarValue::try_from_array(&columns[0], row)?
                {
                    *count = stored;
                }
            }
            Carried::Value(value) => {
                let is_there = columns[0].as_boolean().value(row);
                let stored = || ScalarValue::try_from_array(&columns[1], row);
                *value = is_there.then(stored).transpose()?;
            }
            Carried::Accumulator(accumulator) => {
                let rows: Vec<_> = columns.iter().map(|column| column.slice(row, 1)).collect();
                accumulator.merge_batch(&rows)?;
            }
        }
        Ok(())
    }
}
