//! Reading a Log as it grows.

use std::time::{Duration, Instant};

use super::{Log, Records};
use crate::Seq;
use crate::error::ReadError;
use crate::watch::Watch;

/// A reader of a [`Log`] that waits at its end, without polling; from [`Log::tail`].
///
/// It keeps its position in memory: a reader that must not read anything twice over a crash keeps
/// a [`Cursor`](crate::Cursor) too, and begins there. One that keeps up gets the very bytes that
/// the commit wrote; reading blocks for the disk where it has fallen behind what is in memory.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let db = edge_db::Db::open(dir.path())?;
/// # let log = db.log("readings")?;
/// let mut tail = log.tail(log.bounds()?.end);
/// log.append(edge_db::Entry::new("21.5"))?;
/// let records = tail.wait_next(1000, std::time::Duration::from_secs(5))?;
/// assert_eq!(records.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Tail {
    log: Log,
    watch: Watch,
    position: Seq,
}

impl Log {
    /// Reads from `from` on and then what is appended, as it comes.
    pub fn tail(&self, from: Seq) -> Tail {
        Tail { log: self.clone(), watch: self.watch(), position: from }
    }
}

impl Tail {
    /// The next position that it will read.
    pub fn position(&self) -> Seq {
        self.position
    }

    /// The next records, at most `max_records` (one at least) and about 4 MiB of them, as soon as
    /// there are any. [`Records::missing`] tells what was dropped before this reader came to it;
    /// only then may there be no records with it.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped: the position moves with what is returned.
    ///
    /// # Errors
    /// When the file cannot be read, a record in it is damaged, or the database was shut down.
    pub async fn next(&mut self, max_records: usize) -> Result<Records, ReadError> {
        loop {
            let records = self.read(max_records)?;
            if is_something(&records) {
                return Ok(records);
            }
            self.watch.changed().await;
        }
    }

    /// [`Tail::next`], blocking, at most for `timeout`: then there are no records.
    ///
    /// # Errors
    /// When the file cannot be read, a record in it is damaged, or the database was shut down.
    #[allow(clippy::disallowed_methods, reason = "a shell around blocking reads")]
    pub fn wait_next(
        &mut self,
        max_records: usize,
        timeout: Duration,
    ) -> Result<Records, ReadError> {
        let begun = Instant::now();
        loop {
            let records = self.read(max_records)?;
            let left = timeout.saturating_sub(begun.elapsed());
            if is_something(&records) || left.is_zero() {
                return Ok(records);
            }
            // What woke it may have been the dropping of old records; then it waits again.
            self.watch.wait(left);
        }
    }

    fn read(&mut self, max_records: usize) -> Result<Records, ReadError> {
        let records = self.log.read(self.position, max_records.max(1))?;
        self.position = records.next();
        Ok(records)
    }
}

fn is_something(records: &Records) -> bool {
    !records.is_empty() || records.missing().is_some()
}
