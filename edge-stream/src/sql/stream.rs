//! `CREATE STREAM`: columns, the watermark, and where records come from.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::sql::sqlparser::ast::{Expr, Ident};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::Script;
use super::options::Side;
use super::statement::{Gap, Source, StreamDefinition};
use super::types::column_type;
use crate::decode::format::FormatKind;
use crate::decode::stream_schema;
use crate::error::{Position, SqlError};
use crate::topic::TopicPattern;
use crate::watermark::KeyColumn;

/// When a record was stored.
const TIME: &str = "_time";

/// Objects in each other that a path leads through.
const MAX_PATH: usize = 16;

/// What `CREATE STREAM` says between its parentheses.
#[derive(Default)]
struct Declared {
    columns: Vec<Field>,
    paths: BTreeMap<String, Vec<String>>,
    watermark: Option<(String, Expr)>,
}

fn topic_of(source: &Source) -> Option<&TopicPattern> {
    match source {
        Source::Topic(topic) => Some(topic),
        Source::Log(_) | Source::Table(_) => None,
    }
}

impl Script<'_> {
    pub(super) fn stream_definition(&mut self) -> Result<StreamDefinition, SqlError> {
        let open = self.parser.peek_token_ref().clone();
        let mut declared = Declared::default();
        let mut gap = Gap { at: self.offset(open.span.start), in_parentheses: false };
        if self.parser.consume_token(&Token::LParen) {
            let first = self.parser.peek_token_ref().span.start;
            gap = Gap { at: self.offset(first), in_parentheses: true };
            self.columns(&mut declared)?;
        } else if !self.is_next("WITH", 0) {
            return Err(self
                .at(&open, "a stream needs columns")
                .or("write CREATE STREAM name (ts TIMESTAMP, temp DOUBLE, ..) WITH (..)"));
        }
        let Declared { columns, paths, mut watermark } = declared;
        let options = self.options(Side::Stream)?;
        if options.table.is_some() {
            self.check_of_table(&open, &columns, options.about_format)?;
            // Without a word about it, a change has the time of its commit.
            watermark = watermark.or_else(|| Some((TIME.to_owned(), in_order(TIME))));
        }
        let lateness_micros = options.lateness(watermark.is_some())?;
        let source = match (options.topic, options.log, options.table) {
            (Some(topic), None, None) => Source::Topic(topic),
            (None, Some(log), None) => Source::Log(log),
            (None, None, Some(table)) => Source::Table(table),
            _ => {
                let reason = "a stream needs a topic, a log or a table, one of them";
                return Err(SqlError::statement(options.position, reason).or(Side::Stream.usage()));
            }
        };
        if let (Source::Topic(topic), false) = (&source, columns.is_empty()) {
            check_levels(topic, &columns, options.position)?;
        }
        let live_bytes = options.live.bytes(matches!(source, Source::Topic(_)))?;
        if let (Some(at), None) = (options.about_times, &watermark) {
            let reason = "this option is about the event time, and the stream has none";
            return Err(SqlError::statement(at, reason)
                .or("declare it: WATERMARK FOR ts AS ts - INTERVAL '5 seconds'"));
        }
        if let (Some(column), Some(at), false) =
            (&options.times.watermark_by, options.about_keys, columns.is_empty())
        {
            // Where columns are left out, it is looked at when they are known.
            let keys = KeyColumn::new(&stream_schema(&columns), column, None);
            keys.map_err(|(reason, help)| SqlError::statement(at, reason).or(help))?;
        }
        let mut format = options.format;
        format.paths = paths;
        let is_left_out = columns.is_empty() && !matches!(source, Source::Table(_));
        let infer = is_left_out.then_some(gap);
        if infer.is_some() && format.kind != FormatKind::Json {
            let reason = "columns can be left out for format 'json' alone";
            return Err(self.at(&open, reason).or("declare them: (ts TIMESTAMP, temp DOUBLE, ..)"));
        }
        if infer.is_some() && live_bytes.is_some() {
            let reason = "nothing of a live topic is stored that would say which columns there are";
            return Err(self.at(&open, reason).or("declare them: (ts TIMESTAMP, temp DOUBLE, ..)"));
        }
        let levels: Vec<_> = topic_of(&source).into_iter().flat_map(TopicPattern::names).collect();
        let own = columns.iter().filter(|field| !levels.contains(&field.name().as_str()));
        let own: Vec<_> = own.cloned().map(Arc::new).collect();
        let payload = format.payload(&own);
        payload.map_err(|reason| SqlError::statement(options.position, reason))?;
        let times = options.times;
        Ok(StreamDefinition {
            source,
            columns,
            format,
            times,
            watermark,
            lateness_micros,
            live_bytes,
            infer,
        })
    }

    /// The changes of a table have its columns, and no syntax.
    fn check_of_table(
        &self,
        open: &TokenWithSpan,
        columns: &[Field],
        about_format: Option<Position>,
    ) -> Result<(), SqlError> {
        if !columns.is_empty() {
            return Err(self
                .at(open, "the columns of a stream of changes are those of its table")
                .or("leave them out: CREATE STREAM name WITH (table = '..')"));
        }
        match about_format {
            None => Ok(()),
            Some(at) => {
                Err(SqlError::statement(at, "the changes of a table have no format")
                    .or("leave it out"))
            }
        }
    }

    /// What stands between the parentheses, and the closing one.
    fn columns(&mut self, declared: &mut Declared) -> Result<(), SqlError> {
        loop {
            let at = self.parser.peek_token_ref().clone();
            if self.is_next("FOR", 1) && self.words(&["WATERMARK", "FOR"])? {
                if declared.watermark.is_some() {
                    return Err(self.at(&at, "a stream has one WATERMARK FOR"));
                }
                declared.watermark = Some(self.watermark()?);
            } else {
                let column = self.column(&declared.columns)?;
                if self.word("PATH") {
                    declared.paths.insert(column.name().clone(), self.path()?);
                }
                declared.columns.push(column);
            }
            let next = self.parser.peek_token_ref().clone();
            if self.parser.consume_token(&Token::RParen) {
                return Ok(());
            }
            if !self.parser.consume_token(&Token::Comma) {
                let reason = format!("expected , or ) behind a column, found {}", next.token);
                return Err(self.at(&next, reason));
            }
        }
    }

    /// `column [AS expr]`; without it rows come in the order of their times.
    fn watermark(&mut self) -> Result<(String, Expr), SqlError> {
        let column = self.column_name()?;
        if !self.word("AS") {
            let expr = in_order(&column);
            return Ok((column, expr));
        }
        let expr = self.parser.parse_expr().map_err(|error| self.parse_error(error))?;
        Ok((column, expr))
    }

    /// `'$.device.id'`: the names of objects, and of the field in the last of them.
    fn path(&mut self) -> Result<Vec<String>, SqlError> {
        let at = self.parser.peek_token_ref().clone();
        let text = match at.token {
            Token::SingleQuotedString(_) => self.parser.parse_literal_string().unwrap_or_default(),
            _ => String::new(),
        };
        let names = text.strip_prefix("$.").unwrap_or(&text).split('.').map(str::to_owned);
        let names: Vec<_> = names.collect();
        if names.len() > MAX_PATH || names.iter().any(String::is_empty) {
            return Err(self
                .at(&at, format!("a PATH is the names of at most {MAX_PATH} fields"))
                .or("write temp DOUBLE PATH '$.data.temp'"));
        }
        Ok(names)
    }

    pub(super) fn column(&mut self, before: &[Field]) -> Result<Field, SqlError> {
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
                    "use VARCHAR, BOOLEAN, an INT type, REAL, DOUBLE, DECIMAL, DATE, TIMESTAMP or \
                     VARBINARY; type[] and STRUCT<name type, ..> of them",
                ));
        };
        Ok(Field::new(name, kind, true))
    }
}

/// The watermark of rows that come in the order of this column.
fn in_order(column: &str) -> Expr {
    Expr::Identifier(Ident::with_quote('"', column))
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
