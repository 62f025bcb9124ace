//! The statements around queries: what becomes a stream, a view, a sink.

use std::collections::HashMap;

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::sql::sqlparser::ast::{
    self, DataType as SqlType, ExactNumberInfo, Expr, Ident, Query, TimezoneInfo,
};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::{Script, position};
use crate::error::{Position, SqlError};
use crate::topic::TopicPattern;

const STATEMENTS: &str = "a script has CREATE STREAM, CREATE MATERIALIZED VIEW, CREATE SINK and \
                          DROP; query with SELECT through `sql`";
const STREAM_OPTIONS: &str = "WITH (topic = 'office/{room}/climate', format = 'json'), or \
                              log = 'name' in place of the topic";
const SINK_OPTIONS: &str = "WITH (topic = 'alarm/{room}', format = 'json')";

/// One statement of a script, and its text.
#[derive(Debug, Clone)]
pub(crate) struct Statement {
    pub(crate) text: String,
    pub(crate) position: Position,
    pub(crate) action: Action,
}

#[derive(Debug, Clone)]
pub(crate) enum Action {
    Create { name: String, if_not_exists: bool, what: Definition },
    Drop { name: String, if_exists: bool, kind: Kind },
}

/// What is created.
#[derive(Debug, Clone)]
pub(crate) enum Definition {
    Stream(Box<StreamDefinition>),
    View(Box<Query>),
    Sink(TopicPattern, Box<Query>),
}

/// What a name stands for, and what its job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Looks for records that are no rows.
    Stream,
    /// Keeps the answer of a query.
    View,
    /// Publishes the answer of a query.
    Sink,
}

#[derive(Debug, Clone)]
pub(crate) struct StreamDefinition {
    pub(crate) source: Source,
    pub(crate) columns: Vec<Field>,
    pub(crate) watermark: Option<(String, Expr)>,
}

#[derive(Debug, Clone)]
pub(crate) enum Source {
    Topic(TopicPattern),
    Log(String),
}

impl Definition {
    /// Whether it needs a broker.
    pub(crate) fn has_topic(&self) -> bool {
        match self {
            Definition::Stream(stream) => matches!(stream.source, Source::Topic(_)),
            Definition::View(_) => false,
            Definition::Sink(..) => true,
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Definition::Stream(_) => Kind::Stream,
            Definition::View(_) => Kind::View,
            Definition::Sink(..) => Kind::Sink,
        }
    }
}

impl Kind {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Kind::Stream => "STREAM",
            Kind::View => "MATERIALIZED VIEW",
            Kind::Sink => "SINK",
        }
    }
}

/// All statements of a script. Nothing has been carried out when this fails.
pub(crate) fn parse_script(sql: &str) -> Result<Vec<Statement>, SqlError> {
    let mut script = Script::new(sql)?;
    let mut statements = Vec::new();
    while !script.is_at_end() {
        statements.push(script.statement()?);
    }
    Ok(statements)
}

