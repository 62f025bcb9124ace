//! `TUMBLE(readings, DESCRIPTOR(ts), INTERVAL '1 minute')` in `FROM`: the rows with two more
//! columns, `window_start` and `window_end`. It becomes a projection, so that a bounded query
//! runs it as it is, and the planner of a job finds the window by its two functions.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, ObjectNamePart,
    Query, Spanned, TableAlias, TableFactor, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::position;
use crate::error::SqlError;

const USAGE: &str = "write TUMBLE(stream, DESCRIPTOR(time_column), INTERVAL '10 seconds')";

/// Resolves the windows of a query.
pub(super) struct Windows;

impl VisitorMut for Windows {
    type Break = SqlError;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<SqlError> {
        let resolved = match factor {
            TableFactor::Table { name, args: Some(args), alias, .. } => {
                resolve(name, &args.args, alias.clone())
            }
            TableFactor::TableFunction { expr: Expr::Function(function), alias } => match &function
                .args
            {
                FunctionArguments::List(list) => resolve(&function.name, &list.args, alias.clone()),
                _ => Ok(None),
            },
            _ => Ok(None),
        };
        match resolved {
            Ok(None) => {}
            Ok(Some(resolved)) => *factor = resolved,
            Err(error) => return ControlFlow::Break(error),
        }
        ControlFlow::Continue(())
    }
}

fn resolve(
    name: &ObjectName,
    args: &[FunctionArg],
    alias: Option<TableAlias>,
) -> Result<Option<TableFactor>, SqlError> {
    let function = name.to_string().to_uppercase();
    let wrong =
        |reason: String| Err(SqlError::statement(position(name.span().start), reason).or(USAGE));
    match function.as_str() {
        "TUMBLE" => {}
        "HOP" | "SESSION" | "CUMULATE" => {
            return wrong(format!("{function} windows are not there yet"));
        }
        _ => return Ok(None),
    }
    let [table, time, size] = args else {
        return wrong(format!("TUMBLE takes three arguments, not {}", args.len()));
    };
    let (Some(table), Some(time), Some(size)) = (plain(table), plain(time), plain(size)) else {
        return wrong("TUMBLE takes a stream, a time column and a size".to_owned());
    };
    let Some(table) = table_name(table) else {
        return wrong(format!("TUMBLE's first argument is a stream, not `{table}`"));
    };
    let time = descriptor(time);
    if !matches!(time, Expr::Identifier(_) | Expr::CompoundIdentifier(_)) {
        return wrong(format!("TUMBLE's second argument is a time column, not `{time}`"));
    }
    if !matches!(size, Expr::Interval(_)) {
        return wrong(format!("TUMBLE's third argument is an INTERVAL, not `{size}`"));
    }
    let subquery = Box::new(windowed(table, time, size));
    Ok(Some(TableFactor::Derived { lateral: false, subquery, alias, sample: None }))
}

/// The query that a window stands for.
fn windowed(table: ObjectName, time: &Expr, size: &Expr) -> Query {
    const TEMPLATE: &str = "SELECT *, tumble_start(time_, size_) AS window_start, \
                            tumble_end(time_, size_) AS window_end FROM table_";
    let query = Parser::new(&GenericDialect {}).try_with_sql(TEMPLATE);
    let query = query.and_then(|mut parser| parser.parse_query());
    let mut query = *query.expect("the template is SQL");
    let done: ControlFlow<()> = query.visit(&mut Fill { table, time, size });
    debug_assert!(done.is_continue());
    query
}

/// Puts the arguments into the template, with their places in the text.
struct Fill<'a> {
    table: ObjectName,
    time: &'a Expr,
    size: &'a Expr,
}

impl VisitorMut for Fill<'_> {
    type Break = ();

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<()> {
        *relation = self.table.clone();
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let name = match expr {
            Expr::Identifier(name) => name.value.as_str(),
            _ => "",
        };
        match name {
            "time_" => *expr = self.time.clone(),
            "size_" => *expr = self.size.clone(),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

fn plain(argument: &FunctionArg) -> Option<&Expr> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    }
}

fn table_name(expr: &Expr) -> Option<ObjectName> {
    let parts = match expr {
        Expr::Identifier(name) => vec![name.clone()],
        Expr::CompoundIdentifier(names) => names.clone(),
        _ => return None,
    };
    Some(ObjectName(parts.into_iter().map(ObjectNamePart::Identifier).collect()))
}

/// The column in `DESCRIPTOR(column)`; anything else as it is.
fn descriptor(expr: &Expr) -> &Expr {
    let inner = match expr {
        Expr::Function(function) if is_word(&function.name, "DESCRIPTOR") => match &function.args {
            FunctionArguments::List(list) if list.args.len() == 1 => plain(&list.args[0]),
            _ => None,
        },
        _ => None,
    };
    inner.unwrap_or(expr)
}

fn is_word(name: &ObjectName, word: &str) -> bool {
    let [ObjectNamePart::Identifier(Ident { value, .. })] = name.0.as_slice() else { return false };
    value.eq_ignore_ascii_case(word)
}

/// Takes out Flink's word in `TUMBLE(TABLE readings, ..)`, which sqlparser does not know.
pub(super) fn without_table_word(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut before = [None, None];
    let mut kept = Vec::with_capacity(tokens.len());
    for token in tokens {
        if let Token::Whitespace(_) = token.token {
            kept.push(token);
            continue;
        }
        let word = match &token.token {
            Token::Word(word) => Some(word.value.to_uppercase()),
            Token::LParen => Some("(".to_owned()),
            _ => None,
        };
        let in_window = before == [Some("TUMBLE".to_owned()), Some("(".to_owned())];
        if in_window && word.as_deref() == Some("TABLE") {
            continue;
        }
        before.rotate_left(1);
        before[1] = word;
        kept.push(token);
    }
    kept
}
