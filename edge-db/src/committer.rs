//! The thread that makes batches durable: whatever waits becomes one transaction and one fsync.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::batch::Receipt;
use crate::db::Shared;
use crate::error::{StoreError, WriteError};
use crate::ledger::{Ledger, StoredChunk};
use crate::log::chunk;
use crate::queue::{Outcome, Pending};
use crate::space::{Space, without_space};
use crate::store::{Store, Write};
use crate::{ReadError, Seq};

/// A group is one transaction; larger ones make the first waiter wait for the last one's bytes.
const GROUP_BYTES: usize = 8 * 1024 * 1024;

/// Chunks looked at in one step while room is made.
const OLDEST_CHUNKS: usize = 64;

/// Runs until the queue is closed, and drained where that was asked for.
pub(crate) fn run(shared: &Arc<Shared>, mut ledger: Ledger) {
    while let Some(group) = shared.queue.take_group(GROUP_BYTES) {
        if let Err(error) = commit_group(shared, &mut ledger, group) {
            // The ledger is ahead of the disk now, and nobody may call the disk durable again.
            shared.queue.close(error.into(), false);
        }
    }
    shared.queue.stopped();
}

fn commit_group(
    shared: &Shared,
    ledger: &mut Ledger,
    group: Vec<Pending>,
) -> Result<(), StoreError> {
    let mut waiters = Vec::with_capacity(group.len());
    let mut failed = None;
    for pending in group {
        let mut oldest = |log, from| oldest_chunks(&shared.store, log, from);
        let outcome = match &failed {
            None => ledger.admit(pending.ops, &mut oldest),
            Some(error) => Err(WriteError::Store(StoreError::clone(error))),
        };
        if let Err(WriteError::Store(error)) = &outcome {
            failed = Some(error.clone());
        }
        waiters.push((pending.done, outcome));
    }
    let writes = ledger.take_writes();
    let result = match failed {
        Some(error) => Err(error),
        None if writes.is_empty() => Ok(()),
        None => shared.store.apply(&writes),
    };
    if result.is_ok() {
        count(shared, &writes, waiters.len());
        shared.signals.wake(&writes);
    }
    for (done, outcome) in waiters {
        // Nobody need wait for the outcome.
        drop(done.send(told(outcome, &result)));
    }
    result
}

/// What the waiter of an admitted batch is told once the group has gone to disk, or has not.
fn told(outcome: Outcome, group: &Result<(), StoreError>) -> Result<Receipt, WriteError> {
    match (outcome, group) {
        (Ok(_), Err(error)) => Err(WriteError::Store(error.clone())),
        (outcome, _) => outcome,
    }
}

fn count(shared: &Shared, writes: &[Write], batches: usize) {
    let bytes = writes.iter().map(|write| match write {
        Write::Put(key, value) => key.len() + value.len(),
        Write::Delete(key) => key.len(),
        Write::DeleteRange(from, to) => from.len() + to.len(),
    });
    let counters = &shared.counters;
    counters.commits.fetch_add(1, Ordering::Relaxed);
    counters.batches.fetch_add(batches as u64, Ordering::Relaxed);
    counters.bytes.fetch_add(bytes.sum::<usize>() as u64, Ordering::Relaxed);
}

fn oldest_chunks(store: &Store, log: Space, from: Seq) -> Result<Vec<StoredChunk>, StoreError> {
    let view = store.view().map_err(|error| match error {
        ReadError::Store(error) => error,
        other => StoreError::new("read", other),
    })?;
    let (start, end) = (log.chunk_key(from), log.next().prefix());
    let range = view.range(
        std::ops::Bound::Included(start.as_slice()),
        std::ops::Bound::Excluded(end.as_slice()),
    )?;
    range
        .take(OLDEST_CHUNKS)
        .map(|entry| {
            let (key, stored) = entry?;
            let damaged = || StoreError::new("read", "a chunk's key is damaged");
            let first = <[u8; 8]>::try_from(without_space(&key)).map_err(|_| damaged())?;
            let first = Seq::new(u64::from_be_bytes(first));
            let count = chunk::count(&stored).map_err(|error| StoreError::new("read", error))?;
            Ok(StoredChunk { records: first..first.plus(count), bytes: stored.len() as u64 })
        })
        .collect()
}
