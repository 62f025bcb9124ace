//! The number of a commit: what everything in the store is ordered by.

use std::fmt;

/// Counts groups of batches that became durable together, from 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Revision(u64);

impl Revision {
    /// Before the first commit.
    pub(crate) const ZERO: Revision = Revision(0);

    pub(crate) const fn new(number: u64) -> Revision {
        Revision(number)
    }

    pub(crate) const fn get(self) -> u64 {
        self.0
    }

    pub(crate) const fn next(self) -> Revision {
        Revision(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
