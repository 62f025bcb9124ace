//! From memory into the tree, beside the commits.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::{Base, Layers, Store};
use crate::Time;
use crate::error::StoreError;
use crate::memory::MemoryTable;
use crate::revision::Revision;
use crate::tree::{Compaction, Sweep, Tree};

/// Between two attempts to settle on a disk that refuses: writes go on within 100 ms of its
/// recovery, and a broken disk is not asked all the time.
const RETRY: Duration = Duration::from_millis(50);

/// Where settling stands.
#[derive(Debug, Default)]
pub(super) struct Settling {
    state: Mutex<State>,
    /// Told when a table has settled, or could not, or is there to be settled.
    changed: Condvar,
    /// Whether somebody wants the active table frozen before it is full.
    wanted: AtomicBool,
    settled: AtomicU64,
    /// How often the committer waited because both tables were full.
    stalls: AtomicU64,
    /// Tables that have settled, and how many microseconds the last one took.
    settlings: AtomicU64,
    last_micros: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    /// Everything in the frozen table is at most this old.
    frozen: Option<Revision>,
    /// Why the last attempt failed.
    failed: Option<StoreError>,
    /// Why the committer could not freeze a table when it was asked to.
    refused: Option<StoreError>,
    /// Whether a read of the tree failed.
    is_unreadable: bool,
    /// Whether what has expired is being dropped.
    sweeping: bool,
    /// Whether somebody waits for a compaction.
    compact: bool,
    /// How many there were, and how the last one ended.
    compactions: u64,
    compacted: Option<Result<(), StoreError>>,
    stop: bool,
    stopped: bool,
}

impl State {
    fn end_compaction(&mut self, ended: Result<(), StoreError>) {
        if std::mem::take(&mut self.compact) {
            self.compactions += 1;
            self.compacted = Some(ended);
        }
    }
}

impl Settling {
    pub(super) fn begin(&self, settled: Revision) {
        self.settled.store(settled.get(), Ordering::Release);
    }

    /// Has the tree opened again.
    pub(super) fn read_failed(&self) {
        self.state.lock().is_unreadable = true;
        self.changed.notify_all();
    }
}

/// For the committer.
impl Store {
    /// Whether the active table should be frozen. `journal_bytes` were written since the last one
    /// was.
    pub(crate) fn wants_freeze(&self, journal_bytes: u64) -> bool {
        let Ok(layers) = self.layers() else { return false };
        let bytes = layers.active.bytes();
        let full =
            bytes >= self.limits.table_bytes || journal_bytes >= self.limits.journal_bytes / 2;
        full || (self.is_checkpoint_wanted()
            && layers.frozen.is_none()
            && !layers.active.is_empty())
    }

    /// Freezes the active table. Waits while the other one still settles; an error if that does
    /// not get on.
    pub(crate) fn freeze(&self) -> Result<(), StoreError> {
        let mut state = self.settling.state.lock();
        let mut waited = false;
        while state.frozen.is_some() {
            if let Some(error) = &state.failed {
                return Err(error.clone());
            }
            if state.stop {
                return Err(StoreError::new("settle", "database is closing"));
            }
            if !std::mem::replace(&mut waited, true) {
                self.settling.stalls.fetch_add(1, Ordering::Relaxed);
            }
            self.settling.changed.wait(&mut state);
        }
        self.settling.wanted.store(false, Ordering::Relaxed);
        if self.layers().is_ok_and(|now| !now.active.is_empty()) {
            let active = Arc::new(MemoryTable::default());
            self.replace_layers(|now| Layers {
                active: Arc::clone(&active),
                frozen: Some(Arc::clone(&now.active)),
                base: Arc::clone(&now.base),
            });
            state.frozen = Some(self.visible());
        }
        drop(state);
        self.settling.changed.notify_all();
        Ok(())
    }

    /// Committer and settling thread may both do this at once.
    fn replace_layers(&self, with: impl Fn(&Layers) -> Layers) {
        self.layers.rcu(|now| now.as_ref().map(|now| Arc::new(with(now))));
    }

