//! How far event time has come: no row older than the watermark is expected any more.

mod key_column;
mod keys;
mod lowest;
mod stored;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{cast, max};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use datafusion::physical_expr::PhysicalExpr;

pub(crate) use key_column::KeyColumn;
pub(crate) use keys::Keys;
#[cfg(feature = "db")]
pub(crate) use keys::KeysStand;
pub(crate) use stored::below;

use crate::error::OperatorError;
use crate::stream::EventTimeColumn;

/// A point in event time: microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventTime(i64);

impl EventTime {
    /// The point in time this many microseconds after the Unix epoch.
    pub const fn from_micros(micros: i64) -> EventTime {
        EventTime(micros)
    }

    /// Microseconds since the Unix epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }
}

/// The watermark of one stream: the greatest value that `WATERMARK FOR` has given for a row, or the least
/// of those that it has given for the rows of each key.
#[derive(Debug)]
pub(crate) struct Watermark {
    of: EventTimeColumn,
    current: Option<EventTime>,
    keys: Option<Keys>,
}

impl Watermark {
    pub(crate) fn new(of: EventTimeColumn) -> Watermark {
        let keys = of.keys.clone().map(Keys::new);
        Watermark { of, current: None, keys }
    }

    pub(crate) fn current(&self) -> Option<EventTime> {
        self.current
    }

    /// Goes on from where it stood.
    pub(crate) fn restore(&mut self, current: Option<EventTime>) {
        self.current = current;
    }

    /// Those that have watermarks of their own.
    #[cfg(feature = "db")]
    pub(crate) fn keys(&self) -> Option<&Keys> {
        self.keys.as_ref()
    }

    pub(crate) fn keys_mut(&mut self) -> Option<&mut Keys> {
        self.keys.as_mut()
    }

    /// Looks at rows with all columns of the stream. Returns the new watermark if it has moved.
    pub(crate) fn observe(
        &mut self,
        rows: &RecordBatch,
    ) -> Result<Option<EventTime>, OperatorError> {
        let times = rows.column(self.of.index);
        if times.null_count() > 0 {
            let column = rows.schema_ref().field(self.of.index).name().clone();
            return Err(OperatorError::NoEventTime { column, rows: times.null_count() });
        }
        let reached = match &mut self.keys {
            None => latest(&self.of, rows)?,
            Some(keys) => {
                let mut reached = self.current;
                let marks = times_of(&*self.of.watermark, rows)?;
                keys.observe(rows, (times, &marks), &mut reached, |_, _| {})?;
                reached
            }
        };
        if reached <= self.current {
            return Ok(None);
        }
        self.current = reached;
        Ok(reached)
    }
}

fn latest(of: &EventTimeColumn, rows: &RecordBatch) -> Result<Option<EventTime>, OperatorError> {
    let newest = of.rises_with_time.then(|| newest(rows.column(of.index))).flatten();
    let times = match newest {
        Some(row) => times_of(&*of.watermark, &rows.slice(row, 1))?,
        None => times_of(&*of.watermark, rows)?,
    };
    Ok(max(times.as_primitive::<TimestampMicrosecondType>()).map(EventTime))
}

/// What an expression gives for rows, in microseconds.
pub(crate) fn times_of(
    expr: &dyn PhysicalExpr,
    rows: &RecordBatch,
) -> Result<ArrayRef, OperatorError> {
    let values = expr.evaluate(rows)?.into_array(rows.num_rows())?;
    Ok(micros_of(&values)?)
}

/// Times of any unit, in microseconds.
fn micros_of(times: &dyn Array) -> Result<ArrayRef, ArrowError> {
    cast(times, &DataType::Timestamp(TimeUnit::Microsecond, None))
}

#[cfg(test)]
mod tests;

/// The place of the greatest of these times, none of which is null; `None` if they are of another unit
/// than columns have.
fn newest(times: &ArrayRef) -> Option<usize> {
    let times = times.as_primitive_opt::<TimestampMicrosecondType>()?.values();
    let newest = times.iter().copied().max()?;
    times.iter().position(|time| *time == newest)
}
