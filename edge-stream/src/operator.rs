//! A job is a flow of small operators. Each is a plain struct without clock, task or I/O.

pub(crate) mod asof_join;
mod buckets;
mod filter;
mod flow;
pub(crate) mod gap_fill;
pub(crate) mod interval_join;
pub(crate) mod lookup_join;
pub(crate) mod matches;
pub(crate) mod over;
mod packed;
mod pending;
pub(crate) mod places;
mod project;
pub(crate) mod rank;
pub(crate) mod row_window;
pub(crate) mod running;
pub(crate) mod session;
mod state;
mod union;
mod waiting;
pub(crate) mod window;

use std::fmt::Debug;

use arrow::array::RecordBatch;

pub(crate) use filter::Filter;
pub(crate) use flow::{Flow, Origin};
pub(crate) use project::Project;
pub use state::{Changes, Stored};
pub(crate) use state::{StateReader, StateWriter};
#[cfg(feature = "db")]
pub(crate) use state::{from_bytes, to_bytes};
pub(crate) use union::Union;
pub(crate) use waiting::in_unit;

use crate::error::OperatorError;
use crate::watermark::EventTime;

/// State of one operator as it is stored, but for those that say otherwise; beyond, the job stops and
/// says so. All of it may go into one batch of edge-db, which takes 64 MiB.
const STATE_BYTES: usize = 16 * 1024 * 1024;

/// One step of a query over rows that never end.
pub(crate) trait Operator: Debug + Send {
    /// Takes rows in at one of its inputs, and gives out what they make. All but joins have input 0
    /// only.
    fn on_batch(
        &mut self,
        input: usize,
        batch: RecordBatch,
        out: &mut Out,
    ) -> Result<(), OperatorError>;

    /// Event time has come so far at all inputs: no row in front of `watermark` is expected any
    /// more.
    fn on_watermark(&mut self, _watermark: EventTime, _out: &mut Out) -> Result<(), OperatorError> {
        Ok(())
    }

    /// All rows and the watermark of one step were taken in: gives out what has changed, if it is to
    /// do so each time.
    fn on_step_end(&mut self, _out: &mut Out) -> Result<(), OperatorError> {
        Ok(())
    }

    /// Event time stands where it stood at the last snapshot: what that completes has been given out.
    fn resume(&mut self, watermark: EventTime) -> Result<(), OperatorError> {
        self.on_watermark(watermark, &mut Out::default())
    }

    /// How far event time has come in what it gives out from here on, once it has come to
    /// `watermark` in what it takes in.
    fn watermark_out(&self, watermark: EventTime) -> EventTime {
        watermark
    }

    /// Whether its snapshots write anything.
    fn has_state(&self) -> bool {
        false
    }

    /// Bytes that its state takes in the store since the last snapshot.
    fn state_bytes(&self) -> usize {
        0
    }

    /// What that is the state of: `1200 groups`.
    fn holds(&self) -> String {
        "rows".to_owned()
    }

    /// What it does and keeps, in words for whoever asks by EXPLAIN.
    #[cfg_attr(not(feature = "db"), allow(dead_code, reason = "the engine answers EXPLAIN"))]
    fn explain(&self) -> Explain;

    /// Writes what has changed since the last snapshot.
    fn snapshot(&mut self, _state: &mut StateWriter<'_>) -> Result<(), OperatorError> {
        Ok(())
    }

    /// Takes over all that its snapshots have written; it is new when this is called.
    fn restore(&mut self, _state: &StateReader<'_>) -> Result<(), OperatorError> {
        Ok(())
    }
}

/// What an operator does, and what it needs over time for that.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(not(feature = "db"), allow(dead_code, reason = "the engine answers EXPLAIN"))]
pub(crate) struct Explain {
    pub(crate) what: String,
    /// What it has in its state.
    pub(crate) keeps: String,
    /// When it lets go of that.
    pub(crate) until: String,
}

impl Explain {
    /// An operator without state.
    pub(crate) fn stateless(what: String) -> Explain {
        Explain { what, keeps: "nothing".to_owned(), until: String::new() }
    }
}

/// What an operator gives out.
#[derive(Debug, Default)]
pub(crate) struct Out {
    pub(crate) batches: Vec<RecordBatch>,
    /// Rows that came behind the watermark and were left out.
    pub(crate) late: u64,
    /// Of a whole flow, where rows may leave its answer again: the keys of all that it has spoken
    /// of, whether they are in `batches` or not.
    pub(crate) spoken_of: Vec<RecordBatch>,
}

impl Out {
    pub(crate) fn push(&mut self, batch: RecordBatch) {
        if batch.num_rows() > 0 {
            self.batches.push(batch);
        }
    }
}
