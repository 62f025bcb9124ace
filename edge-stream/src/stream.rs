//! A stream as SQL sees it: columns, which of them is the event time, and its history if any.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Column, DFSchema, plan_err};
use datafusion::error::Result;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{
    Expr, Operator, TableProviderFilterPushDown, TableType, Volatility,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_plan::ExecutionPlan;

use crate::error::SqlError;
use crate::history::{self, History};
use crate::watermark::KeyColumn;

/// The event time of a stream, and the watermark that goes with it.
#[derive(Debug, Clone)]
pub(crate) struct EventTimeColumn {
    pub(crate) index: usize,
    /// The columns that the watermark is computed from, and the event time.
    #[cfg_attr(not(feature = "db"), allow(dead_code, reason = "rows come with all columns"))]
    pub(crate) columns: Vec<usize>,
    /// What `WATERMARK FOR` says, over all columns of the stream.
    pub(crate) watermark: Arc<dyn PhysicalExpr>,
    /// How far behind the watermark a row may come, and still be in the answer.
    pub(crate) lateness_micros: i64,
    /// Whether it is never less for a later time, so that of several rows the newest decides.
    pub(crate) rises_with_time: bool,
    /// What has clocks of its own.
    pub(crate) keys: Option<KeyColumn>,
}

impl EventTimeColumn {
    /// `WATERMARK FOR column AS watermark`.
    pub(crate) fn new(
        state: &SessionState,
        schema: &SchemaRef,
        column: &str,
        watermark: Expr,
    ) -> Result<EventTimeColumn, SqlError> {
        let Ok(index) = schema.index_of(column) else {
            let names = schema.fields().iter().map(|field| field.name().as_str());
            let near = crate::sql::nearest(column, names);
            let error =
                SqlError::statement(None, format!("no column `{column}` for the watermark"));
            return Err(
                near.map_or(error.clone(), |near| error.or(format!("did you mean `{near}`?")))
            );
        };
        let kind = schema.field(index).data_type();
        if !matches!(kind, DataType::Timestamp(..)) {
            let reason = format!("the watermark's column `{column}` is {kind}");
            return Err(SqlError::statement(None, reason).or("declare it TIMESTAMP"));
        }
        let columns = DFSchema::try_from(SchemaRef::clone(schema));
        let columns = columns.map_err(|error| SqlError::planning(&error))?;
        let text = watermark.to_string();
        let moves = watermark.exists(|expr| {
            Ok(matches!(expr, Expr::ScalarFunction(function)
            if function.func.signature().volatility != Volatility::Immutable))
        });
        let is_fixed = moves.map_err(|error| SqlError::planning(&error)).map(|moves| !moves)?;
        let rises_with_time = rises_with(&watermark, column);
        let watermark = state.create_physical_expr(watermark, &columns);
        let watermark = watermark.map_err(|error| SqlError::planning(&error))?;
        let kind = watermark.data_type(schema).map_err(|error| SqlError::planning(&error))?;
        let used = collect_columns(&watermark);
        if !is_fixed || used.is_empty() || !matches!(kind, DataType::Timestamp(..)) {
            let reason = format!("the watermark `{text}` is no time that comes from a row");
            return Err(SqlError::statement(None, reason)
                .or(format!("write WATERMARK FOR {column} AS {column} - INTERVAL '10 seconds'")));
        }
        let columns = used.iter().map(|column| column.index()).chain([index]).collect();
        let (lateness_micros, keys) = (0, None);
        Ok(EventTimeColumn { index, columns, watermark, lateness_micros, rises_with_time, keys })
    }

    /// The same with a watermark for each value of a column. Others do not wait for one that has said
    /// nothing for `idle_micros`.
    pub(crate) fn by(
        mut self,
        schema: &SchemaRef,
        column: &str,
        idle_micros: Option<i64>,
    ) -> Result<EventTimeColumn, SqlError> {
        let keys = KeyColumn::new(schema, column, idle_micros);
        let keys = keys.map_err(|(reason, help)| SqlError::statement(None, reason).or(help))?;
        self.columns.extend(keys.columns());
        self.keys = Some(keys);
        Ok(self)
    }

    /// Event time less a fixed delay.
    pub(crate) fn delayed(column: &str, delay: std::time::Duration) -> Expr {
        let nanos = i64::try_from(delay.as_nanos()).unwrap_or(i64::MAX);
        let delay = datafusion::scalar::ScalarValue::new_interval_mdn(0, 0, nanos);
        Expr::Column(Column::from_name(column)) - datafusion::logical_expr::lit(delay)
    }
}

/// Whether this is the column itself, or that far from it at all times.
fn rises_with(expr: &Expr, column: &str) -> bool {
    match expr {
        Expr::Column(of) => of.name == column,
        Expr::BinaryExpr(of) if matches!(of.op, Operator::Minus | Operator::Plus) => {
            rises_with(&of.left, column) && matches!(&*of.right, Expr::Literal(..))
        }
        _ => false,
    }
}

/// A stream under its name in a query.
#[derive(Debug)]
pub(crate) struct StreamTable {
    pub(crate) name: String,
    pub(crate) schema: SchemaRef,
    pub(crate) event_time: Option<EventTimeColumn>,
    /// The rows that are still kept, for bounded queries.
    pub(crate) history: Option<Arc<dyn History>>,
    /// Its rows that came behind the watermark, if they are kept apart.
    #[cfg(feature = "db")]
    pub(crate) late: Option<Arc<dyn TableProvider>>,
}

#[async_trait]
impl TableProvider for StreamTable {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(history::used(filters))
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(history) = &self.history else {
            return plan_err!("stream `{}` keeps no history to be queried", self.name);
        };
        history::scan(&**history, state, projection, filters, limit).await
    }
}
