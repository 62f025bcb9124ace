//! Which bucket each row is for.

use std::ops::Range;

use crate::error::OperatorError;
use crate::operator::buckets::buckets_of;
use crate::operator::window::rows::Evaluated;

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
