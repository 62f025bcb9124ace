//! `CREATE SINK .. WITH (..)`: where rows go, and as what.

use datafusion::sql::sqlparser::tokenizer::TokenWithSpan;

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
    Topic { pattern: TopicPattern, qos: u8, is_retained: bool },
    Log(String),
}

/// What `WITH` says of a sink alone.
#[derive(Debug, Default)]
pub(super) struct SinkOptions {
    qos: Option<u8>,
    is_retained: Option<bool>,
}

impl SinkTo {
    /// The topic with its named levels, if it goes to one.
    pub(crate) fn topic(&self) -> Option<&TopicPattern> {
        match self {
            SinkTo::Topic { pattern, .. } => Some(pattern),
            SinkTo::Log(_) => None,
        }
    }
}

impl Script<'_> {
    pub(super) fn sink_definition(&mut self) -> Result<SinkDefinition, SqlError> {
        let Options { position, topic, log, format, sink } = self.options(Side::Sink)?;
        let to = match (topic, log) {
            (Some(pattern), None) => sink.to_topic(pattern, position)?,
            (None, Some(log)) => {
                sink.check_unused(position)?;
                SinkTo::Log(log)
            }
            _ => {
                let reason = "a sink needs a topic or a log, one of them";
                return Err(refused(position, reason));
            }
        };
        if format.kind == FormatKind::SparkplugB {
            return Err(SqlError::statement(position, "a sink does not write 'sparkplug_b'")
                .or("use 'json', 'csv', 'cbor', 'raw' or 'arrow_ipc'"));
        }
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
        match (name, value) {
            ("qos", "0" | "1" | "2") => options.qos = value.parse().ok(),
            ("qos", _) => return refuse("use '0', '1' or '2'"),
            ("retained", "true" | "false") => options.is_retained = Some(value == "true"),
            ("retained", _) => return refuse("use 'true' or 'false'"),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl SinkOptions {
    fn to_topic(self, pattern: TopicPattern, position: Position) -> Result<SinkTo, SqlError> {
        if pattern.is_open() {
            return Err(refused(position, format!("a sink cannot publish to all of {pattern}")));
        }
        let (qos, is_retained) = (self.qos.unwrap_or(1), self.is_retained.unwrap_or(false));
        Ok(SinkTo::Topic { pattern, qos, is_retained })
    }

    /// Refuses what is said of a topic where there is none.
    fn check_unused(&self, position: Position) -> Result<(), SqlError> {
        let said = [("qos", self.qos.is_some()), ("retained", self.is_retained.is_some())];
        match said.into_iter().find(|(_, is_said)| *is_said) {
            None => Ok(()),
            Some((name, _)) => {
                Err(refused(position, format!("`{name}` is about messages to a topic")))
            }
        }
    }
}

fn refused(position: Position, reason: impl Into<String>) -> SqlError {
    SqlError::statement(position, reason).or(Side::Sink.usage())
}
