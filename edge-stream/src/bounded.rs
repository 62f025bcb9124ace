//! Bounded queries with nodes that DataFusion does not know: they are run by the operators of jobs,
//! over rows in the order of time.

use std::fmt;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::{SortOptions, max};
use arrow::datatypes::{Schema, SchemaRef, TimestampMicrosecondType};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{
    EquivalenceProperties, LexOrdering, OrderingRequirements, PhysicalExpr, PhysicalSortExpr,
};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, InputDistributionRequirements,
    Partitioning, PlanProperties,
};
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};
use futures::{StreamExt, TryStreamExt, stream};

use crate::error::OperatorError;
use crate::gaps::GapFill;
use crate::operator::row_window::RowAggregate;
use crate::operator::session::Grouped;
use crate::operator::{Changes, Operator, Out, StateWriter};
use crate::plan::lowered;
use crate::row_windows::node::RowWindowNode;
use crate::watermark::EventTime;

/// DataFusion's planner, which knows our nodes too.
#[derive(Debug)]
pub(crate) struct Planner;

#[async_trait]
impl QueryPlanner for Planner {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(Planner)]);
        planner.create_physical_plan(plan, session).await
    }
}

#[async_trait]
impl ExtensionPlanner for Planner {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _: &[&LogicalPlan],
        inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let [input] = inputs else { return Ok(None) };
        let physical =
            |expr: &_, schema: &_| planner.create_physical_expr(expr, schema, session, context);
        let what = if let Some(gaps) = node.as_any().downcast_ref::<GapFill>() {
            What::Gaps(gaps.clone(), gaps.arguments(physical)?)
        } else if let Some(node) = node.as_any().downcast_ref::<RowWindowNode>() {
            let props = session.execution_props();
            let lowered = |expr: &_, schema: &_| lowered(expr, schema, props, context);
            What::Rows(node.clone(), node.grouped(0, physical, lowered)?)
        } else {
            return Ok(None);
        };
        Ok(Some(Arc::new(Run::new(what, Arc::clone(input)))))
    }
}

/// What is run.
#[derive(Debug, Clone)]
enum What {
    /// Fills the gaps of windows that come in their order.
    Gaps(GapFill, Vec<Arc<dyn PhysicalExpr>>),
    /// Groups rows in order of time.
    Rows(RowWindowNode, Grouped),
}

impl What {
    fn schema(&self) -> SchemaRef {
        let schema = match self {
            What::Gaps(gaps, _) => UserDefinedLogicalNodeCore::schema(gaps),
            What::Rows(node, _) => UserDefinedLogicalNodeCore::schema(node),
        };
        Arc::clone(schema.inner())
    }

    fn operator(&self, input: &Schema) -> Result<Box<dyn Operator>> {
        Ok(match self {
            What::Gaps(gaps, arguments) => Box::new(gaps.operator(arguments.clone())?),
            What::Rows(node, grouped) => {
                Box::new(RowAggregate::new(grouped.clone(), node.windows, input)?)
            }
        })
    }

    /// What rows are ordered by.
    fn order(&self, input: &Schema) -> Arc<dyn PhysicalExpr> {
        match self {
            What::Gaps(gaps, _) => {
                let place = gaps.window().place;
                Arc::new(Column::new(input.field(place).name(), place))
            }
            What::Rows(_, grouped) => Arc::clone(&grouped.time),
        }
    }

    /// How far event time has come with these rows.
    fn last(&self, rows: &RecordBatch) -> Result<Option<i64>> {
        Ok(match self {
            What::Gaps(gaps, _) => gaps.window().starts(rows).into_iter().max(),
            What::Rows(_, grouped) => {
                let times = grouped.time.evaluate(rows)?.into_array(rows.num_rows())?;
                max(times.as_primitive::<TimestampMicrosecondType>())
            }
        })
    }

    fn expressions(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        match self {
            What::Gaps(_, arguments) => arguments.iter().collect(),
            What::Rows(_, grouped) => {
                let of_rows = [&grouped.time].into_iter().chain(&grouped.deciding);
                let of_aggregates = grouped.aggregates.iter();
                let of_aggregates =
                    of_aggregates.flat_map(|one| one.arguments.iter().chain(&one.filter));
                of_rows.chain(&grouped.keys).chain(of_aggregates).collect()
            }
        }
    }
}

#[derive(Debug)]
struct Run {
    what: What,
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl Run {
    fn new(what: What, input: Arc<dyn ExecutionPlan>) -> Run {
        let (partitions, rows) = (Partitioning::UnknownPartitioning(1), EmissionType::Incremental);
        let equal = EquivalenceProperties::new(what.schema());
        let properties = PlanProperties::new(equal, partitions, rows, Boundedness::Bounded);
        Run { what, input, properties: Arc::new(properties) }
    }
}

impl DisplayAs for Run {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Gaps(gaps, _) => UserDefinedLogicalNodeCore::fmt_for_explain(gaps, f),
            What::Rows(node, _) => UserDefinedLogicalNodeCore::fmt_for_explain(node, f),
        }
    }
}

impl ExecutionPlan for Run {
    fn name(&self) -> &str {
        match self.what {
            What::Gaps(..) => "GapFillExec",
            What::Rows(..) => "RowWindowExec",
        }
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::SinglePartition])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        let order = self.what.order(&self.input.schema());
        let order = PhysicalSortExpr::new(order, SortOptions::default());
        vec![LexOrdering::new([order]).map(OrderingRequirements::from)]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for expression in self.what.expressions() {
            if f(expression)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.into_iter().next().unwrap_or_else(|| Arc::clone(&self.input));
        Ok(Arc::new(Run::new(self.what.clone(), input)))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let running = Running {
            rows: Some(self.input.execute(partition, context)?),
            operator: self.what.operator(&self.input.schema())?,
            what: self.what.clone(),
            last: i64::MIN,
        };
        let answers = stream::try_unfold(running, Running::next).map_ok(stream::iter).try_flatten();
        let schema = self.schema();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, answers)))
    }
}

struct Running {
    /// `None` once all have come.
    rows: Option<SendableRecordBatchStream>,
    operator: Box<dyn Operator>,
    what: What,
    /// The time of the last row that has come, or the start of the last window.
    last: i64,
}

type Answers = Vec<Result<RecordBatch>>;

impl Running {
    async fn next(mut self) -> Result<Option<(Answers, Running)>> {
        let Some(rows) = &mut self.rows else { return Ok(None) };
        let mut out = Out::default();
        match rows.next().await.transpose()? {
            Some(batch) => {
                self.last = self.last.max(self.what.last(&batch)?.unwrap_or(i64::MIN));
                self.operator.on_batch(0, batch, &mut out).map_err(failed)?;
            }
            None => {
                self.rows = None;
                // The last window is filled, and the last row looked at, too.
                self.last = self.last.saturating_add(1);
            }
        }
        let reached = EventTime::from_micros(self.last);
        self.operator.on_watermark(reached, &mut out).map_err(failed)?;
        if let What::Rows(..) = self.what {
            // For its limit, which it has in a job, too: nothing else counts what is open.
            let mut changes = Changes::new();
            self.operator.snapshot(&mut StateWriter::new(0, &mut changes)).map_err(failed)?;
        }
        Ok(Some((out.batches.into_iter().map(Ok).collect(), self)))
    }
}

fn failed(error: OperatorError) -> DataFusionError {
    match error {
        OperatorError::Compute(error) => error,
        other => DataFusionError::External(Box::new(other)),
    }
}
