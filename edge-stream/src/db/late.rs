//! `late = 'divert'`: rows that came behind the watermark of their stream, into a Log.
//!
//! The stream's own job decides, record by record: it is late what lies in front of the greatest
//! watermark of the records before it. That does not depend on how many records are read at a
//! time, and whatever a query over the stream alone can find late is among it. With a watermark for each
//! key of the stream, it is the least of those.

use std::collections::VecDeque;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch, UInt64Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{FieldRef, Int64Type, TimestampMicrosecondType};
use arrow_json::LineDelimitedWriter;
use edge_db::{Batch, Entry, Log, RecordRef};

use crate::decode::{METADATA, rfc3339};
use crate::error::OperatorError;
use crate::operator::{Changes, Stored};
use crate::stream::EventTimeColumn;
use crate::watermark::{EventTime, Keys, KeysStand, below, times_of};

/// Under which the state of a stream's own job has its watermark. No decoder has this key.
const LATE_KEY: &[u8] = &[0xFD];

/// And those of its keys.
const LATE_KEYS_KEY: &[u8] = &[0xFD, 1];

/// What a Log of late rows keeps; of more in one checkpoint the oldest would be dropped at once.
pub(crate) const LATE_BYTES: u64 = 16 * 1024 * 1024;

/// Where the late rows of a stream go.
#[derive(Debug, Clone)]
pub(crate) struct LateOutput {
    pub(crate) log: Log,
    pub(crate) event_time: EventTimeColumn,
}

/// The late rows of one life of a stream's own job.
#[derive(Debug)]
pub(crate) struct Late {
    of: LateOutput,
    watermark: Option<EventTime>,
    keys: Option<Keys>,
    /// What is stored of keys that it has not.
    unwanted: Vec<Vec<u8>>,
    /// Rows that have been late.
    count: u64,
    /// Those since the last checkpoint, with their bytes.
    entries: VecDeque<(Entry, u64)>,
    bytes: u64,
}

impl Late {
    /// Goes on from what [`Late::store`] has written.
    pub(crate) fn open(of: LateOutput, stored: &Stored) -> Result<Late, OperatorError> {
        let mut keys = of.event_time.keys.clone().map(Keys::new);
        let mut unwanted = Vec::new();
        if !keys.as_mut().map_or(Ok(false), |keys| keys.restore(LATE_KEYS_KEY, stored))? {
            let stored = below(stored, LATE_KEYS_KEY);
            unwanted.extend(stored.map(|(key, _)| [LATE_KEYS_KEY, key].concat()));
        }
        let (watermark, count, entries, bytes) = (None, 0, VecDeque::new(), 0);
        let mut late = Late { of, watermark, keys, unwanted, count, entries, bytes };
        if let Some(stored) = stored.get(LATE_KEY) {
            let damaged = || OperatorError::State { reason: "its watermark is damaged".to_owned() };
            let (count, watermark) = stored.split_first_chunk::<8>().ok_or_else(damaged)?;
            late.count = u64::from_le_bytes(*count);
            late.watermark = match watermark.first_chunk::<8>() {
                Some(micros) => Some(EventTime::from_micros(i64::from_le_bytes(*micros))),
                None if watermark.is_empty() => None,
                None => return Err(damaged()),
            };
        }
        Ok(late)
    }

    pub(crate) fn watermark(&self) -> Option<EventTime> {
        self.watermark
    }

    /// How the keys of the stream stand, if they have watermarks of their own.
    pub(crate) fn keys(&self) -> Option<KeysStand> {
        self.keys.as_ref().map(Keys::stand)
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Whether some are to be stored.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.entries.is_empty()
    }

