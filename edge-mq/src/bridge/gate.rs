//! Looks at a queue as it grows: wakes the link, and closes a full queue that drops what is new.

use std::sync::Arc;

use edge_db::Log;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::shared::Shared;
use crate::store::LogSlot;

/// The task that watches one queue. Dropping it ends it, and opens the queue.
#[derive(Debug)]
pub(super) struct Gate {
    task: JoinHandle<()>,
    shared: Arc<Shared>,
    slot: LogSlot,
}

impl Gate {
    /// With `limit_bytes` or more in it, the queue is left out.
    pub(super) fn new(
        log: &Log,
        slot: LogSlot,
        limit_bytes: Option<u64>,
        shared: &Arc<Shared>,
        changed: &Arc<Notify>,
    ) -> Gate {
        let watch = watch(log.clone(), slot, limit_bytes, Arc::clone(shared), Arc::clone(changed));
        Gate { task: tokio::spawn(watch), shared: Arc::clone(shared), slot }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
        self.shared.hub(|hub| hub.left_out().set(self.slot, false));
    }
}

async fn watch(
    log: Log,
    slot: LogSlot,
    limit_bytes: Option<u64>,
    shared: Arc<Shared>,
    changed: Arc<Notify>,
) {
    let mut watch = log.watch();
    loop {
        if let Some(limit) = limit_bytes {
            // It is in memory. The database is closed when it cannot be read.
            let Ok(state) = log.state() else { return };
            shared.hub(|hub| hub.left_out().set(slot, state.bytes >= limit));
        }
        changed.notify_one();
        watch.changed().await;
    }
}
