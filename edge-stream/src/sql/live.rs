//! `WITH (topic = '..', journal = 'false')`: a stream of which nothing is stored.

use datafusion::sql::sqlparser::tokenizer::TokenWithSpan;

use super::Script;
use crate::error::{Position, SqlError};

/// What the messages of a live topic take in memory, without `max_bytes`: some seconds of ten thousand
/// small messages a second.
const LIVE_BYTES: usize = 8 * 1024 * 1024;

/// With less, one read of a job would be too much.
const LEAST_BYTES: usize = 64 * 1024;

/// What `WITH` says of a live topic.
#[derive(Debug, Default)]
pub(super) struct LiveOptions {
    is_live: bool,
    /// Where the journal is spoken of.
    journal: Option<Position>,
    max_bytes: Option<(usize, Position)>,
}

impl Script<'_> {
    /// Takes an option about the journal of a topic; says whether it was one.
    pub(super) fn live_option(
        &self,
        options: &mut LiveOptions,
        name: &str,
        value: &str,
        at: &TokenWithSpan,
    ) -> Result<bool, SqlError> {
        let refuse = |help: &str| Err(self.at(at, format!("{name} is '{value}'")).or(help));
        let position = self.here(&at.span.start);
        match (name, value) {
            ("journal", "true" | "false") => {
                options.is_live = value == "false";
                options.journal = Some(position);
            }
            ("journal", _) => {
                return refuse("use 'true', or 'false' to keep messages in memory alone");
            }
            ("max_bytes", _) => match value.parse() {
                Ok(bytes) if bytes >= LEAST_BYTES => options.max_bytes = Some((bytes, position)),
                _ => return refuse("use a number of bytes, '65536' at least"),
            },
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl LiveOptions {
    /// How much memory messages may take; `None` if they are stored.
    pub(super) fn bytes(&self, has_topic: bool) -> Result<Option<usize>, SqlError> {
        let refuse =
            |at: Position, reason: &str, help: &str| Err(SqlError::statement(at, reason).or(help));
        match (self.journal, self.max_bytes) {
            (Some(at), _) if !has_topic => {
                refuse(at, "`journal` is about the messages of a topic", "leave it out")
            }
            (_, Some((_, at))) if !self.is_live => refuse(
                at,
                "`max_bytes` is about what memory holds of a topic that is not journaled",
                "add journal = 'false', or leave it out: a log has a limit of its own",
            ),
            (_, bytes) => Ok(self.is_live.then(|| bytes.map_or(LIVE_BYTES, |(bytes, _)| bytes))),
        }
    }
}
