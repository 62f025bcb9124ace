//! The SQL front: text into statements, with the place of every mistake.
//!
//! What DataFusion knows goes to its own parser unchanged. Ours are the statements around a query
//! (`statement`, with `stream`, `table`, `options`, `names` and `words`), `EMIT` behind it (`emit`), and the windows in
//! `FROM` (`window`), which become ordinary projections.

mod arrows;
pub(crate) mod asof;
pub(crate) mod emit;
mod keyed;
#[cfg(feature = "db")]
mod live;
pub(crate) mod matches;
#[cfg(feature = "db")]
mod names;
#[cfg(feature = "db")]
mod options;
#[cfg(feature = "db")]
pub(crate) mod question;
mod row_window;
mod session;
#[cfg(feature = "db")]
pub(crate) mod sink;
#[cfg(feature = "db")]
pub(crate) mod statement;
#[cfg(feature = "db")]
mod stream;
#[cfg(feature = "db")]
pub(crate) mod table;
#[cfg(feature = "db")]
pub(crate) mod times;
#[cfg(feature = "db")]
pub(crate) mod trial;
#[cfg(feature = "db")]
pub(crate) mod types;
pub(crate) mod window;
mod words;

use std::ops::ControlFlow;

use datafusion::common::utils::datafusion_strsim::levenshtein;
use datafusion::sql::sqlparser::ast::VisitMut;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

use crate::error::{Position, SqlError};
use emit::JobQuery;
use window::{Resolve, RunBy};

/// AND, OR, +, UNION and the like in one statement. 500 pass on a thread with 2 MiB of stack in a
/// debug build, 2,000 do not.
const MAX_OPERATORS: usize = 300;

/// Text as a sequence of statements.
pub(crate) struct Script<'a> {
    sql: &'a str,
    parser: Parser<'a>,
    /// Where `EMIT` stands, in whose place the parser sees a semicolon.
    emits: Vec<Location>,
}

