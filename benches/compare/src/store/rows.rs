//! The rows that are stored: the same for every peer.

/// A key and its value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) key: [u8; 16],
    pub(super) value: [u8; VALUE_BYTES],
}

pub(super) const VALUE_BYTES: usize = 100;

impl Row {
    /// The row of this number. Keys of neighbours lie far apart, as those of many devices do, and
    /// values cannot be compressed.
    pub(super) fn new(number: u64) -> Row {
        let mut value = [0; VALUE_BYTES];
        // Not the stream of the key, so that the key does not tell the value.
        SplitMix(!number).fill(&mut value);
        Row { key: Row::key(number), value }
    }

    /// Its key alone.
    pub(super) fn key(number: u64) -> [u8; 16] {
        let mut key = [0; 16];
        SplitMix(number).fill(&mut key);
        key
    }
}

/// The splitmix64 generator: numbers in a row give streams that have nothing in common.
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
}
