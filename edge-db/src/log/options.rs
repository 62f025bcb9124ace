//! What a Log may hold, and what it holds.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Compression;
use crate::{Seq, Time, codec};

/// What a Log does when it has reached its limit and some cursor has not read its oldest records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum WhenFull {
    /// Refuse the batch with [`WriteError::LogFull`](crate::WriteError::LogFull): nothing is lost
    /// behind anybody's back. Without a cursor all records are kept for the first that comes, so a Log
    /// that nobody reads is full one day.
    #[default]
    Refuse,
    /// Drop the oldest records and count those that a cursor had not passed; a reader is told by
    /// [`Records::missing`](crate::Records::missing).
    DropOldest,
}

/// How much a Log holds and for how long, what happens then, and how it lies on disk.
///
/// What every cursor has passed, if there are any, is kept as history as long as it fits, and dropped
/// first.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let db = edge_db::Db::open(dir.path())?;
/// use std::time::Duration;
/// use edge_db::{LogOptions, WhenFull};
/// const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// let options = LogOptions::new().max_bytes(64 << 20).max_age(7 * DAY);
/// let log = db.log_with("readings", options.when_full(WhenFull::DropOldest))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[must_use]
#[non_exhaustive]
pub struct LogOptions {
    pub(crate) max_bytes: u64,
    pub(crate) when_full: WhenFull,
    pub(crate) max_age: Option<Duration>,
    pub(crate) compression: Compression,
}

impl LogOptions {
    /// 1 GiB of any age, refused when full, not compressed.
    pub fn new() -> LogOptions {
        LogOptions {
            max_bytes: 1 << 30,
            when_full: WhenFull::Refuse,
            max_age: None,
            compression: Compression::None,
        }
    }

    /// The most bytes of records that the Log holds: keys, headers, values, and 8 for each record.
    /// One commit may overshoot it by its own size.
    pub fn max_bytes(mut self, bytes: u64) -> LogOptions {
        self.max_bytes = bytes;
        self
    }

    /// What happens then.
    pub fn when_full(mut self, policy: WhenFull) -> LogOptions {
        self.when_full = policy;
        self
    }

    /// How old records become; as old as the Log has room for without this call.
    ///
    /// The oldest chunk goes once all of its times lie further back than this from what the
    /// machine's clock says: those of records that were committed or have settled together go
    /// together, and a record from the future keeps those behind it. A clock that is behind drops
    /// nothing too early; one that is ahead drops what would have been dropped later.
    ///
    /// With [`WhenFull::Refuse`], what some cursor has not passed stays, however old; with
    /// [`WhenFull::DropOldest`] it goes, counted and told by [`Log::gaps`](crate::Log::gaps). With
    /// no cursor at all nobody is waited for. The database looks with each commit to any part of
    /// it, and where nothing is committed about each
    /// [`checkpoint_age`](crate::DbBuilder::checkpoint_age).
    pub fn max_age(mut self, age: Duration) -> LogOptions {
        self.max_age = Some(age);
        self
    }

    /// How it lies in the data file; as it came without this call. A change holds for what is
    /// appended from then on.
    pub fn compression(mut self, compression: Compression) -> LogOptions {
        self.compression = compression;
        self
    }
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions::new()
    }
}

/// What a Log holds, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LogState {
    /// The oldest record that is kept.
    pub first: Seq,
    /// The position that the next record will get.
    pub next: Seq,
    /// Bytes of all records that are kept: keys, headers, values, and 8 for each record.
    pub bytes: u64,
    /// Bytes of all records that were ever appended.
    pub appended_bytes: u64,
    /// Records dropped before the slowest cursor had passed them, ever: at the limit, by age, or
    /// by [`Batch::trim`](crate::Batch::trim). [`Log::gaps`](crate::Log::gaps) says which. Where
    /// no cursor stood, nobody was to read what was dropped, and nothing is counted.
    pub dropped: u64,
    /// The latest time that any record ever had.
    pub newest: Option<Time>,
}

impl LogState {
    pub(crate) fn encode(&self) -> Vec<u8> {
        codec::encode(self, 0).expect("numbers always encode")
    }
}
