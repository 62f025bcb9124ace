//! `EMIT` behind the query of a job. sqlparser would take the word for an alias, so it is found among the
//! tokens, and parsed here.

use arrow::compute::kernels::cast_utils::parse_interval_month_day_nano;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{Expr, Interval, Query};
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use super::{Script, position};
use crate::emit::Emit;
use crate::error::{Position, SqlError};
use crate::windows::function::length;

/// What may stand there.
const USAGE: &str = "write EMIT CHANGES, EMIT EVERY INTERVAL '1 second' or EMIT ON WINDOW CLOSE";

/// The query of a job, and when its groups come out.
#[derive(Debug, Clone)]
pub(crate) struct JobQuery {
    pub(crate) query: Query,
    pub(crate) emit: Emit,
    /// Where `EMIT` stands in the text.
    pub(crate) emit_at: Option<Position>,
}

/// As with those of a query, places in the text make no difference.
impl PartialEq for JobQuery {
    fn eq(&self, other: &JobQuery) -> bool {
        self.emit == other.emit && self.query == other.query
    }
}

/// Puts a semicolon in the place of each `EMIT`, at which sqlparser ends the query. Returns these
/// places.
pub(super) fn marked(tokens: &mut [TokenWithSpan]) -> Result<Vec<Location>, SqlError> {
    let places: Vec<usize> = (0..tokens.len())
        .filter(|place| !matches!(tokens[*place].token, Token::Whitespace(_)))
        .collect();
    let (mut marks, mut depth) = (Vec::new(), 0usize);
    for (number, place) in places.iter().enumerate() {
        match &tokens[*place].token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            Token::SemiColon => depth = 0,
            _ => {}
        }
        let near = |number: usize| places.get(number).map(|place| &tokens[*place].token);
        let before = number.checked_sub(1).and_then(near);
        let is_emit = is_word(&tokens[*place].token, "EMIT")
            && before.is_some_and(ends_query)
            && near(number + 1).is_some_and(|next| begins_clause(next, near(number + 2)));
        if !is_emit {
            continue;
        }
        let start = tokens[*place].span.start;
        if depth > 0 {
            return Err(SqlError::statement(position(start), "EMIT is about the whole query")
                .or("write it once, behind the last clause"));
        }
        tokens[*place].token = Token::SemiColon;
        marks.push(start);
    }
    Ok(marks)
}

fn is_word(token: &Token, wanted: &str) -> bool {
    matches!(token, Token::Word(word)
        if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted))
}

/// Whether a query may end with this, so that `EMIT` is no name behind it.
fn ends_query(token: &Token) -> bool {
    match token {
        Token::Word(_) => {
            let goes_on = ["SELECT", "DISTINCT", "ALL", "FROM", "JOIN", "AS"];
            !goes_on.iter().any(|word| is_word(token, word))
        }
        Token::RParen | Token::RBracket | Token::Number(..) | Token::SingleQuotedString(_) => true,
        _ => false,
    }
}

/// Whether `EMIT` in front of these is no alias: that would not be followed by a bare name.
fn begins_clause(next: &Token, behind: Option<&Token>) -> bool {
    use datafusion::sql::sqlparser::keywords::Keyword;
    match next {
        Token::Word(word) => {
            ["CHANGES", "EVERY", "FINAL", "AFTER"].iter().any(|known| is_word(next, known))
                || (is_word(next, "ON") && behind.is_some_and(|word| is_word(word, "WINDOW")))
                || (word.keyword == Keyword::NoKeyword && word.quote_style.is_none())
        }
        _ => false,
    }
}

impl Script<'_> {
    /// Whether what comes next stood there as `EMIT`.
    pub(super) fn is_emit_next(&self) -> bool {
        let next = self.parser.peek_token_ref();
        next.token == Token::SemiColon && self.emits.contains(&next.span.start)
    }

    /// What `EMIT` says behind a query, and where, if it is there.
    pub(super) fn emit(&mut self) -> Result<(Emit, Option<Position>), SqlError> {
        if !self.is_emit_next() {
            return Ok((Emit::default(), None));
        }
        let start = self.parser.next_token().span.start;
        let at = self.here(&start);
        let emit = if self.word("CHANGES") {
            Emit::Changes
        } else if self.words(&["ON", "WINDOW", "CLOSE"])? {
            Emit::OnWindowClose
        } else if self.word("EVERY") {
            Emit::Every(self.interval()?)
        } else {
            let next = self.parser.peek_token_ref();
            let reason = format!("EMIT `{}` is not there", next.token);
            return Err(SqlError::statement(self.here(&next.span.start), reason).or(USAGE));
        };
        Ok((emit, Some(at)))
    }

    /// `INTERVAL '1 second'` in microseconds.
    fn interval(&mut self) -> Result<i64, SqlError> {
        let at = self.here(&self.parser.peek_token_ref().span.start);
        let expr = self.parser.parse_expr().map_err(|error| self.parse_error(error))?;
        let micros = match &expr {
            Expr::Interval(interval) => micros_of(interval),
            _ => None,
        };
        micros.ok_or_else(|| {
            let reason = format!("`{expr}` is no fixed time");
            SqlError::statement(at, reason).or("write EMIT EVERY INTERVAL '1 second'")
        })
    }
}

fn micros_of(interval: &Interval) -> Option<i64> {
    let Expr::Value(value) = interval.value.as_ref() else { return None };
    let number = match &value.value {
        datafusion::sql::sqlparser::ast::Value::Number(number, _) => number.to_string(),
        text => text.clone().into_string()?,
    };
    let text = match &interval.leading_field {
        Some(unit) => format!("{number} {unit}"),
        None => number,
    };
    fixed_micros(&text)
}

/// `1 second` in microseconds; `None` for what is no time, or none of a fixed length.
pub(super) fn fixed_micros(text: &str) -> Option<i64> {
    let parsed = parse_interval_month_day_nano(text).ok()?;
    length(&ScalarValue::IntervalMonthDayNano(Some(parsed))).ok()
}
