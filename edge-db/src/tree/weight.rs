//! How much of the data file is in use, as far as that can be known without walking it.
//!
//! redb takes most holes in its file before it lets it grow. So when content grew and the file about
//! as much, all of the file is in use, which says how many bytes of file a byte of content takes;
//! then content that goes leaves holes of that size. When the file did not grow as much, there were
//! holes, perhaps more than was known: the estimate gives way. Right after content went, growth says
//! nothing: what one settling frees can be taken by the next but one.

/// A byte takes at least a byte.
const LEAST_DENSITY: u32 = 256;
/// What a byte takes as long as nothing is known, in 256ths.
const FIRST_DENSITY: u32 = 512;
/// Bytes of a file with nothing in it.
const EMPTY_BYTES: u64 = 96 * 1024;
/// A smaller change says nothing.
const LEAST_CHANGE: u64 = 256 * 1024;
/// So many settlings after content went growth begins to say something.
const CALM: u8 = 2;

/// What the tree holds, and what that takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Weight {
    /// Bytes of keys and values.
    content: u64,
    /// Bytes of file for 256 bytes of content.
    density: u32,
    /// Bytes that the file occupied when that was last measured; 0 if it was not.
    file: u64,
    /// What growth is compared with.
    before: Option<Before>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Before {
    content: u64,
    file: u64,
    /// Settlings for which it is not.
    calm: u8,
}

impl Default for Weight {
    fn default() -> Weight {
        Weight { content: 0, density: FIRST_DENSITY, file: 0, before: None }
    }
}

impl Weight {
    pub(crate) const BYTES: usize = 12;

    pub(crate) fn encode(self) -> [u8; Weight::BYTES] {
        let mut bytes = [0; Weight::BYTES];
        bytes[..8].copy_from_slice(&self.content.to_be_bytes());
        bytes[8..].copy_from_slice(&self.density.to_be_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: [u8; Weight::BYTES]) -> Weight {
        let [a, b, c, d, e, f, g, h, density @ ..] = bytes;
        Weight {
            content: u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            density: u32::from_be_bytes(density).max(LEAST_DENSITY),
            ..Weight::default()
        }
    }

    pub(crate) fn content(self) -> u64 {
        self.content
    }

    #[must_use]
    pub(crate) fn with_content(self, content: u64) -> Weight {
        Weight { content, ..self }
    }

    /// Takes in how much the file occupies now. One that was written anew is smaller, and has no
    /// holes.
    #[must_use]
    pub(crate) fn measured(self, file: u64) -> Weight {
        let content = self.content;
        let after = |density, calm| {
            let before = Some(Before { content, file, calm });
            Weight { content, density, file, before }
        };
        let all_in_use = || {
            let density = file.saturating_sub(EMPTY_BYTES) * 256 / content.max(1);
            u32::try_from(density).unwrap_or(u32::MAX).max(LEAST_DENSITY)
        };
        let Some(before) = self.before else { return after(self.density, CALM) };
        let change = LEAST_CHANGE.max(content / 16);
        let grown = file.saturating_sub(before.file);
        if file < before.file || grown >= 4 * change {
            return after(all_in_use(), 0);
        }
        if before.content >= content.saturating_add(change) {
            return after(self.density, CALM);
        }
        if before.calm > 0 {
            return after(self.density, before.calm - 1);
        }
        let more = content.saturating_sub(before.content);
        if more < change {
            return Weight { file, ..self };
        }
        let expected = more.saturating_mul(u64::from(self.density)) / 256;
        let holes_were_taken = grown < expected / 2;
        let given_way = (self.density - self.density / 8).max(LEAST_DENSITY);
        after(if holes_were_taken { given_way } else { all_in_use() }, 0)
    }

    /// Bytes of the file that are no holes.
    pub(crate) fn in_use(self) -> u64 {
        let content = u128::from(self.content) * u128::from(self.density) / 256;
        let content = u64::try_from(content).unwrap_or(u64::MAX);
        content.saturating_add(EMPTY_BYTES).min(self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Grows by steps, and the file with it, by so many percent of the content.
    fn filled(from: Weight, to: u64, percent: u64) -> Weight {
        (from.content..=to).step_by(100_000).fold(from, |weight, content| {
            weight.with_content(content).measured(content * percent / 100 + EMPTY_BYTES)
        })
    }

    fn assert_near(weight: Weight, expected: u64) {
        let found = weight.in_use();
        assert!(found.abs_diff(expected) <= expected / 20, "{found} is not about {expected}");
    }

    #[test]
    fn file_that_grows_with_its_content_is_all_in_use() {
        for percent in [110, 150, 400] {
            let weight = filled(Weight::default(), 3_000_000, percent);
            assert_near(weight, weight.file);
        }
    }

    #[test]
    fn content_that_goes_leaves_holes_and_coming_back_takes_them() {
        let full = filled(Weight::default(), 4_000_000, 150);
        // Removing itself makes the file grow.
        let half = full.with_content(2_000_000).measured(full.file + 200_000);
        assert_near(half, 3_000_000 + EMPTY_BYTES);
        let half = half.with_content(2_010_000).measured(half.file + 100_000);
        assert_near(half, 3_000_000 + EMPTY_BYTES);
        let grown = (2_010_000..4_000_000)
            .step_by(100_000)
            .fold(half, |weight, content| weight.with_content(content).measured(half.file));
        assert!(grown.in_use() > 4_000_000 && grown.in_use() <= half.file, "{grown:?}");
        let full = filled(grown, 4_400_000, 160);
        assert_near(full, full.file);
    }

    #[test]
    fn holes_that_a_snapshot_left_are_believed_once_they_are_taken() {
        // Rewritten again and again beside a snapshot, that is then dropped.
        let pinned = filled(Weight::default(), 10_000_000, 120).measured(40_000_000);
        assert_near(pinned, 40_000_000);
        let weight = (10_000_000..18_000_000)
            .step_by(700_000)
            .fold(pinned, |weight, content| weight.with_content(content).measured(40_000_000));
        assert!(weight.in_use() < 38_000_000, "{weight:?}");
    }

    #[test]
    fn what_is_stored_says_the_same_after_opening() {
        let full = filled(Weight::default(), 4_000_000, 150);
        let half = full.with_content(2_000_000).measured(full.file);
        let opened = Weight::decode(half.encode()).measured(half.file);
        assert_eq!(opened.in_use(), half.in_use());
        let grown = opened.with_content(2_100_000).measured(half.file + 200_000);
        assert_near(grown, 3_150_000 + EMPTY_BYTES);
    }

    #[test]
    fn nothing_overflows() {
        let weight = Weight::default().measured(1).with_content(u64::MAX);
        assert_eq!(weight.measured(u64::MAX / 256).in_use(), u64::MAX / 256);
        assert_eq!(Weight::default().in_use(), 0);
    }
}
