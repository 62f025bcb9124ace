//! Bounds in time between the rows of two streams, from any spelling of them.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::DFSchema;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator};
use datafusion::scalar::ScalarValue;

use super::lineage::Lineage;

/// One input of a join.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    pub(super) schema: &'a DFSchema,
    pub(super) lineage: &'a [Lineage],
}

/// Right time less left time lies between these two, bounds included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) left_time: Expr,
    pub(super) right_time: Expr,
    pub(super) lower_micros: i64,
    pub(super) upper_micros: i64,
}

/// An expression as times of both sides, each so many times, and a constant.
#[derive(Debug, Clone, Default)]
struct Sum {
    left: Option<(i8, Expr)>,
    right: Option<(i8, Expr)>,
    micros: i128,
}

/// What conditions, all of which hold, say about the time between two rows; `None` if they leave
/// it open on one side.
pub(super) fn of(conditions: &[Expr], left: Input<'_>, right: Input<'_>) -> Option<Interval> {
    let mut bounds: Vec<(Expr, Expr, Option<i128>, Option<i128>)> = Vec::new();
    for (left_time, right_time, (lower, upper)) in
        conditions.iter().flat_map(|condition| bounds_of(condition, left, right))
    {
        let known = bounds.iter().position(|(l, r, ..)| (l, r) == (&left_time, &right_time));
        let known = known.unwrap_or_else(|| {
            bounds.push((left_time, right_time, None, None));
            bounds.len() - 1
        });
        let (_, _, known_lower, known_upper) = &mut bounds[known];
        *known_lower = (*known_lower).max(lower);
        *known_upper = [*known_upper, upper].into_iter().flatten().min();
    }
    bounds.into_iter().find_map(|(left_time, right_time, lower, upper)| {
        let lower_micros = i64::try_from(lower?).ok()?;
        let upper_micros = i64::try_from(upper?).ok()?;
        Some(Interval { left_time, right_time, lower_micros, upper_micros })
    })
}

type Bounds = (Expr, Expr, (Option<i128>, Option<i128>));

/// A condition on two event times: `right - left`, compared with an edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Compared {
    pub(super) left_time: Expr,
    pub(super) right_time: Expr,
    /// `=`, `<`, `<=`, `>` or `>=`.
    pub(super) operator: Operator,
    pub(super) edge_micros: i128,
}

/// The bounds that one condition sets: `right - left >= lower`, `right - left <= upper`.
fn bounds_of(condition: &Expr, left: Input<'_>, right: Input<'_>) -> Vec<Bounds> {
    let bounds = compared(condition, left, right).into_iter().filter_map(|compared| {
        let Compared { left_time, right_time, operator, edge_micros: edge } = compared;
        // Seconds and the like were cut off nanoseconds on the way to a time in microseconds.
        let is_finer = is_finer(&left_time, left.schema) || is_finer(&right_time, right.schema);
        let slack = i128::from(is_finer);
        let (lower, upper) = (Some(edge - slack), Some(edge + slack));
        let bounds = match operator {
            Operator::Eq => (lower, upper),
            Operator::Gt | Operator::GtEq => (lower, None),
            Operator::Lt | Operator::LtEq => (None, upper),
            _ => return None,
        };
        Some((left_time, right_time, bounds))
    });
    bounds.collect()
}

/// What one condition says about the event times of both sides; nothing if it is about something
/// else.
pub(super) fn compared(condition: &Expr, left: Input<'_>, right: Input<'_>) -> Vec<Compared> {
    let (from, operator, to) = match condition {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => (left, *op, right),
        Expr::Between(between) if !between.negated => {
            let compare = |op, with: &Expr| {
                let (left, right) = (between.expr.clone(), Box::new(with.clone()));
                Expr::BinaryExpr(BinaryExpr { left, op, right })
            };
            let both =
                [compare(Operator::GtEq, &between.low), compare(Operator::LtEq, &between.high)];
            return both.iter().flat_map(|one| compared(one, left, right)).collect();
        }
        _ => return Vec::new(),
    };
    let sum = |expr: &Expr| sum_of(expr, left, right);
    let Some(difference) = sum(from).zip(sum(to)).and_then(|(from, to)| minus(from, to)) else {
        return Vec::new();
    };
    let Sum { left: Some((left_sign, left_time)), right: Some((right_sign, right_time)), micros } =
        difference
    else {
        return Vec::new();
    };
    // `right - left + micros`, or its negative, compared with zero.
    let (operator, edge_micros) = match (left_sign, right_sign) {
        (-1, 1) => (Some(operator), -micros),
        (1, -1) => (operator.swap(), micros),
        _ => return Vec::new(),
    };
    use Operator::{Eq, Gt, GtEq, Lt, LtEq};
    let operator = operator.filter(|operator| matches!(operator, Eq | Gt | GtEq | Lt | LtEq));
    let compared = |operator| Compared { left_time, right_time, operator, edge_micros };
    operator.map(compared).into_iter().collect()
}

