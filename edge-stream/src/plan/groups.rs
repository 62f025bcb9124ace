//! What a `GROUP BY` groups by: bounds of windows, and keys.

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::logical_plan::Aggregate as AggregateNode;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::LoweredAggregateBuilder;

use super::Builder;
use super::lineage::Lineage;
use crate::error::{OperatorError, SqlError};
use crate::operator::window::{Aggregate, GroupColumn};
use crate::windows::function::Side;

/// The columns of the answer in front of the aggregates.
pub(super) struct Groups {
    pub(super) columns: Vec<GroupColumn>,
    pub(super) keys: Vec<Arc<dyn PhysicalExpr>>,
    pub(super) lineage: Vec<Lineage>,
    /// Of the keys.
    pub(super) names: Arc<[String]>,
}

/// Why a `GROUP BY` that DataFusion could run cannot be a job.
pub(super) fn not_as_a_job(error: &OperatorError) -> SqlError {
    let reason = format!("this GROUP BY cannot run as a job: {error}");
    SqlError::statement(None, reason).or("use it in the SELECT that reads the view")
}

/// That bounds of different windows are among the groups.
pub(super) fn two_kinds(window: &str) -> SqlError {
    let reason = "the query groups by windows of two kinds";
    SqlError::statement(None, reason).or(format!("use one {window}"))
}

/// An aggregate, over what rows come in as.
pub(crate) fn lowered(
    expr: &Expr,
    input: &DFSchema,
    props: &ExecutionProps,
    context: &PhysicalPlanningContext,
) -> Result<Aggregate, DataFusionError> {
    let lowered = LoweredAggregateBuilder::new(expr, input, input.as_arrow(), props, context);
    let lowered = lowered.build()?;
    let function = lowered.aggregate;
    let mut arguments = function.expressions();
    // Aggregates that depend on the order of rows take what they order by as arguments too.
    arguments.extend(function.order_bys().iter().map(|order| Arc::clone(&order.expr)));
    Ok(Aggregate { function, arguments, filter: lowered.filter })
}

/// A bound of windows among the groups.
pub(super) struct BoundColumn {
    pub(super) side: Side,
    /// Whether no two windows of one key have it in common.
    pub(super) is_unique: bool,
    /// Whether windows over the answer may be over it.
    pub(super) is_event_time: bool,
}

impl Builder<'_> {
    /// `bound` knows the bounds of windows among the groups, whose lineages these are.
    pub(super) fn groups(
        &self,
        node: &AggregateNode,
        lineages: &[Lineage],
        bound: impl Fn(&Lineage) -> Result<Option<BoundColumn>, SqlError>,
    ) -> Result<Groups, SqlError> {
        let (mut columns, mut keys, mut names) = (vec![], vec![], vec![]);
        let mut bounds = Vec::new();
        for (place, (expr, lineage)) in node.group_expr.iter().zip(lineages).enumerate() {
            // Named twice it is one column, as for DataFusion.
            if node.group_expr[..place].contains(expr) {
                continue;
            }
            let bound = bound(lineage)?;
            columns.push(match &bound {
                Some(BoundColumn { side: Side::Start, .. }) => GroupColumn::WindowStart,
                Some(BoundColumn { side: Side::End, .. }) => GroupColumn::WindowEnd,
                None => {
                    keys.push(self.physical(expr, node.input.schema())?);
                    names.push(expr.schema_name().to_string());
                    GroupColumn::Key(keys.len() - 1)
                }
            });
            bounds.push(bound);
        }
        let names: Arc<[String]> = names.into();
        let lineage = columns.iter().zip(bounds).map(|(column, bound)| match (column, bound) {
            (GroupColumn::Key(key), _) => Lineage::GroupKey(*key),
            (_, bound) => Lineage::GroupWindow {
                is_unique: bound.as_ref().is_some_and(|bound| bound.is_unique),
                is_event_time: bound.as_ref().is_some_and(|bound| bound.is_event_time),
                keys: Arc::clone(&names),
            },
        });
        let lineage = lineage.collect();
        Ok(Groups { columns, keys, lineage, names })
    }
}
