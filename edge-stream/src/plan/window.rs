//! `GROUP BY` as a window operator.

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::logical_expr::logical_plan::Aggregate as AggregateNode;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, lit};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::scalar::ScalarValue;

use super::emit;
use super::groups::{BoundColumn, Groups, lowered, not_as_a_job};
use super::lineage::{self, Bound, Lineage};
use super::{Builder, Rows};
use crate::emit::Emit;
use crate::error::SqlError;
use crate::operator::window::{Aggregate, Grouping, Timing, WindowAggregate};
use crate::windows::function::Side;
use crate::windows::{Shape, Windows};

/// Windows that a row may lie in, if its groups come out again and again.
const MAX_OVERLAP: i64 = 64;

impl Builder<'_> {
    pub(super) fn aggregate(&mut self, node: &AggregateNode) -> Result<Rows, SqlError> {
        let Rows { from, lineage: below } = self.node(&node.input)?;
        let input = node.input.schema();
        if node.group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_))) {
            let reason = "ROLLUP, CUBE and GROUPING SETS are not there yet";
            return Err(SqlError::statement(None, reason).or("create a view for each grouping"));
        }
        let groups: Vec<_> =
            node.group_expr.iter().map(|expr| lineage::of(expr, input, &below)).collect();
        lineage::check_spread(node.group_expr.iter().chain(&node.aggr_expr), input, &below)?;
        let session = groups.iter().find_map(|group| match group {
            Lineage::Session(session) => Some(*session),
            _ => None,
        });
        let emit = self.emission.of(node)?;
        if let Some(session) = session {
            if emit != Emit::OnWindowClose {
                let reason =
                    "the bounds of a session, which tell its row apart, change with each row";
                return Err(self
                    .emission
                    .refuse(reason)
                    .or("leave EMIT out: sessions come out once, when they have ended"));
            }
            return self.sessions(node, from, &groups, session);
        }
        let is_window =
            |group: &Lineage| matches!(group, Lineage::Bound(_) | Lineage::ForeignBound);
        if emit != Emit::OnWindowClose && !groups.iter().any(is_window) {
            return self.running(node, from, &groups, emit);
        }
        let (window_expr, window) = self.window_of(node, &groups, &below)?;

        let Groups { columns, keys, mut lineage, .. } = self.groups(node, &groups, |group| {
            let Lineage::Bound(bound) = group else { return Ok(None) };
            if bound.windows != window.windows {
                let reason = "the query groups by windows of two kinds";
                return Err(SqlError::statement(None, reason).or("use one TUMBLE or HOP"));
            }
            let is_unique = bound.windows.shape != Shape::Cumulate || bound.side == Side::End;
            Ok(Some(BoundColumn { side: bound.side, is_unique, is_event_time: true }))
        })?;
        if !lineage.iter().any(Lineage::is_unique) {
            let reason = "windows of CUMULATE that begin together are told apart by their ends";
            return Err(SqlError::statement(None, reason).or("GROUP BY window_start, window_end"));
        }
        lineage.extend(node.aggr_expr.iter().map(|_| Lineage::Aggregate));

        let aggregates = node.aggr_expr.iter().map(|expr| self.lower(expr, input));
        let aggregates = aggregates.collect::<Result<_, _>>()?;
        let pane = self.pane(window_expr, window, input)?;
        let (windows, output) = (window.windows, Arc::clone(node.schema.inner()));
        let timing = self.timing(node, emit, window.windows)?;
        let grouping = Grouping { pane, windows, columns, keys, timing, output };
        let operator = WindowAggregate::new(grouping, aggregates, input.as_arrow());
        let operator = operator.map_err(|error| SqlError::planning(&error))?;
        operator.rehearse(input.as_arrow()).map_err(|error| not_as_a_job(&error))?;
        let from = self.flow.push(&[from], operator);
        if timing.gives_out_again() {
            self.emission.gives_out_again(from);
        }
        Ok(Rows { from, lineage })
    }

    fn timing(
        &self,
        node: &AggregateNode,
        emit: Emit,
        windows: Windows,
    ) -> Result<Timing, SqlError> {
        let overlap = windows.overlap();
        if emit != Emit::OnWindowClose && overlap > MAX_OVERLAP {
            let reason = format!(
                "each change of a row would be {overlap} rows, as {windows} lie over each other"
            );
            return Err(self.emission.refuse(reason).or(format!(
                "leave EMIT out, use TUMBLE, or at most {MAX_OVERLAP} windows over each other"
            )));
        }
        let lateness = emit::lateness(&node.input);
        // Who takes windows in from here takes them for final.
        let comes_again = self.emission.is_outermost(node) && overlap <= MAX_OVERLAP;
        let (hold_micros, keep_micros) = if comes_again { (0, lateness) } else { (lateness, 0) };
        Ok(Timing { emit, hold_micros, keep_micros })
    }

    /// The window that groups are made for; without one they would have to be kept for ever.
    fn window_of<'a>(
        &self,
        node: &'a AggregateNode,
        groups: &[Lineage],
        below: &[Lineage],
    ) -> Result<(&'a Expr, Bound), SqlError> {
        let found = node.group_expr.iter().zip(groups).find_map(|(expr, group)| match group {
            Lineage::Bound(bound) => Some((expr, *bound)),
            _ => None,
        });
        if let Some(found) = found {
            return Ok(found);
        }
        let stream = self.sources.first().map_or("stream", |scan| &scan.stream);
        let refuse = |reason: String, would_work: String| {
            Err(SqlError::statement(None, reason).or(would_work))
        };
        if below.iter().any(Lineage::is_grouped) {
            return refuse(
                "GROUP BY over the result of windows needs windows, too".to_owned(),
                "name the inner query by WITH, and write FROM TUMBLE(name, \
                 DESCRIPTOR(ts), INTERVAL '1 hour'), where ts is its window_start, or of sessions \
                 its window_end; or EMIT CHANGES behind the outermost GROUP BY"
                    .to_owned(),
            );
        }
        if groups.contains(&Lineage::ForeignBound) {
            return refuse(
                format!(
                    "windows close by the watermark, and this one is not over its column of `{stream}`"
                ),
                "use the column of WATERMARK FOR in TUMBLE, or declare a watermark".to_owned(),
            );
        }
        refuse(
            "GROUP BY without a window would keep every group for ever".to_owned(),
            self.emission.without_window(stream),
        )
    }

    /// Where the pane of each row begins. The bounds of windows that lie over each other say that
    /// already.
    fn pane(
        &self,
        expr: &Expr,
        bound: Bound,
        input: &DFSchema,
    ) -> Result<Arc<dyn PhysicalExpr>, SqlError> {
        let is_end = bound.windows.shape == Shape::Tumble && bound.side == Side::End;
        if !is_end {
            return self.physical(expr, input);
        }
        let nanos = bound.windows.size.saturating_mul(1000);
        let size = ScalarValue::new_interval_mdn(0, 0, nanos);
        self.physical(&(expr.clone() - lit(size)), input)
    }

    pub(super) fn lower(&self, expr: &Expr, input: &DFSchema) -> Result<Aggregate, SqlError> {
        let (props, context) = (self.state.execution_props(), PhysicalPlanningContext::default());
        lowered(expr, input, props, &context).map_err(|error| SqlError::planning(&error))
    }
}
