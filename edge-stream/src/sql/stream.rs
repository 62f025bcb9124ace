//! `CREATE STREAM`: columns, the watermark, and where records come from.

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::sql::sqlparser::ast::{DataType as SqlType, ExactNumberInfo, TimezoneInfo};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::Script;
use super::options::STREAM_OPTIONS;
use super::statement::{Source, StreamDefinition};
use crate::error::{Position, SqlError};
use crate::topic::TopicPattern;

impl Script<'_> {
    pub(super) fn stream_definition(&mut self) -> Result<StreamDefinition, SqlError> {
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
