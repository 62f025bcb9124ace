//! `MATCH_RECOGNIZE` as a node of a plan.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::common::{DFSchema, DFSchemaRef, Result, plan_err};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, UserDefinedLogicalNodeCore};

use crate::matching::{Pattern, Reference};

/// What such a node is called.
pub(crate) const MATCH_RECOGNIZE: &str = "MatchRecognize";

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct MatchNode {
    pub(crate) input: LogicalPlan,
    pub(crate) keys: Vec<Expr>,
    pub(crate) time: Expr,
    /// What is wanted of each row, and aggregates over such rows.
    pub(crate) values: Vec<Expr>,
    pub(crate) matching: Arc<Matching>,
    schema: DFSchemaRef,
}

/// What is looked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Matching {
    pub(crate) variables: Vec<String>,
    pub(crate) pattern: Pattern,
    /// The pattern as it is written.
    pub(crate) text: String,
    /// When a row may be a variable, for each of them; always, where that is `None`.
    pub(crate) definitions: Vec<Option<Definition>>,
    /// What measures are computed from.
    pub(crate) sources: Vec<Source>,
    /// Over columns that are called by the numbers of their sources.
    pub(crate) measures: Vec<Expr>,
    pub(crate) within_micros: i64,
    pub(crate) skips_past: bool,
}

/// An expression over columns that are called by the numbers of their sources.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Definition {
    pub(crate) sources: Vec<(Reference, usize)>,
    pub(crate) expr: Expr,
}

/// A value of a match: that of a row, or an aggregate over rows of a variable, or all.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    Row { row: Reference, value: usize },
    Aggregate { variable: Option<usize>, value: usize },
}

/// What the column of a source is called: no column of a stream begins with such a letter.
pub(super) fn column_of(source: usize) -> String {
    format!("__match_{source}")
}

/// The source that a column stands for.
pub(crate) fn source_of(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Alias(alias) => source_of(&alias.expr),
        Expr::Column(column) => column.name.strip_prefix("__match_")?.parse().ok(),
        _ => None,
    }
}

/// The columns of sources of these types.
pub(crate) fn schema_of(
    types: impl IntoIterator<Item = arrow::datatypes::DataType>,
) -> Result<DFSchema> {
    let types = types.into_iter().enumerate();
    let fields = types.map(|(source, kind)| Field::new(column_of(source), kind, true));
    DFSchema::from_unqualified_fields(fields.collect(), HashMap::new())
}

impl MatchNode {
    pub(super) fn new(
        input: LogicalPlan,
        keys: Vec<Expr>,
        time: Expr,
        values: Vec<Expr>,
        (matching, names): (Matching, Vec<String>),
    ) -> Result<MatchNode> {
        let types = matching.sources.iter().map(|source| match source {
            Source::Row { value, .. } | Source::Aggregate { value, .. } => {
                values[*value].get_type(input.schema())
            }
        });
        let sources = schema_of(types.collect::<Result<Vec<_>>>()?)?;
        let keys_of = keys.iter().map(|key| Ok((None, key.to_field(input.schema())?.1)));
        let measures = matching.measures.iter().zip(names).map(|(measure, name)| {
            Ok((None, Arc::new(Field::new(name, measure.get_type(&sources)?, true))))
        });
        let fields = keys_of.chain(measures).collect::<Result<Vec<_>>>()?;
        let schema = Arc::new(DFSchema::new_with_metadata(fields, HashMap::new())?);
        Ok(MatchNode { input, keys, time, values, matching: Arc::new(matching), schema })
    }
}

impl PartialOrd for MatchNode {
    fn partial_cmp(&self, other: &MatchNode) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for MatchNode {
    fn name(&self) -> &str {
        MATCH_RECOGNIZE
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        let time = std::iter::once(&self.time);
        self.keys.iter().chain(time).chain(&self.values).cloned().collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MATCH_RECOGNIZE}: {}", self.matching.text)
    }

    fn with_exprs_and_inputs(
        &self,
        mut exprs: Vec<Expr>,
        inputs: Vec<LogicalPlan>,
    ) -> Result<MatchNode> {
        let (count, keys) = (exprs.len(), self.keys.len());
        let Ok([input]) = <[LogicalPlan; 1]>::try_from(inputs) else {
            return plan_err!("MATCH_RECOGNIZE has one input");
        };
        if count != self.values.len() + keys + 1 {
            return plan_err!("MATCH_RECOGNIZE has other expressions");
        }
        let values = exprs.split_off(keys + 1);
        let time = exprs.split_off(keys).remove(0);
        Ok(MatchNode { input, keys: exprs, time, values, ..self.clone() })
    }

    /// What it looks at itself is added by its expressions.
    fn necessary_children_exprs(&self, _: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![Vec::new()])
    }
}
