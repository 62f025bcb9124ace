//! `EMIT`: which `GROUP BY` gives out its groups before they are final, and what makes that
//! impossible.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::logical_plan::Aggregate as AggregateNode;
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::join::table_of;
use super::lineage::{self, Lineage};
use crate::emit::Emit;
use crate::error::{Position, SqlError};
use crate::matches::MATCH_RECOGNIZE;
use crate::operator::{Flow, Origin};
use crate::row_windows::node::row_windows;
use crate::stream::StreamTable;

/// When the groups of the outermost `GROUP BY` come out; those of all others when they are final.
pub(super) struct Emission<'a> {
    emit: Emit,
    at: Option<Position>,
    plan: &'a LogicalPlan,
    outermost: Option<&'a AggregateNode>,
    /// Where its groups come out, if they do so again and again.
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
        let refuse = |around: &LogicalPlan| {
            let error = SqlError::statement(at, comes_once(around, emit));
            error.or("leave it out: rows come out as soon as they are final; or GROUP BY outermost")
        };
        let outermost = match outermost(plan) {
            LogicalPlan::Aggregate(node) => Some(node),
            _ if emit == Emit::OnWindowClose => None,
            // Each of its rows is a change that comes out already.
            LogicalPlan::TableScan(_) if emit == Emit::Changes => None,
            other => return Err(refuse(other)),
        };
        Ok(Emission { emit, at, plan, outermost, from: None, running: None })
    }

    /// When the groups of this `GROUP BY` come out.
    pub(super) fn of(&self, node: &AggregateNode) -> Result<Emit, SqlError> {
        if !self.is_outermost(node) {
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

    /// What would work in place of a `GROUP BY` that would keep its groups for ever.
    pub(super) fn without_window(&self, stream: &str) -> String {
        let window = format!(
            "write FROM TUMBLE({stream}, DESCRIPTOR(time_column), INTERVAL '1 minute') and GROUP BY \
             window_start, .."
        );
        match self.emit {
            Emit::OnWindowClose => format!(
                "{window}; or EMIT CHANGES behind the query, for as many groups as fit into its state"
            ),
            emit => format!("{window}: {emit} is about the outermost GROUP BY"),
        }
    }

    pub(super) fn refuse(&self, reason: impl Into<String>) -> SqlError {
        SqlError::statement(self.at, reason)
    }

    /// The groups of the outermost `GROUP BY` come out here, again and again.
    pub(super) fn gives_out_again(&mut self, from: Origin) {
        self.from = Some(from);
    }

    /// Whether what this `GROUP BY` gives out may change later.
    pub(super) fn is_outermost(&self, node: &AggregateNode) -> bool {
        self.outermost.is_some_and(|outermost| std::ptr::eq(outermost, node))
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
        let Some(from) = self.from.filter(|_| has_condition(self.plan)) else { return };
        let columns = key.iter().map(|column| traced(self.plan, *column));
        let key = columns.collect::<Option<_>>();
        flow.retract(from, key.expect("the key is columns of the groups, perhaps with new names"));
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
    match stream_of(plan, |stream| stream.event_time.is_none().then(|| stream.name.clone())) {
        Some(stream) => stream,
        None => plan.inputs().into_iter().find_map(without_event_time),
    }
}

/// How far behind the watermark rows may come that are given out here. Operators that wait for the
/// watermark leave out what comes behind it.
pub(super) fn lateness(plan: &LogicalPlan) -> i64 {
    let of = |stream: &StreamTable| stream.event_time.as_ref().map(|time| time.lateness_micros);
    match plan {
        LogicalPlan::TableScan(_) => stream_of(plan, of).flatten().unwrap_or(0),
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Union(_) => plan.inputs().into_iter().map(lateness).max().unwrap_or(0),
        LogicalPlan::Join(join) if table_of(&join.right).is_some() => lateness(&join.left),
        _ => 0,
    }
}

/// What is asked of a stream, if this is one.
fn stream_of<T>(plan: &LogicalPlan, ask: impl FnOnce(&StreamTable) -> T) -> Option<T> {
    let LogicalPlan::TableScan(scan) = plan else { return None };
    let provider = source_as_provider(&scan.source).ok()?;
    let provider: &dyn TableProvider = provider.as_ref();
    provider.downcast_ref::<StreamTable>().map(ask)
}

/// Why rows of such a query come out once.
fn comes_once(plan: &LogicalPlan, emit: Emit) -> String {
    let what = match plan {
        LogicalPlan::Window(_) => "OVER",
        LogicalPlan::Join(_) => "a join",
        LogicalPlan::Union(_) => "UNION ALL",
        LogicalPlan::Extension(node) if node.node.name() == MATCH_RECOGNIZE => "MATCH_RECOGNIZE",
        LogicalPlan::Extension(_) => row_windows(plan).map_or("GAP_FILL", |node| node.name),
        _ => "a query without GROUP BY",
    };
    format!("{emit} gives out groups again and again, and {what} each row once")
}
