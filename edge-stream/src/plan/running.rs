//! `GROUP BY` without a window, whose groups are kept for ever.

use std::sync::Arc;

use datafusion::logical_expr::logical_plan::Aggregate as AggregateNode;

use super::groups::{Groups, not_as_a_job};
use super::lineage::Lineage;
use super::{Builder, Rows};
use crate::emit::Emit;
use crate::error::SqlError;
use crate::operator::Origin;
use crate::operator::running::{Keys, RunningAggregate};
use crate::operator::window::GroupColumn;

impl Builder<'_> {
    /// The groups, whose lineages these are, have no window among them.
    pub(super) fn running(
        &mut self,
        node: &AggregateNode,
        from: Origin,
        groups: &[Lineage],
        emit: Emit,
    ) -> Result<Rows, SqlError> {
        let input = node.input.schema();
        if let Some(place) = groups.iter().position(Lineage::is_event_time) {
            let time = &node.group_expr[place];
            let reason = format!("a group for each `{time}` would be kept for ever");
            return Err(self
                .emission
                .refuse(reason)
                .or("GROUP BY a window of it: FROM TUMBLE(..)"));
        }
        let groups = self.groups(node, groups, |_| Ok(None))?;
        let Groups { columns, keys, mut lineage, names } = groups;
        self.emission.set_running(names);
        lineage.extend(node.aggr_expr.iter().map(|_| Lineage::Aggregate));
        let aggregates = node.aggr_expr.iter().map(|expr| self.lower(expr, input));
        let aggregates = aggregates.collect::<Result<_, _>>()?;
        let columns = columns.iter().filter_map(|column| match column {
            GroupColumn::Key(key) => Some(*key),
            _ => None,
        });
        let output = Arc::clone(node.schema.inner());
        let keys = Keys { exprs: keys, columns: columns.collect(), output };
        let operator = RunningAggregate::new(keys, emit, aggregates, input.as_arrow());
        let operator = operator.map_err(|error| SqlError::planning(&error))?;
        operator.rehearse(input.as_arrow()).map_err(|error| not_as_a_job(&error))?;
        let from = self.flow.push(&[from], operator);
        self.emission.gives_out_again(from);
        Ok(Rows { from, lineage })
    }
}
