//! `ASOF JOIN` as an operator.

use std::sync::Arc;

use arrow::datatypes::TimeUnit;
use datafusion::logical_expr::{Expr, Join, JoinType, LogicalPlan, Operator};

use super::interval::{self, Compared, Input};
use super::join::{Side, equality, event_time_of, same_type, side_of, table_of};
use super::lineage::{self, Lineage};
use super::{Builder, Rows};
use crate::error::SqlError;
use crate::operator::asof_join::{AsofJoin, AsofPlan};
use crate::operator::interval_join::SidePlan;
use crate::sql::asof::USAGE;

/// What conditions say about the times of a pair.
struct Match {
    left_time: Expr,
    right_time: Expr,
    is_before: bool,
    /// Microseconds, and whether the bound itself is out.
    tolerance: Option<(i64, bool)>,
}

/// Conditions by what they are about.
#[derive(Default)]
struct Sorted {
    times: Vec<Compared>,
    keys: [Vec<Expr>; 2],
    /// About the left row of an outer join alone.
    left: Vec<Expr>,
}

impl Builder<'_> {
    pub(super) fn asof_join(
        &mut self,
        join: &Join,
        conditions: Vec<Expr>,
    ) -> Result<Rows, SqlError> {
        check_inputs(join)?;
        let mut left = self.node(&join.left)?;
        let mut right = self.node(&join.right)?;
        lineage::check_grouped(&right.lineage)?;
        let lineage: Vec<_> = left.lineage.iter().chain(&right.lineage).cloned().collect();
        lineage::check_spread(&conditions, &join.schema, &lineage)?;
        let sorted = self.sorted(join, conditions, [&mut left, &mut right])?;
        let times = times_of(&sorted.times, join)?;
        let plan = self.asof_plan(join, sorted, &times)?;
        let operator = AsofJoin::new(plan).map_err(|error| SqlError::planning(&error))?;
        let from = self.flow.push(&[left.from, right.from], operator);
        // One row at most for each left row: what told rows apart still does. The right row's time
        // may lie any time in front of the watermark.
        let mut lineage = left.lineage;
        lineage.extend(right.lineage.iter().map(|_| Lineage::Other));
        Ok(Rows { from, lineage })
    }

    /// What is about one side alone becomes a filter in front of the join, but for that about left
    /// rows which come out anyway.
    fn sorted(
        &mut self,
        join: &Join,
        conditions: Vec<Expr>,
        [left, right]: [&mut Rows; 2],
    ) -> Result<Sorted, SqlError> {
        let inputs = [(&join.left, left.lineage.clone()), (&join.right, right.lineage.clone())];
        let [in_left, in_right] =
            inputs.each_ref().map(|(plan, lineage)| Input { schema: plan.schema(), lineage });
        let mut sorted = Sorted::default();
        for condition in conditions {
            let times = interval::compared(&condition, in_left, in_right);
            if !times.is_empty() {
                sorted.times.extend(times);
                continue;
            }
            match (side_of(&condition, join), equality(&condition, join)) {
                (Some(Side::Left), _) if join.join_type == JoinType::Left => {
                    sorted.left.push(condition);
                }
                (Some(Side::Left), _) => self.filter(left, &condition, &join.left)?,
                (Some(Side::Right), _) => self.filter(right, &condition, &join.right)?,
                (None, Some((key, other))) if same_type(key, other, join) => {
                    sorted.keys[0].push(key.clone());
                    sorted.keys[1].push(other.clone());
                }
                _ => return Err(neither(&condition)),
            }
        }
        Ok(sorted)
    }

    fn asof_plan(&self, join: &Join, sorted: Sorted, times: &Match) -> Result<AsofPlan, SqlError> {
        let side = |keys: &[Expr], time: &Expr, plan: &LogicalPlan| -> Result<SidePlan, SqlError> {
            let keys = keys.iter().map(|key| self.physical(key, plan.schema()));
            let (keys, time) =
                (keys.collect::<Result<_, _>>()?, self.physical(time, plan.schema())?);
            Ok(SidePlan { keys, time, schema: Arc::clone(plan.schema().inner()) })
        };
        let is_finer = interval::is_finer(&times.left_time, join.left.schema())
            || interval::is_finer(&times.right_time, join.right.schema());
        let unit = if is_finer { TimeUnit::Nanosecond } else { TimeUnit::Microsecond };
        let each = if is_finer { 1000 } else { 1 };
        let tolerance = times
            .tolerance
            .map(|(micros, is_out)| micros.saturating_mul(each).saturating_sub(i64::from(is_out)));
        Ok(AsofPlan {
            sides: [
                side(&sorted.keys[0], &times.left_time, &join.left)?,
                side(&sorted.keys[1], &times.right_time, &join.right)?,
            ],
            unit,
            is_before: times.is_before,
            tolerance,
            left_filter: self.all_of(sorted.left, join.left.schema())?,
            is_outer: join.join_type == JoinType::Left,
            output: Arc::clone(join.schema.inner()),
        })
    }
}

