//! Windows without rows, as DataFusion sees them: `TUMBLE(.., GAP_FILL => INTERVAL '1 hour')` in
//! `FROM` puts a mark on the bounds of its windows, and `locf(..)` and `interpolate(..)` in the
//! SELECT list are functions that nothing can compute. Where rows are grouped by such bounds, a node
//! ([`GapFill`]) comes in behind the groups, and its columns in place of the functions.
//!
//! A job and a bounded query run that node with the same operator.

mod node;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result, exec_err, plan_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    Aggregate, ColumnarValue, Expr, Extension, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

pub(crate) use node::GapFill;

use crate::error::SqlError;
use crate::operator::gap_fill::{Filling, GapColumn};
use crate::sessions::{trace, unaliased};
use crate::windows::function::{Side, WindowFunction, length};

/// `gap_filled(bound of a window, time)`: the bound; a key's windows are filled for so long.
const MARK: &str = "gap_filled";
const LAST: &str = "locf";
const LINEAR: &str = "interpolate";

/// Windows of a key that are filled in a row.
const MAX_WINDOWS: i64 = 10_000;

pub(crate) const USAGE: &str =
    "write FROM TUMBLE(stream, DESCRIPTOR(ts), INTERVAL '1 minute', GAP_FILL => INTERVAL '1 hour')";

/// The functions, for DataFusion.
pub(crate) fn functions() -> [ScalarUDF; 3] {
    [MARK, LAST, LINEAR].map(|name| {
        let signature = Signature::variadic_any(Volatility::Immutable);
        ScalarUDF::from(Function { name, signature })
    })
}

/// The bound that a mark is on.
pub(crate) fn unmarked(call: &ScalarFunction) -> Option<&Expr> {
    call.args.first().filter(|_| call.func.name() == MARK)
}

fn filling(call: &ScalarFunction) -> Option<Filling> {
    match call.func.name() {
        LAST => Some(Filling::Last),
        LINEAR => Some(Filling::Linear),
        _ => None,
    }
}

/// The same plan, with what fills the gaps.
pub(crate) fn resolve(plan: LogicalPlan) -> Result<LogicalPlan, SqlError> {
    if !uses(&plan)? {
        return Ok(plan);
    }
    let resolved = plan.transform_up_with_subqueries(|node| {
        let node = match node {
            LogicalPlan::Aggregate(aggregate) => behind(aggregate)?,
            // What HAVING leaves out is filled.
            LogicalPlan::Filter(mut filter) => match gap_fill(&filter.input).cloned() {
                Some(gaps) => {
                    filter.input = Arc::new(gaps.input.clone());
                    extension(gaps.over(LogicalPlan::Filter(filter))?)
                }
                None => LogicalPlan::Filter(filter),
            },
            LogicalPlan::Projection(_) => with_fills(node)?,
            other => other,
        };
        // What may be NULL above a gap could not be before.
        node.recompute_schema().map(Transformed::yes)
    });
    let resolved = resolved.map_err(|error| SqlError::planning(&error))?.data;
    check(&resolved)?;
    Ok(resolved)
}

fn extension(gaps: GapFill) -> LogicalPlan {
    LogicalPlan::Extension(Extension { node: Arc::new(gaps) })
}

/// The node of ours that this is.
pub(crate) fn gap_fill(plan: &LogicalPlan) -> Option<&GapFill> {
    match plan {
        LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref::<GapFill>(),
        _ => None,
    }
}

/// What a mark says.
struct Mark {
    size_micros: i64,
    windows: i64,
    side: Side,
}

/// The mark on the window that is grouped by, if it has one.
fn mark_of(input: &LogicalPlan, group: &Expr) -> Option<Result<Mark>> {
    let Expr::Column(column) = unaliased(group) else { return None };
    match trace(input, input.schema().maybe_index_of_column(column)?)? {
        Expr::ScalarFunction(call) => unmarked(call).map(|bound| read(bound, &call.args[1..])),
        _ => None,
    }
}

fn read(bound: &Expr, times: &[Expr]) -> Result<Mark> {
    let (Expr::ScalarFunction(call), [Expr::Literal(time, _)]) = (bound, times) else {
        return plan_err!("GAP_FILL is about the windows of TUMBLE");
    };
    let function = WindowFunction::named(call.func.name());
    let (Some(WindowFunction::Bound(_, side)), Some(Expr::Literal(size, _))) =
        (function, call.args.get(1))
    else {
        return plan_err!("GAP_FILL is about the windows of TUMBLE");
    };
    let (size_micros, micros) = (length(size)?, length(time)?);
    let windows = micros / size_micros;
    if !(1..=MAX_WINDOWS).contains(&windows) {
        return plan_err!(
            "GAP_FILL says how long a key may have no rows, the time of 1 to {MAX_WINDOWS} windows, \
             not of {windows}"
        );
    }
    Ok(Mark { size_micros, windows, side })
}

