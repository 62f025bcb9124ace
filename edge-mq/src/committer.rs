//! The thread that commits: all that came meanwhile in one group, one group after the other.
//!
//! It is a thread and not a task because a commit by edge-db, where nobody else commits, is done by
//! the thread that asks for it: one sync of the disk and no switch between threads.

#![allow(clippy::disallowed_methods, reason = "a shell: it waits for space on the disk")]

use std::sync::Arc;
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::hub::{Deed, Hub};
use crate::shared::Shared;
use crate::store::Store;

/// Bytes of one group. More would not be faster, and lets those wait longer who come behind.
const GROUP_BYTES: usize = 4 * 1024 * 1024;

/// From one attempt to the next while the disk is full. Each writes a few KB of what there is space for.
const PAUSE: Duration = Duration::from_millis(200);

/// Starts the thread. It ends when the broker is dropped.
pub(crate) fn start(shared: Arc<Shared>, store: Arc<dyn Store>) -> std::io::Result<Thread> {
    let thread = thread::Builder::new().name("edge-mq-commit".into());
    let join = thread.spawn(move || run(&shared, &*store))?;
    Ok(join.thread().clone())
}

fn run(shared: &Shared, store: &dyn Store) {
    while !shared.is_dropped() {
        let group = shared.hub(|hub| hub.take_group(GROUP_BYTES));
        match group.is_empty() {
            true => thread::park(),
            false => commit(shared, store, group),
        }
    }
}

/// Commits a group. If it is refused because of something in it, each half is tried alone, so that
/// one message that is too large, or a Log that is full, is nobody else's matter.
fn commit(shared: &Shared, store: &dyn Store, mut group: Vec<Deed>) {
    loop {
        let outcome = store.commit(&group);
        shared.trouble.tell(&outcome, group.len(), &shared.sparing);
        match outcome {
            Err(refused) if refused.is_selective && group.len() > 1 => {
                let second = group.split_off(group.len() / 2);
                commit(shared, store, group);
                return commit(shared, store, second);
            }
            Err(refused) if refused.is_full && shared.hub(Hub::may_wait_for_space) => pause(shared),
            outcome => return shared.end_commit(group, &outcome),
        }
        if shared.is_dropped() {
            // Nobody is left who could be told.
            return;
        }
    }
}

/// Waits, whatever comes to be committed meanwhile, unless the broker is dropped.
fn pause(shared: &Shared) {
    let end = Instant::now() + PAUSE;
    while let Some(left) = end.checked_duration_since(Instant::now())
        && !shared.is_dropped()
    {
        thread::park_timeout(left);
    }
}
