//! edge-db's own counters: the one place that knows the fields of its `Stats`.

use edge_db::Stats;

use crate::db::engine::Counters;

/// What these statistics say. `None` is what edge-db does not count yet; floors that rest on it
/// do not hold.
pub(super) fn of(_stats: &Stats) -> Counters {
    Counters { written_bytes: None, settlings: None, settling_waits: None, journal_used: None }
}
