//! What was created, over restarts: the statements themselves.

use std::sync::Arc;

use edge_db::{Db, Log, OpenError, ReadError, Table, WriteError};
use serde::{Deserialize, Serialize};

use super::job::Progress;
use super::output::Output;

/// The cursor of a publisher in the Log of its sink.
pub(crate) const PUBLISHER: &str = "stream.publish";

/// A statement, and when it came.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Created {
    /// Later ones may read earlier ones.
    pub(crate) order: u64,
    pub(crate) sql: String,
}

/// The tables that the engine itself keeps.
#[derive(Debug, Clone)]
pub(crate) struct Catalog {
    pub(crate) db: Db,
    created: Table<String, Created>,
    /// How far each job has come.
    pub(crate) progress: Table<String, Progress>,
}

impl Catalog {
    pub(crate) fn open(db: Db) -> Result<Catalog, OpenError> {
        let created = db.table("stream.catalog")?;
        let progress = db.table("stream.progress")?;
        Ok(Catalog { db, created, progress })
    }

    /// All statements in the order in which they came.
    pub(crate) fn statements(&self) -> Result<Vec<Created>, ReadError> {
        let rows = self.created.iter()?.map(|row| row.map(|(_, created)| created));
        let mut statements = rows.collect::<Result<Vec<_>, _>>()?;
        statements.sort_by_key(|created| created.order);
        Ok(statements)
    }

    pub(crate) fn store(&self, name: &str, sql: &str) -> Result<(), WriteError> {
        let order = self.statements().ok().and_then(|all| all.last().map(|last| last.order + 1));
        let created = Created { order: order.unwrap_or(0), sql: sql.to_owned() };
        let mut batch = self.db.batch();
        let name = name.to_owned();
        batch.insert(&self.created, &name, &created).expect("a number and a text always encode");
        batch.commit().map(drop)
    }

    /// Forgets a job in one commit: its state, its position, and what it has put out. What a
    /// stream could not read stays in its Log of errors.
    pub(crate) fn remove(
        &self,
        name: &str,
        source: &Log,
        output: &Output,
    ) -> Result<(), DropError> {
        let key = name.to_owned();
        let state = self.db.keyspace(&state_name(name))?;
        let cursor = source.cursor(&cursor_name(name))?;
        let mut batch = self.db.batch();
        batch.remove(&self.created, &key);
        batch.remove(&self.progress, &key);
        batch.clear(&state);
        batch.remove_cursor(&cursor);
        match output {
            Output::Errors(_) => {}
            Output::View(view) => batch.clear_table(&view.table),
            Output::Sink(sink) => {
                batch.remove_cursor(&sink.log.cursor(PUBLISHER)?);
                batch.trim(&sink.log, sink.log.bounds()?.end);
            }
        }
        batch.commit()?;
        Ok(())
    }
}

/// Why a name could not be dropped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DropError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<DropError> for crate::SqlError {
    fn from(error: DropError) -> crate::SqlError {
        match error {
            DropError::Open(error) => crate::SqlError::Open(Arc::new(error)),
            DropError::Write(error) => error.into(),
            DropError::Read(error) => error.into(),
        }
    }
}

/// The keyspace of a job's state.
pub(crate) fn state_name(job: &str) -> String {
    format!("stream.state.{job}")
}

/// The cursor of a job in the Log that it reads.
pub(crate) fn cursor_name(job: &str) -> String {
    format!("stream.{job}")
}
