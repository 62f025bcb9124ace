//! `GROUP BY` over windows that rows themselves open and close: `COUNT_WINDOW`, `EVENT_WINDOW` and
//! `STATE_WINDOW`.
//!
//! A row waits until the watermark has passed it. So windows are those of rows in order of event time,
//! in whatever order they come; only those of one point in time stay in the order in which they came.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, TimeUnit};
use datafusion::error::DataFusionError;

use super::session::{Division, Grouped, OpenWindows};
use super::state::{Passed, damaged, expect, number_of, numbered};
use super::waiting::Waiting;
use super::{Explain, Operator, Out, STATE_BYTES, StateReader, StateWriter};
use crate::error::OperatorError;
use crate::row_windows::RowWindows;
use crate::watermark::EventTime;

/// Kinds of entries, in the order in which they are read. Part of the file format.
const PASSED: u8 = 0;
const OPEN: u8 = 1;
const WAITING: u8 = 2;

#[derive(Debug)]
pub(crate) struct RowAggregate {
    of: Grouped,
    windows: RowWindows,
    waiting: Waiting,
    open: OpenWindows,
    /// The types of what waits.
    types: Vec<DataType>,
    /// Rows in front of it are in their windows.
    passed: Passed,
    limit_bytes: usize,
}

impl RowAggregate {
    /// `input` is what rows come in as.
    pub(crate) fn new(
        of: Grouped,
        windows: RowWindows,
        input: &Schema,
    ) -> Result<RowAggregate, DataFusionError> {
        let open = OpenWindows::new(of.clone(), Division::Rows(windows), input)?;
        let types = input.fields().iter().map(|field| field.data_type().clone()).collect();
        Ok(RowAggregate {
            waiting: Waiting::new(Arc::clone(&of.time), TimeUnit::Microsecond),
            of,
            windows,
            open,
            types,
            passed: Passed::default(),
            limit_bytes: STATE_BYTES,
        })
    }

    /// Runs every step once on a row of nulls, so that an aggregate that cannot be stored, or
    /// taken up again, is found when the query is planned.
    pub(crate) fn rehearse(&self, input: &Schema) -> Result<(), OperatorError> {
        self.open.rehearse(input)
    }

    fn stored_bytes(&self) -> usize {
        self.waiting.stored_bytes() + self.open.stored_bytes()
    }

    fn check_size(&self) -> Result<(), OperatorError> {
        let (used_bytes, limit_bytes) = (self.stored_bytes(), self.limit_bytes);
        if used_bytes <= limit_bytes {
            return Ok(());
        }
        let (windows, waiting) = (self.open.windows(), self.waiting.rows());
        Err(OperatorError::RowWindowsFull { windows, waiting, used_bytes, limit_bytes })
    }
}

impl Operator for RowAggregate {
    fn has_state(&self) -> bool {
        true
    }

    fn explain(&self) -> Explain {
        Explain {
            what: format!("{}{}", self.windows, self.of.text()),
            keeps: "rows until the watermark; each open window with its aggregates".to_owned(),
            until: self.windows.until(),
        }
    }

    fn holds(&self) -> String {
        format!("{} windows and {} rows that wait", self.open.windows(), self.waiting.rows())
    }

    fn state_bytes(&self) -> usize {
        self.stored_bytes()
    }

    fn on_batch(
        &mut self,
        _: usize,
        batch: RecordBatch,
        out: &mut Out,
    ) -> Result<(), OperatorError> {
        self.waiting.push(batch, self.passed.at, out)
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Out) -> Result<(), OperatorError> {
        let watermark = self.of.held(watermark);
        self.passed.at = Some(watermark);
        if let Some(ready) = self.waiting.take(watermark)? {
            self.open.take_in(&ready.rows, watermark)?;
        }
        self.open.close(watermark, out)
    }

    fn watermark_out(&self, watermark: EventTime) -> EventTime {
        self.of.held(watermark)
    }

    fn snapshot(&mut self, state: &mut StateWriter<'_>) -> Result<(), OperatorError> {
        self.passed.store(state, numbered(PASSED, 0))?;
        self.open.store(state, |bucket| numbered(OPEN, bucket.cast_unsigned()))?;
        self.waiting.store(state, |number| numbered(WAITING, number))?;
        self.check_size()
    }

    fn restore(&mut self, state: &StateReader<'_>) -> Result<(), OperatorError> {
        let mut buckets = Vec::new();
        for entry in state.entries() {
            let (key, columns, bytes) = entry?;
            match number_of(key) {
                (PASSED, _) => self.passed.restore(&columns)?,
                (OPEN, number) => buckets.push(Ok((number.cast_signed(), columns, bytes))),
                (WAITING, number) => {
                    expect(&columns, &self.types)?;
                    self.waiting.restore(number, columns, self.passed.at, bytes)?;
                }
                _ => return Err(damaged("it has parts that windows of rows have not")),
            }
        }
        self.open.restore(buckets.into_iter())
    }
}