impl Script<'_> {
    fn statement(&mut self) -> Result<Statement, SqlError> {
        let first = self.parser.peek_token_ref().span.start;
        let (position, from) = (self.here(&first), self.offset(first));
        let action = if self.word("CREATE") {
            self.create()?
        } else if self.word("DROP") {
            self.drop_statement()?
        } else {
            let found = self.parser.peek_token_ref().token.to_string();
            return Err(SqlError::statement(position, format!("`{found}` begins no statement"))
                .or(STATEMENTS));
        };
        self.expect_end()?;
        let to = self.offset(self.parser.peek_token_ref().span.start);
        let text = self.sql[from..to].trim_end().to_owned();
        Ok(Statement { text, position, action })
    }

    fn create(&mut self) -> Result<Action, SqlError> {
        let kind = self.kind("CREATE")?;
        let if_not_exists = self.words(&["IF", "NOT", "EXISTS"])?;
        let name = self.name()?;
        let what = match kind {
            Kind::Stream => Definition::Stream(Box::new(self.stream_definition()?)),
            Kind::View => {
                self.expect_word("AS")?;
                Definition::View(Box::new(self.query()?))
            }
            Kind::Sink => {
                let options = self.options(SINK_OPTIONS)?;
                let topic = options.topic.ok_or_else(|| {
                    SqlError::statement(options.position, "a sink needs a topic").or(SINK_OPTIONS)
                })?;
                self.expect_word("AS")?;
                Definition::Sink(topic, Box::new(self.query()?))
            }
        };
        Ok(Action::Create { name, if_not_exists, what })
    }

    fn drop_statement(&mut self) -> Result<Action, SqlError> {
        let kind = self.kind("DROP")?;
        let if_exists = self.words(&["IF", "EXISTS"])?;
        Ok(Action::Drop { name: self.name()?, if_exists, kind })
    }

    fn kind(&mut self, verb: &str) -> Result<Kind, SqlError> {
        if self.word("STREAM") {
            return Ok(Kind::Stream);
        }
        if self.word("SINK") {
            return Ok(Kind::Sink);
        }
        if self.word("MATERIALIZED") {
            self.expect_word("VIEW")?;
            return Ok(Kind::View);
        }
        let next = self.parser.peek_token_ref().clone();
        let reason = match &next.token {
            Token::EOF => format!("{verb} what?"),
            found => format!("{verb} `{found}` is no statement"),
        };
        Err(self.at(&next, reason).or(format!("{verb} STREAM, MATERIALIZED VIEW or SINK")))
    }

    fn stream_definition(&mut self) -> Result<StreamDefinition, SqlError> {
        let open = self.parser.peek_token_ref().clone();
        if !self.parser.consume_token(&Token::LParen) {
            return Err(self
                .at(&open, "a stream needs columns")
                .or("write CREATE STREAM name (ts TIMESTAMP, temp DOUBLE, ..) WITH (..)"));
        }
        let (mut columns, mut watermark) = (Vec::new(), None);
        loop {
            let at = self.parser.peek_token_ref().clone();
            if self.is_next("FOR", 1) && self.words(&["WATERMARK", "FOR"])? {
                if watermark.is_some() {
                    return Err(self.at(&at, "a stream has one WATERMARK FOR"));
                }
                let column = self.column_name()?;
                self.expect_word("AS")?;
                let expr = self.parser.parse_expr().map_err(|error| self.parse_error(error))?;
                watermark = Some((column, expr));
            } else {
                columns.push(self.column(&columns)?);
            }
            let next = self.parser.peek_token_ref().clone();
            if self.parser.consume_token(&Token::RParen) {
                break;
            }
            if !self.parser.consume_token(&Token::Comma) {
                let reason = format!("expected , or ) behind a column, found {}", next.token);
                return Err(self.at(&next, reason));
            }
        }
        let options = self.options(STREAM_OPTIONS)?;
        let source = match (options.topic, options.log) {
            (Some(topic), None) => Source::Topic(topic),
            (None, Some(log)) => Source::Log(log),
            _ => {
                let reason = "a stream needs a topic or a log, one of them";
                return Err(SqlError::statement(options.position, reason).or(STREAM_OPTIONS));
            }
        };
        if let Source::Topic(topic) = &source {
            check_levels(topic, &columns, options.position)?;
        }
        Ok(StreamDefinition { source, columns, watermark })
    }

    fn column(&mut self, before: &[Field]) -> Result<Field, SqlError> {
        let at = self.parser.peek_token_ref().clone();
        let name = self.column_name()?;
        if ["window_start", "window_end"].contains(&name.as_str()) {
            return Err(self.at(&at, format!("column `{name}`: the name belongs to windows")));
        }
        if name.starts_with('_') {
            return Err(
                self.at(&at, format!("column `{name}`: names with _ in front are the engine's"))
            );
        }
        if before.iter().any(|field| *field.name() == name) {
            return Err(self.at(&at, format!("column `{name}` is there twice")));
        }
        let at = self.parser.peek_token_ref().clone();
        let kind = self.parser.parse_data_type().map_err(|error| self.parse_error(error))?;
        let Some(kind) = column_type(&kind) else {
            return Err(self
                .at(&at, format!("type {kind} is not there for columns of streams"))
                .or(
                    "use VARCHAR, BOOLEAN, an INT type, REAL, DOUBLE, DECIMAL, DATE or TIMESTAMP",
                ));
        };
        Ok(Field::new(name, kind, true))
    }

    fn options(&mut self, usage: &str) -> Result<Options, SqlError> {
        let at = self.parser.peek_token_ref().clone();
        let mut options = Options { position: self.here(&at.span.start), topic: None, log: None };
        let mut values = HashMap::new();
        if !self.word("WITH") || !self.parser.consume_token(&Token::LParen) {
            return Err(self.at(&at, "expected WITH (..)").or(usage));
        }
        loop {
            let at = self.parser.peek_token_ref().clone();
            let name = self.column_name()?;
            let is_equal = self.parser.consume_token(&Token::Eq);
            let is_text =
                matches!(self.parser.peek_token_ref().token, Token::SingleQuotedString(_));
            let value = self.parser.parse_literal_string();
            let (true, Ok(value)) = (is_equal && is_text, value) else {
                return Err(self
                    .at(&at, format!("option `{name}` needs a value: {name} = '..'"))
                    .or(usage));
            };
            match name.as_str() {
                "topic" => {
                    let topic = value.parse::<TopicPattern>();
                    options.topic = Some(topic.map_err(|error| self.at(&at, error.to_string()))?);
                }
                "log" => options.log = Some(value.clone()),
                "format" if value.eq_ignore_ascii_case("json") => {}
                "format" => {
                    return Err(self
                        .at(&at, format!("format '{value}' is not there"))
                        .or("use 'json'"));
                }
                _ => return Err(self.at(&at, format!("there is no option `{name}`")).or(usage)),
            }
            if values.insert(name.clone(), value).is_some() {
                return Err(self.at(&at, format!("option `{name}` is there twice")));
            }
            if self.parser.consume_token(&Token::RParen) {
                return Ok(options);
            }
            let next = self.parser.peek_token_ref().clone();
            if !self.parser.consume_token(&Token::Comma) {
                return Err(self
                    .at(&next, format!("expected , or ) behind an option, found {}", next.token)));
            }
        }
    }

    /// A name under which something is stored, and which may become a folder of the cloud.
    fn name(&mut self) -> Result<String, SqlError> {
        let at = self.parser.peek_token_ref().clone();
        let name = self.column_name()?;
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
            let reason = format!("`{name}` is no name for what is stored");
            return Err(self.at(&at, reason).or("use 1 to 64 letters, digits, _ and -"));
        }
        Ok(name)
    }

    fn column_name(&mut self) -> Result<String, SqlError> {
        let name = self.parser.parse_identifier();
        name.map(normalized).map_err(|error| self.parse_error(error))
    }

    /// Whether this word comes next, or so many behind the next.
    fn is_next(&self, word: &str, behind: usize) -> bool {
        matches!(&self.parser.peek_nth_token_ref(behind).token, Token::Word(found)
            if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
    }

    /// Takes this word, if it comes next.
    fn word(&mut self, word: &str) -> bool {
        let found = self.is_next(word, 0);
        if found {
            self.parser.next_token();
        }
        found
    }

    /// Takes all these words, if the first of them comes next.
    fn words(&mut self, words: &[&str]) -> Result<bool, SqlError> {
        let Some((first, rest)) = words.split_first() else { return Ok(true) };
        if !self.word(first) {
            return Ok(false);
        }
        rest.iter().try_for_each(|word| self.expect_word(word))?;
        Ok(true)
    }

    fn expect_word(&mut self, word: &str) -> Result<(), SqlError> {
        let next = self.parser.peek_token_ref().clone();
        if self.word(word) {
            return Ok(());
        }
        Err(self.at(&next, format!("expected {word}, found {}", next.token)))
    }

    fn at(&self, token: &TokenWithSpan, reason: impl Into<String>) -> SqlError {
        SqlError::statement(self.here(&token.span.start), reason)
    }

    /// Where in the text a place is, in bytes.
    fn offset(&self, location: super::Location) -> usize {
        let Some(Position { line, column }) = position(location) else { return self.sql.len() };
        let lines = self.sql.split_inclusive('\n');
        let (mut offset, mut rest) = (0, "");
        for (number, text) in (1..=line).zip(lines) {
            if number == line {
                rest = text;
                break;
            }
            offset += text.len();
        }
        let before = rest.chars().take(usize::try_from(column).unwrap_or(1).saturating_sub(1));
        offset + before.map(char::len_utf8).sum::<usize>()
    }
}

