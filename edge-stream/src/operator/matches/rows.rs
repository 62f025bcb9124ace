//! The rows that are kept of all keys, in segments as they are stored.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, new_null_array};
use arrow::compute::interleave;
use arrow::datatypes::{DataType, Int64Type};

use crate::error::OperatorError;
use crate::operator::state::{columns_as, damaged, expect};

/// Rows that are in segments and not needed, before all that are needed are put into one.
const SLACK_ROWS: usize = 1024;

/// Where a row lies, and its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: u64,
    pub(super) row: u32,
    pub(super) time: i64,
}

#[derive(Debug)]
pub(super) struct Kept {
    types: Vec<DataType>,
    pub(super) segments: BTreeMap<u64, Segment>,
    next: u64,
    /// Segments without a needed row that are still in the stored state.
    pub(super) left: Vec<u64>,
}

#[derive(Debug)]
pub(super) struct Segment {
    pub(super) rows: RecordBatch,
    /// Which of its rows are needed, and how many.
    pub(super) is_needed: Vec<bool>,
    needed: usize,
    /// Bytes in the store, if it is there.
    pub(super) stored: Option<usize>,
    /// Whether rows are needed no longer since it was stored.
    pub(super) is_touched: bool,
}

impl Segment {
    pub(super) fn new(rows: RecordBatch) -> Segment {
        let needed = rows.num_rows();
        Segment { rows, is_needed: vec![true; needed], needed, stored: None, is_touched: false }
    }
}

impl Kept {
    pub(super) fn new(types: Vec<DataType>) -> Kept {
        Kept { types, segments: BTreeMap::new(), next: 0, left: Vec::new() }
    }

    /// Rows that are needed.
    pub(super) fn rows(&self) -> usize {
        self.segments.values().map(|segment| segment.needed).sum()
    }

    pub(super) fn stored_bytes(&self) -> usize {
        self.segments.values().filter_map(|segment| segment.stored).sum()
    }

    /// The number that the next segment gets.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn kind(&self, column: usize) -> &DataType {
        &self.types[column]
    }

    /// Adds rows as a segment of their own; returns its number.
    pub(super) fn add(&mut self, columns: Vec<ArrayRef>) -> Result<u64, OperatorError> {
        let number = self.next;
        self.next += 1;
        self.segments.insert(number, Segment::new(columns_as(columns)?));
        Ok(number)
    }

    pub(super) fn rows_of(&self, segment: u64) -> usize {
        self.segments[&segment].rows.num_rows()
    }

    pub(super) fn columns(&self, segment: u64) -> &[ArrayRef] {
        self.segments[&segment].rows.columns()
    }

    /// One value, as a column.
    pub(super) fn value(&self, row: Place, column: usize) -> ArrayRef {
        self.columns(row.segment)[column].slice(row.row as usize, 1)
    }

    /// The values of these rows; null where there is none.
    pub(super) fn gather(
        &self,
        rows: &[Option<Place>],
        column: usize,
    ) -> Result<ArrayRef, OperatorError> {
        let nulls = new_null_array(self.kind(column), 1);
        let mut from: Vec<&dyn Array> = vec![nulls.as_ref()];
        let mut numbers = BTreeMap::new();
        let indices = rows.iter().map(|row| match row {
            None => (0, 0),
            Some(row) => {
                let number = *numbers.entry(row.segment).or_insert_with(|| {
                    from.push(self.columns(row.segment)[column].as_ref());
                    from.len() - 1
                });
                (number, row.row as usize)
            }
        });
        let indices: Vec<_> = indices.collect();
        Ok(interleave(&from, &indices)?)
    }

    /// A row is needed no longer.
    pub(super) fn remove(&mut self, row: Place) {
        let Some(segment) = self.segments.get_mut(&row.segment) else { return };
        segment.is_needed[row.row as usize] = false;
        (segment.needed, segment.is_touched) = (segment.needed - 1, true);
        if segment.needed == 0 {
            let stored = segment.stored.is_some();
            self.segments.remove(&row.segment);
            self.left.extend(stored.then_some(row.segment));
        }
    }

    /// Whether so many rows are not needed that what is needed is to be written once more.
    pub(super) fn is_slack(&self) -> bool {
        let rows: usize = self.segments.values().map(|segment| segment.rows.num_rows()).sum();
        rows > 2 * self.rows() + SLACK_ROWS
    }

    /// Puts these rows, which are all that are needed of some segments, into one in place of those;
    /// returns its number.
    pub(super) fn gather_into_one(&mut self, rows: &[Place]) -> Result<u64, OperatorError> {
        let from: Vec<_> = rows.iter().copied().map(Some).collect();
        let columns = (0..self.types.len()).map(|column| self.gather(&from, column));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        rows.iter().for_each(|row| self.remove(*row));
        self.add(columns)
    }

    /// Takes over a segment from the store.
    pub(super) fn restore(
        &mut self,
        number: u64,
        rows: RecordBatch,
        bytes: usize,
    ) -> Result<(), OperatorError> {
        expect(&rows, &self.types)?;
        self.next = self.next.max(number + 1);
        let segment = Segment { stored: Some(bytes), ..Segment::new(rows) };
        self.segments.insert(number, segment);
        Ok(())
    }

    /// Takes over which rows of a segment are needed.
    pub(super) fn restore_needed(
        &mut self,
        number: u64,
        stored: &RecordBatch,
    ) -> Result<(), OperatorError> {
        expect(stored, &[DataType::Boolean])?;
        let is_needed: Vec<_> = stored.column(0).as_boolean().values().iter().collect();
        let segment = self.segments.get_mut(&number);
        let segment = segment.filter(|segment| segment.is_needed.len() == is_needed.len());
        let segment = segment.ok_or_else(|| damaged("it is about other rows"))?;
        segment.needed = is_needed.iter().filter(|is_needed| **is_needed).count();
        segment.is_needed = is_needed;
        Ok(())
    }
}

/// The first column of what is kept.
pub(super) fn times(columns: &[ArrayRef]) -> Result<&Int64Array, OperatorError> {
    let times = columns.first().and_then(|times| times.as_primitive_opt::<Int64Type>());
    times.ok_or_else(|| damaged("its times are missing"))
}
