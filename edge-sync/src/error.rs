//! What can go wrong, one enum for each family of calls.

use std::path::PathBuf;

use edge_db::{OpenError, ReadError, WriteError};

/// Why a [`Syncer`](crate::Syncer) did not start. Nothing was sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// No remote was named.
    #[error("no remote: name one with `folder`")]
    NoRemote,
    /// The edge's name cannot stand in a path.
    #[error(transparent)]
    EdgeId(#[from] crate::EdgeIdError),
    /// A Log's name becomes a folder of the landing zone.
    #[error(
        "log `{log}` cannot be replicated under its name: use 1 to 64 letters, digits, `-` and `_`"
    )]
    LogName {
        /// The Log.
        log: String,
    },
    /// The folder cannot be created or written.
    #[error("cannot use {} as a landing zone", path.display())]
    Folder {
        /// The folder that was asked for.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The landing zone does not hold back a second writer, so it cannot be written exactly once.
    #[error("landing zone did not pass the probe: {reason}")]
    Probe {
        /// What it did.
        reason: String,
    },
    /// The runtime is shutting down.
    #[error("the tokio runtime is shutting down")]
    Runtime,
    /// The position could not be opened in the database.
    #[error("could not open the position of the replication")]
    Open(#[from] OpenError),
    /// The position could not be stored.
    #[error("could not store the position of the replication")]
    Write(#[from] WriteError),
    /// The position could not be read.
    #[error("could not read the position of the replication")]
    Read(#[from] ReadError),
}

/// What a remote answered. The syncer tries again by itself.
#[derive(Debug, thiserror::Error)]
#[error("landing zone did not take {object}")]
pub struct RemoteError {
    pub(crate) object: String,
    #[source]
    pub(crate) source: Box<dyn std::error::Error + Send + Sync>,
}

/// Why replication of one Log has stopped until it is started again. Rows stay in the Log.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StopReason {
    /// Another writer with this edge's name has written a segment that is not ours.
    #[error(
        "fenced: {object} in the landing zone is not what this edge wrote; another one uses its \
         name, or its data folder was copied. Give this edge another id"
    )]
    Fenced {
        /// The segment's path.
        object: String,
    },
    /// The runtime is shutting down.
    #[error("the tokio runtime is shutting down")]
    Runtime,
    /// The database refused a read.
    #[error("could not read the log")]
    Read(#[from] ReadError),
    /// The database refused a write.
    #[error("could not store the position of the replication")]
    Write(#[from] WriteError),
}

/// Why a landing zone could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ZoneError {
    /// The objects could not be listed or read.
    #[error("could not read {object}")]
    Read {
        /// The object or folder.
        object: String,
        /// What the store answered.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An object is no segment of ours.
    #[error("{object} is no segment: {reason}")]
    Segment {
        /// The object.
        object: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// An error and its causes, as one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}
