//! `UNION ALL`.

use std::sync::Arc;

use datafusion::logical_expr::Union as UnionNode;

use super::lineage::Lineage;
use super::{Builder, Rows};
use crate::error::SqlError;
use crate::operator::Union;

impl Builder<'_> {
    pub(super) fn union(&mut self, union: &UnionNode) -> Result<Rows, SqlError> {
        let inputs = union.inputs.iter().map(|input| self.node(input));
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        let from: Vec<_> = inputs.iter().map(|input| input.from).collect();
        let schema = Arc::clone(union.schema.inner());
        // A column is what it is in all inputs, or nothing of its own.
        let lineage = (0..schema.fields().len()).map(|column| {
            let mut of = inputs.iter().map(|input| input.lineage[column].ungrouped());
            let first = of.next().unwrap_or(Lineage::Other);
            if of.all(|other| other == first) { first } else { Lineage::Other }
        });
        let lineage = lineage.collect();
        let from = self.flow.push(&from, Union::new(schema));
        Ok(Rows { from, lineage })
    }
}
