//! Sessions in a bounded query: where rows are grouped by them, window functions find their bounds.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::tree_node::Transformed;
use datafusion::error::{DataFusionError, Result};
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::functions_window::lead_lag::lag;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{
    Aggregate, AggregateUDF, Expr, ExprFunctionExt, LogicalPlan, LogicalPlanBuilder, WindowFrame,
    WindowFrameBound, WindowFrameUnits, lit, when,
};
use datafusion::scalar::ScalarValue;

use super::{Session, of_column, unaliased};
use crate::windows::function::Side;

/// Names that no column of a stream has: theirs begin with a letter.
const IS_NEW: &str = "__session_is_new";
const NUMBER: &str = "__session";

/// The same plan, with the bounds of sessions computed in front of each `GROUP BY` over them. It
/// has passed [`check`](super::check).
pub(crate) fn resolve(plan: LogicalPlan) -> Result<LogicalPlan> {
    let resolved = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Aggregate(aggregate) => match bound_of(&aggregate) {
            Some((bound, session)) => with_bounds(&aggregate, bound, session).map(Transformed::yes),
            None => Ok(Transformed::no(LogicalPlan::Aggregate(aggregate))),
        },
        other => Ok(Transformed::no(other)),
    });
    Ok(resolved?.data)
}

/// A bound of sessions among what is grouped by.
fn bound_of(aggregate: &Aggregate) -> Option<(Column, Session)> {
    aggregate.group_expr.iter().find_map(|expr| match unaliased(expr) {
        Expr::Column(column) => Some((column.clone(), of_column(&aggregate.input, column)?)),
        _ => None,
    })
}

fn with_bounds(aggregate: &Aggregate, bound: Column, session: Session) -> Result<LogicalPlan> {
    let input = &aggregate.input;
    let is_bound = |expr: &Expr| match expr {
        Expr::Column(column) => of_column(input, column).is_some(),
        _ => false,
    };
    let groups = aggregate.group_expr.iter().map(unaliased);
    let keys: Vec<Expr> = groups.filter(|expr| !is_bound(expr)).cloned().collect();
    let gap = ScalarValue::new_interval_mdn(0, 0, session.gap_micros.saturating_mul(1000));
    let gap = lit(gap);
    let bound = Expr::Column(bound);
    let time = if session.side == Side::End { bound - gap.clone() } else { bound };

    let columns = || input.schema().columns().into_iter().map(Expr::Column);
    let before = partitioned(lag(time.clone(), Some(1), None), keys.clone(), Some(&time))?;
    let mut follows = when((named(&before) + gap.clone()).gt(time.clone()), lit(0i64));
    let is_new = follows.otherwise(lit(1i64))?.alias(IS_NEW);
    let number = aggregated(sum_udaf(), Expr::Column(Column::from_name(IS_NEW)));
    let number = partitioned(number, keys.clone(), Some(&time))?;
    let of_session = keys.into_iter().chain([Expr::Column(Column::from_name(NUMBER))]);
    let of_session: Vec<Expr> = of_session.collect();
    let start = partitioned(aggregated(min_udaf(), time.clone()), of_session.clone(), None)?;
    let last = partitioned(aggregated(max_udaf(), time.clone()), of_session, None)?;

    let bounds = columns().map(|expr| {
        let Expr::Column(column) = &expr else { return expr };
        let Some(session) = of_column(input, column) else { return expr };
        let value =
            if session.side == Side::End { named(&last) + gap.clone() } else { named(&start) };
        value.alias_qualified(column.relation.clone(), column.name.clone())
    });
    let input = LogicalPlanBuilder::from(Arc::clone(input))
        .filter(time.is_not_null())?
        .window([before.clone()])?
        .project(columns().chain([is_new]))?
        .window([number.clone()])?
        .project(columns().chain([named(&number).alias(NUMBER)]))?
        .window([start.clone(), last.clone()])?
        .project(bounds.collect::<Vec<_>>())?
        .build()?;
    let (groups, aggregates) = (aggregate.group_expr.clone(), aggregate.aggr_expr.clone());
    Aggregate::try_new(Arc::new(input), groups, aggregates).map(LogicalPlan::Aggregate)
}

fn aggregated(function: Arc<AggregateUDF>, of: Expr) -> Expr {
    Expr::from(WindowFunction::new(function, vec![of]))
}

/// Over the rows of these keys: all of them, or those up to each row in the order of a time.
fn partitioned(
    function: Expr,
    keys: Vec<Expr>,
    order: Option<&Expr>,
) -> Result<Expr, DataFusionError> {
    let function = function.partition_by(keys);
    match order {
        None => function.window_frame(WindowFrame::new(None)).build(),
        Some(time) => {
            let upwards = time.clone().sort(true, false);
            let rows = WindowFrame::new_bounds(
                WindowFrameUnits::Rows,
                WindowFrameBound::Preceding(ScalarValue::UInt64(None)),
                WindowFrameBound::CurrentRow,
            );
            function.order_by(vec![upwards]).window_frame(rows).build()
        }
    }
}

/// The column that a window function makes.
fn named(expr: &Expr) -> Expr {
    Expr::Column(Column::from_name(expr.schema_name().to_string()))
}
