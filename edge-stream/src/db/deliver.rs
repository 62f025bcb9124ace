//! Carries the rows of a sink from its Log to where they go, and a cursor behind them: each at
//! least once, and in order.

use std::time::Duration;

use async_trait::async_trait;
use edge_db::{Batch, Db, Log, Record, Seq};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use super::blocking;
use super::catalog::PUBLISHER;

/// Records between two commits of the position; as many go out twice after a crash.
const STEP_RECORDS: usize = 1000;

/// The pause when a target took nothing, or the database failed.
const RETRY: Duration = Duration::from_secs(1);

/// What takes the rows of a sink.
#[async_trait]
pub(crate) trait Target: Send + 'static {
    /// Begins where the last commit has left it; called again after each failure.
    async fn open(&mut self) -> Result<(), Stopped> {
        Ok(())
    }

    /// Takes these records, as many as it can: how many that were, and what kept it from the rest.
    /// What it has to remember with the position goes into the batch.
    async fn take(&mut self, records: &[Record], batch: &mut Batch)
    -> (usize, Result<(), Stopped>);
}

/// Why a target takes nothing more.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// It is gone.
    Closed,
    /// It may take the rest later.
    Retry(String),
}

/// A sink whose rows are on their way. Dropping it ends it where it is.
#[derive(Debug)]
pub(crate) struct Delivering {
    log: Log,
    reached: watch::Receiver<Reached>,
    task: JoinHandle<()>,
}

/// How far a sink has come in its own Log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reached {
    pub(crate) position: Seq,
    /// What keeps it from the rest.
    pub(crate) error: Option<String>,
}

impl Drop for Delivering {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Delivering {
    pub(crate) fn start(db: Db, log: Log, target: impl Target) -> Delivering {
        let (reached, seen) = watch::channel(Reached::default());
        let carrier = Carrier { db, log: log.clone(), target, reached };
        Delivering { log, reached: seen, task: tokio::spawn(carrier.run()) }
    }

    /// What there is to wait for.
    pub(crate) fn watch(&self) -> (Log, watch::Receiver<Reached>) {
        (self.log.clone(), self.reached.clone())
    }

    /// Records that are not where they go to.
    pub(crate) fn waiting(&self) -> u64 {
        let position = self.reached.borrow().position;
        self.log.bounds().map_or(0, |bounds| bounds.end.since(position.max(bounds.start)))
    }

    pub(crate) fn reached(&self) -> Reached {
        self.reached.borrow().clone()
    }
}

/// Waits until a sink has come to this position; else says how far it is.
pub(crate) async fn reach(
    mut reached: watch::Receiver<Reached>,
    end: Seq,
    deadline: Instant,
) -> Result<(), Reached> {
    let is_there = |reached: &Reached| reached.position >= end;
    drop(timeout_at(deadline, reached.wait_for(is_there)).await);
    let reached = reached.borrow();
    if is_there(&reached) { Ok(()) } else { Err(reached.clone()) }
}

struct Carrier<T> {
    db: Db,
    log: Log,
    target: T,
    reached: watch::Sender<Reached>,
}

impl<T: Target> Carrier<T> {
    async fn run(mut self) {
        while let Err(Stopped::Retry(error)) = self.carry_all().await {
            self.reached.send_modify(|reached| reached.error = Some(error));
            sleep(RETRY).await;
        }
    }

    /// Ends with an error only.
    async fn carry_all(&mut self) -> Result<(), Stopped> {
        let mut appended = self.log.watch();
        let log = self.log.clone();
        let cursor = blocking(move || log.cursor(PUBLISHER)).await.map_err(|_| Stopped::Closed)?;
        let cursor = cursor.map_err(retry)?;
        let mut position = cursor.position().map_err(retry)?;
        self.target.open().await?;
        loop {
            self.reached.send_modify(|reached| reached.position = position);
            let (log, from) = (self.log.clone(), position);
            let records = blocking(move || log.read(from, STEP_RECORDS)).await;
            let records = records.map_err(|_| Stopped::Closed)?.map_err(retry)?;
            if records.is_empty() {
                appended.changed().await;
                continue;
            }
            let records: Vec<_> = records.into_iter().collect();
            let mut batch = self.db.batch();
            let (taken, outcome) = self.target.take(&records, &mut batch).await;
            position = records[..taken].last().map_or(position, |last| last.seq().next());
            // A crash here carries these once more, with the same numbers.
            batch.advance(&cursor, position);
            batch.commit_async().await.map_err(retry)?;
            self.reached.send_modify(|reached| reached.error = None);
            outcome?;
        }
    }
}

fn retry(error: impl std::error::Error) -> Stopped {
    Stopped::Retry(crate::error::chain(&error))
}
