//! `WITH (..)`: where a stream comes from, where a sink goes.

use std::collections::HashMap;

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::sink::SinkOptions;
use super::{Script, nearest};
use crate::decode::format::{FORMATS, Format};
use crate::error::{Position, SqlError};
use crate::topic::TopicPattern;

/// Which statement `WITH` belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Stream,
    Sink,
}

impl Side {
    pub(super) fn usage(self) -> &'static str {
        match self {
            Side::Stream => {
                "WITH (topic = 'office/{room}/climate', format = 'json'), or log = 'name' in place \
                 of the topic"
            }
            Side::Sink => {
                "WITH (topic = 'alarm/{room}', format = 'json'), or log = '..', file = '..' or \
                 channel = '..' in place of the topic"
            }
        }
    }
}

/// What `WITH` says.
pub(super) struct Options {
    pub(super) position: Position,
    pub(super) topic: Option<TopicPattern>,
    pub(super) log: Option<String>,
    pub(super) format: Format,
    pub(super) sink: SinkOptions,
}

impl Script<'_> {
    pub(super) fn options(&mut self, side: Side) -> Result<Options, SqlError> {
        let usage = side.usage();
        let at = self.parser.peek_token_ref().clone();
        let position = self.here(&at.span.start);
        let (format, sink) = (Format::default(), SinkOptions::default());
        let mut options = Options { position, topic: None, log: None, format, sink };
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
                _ if side == Side::Sink
                    && self.sink_option(&mut options.sink, &name, &value, &at)? => {}
                _ => self.format_option(&mut options.format, &name, &value, &at, usage)?,
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

    /// An option about the syntax of payloads.
    fn format_option(
        &self,
        format: &mut Format,
        name: &str,
        value: &str,
        at: &TokenWithSpan,
        usage: &str,
    ) -> Result<(), SqlError> {
        let refuse = |reason: String, help: &str| Err(self.at(at, reason).or(help));
        match (name, value) {
            ("format", value) => match value.parse() {
                Ok(kind) => format.kind = kind,
                Err(()) => {
                    let help = match nearest(value, FORMATS) {
                        Some(near) => format!("use '{near}'"),
                        None => {
                            let known = FORMATS.map(|name| format!("'{name}'"));
                            format!("use one of {}", known.join(", "))
                        }
                    };
                    return refuse(format!("format '{value}' is not there"), &help);
                }
            },
            ("ts_format", value) => match value.parse() {
                Ok(times) => format.times = times,
                Err(()) => {
                    return refuse(
                        format!("ts_format '{value}' is not there"),
                        "numbers are 's', 'ms', 'us' or 'ns', or 'auto' by magnitude; text is RFC 3339",
                    );
                }
            },
            ("header", "true" | "false") => format.has_header = value == "true",
            ("header", _) => {
                return refuse(format!("header is '{value}'"), "use 'true' or 'false'");
            }
            ("delimiter", "tab" | "\\t") => format.delimiter = b'\t',
            ("delimiter", value) => match value.as_bytes() {
                [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n') => {
                    format.delimiter = *byte;
                }
                _ => {
                    return refuse(
                        format!("delimiter '{value}'"),
                        "use one ASCII character, or 'tab'",
                    );
                }
            },
            _ => return refuse(format!("there is no option `{name}`"), usage),
        }
        Ok(())
    }
}
