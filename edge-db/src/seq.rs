//! Positions in a Log, and points in time.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Position of a record in one Log: dense, from 0, never reused.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Seq(u64);

impl Seq {
    /// The position of the first record that a Log ever held.
    pub const ZERO: Seq = Seq(0);

    /// The position with this number.
    pub const fn new(position: u64) -> Seq {
        Seq(position)
    }

    /// The number of this position.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The position behind this one.
    #[must_use]
    pub const fn next(self) -> Seq {
        Seq(self.0 + 1)
    }

    /// The position `records` behind this one.
    #[must_use]
    pub const fn plus(self, records: u64) -> Seq {
        Seq(self.0 + records)
    }

    /// How many records lie from `earlier` (included) to here (excluded); 0 if it is not earlier.
    pub const fn since(self, earlier: Seq) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A point in time: microseconds since the Unix epoch, UTC.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Time(i64);

impl Time {
    /// The point in time this many microseconds after the Unix epoch.
    pub const fn from_micros(micros: i64) -> Time {
        Time(micros)
    }

    /// Microseconds since the Unix epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// What the machine's clock says now. It may jump; order comes from [`Seq`], not from here.
    #[allow(clippy::disallowed_methods, reason = "the one place of this crate that reads a clock")]
    pub fn now() -> Time {
        Time::from(SystemTime::now())
    }

    /// This much later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Time {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Time(self.0.saturating_add(micros))
    }

    /// The time that passed from `earlier` to here; zero if it is not earlier.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl From<SystemTime> for Time {
    fn from(time: SystemTime) -> Time {
        let micros = match time.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |m| -m),
        };
        Time(micros)
    }
}
