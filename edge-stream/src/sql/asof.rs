//! `ASOF [LEFT] JOIN quotes q MATCH_CONDITION (t.ts >= q.ts) ON ..`, which becomes an ordinary join on
//! one call of a function. sqlparser knows neither LEFT in it nor DuckDB's way without
//! MATCH_CONDITION, where all conditions stand in ON.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, Join, JoinConstraint, JoinOperator, ObjectName, Spanned,
    TableWithJoins,
};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::position;
use super::window::RunBy;
use crate::asof::MATCH;
use crate::error::SqlError;

/// Stands around the condition where `LEFT` was written.
const LEFT: &str = "asof_left_";

/// Stands for the condition where none was written.
const IN_ON: &str = "asof_in_on_";

/// How an ASOF join is written.
pub(crate) const USAGE: &str = "write FROM trades t ASOF JOIN quotes q MATCH_CONDITION (t.ts >= q.ts) \
                                ON t.symbol = q.symbol";

/// An `ASOF JOIN` whose condition is still to come.
struct Open {
    /// Parentheses around it.
    depth: usize,
    is_left: bool,
}

/// The tokens of a script, on their way into the form that sqlparser knows.
#[derive(Default)]
struct Rewrite {
    kept: Vec<TokenWithSpan>,
    depth: usize,
    open: Vec<Open>,
    /// The parentheses of conditions with [`LEFT`] around them.
    lefts: Vec<usize>,
}

/// Brings `ASOF LEFT JOIN`, and one without MATCH_CONDITION, into the form that sqlparser knows.
pub(super) fn in_one_form(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    if !tokens.iter().any(|token| is_word(token, "ASOF")) {
        return tokens;
    }
    let tokens: Vec<_> =
        tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).collect();
    let mut rewrite = Rewrite::default();
    let mut rest = tokens.as_slice();
    while let Some((token, behind)) = rest.split_first() {
        rest = behind;
        if is_word(token, "ASOF")
            && let Some((is_left, join)) = kind_of(behind)
        {
            rewrite.open.push(Open { depth: rewrite.depth, is_left });
            rest = join;
        }
        rewrite.take(token);
    }
    rewrite.kept
}

/// Whether it is a LEFT JOIN, and the tokens from JOIN on.
fn kind_of(tokens: &[TokenWithSpan]) -> Option<(bool, &[TokenWithSpan])> {
    let words = |words: &[&str]| {
        let all = tokens.iter().zip(words).filter(|(token, word)| is_word(token, word)).count();
        (all == words.len()).then(|| &tokens[words.len() - 1..])
    };
    let left = words(&["LEFT", "JOIN"]).or_else(|| words(&["LEFT", "OUTER", "JOIN"]));
    let inner = || words(&["JOIN"]).or_else(|| words(&["INNER", "JOIN"]));
    left.map(|join| (true, join)).or_else(|| inner().map(|join| (false, join)))
}

impl Rewrite {
    fn take(&mut self, token: &TokenWithSpan) {
        let word = |word: &str| Token::make_word(word, None);
        let (mut in_front, mut behind) = (Vec::new(), Vec::new());
        match &token.token {
            Token::LParen => self.depth += 1,
            Token::RParen => {
                self.depth = self.depth.saturating_sub(1);
                self.open.retain(|open| open.depth <= self.depth);
                let is_left = self.lefts.pop_if(|depth| *depth == self.depth).is_some();
                behind.extend(is_left.then_some(Token::RParen));
            }
            Token::SemiColon => (self.depth, self.open, self.lefts) = Default::default(),
            _ if is_word(token, "MATCH_CONDITION") => {
                let left = self.close().filter(|open| open.is_left);
                self.lefts.extend(left.as_ref().map(|open| open.depth));
                behind.extend(left.map(|_| [Token::LParen, word(LEFT)]).into_iter().flatten());
            }
            _ if is_word(token, "ON") || is_word(token, "USING") => match self.close() {
                Some(Open { is_left: true, .. }) => {
                    let inner = [word(LEFT), Token::LParen, word(IN_ON), Token::RParen];
                    in_front = vec![word("MATCH_CONDITION"), Token::LParen];
                    in_front.extend(inner.into_iter().chain([Token::RParen]));
                }
                Some(Open { is_left: false, .. }) => {
                    in_front = vec![word("MATCH_CONDITION"), Token::LParen, word(IN_ON)];
                    in_front.push(Token::RParen);
                }
                None => {}
            },
            _ => {}
        }
        let own = |own: Token| TokenWithSpan { token: own, span: token.span };
        self.kept.extend(in_front.into_iter().map(own));
        self.kept.push(token.clone());
        self.kept.extend(behind.into_iter().map(own));
    }

    /// The join whose condition stands here.
    fn close(&mut self) -> Option<Open> {
        let depth = self.depth;
        self.open.pop_if(|open| open.depth == depth)
    }
}

/// Makes ordinary joins of the ASOF joins of a `FROM`.
pub(super) fn resolve(from: &mut TableWithJoins, run_by: RunBy) -> ControlFlow<SqlError> {
    for join in &mut from.joins {
        if let Err(error) = resolve_join(join, run_by) {
            return ControlFlow::Break(error);
        }
    }
    ControlFlow::Continue(())
}

fn resolve_join(join: &mut Join, run_by: RunBy) -> Result<(), SqlError> {
    let JoinOperator::AsOf { match_condition, constraint } = &join.join_operator else {
        return Ok(());
    };
    let wrong = |reason: &str, would_work: &str| {
        let at = position(join.relation.span().start);
        Err(SqlError::statement(at, reason).or(would_work))
    };
    if run_by == RunBy::Query {
        return wrong(
            "ASOF JOIN is there for jobs, not for a query over history",
            "CREATE MATERIALIZED VIEW .. AS SELECT .. ASOF JOIN .., and query the view",
        );
    }
    let (condition, is_left) = match match_condition {
        Expr::Function(call) if call.name.to_string() == LEFT => (argument(call), true),
        other => (Some(other), false),
    };
    let is_in_on =
        |expr: &&Expr| matches!(expr, Expr::Identifier(Ident { value, .. }) if value == IN_ON);
    let condition = condition.filter(|expr| !is_in_on(expr));
    let on = match constraint {
        JoinConstraint::On(on) => Some(on),
        JoinConstraint::None => None,
        JoinConstraint::Using(_) | JoinConstraint::Natural => {
            let would_work =
                "write ON t.symbol = q.symbol, and the times in MATCH_CONDITION (t.ts >= q.ts)";
            return wrong("ASOF JOIN takes ON, not USING", would_work);
        }
    };
    let all = condition.into_iter().chain(on).cloned().map(|expr| Expr::Nested(Box::new(expr)));
    let all = all.reduce(|left, right| {
        let (left, right) = (Box::new(left), Box::new(right));
        Expr::BinaryOp { left, op: BinaryOperator::And, right }
    });
    let Some(all) = all else { return wrong("ASOF JOIN has no condition", USAGE) };
    let on = JoinConstraint::On(call(MATCH, all));
    join.join_operator = if is_left { JoinOperator::Left(on) } else { JoinOperator::Inner(on) };
    Ok(())
}

fn argument(call: &Function) -> Option<&Expr> {
    let FunctionArguments::List(list) = &call.args else { return None };
    match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))] => Some(expr),
        _ => None,
    }
}

fn call(name: &str, argument: Expr) -> Expr {
    let args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))];
    let list = FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() };
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(list),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

pub(super) fn is_word(token: &TokenWithSpan, word: &str) -> bool {
    matches!(&token.token, Token::Word(found)
        if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
}
