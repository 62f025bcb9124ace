//! Expressions of `DEFINE` and `MEASURES`: each value of a row, and each aggregate, becomes a column;
//! which row, and what of it, stands beside that.

use std::ops::ControlFlow;

use datafusion::common::{DFSchema, DataFusionError, Result};
use datafusion::functions_window::lead_lag::lag;
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::logical_expr::{Expr, ExprSchemable};
use datafusion::sql::sqlparser::ast::{
    self, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Spanned, Value, VisitMut,
    VisitorMut,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::node::{Definition, Source, column_of, schema_of};
use super::wrong;
use crate::matching::{Anchor, Reference};
use crate::sql::matches::name_of;

/// How far FIRST, LAST and PREV look.
const MAX_OFFSET: u32 = 1000;

/// All that is wanted of rows.
pub(super) struct Values<'a> {
    context: &'a mut dyn RelationPlannerContext,
    /// The columns of the table.
    schema: &'a DFSchema,
    variables: &'a [String],
    /// Of each row, and aggregates.
    pub(super) values: Vec<Expr>,
    /// Those of rows in front, as window functions without their order.
    pub(super) lags: Vec<Expr>,
    types: Vec<arrow::datatypes::DataType>,
}

/// A value of a row, as it is written.
struct Navigation {
    anchor: Anchor,
    /// So many rows in front of that.
    back: u32,
    of: ast::Expr,
}

impl<'a> Values<'a> {
    pub(super) fn new(
        context: &'a mut dyn RelationPlannerContext,
        schema: &'a DFSchema,
        variables: &'a [String],
    ) -> Values<'a> {
        let (values, lags, types) = (Vec::new(), Vec::new(), Vec::new());
        Values { context, schema, variables, values, lags, types }
    }

    pub(super) fn definition(&mut self, mut expr: ast::Expr) -> Result<Definition> {
        let mut sources = Vec::new();
        self.rewrite(&mut expr, &mut sources, false)?;
        let expr = self.planned(expr, &sources)?;
        let sources = sources.into_iter().filter_map(|source| match source {
            Source::Row { row, value } => Some((row, value)),
            Source::Aggregate { .. } => None,
        });
        Ok(Definition { sources: sources.collect(), expr })
    }

    /// What measures are computed from, and these.
    pub(super) fn measures(
        &mut self,
        mut exprs: Vec<ast::Expr>,
    ) -> Result<(Vec<Source>, Vec<Expr>)> {
        let mut sources = Vec::new();
        exprs.iter_mut().try_for_each(|expr| self.rewrite(expr, &mut sources, true))?;
        let exprs = exprs.into_iter().map(|expr| self.planned(expr, &sources));
        let exprs = exprs.collect::<Result<_>>()?;
        Ok((sources, exprs))
    }

    fn rewrite(
        &mut self,
        expr: &mut ast::Expr,
        sources: &mut Vec<Source>,
        may_aggregate: bool,
    ) -> Result<()> {
        match expr.visit(&mut Rewrite { values: self, sources, may_aggregate }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(error) => Err(error),
        }
    }

    /// An expression in which columns of sources stand for values.
    fn planned(&mut self, expr: ast::Expr, sources: &[Source]) -> Result<Expr> {
        let types = sources.iter().map(|source| match source {
            Source::Row { value, .. } | Source::Aggregate { value, .. } => {
                self.types[*value].clone()
            }
        });
        self.context.sql_to_expr(expr, &schema_of(types)?)
    }

    /// The number of a value; the same one has one number.
    fn number(&mut self, value: Expr, kind: arrow::datatypes::DataType) -> usize {
        let known = self.values.iter().position(|known| *known == value);
        known.unwrap_or_else(|| {
            self.values.push(value);
            self.types.push(kind);
            self.values.len() - 1
        })
    }

    fn row(&mut self, Navigation { anchor, back, mut of }: Navigation) -> Result<Source> {
        let span = of.span();
        let variable = self.variable_of(&mut of, span)?;
        let value = self.context.sql_to_expr(of, self.schema)?;
        let kind = value.get_type(self.schema)?;
        let value = match back {
            0 => value,
            back => {
                let lag = lag(value, Some(i64::from(back)), None);
                if !self.lags.contains(&lag) {
                    self.lags.push(lag.clone());
                }
                lag
            }
        };
        let row = Reference { variable, anchor };
        Ok(Source::Row { row, value: self.number(value, kind) })
    }

    fn aggregate(&mut self, mut call: ast::Expr) -> Result<Source> {
        let span = call.span();
        let variable = self.variable_of(&mut call, span)?;
        let value = self.context.sql_to_expr(call, self.schema)?;
        let value = value.unalias();
        if !matches!(value, Expr::AggregateFunction(_)) {
            return Err(wrong(span, format!("`{value}` is no aggregate")));
        }
        let kind = value.get_type(self.schema)?;
        Ok(Source::Aggregate { variable, value: self.number(value, kind) })
    }

    /// The variable whose rows an expression is about, which it loses the name of; `None` if it names
    /// none.
    fn variable_of(&self, expr: &mut ast::Expr, span: Span) -> Result<Option<usize>> {
        let mut names = Names { variables: self.variables, found: Vec::new() };
        let done: ControlFlow<()> = expr.visit(&mut names);
        debug_assert!(done.is_continue());
        names.found.dedup();
        match names.found.as_slice() {
            [] => Ok(None),
            [variable] => Ok(*variable),
            _ => Err(wrong(
                span,
                "columns of one row are those of one variable: LAST(a.x) - LAST(b.x) in place of \
                 LAST(a.x - b.x)"
                    .to_owned(),
            )),
        }
    }

    /// What FIRST, LAST and PREV say; `None` for something else.
    fn navigation(&self, call: &ast::Function) -> Result<Option<Navigation>> {
        let (span, name) = (call.name.span(), call.name.to_string().to_uppercase());
        if !["FIRST", "LAST", "PREV", "NEXT"].contains(&name.as_str()) {
            return Ok(None);
        }
        if name == "NEXT" {
            let reason = "NEXT looks at a row that has not come; write PREV from the later row";
            return Err(wrong(span, reason.to_owned()));
        }
        let args = match &call.args {
            FunctionArguments::List(list) => list.args.iter().map(plain).collect(),
            _ => None,
        };
        let args: Option<Vec<_>> = args;
        let usage = || {
            wrong(span, format!("{name} takes a column, and perhaps a number below {MAX_OFFSET}"))
        };
        let (of, offset) = match args.as_deref() {
            Some([of]) => (*of, u32::from(name == "PREV")),
            Some([of, ast::Expr::Value(number)]) => match &number.value {
                Value::Number(number, _) => (*of, number.to_string().parse().map_err(|_| usage())?),
                _ => return Err(usage()),
            },
            _ => return Err(usage()),
        };
        if offset >= MAX_OFFSET {
            return Err(usage());
        }
        let (anchor, back) = match name.as_str() {
            "FIRST" => (Anchor::First(offset), 0),
            "LAST" => (Anchor::Last(offset), 0),
            _ => (Anchor::Last(0), offset),
        };
        if let (true, ast::Expr::Function(inner)) = (name == "PREV", of)
            && let Some(inner) = self.navigation(inner)?
        {
            return Ok(Some(Navigation { back: back + inner.back, ..inner }));
        }
        Ok(Some(Navigation { anchor, back, of: of.clone() }))
    }
}