/// Groups, and behind them what fills gaps, if their windows are marked.
fn behind(aggregate: Aggregate) -> Result<LogicalPlan> {
    let marks = aggregate.group_expr.iter().map(|group| mark_of(&aggregate.input, group));
    let marks: Vec<Option<Mark>> = marks.map(Option::transpose).collect::<Result<_>>()?;
    let Some(Mark { size_micros, windows, .. }) = marks.iter().flatten().next() else {
        return Ok(LogicalPlan::Aggregate(aggregate));
    };
    let columns = marks.iter().map(|mark| match mark {
        Some(Mark { side: Side::Start, .. }) => GapColumn::WindowStart,
        Some(Mark { side: Side::End, .. }) => GapColumn::WindowEnd,
        None => GapColumn::Key,
    });
    let values = aggregate.aggr_expr.iter().map(|_| GapColumn::Value);
    let columns = columns.chain(values).collect();
    let (size_micros, windows) = (*size_micros, *windows);
    GapFill::new(LogicalPlan::Aggregate(aggregate), size_micros, windows, columns).map(extension)
}

/// A SELECT list, with columns in place of its `locf(..)` and `interpolate(..)`.
fn with_fills(node: LogicalPlan) -> Result<LogicalPlan> {
    let mut calls = Vec::new();
    let mut next = &node;
    loop {
        next.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::ScalarFunction(call) = expr
                    && let Some(how) = filling(call)
                    && !calls.iter().any(|(_, other)| other == expr)
                {
                    calls.push((how, expr.clone()));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })?;
        next = match next {
            LogicalPlan::Projection(projection) => &projection.input,
            LogicalPlan::Filter(filter) => &filter.input,
            LogicalPlan::Window(window) => &window.input,
            _ => break,
        };
        if matches!(next, LogicalPlan::Projection(_)) {
            break;
        }
    }
    if calls.is_empty() || gap_fill(next).is_none() { Ok(node) } else { filled(node, &calls) }
}

/// A SELECT list, or what stands below it, down to what fills gaps.
fn filled(plan: LogicalPlan, calls: &[(Filling, Expr)]) -> Result<LogicalPlan> {
    if let Some(gaps) = gap_fill(&plan) {
        return gaps.clone().with_fills(calls).map(extension);
    }
    let column = |expr: Expr| {
        Ok(match calls.iter().any(|(_, call)| *call == expr) {
            true => {
                Transformed::yes(Expr::Column(Column::from_name(expr.schema_name().to_string())))
            }
            false => Transformed::no(expr),
        })
    };
    let exprs = plan.expressions().into_iter().map(|expr| {
        let name = expr.schema_name().to_string();
        expr.transform_down(column)?.data.alias_if_changed(name)
    });
    let exprs = exprs.collect::<Result<_>>()?;
    let inputs = plan.inputs().into_iter().cloned().map(|input| filled(input, calls));
    let inputs = inputs.collect::<Result<_>>()?;
    plan.with_new_exprs(exprs, inputs)
}

/// The functions of ours that a node calls.
fn calls(node: &LogicalPlan) -> Result<Vec<&'static str>> {
    let mut found = Vec::new();
    node.apply_expressions(|expr| {
        expr.apply(|expr| {
            if let Expr::ScalarFunction(call) = expr {
                found.extend(
                    [MARK, LAST, LINEAR].into_iter().find(|name| *name == call.func.name()),
                );
            }
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(found)
}

fn uses(plan: &LogicalPlan) -> Result<bool, SqlError> {
    let mut found = false;
    let walked = plan.apply_with_subqueries(|node| {
        found |= !calls(node)?.is_empty();
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    walked.map_err(|error| SqlError::planning(&error))?;
    Ok(found)
}

/// Refuses marks that nothing is grouped by, and functions that no column stands for.
fn check(plan: &LogicalPlan) -> Result<(), SqlError> {
    let (mut marked, mut filled, mut left) = (0, 0, None);
    let walked = plan.apply_with_subqueries(|node| {
        let calls = calls(node)?;
        marked += usize::from(calls.contains(&MARK));
        filled += usize::from(gap_fill(node).is_some());
        left = left.or(calls.into_iter().find(|name| *name != MARK));
        Ok(TreeNodeRecursion::Continue)
    });
    walked.map_err(|error| SqlError::planning(&error))?;
    if let Some(name) = left {
        let reason = format!("`{name}` gives the windows of GAP_FILL values, in their SELECT list");
        return Err(SqlError::statement(None, reason)
            .or(format!("{USAGE}; conditions on them stand in a SELECT around it")));
    }
    if marked > filled {
        let reason = "GAP_FILL is for windows that rows are grouped by";
        return Err(SqlError::statement(None, reason).or("GROUP BY window_start, .."));
    }
    Ok(())
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
        match (self.name, types) {
            (LAST, [kind]) => Ok(kind.clone()),
            (LINEAR, [kind]) if kind.is_numeric() || kind.is_null() => Ok(DataType::Float64),
            (LINEAR, [kind]) => plan_err!("interpolate takes a number, not {kind}"),
            (MARK, [kind, DataType::Interval(_)]) => Ok(kind.clone()),
            (name, _) => plan_err!("{name} takes one value"),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let types: Vec<_> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(Arc::new(Field::new(self.name, self.return_type(&types)?, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match (self.name, args.args.into_iter().next()) {
            (MARK, Some(bound)) => Ok(bound),
            (name, _) => exec_err!("`{name}` is of use where gaps are filled"),
        }
    }
}
