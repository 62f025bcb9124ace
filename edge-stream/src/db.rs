//! The engine over edge-db: Logs as sources; state, positions and views in one commit.

mod backlog;
pub(crate) mod build;
pub(crate) mod catalog;
pub(crate) mod cells;
pub(crate) mod deliver;
pub(crate) mod input;
pub(crate) mod job;
pub(crate) mod late;
pub(crate) mod live;
pub(crate) mod lookup;
pub(crate) mod output;
pub(crate) mod own;
pub(crate) mod shared;
pub(crate) mod status;
pub(crate) mod stored;
pub(crate) mod tables;
pub(crate) mod tape;
pub(crate) mod task;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

/// Bytes of records that are worked off so fast that nobody has to wait for it.
pub(crate) const FEW_BYTES: u64 = 16 * 1024;

/// Runs what waits for the disk, or computes for long, on a thread that may. The one place of
/// this crate that crosses from async to blocking code.
///
/// # Errors
/// When `work` panicked, or the runtime is shutting down; says which.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    spawn_blocking(work).await.map_err(|error| match error.try_into_panic() {
        Ok(panic) => panicked(&*panic),
        Err(_) => "the tokio runtime is shutting down".to_owned(),
    })
}

/// The same, but here if the work is brief: to go to another thread and back takes longer than what is to be
/// done for a few records that have just come, and so are in memory.
///
/// # Errors
/// As [`blocking`].
pub(crate) async fn here_if<T: Send + 'static>(
    is_brief: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    match is_brief {
        true => catch_unwind(AssertUnwindSafe(work)).map_err(|panic| panicked(&*panic)),
        false => blocking(work).await,
    }
}

/// Runs work ahead of whoever will need it, and does it itself if it has not been done by then.
pub(crate) fn in_background(work: impl FnOnce() + Send + 'static) {
    if let Ok(runtime) = Handle::try_current() {
        drop(runtime.spawn_blocking(work));
    }
}

/// What a panic said.
pub(crate) fn panicked(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panicked: {}", text.unwrap_or_else(|| "without a message".to_owned()))
}
