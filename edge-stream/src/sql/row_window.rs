//! Windows in `FROM` that rows open and close: the rows with `window_start` and `window_end`, whose
//! values are known once rows are grouped.
//!
//! `COUNT_WINDOW(readings, ts, 100)`, `EVENT_WINDOW(readings, ts, START WITH temp > 80, END WITH temp <
//! 70)` and `STATE_WINDOW(readings, ts, status)`.

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Query, Value, ValueWithSpan,
};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::asof::is_word;
use super::keyed::{Keyed, PARTITION, is_column_argument};
use crate::row_windows::Kind;

/// What the conditions of `EVENT_WINDOW` become: the names of arguments.
const START: &str = "start_with_";
const END: &str = "end_with_";

/// The argument that says how long a window may be.
const LONGEST: &str = "longest";

/// How long that is where nobody says it.
const DEFAULT_LONGEST: &str = "INTERVAL '1 day'";

/// Rows of a window: far below where their number would overflow.
const MAX_ROWS: u32 = 1_000_000;

/// Windows that a row may lie in. It is counted in each of them.
const MAX_OVERLAP: u32 = 64;

const ALL: [Kind; 3] = [Kind::Count, Kind::Event, Kind::State];

/// The windows of this name.
pub(super) fn named(name: &str) -> Option<Kind> {
    ALL.into_iter().find(|kind| kind.name() == name)
}

/// How the windows are written.
pub(super) fn usage(kind: Kind) -> &'static str {
    match kind {
        Kind::Count => {
            "write COUNT_WINDOW(stream, DESCRIPTOR(time_column), 100), or with how many rows later the next \
             window begins: COUNT_WINDOW(stream, DESCRIPTOR(time_column), 100, 10)"
        }
        Kind::Event => {
            "write EVENT_WINDOW(stream, DESCRIPTOR(time_column), START WITH temp > 80, END WITH temp < \
             70)"
        }
        Kind::State => {
            "write STATE_WINDOW(stream, DESCRIPTOR(time_column), status): a window lasts as long as the value \
             stays"
        }
    }
}

/// What stands for the call: its own arguments, and the columns of `PARTITION BY`, are its sizes.
fn template(kind: Kind, longest: &str) -> String {
    let name = match kind {
        Kind::Count => "count",
        Kind::Event => "event",
        Kind::State => "state",
    };
    format!(
        "SELECT *, {name}_start(time_, {longest}, S) AS window_start, \
         {name}_end(time_, {longest}, S) AS window_end FROM table_"
    )
}

/// The query that the call stands for; or what is wrong with it.
pub(super) fn windowed(kind: Kind, args: &[FunctionArg]) -> Result<Query, String> {
    let name = kind.name();
    let shape = || match kind {
        Kind::Count => format!("{name} takes a stream, a time column and a number of rows"),
        Kind::Event => format!("{name} takes a stream, a time column and two conditions"),
        Kind::State => format!("{name} takes a stream, a time column and a value"),
    };
    let (args, longest) = without_longest(args)?;
    let own = match kind {
        Kind::Count => args.iter().rev().take_while(|arg| !is_column_argument(arg)).count(),
        Kind::Event => 2,
        Kind::State => 1,
    };
    check_names(kind, &args)?;
    let keyed = Keyed::read(&args, own).ok_or_else(shape)?;
    keyed.check(name)?;
    let template = template(kind, &longest);
    let filled = match (kind, keyed.own.as_slice()) {
        (Kind::Count, [rows]) => {
            check_count(rows, None)?;
            keyed.filled(&template, &[rows, rows])
        }
        (Kind::Count, [rows, every]) => {
            check_count(rows, Some(every))?;
            keyed.filled(&template, &[rows, every])
        }
        (Kind::Count, _) => None,
        (_, own) => keyed.filled(&template, own),
    };
    filled.ok_or_else(shape)
}

/// The arguments without `LONGEST => INTERVAL '1 hour'`, and what that says.
fn without_longest(args: &[FunctionArg]) -> Result<(Vec<&FunctionArg>, String), String> {
    let is_longest = |arg: &&FunctionArg| name_of(arg).is_some_and(|name| name == LONGEST);
    let (found, others): (Vec<_>, Vec<_>) = args.iter().partition(is_longest);
    match found.as_slice() {
        [] => Ok((others, DEFAULT_LONGEST.to_owned())),
        [FunctionArg::Named { arg: FunctionArgExpr::Expr(longest @ Expr::Interval(_)), .. }] => {
            Ok((others, longest.to_string()))
        }
        [FunctionArg::Named { arg, .. }] => Err(format!("LONGEST is an INTERVAL, not `{arg}`")),
        _ => Err("LONGEST is there twice".to_owned()),
    }
}

fn name_of(arg: &FunctionArg) -> Option<String> {
    match arg {
        FunctionArg::Named { name, .. } => Some(name.value.to_lowercase()),
        _ => None,
    }
}

/// That named arguments are known, and the conditions of `EVENT_WINDOW` in their places.
fn check_names(kind: Kind, args: &[&FunctionArg]) -> Result<(), String> {
    for (place, arg) in args.iter().rev().enumerate() {
        let Some(name) = name_of(arg) else { continue };
        match name.as_str() {
            PARTITION => {}
            START if kind == Kind::Event && place == 1 => {}
            END if kind == Kind::Event && place == 0 => {}
            START | END => {
                return Err(
                    "START WITH stands in front of END WITH, behind the time column".to_owned()
                );
            }
            _ => return Err(format!("{} has no argument `{name}`, but LONGEST", kind.name())),
        }
    }
    Ok(())
}

fn check_count(rows: &Expr, every: Option<&Expr>) -> Result<(), String> {
    let up_to = |most: u32, expr: &Expr| match expr {
        Expr::Value(ValueWithSpan { value: Value::Number(digits, _), .. }) => {
            digits.parse().ok().filter(|number| (1..=most).contains(number))
        }
        _ => None,
    };
    let Some(rows) = up_to(MAX_ROWS, rows) else {
        return Err(format!(
            "COUNT_WINDOW's number of rows is a whole one from 1 to {MAX_ROWS}, not `{rows}`"
        ));
    };
    let Some(every) = every else { return Ok(()) };
    let Some(step) = up_to(rows, every) else {
        return Err(format!(
            "COUNT_WINDOW's second number is a whole one from 1 to the first, {rows}, not `{every}`"
        ));
    };
    let overlap: u32 = rows.div_ceil(step);
    if overlap > MAX_OVERLAP {
        return Err(format!(
            "a row would lie in {overlap} windows of {rows} rows each {step}, and {MAX_OVERLAP} are \
             the most"
        ));
    }
    Ok(())
}

/// Makes arguments of `START WITH` and `END WITH` in `EVENT_WINDOW(..)`, which sqlparser does not
/// know.
pub(super) fn with_condition_arguments(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    if !tokens.iter().any(|token| is_word(token, Kind::Event.name())) {
        return tokens;
    }
    let is_space = |token: &TokenWithSpan| matches!(token.token, Token::Whitespace(_));
    let words: Vec<_> = (0..tokens.len()).filter(|place| !is_space(&tokens[*place])).collect();
    for place in words.windows(3) {
        let [comma, word, with] = place else { continue };
        if tokens[*comma].token != Token::Comma || !is_word(&tokens[*with], "WITH") {
            continue;
        }
        let names = [("START", START), ("END", END)];
        if let Some((_, name)) = names.into_iter().find(|(own, _)| is_word(&tokens[*word], own)) {
            tokens[*word].token = Token::make_word(name, None);
            tokens[*with].token = Token::RArrow;
        }
    }
    tokens
}
