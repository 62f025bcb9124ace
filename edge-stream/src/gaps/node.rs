//! What fills gaps, as a node of DataFusion's logical plans.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::{DFSchema, DFSchemaRef, Result};
use datafusion::logical_expr::{
    Expr, ExprSchemable, LogicalPlan, UserDefinedLogicalNodeCore, cast,
};
use datafusion::physical_expr::PhysicalExpr;

#[cfg(feature = "db")]
use crate::operator::gap_fill::WindowColumn;
use crate::operator::gap_fill::{self, Fill, Filling, GapColumn, Gaps};

/// Groups of windows, and those of windows without rows: the columns of the groups, and one for each
/// of the fills.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct GapFill {
    pub(crate) input: LogicalPlan,
    size_micros: i64,
    windows: i64,
    columns: Vec<GapColumn>,
    /// With the names of their columns.
    fills: Vec<(Filling, Expr, String)>,
    schema: DFSchemaRef,
}

impl GapFill {
    pub(super) fn new(
        input: LogicalPlan,
        size_micros: i64,
        windows: i64,
        columns: Vec<GapColumn>,
    ) -> Result<GapFill> {
        let schema = Arc::clone(input.schema());
        GapFill { input, size_micros, windows, columns, fills: Vec::new(), schema }.with_schema()
    }

    /// The same over another input with these columns.
    pub(super) fn over(self, input: LogicalPlan) -> Result<GapFill> {
        GapFill { input, ..self }.with_schema()
    }

    /// The same with columns for these calls, under the names of these.
    pub(super) fn with_fills(mut self, calls: &[(Filling, Expr)]) -> Result<GapFill> {
        for (how, call) in calls {
            let name = call.schema_name().to_string();
            let Expr::ScalarFunction(call) = call else { continue };
            let Some(value) = call.args.first().cloned() else { continue };
            let value = match how {
                Filling::Last => value,
                Filling::Linear => cast(value, DataType::Float64),
            };
            self.fills.push((*how, value, name));
        }
        self.with_schema()
    }

    /// Whether some rows wait for the end of a gap.
    pub(crate) fn is_linear(&self) -> bool {
        self.fills.iter().any(|(how, ..)| *how == Filling::Linear)
    }

    /// The column that says which window a group is of.
    #[cfg(feature = "db")]
    pub(crate) fn window(&self) -> WindowColumn {
        WindowColumn::of(&self.columns, self.size_micros)
    }

    /// What the fills are computed from; `physical` plans expressions over the input.
    pub(crate) fn arguments<E>(
        &self,
        physical: impl Fn(&Expr, &DFSchema) -> Result<Arc<dyn PhysicalExpr>, E>,
    ) -> Result<Vec<Arc<dyn PhysicalExpr>>, E> {
        let input = self.input.schema();
        self.fills.iter().map(|(_, value, _)| physical(value, input)).collect()
    }

    /// What runs it.
    pub(crate) fn operator(
        &self,
        arguments: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<gap_fill::GapFill> {
        let fills = self.fills.iter().zip(arguments);
        let fills = fills.map(|((how, ..), argument)| Fill { how: *how, argument });
        gap_fill::GapFill::new(Gaps {
            size_micros: self.size_micros,
            windows: self.windows,
            columns: self.columns.clone(),
            fills: fills.collect(),
            input: Arc::clone(self.input.schema().inner()),
            output: Arc::clone(self.schema.inner()),
        })
    }

    fn with_schema(mut self) -> Result<GapFill> {
        let input = self.input.schema();
        let columns = input.iter().zip(&self.columns).map(|((table, field), column)| {
            let field = match column {
                GapColumn::Value => Arc::new(field.as_ref().clone().with_nullable(true)),
                _ => Arc::clone(field),
            };
            (table.cloned(), field)
        });
        let fills = self.fills.iter().map(|(_, value, name)| {
            let kind = value.get_type(input)?;
            Ok((None, Arc::new(Field::new(name, kind, true))))
        });
        let fields = columns.map(Ok).chain(fills).collect::<Result<_>>()?;
        self.schema = Arc::new(DFSchema::new_with_metadata(fields, input.metadata().clone())?);
        Ok(self)
    }
}

impl PartialOrd for GapFill {
    fn partial_cmp(&self, other: &GapFill) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for GapFill {
    fn name(&self) -> &str {
        "GapFill"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.fills.iter().map(|(_, value, _)| value.clone()).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.fills.iter().map(|(.., name)| name.as_str()).collect();
        write!(f, "GapFill: at most {} windows, {}", self.windows, names.join(", "))
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<GapFill> {
        let mut gaps = self.clone();
        gaps.fills.iter_mut().zip(exprs).for_each(|(fill, value)| fill.1 = value);
        match inputs.into_iter().next() {
            Some(input) => gaps.over(input),
            None => gaps.with_schema(),
        }
    }
}
