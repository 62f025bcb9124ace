//! From SQL to the chain of operators that a job runs.
//!
//! DataFusion parses, resolves names, coerces types and simplifies. What comes out is walked from
//! the stream upwards; each node becomes an operator, or is refused with the reason and what
//! would work, as it would need state without bound.

mod asof;
mod emit;
mod gaps;
mod groups;
mod interval;
mod join;
mod lineage;
mod lookup;
mod matches;
mod over;
mod row_window;
mod running;
mod session;
mod union;
mod window;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError};
use datafusion::datasource::source_as_provider;
use datafusion::execution::SessionState;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, LogicalPlan, TableScan, Volatility};
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::{Optimizer, OptimizerRule};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{self, Query};

use crate::error::SqlError;
use crate::operator::{Filter, Flow, Origin, Project};
use crate::sql;
use crate::sql::emit::JobQuery;
use crate::sql::window::RunBy;
use crate::stream::StreamTable;
use crate::{row_windows, sessions};
use emit::Emission;
#[cfg(feature = "db")]
pub(crate) use groups::lowered;
use lineage::Lineage;

/// A query over streams, ready to run.
#[derive(Debug)]
pub(crate) struct JobPlan {
    /// What it reads, by the number of the source.
    pub(crate) sources: Vec<Scan>,
    pub(crate) flow: Flow,
    pub(crate) schema: SchemaRef,
    /// Columns of the answer that tell its rows apart; `None` if each row stands for itself.
    pub(crate) key: Option<Vec<usize>>,
    /// Tables and views that it looks rows up in.
    pub(crate) tables: Vec<String>,
}

/// A stream in the `FROM` of a query. It may be there twice.
#[derive(Debug, Clone)]
pub(crate) struct Scan {
    pub(crate) stream: String,
    /// The columns of the stream that are read.
    pub(crate) columns: Vec<usize>,
}

/// Rows between two operators of a plan: where they come from, and what their columns are.
struct Rows {
    from: Origin,
    lineage: Vec<Lineage>,
}

/// Plans a query as a job.
pub(crate) async fn plan(state: &SessionState, query: JobQuery) -> Result<JobPlan, SqlError> {
    let JobQuery { query, emit, emit_at } = query;
    let plan = crate::gaps::resolve(logical(state, query).await?)?;
    sessions::check(&plan)?;
    let plan = row_windows::resolve::resolve(plan, RunBy::Job)?;
    refuse_moving_parts(&plan)?;
    let plan = optimized(state, plan).map_err(|error| SqlError::planning(&error))?;
    let emission = Emission::new(&plan, emit, emit_at)?;
    let (flow, sources, tables) = (Flow::default(), Vec::new(), Vec::new());
    let mut builder = Builder { state, flow, sources, tables, emission };
    let rows = builder.node(&plan)?;
    let schema = Arc::clone(plan.schema().inner());
    lineage::check_grouped(&rows.lineage)?;
    let key = builder.emission.key(&rows.lineage)?;
    let Builder { mut flow, sources, tables, emission, .. } = builder;
    if let Some(key) = &key {
        emission.retract(&mut flow, key);
    }
    Ok(JobPlan { sources, flow, schema, key, tables })
}

/// What a query means, not optimized yet.
pub(crate) async fn logical(state: &SessionState, query: Query) -> Result<LogicalPlan, SqlError> {
    let statement = Statement::Statement(Box::new(ast::Statement::Query(Box::new(query))));
    state.statement_to_plan(statement).await.map_err(|error| planning_error(state, &error))
}

/// What DataFusion said, and the name that was meant where a table is not there.
pub(crate) fn planning_error(state: &SessionState, error: &DataFusionError) -> SqlError {
    let error = SqlError::planning(error);
    let SqlError::Statement { position, reason, .. } = &error else { return error };
    let is_twice = |name: &&str| reason.contains(*name) && reason.contains("ambiguous");
    if let Some(name) = ["window_start", "window_end"].into_iter().find(is_twice) {
        let reason = format!("a window over rows that have a column `{name}` already");
        let would_work = format!("give it another name where they come from: {name} AS ts");
        return SqlError::statement(*position, reason).or(would_work);
    }
    let missing = reason.strip_prefix("table '").and_then(|rest| rest.strip_suffix("' not found"));
    let Some(missing) = missing.and_then(|path| path.rsplit('.').next()) else { return error };
    let known: Vec<String> = state
        .catalog_list()
        .catalog("datafusion")
        .and_then(|catalog| catalog.schema("public"))
        .map_or_else(Vec::new, |schema| schema.table_names());
    let reason = format!("there is no stream, view or log `{missing}`");
    let error = SqlError::statement(*position, reason);
    match sql::nearest(missing, known.iter().map(String::as_str)) {
        Some(near) => error.or(format!("did you mean `{near}`?")),
        None => error,
    }
}

/// Types coerced, constants folded, unused columns gone; the shape stays what was written. The
/// full optimizer makes shapes that only a bounded query can run.
fn optimized(state: &SessionState, plan: LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
    let plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})?;
    let rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> =
        vec![Arc::new(SimplifyExpressions::new()), Arc::new(OptimizeProjections::new())];
    Optimizer::with_rules(rules).optimize(plan, state, |_, _| {})
}

/// `now()` would stand still in a job, `random()` would not be the same after a restart, and the
/// answer of a subquery changes.
fn refuse_moving_parts(plan: &LogicalPlan) -> Result<(), SqlError> {
    let mut found = Ok(());
    let walked = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            found = check_fixed(expr);
            Ok(if found.is_ok() { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
        })
    });
    walked.map_err(|error| SqlError::planning(&error))?;
    found
}

