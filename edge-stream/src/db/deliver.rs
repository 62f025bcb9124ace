//! Carries the rows of a sink from its Log to where they go, and a cursor behind them: each at
//! least once, and in order.

pub(crate) mod callback;
pub(crate) mod file;

use std::time::Duration;

use async_trait::async_trait;
use edge_db::{Batch, Cursor, Db, Log, Record, Seq, Snapshot};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use super::{FEW_BYTES, here_if};

/// Records between two commits of the position; as many go out twice after a crash.
const STEP_RECORDS: usize = 1000;

/// The pause when a target took nothing, or the database failed.
const RETRY: Duration = Duration::from_secs(1);

/// What takes the rows of a sink.
#[async_trait]
pub(crate) trait Target: Send + 'static {
    /// Begins where the last commit has left it at this moment, at which the position was read, too;
    /// called again after each failure.
    async fn open(&mut self, _at: Snapshot) -> Result<(), Stopped> {
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
    /// In the sink's own Log.
    cursor: Cursor,
    by: By,
}

#[derive(Debug)]
enum By {
    Task {
        reached: watch::Receiver<Reached>,
        task: JoinHandle<()>,
    },
    /// The application, which comes for them.
    Channel(watch::Sender<()>),
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
        if let By::Task { task, .. } = &self.by {
            task.abort();
        }
    }
}

impl Delivering {
    pub(crate) fn start(db: Db, cursor: Cursor, target: impl Target) -> Delivering {
        let (reached, seen) = watch::channel(Reached::default());
        let carrier = Carrier { db, cursor: cursor.clone(), target, reached };
        let by = By::Task { reached: seen, task: tokio::spawn(carrier.run()) };
        Delivering { cursor, by }
    }

    pub(crate) fn channel(cursor: Cursor) -> Delivering {
        Delivering { cursor, by: By::Channel(watch::Sender::new(())) }
    }

    /// Takes the channel, for one at a time: the position that it has come to, and what ends with
    /// the sink.
    pub(crate) fn take_channel(&self) -> Option<(Cursor, watch::Receiver<()>)> {
        match &self.by {
            By::Channel(open) if open.receiver_count() == 0 => {
                Some((self.cursor.clone(), open.subscribe()))
            }
            _ => None,
        }
    }

    /// What there is to wait for; nothing where the application comes for it when it likes.
    pub(crate) fn watch(&self) -> Option<(Log, watch::Receiver<Reached>)> {
        match &self.by {
            By::Task { reached, .. } => Some((self.cursor.log().clone(), reached.clone())),
            By::Channel(_) => None,
        }
    }

    /// Records that are not where they go to.
    pub(crate) fn waiting(&self) -> u64 {
        let bounds = self.cursor.log().bounds();
        let waiting = self.cursor.position().and_then(|position| Ok(bounds?.end.since(position)));
        waiting.unwrap_or(0)
    }

    /// What keeps them from going there.
    pub(crate) fn error(&self) -> Option<String> {
        match &self.by {
            By::Task { reached, .. } => reached.borrow().error.clone(),
            By::Channel(_) => None,
        }
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
    cursor: Cursor,
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
        let mut appended = self.cursor.log().watch();
        let at = self.db.snapshot().map_err(retry)?;
        let mut position = at.position(&self.cursor).map_err(retry)?;
        self.target.open(at).await?;
        let mut seen = None;
        loop {
            self.reached.send_modify(|reached| reached.position = position);
            let (log, from) = (self.cursor.log().clone(), position);
            let state = log.state().map_err(retry)?;
            let unread = seen.and_then(|seen| state.appended_bytes.checked_sub(seen));
            let is_brief = unread.is_some_and(|unread| unread <= FEW_BYTES);
            let records = here_if(is_brief, move || log.read(from, STEP_RECORDS)).await;
            let records = records.map_err(|_| Stopped::Closed)?.map_err(retry)?;
            seen = (records.next() >= state.next).then_some(state.appended_bytes);
            if records.is_empty() {
                appended.changed().await;
                continue;
            }
            let records: Vec<_> = records.into_iter().collect();
            let mut batch = self.db.batch();
            let (taken, outcome) = self.target.take(&records, &mut batch).await;
            position = records[..taken].last().map_or(position, |last| last.seq().next());
            // A crash here carries these once more, with the same numbers.
            batch.advance(&self.cursor, position);
            batch.commit_async().await.map_err(retry)?;
            self.reached.send_modify(|reached| reached.error = None);
            outcome?;
        }
    }
}

fn retry(error: impl std::error::Error) -> Stopped {
    Stopped::Retry(crate::error::chain(&error))
}
