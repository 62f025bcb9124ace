//! Where in the data file what redb calls a block is.
//!
//! ```text
//! | checksums | block 0 | block 1 | .. | block 1023 | checksums | block 1024 | ..
//! ```
//!
//! Each block has 4 KiB. One block of checksums, 4 bytes each, stands before those it is of.

use std::ops::Range;

pub(super) const BLOCK_BYTES: usize = 4096;
pub(super) const SUM_BYTES: usize = 4;

/// Blocks of redb's behind one of checksums.
const GROUP: usize = BLOCK_BYTES / SUM_BYTES;

/// Bytes of the file that hold so many bytes of redb's, whole blocks.
pub(super) fn file_len(len: u64) -> u64 {
    let blocks = len.div_ceil(BLOCK_BYTES as u64);
    (blocks + blocks.div_ceil(GROUP as u64)) * BLOCK_BYTES as u64
}

/// Bytes of redb's in a file of this length.
pub(super) fn len_in(file_len: u64) -> u64 {
    let blocks = file_len / BLOCK_BYTES as u64;
    (blocks - blocks.div_ceil(GROUP as u64 + 1)) * BLOCK_BYTES as u64
}

/// Where a block begins.
pub(super) fn offset_of(block: usize) -> u64 {
    ((block + block / GROUP + 1) * BLOCK_BYTES) as u64
}

/// Where a block's checksum is.
pub(super) fn sum_offset_of(block: usize) -> u64 {
    let (group, place) = (block / GROUP, block % GROUP);
    (group * (GROUP + 1) * BLOCK_BYTES + place * SUM_BYTES) as u64
}

/// The first block that has its checksum in another place than this one and its neighbours.
pub(super) fn group_end(block: usize) -> usize {
    (block / GROUP + 1) * GROUP
}

/// The parts of so many bytes from a block on that lie together in the file: where, and which.
pub(super) fn runs(first: usize, bytes: usize) -> impl Iterator<Item = (u64, Range<usize>)> {
    let mut block = first;
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == bytes {
            return None;
        }
        let end = bytes.min(done + (group_end(block) - block) * BLOCK_BYTES);
        let run = (offset_of(block), done..end);
        (block, done) = (group_end(block), end);
        Some(run)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_convert_both_ways() {
        for blocks in (0..4 * GROUP).map(|blocks| (blocks * BLOCK_BYTES) as u64) {
            assert_eq!(len_in(file_len(blocks)), blocks);
        }
        assert_eq!(file_len(0), 0);
        assert_eq!(file_len(1), 2 * BLOCK_BYTES as u64);
    }

    #[test]
    fn no_two_things_share_a_place() {
        let mut places: Vec<u64> = (0..3 * GROUP).map(offset_of).collect();
        places.extend((0..3 * GROUP).step_by(GROUP).map(sum_offset_of));
        places.sort_unstable();
        let every: Vec<u64> =
            (0..3 * GROUP + 3).map(|block| (block * BLOCK_BYTES) as u64).collect();
        assert_eq!(places, every);
        for block in [0, 1, GROUP - 1, GROUP, 2 * GROUP + 5] {
            let sum = sum_offset_of(block);
            assert!(sum.is_multiple_of(4) && sum + 4 <= offset_of(block / GROUP * GROUP));
        }
    }

    #[test]
    fn runs_are_where_their_blocks_are() {
        for (first, blocks) in [(0, 1), (3, GROUP), (GROUP - 1, 2), (GROUP, 2 * GROUP + 1)] {
            let mut found = vec![];
            for (offset, part) in runs(first, blocks * BLOCK_BYTES) {
                let parts = part.clone().step_by(BLOCK_BYTES);
                found.extend(parts.map(|at| offset + (at - part.start) as u64));
            }
            let expected: Vec<u64> = (first..first + blocks).map(offset_of).collect();
            assert_eq!(found, expected, "{blocks} blocks from {first}");
        }
        let short: Vec<_> = runs(0, 320).collect();
        assert_eq!(short, [(offset_of(0), 0..320)]);
    }
}
