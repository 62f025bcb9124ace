//! `OVER` as an operator: in order of event time, or over the rows of a closed window.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::DFSchema;
use datafusion::logical_expr::expr::{
    AggregateFunction, NullTreatment, Sort, WindowFunction, WindowFunctionParams,
};
use datafusion::logical_expr::logical_plan::Window;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    AggregateUDF, Expr, LogicalPlan, WindowFrame, WindowFrameBound, WindowFrameUnits,
    WindowFunctionDefinition,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_planner::create_window_expr;
use datafusion::scalar::ScalarValue;

use super::lineage::{self, Lineage};
use super::{Builder, Rows};
use crate::error::SqlError;
use crate::gaps::gap_fill;
use crate::operator::over::{Aggregate, Frame, Function, Ordering, Over};
use crate::operator::rank::Rank;
use crate::row_windows::node::row_windows;
use crate::session::report::{CHANGED, LATEST, band};

/// Aggregates that hold every row that they have seen.
const GROWING: [&str; 5] =
    ["array_agg", "string_agg", "median", "percentile_cont", "quantile_cont"];

impl Builder<'_> {
    pub(super) fn over(&mut self, node: &Window) -> Result<Rows, SqlError> {
        let below = self.node(&node.input)?;
        let calls = node.window_expr.iter().map(call).collect::<Result<Vec<_>, _>>()?;
        let Some(first) = calls.first() else { return Ok(below) };
        lineage::check_spread(&node.window_expr, node.input.schema(), &below.lineage)?;
        let (keys, order) = (&first.params.partition_by, &first.params.order_by);
        let input = node.input.schema();
        let of = |expr: &Expr| lineage::of(expr, input, &below.lineage);
        let in_order = matches!(order.as_slice(), [Sort { expr, asc: true, .. }]
            if of(expr).is_event_time());
        let from = if in_order {
            let operator = self.in_order(node, &calls)?;
            self.flow.push(&[below.from], operator)
        } else if keys.iter().map(of).any(|key| key.is_unique() && key.is_event_time())
            && comes_together(&node.input)
        {
            let operator = self.rank(node, keys, order)?;
            self.flow.push(&[below.from], operator)
        } else {
            return Err(self.wrong_order(order, &below.lineage));
        };
        let mut lineage = below.lineage;
        lineage.extend(calls.iter().map(|_| Lineage::Other));
        Ok(Rows { from, lineage })
    }

    fn wrong_order(&self, order: &[Sort], below: &[Lineage]) -> SqlError {
        let stream = self.sources.first().map_or("stream", |scan| &scan.stream);
        let is_grouped = below.iter().any(Lineage::is_grouped);
        let found = match order {
            [] => "this OVER has no ORDER BY".to_owned(),
            [Sort { asc: false, .. }, ..] => "this OVER runs from the newest row back".to_owned(),
            [Sort { expr, .. }] => format!("this OVER is ordered by `{expr}`"),
            [_, rest, ..] => format!("this OVER is ordered by `{}` too", rest.expr),
        };
        let would_work = match is_grouped {
            true => "PARTITION BY window_end, so that rows of one window are ordered at its close"
                .to_owned(),
            false => format!(
                "write OVER (PARTITION BY .. ORDER BY ts), with the column of WATERMARK FOR of \
                 `{stream}`"
            ),
        };
        SqlError::statement(None, format!("{found}, and would wait for the last row of a stream"))
            .or(would_work)
    }

    fn in_order(&self, node: &Window, calls: &[&WindowFunction]) -> Result<Over, SqlError> {
        let input = node.input.schema();
        let params = &calls[0].params;
        let time = self.physical(&params.order_by[0].expr, input)?;
        let planning = |error| SqlError::planning(&error);
        let unit = match time.data_type(input.as_arrow()).map_err(planning)? {
            DataType::Timestamp(unit, _) => unit,
            _ => TimeUnit::Microsecond,
        };
        let keys = params.partition_by.iter().map(|key| self.physical(key, input));
        let keys = keys.collect::<Result<_, _>>()?;
        let mut lowered = Lowered { builder: self, input, unit, arguments: Vec::new() };
        let functions = calls.iter().map(|call| lowered.function(call));
        let functions = functions.collect::<Result<Vec<_>, _>>()?;
        let ordering = || Ordering {
            time: Arc::clone(&time),
            keys: Vec::clone(&keys),
            arguments: lowered.arguments.clone(),
            input: Arc::clone(input.inner()),
            output: Arc::clone(node.schema.inner()),
        };
        let rehearsed = Over::new(ordering(), functions.clone()).map_err(planning)?.rehearse();
        if let Err(error) = rehearsed {
            let reason = format!("this OVER cannot run as a job: {error}");
            return Err(
                SqlError::statement(None, reason).or("use it in the SELECT that reads the view")
            );
        }
        Over::new(ordering(), functions).map_err(planning)
    }

    fn rank(&self, node: &Window, keys: &[Expr], order: &[Sort]) -> Result<Rank, SqlError> {
        let input = node.input.schema();
        let keys = keys.iter().map(|key| self.physical(key, input)).collect::<Result<_, _>>()?;
        let by = order.iter().map(|sort| {
            let options = arrow::compute::SortOptions {
                descending: !sort.asc,
                nulls_first: sort.nulls_first,
            };
            Ok((self.physical(&sort.expr, input)?, options))
        });
        let by = by.collect::<Result<_, SqlError>>()?;
        let (props, context) = (self.state.execution_props(), PhysicalPlanningContext::default());
        let functions = node
            .window_expr
            .iter()
            .map(|expr| create_window_expr(expr, input, props, &context))
            .collect::<Result<_, _>>()
            .map_err(|error| SqlError::planning(&error))?;
        Ok(Rank::new(keys, by, functions, Arc::clone(node.schema.inner())))
    }
}