fn plain(argument: &FunctionArg) -> Option<&ast::Expr> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    }
}

/// Puts columns in place of values.
struct Rewrite<'a, 'b> {
    values: &'a mut Values<'b>,
    sources: &'a mut Vec<Source>,
    may_aggregate: bool,
}

impl Rewrite<'_, '_> {
    fn source(&mut self, expr: &ast::Expr) -> Result<Option<Source>> {
        let call = match expr {
            ast::Expr::Identifier(_) | ast::Expr::CompoundIdentifier(_) => {
                let of = expr.clone();
                let last = Navigation { anchor: Anchor::Last(0), back: 0, of };
                return self.values.row(last).map(Some);
            }
            ast::Expr::Function(call) => call,
            ast::Expr::Subquery(_) | ast::Expr::Exists { .. } | ast::Expr::InSubquery { .. } => {
                let reason = "MATCH_RECOGNIZE has no subqueries; join the table in front of it";
                return Err(wrong(expr.span(), reason.to_owned()));
            }
            _ => return Ok(None),
        };
        if let Some(row) = self.values.navigation(call)? {
            return self.values.row(row).map(Some);
        }
        let name = call.name.to_string().to_lowercase();
        if ["classifier", "match_number"].contains(&name.as_str()) {
            let reason =
                format!("{name}() is not there; say by MEASURES what is wanted of the match");
            return Err(wrong(call.name.span(), reason));
        }
        let provider = self.values.context.context_provider();
        if call.over.is_some() || provider.get_aggregate_meta(&name).is_none() {
            return Ok(None);
        }
        if !self.may_aggregate {
            let reason = format!(
                "`{name}` over the rows of a match is there in MEASURES, not in DEFINE; ask for it in \
                 the WHERE of the query around it"
            );
            return Err(wrong(call.name.span(), reason));
        }
        self.values.aggregate(expr.clone()).map(Some)
    }
}

impl VisitorMut for Rewrite<'_, '_> {
    type Break = DataFusionError;

    fn pre_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<DataFusionError> {
        let source = match self.source(expr) {
            Ok(None) => return ControlFlow::Continue(()),
            Ok(Some(source)) => source,
            Err(error) => return ControlFlow::Break(error),
        };
        let known = self.sources.iter().position(|known| *known == source);
        let number = known.unwrap_or_else(|| {
            self.sources.push(source);
            self.sources.len() - 1
        });
        *expr = ast::Expr::Identifier(Ident::with_span(expr.span(), column_of(number)));
        ControlFlow::Continue(())
    }
}

/// Takes the names of variables out of an expression.
struct Names<'a> {
    variables: &'a [String],
    /// Those that were there; `None` for a column without one.
    found: Vec<Option<usize>>,
}

impl Names<'_> {
    fn variable(&self, name: &Ident) -> Option<usize> {
        let name = name_of(name);
        self.variables.iter().position(|variable| *variable == name)
    }
}

impl VisitorMut for Names<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<()> {
        match expr {
            ast::Expr::Identifier(_) => self.found.push(None),
            ast::Expr::CompoundIdentifier(path) => {
                let variable = path.first().and_then(|name| self.variable(name));
                self.found.push(variable);
                if variable.is_some() {
                    path.remove(0);
                }
                if let [column] = path.as_slice() {
                    *expr = ast::Expr::Identifier(column.clone());
                }
            }
            ast::Expr::Function(call) => {
                let FunctionArguments::List(list) = &mut call.args else {
                    return ControlFlow::Continue(());
                };
                // count(b.*)
                for argument in &mut list.args {
                    if let FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(name)) = argument
                        && let [ast::ObjectNamePart::Identifier(name)] = name.0.as_slice()
                        && let Some(variable) = self.variable(name)
                    {
                        self.found.push(Some(variable));
                        *argument = FunctionArg::Unnamed(FunctionArgExpr::Wildcard);
                    }
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
