//! Rows in order of event time: each waits until the watermark has passed it, and comes late if
//! that was so when it came.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use datafusion::physical_expr::PhysicalExpr;

use super::pending::{Ordered, Pending};
use super::{Out, StateWriter};
use crate::error::OperatorError;
use crate::watermark::EventTime;

#[derive(Debug)]
pub(super) struct Waiting {
    /// The event time, a TIMESTAMP.
    time: Arc<dyn PhysicalExpr>,
    /// What times are counted in.
    pub(super) unit: TimeUnit,
    pending: Pending,
}

impl Waiting {
    pub(super) fn new(time: Arc<dyn PhysicalExpr>, unit: TimeUnit) -> Waiting {
        Waiting { time, unit, pending: Pending::default() }
    }

    pub(super) fn rows(&self) -> usize {
        self.pending.rows()
    }

    pub(super) fn stored_bytes(&self) -> usize {
        self.pending.stored_bytes()
    }

    /// Takes rows in. Those in front of `passed` are late: they are counted, and left out.
    pub(super) fn push(
        &mut self,
        mut batch: RecordBatch,
        passed: Option<EventTime>,
        out: &mut Out,
    ) -> Result<(), OperatorError> {
        let mut times = self.times(&batch)?;
        if let Some(passed) = passed.map(|passed| in_unit(passed, self.unit))
            && times.values().iter().any(|time| *time < passed)
        {
            let in_time = times.values().iter().map(|time| Some(*time >= passed));
            let in_time: BooleanArray = in_time.collect();
            let rows = batch.num_rows();
            batch = filter_record_batch(&batch, &in_time)?;
            out.late += (rows - batch.num_rows()) as u64;
            times = self.times(&batch)?;
        }
        self.pending.push(Ordered::new(batch, times.values().clone())?);
        Ok(())
    }

    /// Takes out the rows in front of the watermark.
    pub(super) fn take(&mut self, watermark: EventTime) -> Result<Option<Ordered>, OperatorError> {
        self.pending.take(in_unit(watermark, self.unit))
    }

    /// Writes what has changed since the last time, each piece under the key of its number.
    pub(super) fn store(
        &mut self,
        state: &mut StateWriter<'_>,
        key: impl Fn(u64) -> i64,
    ) -> Result<(), OperatorError> {
        self.pending.store(|rows, number| state.put_or_remove(key(number), rows))
    }

    /// Takes over a stored piece, without the rows in front of `passed`, which have left it.
    pub(super) fn restore(
        &mut self,
        number: u64,
        batch: RecordBatch,
        passed: Option<EventTime>,
        bytes: usize,
    ) -> Result<(), OperatorError> {
        let times = self.times(&batch)?.values().clone();
        let passed = passed.map(|passed| in_unit(passed, self.unit));
        self.pending.restore(number, &Ordered::new(batch, times)?, passed, bytes);
        Ok(())
    }

    pub(super) fn times(&self, batch: &RecordBatch) -> Result<Int64Array, OperatorError> {
        let times = self.time.evaluate(batch)?.into_array(batch.num_rows())?;
        let zone = match times.data_type() {
            DataType::Timestamp(_, zone) => zone.clone(),
            _ => None,
        };
        let times = cast(&times, &DataType::Timestamp(self.unit, zone))?;
        if times.null_count() > 0 {
            let (column, rows) = (self.time.to_string(), times.null_count());
            return Err(OperatorError::NoEventTime { column, rows });
        }
        Ok(cast(&times, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
    }
}

/// The least time in a unit that does not lie in front of a point in time.
pub(crate) fn in_unit(time: EventTime, unit: TimeUnit) -> i64 {
    let up = |size: i64| {
        let micros = time.micros();
        micros.div_euclid(size) + i64::from(micros.rem_euclid(size) != 0)
    };
    match unit {
        TimeUnit::Second => up(1_000_000),
        TimeUnit::Millisecond => up(1000),
        TimeUnit::Microsecond => time.micros(),
        TimeUnit::Nanosecond => time.micros().saturating_mul(1000),
    }
}
