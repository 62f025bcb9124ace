//! What `MEASURES` says of matches.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::filter;
use arrow::datatypes::SchemaRef;
use datafusion::common::cast::as_boolean_array;
use datafusion::error::DataFusionError;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::scalar::ScalarValue;

use super::partition::Found;
use super::rows::{Kept, Place};
use crate::error::OperatorError;
use crate::matching::{Anchor, Reference};

/// A value of a match. Values of rows are told by their numbers.
#[derive(Debug)]
pub(crate) enum Source {
    Row {
        row: Reference,
        value: usize,
    },
    /// Over the rows of a variable, or of the whole match.
    Aggregate {
        variable: Option<usize>,
        function: Arc<AggregateFunctionExpr>,
        arguments: Vec<usize>,
        filter: Option<usize>,
    },
}

#[derive(Debug)]
pub(crate) struct Measures {
    pub(crate) sources: Vec<Source>,
    /// One column for each source.
    pub(crate) schema: SchemaRef,
    pub(crate) exprs: Vec<Arc<dyn PhysicalExpr>>,
}

impl Found {
    /// The rows of a variable, or all.
    fn rows_of(&self, variable: Option<usize>) -> impl DoubleEndedIterator<Item = Place> {
        let rows = self.rows.iter().zip(&self.variables);
        rows.filter(move |(_, own)| variable.is_none_or(|wanted| wanted == **own))
            .map(|(row, _)| *row)
    }

    fn row(&self, Reference { variable, anchor }: Reference) -> Option<Place> {
        let mut rows = self.rows_of(variable);
        match anchor {
            Anchor::First(behind) => rows.nth(behind as usize),
            Anchor::Last(in_front) => rows.nth_back(in_front as usize),
        }
    }
}

impl Measures {
    /// A column for each measure, with a row for each match. `first_value` is the column of the
    /// first value.
    pub(super) fn of(
        &self,
        found: &[Found],
        kept: &Kept,
        first_value: usize,
    ) -> Result<Vec<ArrayRef>, OperatorError> {
        let sources = self.sources.iter().map(|source| match source {
            Source::Row { row, value } => {
                let rows: Vec<_> = found.iter().map(|one| one.row(*row)).collect();
                kept.gather(&rows, first_value + value)
            }
            Source::Aggregate { variable, function, arguments, filter } => {
                let values = found.iter().map(|one| {
                    let rows: Vec<_> = one.rows_of(*variable).map(Some).collect();
                    let column = |value: &usize| kept.gather(&rows, first_value + value);
                    let arguments = arguments.iter().map(column).collect::<Result<_, _>>()?;
                    let filter = filter.as_ref().map(column).transpose()?;
                    aggregate(function, arguments, filter, rows.len())
                });
                let values = values.collect::<Result<Vec<_>, OperatorError>>()?;
                Ok(ScalarValue::iter_to_array(values)?)
            }
        });
        let sources = sources.collect::<Result<Vec<_>, OperatorError>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(found.len()));
        let schema = SchemaRef::clone(&self.schema);
        let sources = RecordBatch::try_new_with_options(schema, sources, &options)?;
        let measures = self.exprs.iter();
        let measures = measures.map(|expr| expr.evaluate(&sources)?.into_array(found.len()));
        Ok(measures.collect::<Result<_, DataFusionError>>()?)
    }
}

fn aggregate(
    function: &AggregateFunctionExpr,
    mut arguments: Vec<ArrayRef>,
    is_in: Option<ArrayRef>,
    rows: usize,
) -> Result<ScalarValue, OperatorError> {
    if let Some(is_in) = is_in {
        let is_in = as_boolean_array(&is_in)?;
        let kept = arguments.iter().map(|argument| filter(argument, is_in));
        arguments = kept.collect::<Result<_, _>>()?;
    }
    let mut accumulator = function.create_accumulator()?;
    if rows > 0 {
        accumulator.update_batch(&arguments)?;
    }
    Ok(accumulator.evaluate()?)
}
