//! Rows of a Parquet file as payloads of a stream.

use std::collections::VecDeque;
use std::fs::File;

use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use crate::decode::format::{Format, FormatKind};
use crate::encode::Encoder;

/// Rows that are read at a time.
const ROWS: usize = 1024;

/// A file that is being read.
#[derive(Debug)]
pub(super) struct Rows {
    batches: ParquetRecordBatchReader,
    encoder: Encoder,
    waiting: VecDeque<Vec<u8>>,
}

impl Rows {
    pub(super) fn open(file: File, format: &Format) -> Result<Rows, String> {
        if format.kind == FormatKind::SparkplugB {
            return Err("no file can be replayed into a stream of format 'sparkplug_b'".to_owned());
        }
        let builder = ParquetRecordBatchReaderBuilder::try_new(file);
        let builder = builder.map_err(|error| error.to_string())?;
        let encoder = Encoder::new(format, builder.schema(), &[])?;
        let batches = builder.with_batch_size(ROWS).build().map_err(|error| error.to_string())?;
        Ok(Rows { batches, encoder, waiting: VecDeque::new() })
    }

    pub(super) fn next_payload(&mut self) -> Result<Option<Vec<u8>>, String> {
        while self.waiting.is_empty() {
            let Some(rows) = self.batches.next() else { return Ok(None) };
            let payloads = rows.and_then(|rows| self.encoder.payloads(&rows));
            self.waiting.extend(payloads.map_err(|error| error.to_string())?);
        }
        Ok(self.waiting.pop_front())
    }
}
