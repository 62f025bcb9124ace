//! Where the rows of a job go: into the batch that also stores its state and position.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow_json::LineDelimitedWriter;
use edge_db::{Batch, EncodeError, Entry, Log, Record};

use super::cells::{self, Cell};
use super::stored::ViewTable;
use crate::decode::Rejected;
use crate::topic::TopicPattern;

/// Where a job's rows go.
#[derive(Debug, Clone)]
pub(crate) enum Output {
    /// A stream's own job: what is no row goes into its Log of errors.
    Errors(Log),
    View(ViewOutput),
    Sink(SinkOutput),
}

#[derive(Debug, Clone)]
pub(crate) struct ViewOutput {
    pub(crate) table: ViewTable,
    /// Columns that tell rows apart; `None` if each row stands for itself.
    pub(crate) key: Option<Vec<usize>>,
}

#[derive(Debug, Clone)]
pub(crate) struct SinkOutput {
    pub(crate) log: Log,
    pub(crate) topic: TopicPattern,
    /// The column of each named level.
    pub(crate) levels: Vec<usize>,
    /// Rows whose topic cannot be.
    pub(crate) errors: Log,
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
}

/// A record that is no row, as it came, with the reason.
pub(crate) fn rejection(record: &Record, rejected: &Rejected) -> Entry {
    let entry = Entry::new(record.value().clone()).key(record.key().clone());
    let entry = entry.header("reason", rejected.reason.clone()).at(record.time());
    let entry = entry.header("seq", record.seq().to_string());
    record.headers().fold(entry, |entry, (name, value)| entry.header(name.to_owned(), value))
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

impl SinkOutput {
    fn add(&self, batch: &mut Batch, rows: &RecordBatch) -> Result<(), OutputError> {
        let mut writer = LineDelimitedWriter::new(Vec::new());
        writer.write(rows)?;
        writer.finish()?;
        let lines = writer.into_inner();
        let levels = self.levels.iter().map(|level| cast(rows.column(*level), &DataType::Utf8));
        let levels = levels.collect::<Result<Vec<_>, _>>()?;
        for (row, line) in lines.split(|byte| *byte == b'\n').take(rows.num_rows()).enumerate() {
            let mut values = levels.iter().map(|level| {
                let level = level.as_string::<i32>();
                if level.is_null(row) { "" } else { level.value(row) }
            });
            let entry = Entry::new(line.to_vec());
            match self.topic.render(|_| values.next().unwrap_or_default()) {
                Ok(topic) => batch.append(&self.log, entry.key(topic)),
                Err(error) => batch.append(&self.errors, entry.header("reason", error.to_string())),
            }
        }
        Ok(())
    }
}
