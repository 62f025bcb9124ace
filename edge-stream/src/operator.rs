//! A job is a chain of small operators. Each is a plain struct without clock, task or I/O.

mod filter;
mod project;
mod state;
pub(crate) mod window;

use std::fmt::Debug;

use arrow::array::RecordBatch;

pub(crate) use filter::Filter;
pub(crate) use project::Project;
pub use state::{Changes, Stored};
pub(crate) use state::{StateReader, StateWriter};

use crate::error::OperatorError;
use crate::watermark::EventTime;

/// One step of a query over rows that never end.
pub(crate) trait Operator: Debug + Send {
    /// Takes rows in, and gives out what they make.
    fn on_batch(&mut self, batch: RecordBatch, out: &mut Out) -> Result<(), OperatorError>;

    /// Event time has come so far: no row in front of `watermark` is expected any more.
    fn on_watermark(&mut self, _watermark: EventTime, _out: &mut Out) -> Result<(), OperatorError> {
        Ok(())
    }

    /// Whether its snapshots write anything.
    fn has_state(&self) -> bool {
        false
    }

    /// Writes what has changed since the last snapshot.
    fn snapshot(&mut self, _state: &mut StateWriter<'_>) -> Result<(), OperatorError> {
        Ok(())
    }

    /// Takes over all that its snapshots have written; it is new when this is called.
    fn restore(&mut self, _state: &StateReader<'_>) -> Result<(), OperatorError> {
        Ok(())
    }
}

/// What an operator gives out.
#[derive(Debug, Default)]
pub(crate) struct Out {
    pub(crate) batches: Vec<RecordBatch>,
    /// Rows that came behind the watermark and were left out.
    pub(crate) late: u64,
}

impl Out {
    pub(crate) fn push(&mut self, batch: RecordBatch) {
        if batch.num_rows() > 0 {
            self.batches.push(batch);
        }
    }
}

/// Operators in a row, the first one nearest to the source.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    operators: Vec<Box<dyn Operator>>,
}

impl Chain {
    pub(crate) fn push(&mut self, operator: impl Operator + 'static) {
        self.operators.push(Box::new(operator));
    }

    /// Carries rows, and then the watermark, if it has moved, through all operators.
    pub(crate) fn run(
        &mut self,
        rows: Option<RecordBatch>,
        watermark: Option<EventTime>,
    ) -> Result<Out, OperatorError> {
        let mut out = Out::default();
        rows.into_iter().for_each(|rows| out.push(rows));
        for operator in &mut self.operators {
            let mut next = Out { batches: Vec::new(), late: out.late };
            for batch in out.batches {
                operator.on_batch(batch, &mut next)?;
            }
            // Behind the rows, so that none of them is late for a watermark of its own batch.
            if let Some(watermark) = watermark {
                operator.on_watermark(watermark, &mut next)?;
            }
            out = next;
        }
        Ok(out)
    }

    /// What has changed since the last snapshot, under keys of this chain's own.
    pub(crate) fn snapshot(&mut self, changes: &mut Changes) -> Result<(), OperatorError> {
        for (place, operator) in self.with_state() {
            operator.snapshot(&mut StateWriter::new(place, changes))?;
        }
        Ok(())
    }

    /// Takes over what the snapshots of such a chain have written.
    pub(crate) fn restore(&mut self, stored: &Stored) -> Result<(), OperatorError> {
        let mut places = 0;
        for (place, operator) in self.with_state() {
            operator.restore(&StateReader::new(place, stored))?;
            places = place + 1;
        }
        match stored.range(vec![places]..vec![u8::MAX]).next() {
            None => Ok(()),
            Some(_) => {
                let reason = "it has parts that this query has not".to_owned();
                Err(OperatorError::State { reason })
            }
        }
    }

    /// Those with state, numbered among themselves: where a plan puts a filter or a projection
    /// does not change what belongs to whom.
    fn with_state(&mut self) -> impl Iterator<Item = (u8, &mut Box<dyn Operator>)> {
        (0u8..).zip(self.operators.iter_mut().filter(|operator| operator.has_state()))
    }
}
