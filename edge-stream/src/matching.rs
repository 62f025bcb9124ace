//! Patterns over rows in order, as `MATCH_RECOGNIZE` has them: which rows a pattern takes, and which
//! of its variables each of them is.
//!
//! It knows neither columns nor time: whether a row may be a variable is asked of the caller.

mod attempt;
mod pattern;
mod slots;
#[cfg(test)]
mod tests;

pub(crate) use attempt::{Attempt, Crowded, Status};
pub(crate) use pattern::{Pattern, Program, Unusable};
pub(crate) use slots::{Anchor, Reference, Slots, Slotted};
