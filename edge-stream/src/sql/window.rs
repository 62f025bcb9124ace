//! Windows in `FROM`, such as `TUMBLE(readings, DESCRIPTOR(ts), INTERVAL '1 minute')`: the rows with
//! two more columns, `window_start` and `window_end`. They become a projection, in which the planner
//! of a job finds the window by its functions; for a bounded query one that DataFusion runs as it is,
//! with a row for each window that it lies in.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, ObjectNamePart,
    Query, Select, Spanned, TableAlias, TableFactor, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::{arrows, asof, matches, position, row_window, session};
use crate::error::SqlError;

/// Who will run the query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunBy {
    /// DataFusion, over rows that have an end.
    #[cfg_attr(not(feature = "db"), allow(dead_code, reason = "only an engine has history"))]
    Query,
    Job,
}

/// Resolves the windows of a query, and the arrows in its expressions.
pub(super) struct Resolve(pub(super) RunBy);

impl VisitorMut for Resolve {
    type Break = SqlError;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<SqlError> {
        select.from.iter_mut().try_for_each(|from| asof::resolve(from, self.0))
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<SqlError> {
        let resolved = match factor {
            TableFactor::Table { name, args: Some(args), alias, .. } => {
                self.resolve(name, &args.args, alias.clone())
            }
            TableFactor::TableFunction { expr: Expr::Function(function), alias } => {
                match &function.args {
                    FunctionArguments::List(list) => {
                        self.resolve(&function.name, &list.args, alias.clone())
                    }
                    _ => Ok(None),
                }
            }
            TableFactor::NestedJoin { table_with_joins, .. } => {
                return asof::resolve(table_with_joins, self.0);
            }
            TableFactor::MatchRecognize { .. } => match matches::shape(factor) {
                Ok(_) if self.0 == RunBy::Query => Err(matches::for_jobs(factor)),
                Ok(_) => Ok(None),
                Err(error) => Err(error),
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

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        arrows::bind(expr);
        ControlFlow::Continue(())
    }
}

/// A function in `FROM` that makes windows.
struct WindowCall {
    name: &'static str,
    /// How its sizes are called, in their order.
    sizes: &'static [&'static str],
    /// What stands for it in a job, and in a bounded query: `S` are the sizes.
    job: &'static str,
    query: &'static str,
    usage: &'static str,
}

const CALLS: [WindowCall; 3] = [
    WindowCall {
        name: "TUMBLE",
        sizes: &["size"],
        job: "SELECT *, tumble_start(time_, S) AS window_start, tumble_end(time_, S) AS window_end \
              FROM table_",
        query: "SELECT *, tumble_start(time_, S) AS window_start, \
                tumble_end(time_, S) AS window_end FROM table_",
        usage: "write TUMBLE(stream, DESCRIPTOR(time_column), INTERVAL '10 seconds')",
    },
    WindowCall {
        name: "HOP",
        sizes: &["slide", "size"],
        job: "SELECT *, hop_start(time_, S) AS window_start, hop_end(time_, S) AS window_end \
              FROM table_",
        query: "SELECT *, window_start + size1_ AS window_end FROM \
                (SELECT *, unnest(hop_starts(time_, S)) AS window_start FROM table_)",
        usage: "write HOP(stream, DESCRIPTOR(time_column), INTERVAL '1 second', INTERVAL '1 minute'): \
                from one window to the next, and the size of each",
    },
    WindowCall {
        name: "CUMULATE",
        sizes: &["step", "size"],
        job: "SELECT *, cumulate_start(time_, S) AS window_start, \
              cumulate_end(time_, S) AS window_end FROM table_",
        query: "SELECT *, tumble_start(time_, LAST) AS window_start, \
                unnest(cumulate_ends(time_, S)) AS window_end FROM table_",
        usage: "write CUMULATE(stream, DESCRIPTOR(time_column), INTERVAL '1 minute', \
                INTERVAL '1 hour'): how much longer each window is, and how long the last one",
    },
];

impl Resolve {
    fn resolve(
        &self,
        name: &ObjectName,
        args: &[FunctionArg],
        alias: Option<TableAlias>,
    ) -> Result<Option<TableFactor>, SqlError> {
        let function = name.to_string().to_uppercase();
        let at = position(name.span().start);
        let (query, usage) = if function == "SESSION" {
            (session::windowed(args), session::USAGE)
        } else if let Some(kind) = row_window::named(&function) {
            (row_window::windowed(kind, args), row_window::usage(kind))
        } else if let Some(call) = CALLS.iter().find(|call| call.name == function) {
            (call.windowed(args, self.0), call.usage)
        } else {
            return Ok(None);
        };
        let query = query.map_err(|reason| SqlError::statement(at, reason).or(usage));
        let subquery = Box::new(query?);
        Ok(Some(TableFactor::Derived { lateral: false, subquery, alias, sample: None }))
    }
}

impl WindowCall {
    /// The query that the call stands for; or what is wrong with it.
    fn windowed(&self, args: &[FunctionArg], run_by: RunBy) -> Result<Query, String> {
        let (name, least) = (self.name, 2 + self.sizes.len());
        let (args, gap_fill) = self.gap_fill(args)?;
        if !(least..=least + 1).contains(&args.len()) {
            let sizes = self.sizes.join(" and ");
            return Err(format!(
                "{name} takes a stream, a time column, a {sizes}, and perhaps an offset: {least} \
                 or {} arguments, not {}",
                least + 1,
                args.len()
            ));
        }
        let args = args.iter().copied().map(plain).collect::<Option<Vec<_>>>();
        let Some([table, time, sizes @ ..]) = args.as_deref() else {
            return Err(format!("{name} takes a stream, a time column and sizes"));
        };
        let Some(table) = table_name(table) else {
            return Err(format!("{name}'s first argument is a stream, not `{table}`"));
        };
        let time = descriptor(time);
        if !matches!(time, Expr::Identifier(_) | Expr::CompoundIdentifier(_)) {
            return Err(format!("{name}'s second argument is a time column, not `{time}`"));
        }
        if let Some(other) = sizes.iter().find(|size| !matches!(size, Expr::Interval(_))) {
            return Err(format!("{name}'s sizes are INTERVALs, not `{other}`"));
        }
        let mut template = (if run_by == RunBy::Job { self.job } else { self.query }).to_owned();
        if let Some(time) = gap_fill {
            for bound in ["tumble_start(time_, S)", "tumble_end(time_, S)"] {
                template = template.replace(bound, &format!("gap_filled({bound}, {time})"));
            }
        }
        Ok(filled(&template, Fill { table, time, sizes, own: self.sizes.len() }))
    }
}

/// The arguments without the one of this name, and that.
type Without<'a> = (Vec<&'a FunctionArg>, Option<&'a Expr>);

impl WindowCall {
    /// Takes out `GAP_FILL => INTERVAL '1 hour'`.
    fn gap_fill<'a>(&self, args: &'a [FunctionArg]) -> Result<Without<'a>, String> {
        let is_gap_fill = |arg: &&FunctionArg| matches!(arg, FunctionArg::Named { name, .. } if name.value.eq_ignore_ascii_case("gap_fill"));
        let (found, others): (Vec<_>, Vec<_>) = args.iter().partition(is_gap_fill);
        let value = match found.as_slice() {
            [] => return Ok((others, None)),
            [FunctionArg::Named { arg: FunctionArgExpr::Expr(value), .. }] => value,
            _ => return Err("GAP_FILL is there twice".to_owned()),
        };
        match value {
            _ if self.name != "TUMBLE" => Err("GAP_FILL is there for TUMBLE alone".to_owned()),
            Expr::Interval(_) => Ok((others, Some(value))),
            other => Err(format!("GAP_FILL is an INTERVAL, not `{other}`")),
        }
    }
}

