//! `SELECT`: columns computed from each row.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;

use super::{Explain, Operator, Out};
use crate::error::OperatorError;

#[derive(Debug)]
pub(crate) struct Project {
    columns: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
}

impl Project {
    pub(crate) fn new(columns: Vec<Arc<dyn PhysicalExpr>>, schema: SchemaRef) -> Project {
        Project { columns, schema }
    }
}

impl Operator for Project {
    fn explain(&self) -> Explain {
        let named = self.columns.iter().zip(self.schema.fields());
        let columns = named.map(|(column, field)| format!("{column} AS {}", field.name()));
        Explain::stateless(format!("columns {}", columns.collect::<Vec<_>>().join(", ")))
    }

    fn on_batch(
        &mut self,
        _: usize,
        batch: RecordBatch,
        out: &mut Out,
    ) -> Result<(), OperatorError> {
        let rows = batch.num_rows();
        let columns = self.columns.iter().map(|column| column.evaluate(&batch)?.into_array(rows));
        let columns = columns.collect::<Result<_, _>>()?;
        // Without columns there are still rows to be counted.
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let schema = SchemaRef::clone(&self.schema);
        out.push(RecordBatch::try_new_with_options(schema, columns, &options)?);
        Ok(())
    }
}
