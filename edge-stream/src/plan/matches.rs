//! `MATCH_RECOGNIZE` as an operator.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::DFSchema;
use datafusion::logical_expr::{Expr, Extension, UserDefinedLogicalNodeCore};
use datafusion::physical_expr::PhysicalExpr;

use super::lineage::{self, Lineage};
use super::{Builder, Rows, check_fixed};
use crate::error::SqlError;
use crate::matches::{Definition, MatchNode, Source, schema_of, source_of};
use crate::matching::{Anchor, Program, Reference, Slotted};
use crate::operator::in_unit;
use crate::operator::matches::{
    self as operator, Computed, Condition, MatchPlan, Matches, Measures,
};
use crate::watermark::EventTime;

/// What is kept of each row, as it is planned so far.
#[derive(Default)]
struct Kept {
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    types: Vec<DataType>,
}

impl Kept {
    fn push(&mut self, expr: Arc<dyn PhysicalExpr>, kind: DataType) -> usize {
        self.exprs.push(expr);
        self.types.push(kind);
        self.exprs.len() - 1
    }
}

impl Builder<'_> {
    /// A node that is ours; `None` if it is not.
    pub(super) fn matches(&mut self, extension: &Extension) -> Result<Option<Rows>, SqlError> {
        let Some(node) = extension.node.as_any().downcast_ref::<MatchNode>() else {
            return Ok(None);
        };
        let below = self.node(&node.input)?;
        let input = node.input.schema();
        lineage::check_grouped(&below.lineage)?;
        let of = |expr: &Expr| lineage::of(expr, input, &below.lineage);
        if !of(&node.time).is_event_time() {
            let stream = self.sources.first().map_or("stream", |scan| &scan.stream);
            let reason = format!("MATCH_RECOGNIZE is ordered by `{}`", node.time);
            return Err(SqlError::statement(None, reason)
                .or(format!("write ORDER BY with the column of WATERMARK FOR of `{stream}`")));
        }
        let plan = self.match_plan(node, input)?;
        let operator = Matches::new(plan).map_err(|error| SqlError::planning(&error))?;
        let from = self.flow.push(&[below.from], operator);
        let measures =
            node.matching.measures.iter().map(|measure| match is_event_time(measure, node, &of) {
                true => Lineage::EventTime,
                false => Lineage::Other,
            });
        let lineage = node.keys.iter().map(|_| Lineage::Other).chain(measures).collect();
        Ok(Some(Rows { from, lineage }))
    }

    fn match_plan(&self, node: &MatchNode, input: &DFSchema) -> Result<MatchPlan, SqlError> {
        let planning = |error| SqlError::planning(&error);
        let matching = &node.matching;
        let time = self.physical(&node.time, input)?;
        let unit = match time.data_type(input.as_arrow()).map_err(planning)? {
            DataType::Timestamp(unit, _) => unit,
            _ => TimeUnit::Microsecond,
        };
        let keys = node.keys.iter().map(|key| self.physical(key, input));
        let keys = keys.collect::<Result<_, _>>()?;
        let mut kept = Kept::default();
        // Values of rows come first, under the numbers that they have.
        let numbers = self.rows_of(node, input, &mut kept)?;
        let conditions = matching.definitions.iter().enumerate().map(|(variable, definition)| {
            let Some(definition) = definition else { return Ok(Condition::Always) };
            self.definition(variable, definition, &numbers, &kept)
        });
        let conditions = conditions.collect::<Result<Vec<_>, _>>()?;
        let measures = self.measured(node, &numbers, input, &mut kept)?;
        let program = Program::new(&matching.pattern).expect("it was made where it was read");
        let references = conditions.iter().flat_map(|condition| match condition {
            Condition::Rows(computed) => computed.sources.as_slice(),
            _ => &[],
        });
        let slotted = Slotted::new(matching.variables.len(), references.map(|(row, _)| *row));
        Ok(MatchPlan {
            time,
            unit,
            keys,
            values: kept.exprs,
            input: Arc::clone(input.inner()),
            program,
            slotted,
            conditions,
            within: in_unit(EventTime::from_micros(matching.within_micros), unit),
            within_micros: matching.within_micros,
            skips_past: matching.skips_past,
            measures,
            output: Arc::clone(node.schema().inner()),
            text: matching.text.clone(),
        })
    }

    /// The values of rows; for each value of the node its number among those that are kept.
    fn rows_of(
        &self,
        node: &MatchNode,
        input: &DFSchema,
        kept: &mut Kept,
    ) -> Result<Vec<Option<usize>>, SqlError> {
        let numbers = node.values.iter().map(|value| {
            if matches!(value, Expr::AggregateFunction(_)) {
                return Ok(None);
            }
            let expr = self.physical(value, input)?;
            let kind = expr.data_type(input.as_arrow());
            let kind = kind.map_err(|error| SqlError::planning(&error))?;
            Ok(Some(kept.push(expr, kind)))
        });
        numbers.collect()
    }

    fn definition(
        &self,
        variable: usize,
        Definition { sources, expr }: &Definition,
        numbers: &[Option<usize>],
        kept: &Kept,
    ) -> Result<Condition, SqlError> {
        let of_row = |(row, value): &(Reference, usize)| Some((*row, numbers[*value]?));
        let sources: Vec<_> = sources.iter().filter_map(of_row).collect();
        let types = sources.iter().map(|(_, value)| kept.types[*value].clone());
        let (schema, expr) = self.over_sources(types, expr)?;
        let is_current = |(row, _): &(Reference, usize)| {
            row.anchor == Anchor::Last(0) && row.variable.is_none_or(|of| of == variable)
        };
        let is_of_row = sources.iter().all(is_current);
        let schema = Arc::clone(schema.inner());
        let computed = Computed { sources, schema, expr };
        Ok(if is_of_row { Condition::Row(computed) } else { Condition::Rows(computed) })
    }

    fn measured(
        &self,
        node: &MatchNode,
        numbers: &[Option<usize>],
        input: &DFSchema,
        kept: &mut Kept,
    ) -> Result<Measures, SqlError> {
        let (mut sources, mut types) = (Vec::new(), Vec::new());
        for source in &node.matching.sources {
            let (source, kind) = match source {
                Source::Row { row, value } => {
                    let value = numbers[*value].expect("the value of a row is kept");
                    (operator::Source::Row { row: *row, value }, kept.types[value].clone())
                }
                Source::Aggregate { variable, value } => {
                    let lowered = self.lower(&node.values[*value], input)?;
                    let kind = |expr: &Arc<dyn PhysicalExpr>| {
                        expr.data_type(input.as_arrow()).map_err(|error| SqlError::planning(&error))
                    };
                    let mut keep = |expr: Arc<dyn PhysicalExpr>| {
                        let kind = kind(&expr)?;
                        Ok::<_, SqlError>(kept.push(expr, kind))
                    };
                    let arguments = lowered.arguments.into_iter().map(&mut keep);
                    let arguments = arguments.collect::<Result<_, _>>()?;
                    let filter = lowered.filter.map(keep).transpose()?;
                    let (variable, function) = (*variable, lowered.function);
                    let kind = function.field().data_type().clone();
                    (operator::Source::Aggregate { variable, function, arguments, filter }, kind)
                }
            };
            sources.push(source);
            types.push(kind);
        }
        let exprs = node.matching.measures.iter();
        let exprs = exprs.map(|expr| Ok(self.over_sources(types.iter().cloned(), expr)?.1));
        let exprs = exprs.collect::<Result<_, SqlError>>()?;
        let schema = schema_of(types).map_err(|error| SqlError::planning(&error))?;
        Ok(Measures { sources, schema: Arc::clone(schema.inner()), exprs })
    }

    /// An expression over columns of sources.
    fn over_sources(
        &self,
        types: impl IntoIterator<Item = DataType>,
        expr: &Expr,
    ) -> Result<(DFSchema, Arc<dyn PhysicalExpr>), SqlError> {
        check_fixed(expr)?;
        crate::asof::check(expr)?;
        let planning = |error| SqlError::planning(&error);
        let schema = schema_of(types).map_err(planning)?;
        let physical = self.state.create_physical_expr(expr.clone(), &schema).map_err(planning)?;
        Ok((schema, physical))
    }
}

/// Whether a measure is the event time of a row that each match has.
fn is_event_time(measure: &Expr, node: &MatchNode, of: &dyn Fn(&Expr) -> Lineage) -> bool {
    let source = source_of(measure).and_then(|source| node.matching.sources.get(source));
    let Some(Source::Row { row, value }) = source else { return false };
    let is_first = matches!(row.anchor, Anchor::First(0) | Anchor::Last(0));
    let is_there = row.variable.is_none_or(|variable| node.matching.pattern.requires(variable));
    is_first && is_there && of(&node.values[*value]).is_event_time()
}
