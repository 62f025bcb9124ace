//! `GROUP BY` over sessions as an operator.

use std::sync::Arc;

use datafusion::logical_expr::logical_plan::Aggregate as AggregateNode;
use datafusion::logical_expr::{Expr, lit};
use datafusion::scalar::ScalarValue;

use super::emit;
use super::groups::{BoundColumn, Groups, not_as_a_job, two_kinds};
use super::lineage::Lineage;
use super::{Builder, Rows};
use crate::error::SqlError;
use crate::operator::Origin;
use crate::operator::session::{Grouped, SessionAggregate};
use crate::sessions::Session;
use crate::windows::function::Side;

impl Builder<'_> {
    /// The groups, whose lineages these are, are those of sessions.
    pub(super) fn sessions(
        &mut self,
        node: &AggregateNode,
        from: Origin,
        groups: &[Lineage],
        of: Session,
    ) -> Result<Rows, SqlError> {
        let input = node.input.schema();
        let Groups { columns, keys, mut lineage, .. } = self.groups(node, groups, |group| {
            let session = match group {
                Lineage::Session(session) => session,
                Lineage::Bound(_) => return Err(two_kinds("SESSION")),
                _ => return Ok(None),
            };
            if session.gap_micros != of.gap_micros {
                return Err(two_kinds("SESSION"));
            }
            // Sessions to come end behind the watermark, but may begin in front of it.
            let (side, is_event_time) = (session.side, session.side == Side::End);
            Ok(Some(BoundColumn { side, is_unique: true, is_event_time }))
        })?;
        lineage.extend(node.aggr_expr.iter().map(|_| Lineage::Aggregate));
        let aggregates = node.aggr_expr.iter().map(|expr| self.lower(expr, input));
        let aggregates = aggregates.collect::<Result<_, _>>()?;
        let time = self.physical(&time_of(node, groups), input)?;
        let (hold_micros, deciding) = (emit::lateness(&node.input), Vec::new());
        let output = Arc::clone(node.schema.inner());
        let of_keys = Grouped { time, deciding, hold_micros, columns, keys, aggregates, output };
        let operator = SessionAggregate::new(of_keys, of.gap_micros, input.as_arrow());
        let operator = operator.map_err(|error| SqlError::planning(&error))?;
        operator.rehearse(input.as_arrow()).map_err(|error| not_as_a_job(&error))?;
        let from = self.flow.push(&[from], operator);
        Ok(Rows { from, lineage })
    }
}

/// The time of a row, from a bound of the session that it alone would make.
fn time_of(node: &AggregateNode, groups: &[Lineage]) -> Expr {
    let found = node.group_expr.iter().zip(groups).find_map(|(expr, group)| match group {
        Lineage::Session(session) => Some((expr.clone(), *session)),
        _ => None,
    });
    let (bound, session) = found.expect("sessions are among the groups");
    match session.side {
        Side::Start => bound,
        Side::End => {
            let nanos = session.gap_micros.saturating_mul(1000);
            bound - lit(ScalarValue::new_interval_mdn(0, 0, nanos))
        }
    }
}
