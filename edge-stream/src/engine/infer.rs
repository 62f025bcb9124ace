//! Columns that a statement leaves out.

use edge_db::Records;

use super::Engine;
use crate::db::blocking;
use crate::decode::infer;
use crate::error::SqlError;
use crate::sql::statement::{self, Action, Definition, Gap, Source, Statement};

/// The newest records of a Log that columns are inferred from.
const SAMPLE_RECORDS: usize = 1_000;

impl Engine {
    /// The statement with the columns that its text leaves out, so that what the catalog keeps
    /// says them and a restart changes none.
    pub(super) async fn with_columns(&self, statement: Statement) -> Result<Statement, SqlError> {
        let Action::Create { name, what: Definition::Stream(stream), .. } = &statement.action
        else {
            return Ok(statement);
        };
        let Some(gap) = stream.infer else { return Ok(statement) };
        let (log, levels) = match &stream.source {
            Source::Log(log) => (log, Vec::new()),
            Source::Topic(topic) => (name, topic.names().collect()),
            Source::Table(_) => return Ok(statement),
        };
        let position = statement.position;
        let refuse = |reason: String| {
            SqlError::statement(Some(position), reason)
                .or("declare columns: (ts TIMESTAMP, temp DOUBLE, ..)")
        };
        let Some(records) = self.newest(log).await? else {
            return Err(refuse(format!("log `{log}` is empty, so it says nothing of columns")));
        };
        let time = stream.watermark.as_ref().map(|(column, _)| column.as_str());
        let columns = infer::columns(records.as_slice(), &levels, time);
        let columns = columns.map_err(|reason| refuse(format!("log `{log}`: {reason}")))?;
        let text = filled(&statement.text, gap, &columns);
        let completed = statement::parse_script(&text);
        // Places in that text mean nothing to who wrote the other.
        let mut statements = completed.map_err(|error| match error {
            SqlError::Statement { reason, help, .. } => {
                SqlError::Statement { position: Some(position), reason, help }
            }
            other => other,
        })?;
        let completed = statements.pop().ok_or(SqlError::Closed)?;
        Ok(Statement { position, ..completed })
    }

    async fn newest(&self, log: &str) -> Result<Option<Records>, SqlError> {
        let Some(log) = self.inner.catalog.db.find_log(log) else { return Ok(None) };
        let read = blocking(move || {
            let records = log.read_back(log.bounds()?.end, SAMPLE_RECORDS)?;
            Ok::<_, edge_db::ReadError>((!records.is_empty()).then_some(records))
        });
        Ok(read.await.map_err(|_| SqlError::Closed)??)
    }
}

fn filled(text: &str, gap: Gap, columns: &str) -> String {
    let (before, behind) = text.split_at(gap.at);
    match (gap.in_parentheses, behind.trim_start().starts_with(')')) {
        (true, true) => format!("{before}{columns}{behind}"),
        (true, false) => format!("{before}{columns}, {behind}"),
        (false, _) => format!("{before}({columns}) {behind}"),
    }
}
