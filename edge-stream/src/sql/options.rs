//! `WITH (..)`: where a stream comes from, where a sink goes.

use std::collections::HashMap;

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::emit::fixed_micros;
use super::live::LiveOptions;
use super::sink::SinkOptions;
use super::times::Times;
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

/// What `WITH` of a stream may have.
pub(super) const OF_STREAMS: [&str; 14] = [
    "topic",
    "log",
    "table",
    "journal",
    "max_bytes",
    "format",
    "ts_format",
    "header",
    "delimiter",
    "late",
    "allowed_lateness",
    "max_ahead",
    "idle_timeout",
    "watermark_by",
];

/// And that of a sink.
pub(super) const OF_SINKS: [&str; 11] = [
    "topic",
    "log",
    "file",
    "channel",
    "format",
    "header",
    "delimiter",
    "qos",
    "retained",
    "max_bytes",
    "when_full",
];

impl Side {
    /// The names of its options.
    pub(super) fn options(self) -> &'static [&'static str] {
        match self {
            Side::Stream => &OF_STREAMS,
            Side::Sink => &OF_SINKS,
        }
    }

    /// What would work in place of a name that is none of them.
    fn meant(self, name: &str) -> String {
        let (other, whose) = match self {
            Side::Stream => (Side::Sink, "sinks"),
            Side::Sink => (Side::Stream, "streams"),
        };
        match nearest(name, self.options().iter().copied()) {
            _ if other.options().contains(&name) => format!("it is one of {whose}; leave it out"),
            Some(near) => format!("did you mean `{near}`?"),
            None => self.usage().to_owned(),
        }
    }

    pub(super) fn usage(self) -> &'static str {
        match self {
            Side::Stream => {
                "WITH (topic = 'office/{room}/climate', format = 'json'), or log = 'name' or table = \
                 'name' in place of the topic"
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
    pub(super) table: Option<String>,
    pub(super) live: LiveOptions,
    pub(super) format: Format,
    /// Where the first option is that is about that.
    pub(super) about_format: Option<Position>,
    pub(super) sink: SinkOptions,
    pub(super) times: Times,
    /// Where the first option is that is about those.
    pub(super) about_times: Option<Position>,
    /// And the one that says what has watermarks of its own.
    pub(super) about_keys: Option<Position>,
    /// Whether late rows change windows that are closed.
    late_updates: bool,
    /// How late they may be, in microseconds.
    allowed_lateness: Option<i64>,
}

impl Options {
    /// How far behind the watermark rows may come, in microseconds.
    pub(super) fn lateness(&self, has_watermark: bool) -> Result<i64, SqlError> {
        let usage = "write WITH (.., late = 'update', allowed_lateness = '1 minute')";
        let refuse = |reason: &str| Err(SqlError::statement(self.position, reason).or(usage));
        match (self.late_updates, self.allowed_lateness) {
            (false, None) => Ok(0),
            (true, Some(_)) if !has_watermark => {
                refuse("rows are late behind a watermark, and the stream has none: WATERMARK FOR")
            }
            (true, Some(micros)) => Ok(micros),
            (true, None) => refuse("late = 'update' needs to know how late rows may be"),
            (false, Some(_)) => refuse("allowed_lateness is for late = 'update'"),
        }
    }
}

impl Script<'_> {
    pub(super) fn options(&mut self, side: Side) -> Result<Options, SqlError> {
        let usage = side.usage();
        let at = self.parser.peek_token_ref().clone();
        let position = self.here(&at.span.start);
        let mut options = Options {
            position,
            topic: None,
            log: None,
            table: None,
            live: LiveOptions::default(),
            format: Format::default(),
            about_format: None,
            sink: SinkOptions::default(),
            times: Times::default(),
            about_times: None,
            about_keys: None,
            late_updates: false,
            allowed_lateness: None,
        };
        let mut values = HashMap::new();
        if !self.word("WITH") || !self.parser.consume_token(&Token::LParen) {
            return Err(self.at(&at, "expected WITH (..)").or(usage));
        }
        loop {
            let at = self.parser.peek_token_ref().clone();
            let name = self.column_name()?;
            if !side.options().contains(&name.as_str()) {
                return Err(self
                    .at(&at, format!("there is no option `{name}`"))
                    .or(side.meant(&name)));
            }
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
                "table" => options.table = Some(value.clone()),
                _ if side == Side::Stream
                    && self.live_option(&mut options.live, &name, &value, &at)? => {}
                "late" | "allowed_lateness" => {
                    self.late_option(&mut options, &name, &value, &at)?;
                }
                _ if side == Side::Sink
                    && self.sink_option(&mut options.sink, &name, &value, &at)? => {}
                name if Times::OPTIONS.contains(&name) => {
                    let set = options.times.set(name, &value);
                    set.map_err(|(reason, help)| self.at(&at, reason).or(help))?;
                    let here = self.here(&at.span.start);
                    options.about_times.get_or_insert(here);
                    options.about_keys =
                        options.about_keys.or((name == "watermark_by").then_some(here));
                }
                _ => {
                    self.format_option(&mut options.format, &name, &value, &at)?;
                    options.about_format.get_or_insert(self.here(&at.span.start));
                }
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

    /// An option about late rows.
    fn late_option(
        &self,
        options: &mut Options,
        name: &str,
        value: &str,
        at: &TokenWithSpan,
    ) -> Result<(), SqlError> {
        let refuse = |help: &str| Err(self.at(at, format!("{name} is '{value}'")).or(help));
        match (name, value, fixed_micros(value)) {
            ("late", "drop", _) => {}
            ("late", "update", _) => options.late_updates = true,
            ("late", "divert", _) => {
                options.times.diverts_late = true;
                options.about_times.get_or_insert(self.here(&at.span.start));
            }
            ("late", ..) => {
                return refuse(
                    "use 'drop', 'divert' to keep late rows in a log of their own, or 'update', which \
                     changes windows that are closed",
                );
            }
            (_, _, None) => return refuse("use a fixed time such as '1 minute'"),
            (_, _, micros) => options.allowed_lateness = micros,
        }
        Ok(())
    }

    /// An option about the syntax of payloads.
    fn format_option(
        &self,
        format: &mut Format,
        name: &str,
        value: &str,
        at: &TokenWithSpan,
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
            _ => {}
        }
        Ok(())
    }
}
