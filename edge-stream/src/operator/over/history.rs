//! The kept rows of all keys as they lie in the stored state.
//!
//! Each checkpoint adds one segment with the rows that are new, and takes away those of which no
//! row is kept any more. When most of what is stored is not kept, all is written once more: so a
//! row is written twice in the mean, though some keys are slow and others fast.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt64Array};
use arrow::compute::{concat, take};
use arrow::datatypes::{DataType, Int64Type, UInt64Type};
use datafusion::error::DataFusionError;

use super::keys::Keys;
use crate::error::OperatorError;
use crate::operator::pending::order_by;
use crate::operator::state::{columns_as, expect};

/// Rows that are stored and not kept, before all are written again.
const SLACK_ROWS: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct History {
    /// By the number of their first row; each reaches to the next one's.
    segments: BTreeMap<u64, Segment>,
    /// Rows from here on are in no segment.
    stored_to: u64,
    /// Segments without a kept row that are still in the stored state.
    left: Vec<u64>,
}

#[derive(Debug)]
struct Segment {
    rows: usize,
    kept: usize,
    bytes: usize,
}

impl History {
    pub(super) fn stored_bytes(&self) -> usize {
        self.segments.values().map(|segment| segment.bytes).sum()
    }

    /// A row is kept no longer.
    pub(super) fn gone(&mut self, number: u64) {
        if number >= self.stored_to {
            return;
        }
        let Some((first, segment)) = self.segments.range_mut(..=number).next_back() else { return };
        segment.kept -= 1;
        if segment.kept == 0 {
            let first = *first;
            self.segments.remove(&first);
            self.left.push(first);
        }
    }

    /// Calls `put` with rows to be stored, and without for what has left. `put` returns bytes.
    pub(super) fn store(
        &mut self,
        keys: &Keys,
        changed: impl Iterator<Item = u32>,
        mut put: impl FnMut(Option<&RecordBatch>, u64) -> Result<usize, OperatorError>,
    ) -> Result<(), OperatorError> {
        let stored: usize = self.segments.values().map(|segment| segment.rows).sum();
        let kept: usize = self.segments.values().map(|segment| segment.kept).sum();
        let rows = if stored > 2 * kept + SLACK_ROWS {
            self.left.extend(std::mem::take(&mut self.segments).into_keys());
            rows_from(keys, keys.places(), 0)?
        } else {
            rows_from(keys, changed, self.stored_to)?
        };
        for first in self.left.drain(..) {
            put(None, first)?;
        }
        self.stored_to = keys.next_number();
        let Some(batch) = rows else { return Ok(()) };
        let numbers = batch.column(0).as_primitive::<UInt64Type>();
        let first = numbers.values().iter().min().copied().unwrap_or_default();
        let (bytes, rows) = (put(Some(&batch), first)?, batch.num_rows());
        self.segments.insert(first, Segment { rows, kept: rows, bytes });
        Ok(())
    }

    /// Takes over the stored segments, by their numbers, with the bytes that they take.
    pub(super) fn restore(
        &mut self,
        keys: &mut Keys,
        types: &[DataType],
        segments: &[(u64, RecordBatch, usize)],
    ) -> Result<(), OperatorError> {
        let Some((_, first, _)) = segments.first() else { return Ok(()) };
        for (number, batch, bytes) in segments {
            expect(batch, types)?;
            let rows = batch.num_rows();
            self.segments.insert(*number, Segment { rows, kept: rows, bytes: *bytes });
        }
        let columns = (0..first.num_columns()).map(|column| {
            let parts: Vec<&dyn Array> =
                segments.iter().map(|(_, batch, _)| batch.column(column).as_ref()).collect();
            concat(&parts)
        });
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        self.restore_rows(keys, &columns)?;
        self.stored_to = keys.next_number();
        Ok(())
    }

    fn restore_rows(&self, keys: &mut Keys, columns: &[ArrayRef]) -> Result<(), OperatorError> {
        let rows = columns[0].len();
        let width = keys.width();
        let places = keys.places_of(&columns[2..2 + width], rows)?;
        let numbers = columns[0].as_primitive::<UInt64Type>().values();
        let by: Vec<_> = places.iter().copied().zip(numbers.iter().copied()).collect();
        let order = order_by(&by);
        let sorted = columns.iter().map(|column| take(column, &order, None));
        let sorted = sorted.collect::<Result<Vec<_>, _>>()?;
        let numbers = sorted[0].as_primitive::<UInt64Type>().values();
        let times = sorted[1].as_primitive::<Int64Type>().values();
        let mut end = 0;
        let place = |row: &u32| places[*row as usize];
        for run in order.values().chunk_by(|a, b| place(a) == place(b)) {
            let rows = end..end + run.len();
            end = rows.end;
            let slice = |column: &ArrayRef| column.slice(rows.start, rows.len());
            let arguments: Vec<_> = sorted[2 + width..].iter().map(slice).collect();
            keys.restore(place(&run[0]), &arguments, &times[rows.clone()], &numbers[rows])?;
        }
        Ok(())
    }
}

/// Rows of these keys, their numbers from `from` on: number, time, keys, arguments.
fn rows_from(
    keys: &Keys,
    places: impl Iterator<Item = u32>,
    from: u64,
) -> Result<Option<RecordBatch>, OperatorError> {
    let (mut numbers, mut times, mut names) = (Vec::new(), Vec::new(), Vec::new());
    let mut arguments: Vec<Vec<ArrayRef>> = vec![Vec::new(); keys.arguments()];
    for place in places {
        let key = keys.get(place);
        let first = key.rows.numbers.partition_point(|number| *number < from);
        let rows = key.rows.numbers.len() - first;
        if rows == 0 {
            continue;
        }
        numbers.extend_from_slice(&key.rows.numbers[first..]);
        times.extend_from_slice(&key.rows.times[first..]);
        names.extend(std::iter::repeat_n(&*key.bytes, rows));
        for (all, column) in arguments.iter_mut().zip(&key.rows.columns) {
            all.push(column.slice(first, rows));
        }
    }
    if numbers.is_empty() {
        return Ok(None);
    }
    let mut columns: Vec<ArrayRef> =
        vec![Arc::new(UInt64Array::from(numbers)), Arc::new(Int64Array::from(times))];
    columns.extend(keys.columns_of(names.into_iter())?);
    for parts in &arguments {
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        columns.push(concat(&parts)?);
    }
    columns_as(columns).map(Some).map_err(DataFusionError::from).map_err(OperatorError::from)
}
