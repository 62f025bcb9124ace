//! What was created, over restarts: the statements themselves.

use std::sync::Arc;

use edge_db::{Batch, Claim, Db, OpenError, ReadError, Table, WriteError};
use serde::{Deserialize, Serialize};

use super::job::{JobSpec, Progress};
use super::output::Output;
use super::tape::LivePositions;

/// The cursor of a publisher in the Log of its sink.
pub(crate) const PUBLISHER: &str = "stream:publish";

/// A statement, and when it came.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Created {
    /// Later ones may read earlier ones.
    pub(crate) order: u64,
    pub(crate) sql: String,
    /// Which of its two places in the store the job has; its successor is built in the other.
    #[serde(default)]
    pub(crate) slot: u8,
    #[serde(default)]
    pub(crate) paused: bool,
    /// The Logs that a successor is being built from, in the other place.
    #[serde(default)]
    pub(crate) building: Vec<String>,
}

/// The tables that the engine itself keeps.
#[derive(Debug, Clone)]
pub(crate) struct Catalog {
    pub(crate) db: Db,
    created: Table<String, Created>,
    /// How far each job has come.
    pub(crate) progress: Table<String, Progress>,
    /// How far each job has come in what lies in memory.
    pub(crate) live: LivePositions,
    /// How long the file of each sink is without what no commit knows of.
    pub(crate) lengths: Table<String, u64>,
    /// Held by all who may still write for this engine, so that the next one waits for them.
    _claim: Arc<Claim>,
}

impl Catalog {
    pub(crate) fn open(db: Db, claim: Claim) -> Result<Catalog, OpenError> {
        let created = db.table("stream.catalog")?;
        let progress = db.table("stream.progress")?;
        let live = db.table("stream.live")?;
        let lengths = db.table("stream.files")?;
        Ok(Catalog { db, created, progress, live, lengths, _claim: Arc::new(claim) })
    }

    /// All statements in the order in which they came.
    pub(crate) fn statements(&self) -> Result<Vec<Created>, ReadError> {
        let rows = self.created.iter()?.map(|row| row.map(|(_, created)| created));
        let mut statements = rows.collect::<Result<Vec<_>, _>>()?;
        statements.sort_by_key(|created| created.order);
        Ok(statements)
    }

    /// A statement behind all others.
    pub(crate) fn next(&self, sql: &str) -> Result<Created, CatalogError> {
        let order = self.statements()?.last().map_or(0, |last| last.order + 1);
        Ok(Created { order, sql: sql.to_owned(), slot: 0, paused: false, building: Vec::new() })
    }

    /// Stores a statement, in one commit with the removal of whatever lay under its name.
    pub(crate) fn store(&self, spec: &JobSpec, created: &Created) -> Result<(), CatalogError> {
        let mut batch = self.without(spec)?;
        self.put(&mut batch, &spec.name, created);
        batch.commit()?;
        Ok(())
    }

    /// Changes what the catalog says about a name, and nothing else.
    pub(crate) fn change(&self, name: &str, created: &Created) -> Result<(), CatalogError> {
        let mut batch = self.db.batch();
        self.put(&mut batch, name, created);
        batch.commit()?;
        Ok(())
    }

    /// The same in one commit with the removal of what a job has stored in its place: state,
    /// position, and the rows of a view. What a sink has put out stays.
    pub(crate) fn change_without(
        &self,
        spec: &JobSpec,
        created: &Created,
    ) -> Result<(), CatalogError> {
        let mut batch = self.db.batch();
        self.forget(&mut batch, spec)?;
        self.put(&mut batch, &spec.name, created);
        batch.commit()?;
        Ok(())
    }

    fn put(&self, batch: &mut Batch, name: &str, created: &Created) {
        batch
            .insert(&self.created, &name.to_owned(), created)
            .expect("numbers and a text always encode");
    }

    /// Forgets a job in one commit: its state, its position, and what it has put out. What a
    /// stream could not read stays in its Log of errors.
    pub(crate) fn remove(&self, spec: &JobSpec) -> Result<(), CatalogError> {
        self.without(spec)?.commit()?;
        Ok(())
    }

    fn without(&self, spec: &JobSpec) -> Result<Batch, CatalogError> {
        let mut batch = self.db.batch();
        batch.remove(&self.created, &spec.name);
        self.forget(&mut batch, spec)?;
        if let Output::Sink(sink) = &spec.output
            && sink.owns_log()
        {
            batch.remove_cursor(&sink.log.cursor(PUBLISHER)?);
            batch.trim(&sink.log, sink.log.bounds()?.end);
            batch.remove(&self.lengths, &spec.name);
        }
        Ok(batch)
    }

    fn forget(&self, batch: &mut Batch, spec: &JobSpec) -> Result<(), CatalogError> {
        let place = spec.place();
        batch.remove(&self.progress, &place);
        batch.clear(&self.db.keyspace(&state_name(&place))?);
        for (number, input) in spec.inputs.iter().enumerate() {
            let cursor = cursor_name(&place, number);
            batch.remove(&self.live, &cursor);
            if let Some(log) = input.log.log() {
                batch.remove_cursor(&log.cursor(&cursor)?);
            }
        }
        if let Output::View(view) = &spec.output {
            batch.clear_table(&view.table);
        }
        Ok(())
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

/// Where a job of this name stores what it has, in one of its two places. No name has a dot, and
/// numbers behind one are those of inputs.
pub(crate) fn place(job: &str, slot: u8) -> String {
    if slot == 0 { job.to_owned() } else { format!("{job}.b") }
}

/// The keyspace of a job's state.
pub(crate) fn state_name(place: &str) -> String {
    format!("stream.state.{place}")
}

/// The cursor of a job in the Log of the input of this number: two streams may be over one Log.
pub(crate) fn cursor_name(place: &str, number: usize) -> String {
    match number {
        0 => format!("stream.{place}"),
        _ => format!("stream.{place}.{number}"),
    }
}

/// The table that the rows of a view lie in.
pub(crate) fn view_name(place: &str) -> String {
    format!("stream.view.{place}")
}
