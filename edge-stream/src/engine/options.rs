//! What an engine may, and whom it gives rows to.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::EngineBuilder;
use crate::db::deliver::callback::{Callback, Delivery};

impl EngineBuilder {
    /// Memory that all queries under way may take together, and one answer may be; 128 MiB without
    /// this call. A query that needs more spills to disk where it can, and is refused where not.
    pub fn query_memory_bytes(mut self, bytes: usize) -> EngineBuilder {
        self.query_memory_bytes = bytes;
        self
    }

    /// How long one query may take; 5 minutes without this call, `Duration::MAX` for no limit. It is
    /// looked at between batches of rows: a function that computes for long over one of them is not
    /// interrupted.
    pub fn query_time(mut self, most: Duration) -> EngineBuilder {
        self.query_time = most;
        self
    }

    /// The folder that sinks write files below: `WITH (file = 'alarms/hot.csv')`. Without it, no such
    /// sink can be created, and those that are there wait with their rows in their Logs.
    ///
    /// The files belong to the sinks: what others append is cut off. Take one away, or empty it, and
    /// the sink begins it anew.
    pub fn files(mut self, folder: impl Into<PathBuf>) -> EngineBuilder {
        self.files = Some(folder.into());
        self
    }

    /// A function that takes the rows of the sink `WITH (channel = 'name')`, as they come; give it to
    /// each start. It is called for one delivery after the other, on a thread that may block, and
    /// the next comes when it returns. After an error or a panic, which `system.sinks` shows, it is
    /// called again with the same, a second later. So it is after a crash: at least once, and
    /// [`Delivery::seq`] tells. Rows wait for it in the sink's Log; when that is full, at 1 GiB, the
    /// sink's job waits.
    pub fn callback(
        mut self,
        channel: impl Into<String>,
        function: impl Fn(Delivery) -> Result<(), Box<dyn Error + Send + Sync>> + Send + Sync + 'static,
    ) -> EngineBuilder {
        self.callbacks.insert(channel.into(), Callback(Arc::new(function)));
        self
    }

    /// How many subscriptions may be open at a time; 64 without this call. Each has a state of its own, up to
    /// the limits of a job.
    pub fn subscriptions(mut self, most: usize) -> EngineBuilder {
        self.subscriptions = most.min(Semaphore::MAX_PERMITS);
        self
    }
}
