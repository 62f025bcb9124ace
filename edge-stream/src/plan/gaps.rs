//! What fills the gaps of windows as an operator.

use datafusion::logical_expr::LogicalPlan;

use super::lineage::Lineage;
use super::{Builder, Rows, refusal};
use crate::error::SqlError;
use crate::gaps::gap_fill;

impl Builder<'_> {
    pub(super) fn extension(&mut self, plan: &LogicalPlan) -> Result<Rows, SqlError> {
        let Some(gaps) = gap_fill(plan) else { return Err(refusal(plan)) };
        let Rows { from, mut lineage } = self.node(&gaps.input)?;
        let arguments = gaps.arguments(|expr, input| self.physical(expr, input))?;
        let operator = gaps.operator(arguments).map_err(|error| SqlError::planning(&error))?;
        let from = self.flow.push(&[from], operator);
        lineage.resize(plan.schema().fields().len(), Lineage::Aggregate);
        Ok(Rows { from, lineage })
    }
}
