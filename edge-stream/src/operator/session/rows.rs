//! Which bucket each row is for.

use std::ops::Range;

use arrow::array::ArrayRef;
use datafusion::common::hash_utils::{RandomState, create_hashes};
use datafusion::error::DataFusionError;

use crate::error::OperatorError;
use crate::operator::window::rows::Evaluated;

/// More cost time in each batch, fewer when few sessions of many end or change.
const BUCKETS: u64 = 32;

/// Another than that of DataFusion's hash tables, in which the keys of one bucket shall not lie
/// together.
const SEED: RandomState = RandomState::with_seed(7);

/// Brings rows of one bucket together, in the order in which they came. Returns each bucket's
/// number and rows.
pub(super) fn sort_by_bucket(
    rows: &mut Evaluated,
) -> Result<Vec<(i64, Range<usize>)>, OperatorError> {
    let mut buckets = buckets_of(&rows.keys, rows.starts().len())?;
    if !buckets.is_sorted() {
        let mut order: Vec<u32> = (0u32..).take(buckets.len()).collect();
        order.sort_by_key(|row| buckets[*row as usize]);
        rows.reorder(&order.into())?;
        buckets.sort_unstable();
    }
    let mut end = 0;
    let runs = buckets.chunk_by(|a, b| a == b);
    let ranges = runs.map(|run| {
        end += run.len();
        (run[0], end - run.len()..end)
    });
    Ok(ranges.collect())
}

/// The bucket of each row. It is the same after a restart, but need not be in another version.
pub(in crate::operator) fn buckets_of(
    keys: &[ArrayRef],
    rows: usize,
) -> Result<Vec<i64>, DataFusionError> {
    let mut hashes = vec![0; rows];
    create_hashes(keys, &SEED, &mut hashes)?;
    Ok(hashes.into_iter().map(|hash| (hash % BUCKETS).cast_signed()).collect())
}
