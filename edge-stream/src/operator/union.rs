//! `UNION ALL`: the rows of several inputs, as they come.

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;

use super::{Explain, Operator, Out};
use crate::error::OperatorError;

#[derive(Debug)]
pub(crate) struct Union {
    schema: SchemaRef,
}

impl Union {
    pub(crate) fn new(schema: SchemaRef) -> Union {
        Union { schema }
    }
}

impl Operator for Union {
    fn explain(&self) -> Explain {
        Explain::stateless("rows of all inputs".to_owned())
    }

    fn on_batch(
        &mut self,
        _: usize,
        batch: RecordBatch,
        out: &mut Out,
    ) -> Result<(), OperatorError> {
        // Types are the same in all inputs; names are those of the first.
        let schema = SchemaRef::clone(&self.schema);
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let columns = batch.columns().to_vec();
        out.push(RecordBatch::try_new_with_options(schema, columns, &options)?);
        Ok(())
    }
}
