//! The rows that are stored: the same for every engine.

use std::ops::Range;

/// A key and its value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) key: [u8; KEY_BYTES],
    pub(super) value: [u8; VALUE_BYTES],
}

const KEY_BYTES: usize = 16;
pub(super) const VALUE_BYTES: usize = 100;
pub(super) const ROW_BYTES: usize = KEY_BYTES + VALUE_BYTES;

impl Row {
    /// The row of this number. Keys of neighbours lie far apart, as those of many devices do, and
    /// values cannot be compressed.
    pub(super) fn new(number: u64) -> Row {
        Row { key: Row::key(number), value: Row::value(number) }
    }

    /// The row of this number with a key that sorts by the number, as records of a log do.
    pub(super) fn in_order(number: u64) -> Row {
        Row { key: u128::from(number).to_be_bytes(), value: Row::value(number) }
    }

    /// The key alone.
    pub(super) fn key(number: u64) -> [u8; KEY_BYTES] {
        let mut key = [0; KEY_BYTES];
        SplitMix(number).fill(&mut key);
        key
    }

    /// The value alone.
    pub(super) fn value(number: u64) -> [u8; VALUE_BYTES] {
        let mut value = [0; VALUE_BYTES];
        // Not the stream of the key, so that the key does not tell the value.
        SplitMix(!number).fill(&mut value);
        value
    }

    /// Whether this looks like the row's value: length and first bytes. Making all of it would
    /// cost as much as some engines take to find it.
    pub(super) fn is_value(number: u64, value: &[u8]) -> bool {
        value.len() == VALUE_BYTES && value.starts_with(&SplitMix(!number).next().to_le_bytes())
    }
}

/// Rows of these numbers.
pub(super) fn rows(numbers: Range<u64>) -> Vec<Row> {
    numbers.map(Row::new).collect()
}

/// The splitmix64 generator: numbers in a row give streams that have nothing in common.
#[derive(Debug)]
pub(super) struct SplitMix(pub(super) u64);

impl SplitMix {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn keys_differ_and_rows_repeat() {
        let keys: HashSet<_> = (0..10_000).map(Row::key).collect();
        assert_eq!(keys.len(), 10_000);
        assert_eq!(Row::new(7).value, Row::new(7).value);
    }

    #[test]
    fn a_value_is_known_by_its_number() {
        assert!(Row::is_value(7, &Row::value(7)));
        assert!(!Row::is_value(8, &Row::value(7)));
        assert!(!Row::is_value(7, &Row::value(7)[..99]));
    }

    #[test]
    fn rows_in_order_sort_by_number() {
        assert!((0..300).map(|number| Row::in_order(number).key).is_sorted());
    }
}
