//! What tells a block that is as it was written from another one: a checksum.

use twox_hash::XxHash3_64;

use super::layout::{BLOCK_BYTES, Layout};

/// Stands in place of block 0's entry: what the file is, and its format. That block, redb's header,
/// is overwritten in place, and has checksums of its own.
pub(super) const HEAD: &[u8; SUM_BYTES] = b"EDP1";

pub(super) const LAYOUT: Layout = Layout { entry_bytes: SUM_BYTES };

const SUM_BYTES: usize = 4;

/// The entries of these blocks.
pub(super) fn seal(first: usize, blocks: &[u8]) -> Vec<u8> {
    let blocks = (first..).zip(blocks.chunks_exact(BLOCK_BYTES));
    blocks.flat_map(|(block, bytes)| sum_of(block, bytes).to_le_bytes()).collect()
}

/// Whether a block that was read is the one that was written.
pub(super) fn is_whole(block: usize, bytes: &[u8], entry: &[u8]) -> bool {
    let sum = entry.try_into().map_or(0, u32::from_le_bytes);
    // What was never written is zeros; what was has a checksum, or lost it.
    if sum == 0 { bytes.iter().all(|&byte| byte == 0) } else { sum == sum_of(block, bytes) }
}

/// Never 0. A block counts at its own place only.
fn sum_of(block: usize, bytes: &[u8]) -> u32 {
    let sum = XxHash3_64::oneshot_with_seed(block as u64, bytes);
    u32::try_from(sum & u64::from(u32::MAX)).expect("masked").max(1)
}
