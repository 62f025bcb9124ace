//! `EMIT`: which `GROUP BY` gives out its groups before they are final, and what makes that
//! impossible.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::logical_plan::Aggregate as AggregateNode;
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::lineage::{self, Lineage};
use crate::emit::Emit;
use crate::error::{Position, SqlError};
use crate::operator::{Flow, Origin};
use crate::stream::StreamTable;

/// When the groups of the outermost `GROUP BY` come out; those of all others when they are final.
pub(super) struct Emission<'a> {
    emit: Emit,
    at: Option<Position>,
    plan: &'a LogicalPlan,
    outermost: Option<&'a AggregateNode>,
    /// Where its groups come out, once it is planned.
    from: Option<Origin>,
    /// The names of its keys, where it has no windows.
    running: Option<Arc<[String]>>,
}

impl<'a> Emission<'a> {
    pub(super) fn new(
        plan: &'a LogicalPlan,
        emit: Emit,
        at: Option<Position>,
    ) -> Result<Emission<'a>, SqlError> {
        let outermost =
            match outermost(plan) {
                LogicalPlan::Aggregate(node) => Some(node),
                // Each of its rows is a change that comes out already.
                LogicalPlan::TableScan(_) if emit == Emit::Changes => None,
                _ if emit == Emit::OnWindowClose => None,
                other => return Err(SqlError::statement(at, around(other, emit)).or(
                    "leave it out: rows come out as soon as they are final; or GROUP BY outermost",
                )),
            };
        Ok(Emission { emit, at, plan, outermost, from: None, running: None })
    }

    /// When the groups of this `GROUP BY` come out.
    pub(super) fn of(&self, node: &AggregateNode) -> Result<Emit, SqlError> {
        if !self.outermost.is_some_and(|outermost| std::ptr::eq(outermost, node)) {
            return Ok(Emit::OnWindowClose);
        }
        if let (Emit::Every(_), Some(stream)) = (self.emit, without_event_time(&node.input)) {
            let reason = format!("EMIT EVERY goes by event time, and `{stream}` has none");
            return Err(self
                .refuse(reason)
                .or("declare WATERMARK FOR _time, which is the arrival, or write EMIT CHANGES"));
        }
        Ok(self.emit)
    }

    pub(super) fn refuse(&self, reason: impl Into<String>) -> SqlError {
        SqlError::statement(self.at, reason)
    }

    /// The outermost `GROUP BY` comes out here.
    pub(super) fn planned(&mut self, node: &AggregateNode, from: Origin) {
        if self.outermost.is_some_and(|outermost| std::ptr::eq(outermost, node)) {
            self.from = Some(from);
        }
    }

    /// It has no windows, and keys with these names.
    pub(super) fn set_running(&mut self, names: Arc<[String]>) {
        self.running = Some(names);
    }

    /// The columns that tell rows of the answer apart.
    pub(super) fn key(&self, answer: &[Lineage]) -> Result<Option<Vec<usize>>, SqlError> {
        match &self.running {
            Some(names) => lineage::group_key(answer, names).map(Some),
            None => lineage::key(answer),
        }
    }

    /// Groups that come out again and again may fail a condition that they have passed before.
    pub(super) fn retract(&self, flow: &mut Flow, key: &[usize]) {
        let (Some(from), true) = (self.from, self.emit != Emit::OnWindowClose) else { return };
        if has_condition(self.plan)
            && let Some(key) = key.iter().map(|column| traced(self.plan, *column)).collect()
        {
            flow.retract(from, key);
        }
    }
}

/// What lies below all that is computed from each row alone.
fn outermost(plan: &LogicalPlan) -> &LogicalPlan {
    match plan {
        LogicalPlan::Projection(projection) => outermost(&projection.input),
        LogicalPlan::Filter(filter) => outermost(&filter.input),
        LogicalPlan::SubqueryAlias(alias) => outermost(&alias.input),
        other => other,
    }
}

/// Whether a condition stands around the outermost `GROUP BY`.
fn has_condition(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Filter(_) => true,
        LogicalPlan::Projection(projection) => has_condition(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => has_condition(&alias.input),
        _ => false,
    }
}

/// The column of the outermost `GROUP BY` that stands in this column of the answer, as it is.
fn traced(plan: &LogicalPlan, column: usize) -> Option<usize> {
    match plan {
        LogicalPlan::Projection(projection) => {
            let expr = projection.expr.get(column)?.clone().unalias_nested().data;
            let Expr::Column(of) = expr else { return None };
            traced(&projection.input, projection.input.schema().maybe_index_of_column(&of)?)
        }
        LogicalPlan::Filter(filter) => traced(&filter.input, column),
        LogicalPlan::SubqueryAlias(alias) => traced(&alias.input, column),
        LogicalPlan::Aggregate(_) => Some(column),
        _ => None,
    }
}

/// The first stream that has no event time.
fn without_event_time(plan: &LogicalPlan) -> Option<String> {
    let mut found = None;
    let walked = plan.apply(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Ok(provider) = source_as_provider(&scan.source)
            && let Some(stream) =
                (provider.as_ref() as &dyn TableProvider).downcast_ref::<StreamTable>()
            && stream.event_time.is_none()
        {
            found = Some(stream.name.clone());
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    walked.ok().and(found)
}

/// Why rows of such a query come out once.
fn around(plan: &LogicalPlan, emit: Emit) -> String {
    let what = match plan {
        LogicalPlan::Window(_) => "OVER",
        LogicalPlan::Join(_) => "a join",
        LogicalPlan::Union(_) => "UNION ALL",
        LogicalPlan::Extension(_) => "GAP_FILL",
        _ => "a query without GROUP BY",
    };
    format!("{emit} gives out groups again and again, and {what} each row once")
}
