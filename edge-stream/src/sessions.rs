//! Session windows as DataFusion sees them: `SESSION(..)` in `FROM` becomes a projection with two
//! functions of a row's time, and what they mean is known only where rows are grouped.
//!
//! A job takes them as marks of an operator of its own; in a bounded query they are replaced by
//! window functions (`bounded`). In all other places they are refused, and so are the bounds of
//! [windows that rows open and close](crate::row_windows).

#[cfg(feature = "db")]
pub(crate) mod bounded;

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, PrimitiveArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit, TimestampMicrosecondType};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result, exec_err, plan_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    Aggregate, ColumnarValue, Expr, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Subquery, Volatility,
};

use crate::error::SqlError;
use crate::row_windows::{self, Call};
use crate::windows::function::{Side, length};

/// `session_start(time, gap, keys of PARTITION BY ..)`: the session that a row alone would make
/// lasts from its time until a gap later.
const START: &str = "session_start";
const END: &str = "session_end";

/// What they are called in `FROM`.
const SESSION: &str = "SESSION";

/// A bound of sessions: what one of the two functions says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) gap_micros: i64,
    pub(crate) side: Side,
}

/// The functions, for DataFusion.
pub(crate) fn functions() -> [ScalarUDF; 2] {
    [START, END].map(|name| {
        let signature = Signature::variadic_any(Volatility::Immutable);
        ScalarUDF::from(Function { name, signature })
    })
}

/// What a call of one of the functions says.
pub(crate) fn named(call: &ScalarFunction) -> Option<Session> {
    let side = match call.func.name() {
        START => Side::Start,
        END => Side::End,
        _ => return None,
    };
    let Some(Expr::Literal(gap, _)) = call.args.get(1) else { return None };
    Some(Session { gap_micros: length(gap).ok()?, side })
}

