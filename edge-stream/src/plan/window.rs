//! `GROUP BY` as a window operator.

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::logical_expr::logical_plan::Aggregate as AggregateNode;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, lit};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::LoweredAggregateBuilder;
use datafusion::scalar::ScalarValue;

use super::groups::{BoundColumn, Groups};
use super::lineage::{self, Bound, Lineage};
use super::{Builder, Rows};
use crate::error::SqlError;
use crate::operator::window::{Aggregate, Grouping, WindowAggregate};
use crate::windows::Shape;
use crate::windows::function::Side;

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
        if let Some(session) = session {
            return self.sessions(node, from, &groups, session);
        }
        let (window_expr, window) = self.window_of(node, &groups, &below)?;

        let Groups { columns, keys, mut lineage } = self.groups(node, &groups, |group| {
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
        let grouping = Grouping { pane, windows, columns, keys, output };
        let operator = WindowAggregate::new(grouping, aggregates, input.as_arrow());
        let operator = operator.map_err(|error| SqlError::planning(&error))?;
        if let Err(error) = operator.rehearse(input.as_arrow()) {
            let reason = format!("this GROUP BY cannot run as a job: {error}");
            return Err(
                SqlError::statement(None, reason).or("use it in the SELECT that reads the view")
            );
        }
        let from = self.flow.push(&[from], operator);
        Ok(Rows { from, lineage })
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
                 its window_end"
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
            format!(
                "write FROM TUMBLE({stream}, DESCRIPTOR(time_column), INTERVAL '1 minute') and \
                 GROUP BY window_start, .."
            ),
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
        let lowered = LoweredAggregateBuilder::new(expr, input, input.as_arrow(), props, &context);
        let lowered = lowered.build().map_err(|error| SqlError::planning(&error))?;
        let function = lowered.aggregate;
        let mut arguments = function.expressions();
        // Aggregates that depend on the order of rows take what they order by as arguments too.
        arguments.extend(function.order_bys().iter().map(|order| Arc::clone(&order.expr)));
        Ok(Aggregate { function, arguments, filter: lowered.filter })
    }
}
