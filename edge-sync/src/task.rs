//! Does what the [`Outbox`](crate::outbox::Outbox) decides, for one Log: the clock, the database
//! and the remote are here.

use std::sync::Arc;

use bytes::Bytes;
use edge_db::{Batch, Cursor, Db, Log, ReadError, Seq, Table, Time};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::accounting::Account;
use crate::cutter::Cutter;
use crate::edge_id::EdgeId;
use crate::error::{StartError, StopReason, chain};
use crate::outbox::{Action, Answer, Backlog, Grouping, Intent, Outbox, Progress, Verdict};
use crate::remote::Remote;
use crate::zone;

/// The Table that holds the [`Progress`] of each Log, and the cursor's name in each Log.
const POSITION: &str = "sync.zone";

/// What the handle shares with the task.
#[derive(Debug)]
pub(crate) struct Control {
    log: Log,
    cursor: Cursor,
    progress: Table<String, Progress>,
    db: Db,
    drain: Notify,
    health: Mutex<Health>,
}

#[derive(Debug, Default)]
struct Health {
    failing: u32,
    trouble: Option<String>,
}

impl Control {
    pub(crate) fn drain(&self) {
        // A permit stays until the task takes it.
        self.drain.notify_one();
    }

    fn put_progress(&self, batch: &mut Batch, progress: &Progress) {
        let key = self.log.name().to_owned();
        let encoded = batch.insert(&self.progress, &key, progress);
        encoded.expect("a struct of numbers always encodes");
    }

    pub(crate) fn account(&self) -> Result<Account, ReadError> {
        let snapshot = self.db.snapshot()?;
        let end = snapshot.bounds(&self.log)?.end;
        let position = snapshot.position(&self.cursor)?;
        let log = self.log.name().to_owned();
        let progress = snapshot.get(&self.progress, &log)?;
        let progress = progress.unwrap_or_else(|| Progress::new(0, position));
        let health = self.health.lock();
        Ok(Account {
            log,
            accepted: end.since(progress.origin),
            landed: progress.landed,
            pending: end.since(position),
            dropped: progress.dropped,
            segments: progress.next_number,
            failing: health.failing,
            trouble: health.trouble.clone(),
        })
    }
}

/// The replication of one Log.
#[derive(Debug)]
pub(crate) struct LogTask {
    control: Arc<Control>,
    outbox: Outbox,
    cutter: Cutter,
    edge: EdgeId,
    remote: Remote,
    /// The bytes of the intended segment, where this process made them.
    encoded: Option<Bytes>,
    /// The time of the row at this position, so that waiting for company reads it once.
    oldest: Option<(Seq, Time)>,
    draining: bool,
}

impl LogTask {
    /// Takes up where the last process ended, or begins. Blocks for a few commits.
    pub(crate) fn open(
        db: &Db,
        log: Log,
        edge: &EdgeId,
        remote: Remote,
        grouping: Grouping,
    ) -> Result<LogTask, StartError> {
        let table = db.table::<String, Progress>(POSITION)?;
        let cursor = log.cursor(POSITION)?;
        let key = log.name().to_owned();
        let stored = table.get(&key)?;
        let begun = stored.is_some();
        let progress = match stored {
            Some(progress) => progress,
            None => Progress::new(Time::now().micros().cast_unsigned(), cursor.position()?),
        };
        let cutter = Cutter::new(log.clone(), edge.clone(), progress.epoch);
        let control = Control {
            log,
            cursor,
            progress: table,
            db: db.clone(),
            drain: Notify::new(),
            health: Mutex::default(),
        };
        if !begun {
            let mut batch = db.batch();
            control.put_progress(&mut batch, &progress);
            batch.commit()?;
        }
        Ok(LogTask {
            control: Arc::new(control),
            outbox: Outbox::new(grouping, progress),
            cutter,
            edge: edge.clone(),
            remote,
            encoded: None,
            oldest: None,
            draining: false,
        })
    }

    pub(crate) fn control(&self) -> Arc<Control> {
        Arc::clone(&self.control)
    }

    /// Runs until it has drained, was fenced, or the database ends.
    pub(crate) async fn run(mut self) {
        if let Err(reason) = self.replicate().await {
            self.control.health.lock().trouble = Some(chain(&reason));
        }
    }

