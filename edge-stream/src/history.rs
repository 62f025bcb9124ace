//! What a bounded query reads of a Log: the records that its conditions on `_seq` and `_time` leave.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
#[cfg(feature = "db")]
use async_trait::async_trait;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Column;
use datafusion::error::Result;
#[cfg(feature = "db")]
use datafusion::logical_expr::TableType;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::scalar::ScalarValue;

/// Records of a Log that a query can want. There may be more among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Positions.
    pub(crate) seqs: Range<u64>,
    /// Times of arrival in microseconds, from here on. There is no end: behind a record that came too
    /// late there may be one that did not, as clocks are set back.
    pub(crate) since: i64,
}

impl Wanted {
    pub(crate) const ALL: Wanted = Wanted { seqs: 0..u64::MAX, since: i64::MIN };

    /// What all these conditions leave.
    pub(crate) fn by(filters: &[Expr]) -> Wanted {
        filters.iter().map(Wanted::of).fold(Wanted::ALL, Wanted::and)
    }

    /// What a condition leaves: all, if it says nothing of positions and times.
    fn of(filter: &Expr) -> Wanted {
        match filter {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
                Wanted::of(left).and(Wanted::of(right))
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
                Wanted::of(left).or(Wanted::of(right))
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                let wanted = compared(left, *op, right);
                wanted.or_else(|| compared(right, op.swap()?, left)).unwrap_or(Wanted::ALL)
            }
            Expr::Between(Between { expr, negated: false, low, high }) => {
                let low = compared(expr, Operator::GtEq, low).unwrap_or(Wanted::ALL);
                low.and(compared(expr, Operator::LtEq, high).unwrap_or(Wanted::ALL))
            }
            Expr::InList(InList { expr, list, negated: false }) => {
                let each = list
                    .iter()
                    .map(|value| compared(expr, Operator::Eq, value).unwrap_or(Wanted::ALL));
                each.reduce(Wanted::or).unwrap_or(Wanted::ALL)
            }
            _ => Wanted::ALL,
        }
    }

    fn and(self, other: Wanted) -> Wanted {
        let (start, end) =
            (self.seqs.start.max(other.seqs.start), self.seqs.end.min(other.seqs.end));
        Wanted { seqs: start..end, since: self.since.max(other.since) }
    }

    /// What lies between the two is wanted, too.
    fn or(self, other: Wanted) -> Wanted {
        let (start, end) =
            (self.seqs.start.min(other.seqs.start), self.seqs.end.max(other.seqs.end));
        Wanted { seqs: start..end, since: self.since.min(other.since) }
    }
}

/// `column op value`, if that is a position or a time against a number.
fn compared(column: &Expr, op: Operator, value: &Expr) -> Option<Wanted> {
    let Expr::Literal(value, _) = value else { return None };
    match column {
        Expr::Column(Column { name, .. }) if name == "_seq" => {
            let &ScalarValue::Int64(Some(value)) = value else { return None };
            seqs(op, value)
        }
        _ if is_time(column) => since(op, value),
        _ => None,
    }
}

/// The time of arrival, perhaps in finer units or in another zone.
fn is_time(expr: &Expr) -> bool {
    match expr {
        Expr::Column(column) => column.name == "_time",
        Expr::Cast(cast) => {
            let kind = cast.field.data_type();
            let is_finer = matches!(
                kind,
                DataType::Timestamp(TimeUnit::Microsecond | TimeUnit::Nanosecond, _)
            );
            is_finer && is_time(&cast.expr)
        }
        _ => false,
    }
}

fn seqs(op: Operator, value: i64) -> Option<Wanted> {
    // What lies in front of the first record is as far away as that.
    let at = |value: i64| u64::try_from(value).unwrap_or(0);
    let (this, next) = (at(value), at(value.saturating_add(1)));
    let seqs = match op {
        Operator::Eq => this..next,
        Operator::Gt => next..u64::MAX,
        Operator::GtEq => this..u64::MAX,
        Operator::Lt => 0..this,
        Operator::LtEq => 0..next,
        _ => return None,
    };
    Some(Wanted { seqs, ..Wanted::ALL })
}

fn since(op: Operator, value: &ScalarValue) -> Option<Wanted> {
    let micros = match value {
        ScalarValue::TimestampMicrosecond(Some(micros), _) => *micros,
        ScalarValue::TimestampNanosecond(Some(nanos), _) => nanos.div_euclid(1_000),
        _ => return None,
    };
    let is_from_there = matches!(op, Operator::Eq | Operator::Gt | Operator::GtEq);
    is_from_there.then_some(Wanted { since: micros, ..Wanted::ALL })
}

/// The records of a Log, as rows.
pub(crate) trait History: Debug + Send + Sync {
    fn schema(&self) -> &SchemaRef;

