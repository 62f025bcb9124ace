//! Rows that are kept together, with numbers that follow each other.

use arrow::array::RecordBatch;

/// Each level holds eight times the rows of the one below.
const LEVEL_BITS: u32 = 3;

#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) rows: RecordBatch,
    pub(super) times: Vec<i64>,
    pub(super) is_stored: bool,
    /// Whether it has changed, since the last snapshot, which of its rows have a partner.
    pub(super) is_touched: bool,
    /// Whether the store says which of its rows have a partner.
    pub(super) has_stored_flags: bool,
}

impl Chunk {
    pub(super) fn new(rows: RecordBatch, times: Vec<i64>) -> Chunk {
        let (is_stored, is_touched, has_stored_flags) = (false, false, false);
        Chunk { rows, times, is_stored, is_touched, has_stored_flags }
    }

    pub(super) fn len(&self) -> usize {
        self.times.len()
    }

    pub(super) fn latest(&self) -> i64 {
        self.times.iter().copied().max().unwrap_or(i64::MIN)
    }

    pub(super) fn level(&self) -> u32 {
        self.len().max(1).ilog2() / LEVEL_BITS
    }

    pub(super) fn bytes(&self) -> usize {
        self.rows.get_array_memory_size() + self.times.len() * size_of::<i64>()
    }
}
