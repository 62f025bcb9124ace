//! Which bucket each row is for, and which slots.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt32Array};
use arrow::compute::{take, take_arrays};
use datafusion::common::cast::as_boolean_array;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::aggregates::group_values::GroupValues;

use super::bucket::intern;
use super::timeline::Says;
use crate::error::OperatorError;
use crate::operator::buckets::buckets_of;
use crate::operator::window::pane::Rows;
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

/// What each row says of the windows of its key: two conditions, a value, or nothing.
pub(super) fn says(
    deciding: &[ArrayRef],
    values: &mut Option<Box<dyn GroupValues>>,
    rows: usize,
) -> Result<Vec<Says>, DataFusionError> {
    let [opens, closes] = deciding else {
        let values = intern(values, deciding, rows)?;
        let value = |place| u32::try_from(place).expect("state has a limit far below");
        return Ok(values
            .into_iter()
            .map(|place| Says { value: value(place), ..Says::default() })
            .collect());
    };
    let (opens, closes) = (as_boolean_array(opens)?, as_boolean_array(closes)?);
    let holds = |of: &BooleanArray, row: usize| of.is_valid(row) && of.value(row);
    let says = |row| Says { opens: holds(opens, row), closes: holds(closes, row), value: 0 };
    Ok((0..rows).map(says).collect())
}

/// Rows with their slots: a row may be there several times, or not at all.
#[derive(Debug, Default)]
pub(super) struct Placed {
    rows: Vec<u32>,
    pub(super) slots: Vec<usize>,
}

impl Placed {
    pub(super) fn put(&mut self, row: u32, slot: usize) {
        self.rows.push(row);
        self.slots.push(slot);
    }

    /// Whether these are all of so many rows, as they are.
    pub(super) fn is_each_once(&self, rows: usize) -> bool {
        self.rows.len() == rows && self.rows.is_sorted_by(|a, b| a < b)
    }

    /// One row for each slot.
    pub(super) fn taken(&self, of: &Rows) -> Result<Rows, OperatorError> {
        let places = UInt32Array::from(self.rows.clone());
        let columns = |columns: &Vec<ArrayRef>| take_arrays(columns, &places, None);
        let filters = of.filters.iter().map(|filter| match filter {
            None => Ok(None),
            Some(filter) => Ok(Some(take(filter, &places, None)?.as_boolean().clone())),
        });
        let filters = filters.collect::<Result<_, OperatorError>>()?;
        let arguments = of.arguments.iter().map(columns).collect::<Result<_, _>>()?;
        let (keys, deciding) = (columns(&of.keys)?, columns(&of.deciding)?);
        Ok(Rows { len: places.len(), keys, deciding, arguments, filters })
    }
}
