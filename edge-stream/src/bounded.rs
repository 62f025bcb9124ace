//! Bounded queries with nodes that DataFusion does not know: they are run by the operators of jobs,
//! over rows in the order of time.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::SortOptions;
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
use crate::operator::gap_fill::{GapFill as FillOperator, WindowColumn};
use crate::operator::{Operator, Out};
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
        let (Some(gaps), [input]) = (node.as_any().downcast_ref::<GapFill>(), inputs) else {
            return Ok(None);
        };
        let physical =
            |expr: &_, schema: &_| planner.create_physical_expr(expr, schema, session, context);
        let arguments = gaps.arguments(physical)?;
        Ok(Some(Arc::new(Run::new(gaps.clone(), arguments, Arc::clone(input)))))
    }
}

/// Fills the gaps of windows that come in their order.
#[derive(Debug)]
struct Run {
    gaps: GapFill,
    arguments: Vec<Arc<dyn PhysicalExpr>>,
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl Run {
    fn new(
        gaps: GapFill,
        arguments: Vec<Arc<dyn PhysicalExpr>>,
        input: Arc<dyn ExecutionPlan>,
    ) -> Run {
        let schema = Arc::clone(UserDefinedLogicalNodeCore::schema(&gaps).inner());
        let (partitions, rows) = (Partitioning::UnknownPartitioning(1), EmissionType::Incremental);
        let equal = EquivalenceProperties::new(schema);
        let properties = PlanProperties::new(equal, partitions, rows, Boundedness::Bounded);
        Run { gaps, arguments, input, properties: Arc::new(properties) }
    }
}

impl DisplayAs for Run {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        UserDefinedLogicalNodeCore::fmt_for_explain(&self.gaps, f)
    }
}

impl ExecutionPlan for Run {
    fn name(&self) -> &str {
        "GapFillExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::SinglePartition])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        let place = self.gaps.window().place;
        let window = Arc::new(Column::new(self.input.schema().field(place).name(), place));
        let order = PhysicalSortExpr::new(window, SortOptions::default());
        vec![LexOrdering::new([order]).map(OrderingRequirements::from)]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for argument in &self.arguments {
            if f(argument)? == TreeNodeRecursion::Stop {
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
        Ok(Arc::new(Run::new(self.gaps.clone(), self.arguments.clone(), input)))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let running = Running {
            rows: Some(self.input.execute(partition, context)?),
            gaps: self.gaps.operator(self.arguments.clone())?,
            window: self.gaps.window(),
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
    gaps: FillOperator,
    window: WindowColumn,
    /// The start of the last window that has come.
    last: i64,
}

type Answers = Vec<Result<RecordBatch>>;

impl Running {
    async fn next(mut self) -> Result<Option<(Answers, Running)>> {
        let Some(rows) = &mut self.rows else { return Ok(None) };
        let mut out = Out::default();
        match rows.next().await.transpose()? {
            Some(batch) => {
                let last = self.window.starts(&batch).into_iter().max();
                self.last = self.last.max(last.unwrap_or(i64::MIN));
                self.gaps.on_batch(0, batch, &mut out).map_err(failed)?;
            }
            None => {
                self.rows = None;
                // The last window is filled, too.
                self.last = self.last.saturating_add(1);
            }
        }
        let reached = EventTime::from_micros(self.last);
        self.gaps.on_watermark(reached, &mut out).map_err(failed)?;
        Ok(Some((out.batches.into_iter().map(Ok).collect(), self)))
    }
}

fn failed(error: OperatorError) -> DataFusionError {
    match error {
        OperatorError::Compute(error) => error,
        other => DataFusionError::External(Box::new(other)),
    }
}
