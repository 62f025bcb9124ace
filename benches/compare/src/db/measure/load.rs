//! Many rows in durable batches.

use std::time::{Duration, Instant};

use crate::Result;
use crate::db::engine::Store;
use crate::db::rows::rows;

/// Puts the rows of the first numbers; how long the calls took.
pub(super) fn load(store: &mut dyn Store, count: u64, batch: u64) -> Result<Duration> {
    let mut time = Duration::ZERO;
    let mut first = 0;
    while first < count {
        let end = count.min(first + batch);
        let rows = rows(first..end);
        let start = Instant::now();
        store.put(&rows)?;
        time += start.elapsed();
        first = end;
    }
    Ok(time)
}