fn check_inputs(join: &Join) -> Result<(), SqlError> {
    let table = table_of(&join.left).or_else(|| table_of(&join.right));
    let Some(table) = table else { return Ok(()) };
    let name = &table.table.name;
    let reason = format!("ASOF JOIN is of two streams, and `{name}` is a table");
    Err(SqlError::statement(None, reason).or(
        "a row of a table is looked up as it is now: LEFT JOIN table ON stream.column = table.key",
    ))
}

fn times_of(all: &[Compared], join: &Join) -> Result<Match, SqlError> {
    let Some(first) = all.first() else { return Err(without_times(join)) };
    let (left_time, right_time) = (first.left_time.clone(), first.right_time.clone());
    let (mut is_before, mut is_bounded, mut tolerance) = (false, false, None);
    for one in all {
        if (&one.left_time, &one.right_time) != (&left_time, &right_time) {
            let reason = "ASOF JOIN compares one time of each stream";
            return Err(SqlError::statement(None, reason).or(USAGE));
        }
        match (one.operator, one.edge_micros) {
            (Operator::Lt | Operator::LtEq, 0) => {
                is_bounded = true;
                is_before |= one.operator == Operator::Lt;
            }
            (Operator::Gt | Operator::GtEq, edge @ ..0) => {
                let micros = i64::try_from(-edge).unwrap_or(i64::MAX);
                let bound = (micros, one.operator == Operator::Gt);
                // The least time; of two alike the one without its end.
                let least = |known: (i64, bool)| {
                    if (known.0, !known.1) <= (bound.0, !bound.1) { known } else { bound }
                };
                tolerance = Some(tolerance.map_or(bound, least));
            }
            _ => return Err(backwards(join)),
        }
    }
    if is_bounded {
        Ok(Match { left_time, right_time, is_before, tolerance })
    } else {
        Err(backwards(join))
    }
}

/// The names of both event times, if they have any.
fn names(join: &Join) -> Option<(String, String)> {
    event_time_of(&join.left).zip(event_time_of(&join.right))
}

fn without_times(join: &Join) -> SqlError {
    let reason = "ASOF JOIN does not say how the event times of the two streams are compared";
    let would_work = match names(join) {
        Some((left, right)) => format!("add MATCH_CONDITION ({left} >= {right})"),
        None => format!("declare a watermark for both streams, and {USAGE}"),
    };
    SqlError::statement(None, reason).or(would_work)
}

fn backwards(join: &Join) -> SqlError {
    let (left, right) = names(join).unwrap_or_else(|| ("t.ts".to_owned(), "q.ts".to_owned()));
    let reason = "ASOF JOIN finds the newest right row that is not behind the left one";
    SqlError::statement(None, reason).or(format!(
        "write MATCH_CONDITION ({left} >= {right}), and perhaps AND {left} <= {right} + INTERVAL '5 seconds'"
    ))
}

fn neither(condition: &Expr) -> SqlError {
    let reason = format!("`{condition}` of an ASOF JOIN is neither a key nor about one side");
    SqlError::statement(None, reason)
        .or("put it into WHERE: it is asked of the pair that was found")
}