/// Whether rows of one window come in one batch: they do from the `GROUP BY` itself, not through
/// a join, and not where some of them wait for the end of a gap.
fn comes_together(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(_) => true,
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Window(_) => plan.inputs().into_iter().all(comes_together),
        _ => row_windows(plan).is_some() || gap_fill(plan).is_some_and(|gaps| !gaps.is_linear()),
    }
}

fn call(expr: &Expr) -> Result<&WindowFunction, SqlError> {
    match expr {
        Expr::Alias(alias) => call(&alias.expr),
        Expr::WindowFunction(call) => Ok(call),
        other => Err(SqlError::statement(None, format!("`{other}` is no window function"))),
    }
}

/// Functions of one `OVER`, and the arguments of all of them.
struct Lowered<'a> {
    builder: &'a Builder<'a>,
    input: &'a DFSchema,
    unit: TimeUnit,
    arguments: Vec<Arc<dyn PhysicalExpr>>,
}

impl Lowered<'_> {
    fn function(&mut self, call: &WindowFunction) -> Result<Function, SqlError> {
        let params = &call.params;
        let function = match &call.fun {
            WindowFunctionDefinition::AggregateUDF(function) => {
                return self.aggregate(function, params);
            }
            WindowFunctionDefinition::WindowUDF(function) => function,
        };
        if params.filter.is_some() || params.distinct {
            let reason = format!("`{}` takes neither FILTER nor DISTINCT", function.name());
            return Err(SqlError::statement(None, reason).or("use CASE in its argument"));
        }
        let ignores_nulls = params.null_treatment == Some(NullTreatment::IgnoreNulls);
        match function.name() {
            "row_number" => Ok(Function::RowNumber),
            "lag" if ignores_nulls => Err(refused(
                "lag .. IGNORE NULLS would look back without bound",
                "use latest(x), or last_value(x) IGNORE NULLS with ROWS BETWEEN n PRECEDING",
            )),
            "lag" => self.lag(&params.args),
            name @ ("first_value" | "last_value") => {
                let frame = frame(&params.window_frame, self.unit)?;
                let (argument, is_last) = (self.argument(&params.args[0])?, name == "last_value");
                Ok(Function::Value { argument, is_last, ignores_nulls, frame })
            }
            CHANGED => {
                let argument = self.argument(&params.args[0])?;
                let band = params.args.get(1).map(|expr| match expr {
                    Expr::Literal(value, _) => band(value),
                    _ => band(&ScalarValue::Null),
                });
                let band = band.transpose().map_err(|error| SqlError::planning(&error))?;
                Ok(Function::Changed { argument, band })
            }
            LATEST => {
                let frame = Frame::Unbounded { with_peers: false };
                let argument = self.argument(&params.args[0])?;
                Ok(Function::Value { argument, is_last: true, ignores_nulls: true, frame })
            }
            "lead" => Err(look_ahead()),
            name => Err(refused(
                &format!("`{name}` is not there in order of event time"),
                "use row_number, lag, first_value, last_value, changed, latest or an aggregate",
            )),
        }
    }

    fn argument(&mut self, expr: &Expr) -> Result<usize, SqlError> {
        self.arguments.push(self.builder.physical(expr, self.input)?);
        Ok(self.arguments.len() - 1)
    }

    fn lag(&mut self, args: &[Expr]) -> Result<Function, SqlError> {
        let argument = self.argument(&args[0])?;
        let planning = |error| SqlError::planning(&error);
        let kind = self.arguments[argument].data_type(self.input.as_arrow()).map_err(planning)?;
        let literal = |place: usize, otherwise: ScalarValue| match args.get(place) {
            None => Ok(otherwise),
            Some(Expr::Literal(value, _)) => Ok(value.clone()),
            Some(other) => Err(refused(
                &format!("lag takes `{other}` as the same for all rows"),
                "write a number, such as lag(x, 1, 0)",
            )),
        };
        let rows = literal(1, ScalarValue::Int64(Some(1)))?.cast_to(&DataType::Int64);
        let rows = match rows.map_err(planning)? {
            ScalarValue::Int64(Some(rows)) => usize::try_from(rows).map_err(|_| look_ahead())?,
            _ => 1,
        };
        let default = literal(2, ScalarValue::Null)?.cast_to(&kind).map_err(planning)?;
        Ok(Function::Lag { argument, rows, default })
    }

    fn aggregate(
        &mut self,
        function: &Arc<AggregateUDF>,
        params: &WindowFunctionParams,
    ) -> Result<Function, SqlError> {
        let frame = frame(&params.window_frame, self.unit)?;
        let grows = params.distinct || GROWING.contains(&function.name());
        if grows && matches!(frame, Frame::Unbounded { .. }) {
            let reason = format!("`{}` would keep every row for ever", function.name());
            return Err(refused(
                &reason,
                "add RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW",
            ));
        }
        let call = AggregateFunction::new_udf(
            Arc::clone(function),
            params.args.clone(),
            params.distinct,
            params.filter.clone(),
            Vec::new(),
            params.null_treatment,
        );
        let lowered = self.builder.lower(&Expr::AggregateFunction(call), self.input)?;
        let first = self.arguments.len();
        self.arguments.extend(lowered.arguments);
        let arguments = first..self.arguments.len();
        let filter = lowered.filter.map(|filter| {
            self.arguments.push(filter);
            self.arguments.len() - 1
        });
        let function = lowered.function;
        Ok(Function::Aggregate(Box::new(Aggregate { function, arguments, filter, frame })))
    }
}

