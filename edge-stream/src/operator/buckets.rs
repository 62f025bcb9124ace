//! Groups in buckets by a hash of their keys, so that what is stored or taken out of accumulators
//! is a bucket, and not all groups.

use std::collections::BTreeSet;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::filter_record_batch;
use datafusion::common::hash_utils::{RandomState, create_hashes};
use datafusion::error::DataFusionError;

use crate::error::OperatorError;

/// More cost time in each batch, fewer when few groups of many end or change.
const BUCKETS: u64 = 32;

/// Another than that of DataFusion's hash tables, in which the keys of one bucket shall not lie
/// together.
const SEED: RandomState = RandomState::with_seed(7);

/// The bucket of each row. It is the same after a restart, but need not be in another version.
pub(super) fn buckets_of(keys: &[ArrayRef], rows: usize) -> Result<Vec<i64>, DataFusionError> {
    let mut hashes = vec![0; rows];
    create_hashes(keys, &SEED, &mut hashes)?;
    Ok(hashes.into_iter().map(|hash| (hash % BUCKETS).cast_signed()).collect())
}

/// Stored groups with these keys, divided by the bucket that they belong to in this version.
pub(super) fn divided(
    keys: &[ArrayRef],
    groups: &RecordBatch,
) -> Result<Vec<(i64, RecordBatch)>, OperatorError> {
    let buckets = buckets_of(keys, groups.num_rows())?;
    let parts = buckets.iter().collect::<BTreeSet<_>>().into_iter().map(|bucket| {
        let is_of_it = buckets.iter().map(|other| Some(other == bucket)).collect();
        Ok((*bucket, filter_record_batch(groups, &is_of_it)?))
    });
    parts.collect()
}
