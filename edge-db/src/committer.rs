//! Makes batches durable: whatever waits becomes one record of the journal and one sync.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::Time;
use crate::batch::{Op, Receipt};
use crate::catalog::Catalog;
use crate::db::Shared;
use crate::error::{ReadError, StoreError, WriteError};
use crate::journal::{Journal, record};
use crate::ledger::Ledger;
use crate::log::oldest::oldest_chunks;
use crate::memory::MemoryTable;
use crate::queue::{Outcome, Pending, Queue, Turn};
use crate::resolve::{Resolver, is_plain};
use crate::revision::Revision;
use crate::store::Write;
use crate::upkeep::Upkeeps;

/// A group is one record; larger ones make the first waiter wait for the last one's bytes.
const GROUP_BYTES: usize = 8 * 1024 * 1024;

/// So many bytes are synced before they must be: what a sync that fails leaves to be written again
/// is in memory until then.
const UNSYNCED_BYTES: usize = 1024 * 1024;

/// No delay is longer, so that adding it to a time is safe.
const LONGEST_DELAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Between two attempts to sync what is owed.
const RETRY: Duration = Duration::from_millis(50);

/// What whoever commits needs, one thread at a time.
#[derive(Debug)]
pub(crate) struct Committer {
    shared: Arc<Shared>,
    journal: Journal,
    ledger: Ledger,
    upkeeps: Upkeeps,
    /// Whether the ledger must be read again.
    is_stale: bool,
    /// Bytes in the journal since the active table was begun.
    journaled: u64,
    /// When what is visible must be durable.
    sync_by: Option<Instant>,
}

impl Committer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        journal: Journal,
        ledger: Ledger,
        upkeeps: Upkeeps,
    ) -> Committer {
        shared.counters.journal_bytes.store(journal.bytes(), Ordering::Relaxed);
        Committer { shared, journal, ledger, upkeeps, is_stale: false, journaled: 0, sync_by: None }
    }

    /// The committer's thread: takes every turn that no writer takes, until the queue is closed,
    /// and drained where that was asked for.
    pub(crate) fn run(shared: &Shared) {
        while let Some(turn) = shared.queue.take_turn(GROUP_BYTES) {
            turn.take(&shared.queue);
        }
        if let Some(mut last) = shared.queue.dismiss() {
            // What was only acknowledged as visible; there is nobody left to tell.
            drop(last.sync());
        }
        shared.queue.stopped();
    }

    fn take_on(&mut self, group: Vec<Pending>) {
        let ready = self.get_ready();
        if let Err(error) = ready {
            self.shared.store.refuse_checkpoint(error.clone());
            tell_all(group, &WriteError::Store(error));
        } else {
            // After an error the ledger is ahead of what is stored.
            self.is_stale = self.commit(group).is_err();
        }
    }

    /// Does what is due before a group is taken on.
    fn get_ready(&mut self) -> Result<(), StoreError> {
        if self.is_stale {
            self.ledger = self.read_ledger()?;
            self.is_stale = false;
        }
        if self.sync_by.is_some_and(|by| by <= now()) {
            self.sync()?;
        }
        self.make_room()
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        let synced = self.journal.sync(self.shared.store.settled());
        self.sync_by = match &synced {
            Ok(()) => None,
            Err(_) => Some(now() + RETRY),
        };
        synced.map_err(|error| StoreError::new("sync", error))
    }

    /// Begins a fresh memory table where the active one is full.
    fn make_room(&mut self) -> Result<(), StoreError> {
        if self.shared.store.wants_freeze(self.journaled) {
            self.shared.store.freeze()?;
            self.journaled = 0;
        }
        Ok(())
    }

    fn commit(&mut self, group: Vec<Pending>) -> Result<(), StoreError> {
        let mut waiters = Vec::with_capacity(group.len());
        let mut staged = Staged::default();
        // The group is as durable as its strictest batch asks for.
        let within = group.iter().map(|pending| pending.within).min().flatten();
        // Also when there is no batch: that is how logs that nobody writes to grow old.
        let mut failed = self.begin().err();
        for pending in group {
            let outcome = match &failed {
                None => self.admit(pending.ops, &mut staged),
                Some(error) => Err(WriteError::Store(StoreError::clone(error))),
            };
            match &outcome {
                Err(WriteError::Store(error)) => failed = Some(error.clone()),
                Err(WriteError::Full { .. }) => self.shared.store.want_space(),
                _ => {}
            }
            waiters.push((pending.done, outcome));
        }
        let writes = self.ledger.take_writes();
        // What batches dropped that were refused, nobody knows to be lost.
        let is_admitted = waiters.iter().any(|(_, outcome)| outcome.is_ok());
        let result = match failed {
            Some(error) => Err(error),
            None if !writes.is_empty() => {
                self.store(writes, waiters.len(), within.filter(|_| is_admitted))
            }
            // What a durable batch may have seen is durable before it.
            None if !waiters.is_empty() && within.is_none() => self.sync(),
            None => Ok(()),
        };
        let stored = result.as_ref().map(|()| self.shared.store.visible());
        for (done, outcome) in waiters {
            // Nobody need wait for the outcome.
            drop(done.send(told(outcome, stored)));
        }
        result
    }

    /// Begins a group, with what grew old.
    fn begin(&mut self) -> Result<(), StoreError> {
        let store = &self.shared.store;
        self.ledger
            .begin(Time::now(), store.fullness(), &mut |log, from| oldest_chunks(store, log, from))
    }

    /// Stages one batch behind those of its group.
    fn admit(&mut self, mut ops: Vec<Op>, staged: &mut Staged) -> Outcome {
        self.take_hangs(&mut ops);
        let store = &self.shared.store;
        let ops = if is_plain(&ops, &self.upkeeps) {
            ops
        } else {
            staged.catch_up(self.ledger.staged());
            Resolver::new(store, &self.upkeeps, &staged.table, Time::now()).resolve(ops)?
        };
        let mut oldest = |log, from| oldest_chunks(store, log, from);
        self.ledger.admit(ops, &mut oldest)
    }

    /// From here on these tables are kept as their handles say.
    fn take_hangs(&mut self, ops: &mut Vec<Op>) {
        for op in ops.extract_if(.., |op| matches!(op, Op::Hang { .. })) {
            if let Op::Hang { space, table, hang } = op {
                self.upkeeps.hang(space, table, hang);
            }
        }
    }

    /// Makes a group durable, or sees to it that it will be; then visible, then known.
    fn store(
        &mut self,
        writes: Vec<Write>,
        batches: usize,
        within: Option<Duration>,
    ) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        let bytes = writes.iter().map(Write::bytes).sum::<usize>();
        let mut record = record::begin(bytes + writes.len() * 8);
        writes.iter().for_each(|write| record::put_write(&mut record, write));
        self.journaled += record.len() as u64;
        let revision = shared.store.visible().next();
        // A crash before the sync leaves nothing of the group, one after it all of it.
        self.journal
            .append(record, revision, shared.store.settled())
            .map_err(|error| StoreError::new("write", error))?;
        match within.filter(|_| self.journal.unsynced_bytes() < UNSYNCED_BYTES) {
            None => {
                if let Err(error) = self.sync() {
                    self.journal.take_back();
                    return Err(error);
                }
            }
            Some(within) => {
                let by = now() + within.min(LONGEST_DELAY);
                self.sync_by = Some(self.sync_by.map_or(by, |earlier| earlier.min(by)));
            }
        }
        let touched = shared.signals.touched(&writes);
        let closed = |_| StoreError::new("write", "database is closed");
        shared.store.publish(writes, revision).map_err(closed)?;
        touched.iter().for_each(|signal| signal.wake());
        let counters = &shared.counters;
        counters.commits.fetch_add(1, Ordering::Relaxed);
        counters.batches.fetch_add(batches as u64, Ordering::Relaxed);
        counters.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        counters.journaled.store(self.journaled, Ordering::Relaxed);
        counters.journal_bytes.store(self.journal.bytes(), Ordering::Relaxed);
        Ok(())
    }

    /// The ledger of what is stored, after a group that was not.
    fn read_ledger(&self) -> Result<Ledger, StoreError> {
        let read = || {
            let view = self.shared.store.view()?;
            Ledger::read(&view, &Catalog::read(&view)?)
        };
        read().map_err(|error: ReadError| match error {
            ReadError::Store(error) => error,
            other => StoreError::new("read", other),
        })
    }
}

