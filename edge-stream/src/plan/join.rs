//! `JOIN`: which operator it becomes, or why it cannot run over rows that never end.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::{DFSchema, NullEquality};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprSchemable, Join, JoinType, LogicalPlan, Operator,
};
use datafusion::physical_expr::PhysicalExpr;

use super::interval::{self, Input, Interval};
use super::lineage::{self, Lineage};
use super::{Builder, Rows};
use crate::asof;
use crate::error::SqlError;
use crate::lookup::LookupTable;
use crate::operator::Filter;
use crate::operator::interval_join::{IntervalJoin, JoinPlan, SidePlan};
use crate::stream::StreamTable;

/// Which input the columns of an expression come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// A table as it stands in a join.
pub(super) struct Table {
    pub(super) table: LookupTable,
    /// Its columns that are wanted.
    pub(super) columns: Vec<usize>,
}

/// The join whose condition a `WHERE` right above it adds to: `FROM a, b WHERE ..` is written so.
/// One of an ASOF join is about pairs that are found already.
pub(super) fn below_where(plan: &LogicalPlan) -> Option<&Join> {
    match plan {
        LogicalPlan::Join(join) if join.join_type == JoinType::Inner => {
            asof::conditions(join).is_none().then_some(join)
        }
        _ => None,
    }
}

impl Builder<'_> {
    /// Plans a join; `also` must hold for its pairs too.
    pub(super) fn join(&mut self, join: &Join, also: Option<&Expr>) -> Result<Rows, SqlError> {
        check_kind(join)?;
        if let Some(conditions) = asof::conditions(join) {
            return self.asof_join(join, conditions);
        }
        let on = join.on.iter().map(|(left, right)| {
            let (left, right) = (Box::new(left.clone()), Box::new(right.clone()));
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right })
        });
        let filters = join.filter.iter().chain(also).flat_map(split_conjunction).cloned();
        let conditions: Vec<_> = on.chain(filters).collect();
        if let Some(Table { table, .. }) = table_of(&join.left) {
            let reason = format!("changes of table `{}` make no rows of a job", table.name);
            return Err(SqlError::statement(None, reason)
                .or("write the stream first: FROM stream JOIN table ON .."));
        }
        match table_of(&join.right) {
            Some(table) => self.lookup_join(join, conditions, &table),
            None => self.interval_join(join, conditions),
        }
    }

    fn interval_join(&mut self, join: &Join, conditions: Vec<Expr>) -> Result<Rows, SqlError> {
        let mut left = self.node(&join.left)?;
        let mut right = self.node(&join.right)?;
        let is_outer = join.join_type == JoinType::Left;
        let lineage: Vec<_> = left.lineage.iter().chain(&right.lineage).cloned().collect();
        lineage::check_spread(&conditions, &join.schema, &lineage)?;
        // What is about one side alone need not wait for the other, but a left row of an outer
        // join, which comes out whether it holds or not.
        let mut both = Vec::new();
        for condition in conditions {
            match side_of(&condition, join) {
                Some(Side::Left) if !is_outer => self.filter(&mut left, &condition, &join.left)?,
                Some(Side::Right) => self.filter(&mut right, &condition, &join.right)?,
                _ => both.push(condition),
            }
        }
        let inputs = [(&join.left, &left.lineage), (&join.right, &right.lineage)];
        let inputs = inputs.map(|(plan, lineage)| Input { schema: plan.schema(), lineage });
        let interval = interval::of(&both, inputs[0], inputs[1]);
        let interval = interval.ok_or_else(|| without_interval(join))?;
        if interval.lower_micros > interval.upper_micros {
            let reason = "no two rows can be a pair: the bounds in time exclude each other";
            return Err(SqlError::statement(None, reason).or("exchange them"));
        }
        let lineage = [(left.lineage, false), (right.lineage, is_outer)];
        let lineage = lineage.into_iter().flat_map(|(lineage, may_be_null)| {
            lineage.into_iter().map(move |one| match may_be_null {
                true => Lineage::Other,
                false => one.ungrouped(),
            })
        });
        let lineage = lineage.collect();
        let operator = IntervalJoin::new(self.condition(join, both, &interval)?);
        let operator = operator.map_err(|error| SqlError::planning(&error))?;
        let from = self.flow.push(&[left.from, right.from], operator);
        Ok(Rows { from, lineage })
    }

    /// What the operator of a join goes by.
    fn condition(
        &self,
        join: &Join,
        conditions: Vec<Expr>,
        interval: &Interval,
    ) -> Result<JoinPlan, SqlError> {
        let (mut keys, mut rest) = ([Vec::new(), Vec::new()], Vec::new());
        for condition in conditions {
            match equality(&condition, join) {
                Some((left, right)) if same_type(left, right, join) => {
                    keys[0].push(self.physical(left, join.left.schema())?);
                    keys[1].push(self.physical(right, join.right.schema())?);
                }
                _ => rest.push(condition),
            }
        }
        let side = |keys, time: &Expr, plan: &LogicalPlan| -> Result<SidePlan, SqlError> {
            let time = self.physical(time, plan.schema())?;
            Ok(SidePlan { keys, time, schema: Arc::clone(plan.schema().inner()) })
        };
        let [left, right] = keys;
        let left = side(left, &interval.left_time, &join.left)?;
        let right = side(right, &interval.right_time, &join.right)?;
        Ok(JoinPlan {
            sides: [left, right],
            lower_micros: interval.lower_micros,
            upper_micros: interval.upper_micros,
            filter: self.all_of(rest, &join.schema)?,
            is_outer: join.join_type == JoinType::Left,
            output: Arc::clone(join.schema.inner()),
        })
    }

    /// Conditions as one, if there are any.
    pub(super) fn all_of(
        &self,
        conditions: Vec<Expr>,
        schema: &DFSchema,
    ) -> Result<Option<Arc<dyn PhysicalExpr>>, SqlError> {
        conjunction(conditions).map(|all| self.physical(&all, schema)).transpose()
    }

    pub(super) fn filter(
        &mut self,
        rows: &mut Rows,
        condition: &Expr,
        plan: &LogicalPlan,
    ) -> Result<(), SqlError> {
        let condition = self.physical(condition, plan.schema())?;
        rows.from = self.flow.push(&[rows.from], Filter::new(condition));
        Ok(())
    }
}

