//! Messages that did not come when they should have.

use std::collections::BTreeMap;

/// Gaps that are remembered. Of more, it is only known how much is missing.
const MOST: usize = 100_000;

/// What is missing in each stream so far. What comes late fills a gap; what comes without one has
/// come before.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    /// By stream and first number: the number behind the last.
    open: BTreeMap<(usize, u64), u64>,
    missing: u64,
}

impl Gaps {
    pub(super) fn missing(&self) -> u64 {
        self.missing
    }

    /// Numbers from the first up to, and without, the last did not come.
    pub(super) fn open(&mut self, stream: usize, first: u64, end: u64) {
        self.missing += end - first;
        if self.open.len() < MOST {
            self.open.insert((stream, first), end);
        }
    }

    /// Whether this one was missing.
    pub(super) fn fill(&mut self, stream: usize, number: u64) -> bool {
        let around = self.open.range(..=(stream, number)).next_back();
        let Some((&(found, first), &end)) = around else { return false };
        if found != stream || number >= end {
            return false;
        }
        self.missing -= 1;
        self.open.remove(&(stream, first));
        if first < number {
            self.open.insert((stream, first), number);
        }
        if number + 1 < end {
            self.open.insert((stream, number + 1), end);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_of_a_gap_is_missing_once() {
        let mut gaps = Gaps::default();
        gaps.open(1, 5, 9);
        gaps.open(2, 0, 1);
        for (stream, number, is_missing) in [
            (1, 4, false),
            (1, 9, false),
            (0, 5, false),
            (1, 7, true),
            (1, 7, false),
            (1, 5, true),
            (1, 6, true),
            (1, 8, true),
            (2, 0, true),
            (2, 0, false),
        ] {
            assert_eq!(gaps.fill(stream, number), is_missing, "{stream} {number}");
        }
        assert_eq!((gaps.missing(), gaps.open.len()), (0, 0));
    }
}
