//! edge-db's own counters: the one place that knows the fields of its `Stats`.

use edge_db::Stats;

use super::TABLE_BYTES;
use crate::db::engine::Counters;

/// What these statistics say.
pub(super) fn of(stats: &Stats) -> Counters {
    Counters {
        written_bytes: Some(stats.device_bytes),
        settlings: Some(stats.settlings),
        settling_waits: Some(stats.stalls),
        // A table is begun anew before the journal's limit is reached. Counts are far below 2^52.
        journal_used: Some(stats.memory_bytes as f64 / TABLE_BYTES as f64),
    }
}