/// Whether a time is counted in less than microseconds.
pub(super) fn is_finer(time: &Expr, input: &DFSchema) -> bool {
    matches!(time.get_type(input), Ok(DataType::Timestamp(TimeUnit::Nanosecond, _)))
}

fn sum_of(expr: &Expr, left: Input<'_>, right: Input<'_>) -> Option<Sum> {
    match expr {
        Expr::Alias(alias) => sum_of(&alias.expr, left, right),
        Expr::Cast(cast) => {
            let from = |input: Input<'_>| cast.expr.get_type(input.schema).ok();
            let from = from(left).or_else(|| from(right));
            let is_kept = keeps_micros(from.as_ref(), cast.field.data_type());
            is_kept.then(|| sum_of(&cast.expr, left, right)).flatten()
        }
        Expr::Column(column) => {
            let is_time = |input: Input<'_>| {
                let place = input.schema.maybe_index_of_column(column);
                let lineage = place.and_then(|place| input.lineage.get(place));
                lineage.is_some_and(Lineage::is_event_time)
            };
            let time = Some((1, expr.clone()));
            match (is_time(left), is_time(right)) {
                (true, false) => Some(Sum { left: time, ..Sum::default() }),
                (false, true) => Some(Sum { right: time, ..Sum::default() }),
                _ => None,
            }
        }
        Expr::Literal(value, _) => Some(Sum { micros: micros_of(value)?, ..Sum::default() }),
        Expr::Negative(inner) => minus(Sum::default(), sum_of(inner, left, right)?),
        Expr::BinaryExpr(BinaryExpr { left: a, op, right: b }) => {
            let (a, b) = (sum_of(a, left, right)?, sum_of(b, left, right)?);
            match op {
                Operator::Minus => minus(a, b),
                Operator::Plus => minus(a, minus(Sum::default(), b)?),
                _ => None,
            }
        }
        _ => None,
    }
}

fn minus(a: Sum, b: Sum) -> Option<Sum> {
    let times = |a: Option<(i8, Expr)>, b: Option<(i8, Expr)>| match (a, b) {
        (Some((a, time)), Some((b, other))) if time == other => match a.checked_sub(b)? {
            0 => Some(None),
            sign => Some(Some((sign, time))),
        },
        (Some(_), Some(_)) => None,
        (a, None) => Some(a),
        (None, Some((sign, time))) => Some(Some((-sign, time))),
    };
    let (left, right) = (times(a.left, b.left)?, times(a.right, b.right)?);
    Some(Sum { left, right, micros: a.micros.checked_sub(b.micros)? })
}

/// Whether such a cast does not change a time, or a span, by as much as a microsecond. One from
/// zone to zone may mean another point in time; only a span, of columns of both sides, has a type
/// that neither side knows.
fn keeps_micros(from: Option<&DataType>, to: &DataType) -> bool {
    match (from, to) {
        (Some(DataType::Timestamp(_, from)), DataType::Timestamp(unit, to)) => {
            from == to && *unit >= TimeUnit::Microsecond
        }
        (_, DataType::Duration(unit)) => *unit >= TimeUnit::Microsecond,
        (_, DataType::Interval(_)) => true,
        _ => false,
    }
}

/// A fixed span of time, in microseconds.
fn micros_of(value: &ScalarValue) -> Option<i128> {
    const DAY: i128 = 86_400_000_000;
    match value {
        ScalarValue::IntervalMonthDayNano(Some(span)) if span.months == 0 => {
            Some(i128::from(span.days) * DAY + i128::from(span.nanoseconds) / 1000)
        }
        ScalarValue::IntervalDayTime(Some(span)) => {
            Some(i128::from(span.days) * DAY + i128::from(span.milliseconds) * 1000)
        }
        ScalarValue::DurationSecond(Some(span)) => Some(i128::from(*span) * 1_000_000),
        ScalarValue::DurationMillisecond(Some(span)) => Some(i128::from(*span) * 1000),
        ScalarValue::DurationMicrosecond(Some(span)) => Some(i128::from(*span)),
        ScalarValue::DurationNanosecond(Some(span)) => Some(i128::from(*span) / 1000),
        _ => None,
    }
}
