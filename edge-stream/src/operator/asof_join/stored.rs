//! The state of an ASOF join in the store: the watermark, the newest right rows in buckets, and the
//! pieces of what waits on both sides.

use arrow::array::RecordBatch;

use super::{AsofJoin, LEFT, RIGHT};
use crate::error::OperatorError;
use crate::operator::state::{damaged, number_of, numbered};
use crate::operator::{StateReader, StateWriter};

/// Kinds of entries, in the order in which they are read. Part of the file format.
const PASSED: u8 = 0;
const NEWEST: u8 = 1;
/// And of the right side behind it.
const WAITING: u8 = 2;

impl AsofJoin {
    pub(super) fn write(&mut self, state: &mut StateWriter<'_>) -> Result<(), OperatorError> {
        self.passed.store(state, numbered(PASSED, 0))?;
        self.newest.store(|rows, bucket| state.put_or_remove(numbered(NEWEST, bucket), rows))?;
        for (kind, waiting) in (WAITING..).zip(&mut self.waiting) {
            waiting.store(state, |number| numbered(kind, number))?;
        }
        Ok(())
    }

    pub(super) fn read(&mut self, state: &StateReader<'_>) -> Result<(), OperatorError> {
        for entry in state.entries() {
            let (key, rows, bytes) = entry?;
            let (kind, number) = number_of(key);
            match kind {
                PASSED => self.passed.restore(&rows)?,
                NEWEST => self.read_newest(number, &rows, bytes)?,
                WAITING => self.read_waiting(LEFT, number, rows, bytes)?,
                _ if kind == WAITING + 1 => self.read_waiting(RIGHT, number, rows, bytes)?,
                _ => return Err(damaged("it has parts that an ASOF join has not")),
            }
        }
        Ok(())
    }

    fn read_newest(
        &mut self,
        bucket: u64,
        rows: &RecordBatch,
        bytes: usize,
    ) -> Result<(), OperatorError> {
        self.check_columns(RIGHT, rows)?;
        let keys = self.newest.keyed(&self.plan.sides[RIGHT].keys, rows)?;
        let times = self.waiting[RIGHT].times(rows)?;
        self.newest.restore(bucket, (rows, times.values()), &keys, bytes)
    }

    fn read_waiting(
        &mut self,
        side: usize,
        number: u64,
        rows: RecordBatch,
        bytes: usize,
    ) -> Result<(), OperatorError> {
        self.check_columns(side, &rows)?;
        self.waiting[side].restore(number, rows, self.passed.at, bytes)
    }

    fn check_columns(&self, side: usize, rows: &RecordBatch) -> Result<(), OperatorError> {
        match rows.schema_ref() == &self.plan.sides[side].schema {
            true => Ok(()),
            false => Err(damaged("its rows have other columns")),
        }
    }
}
