//! `SESSION(readings PARTITION BY room, DESCRIPTOR(ts), INTERVAL '30 seconds')` in `FROM`: the rows
//! with `window_start` and `window_end`, whose values are known once rows are grouped.

use datafusion::sql::sqlparser::ast::{Expr, FunctionArg, FunctionArgExpr, Query};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::window::{Fill, descriptor, filled, table_name};

pub(super) const USAGE: &str = "write SESSION(stream, DESCRIPTOR(time_column), INTERVAL '30 seconds'): how long no row comes \
     between two sessions";

/// What stands for the call: the gap, and the columns of `PARTITION BY`, are its sizes.
const TEMPLATE: &str = "SELECT *, session_start(time_, S) AS window_start, \
                        session_end(time_, S) AS window_end FROM table_";

/// What `PARTITION BY` becomes: the name of an argument.
const PARTITION: &str = "partition_by_";

/// The query that the call stands for; or what is wrong with it.
pub(super) fn windowed(args: &[FunctionArg]) -> Result<Query, String> {
    let Some((table, keys, time, gap)) = arguments(args) else {
        return Err("SESSION takes a stream, a time column and a gap".to_owned());
    };
    let Some(table) = table_name(table) else {
        return Err(format!("SESSION's first argument is a stream, not `{table}`"));
    };
    let time = descriptor(time);
    let is_column = |expr: &Expr| matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
    if !is_column(time) {
        return Err(format!("SESSION's second argument is a time column, not `{time}`"));
    }
    if let Some(other) = keys.iter().find(|key| !is_column(key)) {
        return Err(format!("SESSION's PARTITION BY takes columns, not `{other}`"));
    }
    if !matches!(gap, Expr::Interval(_)) {
        return Err(format!("SESSION's gap is an INTERVAL, not `{gap}`"));
    }
    let sizes: Vec<_> = std::iter::once(gap).chain(keys).collect();
    Ok(filled(TEMPLATE, Fill { table, time, sizes: &sizes, own: 1 }))
}

type Arguments<'a> = (&'a Expr, Vec<&'a Expr>, &'a Expr, &'a Expr);

/// Stream, keys of `PARTITION BY`, time column and gap.
fn arguments(args: &[FunctionArg]) -> Option<Arguments<'_>> {
    let [table, keys @ .., time, gap] = args else { return None };
    let is_partition = |arg: &FunctionArg| matches!(arg, FunctionArg::Named { name, .. } if name.value == PARTITION);
    if keys.first().is_some_and(|first| !is_partition(first)) {
        return None;
    }
    let keys = keys.iter().map(expr_of).collect::<Option<Vec<_>>>()?;
    Some((expr_of(table)?, keys, expr_of(time)?, expr_of(gap)?))
}

fn expr_of(arg: &FunctionArg) -> Option<&Expr> {
    let (FunctionArg::Unnamed(arg) | FunctionArg::Named { arg, .. }) = arg else { return None };
    match arg {
        FunctionArgExpr::Expr(expr) => Some(expr),
        _ => None,
    }
}

/// Makes an argument of `PARTITION BY` in `SESSION(readings PARTITION BY room, ..)`, which
/// sqlparser does not know.
pub(super) fn with_partition_argument(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut kept: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut words = Vec::new();
    for token in tokens {
        if !matches!(token.token, Token::Whitespace(_)) {
            words.push(kept.len());
        }
        kept.push(token);
        let [.., session, open, _, partition, by] = words.as_slice() else { continue };
        let is_word = |place: usize, word: &str| match &kept[place].token {
            Token::Word(found) => {
                found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word)
            }
            _ => false,
        };
        let found = is_word(*session, "SESSION")
            && kept[*open].token == Token::LParen
            && is_word(*partition, "PARTITION")
            && is_word(*by, "BY");
        if found {
            let (comma, name) = (*partition, *by);
            kept[comma].token = Token::Comma;
            kept[name].token = Token::make_word(PARTITION, None);
            let arrow = TokenWithSpan { token: Token::RArrow, span: kept[name].span };
            words.push(kept.len());
            kept.push(arrow);
        }
    }
    kept
}
