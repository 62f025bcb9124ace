//! The thread that commits: all that came meanwhile in one group, one group after the other.
//!
//! It is a thread and not a task because a commit by edge-db, where nobody else commits, is done by
//! the thread that asks for it: one sync of the disk and no switch between threads.

use std::sync::Arc;
use std::thread::{self, Thread};

use crate::hub::Deed;
use crate::shared::Shared;
use crate::store::Store;

/// Bytes of one group. More would not be faster, and lets those wait longer who come behind.
const GROUP_BYTES: usize = 4 * 1024 * 1024;

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
    match store.commit(&group) {
        Err(refused) if refused.is_selective && group.len() > 1 => {
            let second = group.split_off(group.len() / 2);
            commit(shared, store, group);
            commit(shared, store, second);
        }
        outcome => shared.end_commit(group, &outcome),
    }
}