impl<'a> Script<'a> {
    pub(crate) fn new(sql: &'a str) -> Result<Script<'a>, SqlError> {
        let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location();
        let tokens =
            tokens.map_err(|error| SqlError::statement(position(error.location), error.message))?;
        check_operators(&tokens)?;
        let tokens = keyed::with_partition_argument(window::without_table_word(tokens));
        let tokens = row_window::with_condition_arguments(tokens);
        let mut tokens = matches::with_definition(asof::in_one_form(tokens))?;
        let emits = emit::marked(&mut tokens)?;
        let parser = Parser::new(&GenericDialect {}).with_tokens_with_locations(tokens);
        Ok(Script { sql, parser, emits })
    }

    /// The query of a job that begins here, its windows resolved, and when its groups come out.
    pub(crate) fn query(&mut self) -> Result<JobQuery, SqlError> {
        let query = self.parser.parse_query();
        let mut query = *query.map_err(|error| self.parse_error(error))?;
        if let ControlFlow::Break(error) = query.visit(&mut Resolve(RunBy::Job)) {
            return Err(error);
        }
        let (emit, emit_at) = self.emit()?;
        Ok(JobQuery { query, emit, emit_at })
    }

    /// Whether nothing but semicolons is left; they are taken.
    pub(crate) fn is_at_end(&mut self) -> bool {
        while self.parser.consume_token(&Token::SemiColon) {}
        self.parser.peek_token_ref().token == Token::EOF
    }

    /// The end of a statement: a semicolon or the end of the text.
    pub(crate) fn expect_end(&mut self) -> Result<(), SqlError> {
        let next = self.parser.peek_token_ref().clone();
        if self.is_emit_next() {
            return Err(SqlError::statement(self.here(&next.span.start), "EMIT does not belong here")
                .or("it stands behind the query of a view or sink, which gives out groups again and again"));
        }
        match next.token {
            Token::EOF | Token::SemiColon => Ok(()),
            token => {
                let reason = format!("`{token}` does not belong here");
                let would_work = match &token {
                    // sqlparser takes it behind a name only.
                    Token::Word(word) if word.keyword == Keyword::MATCH_RECOGNIZE => {
                        "give the query in front of it a name: WITH name AS (SELECT ..) SELECT .. \
                         FROM name MATCH_RECOGNIZE (..)"
                    }
                    _ => "end the statement with `;`",
                };
                Err(SqlError::statement(self.here(&next.span.start), reason).or(would_work))
            }
        }
    }

    fn parse_error(&self, error: ParserError) -> SqlError {
        let text = match error {
            ParserError::TokenizerError(text) | ParserError::ParserError(text) => text,
            ParserError::RecursionLimitExceeded => "the query is nested too deeply".to_owned(),
        };
        let (reason, position) = split_location(&text);
        let reason = reason
            .replace("Expected: ", "expected ")
            .replace(", found: EOF", ", but the text ends");
        let reason = reason.replace(", found: ", ", found ");
        SqlError::statement(position.or_else(|| Some(self.end())), reason)
    }

    /// Where a token begins; the end of the text for what has no place.
    fn here(&self, location: &Location) -> Position {
        position(*location).unwrap_or_else(|| self.end())
    }

    fn end(&self) -> Position {
        let text = self.sql.trim_end();
        let last = text.lines().last().unwrap_or_default();
        let (line, column) = (text.lines().count().max(1), last.chars().count() + 1);
        Position { line: line as u64, column: column as u64 }
    }
}

/// Chains of operators become trees as deep, which are walked and dropped by recursion: a text of
/// thousands would end the process.
fn check_operators(tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    let mut count = 0;
    for token in tokens {
        let is_operator = match &token.token {
            Token::Word(word) => matches!(
                word.keyword,
                Keyword::AND | Keyword::OR | Keyword::NOT | Keyword::UNION | Keyword::JOIN
            ),
            Token::SemiColon => {
                count = 0;
                false
            }
            Token::Plus | Token::Minus | Token::Mul | Token::Div | Token::StringConcat => true,
            Token::Arrow | Token::LongArrow => true,
            _ => false,
        };
        count += usize::from(is_operator);
        if count > MAX_OPERATORS {
            let reason = format!("the statement has more than {MAX_OPERATORS} operators");
            return Err(SqlError::statement(position(token.span.start), reason)
                .or("use IN (..) or CASE in place of a chain of OR"));
        }
    }
    Ok(())
}

/// The one query that the text is.
pub(crate) fn parse_query(sql: &str) -> Result<JobQuery, SqlError> {
    parse_placed_query(sql).map(|(query, _)| query)
}

/// The same, and where it begins.
pub(crate) fn parse_placed_query(sql: &str) -> Result<(JobQuery, Position), SqlError> {
    let mut script = Script::new(sql)?;
    let begin = script.here(&script.parser.peek_token_ref().span.start);
    let query = script.query()?;
    script.expect_end()?;
    if !script.is_at_end() {
        let next: &TokenWithSpan = script.parser.peek_token_ref();
        let at = script.here(&next.span.start);
        return Err(SqlError::statement(at, "one query at a time, and here begins a second"));
    }
    Ok((query, begin))
}

/// The name most like the one that was written, if one is like it at all.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = known.into_iter().map(|known| (levenshtein(name, known), known)).min()?;
    (near.0 <= name.chars().count().max(3) / 2).then_some(near.1)
}

fn position(location: Location) -> Option<Position> {
    let Location { line, column } = location;
    (line > 0).then_some(Position { line, column })
}

/// The parser says where at the end of its message.
fn split_location(text: &str) -> (&str, Option<Position>) {
    let split = || {
        let (reason, place) = text.rsplit_once(" at Line: ")?;
        let (line, column) = place.split_once(", Column: ")?;
        Some((reason, Position { line: line.parse().ok()?, column: column.parse().ok()? }))
    };
    split().map_or((text, None), |(reason, position)| (reason, Some(position)))
}

#[cfg(test)]
mod tests;