/// The same of one expression.
fn check_fixed(expr: &Expr) -> Result<(), SqlError> {
    let (mut moving, mut has_subquery) = (None, false);
    let walked = expr.apply(|expr| {
        has_subquery |=
            matches!(expr, Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_));
        if let Expr::ScalarFunction(function) = expr
            && function.func.signature().volatility != Volatility::Immutable
        {
            moving = Some(function.func.name().to_owned());
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    walked.map_err(|error| SqlError::planning(&error))?;
    if has_subquery {
        let reason = "subqueries in expressions are not there yet in a job";
        return Err(
            SqlError::statement(None, reason).or("use one in the SELECT that reads the view")
        );
    }
    match moving {
        None => Ok(()),
        Some(name) => {
            let reason = format!("`{name}()` is not the same each time a job computes it");
            Err(SqlError::statement(None, reason).or("use the event time, or `_time`, of the row"))
        }
    }
}

struct Builder<'a> {
    state: &'a SessionState,
    flow: Flow,
    sources: Vec<Scan>,
    tables: Vec<String>,
    emission: Emission<'a>,
}

impl Builder<'_> {
    /// Adds the operators of a node and all below it.
    fn node(&mut self, plan: &LogicalPlan) -> Result<Rows, SqlError> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::SubqueryAlias(alias) => self.node(&alias.input),
            LogicalPlan::Join(join) => self.join(join, None),
            LogicalPlan::Union(union) => self.union(union),
            LogicalPlan::Filter(filter) => {
                if let Some(join) = join::below_where(&filter.input) {
                    return self.join(join, Some(&filter.predicate));
                }
                let Rows { from, lineage } = self.node(&filter.input)?;
                lineage::check_spread([&filter.predicate], filter.input.schema(), &lineage)?;
                let condition = self.physical(&filter.predicate, filter.input.schema())?;
                let from = self.flow.push(&[from], Filter::new(condition));
                Ok(Rows { from, lineage })
            }
            LogicalPlan::Projection(projection) => {
                let below = self.node(&projection.input)?;
                let input = projection.input.schema();
                lineage::check_spread(&projection.expr, input, &below.lineage)?;
                let columns = projection.expr.iter().map(|expr| self.physical(expr, input));
                let columns = columns.collect::<Result<_, _>>()?;
                let schema = Arc::clone(projection.schema.inner());
                let from = self.flow.push(&[below.from], Project::new(columns, schema));
                let lineage =
                    projection.expr.iter().map(|expr| lineage::of(expr, input, &below.lineage));
                Ok(Rows { from, lineage: lineage.collect() })
            }
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Window(window) => self.over(window),
            LogicalPlan::Extension(extension) => {
                if let Some(rows) = self.matches(extension)? {
                    return Ok(rows);
                }
                self.row_windows(plan)?.map_or_else(|| self.extension(plan), Ok)
            }
            other => Err(refusal(other)),
        }
    }

    fn scan(&mut self, scan: &TableScan) -> Result<Rows, SqlError> {
        let provider = source_as_provider(&scan.source).ok();
        let provider: Option<&dyn TableProvider> = provider.as_deref();
        let Some(stream) = provider.and_then(|provider| provider.downcast_ref::<StreamTable>())
        else {
            let reason = format!("a job reads a stream, and `{}` is none", scan.table_name.table());
            return Err(SqlError::statement(None, reason).or(
                "query it with SELECT, or create a stream over it: WITH (log = '..'), or of the \
                     changes of a table or view WITH (table = '..')",
            ));
        };
        let all = || (0..stream.schema.fields().len()).collect();
        let columns = scan.projection.clone().unwrap_or_else(all);
        let event_time = stream.event_time.as_ref().map(|column| column.index);
        let lineage = columns.iter().map(|column| match Some(*column) == event_time {
            true => Lineage::EventTime,
            false => Lineage::Other,
        });
        let lineage = lineage.collect();
        let from = Origin::Source(self.sources.len());
        self.sources.push(Scan { stream: stream.name.clone(), columns });
        Ok(Rows { from, lineage })
    }

    fn physical(&self, expr: &Expr, input: &DFSchema) -> Result<Arc<dyn PhysicalExpr>, SqlError> {
        crate::asof::check(expr)?;
        let (props, context) = (self.state.execution_props(), PhysicalPlanningContext::default());
        create_physical_expr(expr, input, props, &context)
            .map_err(|error| SqlError::planning(&error))
    }
}

/// Why a node cannot run over rows that never end.
fn refusal(plan: &LogicalPlan) -> SqlError {
    let (reason, would_work) = match plan {
        LogicalPlan::Distinct(of) if matches!(**of.input(), LogicalPlan::Union(_)) => {
            ("UNION would keep every row for ever", "write UNION ALL, which keeps none")
        }
        LogicalPlan::Distinct(_) => (
            "DISTINCT would keep every row for ever",
            "GROUP BY the columns in a window: FROM TUMBLE(..), or with EMIT CHANGES",
        ),
        LogicalPlan::Sort(_) => (
            "ORDER BY would wait for the last row of a stream",
            "order the rows of the view in the SELECT that reads it",
        ),
        LogicalPlan::Limit(_) => {
            ("LIMIT would end the job", "put LIMIT into the SELECT that reads the view")
        }
        LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => {
            ("the query reads no stream", "name one in FROM")
        }
        _ => {
            ("a job cannot run this query", "use SELECT .. FROM stream WHERE .. GROUP BY a window")
        }
    };
    SqlError::statement(None, reason).or(would_work)
}