/// Refuses what computes with bounds of windows that each key has of its own before these are known.
pub(crate) fn check(plan: &LogicalPlan) -> Result<(), SqlError> {
    let mut found = check_root(plan);
    let walked = plan.apply_with_subqueries(|node| {
        found = std::mem::replace(&mut found, Ok(())).and_then(|()| check_node(node));
        Ok(if found.is_ok() { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    walked.map_err(|error| SqlError::planning(&error))?;
    found
}

/// Whether this column is a bound of sessions.
#[cfg(feature = "db")]
pub(crate) fn of_column(plan: &LogicalPlan, column: &Column) -> Option<Session> {
    call_of(plan, column).and_then(named)
}

/// The function whose values this column has, if it is a bound of windows that each key has of its
/// own: of sessions, or of [windows that rows open and close](crate::row_windows).
pub(crate) fn call_of<'a>(plan: &'a LogicalPlan, column: &Column) -> Option<&'a ScalarFunction> {
    match trace(plan, plan.schema().maybe_index_of_column(column)?)? {
        Expr::ScalarFunction(call) if window_of(call).is_some() => Some(call),
        _ => None,
    }
}

/// What stands in `FROM` for a function that gives a bound of such windows.
fn window_of(call: &ScalarFunction) -> Option<&'static str> {
    match call.func.name() {
        START | END => Some(SESSION),
        other => row_windows::named(other).map(|(kind, _)| kind.name()),
    }
}

/// What a column is where it is computed, or where such windows stand in `FROM`, if it comes from
/// there as it is.
pub(crate) fn trace(plan: &LogicalPlan, place: usize) -> Option<&Expr> {
    match plan {
        LogicalPlan::Projection(projection) => match unaliased(projection.expr.get(place)?) {
            _ if projection.expr.iter().any(is_call) => projection.expr.get(place).map(unaliased),
            Expr::Column(column) => {
                let input = &projection.input;
                trace(input, input.schema().maybe_index_of_column(column)?)
            }
            computed => Some(computed),
        },
        LogicalPlan::SubqueryAlias(alias) => trace(&alias.input, place),
        LogicalPlan::Filter(filter) => trace(&filter.input, place),
        LogicalPlan::Join(join) => {
            let (qualifier, field) = plan.schema().qualified_field(place);
            let place =
                |side: &LogicalPlan| side.schema().index_of_column_by_name(qualifier, field.name());
            match place(&join.left) {
                Some(place) => trace(&join.left, place),
                None => trace(&join.right, place(&join.right)?),
            }
        }
        _ => None,
    }
}

/// An expression with each column as it is [where it comes from](trace).
pub(crate) fn traced(plan: &LogicalPlan, expr: &Expr) -> Result<Expr> {
    let traced = expr.clone().transform_up(|expr| {
        let place = match &expr {
            Expr::Column(column) => plan.schema().maybe_index_of_column(column),
            _ => None,
        };
        let origin = place.and_then(|place| trace(plan, place)).cloned();
        Ok(origin.map_or(Transformed::no(expr), Transformed::yes))
    });
    Ok(traced?.data)
}

pub(crate) fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

fn is_call(expr: &Expr) -> bool {
    matches!(unaliased(expr), Expr::ScalarFunction(call) if window_of(call).is_some())
}

/// An answer, or that of a subquery, has no bounds of windows whose rows were not grouped.
fn check_root(plan: &LogicalPlan) -> Result<(), SqlError> {
    plan.schema().columns().iter().try_for_each(|column| check_of(plan, column))
}

/// This column is no bound of such windows.
fn check_of(plan: &LogicalPlan, column: &Column) -> Result<(), SqlError> {
    call_of(plan, column).map_or(Ok(()), |call| Err(not_known(&column.name, call)))
}

fn check_node(node: &LogicalPlan) -> Result<(), SqlError> {
    match node {
        LogicalPlan::Projection(projection) => {
            let exprs = projection.expr.iter().filter(|expr| !is_call(expr));
            exprs.map(unaliased).try_for_each(|expr| match expr {
                Expr::Column(_) => Ok(()),
                other => check_expr(node, other),
            })
        }
        LogicalPlan::Aggregate(aggregate) => check_aggregate(node, aggregate),
        LogicalPlan::Filter(_) | LogicalPlan::Join(_) => {
            node.expressions().iter().try_for_each(|expr| check_expr(node, expr))
        }
        LogicalPlan::SubqueryAlias(_) => Ok(()),
        other => other.inputs().into_iter().try_for_each(check_root),
    }
}

fn check_expr(node: &LogicalPlan, expr: &Expr) -> Result<(), SqlError> {
    let mut found = Ok(());
    let walked = expr.apply(|expr| {
        found = match expr {
            Expr::Column(column) => check_column(node, column),
            Expr::ScalarSubquery(query) => check_subquery(node, query),
            Expr::InSubquery(query) => check_subquery(node, &query.subquery),
            Expr::Exists(query) => check_subquery(node, &query.subquery),
            Expr::ScalarFunction(call) => check_function(call),
            _ => Ok(()),
        };
        Ok(if found.is_ok() { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    walked.map_err(|error| SqlError::planning(&error))?;
    found
}

/// The functions are not for anybody to write.
fn check_function(call: &ScalarFunction) -> Result<(), SqlError> {
    let Some(window) = window_of(call) else { return Ok(()) };
    let reason = format!("`{}` is what {window} in FROM is made of", call.func.name());
    let own = match window {
        SESSION => "INTERVAL '30 seconds'",
        _ => "..",
    };
    Err(SqlError::statement(None, reason)
        .or(format!("write FROM {window}(stream, DESCRIPTOR(time_column), {own})")))
}

fn check_column(node: &LogicalPlan, column: &Column) -> Result<(), SqlError> {
    node.inputs().into_iter().try_for_each(|input| check_of(input, column))
}

/// Neither its answer nor what it takes from around it is a bound of such windows.
fn check_subquery(node: &LogicalPlan, query: &Subquery) -> Result<(), SqlError> {
    query.outer_ref_columns.iter().try_for_each(|expr| match expr {
        Expr::OuterReferenceColumn(_, column) => check_column(node, column),
        _ => Ok(()),
    })?;
    check_root(&query.subquery)
}

fn check_aggregate(node: &LogicalPlan, aggregate: &Aggregate) -> Result<(), SqlError> {
    let groups = aggregate.group_expr.iter().map(unaliased);
    let (columns, others): (Vec<_>, Vec<_>) =
        groups.partition(|expr| matches!(expr, Expr::Column(_)));
    others
        .iter()
        .copied()
        .chain(&aggregate.aggr_expr)
        .try_for_each(|expr| check_expr(node, expr))?;
    let origin = |expr: &&Expr| match expr {
        Expr::Column(column) => {
            let place = aggregate.input.schema().maybe_index_of_column(column)?;
            trace(&aggregate.input, place)
        }
        _ => None,
    };
    let (calls, keys): (Vec<_>, Vec<_>) =
        columns.iter().map(origin).partition(|expr| expr.is_some_and(is_call));
    let others = others.iter().map(|other| traced(&aggregate.input, other));
    let others = others.collect::<Result<Vec<_>>>().map_err(|error| SqlError::planning(&error))?;
    for call in calls.into_iter().flatten() {
        let Expr::ScalarFunction(call) = call else { continue };
        // A value that stays in each window may be among the groups, too.
        let (wanted, value) = match Call::of(call) {
            Some(call) => (call.keys(), call.value()),
            None => (call.args.get(2..).unwrap_or_default(), None),
        };
        let is_wanted = |key: &Expr| wanted.contains(key) || Some(key) == value;
        let is_there = |key: &Expr| keys.contains(&Some(key));
        let fits = others.iter().all(|other| Some(other) == value)
            && keys.iter().all(|key| key.is_some_and(is_wanted))
            && wanted.iter().all(is_there);
        if !wanted.is_empty() && !fits {
            let names = wanted.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
            let what = if window_of(call) == Some(SESSION) { "sessions" } else { "windows" };
            let reason = format!("{what} are those of the keys of GROUP BY, not of {names} alone");
            return Err(SqlError::statement(None, reason)
                .or("leave out PARTITION BY, or GROUP BY the same columns"));
        }
    }
    Ok(())
}

fn not_known(name: &str, call: &ScalarFunction) -> SqlError {
    let window = match window_of(call) {
        Some(SESSION) | None => "a session".to_owned(),
        Some(window) => format!("a window of {window}"),
    };
    let reason = format!("`{name}` of {window} is known only once its rows are grouped");
    SqlError::statement(None, reason).or(
        "GROUP BY window_start, window_end and the keys, and compute with them in the SELECT list \
         or HAVING",
    )
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Function {
    name: &'static str,
    signature: Signature,
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::Timestamp(_, zone), DataType::Interval(_), ..] => {
                Ok(DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))
            }
            [DataType::Timestamp(..), gap, ..] => {
                plan_err!("the gap of a session is an INTERVAL, not {gap}")
            }
            [time, ..] => plan_err!("a window needs a TIMESTAMP column, this one is {time}"),
            [] => plan_err!("a session needs a time column and an INTERVAL"),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let types: Vec<_> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let kind = self.return_type(&types)?;
        if let Some(Some(gap)) = args.scalar_arguments.get(1) {
            length(gap)?;
        }
        Ok(Arc::new(Field::new(self.name, kind, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [time, ColumnarValue::Scalar(gap), ..] = args.args.as_slice() else {
            return exec_err!("the gap of sessions is the same for all rows");
        };
        let behind = if self.name == END { length(gap)? } else { 0 };
        let kind = args.return_field.data_type();
        let times = cast(&time.to_array(args.number_rows)?, kind)?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let bounds: PrimitiveArray<TimestampMicrosecondType> =
            times.unary(|time| time.saturating_add(behind));
        Ok(ColumnarValue::Array(Arc::new(bounds.with_data_type(kind.clone())) as ArrayRef))
    }
}

#[cfg(test)]
mod tests;
