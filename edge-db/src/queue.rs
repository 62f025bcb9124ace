//! Where batches wait for the committer, and what waits for a batch.
//!
//! One thread at a time has the committer, and so the turn: its own thread, or a writer that finds
//! nobody else there and saves itself two switches between threads.

mod grouping;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use event_listener::{Event, EventListener, Listener};
use parking_lot::{Condvar, Mutex, MutexGuard};

use grouping::Grouping;

use crate::batch::{Batch, Op, Receipt};
use crate::committer::Committer;
use crate::db::Shared;
use crate::error::WriteError;

/// The outcome of one batch.
pub(crate) type Outcome = Result<Receipt, WriteError>;

/// A batch on its way to the disk.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) ops: Vec<Op>,
    pub(crate) bytes: usize,
    /// How long it may be visible and not durable; `None`: not at all.
    pub(crate) within: Option<Duration>,
    pub(crate) done: oneshot::Sender<Outcome>,
}

impl Pending {
    fn new(batch: Batch, done: oneshot::Sender<Outcome>) -> Pending {
        Pending { bytes: batch.bytes(), ops: batch.ops, within: batch.within, done }
    }
}

/// Bounded by bytes: who comes to a full queue waits. A batch larger than the limit goes in when
/// the queue is empty.
#[derive(Debug)]
pub(crate) struct Queue {
    limit_bytes: usize,
    state: Mutex<State>,
    work: Condvar,
    room: Event,
}

#[derive(Debug, Default)]
struct State {
    pending: VecDeque<Pending>,
    bytes: usize,
    /// `None` while somebody has the turn.
    committer: Option<Box<Committer>>,
    /// Batches of whoever has it.
    committing: usize,
    /// When the committer wants the turn without a batch.
    due: Option<Instant>,
    grouping: Grouping,
    /// How many batches the committer's thread waits for.
    wanted: usize,
    /// Whether the committer should look up without a batch.
    poked: bool,
    /// Why nothing more comes in.
    refusing: Option<WriteError>,
    /// Whether what is in still goes to disk.
    draining: bool,
    /// Who had the committer panicked.
    is_lost: bool,
    /// Nobody commits any more.
    stopped: bool,
}

/// The committer, and what is to be committed.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) committer: Box<Committer>,
    pub(crate) group: Vec<Pending>,
}

impl State {
    fn refuse_pending(&mut self) {
        let refusal = self.refusing.clone().unwrap_or(WriteError::Closed);
        for pending in self.pending.drain(..) {
            // Nobody need wait for the outcome.
            drop(pending.done.send(Err(refusal.clone())));
        }
        self.bytes = 0;
    }
}

impl Queue {
    pub(crate) fn new(limit_bytes: usize) -> Queue {
        let state = Mutex::new(State { draining: true, ..State::default() });
        Queue { limit_bytes, state, work: Condvar::new(), room: Event::new() }
    }

    /// Lets committing begin.
    pub(crate) fn start(&self, committer: Committer) {
        self.state.lock().committer = Some(Box::new(committer));
    }

    /// Takes the batch if there is room; gives it back if not.
    fn push(&self, batch: Batch) -> Result<oneshot::Receiver<Outcome>, Batch> {
        let (done, outcome) = oneshot::channel();
        let mut state = self.state.lock();
        if let Some(refusal) = batch.refusal().or_else(|| state.refusing.clone()) {
            drop(state);
            // The receiver is in this function, so it is there.
            done.send(Err(refusal)).expect("receiver waits below");
            return Ok(outcome);
        }
        let bytes = batch.bytes();
        if state.bytes > 0 && state.bytes + bytes > self.limit_bytes {
            return Err(batch);
        }
        state.bytes += bytes;
        state.pending.push_back(Pending::new(batch, done));
        // Whoever has the turn will look for it.
        let wakes = state.committer.is_some() && state.pending.len() >= state.wanted;
        drop(state);
        if wakes {
            self.work.notify_all();
        }
        Ok(outcome)
    }

    /// Gives the turn to who brings this batch, if nobody else wants it; else the batch back.
    fn lead(&self, batch: Batch) -> Result<(Turn, oneshot::Receiver<Outcome>), Batch> {
        let mut state = self.state.lock();
        let is_alone = state.pending.is_empty() && !state.poked && state.grouping.is_lone();
        if !is_alone || state.refusing.is_some() || batch.refusal().is_some() {
            return Err(batch);
        }
        let Some(committer) = state.committer.take() else { return Err(batch) };
        state.committing = 1;
        drop(state);
        let (done, outcome) = oneshot::channel();
        Ok((Turn { committer, group: vec![Pending::new(batch, done)] }, outcome))
    }

