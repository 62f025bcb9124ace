//! Windows in `FROM` that each key has of its own, as they are written: a stream, its keys, a time
//! column, and what is theirs. `SESSION(readings PARTITION BY room, DESCRIPTOR(ts), ..)`

use datafusion::sql::sqlparser::ast::{Expr, FunctionArg, FunctionArgExpr, Query};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::asof::is_word;
use super::window::{Fill, descriptor, filled, table_name};

/// Windows of this kind.
const KEYED: [&str; 4] = ["SESSION", "COUNT_WINDOW", "EVENT_WINDOW", "STATE_WINDOW"];

/// What `PARTITION BY` becomes: the name of an argument.
pub(super) const PARTITION: &str = "partition_by_";

/// The arguments of such windows.
#[derive(Debug)]
pub(super) struct Keyed<'a> {
    table: &'a Expr,
    keys: Vec<&'a Expr>,
    time: &'a Expr,
    pub(super) own: Vec<&'a Expr>,
}

impl<'a> Keyed<'a> {
    /// The last arguments are `own` ones. `None` where others are not there, or too many.
    pub(super) fn read(args: &[&'a FunctionArg], own: usize) -> Option<Keyed<'a>> {
        let (args, own) = args.split_at_checked(args.len().checked_sub(own)?)?;
        let [table, keys @ .., time] = args else { return None };
        let is_partition = |arg: &FunctionArg| matches!(arg, FunctionArg::Named { name, .. } if name.value == PARTITION);
        if keys.first().is_some_and(|first| !is_partition(first)) {
            return None;
        }
        let all = |args: &[&'a FunctionArg]| args.iter().map(|arg| expr_of(arg)).collect();
        let (keys, own): (Option<Vec<_>>, Option<Vec<_>>) = (all(keys), all(own));
        Some(Keyed { table: expr_of(table)?, keys: keys?, time: expr_of(time)?, own: own? })
    }

    /// What is wrong with those that all such windows have.
    pub(super) fn check(&self, name: &str) -> Result<(), String> {
        if table_name(self.table).is_none() {
            return Err(format!("{name}'s first argument is a stream, not `{}`", self.table));
        }
        let time = descriptor(self.time);
        if !is_column(time) {
            return Err(format!("{name}'s second argument is a time column, not `{time}`"));
        }
        match self.keys.iter().find(|key| !is_column(key)) {
            Some(other) => Err(format!("{name}'s PARTITION BY takes columns, not `{other}`")),
            None => Ok(()),
        }
    }

    /// A template with these arguments in it: its own, then the keys, are the sizes.
    pub(super) fn filled(&self, template: &str, own: &[&Expr]) -> Option<Query> {
        let sizes: Vec<_> = own.iter().chain(&self.keys).copied().collect();
        let (table, time) = (table_name(self.table)?, descriptor(self.time));
        Some(filled(template, Fill { table, time, sizes: &sizes, own: own.len() }))
    }
}

/// Whether an argument is a column, or `DESCRIPTOR(column)`.
pub(super) fn is_column_argument(arg: &FunctionArg) -> bool {
    expr_of(arg).is_some_and(|expr| is_column(descriptor(expr)))
}

fn is_column(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
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
        let [.., window, open, _, partition, by] = words.as_slice() else { continue };
        let found = KEYED.iter().any(|name| is_word(&kept[*window], name))
            && kept[*open].token == Token::LParen
            && is_word(&kept[*partition], "PARTITION")
            && is_word(&kept[*by], "BY");
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
