//! Where the rows of a job go: into the batch that also stores its state and position.

pub(crate) mod sink;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use edge_db::{Batch, EncodeError, Entry, Log, RecordRef};

use super::cells::{self, Cell};
use super::late::LateOutput;
use super::stored::ViewTable;
use crate::decode::Rejected;
pub(crate) use sink::SinkOutput;

/// Where a job's rows go.
#[derive(Debug, Clone)]
pub(crate) enum Output {
    /// A stream's own job.
    Errors(StreamOutput),
    View(ViewOutput),
    Sink(SinkOutput),
}

#[derive(Debug, Clone)]
pub(crate) struct StreamOutput {
    /// What is no row.
    pub(crate) errors: Log,
    /// Rows behind the watermark, if somebody wants them.
    pub(crate) late: Option<LateOutput>,
}

#[derive(Debug, Clone)]
pub(crate) struct ViewOutput {
    pub(crate) table: ViewTable,
    /// Columns that tell rows apart; `None` if each row stands for itself.
    pub(crate) key: Option<Vec<usize>>,
}

/// Why rows could not be put into the batch.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputError {
    #[error("row cannot be stored")]
    Arrow(#[from] ArrowError),
    #[error("row cannot be stored")]
    Encode(#[from] EncodeError),
}

impl Output {
    /// Adds rows, of which `before` came earlier in the life of the job.
    pub(crate) fn add(
        &self,
        batch: &mut Batch,
        rows: &RecordBatch,
        before: u64,
    ) -> Result<(), OutputError> {
        match self {
            Output::Errors(_) => Ok(()),
            Output::View(view) => view.add(batch, rows, before),
            Output::Sink(sink) => sink.add(batch, rows),
        }
    }

    /// Takes rows with these keys out of a view. A sink has said what it has said.
    pub(crate) fn remove(&self, batch: &mut Batch, keys: &RecordBatch) -> Result<(), OutputError> {
        let Output::View(view) = self else { return Ok(()) };
        for key in cells::rows_of(keys)? {
            batch.remove(&view.table, &cells::key_of(&key));
        }
        Ok(())
    }
}

/// A record that is no row, as it came, with the reason.
pub(crate) fn rejection(record: RecordRef<'_>, rejected: &Rejected) -> Entry {
    let entry = Entry::new(record.value().to_vec()).key(record.key().to_vec());
    let entry = entry.header("reason", rejected.reason.clone()).at(record.time());
    let entry = entry.header("seq", record.seq().to_string());
    let headers = record.headers();
    headers.fold(entry, |entry, (name, value)| entry.header(name.to_owned(), value.to_vec()))
}

impl ViewOutput {
    fn add(&self, batch: &mut Batch, rows: &RecordBatch, before: u64) -> Result<(), OutputError> {
        for (number, row) in (before..).zip(cells::rows_of(rows)?) {
            let key = match &self.key {
                Some(columns) => cells::key_of(columns.iter().map(|column| &row[*column])),
                None => cells::key_of([&Cell::UInt(number)]),
            };
            batch.insert(&self.table, &key, &row)?;
        }
        Ok(())
    }
}