fn refused(reason: &str, would_work: &str) -> SqlError {
    SqlError::statement(None, reason).or(would_work)
}

fn look_ahead() -> SqlError {
    refused(
        "lead and FOLLOWING look at rows that have not come",
        "look back from the later row: lag(x), or a frame that ends with CURRENT ROW",
    )
}

fn frame(frame: &WindowFrame, unit: TimeUnit) -> Result<Frame, SqlError> {
    use WindowFrameBound::{CurrentRow, Following, Preceding};
    if matches!(frame.start_bound, Following(_)) || matches!(frame.end_bound, Following(_)) {
        return Err(look_ahead());
    }
    let wrong = |value: &ScalarValue| {
        let reason = format!("`{value}` is no bound of a frame");
        refused(&reason, "write ROWS BETWEEN 9 PRECEDING AND CURRENT ROW, or RANGE with INTERVAL")
    };
    if let Preceding(start) = &frame.start_bound
        && start.is_null()
    {
        return match (frame.units, &frame.end_bound) {
            (WindowFrameUnits::Rows, CurrentRow) => Ok(Frame::Unbounded { with_peers: false }),
            (WindowFrameUnits::Range, CurrentRow) => Ok(Frame::Unbounded { with_peers: true }),
            _ => Err(refused(
                "a frame from UNBOUNDED PRECEDING ends with CURRENT ROW",
                "write lag() of its value in a SELECT around it",
            )),
        };
    }
    let bounds = [&frame.start_bound, &frame.end_bound].map(|bound| match bound {
        Preceding(value) => Some(value),
        _ => None,
    });
    match frame.units {
        WindowFrameUnits::Rows => {
            let rows = |bound: Option<&ScalarValue>| match bound {
                None => Ok(0),
                Some(ScalarValue::UInt64(Some(rows))) => {
                    usize::try_from(*rows).map_err(|_| look_ahead())
                }
                Some(other) => Err(wrong(other)),
            };
            Ok(Frame::Rows { from: rows(bounds[0])?, to: rows(bounds[1])? })
        }
        WindowFrameUnits::Range => {
            let time = |bound: Option<&ScalarValue>| match bound {
                None => Ok(0),
                Some(value) => in_unit(value, unit).ok_or_else(|| wrong(value)),
            };
            Ok(Frame::Range { from: time(bounds[0])?, to: time(bounds[1])? })
        }
        WindowFrameUnits::Groups => {
            Err(refused("GROUPS is not there in a job", "write ROWS or RANGE"))
        }
    }
}

/// A fixed time in the unit of a time column.
fn in_unit(value: &ScalarValue, unit: TimeUnit) -> Option<i64> {
    let nanos = match value {
        ScalarValue::IntervalMonthDayNano(Some(time)) if time.months == 0 => {
            i128::from(time.days) * 86_400_000_000_000 + i128::from(time.nanoseconds)
        }
        ScalarValue::IntervalDayTime(Some(time)) => {
            i128::from(time.days) * 86_400_000_000_000 + i128::from(time.milliseconds) * 1_000_000
        }
        _ => return None,
    };
    let size = match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1000,
        TimeUnit::Nanosecond => 1,
    };
    i64::try_from(nanos / size).ok().filter(|time| *time >= 0)
}
