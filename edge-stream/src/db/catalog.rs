//! What was created, over restarts: the statements themselves.

use std::sync::Arc;

use edge_db::{Batch, Claim, Db, OpenError, ReadError, Table, WriteError};
use serde::{Deserialize, Serialize};

use super::job::{JobSpec, Progress};
use super::output::Output;

/// The cursor of a publisher in the Log of its sink.
pub(crate) const PUBLISHER: &str = "stream:publish";

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
    /// Held by all who may still write for this engine, so that the next one waits for them.
    _claim: Arc<Claim>,
}

impl Catalog {
    pub(crate) fn open(db: Db, claim: Claim) -> Result<Catalog, OpenError> {
        let created = db.table("stream.catalog")?;
        let progress = db.table("stream.progress")?;
        Ok(Catalog { db, created, progress, _claim: Arc::new(claim) })
    }

    /// All statements in the order in which they came.
    pub(crate) fn statements(&self) -> Result<Vec<Created>, ReadError> {
        let rows = self.created.iter()?.map(|row| row.map(|(_, created)| created));
        let mut statements = rows.collect::<Result<Vec<_>, _>>()?;
        statements.sort_by_key(|created| created.order);
        Ok(statements)
    }

    /// Stores a statement, in one commit with the removal of whatever lay under its name.
    pub(crate) fn store(&self, spec: &JobSpec, sql: &str) -> Result<(), CatalogError> {
        let order = self.statements()?.last().map_or(0, |last| last.order + 1);
        let created = Created { order, sql: sql.to_owned() };
        let mut batch = self.without(spec)?;
        batch
            .insert(&self.created, &spec.name, &created)
            .expect("a number and a text always encode");
        batch.commit()?;
        Ok(())
    }

    /// Forgets a job in one commit: its state, its position, and what it has put out. What a
    /// stream could not read stays in its Log of errors.
    pub(crate) fn remove(&self, spec: &JobSpec) -> Result<(), CatalogError> {
        self.without(spec)?.commit()?;
        Ok(())
    }

    fn without(&self, spec: &JobSpec) -> Result<Batch, CatalogError> {
        let state = self.db.keyspace(&state_name(&spec.name))?;
        let mut batch = self.db.batch();
        batch.remove(&self.created, &spec.name);
        batch.remove(&self.progress, &spec.name);
        batch.clear(&state);
        for (number, input) in spec.inputs.iter().enumerate() {
            batch.remove_cursor(&input.log.cursor(&cursor_name(&spec.name, number))?);
        }
        match &spec.output {
            Output::Errors(_) => {}
            Output::View(view) => batch.clear_table(&view.table),
            Output::Sink(sink) => {
                batch.remove_cursor(&sink.log.cursor(PUBLISHER)?);
                batch.trim(&sink.log, sink.log.bounds()?.end);
            }
        }
        Ok(batch)
    }
}

/// Why the catalog could not be changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CatalogError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<CatalogError> for crate::SqlError {
    fn from(error: CatalogError) -> crate::SqlError {
        match error {
            CatalogError::Open(error) => crate::SqlError::Open(Arc::new(error)),
            CatalogError::Write(error) => error.into(),
            CatalogError::Read(error) => error.into(),
        }
    }
}

/// The keyspace of a job's state.
pub(crate) fn state_name(job: &str) -> String {
    format!("stream.state.{job}")
}

/// The cursor of a job in the Log of the input of this number: two streams may be over one Log.
pub(crate) fn cursor_name(job: &str, number: usize) -> String {
    match number {
        0 => format!("stream.{job}"),
        _ => format!("stream.{job}.{number}"),
    }
}