struct Options {
    position: Position,
    topic: Option<TopicPattern>,
    log: Option<String>,
}

fn normalized(name: Ident) -> String {
    if name.quote_style.is_some() { name.value } else { name.value.to_lowercase() }
}

/// Each named level of the topic is a column of text.
fn check_levels(
    topic: &TopicPattern,
    columns: &[Field],
    position: Position,
) -> Result<(), SqlError> {
    for level in topic.names() {
        let column = columns.iter().find(|field| field.name() == level);
        if column.map(Field::data_type) != Some(&DataType::Utf8) {
            let reason = format!("level {{{level}}} of the topic is no column of text");
            return Err(
                SqlError::statement(position, reason).or(format!("declare `{level} VARCHAR`"))
            );
        }
    }
    Ok(())
}

fn column_type(kind: &SqlType) -> Option<DataType> {
    Some(match kind {
        SqlType::Varchar(_) | SqlType::Text | SqlType::String(_) | SqlType::CharacterVarying(_) => {
            DataType::Utf8
        }
        SqlType::Boolean | SqlType::Bool => DataType::Boolean,
        SqlType::TinyInt(_) => DataType::Int8,
        SqlType::SmallInt(_) | SqlType::Int2(_) => DataType::Int16,
        SqlType::Int(_) | SqlType::Integer(_) | SqlType::Int4(_) => DataType::Int32,
        SqlType::BigInt(_) | SqlType::Int8(_) => DataType::Int64,
        SqlType::Real | SqlType::Float4 => DataType::Float32,
        SqlType::Double(_) | SqlType::DoublePrecision | SqlType::Float8 | SqlType::Float(_) => {
            DataType::Float64
        }
        SqlType::Decimal(info) | SqlType::Numeric(info) => decimal(*info)?,
        SqlType::Date => DataType::Date32,
        SqlType::Timestamp(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            DataType::Timestamp(TimeUnit::Microsecond, None)
        }
        _ => return None,
    })
}

fn decimal(info: ExactNumberInfo) -> Option<DataType> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => (38, 10),
        ExactNumberInfo::Precision(precision) => (precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (precision, scale),
    };
    let (precision, scale) = (u8::try_from(precision).ok()?, i8::try_from(scale).ok()?);
    let fits = (1..=38).contains(&precision) && (0..=38).contains(&scale);
    fits.then_some(DataType::Decimal128(precision, scale))
}

/// What `sql` runs: a query, or a question about the catalog.
pub(crate) fn parse_question(sql: &str) -> Result<ast::Statement, SqlError> {
    use datafusion::sql::sqlparser::ast::VisitMut;
    let mut script = Script::new(sql)?;
    let statement = script.parser.parse_statement();
    let mut statement = statement.map_err(|error| script.parse_error(error))?;
    script.expect_end()?;
    match statement.visit(&mut super::window::Resolve(super::window::RunBy::Query)) {
        std::ops::ControlFlow::Continue(()) => Ok(statement),
        std::ops::ControlFlow::Break(error) => Err(error),
    }
}
