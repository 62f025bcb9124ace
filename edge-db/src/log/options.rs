//! What a Log may hold, and what it holds.

use crate::{Seq, codec};
use serde::{Deserialize, Serialize};

/// What a Log does when it has reached its limit and some cursor has not read its oldest records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum WhenFull {
    /// Refuse the batch with [`WriteError::LogFull`](crate::WriteError::LogFull): nothing is lost
    /// behind anybody's back.
    #[default]
    Refuse,
    /// Drop the oldest records and count those that a cursor had not passed; a reader is told by
    /// [`Records::missing`](crate::Records::missing).
    DropOldest,
}

/// How much a Log holds, and what happens then.
///
/// What every cursor has passed is kept as history as long as it fits, and dropped first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[must_use]
#[non_exhaustive]
pub struct LogOptions {
    pub(crate) max_bytes: u64,
    pub(crate) when_full: WhenFull,
}

impl LogOptions {
    /// 1 GiB, and refuse when full.
    pub fn new() -> LogOptions {
        LogOptions { max_bytes: 1 << 30, when_full: WhenFull::Refuse }
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
    /// Records dropped at the limit before the slowest cursor had passed them, ever.
    pub dropped: u64,
}

impl LogState {
    pub(crate) fn encode(&self) -> Vec<u8> {
        codec::encode(self, 0).expect("numbers always encode")
    }
}
