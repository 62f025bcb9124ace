//! From the two functions in `FROM` to a node where rows are grouped by them.
//!
//! What a condition of `EVENT_WINDOW` says of a row is known where the window stands in `FROM`, and
//! needed where rows are grouped. So it becomes a column, which goes along with the bounds.

use std::ops::RangeFrom;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{Column, plan_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::logical_plan::Aggregate;
use datafusion::logical_expr::{
    Expr, ExprSchemable, Extension, LogicalPlan, LogicalPlanBuilder, Projection,
};

use super::node::{Role, RowWindowNode};
use super::{Call, Kind};
use crate::error::{Position, SqlError};
use crate::sessions::{call_of, traced, unaliased};
use crate::sql::window::RunBy;

/// Names that no column of a stream has: theirs begin with a letter.
const DECIDING: &str = "__decides_";

/// The same plan, with a node for each `GROUP BY` over windows that rows open and close. It has passed
/// the [check](crate::sessions::check).
pub(crate) fn resolve(plan: LogicalPlan, run_by: RunBy) -> Result<LogicalPlan, SqlError> {
    if !check(&plan)? {
        return Ok(plan);
    }
    let mut numbers = 0u32..;
    let resolved = plan.transform_up_with_subqueries(|node| {
        let node = match node {
            LogicalPlan::Projection(of) => with_deciding(of, &mut numbers)?,
            LogicalPlan::Aggregate(of) => grouped(of, run_by)?,
            other => other,
        };
        node.recompute_schema().map(Transformed::yes)
    });
    resolved.map(|resolved| resolved.data).map_err(|error| SqlError::planning(&error))
}

/// Refuses conditions that are none. Whether there are such windows at all.
fn check(plan: &LogicalPlan) -> Result<bool, SqlError> {
    let (mut is_there, mut wrong) = (false, Ok(()));
    let walked = plan.apply_with_subqueries(|node| {
        let LogicalPlan::Projection(of) = node else { return Ok(TreeNodeRecursion::Continue) };
        for call in of.expr.iter().filter_map(call) {
            is_there = true;
            wrong = std::mem::replace(&mut wrong, Ok(())).and_then(|()| check_call(&call, of));
        }
        Ok(if wrong.is_ok() { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    walked.map_err(|error| SqlError::planning(&error))?;
    wrong.map(|()| is_there)
}

fn check_call(call: &Call<'_>, of: &Projection) -> Result<(), SqlError> {
    if call.kind != Kind::Event {
        return Ok(());
    }
    for (expr, words) in call.deciding().iter().zip(["START WITH", "END WITH"]) {
        let kind = expr.get_type(of.input.schema());
        let kind = kind.map_err(|error| SqlError::planning(&error))?;
        if !matches!(kind, DataType::Boolean) {
            let reason = format!("{words} of EVENT_WINDOW is a condition, and `{expr}` is {kind}");
            let error = SqlError::statement(place(expr), reason);
            return Err(error.or("compare it with something: START WITH temp > 80"));
        }
    }
    Ok(())
}

/// Where the first column of an expression stands.
fn place(expr: &Expr) -> Option<Position> {
    let starts = expr.column_refs().into_iter();
    let starts = starts.filter_map(|column| column.spans.first()).map(|span| span.start);
    let start = starts.min_by_key(|start| (start.line, start.column))?;
    Some(Position { line: start.line, column: start.column })
}

fn call(expr: &Expr) -> Option<Call<'_>> {
    match unaliased(expr) {
        Expr::ScalarFunction(call) => Call::of(call),
        _ => None,
    }
}

/// A SELECT list with what decides about windows: computed below it where they stand in `FROM`, or
/// taken along where it takes along their bounds.
fn with_deciding(of: Projection, numbers: &mut RangeFrom<u32>) -> Result<LogicalPlan> {
    let Some(first) = of.expr.iter().find_map(call) else { return passing(of) };
    let deciding = first.deciding();
    let names: Vec<_> =
        deciding.iter().zip(numbers).map(|(_, n)| format!("{DECIDING}{n}")).collect();
    let computed = deciding.iter().zip(&names).map(|(expr, name)| expr.clone().alias(name));
    let columns = of.input.schema().columns().into_iter().map(Expr::Column);
    let below = Projection::try_new(columns.chain(computed).collect(), Arc::clone(&of.input))?;
    let columns: Vec<_> = names.iter().map(|name| Expr::Column(Column::from_name(name))).collect();
    let exprs = of.expr.iter().map(|expr| over(expr, &columns));
    let exprs = exprs.chain(columns.iter().cloned()).collect();
    Projection::try_new(exprs, Arc::new(LogicalPlan::Projection(below)))
        .map(LogicalPlan::Projection)
}

/// The call with columns in the place of what decides.
fn over(expr: &Expr, columns: &[Expr]) -> Expr {
    match expr {
        Expr::Alias(alias) => {
            let mut alias = alias.clone();
            *alias.expr = over(&alias.expr, columns);
            Expr::Alias(alias)
        }
        Expr::ScalarFunction(call) if Call::of(call).is_some() => {
            let mut call = call.clone();
            call.args.splice(2..2 + columns.len(), columns.iter().cloned());
            Expr::ScalarFunction(call)
        }
        other => other.clone(),
    }
}

fn passing(mut of: Projection) -> Result<LogicalPlan> {
    let plan = LogicalPlan::Projection(of.clone());
    let is_bound = |column: &Column| call_of(&plan, column).and_then(Call::of).is_some();
    if !plan.schema().columns().iter().any(is_bound) {
        return Ok(plan);
    }
    let columns = of.input.schema().columns().into_iter();
    let deciding = columns.filter(|column| column.name.starts_with(DECIDING)).map(Expr::Column);
    let deciding: Vec<_> = deciding.filter(|column| !of.expr.contains(column)).collect();
    of.expr.extend(deciding);
    Projection::try_new(of.expr, of.input).map(LogicalPlan::Projection)
}

/// The node for groups of such windows; others as they are.
fn grouped(aggregate: Aggregate, run_by: RunBy) -> Result<LogicalPlan> {
    let input = &aggregate.input;
    let calls = aggregate.group_expr.iter().map(|expr| match unaliased(expr) {
        Expr::Column(column) => call_of(input, column),
        _ => None,
    });
    let calls: Vec<_> = calls.collect();
    let Some(of) = calls.iter().find_map(|call| Call::of((*call)?)) else {
        return Ok(LogicalPlan::Aggregate(aggregate));
    };
    let is_other = |call: &Call<'_>| (call.kind, call.args) != (of.kind, of.args);
    if calls.iter().flatten().any(|call| Call::of(call).is_none_or(|call| is_other(&call))) {
        return plan_err!("the query groups by windows of two kinds; use one {}", of.kind.name());
    }
    let columns = input.schema().columns();
    let deciding = of.deciding().iter().map(|wanted| {
        let Expr::Column(wanted) = wanted else { return None };
        columns.iter().find(|column| column.name == wanted.name).cloned().map(Expr::Column)
    });
    let Some(deciding) = deciding.collect::<Option<Vec<_>>>() else {
        return plan_err!("what {} goes by is not where rows are grouped", of.kind.name());
    };
    let value = of.value().and_then(|column| computed(input, column));
    let role = |(expr, call): (&Expr, &Option<&ScalarFunction>)| match call.and_then(Call::of) {
        Some(call) => Ok(Role::Bound(call.side)),
        None if value == Some(&traced(input, unaliased(expr))?) => Ok(Role::Value),
        None => Ok(Role::Key),
    };
    let roles = aggregate.group_expr.iter().zip(&calls).map(role).collect::<Result<_>>()?;
    let (windows, name) = (of.windows()?, of.kind.name());
    let mut node = RowWindowNode { aggregate, windows, roles, deciding, name };
    if run_by == RunBy::Query {
        node.aggregate = with_times(&node)?;
    }
    Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
}

/// What a column that decides is computed from.
fn computed<'a>(plan: &'a LogicalPlan, column: &Expr) -> Option<&'a Expr> {
    let Expr::Column(column) = column else { return None };
    if let LogicalPlan::Projection(of) = plan {
        let is_it = |expr: &&Expr| matches!(expr, Expr::Alias(alias) if alias.name == column.name);
        if let Some(expr) = of.expr.iter().find(is_it) {
            return Some(unaliased(expr));
        }
    }
    let mut inputs = plan.inputs().into_iter();
    inputs.find_map(|input| computed(input, &Expr::Column(column.clone())))
}

/// The groups without rows that have no time. A job has none: they are no rows of its stream.
fn with_times(node: &RowWindowNode) -> Result<Aggregate, DataFusionError> {
    let Aggregate { input, group_expr, aggr_expr, .. } = node.aggregate.clone();
    let input = LogicalPlanBuilder::from(input).filter(node.time().clone().is_not_null())?;
    Aggregate::try_new(Arc::new(input.build()?), group_expr, aggr_expr)
}
