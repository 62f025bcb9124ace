//! Why an engine did not start or catch up, and what it left behind.

use crate::db::status::JobStatus;
use crate::error::SqlError;

/// Why no engine was started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// [`EngineBuilder::db`](crate::EngineBuilder::db) was not called.
    #[error("no database: give the engine one with `EngineBuilder::db`")]
    NoDb,
    /// Another engine in this process runs over this database. Use a clone of its handle, or drop
    /// it first.
    #[error("another engine runs over this database")]
    InUse,
    /// The catalog could not be opened.
    #[error("could not open the catalog of the engine")]
    Open(#[from] edge_db::OpenError),
    /// The catalog could not be read.
    #[error("could not read the catalog of the engine")]
    Read(#[from] edge_db::ReadError),
    /// A statement of the catalog cannot be carried out again: another version wrote it, or what
    /// it needs has gone.
    #[error("could not take up `{sql}` again")]
    Statement {
        /// The statement as it was written.
        sql: String,
        /// What is wrong with it now.
        source: SqlError,
    },
    /// The runtime is shutting down.
    #[error("the tokio runtime is shutting down")]
    Runtime,
}

/// Why [`Engine::caught_up`](crate::Engine::caught_up) gave up.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CaughtUpError {
    /// A job was behind at the deadline.
    #[error(
        "`{}` is at {position} of {end} in `{stream}`{}",
        job.name,
        job.error.as_ref().map_or(String::new(), |error| format!(": {error}"))
    )]
    Behind {
        /// How the job stands.
        job: Box<JobStatus>,
        /// The stream in which it was behind.
        stream: String,
        /// Where it was.
        position: edge_db::Seq,
        /// Where the stream's Log ended when it was asked.
        end: edge_db::Seq,
    },
    /// A sink had rows at the deadline that were not where it sends them.
    #[error(
        "`{sink}` has rows that are not delivered yet{}",
        error.as_ref().map_or(String::new(), |error| format!(": {error}"))
    )]
    Undelivered {
        /// The sink.
        sink: String,
        /// What keeps it from delivering them, if it was refused.
        error: Option<String>,
    },
    /// The end of a Log could not be read.
    #[error("could not read the end of a log")]
    Read(#[from] edge_db::ReadError),
}

/// What a shutdown left in the Logs. Jobs go on from there at the next start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Left {
    /// Records that some job had not read, or not committed.
    pub records: u64,
}

/// Why [`Engine::push`](crate::Engine::push) stored nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// There is no stream of this name.
    #[error("there is no stream `{stream}`")]
    NoStream {
        /// The name.
        stream: String,
    },
    /// The stream is a live topic, of which nothing is stored. Publish to the topic.
    #[error("stream `{stream}` is a live topic, and nothing of it is stored: publish to its topic")]
    Live {
        /// The stream.
        stream: String,
    },
    /// The rows are none of this stream. Correct them, or create another stream.
    #[error("stream `{stream}` does not take the batch: {reason}")]
    Rows {
        /// The stream.
        stream: String,
        /// What is wrong.
        reason: String,
    },
    /// The database refused the write.
    #[error("could not store the batch")]
    Write(#[from] edge_db::WriteError),
    /// The engine was shut down.
    #[error("engine is closed")]
    Closed,
}

/// Why [`Engine::replay`](crate::Engine::replay) ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// There is no stream of this name.
    #[error("there is no stream `{stream}`")]
    NoStream {
        /// The name.
        stream: String,
    },
    /// The stream is a live topic, of which nothing is stored. Publish to the topic.
    #[error("stream `{stream}` is a live topic, and nothing of it is stored: publish to its topic")]
    Live {
        /// The stream.
        stream: String,
    },
    /// The file cannot be opened, or not be replayed into this stream. Nothing is stored.
    #[error("could not replay {}: {reason}", path.display())]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The file cannot be read further. What is in front is stored.
    #[error("could not read {} behind {stored} records: {reason}", path.display())]
    Line {
        /// The file.
        path: std::path::PathBuf,
        /// Records that are stored.
        stored: u64,
        /// What is wrong.
        reason: String,
    },
    /// The database refused a write. What is in front is stored.
    #[error("could not store more than {stored} records")]
    Write {
        /// Records that are stored.
        stored: u64,
        /// What the database said.
        source: edge_db::WriteError,
    },
    /// The engine was shut down.
    #[error("engine is closed")]
    Closed,
}

impl From<PushError> for ReplayError {
    fn from(error: PushError) -> ReplayError {
        match error {
            PushError::NoStream { stream } => ReplayError::NoStream { stream },
            PushError::Live { stream } => ReplayError::Live { stream },
            _ => ReplayError::Closed,
        }
    }
}
