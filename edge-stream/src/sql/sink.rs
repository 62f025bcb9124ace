//! `CREATE SINK .. WITH (..)`: where rows go, and as what.

use std::path::{Component, Path};

use datafusion::sql::sqlparser::tokenizer::TokenWithSpan;
use edge_db::WhenFull;

use super::Script;
use super::options::{Options, Side};
use crate::decode::format::{Format, FormatKind};
use crate::error::{Position, SqlError};
use crate::topic::TopicPattern;

/// What a sink is made of beside its query.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SinkDefinition {
    pub(crate) to: SinkTo,
    pub(crate) format: Format,
}

/// Where the rows of a sink go.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum SinkTo {
    Topic {
        pattern: TopicPattern,
        qos: u8,
        is_retained: bool,
    },
    Log(SinkLog),
    /// In the folder of the engine.
    File(String),
    /// Of the application.
    Channel(String),
}

/// A Log that a sink writes to, and what the statement says of its limit.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SinkLog {
    pub(crate) name: String,
    pub(crate) max_bytes: Option<u64>,
    pub(crate) when_full: Option<WhenFull>,
}

/// What `WITH` says of a sink alone.
#[derive(Debug, Default)]
pub(super) struct SinkOptions {
    file: Option<String>,
    channel: Option<String>,
    /// Whether names of columns are in front, if that is said.
    header: Option<bool>,
    qos: Option<u8>,
    is_retained: Option<bool>,
    max_bytes: Option<u64>,
    when_full: Option<WhenFull>,
}

impl SinkTo {
    /// The topic with its named levels, if it goes to one.
    pub(crate) fn topic(&self) -> Option<&TopicPattern> {
        match self {
            SinkTo::Topic { pattern, .. } => Some(pattern),
            _ => None,
        }
    }
}

impl Script<'_> {
    pub(super) fn sink_definition(&mut self) -> Result<SinkDefinition, SqlError> {
        let options = self.options(Side::Sink)?;
        let Options { position, topic, log, mut format, mut sink, .. } = options;
        let to = match (topic, log, sink.file.take(), sink.channel.take()) {
            (Some(pattern), None, None, None) => sink.topic(pattern, position)?,
            (None, Some(name), None, None) => {
                let (max_bytes, when_full) = (sink.max_bytes, sink.when_full);
                SinkTo::Log(SinkLog { name, max_bytes, when_full })
            }
            (None, None, Some(file), None) => SinkTo::File(file),
            (None, None, None, Some(channel)) => SinkTo::Channel(channel),
            _ => {
                let reason = "a sink needs a topic, a log, a file or a channel, one of them";
                return Err(refused(position, reason));
            }
        };
        sink.check(&to, &mut format, position)?;
        Ok(SinkDefinition { to, format })
    }

    /// Takes an option that sinks alone have; says whether it was one.
    pub(super) fn sink_option(
        &self,
        options: &mut SinkOptions,
        name: &str,
        value: &str,
        at: &TokenWithSpan,
    ) -> Result<bool, SqlError> {
        let refuse = |help: &str| Err(self.at(at, format!("{name} is '{value}'")).or(help));
        let is_path = |path: &str| {
            let mut parts = Path::new(path).components();
            let is_below = parts.all(|part| matches!(part, Component::Normal(_)));
            is_below && !path.is_empty() && !path.ends_with('/')
        };
        match (name, value) {
            ("file", _) if is_path(value) => options.file = Some(value.to_owned()),
            ("file", _) => {
                return refuse(
                    "name a file below the folder of the engine, as 'alarms/hot.ndjson'",
                );
            }
            ("channel", _) => options.channel = Some(value.to_owned()),
            ("header", "true" | "false") => options.header = Some(value == "true"),
            ("qos", "0" | "1" | "2") => options.qos = value.parse().ok(),
            ("qos", _) => return refuse("use '0', '1' or '2'"),
            ("retained", "true" | "false") => options.is_retained = Some(value == "true"),
            ("retained", _) => return refuse("use 'true' or 'false'"),
            ("max_bytes", _) => match value.parse() {
                Ok(bytes) if bytes > 0 => options.max_bytes = Some(bytes),
                _ => return refuse("use a number of bytes, as '67108864'"),
            },
            ("when_full", "drop_oldest") => options.when_full = Some(WhenFull::DropOldest),
            ("when_full", "refuse") => options.when_full = Some(WhenFull::Refuse),
            ("when_full", _) => {
                return refuse(
                    "use 'drop_oldest', or 'refuse', which has the job wait for the readers of the log",
                );
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl SinkOptions {
    fn topic(&self, pattern: TopicPattern, position: Position) -> Result<SinkTo, SqlError> {
        if pattern.is_open() {
            return Err(refused(position, format!("a sink cannot publish to all of {pattern}")));
        }
        let (qos, is_retained) = (self.qos.unwrap_or(1), self.is_retained.unwrap_or(false));
        Ok(SinkTo::Topic { pattern, qos, is_retained })
    }

    /// Refuses what does not go together.
    fn check(&self, to: &SinkTo, format: &mut Format, position: Position) -> Result<(), SqlError> {
        let said = [("qos", self.qos.is_some()), ("retained", self.is_retained.is_some())];
        let said = said.into_iter().find(|(_, is_said)| *is_said);
        if let (Some((name, _)), None) = (said, to.topic()) {
            return Err(refused(position, format!("`{name}` is about messages to a topic")));
        }
        let said =
            [("max_bytes", self.max_bytes.is_some()), ("when_full", self.when_full.is_some())];
        let said = said.into_iter().find(|(_, is_said)| *is_said);
        if let (Some((name, _)), false) = (said, matches!(to, SinkTo::Log(_))) {
            return Err(refused(position, format!("`{name}` is about a log that others read")));
        }
        let refuse = |reason: &str, help: &str| Err(SqlError::statement(position, reason).or(help));
        format.has_header = self.header.unwrap_or(matches!(to, SinkTo::File(_)));
        match (to, format.kind) {
            (SinkTo::File(_), FormatKind::Json | FormatKind::Csv) => Ok(()),
            (SinkTo::File(_), _) => refuse("a file has lines", "use 'json' or 'csv'"),
            (SinkTo::Channel(_), FormatKind::Json) => {
                // The application gets batches, whatever they lie in until then.
                format.kind = FormatKind::ArrowIpc;
                Ok(())
            }
            (SinkTo::Channel(_), _) => refuse("a channel has no format", "leave it out"),
            (_, FormatKind::SparkplugB) => {
                let help = "use 'json', 'csv', 'cbor', 'raw' or 'arrow_ipc'";
                refuse("a sink does not write 'sparkplug_b'", help)
            }
            _ => Ok(()),
        }
    }
}

fn refused(position: Position, reason: impl Into<String>) -> SqlError {
    SqlError::statement(position, reason).or(Side::Sink.usage())
}
