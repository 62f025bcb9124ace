//! Files into a stream, as if their lines came from devices.

mod lines;
#[cfg(feature = "parquet")]
mod rows;

use std::path::{Path, PathBuf};
use std::time::Duration;

use edge_db::{Db, Entry, Log};
use tokio::time::{Instant, sleep_until};

use super::{Engine, ReplayError};
use crate::db::blocking;
use crate::db::input::InputSpec;
use lines::Lines;

/// Records and bytes of one commit.
const COMMIT_RECORDS: usize = 1_000;
const COMMIT_BYTES: usize = 1 << 20;

/// How fast [`Engine::replay`] goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Speed {
    /// As fast as they can be stored.
    Max,
    /// As far apart as their event times are. What lies in front of a record before it is stored
    /// with it.
    Recorded,
}

impl Engine {
    /// Appends the lines of a file to the Log of a stream, one record each, and says how many. The
    /// end of the name says what the file is: `.ndjson`, `.jsonl` and `.json` hold an object in
    /// each line, for streams of format `json`; `.csv` is for streams of format `csv`, and for
    /// those of `json` if its first line names the columns; `.parquet` (with the feature `parquet`,
    /// compressed by Snappy or zstd if at all) holds rows, which become payloads in the format of the
    /// stream, whatever that is, in `arrow_ipc` some thousand of them each.
    ///
    /// Records are stored at the time of the replay; the event time is what they say. Lines are
    /// stored as they are: those that are no rows go to the stream's Log of errors.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use edge_stream::Speed;
    /// # let dir = tempfile::tempdir()?;
    /// let file = dir.path().join("may.ndjson");
    /// std::fs::write(&file, "{\"temp\":20.5}\n{\"temp\":21.5}\n")?;
    /// let db = edge_db::Db::open(dir.path().join("site"))?;
    /// let engine = edge_stream::Engine::builder().db(&db).start().await?;
    /// engine.execute("CREATE STREAM r (temp DOUBLE) WITH (log = 'raw', format = 'json')").await?;
    /// assert_eq!(engine.replay(&file, "r", Speed::Max).await?, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the file cannot be read, does not fit the stream, or the Log takes no more. What was in
    /// front is stored; the error says how many records.
    ///
    /// # Cancel safety
    /// When dropped, a part of the file is stored, in whole commits.
    pub async fn replay(
        &self,
        path: impl AsRef<Path>,
        stream: &str,
        speed: Speed,
    ) -> Result<u64, ReplayError> {
        let (spec, log) = self.stream_spec(stream)?;
        let path = path.as_ref().to_owned();
        let (file, decoder) = (path.clone(), spec.decoder.clone());
        let opened = blocking(move || Lines::open(&file, &decoder)).await;
        let opened = opened.map_err(|_| ReplayError::Closed)?;
        let lines = opened.map_err(|reason| ReplayError::File { path: path.clone(), reason })?;
        let replay = Replay { db: self.inner.catalog.db.clone(), spec, log, path, stored: 0 };
        replay.run(lines, speed).await
    }
}

/// A replay under way.
struct Replay {
    db: Db,
    spec: InputSpec,
    log: Log,
    path: PathBuf,
    stored: u64,
}

/// Where recorded time and ours were the same.
struct Pace {
    began: Instant,
    first: i64,
}

impl Pace {
    /// When a record of this time is due.
    fn due(&self, micros: i64) -> Instant {
        let after = u64::try_from(micros.saturating_sub(self.first)).unwrap_or(0);
        self.began + Duration::from_micros(after)
    }
}

impl Replay {
    async fn run(mut self, mut lines: Lines, speed: Speed) -> Result<u64, ReplayError> {
        let (mut waiting, mut pace) = (Vec::new(), None);
        loop {
            let (read, chunk) = self.chunk(lines).await?;
            lines = read;
            if chunk.is_empty() {
                self.store(&mut waiting).await?;
                return Ok(self.stored);
            }
            for payload in chunk {
                if speed == Speed::Recorded
                    && let Ok(time) = self.spec.decoder.time_of(&payload)
                {
                    let pace =
                        pace.get_or_insert_with(|| Pace { began: Instant::now(), first: time });
                    let due = pace.due(time);
                    if due > Instant::now() {
                        self.store(&mut waiting).await?;
                        sleep_until(due).await;
                    }
                }
                waiting.push(payload);
            }
            self.store(&mut waiting).await?;
        }
    }

    async fn chunk(&self, mut lines: Lines) -> Result<(Lines, Vec<Vec<u8>>), ReplayError> {
        let read = blocking(move || {
            let chunk = lines.next_chunk(COMMIT_RECORDS, COMMIT_BYTES);
            (lines, chunk)
        });
        let (lines, chunk) = read.await.map_err(|_| ReplayError::Closed)?;
        let chunk = chunk.map_err(|reason| ReplayError::Line {
            path: self.path.clone(),
            stored: self.stored,
            reason,
        })?;
        Ok((lines, chunk))
    }

    async fn store(&mut self, waiting: &mut Vec<Vec<u8>>) -> Result<(), ReplayError> {
        if waiting.is_empty() {
            return Ok(());
        }
        let mut batch = self.db.batch();
        let count = waiting.len() as u64;
        waiting.drain(..).for_each(|payload| batch.append(&self.log, Entry::new(payload)));
        let stored = batch.commit_async().await;
        stored.map_err(|source| ReplayError::Write { stored: self.stored, source })?;
        self.stored += count;
        Ok(())
    }
}
