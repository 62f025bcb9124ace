//! The handle: which Logs go where, how it stands, and the end.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use edge_db::{Db, Log};
use parking_lot::Mutex;
use tokio::task::JoinSet;

use crate::accounting::Account;
use crate::edge_id::{EdgeId, is_path_word};
use crate::error::StartError;
use crate::outbox::Grouping;
use crate::remote::Remote;
use crate::task::{Control, LogTask, blocking};

/// Replicates Logs into a landing zone, every row exactly once.
///
/// One task for each Log. Dropping the last handle ends them where they are: what is under way
/// is taken up again by the next start, with the same bytes.
#[derive(Debug, Clone)]
pub struct Syncer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    controls: Vec<Arc<Control>>,
    /// Dropping it aborts the tasks.
    tasks: Mutex<JoinSet<()>>,
}

/// What a shutdown left in the Logs. It is sent after the next start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Left {
    /// Rows that did not land.
    pub pending: u64,
}

/// How a [`Syncer`] is started.
#[derive(Debug)]
#[must_use]
pub struct SyncerBuilder {
    db: Db,
    edge: String,
    folder: Option<PathBuf>,
    logs: Vec<Log>,
    max_rows: u64,
    linger: Duration,
}

impl SyncerBuilder {
    /// The name of this edge in the landing zone, unique among all that write there; `edge`
    /// without this call. 1 to 64 letters, digits, `-` and `_`.
    pub fn edge(mut self, id: impl Into<String>) -> SyncerBuilder {
        self.edge = id.into();
        self
    }

    /// Lands in a folder of this machine, which may be a mounted share that knows hard links.
    pub fn folder(mut self, path: impl Into<PathBuf>) -> SyncerBuilder {
        self.folder = Some(path.into());
        self
    }

    /// Replicates this Log, from its oldest record on.
    pub fn log(mut self, log: &Log) -> SyncerBuilder {
        self.logs.push(log.clone());
        self
    }

    /// The most rows in a segment; 10,000 without this call. Parquet pays from about 1,000 on.
    pub fn max_segment_rows(mut self, rows: u64) -> SyncerBuilder {
        self.max_rows = rows.max(1);
        self
    }

    /// How long a row waits for others to share a segment with; a minute without this call.
    pub fn linger(mut self, wait: Duration) -> SyncerBuilder {
        self.linger = wait;
        self
    }

    /// Probes the landing zone and starts replication. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// See [`StartError`].
    ///
    /// # Cancel safety
    /// Nothing has started when the future is dropped.
    pub async fn start(self) -> Result<Syncer, StartError> {
        let edge: EdgeId = self.edge.parse()?;
        let wrong_name = self.logs.iter().find(|log| !is_path_word(log.name()));
        if let Some(log) = wrong_name {
            return Err(StartError::LogName { log: log.name().to_owned() });
        }
        let remote = Remote::folder(self.folder.ok_or(StartError::NoRemote)?)?;
        remote.probe(edge.as_str()).await?;
        let grouping = Grouping { max_rows: self.max_rows, linger: self.linger };
        let mut tasks = JoinSet::new();
        let mut controls = Vec::new();
        for log in self.logs {
            let (db, edge, remote) = (self.db.clone(), edge.clone(), remote.clone());
            let task = blocking(move || LogTask::open(&db, log, &edge, remote, grouping)).await??;
            controls.push(task.control());
            tasks.spawn(task.run());
        }
        Ok(Syncer { inner: Arc::new(Inner { controls, tasks: Mutex::new(tasks) }) })
    }
}

impl Syncer {
    /// How to start one over this database.
    pub fn builder(db: &Db) -> SyncerBuilder {
        SyncerBuilder {
            db: db.clone(),
            edge: "edge".to_owned(),
            folder: None,
            logs: Vec::new(),
            max_rows: 10_000,
            linger: Duration::from_secs(60),
        }
    }

    /// Where every accepted row is, for each Log, in the order of [`SyncerBuilder::log`].
    ///
    /// Reads the database: microseconds, and a disk read where its pages are not cached.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn accounting(&self) -> Result<Vec<Account>, edge_db::ReadError> {
        self.inner.controls.iter().map(|control| control.account()).collect()
    }

    /// Sends what waits, without waiting for more rows, until the deadline; then stops. Calling
    /// it again does nothing.
    ///
    /// # Errors
    /// When the database cannot be read.
    ///
    /// # Cancel safety
    /// The tasks have been told to drain, and end by themselves.
    pub async fn shutdown(&self, deadline: Duration) -> Result<Left, edge_db::ReadError> {
        for control in &self.inner.controls {
            control.drain();
        }
        let mut tasks = std::mem::take(&mut *self.inner.tasks.lock());
        let ended = async { while tasks.join_next().await.is_some() {} };
        // What has not ended by then is aborted, and said below.
        drop(tokio::time::timeout(deadline, ended).await);
        tasks.shutdown().await;
        let pending = self.accounting()?.iter().map(|account| account.pending).sum();
        Ok(Left { pending })
    }
}
