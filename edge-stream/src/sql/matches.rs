//! `MATCH_RECOGNIZE` as it is written: what of it there is, and its pattern. sqlparser does not know
//! `WITHIN`, which becomes one more definition.

use datafusion::sql::sqlparser::ast::{
    AfterMatchSkip, Expr, Ident, MatchRecognizePattern, MatchRecognizeSymbol, OrderByExpr,
    RepetitionQuantifier, RowsPerMatch, Spanned, SymbolDefinition, TableFactor,
};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::asof::is_word;
use super::{nearest, position};
use crate::error::{Position, SqlError};
use crate::matching::{Pattern, Program, Unusable};

/// The definition that `WITHIN` becomes.
const WITHIN: &str = "within_";

/// Tokens of a pattern, which is read by recursion.
const MAX_TOKENS: usize = 300;

const USAGE: &str = "write FROM readings MATCH_RECOGNIZE (PARTITION BY device ORDER BY ts MEASURES \
                     FIRST(a.ts) AS since, LAST(b.temp) AS temp PATTERN (a b+) WITHIN INTERVAL '1 \
                     minute' DEFINE b AS b.temp > PREV(b.temp))";

/// What is written, but for expressions.
#[derive(Debug)]
pub(crate) struct Shape {
    /// Names of the variables.
    pub(crate) variables: Vec<String>,
    pub(crate) pattern: Pattern,
    /// What each variable is defined as.
    pub(crate) definitions: Vec<Option<Expr>>,
    pub(crate) time: Expr,
    pub(crate) within: Expr,
    pub(crate) skips_past: bool,
}

/// Makes `DEFINE within_ AS INTERVAL '1 minute', ..` of `WITHIN INTERVAL '1 minute' DEFINE ..`.
pub(super) fn with_definition(tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>, SqlError> {
    if !tokens.iter().any(|token| is_word(token, "MATCH_RECOGNIZE")) {
        return Ok(tokens);
    }
    let is_space = |token: &TokenWithSpan| matches!(token.token, Token::Whitespace(_));
    let tokens: Vec<_> = tokens.into_iter().filter(|token| !is_space(token)).collect();
    let (mut kept, mut rest) = (Vec::with_capacity(tokens.len()), tokens.as_slice());
    // Depths of parentheses at which a DEFINE is still to come behind a WITHIN.
    let (mut depth, mut open) = (0usize, Vec::new());
    while let Some((token, behind)) = rest.split_first() {
        rest = behind;
        match &token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ if is_word(token, "PATTERN") => {
                let (pattern, behind) = behind.split_at(pattern_length(behind)?);
                kept.push(token.clone());
                kept.extend_from_slice(pattern);
                rest = behind;
                if let Some((within, behind)) = behind.split_first()
                    && is_word(within, "WITHIN")
                {
                    let own = ["DEFINE", WITHIN, "AS"].map(|word| Token::make_word(word, None));
                    let own = own.map(|token| TokenWithSpan { token, span: within.span });
                    kept.extend(own);
                    open.push(depth);
                    rest = behind;
                }
                continue;
            }
            _ if is_word(token, "DEFINE") && open.pop_if(|at| *at == depth).is_some() => {
                kept.push(TokenWithSpan { token: Token::Comma, span: token.span });
                continue;
            }
            _ => {}
        }
        kept.push(token.clone());
    }
    Ok(kept)
}

/// The tokens in parentheses, and those.
fn pattern_length(tokens: &[TokenWithSpan]) -> Result<usize, SqlError> {
    let mut depth = 0usize;
    for (number, token) in tokens.iter().enumerate() {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return Ok(if number == 0 { 0 } else { number + 1 });
        }
        if number >= MAX_TOKENS {
            let reason = format!("the pattern has more than {MAX_TOKENS} words and signs");
            return Err(SqlError::statement(position(token.span.start), reason)
                .or("write {n,m} for repetitions"));
        }
    }
    Ok(0)
}

/// Looks at all of `MATCH_RECOGNIZE` but its expressions; `None` if it is something else.
pub(crate) fn shape(factor: &TableFactor) -> Result<Option<Shape>, SqlError> {
    let TableFactor::MatchRecognize {
        table,
        order_by,
        measures,
        rows_per_match,
        after_match_skip,
        pattern,
        symbols,
        ..
    } = factor
    else {
        return Ok(None);
    };
    let at = position(table.span().start);
    let refuse = |reason: &str, would_work: &str| {
        Err(SqlError::statement(at, format!("MATCH_RECOGNIZE {reason}")).or(would_work))
    };
    if let Some(RowsPerMatch::AllRows(_)) = rows_per_match {
        return refuse("has ONE ROW PER MATCH only", "say by MEASURES what is wanted of the rows");
    }
    let skips_past = match after_match_skip {
        None | Some(AfterMatchSkip::PastLastRow) => true,
        Some(AfterMatchSkip::ToNextRow) => false,
        Some(_) => {
            let would_work = "write AFTER MATCH SKIP PAST LAST ROW, or TO NEXT ROW";
            return refuse("does not skip to a variable", would_work);
        }
    };
    if measures.is_empty() {
        return refuse("has no MEASURES", USAGE);
    }
    let [OrderByExpr { expr: time, options, .. }] = order_by.as_slice() else {
        return refuse("goes by one time", "write ORDER BY ts, with the column of WATERMARK FOR");
    };
    if options.asc == Some(false) {
        return refuse("cannot run from the newest row back", "write ORDER BY ts");
    }
    let mut names = Vec::new();
    let of = converted(pattern, &mut names)?;
    let first = names.first().map(|name: &Ident| name.span.start).and_then(position);
    Program::new(&of).map_err(|error| unusable(error, first))?;
    let variables: Vec<_> = names.iter().map(name_of).collect();
    let (within, definitions) = defined(symbols, &variables)?;
    let Some(within) = within else {
        return refuse("without WITHIN would follow a match for ever", USAGE);
    };
    let time = time.clone();
    Ok(Some(Shape { variables, pattern: of, definitions, time, within, skips_past }))
}

