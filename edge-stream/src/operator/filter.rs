//! `WHERE` and `HAVING`: rows for which a condition holds.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::filter_record_batch;
use datafusion::common::cast::as_boolean_array;
use datafusion::physical_expr::PhysicalExpr;

use super::{Explain, Operator, Out};
use crate::error::OperatorError;

#[derive(Debug)]
pub(crate) struct Filter {
    condition: Arc<dyn PhysicalExpr>,
}

impl Filter {
    pub(crate) fn new(condition: Arc<dyn PhysicalExpr>) -> Filter {
        Filter { condition }
    }
}

impl Operator for Filter {
    fn explain(&self) -> Explain {
        Explain::stateless(format!("rows where {}", self.condition))
    }

    fn on_batch(
        &mut self,
        _: usize,
        batch: RecordBatch,
        out: &mut Out,
    ) -> Result<(), OperatorError> {
        let holds = self.condition.evaluate(&batch)?.into_array(batch.num_rows())?;
        out.push(filter_record_batch(&batch, as_boolean_array(&holds)?)?);
        Ok(())
    }
}