    async fn replicate(&mut self) -> Result<(), StopReason> {
        let mut appended = self.control.log.watch();
        loop {
            match self.next()? {
                Action::Idle if self.draining => return Ok(()),
                Action::Idle => {
                    tokio::select! {
                        () = appended.changed() => {}
                        () = self.control.drain.notified() => self.begin_drain(),
                    }
                }
                Action::Wait(pause) => {
                    tokio::select! {
                        // New rows may fill a segment; a pause after a failure they do not end.
                        () = appended.changed(), if self.outbox.failures() == 0 => {}
                        () = tokio::time::sleep(pause) => {}
                        () = self.control.drain.notified() => self.begin_drain(),
                    }
                }
                Action::Cut { max_rows } => self.cut(max_rows).await?,
                Action::Upload(intent) => self.upload(intent).await?,
                Action::Stop => return Ok(()),
            }
        }
    }

    fn next(&mut self) -> Result<Action, ReadError> {
        let backlog = self.backlog()?;
        Ok(self.outbox.next(backlog, Time::now()))
    }

    fn begin_drain(&mut self) {
        self.draining = true;
        self.outbox.flush();
    }

    fn backlog(&mut self) -> Result<Backlog, ReadError> {
        let position = self.control.cursor.position()?;
        let rows = self.control.log.bounds()?.end.since(position);
        if self.oldest.is_none_or(|(at, _)| at != position) {
            let first = self.control.log.read(position, 1)?;
            self.oldest = first.iter().next().map(|record| (position, record.time()));
        }
        Ok(Backlog { rows, oldest: self.oldest.map(|(_, time)| time) })
    }

    async fn cut(&mut self, max_rows: u64) -> Result<(), StopReason> {
        let first = self.control.cursor.position()?;
        let cutter = self.cutter.clone();
        let cut = blocking(move || cutter.cut(first, max_rows)).await??;
        self.outbox.intend(cut.range.start, cut.range.end, cut.gap, cut.digest);
        self.encoded = Some(cut.bytes);
        let mut batch = self.control.db.batch();
        self.control.put_progress(&mut batch, self.outbox.progress());
        // A crash before this commit leaves nothing; after it, the next start uploads the same
        // rows as the same bytes.
        batch.commit_async().await?;
        Ok(())
    }

    async fn upload(&mut self, intent: Intent) -> Result<(), StopReason> {
        let path = zone::segment_path(self.control.log.name(), self.edge.as_str(), intent.number);
        let answer = match self.intended(intent).await? {
            Some(bytes) => self.remote.create(&path, bytes).await,
            None => match self.remote.digest(&path).await {
                Ok(Some(digest)) => Ok(Answer::Exists(digest)),
                Ok(None) => {
                    self.outbox.withdraw();
                    return Ok(());
                }
                Err(error) => Err(error),
            },
        };
        let trouble = answer.as_ref().err().map(|error| chain(error));
        let answer = answer.unwrap_or(Answer::Failed);
        match self.outbox.answered(answer, Time::now()) {
            Verdict::Landed { progress, cursor } => {
                self.encoded = None;
                let mut batch = self.control.db.batch();
                self.control.put_progress(&mut batch, &progress);
                batch.advance(&self.control.cursor, cursor);
                // A crash before this commit uploads again, and finds the segment there.
                batch.commit_async().await?;
            }
            Verdict::Retry => {}
            Verdict::Fenced => return Err(StopReason::Fenced { object: path }),
        }
        *self.control.health.lock() = Health { failing: self.outbox.failures(), trouble };
        Ok(())
    }

    /// The bytes of the intended segment: those that this process cut, or the same made again;
    /// `None` if they cannot be made again.
    async fn intended(&mut self, intent: Intent) -> Result<Option<Bytes>, StopReason> {
        if self.encoded.is_none() {
            let cutter = self.cutter.clone();
            let cut = blocking(move || cutter.again(&intent)).await??;
            self.encoded = (cut.digest == intent.digest).then_some(cut.bytes);
        }
        Ok(self.encoded.clone())
    }
}

/// The one place where this crate goes from async to blocking code.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RuntimeEnds> {
    tokio::task::spawn_blocking(work).await.map_err(|_| RuntimeEnds)
}

/// The runtime was shut down before the work was done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RuntimeEnds;

impl From<RuntimeEnds> for StopReason {
    fn from(_: RuntimeEnds) -> StopReason {
        StopReason::Runtime
    }
}

impl From<RuntimeEnds> for StartError {
    fn from(_: RuntimeEnds) -> StartError {
        StartError::Runtime
    }
}