    /// Looks at rows of these records, with all columns of the stream.
    pub(crate) fn observe<'a>(
        &mut self,
        rows: &RecordBatch,
        records: impl Iterator<Item = RecordRef<'a>>,
    ) -> Result<(), OperatorError> {
        let seqs = rows.column_by_name("_seq").expect("all columns of the stream are there");
        let seqs = seqs.as_primitive::<Int64Type>();
        let late = self.find(rows, seqs)?;
        if late.is_empty() {
            return Ok(());
        }
        self.count += late.len() as u64;
        let places = UInt64Array::from_iter_values(late.iter().map(|(row, _)| *row as u64));
        // Those that every stream has stand behind its own.
        let is_own = |field: &&FieldRef| !METADATA.contains(&field.name().as_str());
        let own = rows.schema_ref().fields().iter().take_while(is_own).count();
        let declared: Vec<_> = (0..own).collect();
        let late = late.into_iter().map(|(row, watermark)| (seqs.value(row), watermark));
        let late: Vec<_> = late.collect();
        self.add(&take_record_batch(&rows.project(&declared)?, &places)?, &late, records)
    }

    /// The rows that are late, each with the watermark that it is behind.
    fn find(
        &mut self,
        rows: &RecordBatch,
        seqs: &Int64Array,
    ) -> Result<Vec<(usize, EventTime)>, OperatorError> {
        let marks = times_of(&*self.of.event_time.watermark, rows)?;
        let times = rows.column(self.of.event_time.index);
        let (mut late, mut reached) = (Vec::new(), self.watermark);
        if let Some(keys) = &mut self.keys {
            let found = |row, watermark| late.push((row, watermark));
            keys.observe(rows, (times, &marks), &mut self.watermark, found)?;
            return Ok(late);
        }
        let marks = marks.as_primitive::<TimestampMicrosecondType>();
        let times = times.as_primitive::<TimestampMicrosecondType>();
        for row in 0..rows.num_rows() {
            // Rows of one record are not late for each other.
            if row > 0 && seqs.value(row) != seqs.value(row - 1) {
                self.watermark = reached;
            }
            if let Some(watermark) = self.watermark
                && times.value(row) < watermark.micros()
            {
                late.push((row, watermark));
            }
            let mark = marks.is_valid(row).then(|| EventTime::from_micros(marks.value(row)));
            reached = reached.max(mark);
        }
        self.watermark = reached;
        Ok(late)
    }

    /// Each row as a JSON object, with key, time and headers of its record.
    fn add<'a>(
        &mut self,
        rows: &RecordBatch,
        late: &[(i64, EventTime)],
        records: impl Iterator<Item = RecordRef<'a>>,
    ) -> Result<(), OperatorError> {
        let mut writer = LineDelimitedWriter::new(Vec::new());
        writer.write(rows)?;
        writer.finish()?;
        let lines = writer.into_inner();
        let mut records = records.peekable();
        for (line, (seq, watermark)) in lines.split(|byte| *byte == b'\n').zip(late) {
            while records.next_if(|one| one.seq().get().cast_signed() < *seq).is_some() {}
            let record = records.peek().expect("each row has its record, and both are in order");
            let entry = Entry::new(line.to_vec()).key(record.key().to_vec()).at(record.time());
            let entry = entry.header("seq", seq.to_string());
            let entry = entry.header("watermark", rfc3339(watermark.micros()));
            let entry = record
                .headers()
                .fold(entry, |entry, (name, value)| entry.header(name.to_owned(), value.to_vec()));
            let bytes = (line.len() + record.key().len()) as u64;
            self.bytes += bytes;
            self.entries.push_back((entry, bytes));
            while self.bytes > LATE_BYTES
                && let Some((_, bytes)) = self.entries.pop_front()
            {
                self.bytes -= bytes;
            }
        }
        Ok(())
    }

    /// Puts the rows that have come since the last checkpoint into its batch; returns what has changed
    /// besides: the count with the watermark, if there is one, and keys.
    pub(crate) fn store(&mut self, batch: &mut Batch) -> Changes {
        self.bytes = 0;
        self.entries.drain(..).for_each(|(entry, _)| batch.append(&self.of.log, entry));
        let mut stored = self.count.to_le_bytes().to_vec();
        if let Some(watermark) = self.watermark {
            stored.extend_from_slice(&watermark.micros().to_le_bytes());
        }
        let mut changes: Changes = self.unwanted.drain(..).map(|key| (key, None)).collect();
        changes.insert(LATE_KEY.to_vec(), Some(stored.into()));
        if let Some(keys) = &mut self.keys {
            keys.store(LATE_KEYS_KEY, &mut changes);
        }
        changes
    }
}
