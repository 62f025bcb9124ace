//! `MATCH_RECOGNIZE` on its way from text to a plan: DataFusion asks here what is in its `FROM`, and
//! gets a node with the expressions of the search in it. The planner of jobs makes an operator of
//! that.

mod node;
mod values;

use std::sync::Arc;

use datafusion::common::{Column, DataFusionError, Diagnostic, Result, Span, plan_datafusion_err};
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{Expr, ExprFunctionExt, Extension, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{self, Spanned, TableFactor};

use node::Matching;
pub(crate) use node::{Definition, MATCH_RECOGNIZE, MatchNode, Source, schema_of, source_of};
use values::Values;

use crate::sql::matches::{Shape, name_of, shape};
use crate::windows::function::length;

/// Plans `MATCH_RECOGNIZE`, for DataFusion.
#[derive(Debug)]
pub(crate) struct MatchPlanner;

impl RelationPlanner for MatchPlanner {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        // It was looked at where the text was read, and mistakes told with their places.
        let shape = shape(&relation).map_err(|error| plan_datafusion_err!("{error}"))?;
        match (shape, relation) {
            (
                Some(shape),
                TableFactor::MatchRecognize {
                    table, partition_by, measures, pattern, alias, ..
                },
            ) => {
                let table = context.plan(*table)?;
                let of = Written { shape, partition_by, measures, text: format!("({pattern})") };
                let plan = planned(table, of, context)?;
                Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
            }
            (_, relation) => Ok(RelationPlanning::Original(Box::new(relation))),
        }
    }
}

struct Written {
    shape: Shape,
    partition_by: Vec<ast::Expr>,
    measures: Vec<ast::Measure>,
    text: String,
}

fn planned(
    table: LogicalPlan,
    of: Written,
    context: &mut dyn RelationPlannerContext,
) -> Result<LogicalPlan> {
    let Written { shape, partition_by, measures, text } = of;
    let schema = Arc::clone(table.schema());
    let keys = partition_by.into_iter().map(|key| {
        let span = key.span();
        match context.sql_to_expr(key, &schema)? {
            column @ Expr::Column(_) => Ok(column),
            other => Err(wrong(
                span,
                format!("PARTITION BY of MATCH_RECOGNIZE takes columns, not `{other}`"),
            )),
        }
    });
    let keys = keys.collect::<Result<Vec<_>>>()?;
    let time = context.sql_to_expr(shape.time, &schema)?;
    let span = shape.within.span();
    let within_micros = match context.sql_to_expr(shape.within, &schema)? {
        Expr::Literal(value, _) => length(&value).ok(),
        _ => None,
    };
    let within_micros = within_micros.ok_or_else(|| {
        wrong(span, "WITHIN takes a fixed time, such as INTERVAL '1 minute'".to_owned())
    })?;

    let mut values = Values::new(context, &schema, &shape.variables);
    let definitions = shape
        .definitions
        .into_iter()
        .map(|definition| definition.map(|definition| values.definition(definition)).transpose());
    let definitions = definitions.collect::<Result<Vec<_>>>()?;
    let names: Vec<_> = measures.iter().map(|measure| name_of(&measure.alias)).collect();
    let measures = measures.into_iter().map(|measure| measure.expr).collect();
    let (sources, measures) = values.measures(measures)?;
    let Values { values, lags, .. } = values;

    let mut columns = Vec::new();
    for lag in &lags {
        let in_order = vec![time.clone().sort(true, false)];
        columns.push(lag.clone().order_by(in_order).partition_by(keys.clone()).build()?);
    }
    let named = |value: Expr| match lags.iter().position(|lag| *lag == value) {
        Some(place) => Expr::Column(Column::from_name(columns[place].schema_name().to_string())),
        None => value,
    };
    let values = values.into_iter().map(named).collect();
    let input = match columns.is_empty() {
        true => table,
        false => LogicalPlanBuilder::from(table).window(columns)?.build()?,
    };
    let matching = Matching {
        variables: shape.variables,
        pattern: shape.pattern,
        text,
        definitions,
        sources,
        measures,
        within_micros,
        skips_past: shape.skips_past,
    };
    let node = MatchNode::new(input, keys, time, values, (matching, names))?;
    Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
}

/// What is wrong with the text at a place.
fn wrong(span: datafusion::sql::sqlparser::tokenizer::Span, reason: String) -> DataFusionError {
    let diagnostic = Diagnostic::new_error(reason.clone(), Span::try_from_sqlparser_span(span));
    DataFusionError::Plan(reason).with_diagnostic(diagnostic)
}