impl Turn {
    /// Commits the group, and gives the committer back.
    pub(crate) fn take(self, queue: &Queue) {
        struct Lost<'a>(&'a Queue);

        impl Drop for Lost<'_> {
            fn drop(&mut self) {
                self.0.lose();
            }
        }

        let Turn { mut committer, group } = self;
        let (batches, start) = (group.len(), now());
        // A panic in here is a mistake of ours; nobody must wait for ever because of it.
        let unless_returned = Lost(queue);
        committer.take_on(group);
        std::mem::forget(unless_returned);
        let due = committer.sync_by;
        queue.end_turn(committer, due, batches, start.elapsed());
    }
}

#[allow(clippy::disallowed_methods, reason = "the committer is the shell around what decides")]
fn now() -> Instant {
    Instant::now()
}

/// What the group has staged, as a table to look into.
#[derive(Debug, Default)]
struct Staged {
    table: Arc<MemoryTable>,
    /// How many writes are in it.
    writes: usize,
}

impl Staged {
    fn catch_up(&mut self, writes: &[Write]) {
        let [zero, one] = [Revision::ZERO, Revision::ZERO.next()];
        self.table.apply(writes[self.writes..].to_vec(), one, zero);
        self.writes = writes.len();
    }
}

fn tell_all(group: Vec<Pending>, error: &WriteError) {
    for pending in group {
        // Nobody need wait for the outcome.
        drop(pending.done.send(Err(error.clone())));
    }
}

/// What the waiter of an admitted batch is told once the group has gone to disk, or has not.
fn told(outcome: Outcome, group: Result<Revision, &StoreError>) -> Outcome {
    let receipt = outcome?;
    match group {
        Ok(revision) => Ok(Receipt { revision, ..receipt }),
        Err(error) => Err(WriteError::Store(error.clone())),
    }
}