    /// Waits for work and takes all of it, up to `most_bytes`; nothing if it was poked or the
    /// committer is due. `None` once closed and drained.
    pub(crate) fn take_turn(&self, most_bytes: usize) -> Option<Turn> {
        let mut state = self.state.lock();
        loop {
            let has_work = !state.pending.is_empty() || state.refusing.is_some() || state.poked;
            let due = state.due;
            match due {
                _ if state.committer.is_none() && state.is_lost => return None,
                _ if state.committer.is_none() => self.work.wait(&mut state),
                _ if has_work => break,
                None => self.work.wait(&mut state),
                Some(due) if self.work.wait_until(&mut state, due).timed_out() => {
                    state.poked = true;
                }
                Some(_) => {}
            }
        }
        self.wait_for_others(&mut state, most_bytes);
        if !state.draining {
            state.refuse_pending();
        }
        let mut group_bytes = 0;
        let mut group = Vec::new();
        while let Some(next) = state.pending.front() {
            if !group.is_empty() && group_bytes + next.bytes > most_bytes {
                break;
            }
            group_bytes += next.bytes;
            group.extend(state.pending.pop_front());
        }
        state.bytes -= group_bytes;
        let poked = std::mem::take(&mut state.poked) && state.refusing.is_none();
        if group.is_empty() && !poked {
            return None;
        }
        let committer = state.committer.take().expect("nobody else has the turn");
        state.committing = group.len();
        drop(state);
        self.room.notify(usize::MAX);
        Some(Turn { committer, group })
    }

    /// Waits for batches that are likely to come, so that one sync has them all.
    fn wait_for_others(&self, state: &mut MutexGuard<'_, State>, most_bytes: usize) {
        let is_urgent = |state: &State| state.poked || state.refusing.is_some();
        if state.pending.is_empty() || state.bytes >= most_bytes || is_urgent(state) {
            return;
        }
        let Some((wanted, patience)) = state.grouping.wait(state.pending.len()) else { return };
        state.wanted = wanted;
        let waits = |state: &mut State| state.pending.len() < wanted && !is_urgent(state);
        let in_vain = self.work.wait_while_for(state, waits, patience).timed_out();
        state.wanted = 0;
        state.grouping.waited(!in_vain);
    }

    /// Gives the turn back after so many batches, which took so long.
    pub(crate) fn end_turn(
        &self,
        committer: Box<Committer>,
        due: Option<Instant>,
        batches: usize,
        took: Duration,
    ) {
        let mut state = self.state.lock();
        state.committer = Some(committer);
        state.committing = 0;
        let came = state.pending.len();
        state.grouping.ended(batches, came, took);
        let is_wanted = came > 0 || state.poked || state.refusing.is_some() || state.due != due;
        state.due = due;
        drop(state);
        if is_wanted {
            self.work.notify_all();
        }
    }

    /// Says that there will be no committer any more, and nothing stored.
    pub(crate) fn lose(&self) {
        let mut state = self.state.lock();
        state.is_lost = true;
        state.refusing.get_or_insert(WriteError::Closed);
        state.refuse_pending();
        drop(state);
        self.work.notify_all();
        self.room.notify(usize::MAX);
    }

    /// Takes the committer for good, once closed.
    pub(crate) fn dismiss(&self) -> Option<Box<Committer>> {
        self.state.lock().committer.take()
    }

    /// Lets the committer look up, without a batch: its next group may be empty.
    pub(crate) fn poke(&self) {
        self.state.lock().poked = true;
        self.work.notify_all();
    }

    /// Refuses everything from now on; with `drain`, what is in the queue is still stored.
    pub(crate) fn close(&self, refusal: WriteError, drain: bool) {
        let mut state = self.state.lock();
        state.refusing.get_or_insert(refusal);
        state.draining &= drain;
        drop(state);
        self.work.notify_all();
        self.room.notify(usize::MAX);
    }

    /// Says that the committer is gone.
    pub(crate) fn stopped(&self) {
        self.state.lock().stopped = true;
        self.work.notify_all();
    }

