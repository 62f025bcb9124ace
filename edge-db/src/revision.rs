//! The number of a commit: what everything in the store is ordered by.

use std::fmt;

/// The number of a commit: a point in the history of a database that can be named.
///
/// Counts groups of batches that became durable together, densely from 1, in the order in which
/// everybody sees them. At a revision a database
/// holds that commit and all before it, each whole.
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
pub struct Revision(u64);

impl Revision {
    /// Before the first commit.
    pub const ZERO: Revision = Revision(0);

    /// The revision with this number.
    pub const fn new(number: u64) -> Revision {
        Revision(number)
    }

    /// The number of this revision.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The revision behind this one.
    #[must_use]
    pub const fn next(self) -> Revision {
        Revision(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
