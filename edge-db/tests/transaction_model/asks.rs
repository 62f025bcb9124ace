//! What goes between a script and the thread of a transaction.

use std::ops::Range;

/// What a transaction is told to do.
#[derive(Debug, Clone)]
pub(crate) enum Ask {
    Get(u8),
    Range(Range<u8>),
    Insert(u8, u8),
    Remove(u8),
    Append,
    Commit,
    GiveUp,
}

/// What it answers.
#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    Began,
    Row(Option<u8>),
    Rows(Vec<(u8, u8)>),
    Written,
    Stored,
    GivenUp,
    Failed(String),
}

/// One step of a plain batch.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Insert(u8, u8),
    Remove(u8),
    RemoveRange(Range<u8>),
    Add(u8, u8),
    Expect(u8, Option<u8>),
}
