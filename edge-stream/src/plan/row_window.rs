//! `GROUP BY` over windows that rows open and close, as an operator.

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::groups::{not_as_a_job, two_kinds};
use super::lineage::{self, Lineage};
use super::{Builder, Rows, emit};
use crate::error::SqlError;
use crate::operator::row_window::RowAggregate;
use crate::row_windows::node::{Role, RowWindowNode, row_windows};
use crate::windows::function::Side;

impl Builder<'_> {
    /// A node that is ours; `None` if it is not.
    pub(super) fn row_windows(&mut self, plan: &LogicalPlan) -> Result<Option<Rows>, SqlError> {
        let Some(node) = row_windows(plan) else { return Ok(None) };
        let below = self.node(&node.aggregate.input)?;
        let input = node.aggregate.input.schema();
        let exprs = node.aggregate.group_expr.iter().chain(&node.aggregate.aggr_expr);
        lineage::check_spread(exprs, input, &below.lineage)?;
        self.check_groups(node, &below.lineage)?;

        let hold_micros = emit::lateness(&node.aggregate.input);
        let physical = |expr: &Expr, input: &DFSchema| self.physical(expr, input);
        let lowered = |expr: &Expr, input: &DFSchema| self.lower(expr, input);
        let grouped = node.grouped(hold_micros, physical, lowered)?;
        let operator = RowAggregate::new(grouped, node.windows, input.as_arrow());
        let operator = operator.map_err(|error| SqlError::planning(&error))?;
        operator.rehearse(input.as_arrow()).map_err(|error| not_as_a_job(&error))?;
        let from = self.flow.push(&[below.from], operator);
        Ok(Some(Rows { from, lineage: lineage_of(node) }))
    }

    /// That the windows are over event time, and no others are among the groups.
    fn check_groups(&self, node: &RowWindowNode, below: &[Lineage]) -> Result<(), SqlError> {
        let input = node.aggregate.input.schema();
        for (expr, role) in node.groups() {
            match (role, lineage::of(expr, input, below)) {
                (Role::Bound(_), Lineage::EventTime) => {}
                (Role::Bound(_), _) => {
                    let stream = self.sources.first().map_or("stream", |scan| &scan.stream);
                    let reason = format!(
                        "{} goes by event time, and this one is not over that of `{stream}`",
                        node.name
                    );
                    return Err(SqlError::statement(None, reason)
                        .or("use the column of WATERMARK FOR, or declare a watermark"));
                }
                (_, Lineage::Bound(_) | Lineage::Session(_) | Lineage::ForeignBound) => {
                    return Err(two_kinds(node.name));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn lineage_of(node: &RowWindowNode) -> Vec<Lineage> {
    let keys = node.groups().filter(|(_, role)| *role == Role::Key);
    let names: Arc<[String]> = keys.map(|(expr, _)| expr.schema_name().to_string()).collect();
    let mut keys = 0..;
    let groups = node.groups().map(|(_, role)| match role {
        Role::Key => keys.next().map_or(Lineage::Other, Lineage::GroupKey),
        Role::Value => Lineage::Aggregate,
        Role::Bound(side) => Lineage::GroupWindow {
            is_unique: true,
            // Windows to come end at the watermark or behind it, but may begin in front of it.
            is_event_time: side == Side::End,
            keys: Arc::clone(&names),
        },
    });
    let aggregates = node.aggregate.aggr_expr.iter().map(|_| Lineage::Aggregate);
    groups.chain(aggregates).collect()
}
