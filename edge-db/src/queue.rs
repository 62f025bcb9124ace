//! Where batches wait for the committer, and what waits for a batch.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use event_listener::{Event, EventListener, Listener};
use parking_lot::{Condvar, Mutex};

use crate::batch::{Batch, Op, Receipt};
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
    /// Batches that the committer has taken and not finished.
    committing: usize,
    /// Whether the committer should look up without a batch.
    poked: bool,
    /// Why nothing more comes in.
    refusing: Option<WriteError>,
    /// Whether what is in still goes to disk.
    draining: bool,
    stopped: bool,
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
        state.pending.push_back(Pending { ops: batch.ops, bytes, within: batch.within, done });
        drop(state);
        self.work.notify_all();
        Ok(outcome)
    }

    /// Waits for work and takes all of it, up to `most_bytes`; nothing if it was poked or the
    /// deadline has passed, `None` once closed and drained.
    pub(crate) fn take_group(
        &self,
        most_bytes: usize,
        deadline: Option<Instant>,
    ) -> Option<Vec<Pending>> {
        let mut state = self.state.lock();
        state.committing = 0;
        while state.pending.is_empty() && state.refusing.is_none() && !state.poked {
            match deadline {
                None => self.work.wait(&mut state),
                Some(deadline) if self.work.wait_until(&mut state, deadline).timed_out() => {
                    state.poked = true;
                }
                Some(_) => {}
            }
        }
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
        state.committing = group.len();
        let poked = std::mem::take(&mut state.poked) && state.refusing.is_none();
        drop(state);
        self.room.notify(usize::MAX);
        (!group.is_empty() || poked).then_some(group)
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