    /// Everything up to here is in the tree.
    pub(crate) fn settled(&self) -> Revision {
        Revision::new(self.settling.settled.load(Ordering::Acquire))
    }

    pub(crate) fn is_checkpoint_wanted(&self) -> bool {
        self.settling.wanted.load(Ordering::Relaxed)
    }

    /// How often commits waited because both tables were full.
    pub(crate) fn stalls(&self) -> u64 {
        self.settling.stalls.load(Ordering::Relaxed)
    }
}

/// For everybody else.
impl Store {
    /// How many tables have settled, and how long the last one took.
    pub(crate) fn settlings(&self) -> (u64, Duration) {
        let last = self.settling.last_micros.load(Ordering::Relaxed);
        (self.settling.settlings.load(Ordering::Relaxed), Duration::from_micros(last))
    }

    /// Waits until everything up to `revision` is in the tree, and what has expired is not. `poke`
    /// tells the committer to look whether something is wanted.
    pub(crate) fn checkpoint(&self, revision: Revision, poke: impl Fn()) -> Result<(), StoreError> {
        let mut state = self.settling.state.lock();
        state.refused = None;
        while self.settled() < revision {
            if let Some(error) = state.failed.as_ref().or(state.refused.as_ref()) {
                return Err(error.clone());
            }
            if state.stop {
                return Err(StoreError::new("settle", "database is closing"));
            }
            self.settling.wanted.store(true, Ordering::Relaxed);
            poke();
            self.settling.changed.wait(&mut state);
        }
        while state.sweeping && !state.stop {
            if let Some(error) = &state.failed {
                return Err(error.clone());
            }
            self.settling.changed.wait(&mut state);
        }
        Ok(())
    }

    /// Has the data file written anew, and waits for it. One that is under way counts.
    pub(crate) fn compact(&self) -> Result<(), StoreError> {
        let mut state = self.settling.state.lock();
        let before = state.compactions;
        state.compact = true;
        self.settling.changed.notify_all();
        while state.compactions == before {
            if state.stop {
                return Err(StoreError::new("compact", "database is closing"));
            }
            self.settling.changed.wait(&mut state);
        }
        state.compacted.clone().unwrap_or(Ok(()))
    }

    /// Has what was removed settle, so that its space is known to be free.
    pub(crate) fn want_space(&self) {
        self.settling.wanted.store(true, Ordering::Relaxed);
    }

    /// Tells those who wait for a checkpoint that the committer cannot.
    pub(crate) fn refuse_checkpoint(&self, error: StoreError) {
        self.settling.state.lock().refused = Some(error);
        self.settling.changed.notify_all();
    }

    /// Ends the settling thread, once it has done what it is at.
    pub(crate) fn stop(&self) {
        self.settling.state.lock().stop = true;
        self.settling.changed.notify_all();
    }

    /// Waits until the settling thread is gone, then closes the file for all new reads; false if
    /// it was not gone in time.
    pub(crate) fn close(&self, deadline: Duration) -> bool {
        let mut state = self.settling.state.lock();
        state.stop = true;
        self.settling.changed.notify_all();
        let wait = |state: &mut State| !state.stopped;
        if self.settling.changed.wait_while_for(&mut state, wait, deadline).timed_out() {
            return false;
        }
        if let Some(layers) = self.layers.swap(None) {
            // Somebody may still read from it, while others open the folder and write.
            layers.base.tree.close();
        }
        drop(self.lock.lock().take());
        true
    }
}

/// What the settling thread owns.
#[derive(Debug)]
struct Settler<'a> {
    store: &'a Store,
    tree: Tree,
    /// Set by an error, after which redb refuses to write until the file is opened again.
    is_broken: bool,
    /// What that was.
    cause: Option<StoreError>,
    /// What is being written anew, or why it cannot be.
    compaction: Option<Result<Compaction, StoreError>>,
    /// Spaces that are looked through for expired values.
    sweeps: VecDeque<Sweep>,
}

