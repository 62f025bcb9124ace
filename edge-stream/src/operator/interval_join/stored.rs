//! The state of a join in the store: each chunk of rows under a key of its own, written once;
//! which rows of an outer join have a partner beside it; and the watermark.
//!
//! Part of the file format: keys are four times the number of a chunk's first row, and one of the
//! parts below.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;

use super::chunk::Chunk;
use super::{IntervalJoin, LEFT, RIGHT};
use crate::error::OperatorError;
use crate::operator::{StateReader, StateWriter};
use crate::watermark::EventTime;

const PARTS: i64 = 4;
/// Behind the numbers of the sides: for each row of a left chunk, whether it has a partner.
const FLAGS: i64 = 2;

/// Where the watermark lies: in front of all chunks.
const WATERMARK_KEY: i64 = -1;

impl IntervalJoin {
    pub(super) fn write(&mut self, state: &mut StateWriter<'_>) -> Result<(), OperatorError> {
        for side in [LEFT, RIGHT] {
            for first in std::mem::take(&mut self.sides[side].gone) {
                state.remove(key(first, side as i64));
                if self.plan.is_outer && side == LEFT {
                    state.remove(key(first, FLAGS));
                }
            }
            for (first, chunk) in &mut self.sides[side].chunks {
                if !chunk.is_stored {
                    state.put(key(*first, side as i64), &chunk.rows)?;
                    chunk.is_stored = true;
                }
                if chunk.is_touched {
                    let rows = (*first..).zip(&chunk.times);
                    let flags = rows.map(|(number, time)| !self.lonely.contains(&(*time, number)));
                    let flags: ArrayRef = Arc::new(BooleanArray::from(flags.collect::<Vec<_>>()));
                    let flags = RecordBatch::try_from_iter([("has_partner", flags)])?;
                    state.put(key(*first, FLAGS), &flags)?;
                    (chunk.is_touched, chunk.has_stored_flags) = (false, true);
                }
            }
        }
        // It says which rows of an outer join have been given out: without it, those that stay
        // with others in a chunk would be given out once more.
        if self.stored_watermark != self.watermark
            && let Some(watermark) = self.watermark
        {
            let micros: ArrayRef = Arc::new(Int64Array::from(vec![watermark.micros()]));
            state.put(WATERMARK_KEY, &RecordBatch::try_from_iter([("watermark", micros)])?)?;
            self.stored_watermark = self.watermark;
        }
        Ok(())
    }

    pub(super) fn read(&mut self, state: &StateReader<'_>) -> Result<(), OperatorError> {
        for entry in state.entries() {
            let (stored_key, columns, _) = entry?;
            if stored_key == WATERMARK_KEY {
                let micros = columns.column(0).as_primitive_opt::<Int64Type>();
                let micros = micros.filter(|micros| micros.len() == 1);
                let micros = micros.ok_or_else(|| damaged("its watermark is damaged"))?.value(0);
                self.watermark = Some(EventTime::from_micros(micros));
                self.stored_watermark = self.watermark;
                continue;
            }
            let first = u64::try_from(stored_key / PARTS).map_err(|_| damaged("a key is wrong"))?;
            match stored_key % PARTS {
                FLAGS => self.read_flags(first, &columns)?,
                0 => self.read_chunk(LEFT, first, columns)?,
                1 => self.read_chunk(RIGHT, first, columns)?,
                _ => return Err(damaged("it has parts that a join has not")),
            }
        }
        Ok(())
    }

    fn read_chunk(
        &mut self,
        side: usize,
        first: u64,
        rows: RecordBatch,
    ) -> Result<(), OperatorError> {
        if rows.schema_ref() != &self.sides[side].schema {
            return Err(damaged("its rows have other columns"));
        }
        let came = self.arrived(side, rows)?;
        if self.plan.is_outer && side == LEFT {
            let expired = self.expired(LEFT);
            let lonely = came.times.iter().zip(first..).filter(|(time, _)| **time >= expired);
            self.lonely.extend(lonely.map(|(time, number)| (*time, number)));
        }
        let mut chunk = Chunk::new(came.rows, came.times);
        chunk.is_stored = true;
        self.sides[side].insert(first, chunk, &came.keys);
        Ok(())
    }

    /// They lie behind the rows that they are about.
    fn read_flags(&mut self, first: u64, columns: &RecordBatch) -> Result<(), OperatorError> {
        let flags = columns.column(0).as_boolean_opt();
        let chunk = self.sides[LEFT].chunks.get_mut(&first);
        let (Some(flags), Some(chunk)) = (flags, chunk) else {
            return Err(damaged("it has flags without rows"));
        };
        if flags.len() != chunk.len() {
            return Err(damaged("it has flags for other rows"));
        }
        chunk.has_stored_flags = true;
        for ((number, time), has_partner) in (first..).zip(&chunk.times).zip(flags.values()) {
            if has_partner {
                self.lonely.remove(&(*time, number));
            }
        }
        Ok(())
    }
}

fn key(first: u64, part: i64) -> i64 {
    first.cast_signed() * PARTS + part
}

fn damaged(reason: &str) -> OperatorError {
    OperatorError::State { reason: reason.to_owned() }
}
