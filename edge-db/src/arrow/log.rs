//! Record batches of a Log.

use std::ops::{ControlFlow, Range};

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, SchemaRef};

use super::error::external;
use super::record::{RecordColumns, log_schema};
use crate::error::ReadError;
use crate::view::View;
use crate::{Log, Records, Seq, Snapshot};

/// A batch takes no more than about this much of keys, headers and values, so that a backlog
/// costs no memory.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Room for more rows is not made before they are there.
const ROOM_ROWS: usize = 8192;

/// The records of a [`Log`] as record batches with the columns of [`log_schema`].
///
/// All of one moment: later commits do not change what it gives, and what it may still give stays
/// on disk while it lives, as with a [`Snapshot`]. Each batch has at least one row.
///
/// An error is a [`ReadError`] in [`ArrowError::ExternalError`]; nothing comes after one.
#[derive(Debug)]
#[must_use]
pub struct LogBatches {
    log: Log,
    view: View,
    position: Seq,
    missing: Option<Range<Seq>>,
    max_rows: usize,
    /// What the last batch had.
    bytes: usize,
    is_done: bool,
}

impl Log {
    /// The records from `from` on that there are now, as Arrow record batches of at most
    /// `max_rows` rows (one at least) and about 4 MiB. From a time on, begin at
    /// [`Log::position_at`].
    ///
    /// Copies each record once, out of the page that it lies in. A batch that ends inside a
    /// compressed chunk has the next one decompress that again: take thousands of rows rather
    /// than tens.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let db = edge_db::Db::open(dir.path())?;
    /// # let log = db.log("readings")?;
    /// log.append(edge_db::Entry::new("21.5").key("lab"))?;
    /// for batch in log.record_batches(log.bounds()?.start, 8192)? {
    ///     let batch = batch?;
    ///     assert_eq!((batch.num_rows(), batch.schema().field(3).name().as_str()), (1, "value"));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn record_batches(&self, from: Seq, max_rows: usize) -> Result<LogBatches, ReadError> {
        LogBatches::new(self, self.db().view()?, from, max_rows)
    }
}

impl Snapshot {
    /// The records from `from` on at this moment: [`Log::record_batches`].
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn record_batches(
        &self,
        log: &Log,
        from: Seq,
        max_rows: usize,
    ) -> Result<LogBatches, ReadError> {
        LogBatches::new(log, self.view().clone(), from, max_rows)
    }
}

impl Records {
    /// The records, in this order, as an Arrow record batch with the columns of [`log_schema`];
    /// without rows if there are none. Copies each record once: a reader that follows a log by
    /// [`Tail`](crate::Tail) gets its batches this way.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let db = edge_db::Db::open(dir.path())?;
    /// # let log = db.log("readings")?;
    /// let mut tail = log.tail(log.bounds()?.end);
    /// log.append(edge_db::Entry::new("21.5"))?;
    /// let records = tail.wait_next(8192, std::time::Duration::from_secs(5))?;
    /// assert_eq!(records.to_record_batch().num_rows(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn to_record_batch(&self) -> RecordBatch {
        let bytes = self.iter().map(|record| record.value().len()).sum();
        let mut columns = RecordColumns::with_capacity(self.len(), bytes);
        self.iter().for_each(|record| columns.push(record));
        columns.finish()
    }
}

impl LogBatches {
    fn new(log: &Log, view: View, from: Seq, max_rows: usize) -> Result<LogBatches, ReadError> {
        let first = log.state_in(&view)?.first;
        Ok(LogBatches {
            log: log.clone(),
            view,
            position: from.max(first),
            missing: (from < first).then_some(from..first),
            max_rows: max_rows.max(1),
            bytes: 0,
            is_done: false,
        })
    }

    /// The position behind the last batch: where to read on, and what a
    /// [`Cursor`](crate::Cursor) advances to with what was made of it.
    pub fn position(&self) -> Seq {
        self.position
    }

    /// What was asked for and is no longer kept. No batch has any of it.
    pub fn missing(&self) -> Option<Range<Seq>> {
        self.missing.clone()
    }

    fn read(&mut self) -> Result<RecordColumns, ReadError> {
        let mut columns = RecordColumns::with_capacity(self.max_rows.min(ROOM_ROWS), self.bytes);
        let mut position = self.position;
        self.log.visit_in(&self.view, self.position, |record| {
            columns.push(record);
            position = record.seq.next();
            let is_full = columns.rows() >= self.max_rows || columns.bytes() >= BATCH_BYTES;
            if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        self.position = position;
        self.bytes = columns.bytes();
        Ok(columns)
    }
}

impl Iterator for LogBatches {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        match self.read() {
            Ok(columns) if columns.rows() > 0 => Some(Ok(columns.finish())),
            Ok(_) => {
                self.is_done = true;
                None
            }
            Err(error) => {
                self.is_done = true;
                Some(Err(external(error)))
            }
        }
    }
}

impl RecordBatchReader for LogBatches {
    fn schema(&self) -> SchemaRef {
        log_schema()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Db, Entry};

    #[test]
    fn damaged_chunk_ends_the_batches_with_its_reason() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path()).unwrap();
        let log = db.log("readings").unwrap();
        for value in ["1", "2", "3"] {
            log.append(Entry::new(value)).unwrap();
        }
        let mut batch = db.batch();
        batch.put_system(log.space().chunk_key(Seq::new(1)).to_vec(), vec![2, 1, 0]);
        batch.commit().unwrap();

        let mut batches = log.record_batches(Seq::ZERO, 1).unwrap();
        assert_eq!(batches.next().unwrap().unwrap().num_rows(), 1);
        let Some(Err(ArrowError::ExternalError(error))) = batches.next() else { panic!() };
        let error = error.downcast::<ReadError>().unwrap();
        assert!(matches!(*error, ReadError::Value { name, .. } if name == "readings"));
        assert!(batches.next().is_none());
        assert_eq!(batches.position(), Seq::new(1));
    }
}