/// Pages that only an old view needs count as free, so nothing may be written.
#[derive(Debug, thiserror::Error)]
#[error("a snapshot from before the error is still open")]
struct Outlived {
    source: Option<StoreError>,
}

/// What the settling thread does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Job {
    /// Write the frozen table into the tree: everything up to here is in it then.
    Settle(Revision),
    Reopen,
    /// One step of it.
    Compact,
    /// The same.
    Sweep,
}

/// What the settling thread does. `poke` tells the committer that a table may be frozen.
pub(crate) fn settle_until_stopped(store: &Store, tree: Tree, poke: impl Fn()) {
    let settling = &store.settling;
    let sweeps = VecDeque::new();
    let mut settler =
        Settler { store, tree, is_broken: false, cause: None, compaction: None, sweeps };
    let mut state = settling.state.lock();
    while !state.stop {
        settler.is_broken |= std::mem::take(&mut state.is_unreadable);
        let Some(job) = settler.next_job(&state) else {
            let age = settling.changed.wait_for(&mut state, store.limits.table_age);
            if age.timed_out() && state.frozen.is_none() {
                settler.begin_sweeps();
                settling.wanted.store(true, Ordering::Relaxed);
                poke();
            }
            continue;
        };
        drop(state);
        let begun = now();
        let done = settler.work(job);
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        state = settling.state.lock();
        state.sweeping = !settler.sweeps.is_empty();
        match (job, done) {
            (Job::Settle(revision), Ok(_)) => {
                state.failed = None;
                state.frozen = None;
                settling.last_micros.store(micros, Ordering::Relaxed);
                settling.settlings.fetch_add(1, Ordering::Relaxed);
                settling.settled.store(revision.get(), Ordering::Release);
                settling.changed.notify_all();
                if store.is_checkpoint_wanted() {
                    poke();
                }
            }
            (Job::Compact, Ok(is_over)) if !is_over => {}
            (Job::Compact, ended) => {
                state.end_compaction(ended.map(drop));
                settling.changed.notify_all();
            }
            (Job::Reopen, Ok(_)) => state.failed = None,
            (Job::Sweep, Ok(_)) => {
                settling.changed.notify_all();
            }
            (_, Err(error)) => {
                // It may be what takes the space that settling wants.
                settler.abandon_compaction();
                state.end_compaction(Err(error.clone()));
                state.failed = Some(error);
                settling.changed.notify_all();
                settling.changed.wait_for(&mut state, RETRY);
            }
        }
    }
    drop(state);
    settler.abandon_compaction();
    drop(settler);
    settling.state.lock().stopped = true;
    settling.changed.notify_all();
}

#[allow(clippy::disallowed_methods, reason = "the settling thread is a shell, and only counts")]
fn now() -> Instant {
    Instant::now()
}

