//! `WITH (..)`: where a stream comes from, where a sink goes.

use std::collections::HashMap;

use datafusion::sql::sqlparser::tokenizer::Token;

use super::Script;
use crate::error::{Position, SqlError};
use crate::topic::TopicPattern;

pub(super) const STREAM_OPTIONS: &str = "WITH (topic = 'office/{room}/climate', format = 'json'), or \
                              log = 'name' in place of the topic";
pub(super) const SINK_OPTIONS: &str = "WITH (topic = 'alarm/{room}', format = 'json')";

/// What `WITH` says.
pub(super) struct Options {
    pub(super) position: Position,
    pub(super) topic: Option<TopicPattern>,
    pub(super) log: Option<String>,
}

impl Script<'_> {
    pub(super) fn options(&mut self, usage: &str) -> Result<Options, SqlError> {
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
}