fn check_kind(join: &Join) -> Result<(), SqlError> {
    let (reason, would_work) = match join.join_type {
        JoinType::Inner | JoinType::Left if join.null_equality == NullEquality::NullEqualsNull => {
            ("this join takes nulls for equal", "compare with = in ON")
        }
        JoinType::Inner | JoinType::Left => return Ok(()),
        JoinType::Right => ("RIGHT JOIN is not there", "exchange the sides and write LEFT JOIN"),
        JoinType::Full => ("FULL JOIN is not there", "create one view by LEFT JOIN for each side"),
        _ => {
            ("a job joins by JOIN and LEFT JOIN", "write JOIN, and select the columns of one side")
        }
    };
    Err(SqlError::statement(None, reason).or(would_work))
}

/// The table that an input of a join is, if it is one.
pub(super) fn table_of(plan: &LogicalPlan) -> Option<Table> {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => table_of(&alias.input),
        LogicalPlan::TableScan(scan) if scan.filters.is_empty() => {
            let provider = source_as_provider(&scan.source).ok()?;
            let provider: &dyn TableProvider = provider.as_ref();
            let table = provider.downcast_ref::<LookupTable>()?.clone();
            let all = || (0..table.rows.schema().fields().len()).collect();
            let columns = scan.projection.clone().unwrap_or_else(all);
            Some(Table { table, columns })
        }
        _ => None,
    }
}

/// The one input that all columns of an expression come from.
pub(super) fn side_of(expr: &Expr, join: &Join) -> Option<Side> {
    let columns = expr.column_refs();
    let are_all_in = |schema: &DFSchema| {
        !columns.is_empty() && columns.iter().all(|column| schema.is_column_from_schema(column))
    };
    match (are_all_in(join.left.schema()), are_all_in(join.right.schema())) {
        (true, false) => Some(Side::Left),
        (false, true) => Some(Side::Right),
        _ => None,
    }
}

/// Left and right of `left = right`, whichever way round it is written.
pub(super) fn equality<'a>(condition: &'a Expr, join: &Join) -> Option<(&'a Expr, &'a Expr)> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else {
        return None;
    };
    match (side_of(left, join), side_of(right, join)) {
        (Some(Side::Left), Some(Side::Right)) => Some((left, right)),
        (Some(Side::Right), Some(Side::Left)) => Some((right, left)),
        _ => None,
    }
}

pub(super) fn same_type(left: &Expr, right: &Expr, join: &Join) -> bool {
    let types = (left.get_type(join.left.schema()), right.get_type(join.right.schema()));
    matches!(types, (Ok(left), Ok(right)) if left == right)
}

/// Why a join needs bounds in time, and how they are written for these inputs.
fn without_interval(join: &Join) -> SqlError {
    let reason = "a join of streams without bounds in time would keep every row for ever";
    let would_work = match (event_time_of(&join.left), event_time_of(&join.right)) {
        (Some(left), Some(right)) => format!(
            "add to ON: AND {right} BETWEEN {left} - INTERVAL '1 minute' AND {left} + INTERVAL \
             '1 minute'"
        ),
        _ => "declare a watermark for both streams, and compare their event times in ON".to_owned(),
    };
    SqlError::statement(None, reason).or(would_work)
}

/// The name of a stream's event time, whether the query uses it or not.
pub(super) fn event_time_of(plan: &LogicalPlan) -> Option<String> {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => {
            let name = event_time_of(&alias.input)?;
            let column = name.rsplit('.').next()?;
            Some(format!("{}.{column}", alias.alias.table()))
        }
        LogicalPlan::TableScan(scan) => {
            let provider = source_as_provider(&scan.source).ok()?;
            let provider: &dyn TableProvider = provider.as_ref();
            let stream = provider.downcast_ref::<StreamTable>()?;
            let column = stream.schema.field(stream.event_time.as_ref()?.index).name();
            Some(format!("{}.{column}", scan.table_name.table()))
        }
        LogicalPlan::Filter(filter) => event_time_of(&filter.input),
        _ => None,
    }
}