    /// Waits until the committer is gone; else the number of batches it still has.
    pub(crate) fn wait_stopped(&self, deadline: Duration) -> Result<(), usize> {
        let mut state = self.state.lock();
        let timeout =
            self.work.wait_while_for(&mut state, |state| !state.stopped, deadline).timed_out();
        if timeout && !state.stopped {
            return Err(state.pending.len() + state.committing);
        }
        Ok(())
    }

    /// Batches and bytes that wait.
    pub(crate) fn depth(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.pending.len(), state.bytes)
    }
}

/// The outcome of [`Batch::commit_async`], once the batch is on disk.
///
/// # Cancel safety
/// Dropping it does not take back a batch that is in the queue; one that still waits for room is
/// not stored.
#[must_use = "a batch that waits for room in the queue is stored only if this is awaited"]
pub struct Commit {
    shared: Arc<Shared>,
    step: Step,
}

enum Step {
    WaitsForRoom(Box<Batch>, Option<EventListener>),
    Queued(oneshot::Receiver<Outcome>),
    Done,
}

impl Commit {
    /// The commit of a batch that is in the queue; the batch if there is no room for it.
    pub(crate) fn try_begin(shared: &Arc<Shared>, batch: Batch) -> Result<Commit, Batch> {
        let step = Step::Queued(shared.queue.push(batch)?);
        Ok(Commit { shared: Arc::clone(shared), step })
    }

    pub(crate) fn begin(shared: &Arc<Shared>, batch: Batch) -> Commit {
        let step = match shared.queue.push(batch) {
            Ok(outcome) => Step::Queued(outcome),
            Err(batch) => Step::WaitsForRoom(Box::new(batch), None),
        };
        Commit { shared: Arc::clone(shared), step }
    }

    /// Commits a batch and blocks until it is on disk.
    pub(crate) fn run(shared: &Arc<Shared>, batch: Batch) -> Outcome {
        match shared.queue.lead(batch) {
            Ok((turn, outcome)) => {
                turn.take(&shared.queue);
                outcome.recv().unwrap_or(Err(WriteError::Closed))
            }
            Err(batch) => Commit::begin(shared, batch).wait(),
        }
    }

    /// Whether the batch is in the queue. While it is not, batches made later may overtake it.
    pub fn is_queued(&self) -> bool {
        !matches!(self.step, Step::WaitsForRoom(..))
    }

    /// Blocks until the batch is on disk.
    ///
    /// # Errors
    /// When nothing of it was stored.
    pub fn wait(self) -> Result<Receipt, WriteError> {
        let mut step = self.step;
        loop {
            step = match step {
                Step::Queued(outcome) => return outcome.recv().unwrap_or(Err(WriteError::Closed)),
                Step::WaitsForRoom(batch, listener) => {
                    if let Some(listener) = listener {
                        listener.wait();
                    }
                    enter(&self.shared.queue, *batch)
                }
                Step::Done => return Err(WriteError::Closed),
            }
        }
    }
}

/// Tries to get into the queue. The listener is there before the second look at the queue, so
/// that room made in between is not missed.
fn enter(queue: &Queue, batch: Batch) -> Step {
    let listener = queue.room.listen();
    match queue.push(batch) {
        Ok(outcome) => Step::Queued(outcome),
        Err(batch) => Step::WaitsForRoom(Box::new(batch), Some(listener)),
    }
}

impl Future for Commit {
    type Output = Result<Receipt, WriteError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            match &mut this.step {
                Step::Queued(outcome) => {
                    let outcome = ready!(Pin::new(outcome).poll(context));
                    this.step = Step::Done;
                    return Poll::Ready(outcome.unwrap_or(Err(WriteError::Closed)));
                }
                Step::WaitsForRoom(_, listener) => {
                    if let Some(listener) = listener {
                        ready!(Pin::new(listener).poll(context));
                    }
                }
                Step::Done => return Poll::Ready(Err(WriteError::Closed)),
            }
            if let Step::WaitsForRoom(batch, _) = std::mem::replace(&mut this.step, Step::Done) {
                this.step = enter(&this.shared.queue, *batch);
            }
        }
    }
}

impl std::fmt::Debug for Commit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let step = match self.step {
            Step::WaitsForRoom(..) => "waits for room",
            Step::Queued(_) => "queued",
            Step::Done => "done",
        };
        f.debug_tuple("Commit").field(&step).finish()
    }
}