/// A template with the arguments in it.
pub(super) fn filled(template: &str, mut fill: Fill<'_>) -> Query {
    let all: Vec<_> = (0..fill.sizes.len()).map(|place| format!("size{place}_")).collect();
    let template = template.replace("LAST", &all[fill.own - 1..].join(", "));
    let template = template.replace(", S)", &format!(", {})", all.join(", ")));
    let query = Parser::new(&GenericDialect {}).try_with_sql(&template);
    let query = query.and_then(|mut parser| parser.parse_query());
    let mut query = *query.expect("the template is SQL");
    let done: ControlFlow<()> = query.visit(&mut fill);
    debug_assert!(done.is_continue());
    query
}

/// Puts the arguments into the template, with their places in the text.
pub(super) struct Fill<'a> {
    pub(super) table: ObjectName,
    pub(super) time: &'a Expr,
    /// Sizes, and the offset if there is one.
    pub(super) sizes: &'a [&'a Expr],
    /// How many of them are sizes.
    pub(super) own: usize,
}

impl VisitorMut for Fill<'_> {
    type Break = ();

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<()> {
        *relation = self.table.clone();
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let Expr::Identifier(name) = expr else { return ControlFlow::Continue(()) };
        let number = name.value.strip_prefix("size").and_then(|rest| rest.strip_suffix('_'));
        if name.value == "time_" {
            *expr = self.time.clone();
        } else if let Some(size) =
            number.and_then(|number| self.sizes.get(number.parse::<usize>().ok()?))
        {
            *expr = Expr::clone(size);
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

pub(super) fn table_name(expr: &Expr) -> Option<ObjectName> {
    let parts = match expr {
        Expr::Identifier(name) => vec![name.clone()],
        Expr::CompoundIdentifier(names) => names.clone(),
        _ => return None,
    };
    Some(ObjectName(parts.into_iter().map(ObjectNamePart::Identifier).collect()))
}

/// The column in `DESCRIPTOR(column)`; anything else as it is.
pub(super) fn descriptor(expr: &Expr) -> &Expr {
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

const WINDOWS: [&str; 7] =
    ["TUMBLE", "HOP", "CUMULATE", "SESSION", "COUNT_WINDOW", "EVENT_WINDOW", "STATE_WINDOW"];

/// Takes out Flink's word in `TUMBLE(TABLE readings, ..)`, which sqlparser does not know.
pub(super) fn without_table_word(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut before: [Option<String>; 2] = [None, None];
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
        let in_window = match &before {
            [Some(name), Some(open)] => open == "(" && WINDOWS.contains(&name.as_str()),
            _ => false,
        };
        if in_window && word.as_deref() == Some("TABLE") {
            continue;
        }
        before.rotate_left(1);
        before[1] = word;
        kept.push(token);
    }
    kept
}
