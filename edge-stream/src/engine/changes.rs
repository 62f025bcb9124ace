//! Streams of what changes in a table or view: edge-db writes it into a Log, in the commits of the
//! changes.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::Engine;
use crate::db::blocking;
use crate::db::job::JobSpec;
use crate::db::output::Output;
use crate::db::stored::ViewTable;
use crate::decode::changes::{ChangeReader, changes_schema};
use crate::error::SqlError;
use crate::sql::nearest;
use crate::sql::statement::{Definition, Kind, Source};

/// In front of the table in the name of the Log of its changes. No name of a statement has a dot.
pub(super) const CHANGES: &str = "stream.changes.";

/// The Log of the changes of a table; all streams over them read this one.
pub(super) fn changes_log(table: &str) -> String {
    format!("{CHANGES}{table}")
}

/// Whether it is such a Log.
pub(super) fn is_changes_log(log: &str) -> bool {
    log.starts_with(CHANGES)
}

/// The table whose changes a stream is.
pub(super) fn table_of(what: &Definition) -> Option<&str> {
    match what {
        Definition::Stream(stream) => match &stream.source {
            Source::Table(table) => Some(table),
            Source::Topic(_) | Source::Log(_) => None,
        },
        Definition::View(_) | Definition::Sink(..) | Definition::Table(_) => None,
    }
}

impl Engine {
    /// The columns of a stream of changes, and what reads them.
    pub(super) fn changes(&self, table: &str) -> Result<(SchemaRef, ChangeReader), SqlError> {
        let (rows, columns) = self.changing(table)?;
        let schema = changes_schema(&columns).map_err(|column| {
            let reason = format!(
                "column `{column}` of `{table}` has the name of one that every stream of changes has"
            );
            SqlError::statement(None, reason).or("give it another where it comes from, by AS")
        })?;
        Ok((schema, ChangeReader::new(rows, &columns)))
    }

    /// The rows that change, and their columns.
    fn changing(&self, name: &str) -> Result<(ViewTable, SchemaRef), SqlError> {
        let objects = self.inner.objects.lock();
        let refuse = |reason: &str, help: &str| {
            Err(SqlError::statement(None, format!("`{name}` is {reason}")).or(help))
        };
        match objects.by_name.get(name) {
            Some(object) => match (&object.spec.output, object.kind) {
                (Output::View(view), _) => Ok((view.table.clone(), Arc::clone(&object.schema))),
                (_, Kind::Sink) => refuse(
                    "a sink, and has no changes",
                    "write the rows WITH (log = 'name'), and create a stream over that log",
                ),
                _ => refuse("a stream, and has no changes", "read it itself"),
            },
            None if self.inner.tables.has_own(name) => refuse(
                "a Table of the application, whose changes are no stream",
                "CREATE TABLE makes one whose are; or append to a Log in the batch that changes it",
            ),
            None => {
                let reason = format!("there is no table or view `{name}`");
                let tables = objects.by_name.iter();
                let tables =
                    tables.filter(|(_, object)| matches!(object.spec.output, Output::View(_)));
                let near = nearest(name, tables.map(|(name, _)| name.as_str()));
                Err(SqlError::statement(None, reason).or(match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "CREATE TABLE makes one".to_owned(),
                }))
            }
        }
    }

    /// From here on what changes in the table of such a stream is in its Log.
    pub(super) async fn capture(&self, what: &Definition, spec: &JobSpec) -> Result<(), SqlError> {
        let Some(table) = table_of(what) else { return Ok(()) };
        let (rows, _) = self.changing(table)?;
        let Some(log) = spec.log().log().cloned() else { return Ok(()) };
        let captured = blocking(move || rows.capture_into(&log)).await;
        Ok(captured.map_err(|_| SqlError::Closed)??)
    }

    /// Ends that for a stream that goes. Behind the last one over a table the Log is emptied, as it
    /// may have other columns when the next one comes.
    pub(super) async fn end_capture(
        &self,
        name: &str,
        what: &Definition,
        spec: &JobSpec,
    ) -> Result<(), SqlError> {
        let Some(table) = table_of(what) else { return Ok(()) };
        if self.streams_over(table).iter().any(|other| other != name) {
            return Ok(());
        }
        let (rows, _) = self.changing(table)?;
        let Some(log) = spec.log().log().cloned() else { return Ok(()) };
        let db = self.inner.catalog.db.clone();
        let ended = blocking(move || {
            // A crash behind this leaves the stream, and the next start captures again.
            rows.end_capture()?;
            let mut batch = db.batch();
            batch.trim(&log, log.bounds()?.end);
            batch.commit()?;
            Ok::<_, SqlError>(())
        });
        ended.await.map_err(|_| SqlError::Closed)?
    }

    /// The streams of what changes in this table or view.
    pub(super) fn streams_over(&self, table: &str) -> Vec<String> {
        let objects = self.inner.objects.lock();
        let over = objects.by_name.iter();
        let over = over.filter(|(_, object)| table_of(&object.what) == Some(table));
        over.map(|(name, _)| name.clone()).collect()
    }
}
