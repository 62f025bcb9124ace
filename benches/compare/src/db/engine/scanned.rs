//! What a pass over all rows must have seen.

use std::ops::Range;

use crate::db::rows::{ROW_BYTES, Row, VALUE_BYTES};

/// What a scan saw.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(in crate::db) struct Scanned {
    pub(in crate::db) rows: u64,
    pub(in crate::db) bytes: u64,
    /// Sum of the last byte of each value: no store gets away without reading values.
    pub(in crate::db) last_bytes: u64,
}

impl Scanned {
    /// What a scan of the rows of these numbers must see.
    pub(in crate::db) fn of(numbers: Range<u64>) -> Scanned {
        let rows = numbers.end - numbers.start;
        let last_bytes = numbers.map(|number| u64::from(Row::value(number)[VALUE_BYTES - 1])).sum();
        Scanned { rows, bytes: rows * ROW_BYTES as u64, last_bytes }
    }

    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.rows += 1;
        self.bytes += (key.len() + value.len()) as u64;
        self.last_bytes += value.last().map_or(0, |byte| u64::from(*byte));
    }
}
