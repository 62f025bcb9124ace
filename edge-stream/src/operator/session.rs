//! `GROUP BY` over session windows: rows of one key that are less than a gap apart. What it does with
//! open sessions serves all windows that each key has of its own.

mod bucket;
mod open;
mod rows;
mod shape;
mod timeline;

use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use datafusion::error::DataFusionError;

use super::{Explain, Operator, Out, STATE_BYTES, StateReader, StateWriter};
use crate::error::OperatorError;
use crate::watermark::EventTime;

pub(crate) use open::Grouped;
pub(in crate::operator) use open::OpenWindows;
pub(in crate::operator) use timeline::Division;

#[derive(Debug)]
pub(crate) struct SessionAggregate {
    of: Grouped,
    /// Rows are of one session if they are less than this apart.
    gap_micros: i64,
    open: OpenWindows,
    watermark: EventTime,
    limit_bytes: usize,
}

impl SessionAggregate {
    /// `input` is what rows come in as.
    pub(crate) fn new(
        of: Grouped,
        gap_micros: i64,
        input: &Schema,
    ) -> Result<SessionAggregate, DataFusionError> {
        let open = OpenWindows::new(of.clone(), Division::Gap(gap_micros), input)?;
        let (watermark, limit_bytes) = (EventTime::from_micros(i64::MIN), STATE_BYTES);
        Ok(SessionAggregate { of, gap_micros, open, watermark, limit_bytes })
    }

    /// Runs every step once on a row of nulls, so that an aggregate that cannot be stored, or
    /// taken up again, is found when the query is planned.
    pub(crate) fn rehearse(&self, input: &Schema) -> Result<(), OperatorError> {
        self.open.rehearse(input)
    }

    fn check_size(&self) -> Result<(), OperatorError> {
        let (used_bytes, limit_bytes) = (self.open.stored_bytes(), self.limit_bytes);
        if used_bytes <= limit_bytes {
            return Ok(());
        }
        Err(OperatorError::StateFull { groups: self.open.windows(), used_bytes, limit_bytes })
    }
}

impl Operator for SessionAggregate {
    fn has_state(&self) -> bool {
        true
    }

    fn explain(&self) -> Explain {
        let gap = Duration::from_micros(self.gap_micros.unsigned_abs());
        Explain {
            what: format!("sessions with gaps of {gap:?}{}", self.of.text()),
            keeps: "each open session with its aggregates".to_owned(),
            until: "the watermark is a gap behind its last row".to_owned(),
        }
    }

    fn holds(&self) -> String {
        format!("{} sessions", self.open.windows())
    }

    fn state_bytes(&self) -> usize {
        self.open.stored_bytes()
    }

    fn on_batch(
        &mut self,
        _: usize,
        batch: RecordBatch,
        out: &mut Out,
    ) -> Result<(), OperatorError> {
        out.late += self.open.take_in(&batch, self.watermark)?;
        Ok(())
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Out) -> Result<(), OperatorError> {
        self.watermark = self.of.held(watermark);
        self.open.close(self.watermark, out)
    }

    fn watermark_out(&self, watermark: EventTime) -> EventTime {
        self.of.held(watermark)
    }

    fn snapshot(&mut self, state: &mut StateWriter<'_>) -> Result<(), OperatorError> {
        self.open.store(state, |bucket| bucket)?;
        self.check_size()
    }

    fn restore(&mut self, state: &StateReader<'_>) -> Result<(), OperatorError> {
        self.open.restore(state.entries())
    }
}
