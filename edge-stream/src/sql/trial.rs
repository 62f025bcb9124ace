//! What is asked of `Engine::try_out`: streams, and one query over them.

use super::Script;
use super::emit::JobQuery;
use super::sink::SinkDefinition;
use super::statement::{Action, Definition, Statement};
use crate::error::{Position, SqlError};

/// Streams that nobody has created yet, and what is tried over them and those that are there.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) streams: Vec<Statement>,
    /// `None` if the last stream itself is what is tried.
    pub(crate) asked: Option<Asked>,
}

/// A query as it stands in the text.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) text: String,
    pub(crate) position: Position,
    pub(crate) query: JobQuery,
    pub(crate) of: AskedBy,
}

/// What the query would belong to.
#[derive(Debug)]
pub(crate) enum AskedBy {
    Nothing,
    View,
    Sink(Box<SinkDefinition>),
}

/// The streams and the query of a text.
pub(crate) fn parse_trial(sql: &str) -> Result<Trial, SqlError> {
    let mut script = Script::new(sql)?;
    let (mut streams, mut asked) = (Vec::new(), None::<Asked>);
    while !script.is_at_end() {
        let next = script.parser.peek_token_ref().clone();
        if asked.is_some() {
            return Err(script.at(&next, "here begins something behind the query").or(
                "try out one view, sink or query at a time, with the streams in front that it needs",
            ));
        }
        asked = script.tried(&mut streams)?;
    }
    if streams.is_empty() && asked.is_none() {
        return Err(SqlError::statement(script.end(), "there is nothing to try out")
            .or("write CREATE STREAM, CREATE MATERIALIZED VIEW, CREATE SINK or SELECT"));
    }
    Ok(Trial { streams, asked })
}

impl Script<'_> {
    /// The next statement: a stream to those that are there, or what is asked.
    fn tried(&mut self, streams: &mut Vec<Statement>) -> Result<Option<Asked>, SqlError> {
        if !self.is_next("CREATE", 0) {
            let first = self.parser.peek_token_ref().span.start;
            let (position, from) = (self.here(&first), self.offset(first));
            let query = self.query()?;
            self.expect_end()?;
            let to = self.offset(self.parser.peek_token_ref().span.start);
            let text = self.sql[from..to].trim_end().to_owned();
            return Ok(Some(Asked { text, position, query, of: AskedBy::Nothing }));
        }
        let statement = self.statement()?;
        let Action::Create { what, .. } = &statement.action else { return Ok(None) };
        let (query, of) = match what.clone() {
            Definition::Stream(_) => {
                streams.push(statement);
                return Ok(None);
            }
            Definition::View(query) => (*query, AskedBy::View),
            Definition::Sink(sink, query) => (*query, AskedBy::Sink(sink)),
            Definition::Table(_) => {
                return Err(SqlError::statement(
                    Some(statement.position),
                    "a table gives nothing out",
                )
                .or("create it, and try out what looks rows up in it"));
            }
        };
        let Statement { text, position, .. } = statement;
        Ok(Some(Asked { text, position, query, of }))
    }
}
