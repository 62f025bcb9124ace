//! What becomes of the rows of an answer that is given out again and again.

use std::collections::HashSet;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};

/// A step of an answer, as `EMIT` and late rows make it.
#[derive(Debug, Clone, PartialEq)]
pub enum Delta {
    /// Rows of the answer. Each takes the place of the one with the same
    /// [key](crate::Pipeline::key), if there was one.
    Rows(RecordBatch),
    /// Keys, by the columns of [`Pipeline::key`](crate::Pipeline::key) in their order, whose rows
    /// are not in the answer any more; there may have been none.
    Gone(RecordBatch),
}

impl Delta {
    /// The rows of the answer, if it is about these.
    pub fn into_rows(self) -> Option<RecordBatch> {
        match self {
            Delta::Rows(rows) => Some(rows),
            Delta::Gone(_) => None,
        }
    }
}

#[cfg(feature = "db")]
impl Delta {
    /// The rows or keys that it is about.
    pub(crate) fn rows(&self) -> &RecordBatch {
        match self {
            Delta::Rows(rows) | Delta::Gone(rows) => rows,
        }
    }

    /// Some of its rows.
    pub(crate) fn slice(&self, from: usize, rows: usize) -> Delta {
        match self {
            Delta::Rows(all) => Delta::Rows(all.slice(from, rows)),
            Delta::Gone(all) => Delta::Gone(all.slice(from, rows)),
        }
    }
}

/// Of the keys that a query has spoken of, those that are not in its answer.
pub(crate) fn gone(
    spoken_of: &[RecordBatch],
    answer: &[RecordBatch],
    key: &[usize],
) -> Result<Option<RecordBatch>, ArrowError> {
    let Some(first) = spoken_of.first() else { return Ok(None) };
    let spoken_of = concat_batches(first.schema_ref(), spoken_of)?;
    if key.is_empty() {
        // All rows are one group.
        return Ok(answer.is_empty().then(|| spoken_of.slice(0, 1)));
    }
    let fields = spoken_of.columns().iter();
    let fields = fields.map(|column| SortField::new(column.data_type().clone())).collect();
    let converter = RowConverter::new(fields)?;
    let mut there = HashSet::new();
    for rows in answer {
        let keys = converter.convert_columns(rows.project(key)?.columns())?;
        there.extend(keys.iter().map(|key| key.owned()));
    }
    let keys = converter.convert_columns(spoken_of.columns())?;
    let is_gone: BooleanArray =
        keys.iter().map(|key| Some(!there.contains(&key.owned()))).collect();
    let gone = filter_record_batch(&spoken_of, &is_gone)?;
    Ok((gone.num_rows() > 0).then_some(gone))
}