impl Settler<'_> {
    /// What settles goes first: writers may come to wait for it.
    fn next_job(&self, state: &State) -> Option<Job> {
        match state.frozen {
            Some(revision) => Some(Job::Settle(revision)),
            None if self.is_broken => Some(Job::Reopen),
            None if state.compact => Some(Job::Compact),
            None if !self.sweeps.is_empty() => Some(Job::Sweep),
            None => None,
        }
    }

    /// Does a job, or a step of it; gives whether that was the last step.
    fn work(&mut self, job: Job) -> Result<bool, StoreError> {
        let done = self.attempt(job);
        if let Err(error) = &done {
            self.cause.get_or_insert_with(|| error.clone());
        }
        done
    }

    fn attempt(&mut self, job: Job) -> Result<bool, StoreError> {
        match job {
            Job::Settle(revision) => self.settle(revision).map(|()| true),
            Job::Reopen => self.reopen().map(|()| true),
            Job::Compact => {
                let done = self.compact();
                if done.is_err() {
                    self.abandon_compaction();
                }
                done
            }
            Job::Sweep => self.sweep().map(|()| false),
        }
    }

    fn settle(&mut self, revision: Revision) -> Result<(), StoreError> {
        let closed = |_| StoreError::new("settle", "database is closed");
        self.get_writable()?;
        let layers = self.store.layers().map_err(closed)?;
        if let Some(table) = &layers.frozen {
            self.is_broken = true;
            self.tree.settle(table, revision)?;
            self.is_broken = false;
            self.settle_beside(table);
        }
        drop(layers);
        self.replace_base(true)?;
        self.begin_sweeps();
        Ok(())
    }

    fn get_writable(&mut self) -> Result<(), StoreError> {
        if self.is_broken {
            self.reopen()?;
        }
        if self.tree.is_outlived() {
            return Err(StoreError::new("settle", Outlived { source: self.cause.clone() }));
        }
        self.cause = None;
        Ok(())
    }

    /// Looks which spaces are worth looking through for expired values.
    fn begin_sweeps(&mut self) {
        for space in self.store.due_spaces(Time::now()) {
            // One that is under way may have passed what has just settled.
            if !self.sweeps.iter().any(|sweep| sweep.will_see_all_of(space)) {
                self.sweeps.push_back(Sweep::new(space));
            }
        }
    }

    /// Goes on with dropping what has expired, by a step.
    fn sweep(&mut self) -> Result<(), StoreError> {
        self.get_writable()?;
        let Some(mut sweep) = self.sweeps.pop_front() else { return Ok(()) };
        self.is_broken = true;
        // After an error it is begun anew when it is due again.
        let is_over = self.tree.sweep(&mut sweep, Time::now())?;
        self.is_broken = false;
        self.store.expired.fetch_add(sweep.dropped(), Ordering::Relaxed);
        if !is_over {
            self.sweeps.push_front(sweep);
        }
        self.replace_base(false)
    }

    /// Goes on with compacting, by one step; whether that was the last one.
    fn compact(&mut self) -> Result<bool, StoreError> {
        let mut compaction = match self.compaction.take() {
            Some(compaction) => compaction?,
            None => self.tree.begin_compaction()?,
        };
        if compaction.is_complete() {
            self.tree.finish_compaction(compaction)?;
            return self.replace_base(false).map(|()| true);
        }
        let copied = self.tree.copy_some(&mut compaction);
        self.go_on_compacting(compaction, copied);
        Ok(false)
    }

    fn settle_beside(&mut self, table: &MemoryTable) {
        if let Some(Ok(mut compaction)) = self.compaction.take() {
            let written = self.tree.settle_beside(&mut compaction, table);
            self.go_on_compacting(compaction, written);
        }
    }

    fn go_on_compacting(&mut self, compaction: Compaction, done: Result<(), StoreError>) {
        self.compaction = Some(match done {
            Ok(()) => Ok(compaction),
            Err(error) => {
                self.tree.abandon_compaction(compaction);
                Err(error)
            }
        });
    }

    fn abandon_compaction(&mut self) {
        if let Some(Ok(compaction)) = self.compaction.take() {
            self.tree.abandon_compaction(compaction);
        }
    }

    /// Opens the file again. Nothing is written until the last view of the old handle is gone.
    fn reopen(&mut self) -> Result<(), StoreError> {
        self.tree.reopen()?;
        self.replace_base(false)?;
        self.is_broken = false;
        Ok(())
    }

    /// Lets reads go to the tree as it is now, past the frozen table if that is in it.
    fn replace_base(&self, has_settled: bool) -> Result<(), StoreError> {
        let base = Arc::new(Base { tree: self.tree.view()? });
        self.store.replace_layers(|now| Layers {
            active: Arc::clone(&now.active),
            frozen: if has_settled { None } else { now.frozen.clone() },
            base: Arc::clone(&base),
        });
        self.store.in_use.store(self.tree.weight().in_use(), Ordering::Relaxed);
        Ok(())
    }
}