/// That it is not there for a query over history.
pub(super) fn for_jobs(factor: &TableFactor) -> SqlError {
    let reason = "MATCH_RECOGNIZE is there for jobs, not for a query over history";
    SqlError::statement(position(factor.span().start), reason)
        .or("CREATE MATERIALIZED VIEW .. AS SELECT .. MATCH_RECOGNIZE (..), and query the view")
}

fn unusable(error: Unusable, at: Option<Position>) -> SqlError {
    let (reason, would_work) = match error {
        Unusable::Empty => {
            ("the pattern may take no row", "use + in place of * for one part of it")
        }
        Unusable::EmptyLoop => (
            "a part of the pattern that is repeated without end may take no row",
            "repeat one that takes at least one row: (a | b)* for (a? b?)*",
        ),
        Unusable::Reversed => ("{n,m} repeats at least n and at most m times", "exchange them"),
        Unusable::TooLong => (
            "the pattern is too long with all its repetitions",
            "use + for a large number of rows, and count them in a HAVING of the query around it",
        ),
    };
    SqlError::statement(at, reason).or(would_work)
}

type Definitions = (Option<Expr>, Vec<Option<Expr>>);

/// `WITHIN`, and for each variable what it is defined as.
fn defined(symbols: &[SymbolDefinition], variables: &[String]) -> Result<Definitions, SqlError> {
    let (mut within, mut definitions) = (None, vec![None; variables.len()]);
    for SymbolDefinition { symbol, definition } in symbols {
        let at = position(symbol.span.start);
        let name = name_of(symbol);
        if name == WITHIN {
            within = Some(definition.clone());
            continue;
        }
        let Some(variable) = variables.iter().position(|variable| *variable == name) else {
            let reason = format!("`{symbol}` is defined, and not in the pattern");
            let error = SqlError::statement(at, reason);
            return Err(match nearest(&name, variables.iter().map(String::as_str)) {
                Some(near) => error.or(format!("did you mean `{near}`?")),
                None => error.or("put it into PATTERN"),
            });
        };
        if definitions[variable].replace(definition.clone()).is_some() {
            let reason = format!("`{symbol}` is defined twice");
            return Err(SqlError::statement(at, reason).or("join both conditions by AND"));
        }
    }
    Ok((within, definitions))
}

/// `names` are the variables so far.
fn converted(pattern: &MatchRecognizePattern, names: &mut Vec<Ident>) -> Result<Pattern, SqlError> {
    use MatchRecognizePattern as Written;
    use RepetitionQuantifier as Times;
    let refuse = |what: &str, would_work: &str| {
        Err(SqlError::statement(None, format!("{what} is not there in a pattern")).or(would_work))
    };
    let mut all = |parts: &[Written]| {
        parts.iter().map(|part| converted(part, names)).collect::<Result<_, _>>()
    };
    match pattern {
        Written::Symbol(MatchRecognizeSymbol::Named(name)) => {
            let known = names.iter().position(|known| name_of(known) == name_of(name));
            Ok(Pattern::Variable(known.unwrap_or_else(|| {
                names.push(name.clone());
                names.len() - 1
            })))
        }
        Written::Symbol(_) => refuse("^ or $", "rows of a stream have no first and no last one"),
        Written::Exclude(_) => refuse("{- -}", "leave out of MEASURES what is not wanted"),
        Written::Permute(_) => refuse("PERMUTE", "write the orders with |: (a b | b a)"),
        Written::Concat(parts) => Ok(Pattern::Concat(all(parts)?)),
        Written::Alternation(parts) => Ok(Pattern::Either(all(parts)?)),
        Written::Group(inner) => converted(inner, names),
        Written::Repetition(inner, times) => {
            // A question mark behind a quantifier is part of it.
            let (of, times, is_greedy) = match (&**inner, times) {
                (Written::Repetition(of, times), Times::AtMostOne) => (of, times, false),
                _ => (inner, times, true),
            };
            let (least, most) = match times {
                Times::ZeroOrMore => (0, None),
                Times::OneOrMore => (1, None),
                Times::AtMostOne => (0, Some(1)),
                Times::Exactly(times) => (*times, Some(*times)),
                Times::AtLeast(least) => (*least, None),
                Times::AtMost(most) => (0, Some(*most)),
                Times::Range(least, most) => (*least, Some(*most)),
            };
            let of = Box::new(converted(of, names)?);
            Ok(Pattern::Repeat { of, least, most, is_greedy })
        }
    }
}

/// A name as DataFusion takes it.
pub(crate) fn name_of(name: &Ident) -> String {
    if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() }
}