    /// At least those that are wanted.
    fn rows(&self, wanted: Wanted) -> Arc<dyn PartitionStream>;
}

/// A Log under its own name in a query.
#[cfg(feature = "db")]
#[derive(Debug)]
pub(crate) struct LogTable(pub(crate) Arc<dyn History>);

#[cfg(feature = "db")]
#[async_trait]
impl TableProvider for LogTable {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(self.0.schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(used(filters))
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        scan(&*self.0, state, projection, filters, limit).await
    }
}

/// Which conditions leave out what need not be read. Rows are looked at once more all the same.
pub(crate) fn used(filters: &[&Expr]) -> Vec<TableProviderFilterPushDown> {
    let uses = filters.iter().map(|filter| match Wanted::of(filter) == Wanted::ALL {
        true => TableProviderFilterPushDown::Unsupported,
        false => TableProviderFilterPushDown::Inexact,
    });
    uses.collect()
}

pub(crate) async fn scan(
    history: &dyn History,
    state: &dyn Session,
    projection: Option<&Vec<usize>>,
    filters: &[Expr],
    limit: Option<usize>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let rows = history.rows(Wanted::by(filters));
    let rows = StreamingTable::try_new(SchemaRef::clone(history.schema()), vec![rows])?;
    rows.scan(state, projection, &[], limit).await
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{Cast, col, lit};

    use super::*;

    fn wanted(filter: Expr) -> (u64, u64, i64) {
        let Wanted { seqs, since } = Wanted::by(&[filter]);
        (seqs.start, seqs.end, since)
    }

    #[test]
    fn conditions_on_positions_leave_a_range() {
        let (end, always) = (u64::MAX, i64::MIN);
        let seq = || col("_seq");
        for (filter, from, to) in [
            (seq().gt(lit(7i64)), 8, end),
            (seq().gt_eq(lit(7i64)), 7, end),
            (seq().lt(lit(7i64)), 0, 7),
            (seq().lt_eq(lit(7i64)), 0, 8),
            (seq().eq(lit(7i64)), 7, 8),
            (lit(7i64).gt(seq()), 0, 7),
            (lit(7i64).lt_eq(seq()), 7, end),
            (seq().eq(lit(-1i64)), 0, 0),
            (seq().gt(lit(-5i64)), 0, end),
            (seq().lt_eq(lit(i64::MAX)), 0, i64::MAX.cast_unsigned()),
            (seq().between(lit(3i64), lit(9i64)), 3, 10),
            (seq().not_between(lit(3i64), lit(9i64)), 0, end),
            (seq().in_list(vec![lit(9i64), lit(4i64)], false), 4, 10),
            (seq().in_list(vec![lit(9i64), lit(4i64)], true), 0, end),
            (seq().in_list(vec![lit(9i64), col("n")], false), 0, end),
            (seq().gt(lit(2i64)).and(seq().lt(lit(9i64))), 3, 9),
            (seq().gt(lit(2i64)).and(col("n").lt(lit(9i64))), 3, end),
            (seq().eq(lit(2i64)).or(seq().eq(lit(9i64))), 2, 10),
            (seq().eq(lit(2i64)).or(col("n").eq(lit(9i64))), 0, end),
            (seq().not_eq(lit(2i64)), 0, end),
            (seq().gt(col("n")), 0, end),
            (col("n").gt(lit(7i64)), 0, end),
        ] {
            assert_eq!(wanted(filter.clone()), (from, to, always), "{filter}");
        }
    }

    #[test]
    fn conditions_on_times_say_where_to_begin() {
        let micros = |micros| lit(ScalarValue::TimestampMicrosecond(Some(micros), None));
        let nanos = |nanos| lit(ScalarValue::TimestampNanosecond(Some(nanos), None));
        let as_ =
            |unit| Expr::Cast(Cast::new(Box::new(col("_time")), DataType::Timestamp(unit, None)));
        let time = || col("_time");
        for (filter, since) in [
            (time().gt(micros(7)), 7),
            (time().gt_eq(micros(7)), 7),
            (time().eq(micros(7)), 7),
            (micros(7).lt(time()), 7),
            (time().lt(micros(7)), i64::MIN),
            (time().between(micros(7), micros(9)), 7),
            (as_(TimeUnit::Nanosecond).gt(nanos(7_999)), 7),
            (as_(TimeUnit::Nanosecond).gt(nanos(-1)), -1),
            // Cut to seconds, it may be less than it was.
            (as_(TimeUnit::Second).gt_eq(micros(7)), i64::MIN),
            (time().gt(micros(7)).or(time().eq(micros(3))), 3),
            (time().gt(micros(7)).and(time().gt(micros(3))), 7),
            (col("ts").gt(micros(7)), i64::MIN),
        ] {
            assert_eq!(wanted(filter.clone()), (0, u64::MAX, since), "{filter}");
        }
    }
}
