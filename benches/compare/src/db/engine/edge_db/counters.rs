//! edge-db's own counters: the one place that knows the fields of its `Stats`.

use edge_db::Stats;

use crate::db::engine::{CACHE_BYTES, Counters};

/// What these statistics say.
pub(super) fn of(stats: &Stats) -> Counters {
    /// What one memory table may hold: it is begun anew before the journal's limit is reached.
    const TABLE_BYTES: usize = CACHE_BYTES / 8 * 3;
    Counters {
        written_bytes: Some(stats.device_bytes),
        settlings: Some(stats.settlings),
        settling_waits: Some(stats.stalls),
        // Counts are far below 2^52.
        journal_used: Some(stats.memory_bytes as f64 / TABLE_BYTES as f64),
    }
}
