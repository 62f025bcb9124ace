//! Where in the data file what redb calls a block is.
//!
//! ```text
//! | entries | block 0 | block 1 | .. | entries | block G | block G + 1 | ..
//! ```
//!
//! Each block has 4 KiB. One block of entries, one for each of the G blocks behind it, stands in
//! front of them: as many as fit.

use std::ops::Range;

pub(super) const BLOCK_BYTES: usize = 4096;

/// Where things are in a file whose entries have so many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) entry_bytes: usize,
}

impl Layout {
    /// Blocks of redb's behind one of entries.
    fn group(self) -> usize {
        BLOCK_BYTES / self.entry_bytes
    }

    /// Bytes of the file that hold so many bytes of redb's, whole blocks.
    pub(super) fn file_len(self, len: u64) -> u64 {
        let blocks = len.div_ceil(BLOCK_BYTES as u64);
        (blocks + blocks.div_ceil(self.group() as u64)) * BLOCK_BYTES as u64
    }

    /// Bytes of redb's in a file of this length.
    pub(super) fn len_in(self, file_len: u64) -> u64 {
        let blocks = file_len / BLOCK_BYTES as u64;
        (blocks - blocks.div_ceil(self.group() as u64 + 1)) * BLOCK_BYTES as u64
    }

    /// Where a block begins.
    pub(super) fn offset_of(self, block: usize) -> u64 {
        ((block + block / self.group() + 1) * BLOCK_BYTES) as u64
    }

    /// Where a block's entry is.
    pub(super) fn entry_offset_of(self, block: usize) -> u64 {
        let (group, place) = (block / self.group(), block % self.group());
        (group * (self.group() + 1) * BLOCK_BYTES + place * self.entry_bytes) as u64
    }

    /// The first block that has its entry in another place than this one and its neighbours.
    pub(super) fn group_end(self, block: usize) -> usize {
        (block / self.group() + 1) * self.group()
    }

    /// The parts of so many bytes from a block on that lie together in the file: where, and which.
    pub(super) fn runs(
        self,
        first: usize,
        bytes: usize,
    ) -> impl Iterator<Item = (u64, Range<usize>)> {
        let mut block = first;
        let mut done = 0;
        std::iter::from_fn(move || {
            if done == bytes {
                return None;
            }
            let group_end = self.group_end(block);
            let end = bytes.min(done + (group_end - block) * BLOCK_BYTES);
            let run = (self.offset_of(block), done..end);
            (block, done) = (group_end, end);
            Some(run)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of checksums, and of seals.
    const LAYOUTS: [Layout; 2] = [Layout { entry_bytes: 4 }, Layout { entry_bytes: 40 }];

    #[test]
    fn lengths_convert_both_ways() {
        for layout in LAYOUTS {
            let blocks = 0..4 * layout.group();
            for bytes in blocks.map(|blocks| (blocks * BLOCK_BYTES) as u64) {
                assert_eq!(layout.len_in(layout.file_len(bytes)), bytes);
            }
            assert_eq!(layout.file_len(0), 0);
            assert_eq!(layout.file_len(1), 2 * BLOCK_BYTES as u64);
        }
    }

    #[test]
    fn no_two_things_share_a_place() {
        for layout in LAYOUTS {
            let group = layout.group();
            let blocks = 0..3 * group;
            let mut places: Vec<u64> = blocks.clone().map(|n| layout.offset_of(n)).collect();
            places.extend(blocks.step_by(group).map(|n| layout.entry_offset_of(n)));
            places.sort_unstable();
            let every: Vec<u64> = (0..3 * group + 3).map(|n| (n * BLOCK_BYTES) as u64).collect();
            assert_eq!(places, every);
            for block in [0, 1, group - 1, group, 2 * group + 5] {
                let entry = layout.entry_offset_of(block);
                let end = layout.offset_of(block / group * group);
                assert!(entry + layout.entry_bytes as u64 <= end);
                assert!(entry >= end - BLOCK_BYTES as u64);
            }
        }
    }

    #[test]
    fn runs_are_where_their_blocks_are() {
        for layout in LAYOUTS {
            let group = layout.group();
            for (first, blocks) in [(0, 1), (3, group), (group - 1, 2), (group, 2 * group + 1)] {
                let mut found = vec![];
                for (offset, part) in layout.runs(first, blocks * BLOCK_BYTES) {
                    let parts = part.clone().step_by(BLOCK_BYTES);
                    found.extend(parts.map(|at| offset + (at - part.start) as u64));
                }
                let expected = (first..first + blocks).map(|block| layout.offset_of(block));
                assert!(found.into_iter().eq(expected), "{blocks} blocks from {first}");
            }
            let short: Vec<_> = layout.runs(0, 320).collect();
            assert_eq!(short, [(layout.offset_of(0), 0..320)]);
        }
    }
}
