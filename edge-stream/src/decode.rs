//! Records of a Log as rows of a stream: payloads in one of several formats, named levels of the
//! topic, and the columns that every stream has.

mod ahead;
mod births;
mod cbor;
pub(crate) mod changes;
mod flat;
pub(crate) mod format;
pub(crate) mod infer;
mod ipc;
mod json;
mod lines;
mod metadata;
mod objects;
mod payload;
mod protobuf;
mod sparkplug;
pub(crate) mod time;
mod wire;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::{concat_batches, max, take};
use arrow::datatypes::{FieldRef, SchemaRef, TimestampMicrosecondType};
use arrow::error::ArrowError;
use edge_db::{RecordRef, RecordSlice, Time};

use crate::sql::times::Span;
use crate::topic::TopicPattern;
pub(crate) use ahead::rfc3339;
pub(crate) use births::{MEMORY_KEY, Memory};
use changes::ChangeReader;
use format::Format;
use ipc::Batches;
pub(crate) use ipc::{batch_of_payload, payload_of};
pub(crate) use metadata::{METADATA, stream_schema};
use metadata::{levels, metadata, topic_of};
pub(crate) use objects::reason_of;
pub(crate) use payload::Payload;
use payload::{Rows, Syntax};

/// Rows of one record, of the formats that have several.
const MAX_ROWS: usize = 65_536;

/// Where a column comes from.
#[derive(Debug, Clone)]
enum Origin {
    /// The column of this place among those of the payload.
    Payload(usize),
    /// The named level of this place in the topic.
    Level(usize),
    Metadata(&'static str),
}

/// Decodes records of one stream.
///
/// A record counts as readable if all its declared columns are, whether a query wants them or not:
/// so every query sees the same rows.
#[derive(Debug, Clone)]
pub(crate) struct Decoder {
    schema: SchemaRef,
    origins: Vec<Origin>,
    payload: Payload,
    format: Format,
    topic: Option<TopicPattern>,
    /// The column that must not be null.
    event_time: Option<usize>,
    /// How far that may lie ahead of the arrival of a record.
    max_ahead: Option<Span>,
    /// Columns that somebody wants; of the others, those that every stream has are left null.
    wanted: Vec<bool>,
}

/// Rows, and what is none.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) rows: RecordBatch,
    pub(crate) rejected: Vec<Rejected>,
}

/// A record that is no row of the stream, or of which some rows are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejected {
    /// Its place among the records.
    pub(crate) place: usize,
    pub(crate) reason: String,
    /// Its rows whose clock runs ahead, if that is the reason.
    pub(crate) rows_ahead: u64,
}

impl Rejected {
    fn undecodable(place: usize, reason: String) -> Rejected {
        Rejected { place, reason, rows_ahead: 0 }
    }
}

impl From<RecordBatch> for Decoded {
    fn from(rows: RecordBatch) -> Decoded {
        Decoded { rows, rejected: Vec::new() }
    }
}

impl Decoded {
    /// Of records that begin at a place among others.
    fn put_behind(self, first: usize, rows: &mut Vec<RecordBatch>, rejected: &mut Vec<Rejected>) {
        rows.push(self.rows);
        let moved = |one: Rejected| Rejected { place: first + one.place, ..one };
        rejected.extend(self.rejected.into_iter().map(moved));
    }
}

impl Decoder {
    /// `schema` is from [`stream_schema`].
    ///
    /// # Errors
    /// When the format has no such columns.
    pub(crate) fn new(
        schema: &SchemaRef,
        topic: Option<&TopicPattern>,
        event_time: Option<usize>,
        format: &Format,
    ) -> Result<Decoder, String> {
        let mut fields: Vec<FieldRef> = Vec::new();
        let levels: Vec<&str> = topic.iter().flat_map(|topic| topic.names()).collect();
        let origins = schema.fields().iter().map(|field| {
            let name = field.name().as_str();
            if let Some(metadata) = METADATA.into_iter().find(|metadata| *metadata == name) {
                return Origin::Metadata(metadata);
            }
            if let Some(level) = levels.iter().position(|level| *level == name) {
                return Origin::Level(level);
            }
            fields.push(Arc::clone(field));
            Origin::Payload(fields.len() - 1)
        });
        let origins = origins.collect();
        let payload = format.payload(&fields)?;
        let (schema, topic) = (Arc::clone(schema), topic.cloned());
        let wanted = vec![true; schema.fields().len()];
        let format = format.clone();
        let max_ahead = None;
        Ok(Decoder { schema, origins, payload, format, topic, event_time, max_ahead, wanted })
    }

    /// The same for the changes of a table. `schema` is from
    /// [`changes_schema`](changes::changes_schema).
    pub(crate) fn of_changes(
        schema: &SchemaRef,
        event_time: Option<usize>,
        changes: ChangeReader,
    ) -> Result<Decoder, String> {
        let decoder = Decoder::new(schema, None, event_time, &Format::default())?;
        Ok(Decoder { payload: Payload::Changes(changes), ..decoder })
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(crate) fn format(&self) -> &Format {
        &self.format
    }

    /// Says which columns are wanted.
    pub(crate) fn with_columns(mut self, columns: &[usize]) -> Decoder {
        let places = 0..self.wanted.len();
        self.wanted = places
            .map(|place| columns.contains(&place) || Some(place) == self.event_time)
            .collect();
        self
    }

    /// The columns that it gives, as others are left null.
    pub(crate) fn wanted(&self) -> &[bool] {
        &self.wanted
    }

    /// The same decoder for other columns.
    pub(crate) fn with_wanted(mut self, wanted: Vec<bool>) -> Decoder {
        self.wanted = wanted;
        self
    }

    /// Whether it has to remember what records have said.
    pub(crate) fn has_memory(&self) -> bool {
        matches!(self.payload, Payload::Sparkplug(_))
    }

    /// Whether each record is one row, or none.
    pub(crate) fn is_one_each(&self) -> bool {
        match &self.payload {
            Payload::Objects(_, syntax) => !matches!(syntax, Syntax::Csv(_)),
            Payload::Whole(_) | Payload::Changes(_) => true,
            Payload::Batches(_) | Payload::Sparkplug(_) => false,
        }
    }

    /// Leaves out rows whose event time is further ahead of the arrival of their record.
    pub(crate) fn with_max_ahead(mut self, max_ahead: Option<Span>) -> Decoder {
        self.max_ahead = max_ahead;
        self
    }

    /// Whether records of others become rows, and not only those of its table's commits.
    pub(crate) fn takes_records(&self) -> bool {
        !matches!(self.payload, Payload::Changes(_))
    }

    /// The rows of these records in order. `memory` is what the records in front of them left.
    ///
    /// # Errors
    /// Never for what a record holds, that is in [`Decoded::rejected`].
    pub(crate) fn decode(
        &self,
        records: RecordSlice<'_>,
        memory: &mut Memory,
    ) -> Result<Decoded, ArrowError> {
        if let Payload::Sparkplug(fields) = &self.payload {
            return self.decode_metrics(fields, records, memory);
        }
        if let Some(decoded) = self.decode_all(records) {
            return Ok(decoded);
        }
        let (mut rows, mut rejected) = (Vec::new(), Vec::new());
        self.decode_halves(records, 0, &mut rows, &mut rejected);
        Ok(Decoded { rows: concat_batches(&self.schema, &rows)?, rejected })
    }

    /// Something in there is no row: halves it until that is alone.
    fn decode_halves(
        &self,
        records: RecordSlice<'_>,
        first: usize,
        rows: &mut Vec<RecordBatch>,
        rejected: &mut Vec<Rejected>,
    ) {
        let (left, right) = records.split_at(records.len() / 2);
        for (half, first) in [(left, first), (right, first + left.len())] {
            match half.len() {
                0 => {}
                1 => match self.decode_one(half) {
                    Ok(decoded) => decoded.put_behind(first, rows, rejected),
                    Err(reason) => rejected.push(Rejected::undecodable(first, reason)),
                },
                _ => match self.decode_all(half) {
                    Some(decoded) => decoded.put_behind(first, rows, rejected),
                    None => self.decode_halves(half, first, rows, rejected),
                },
            }
        }
    }

    /// All records at once, if all of them are rows.
    fn decode_all(&self, records: RecordSlice<'_>) -> Option<Decoded> {
        let read = match &self.payload {
            Payload::Changes(changes) => changes.read(records.iter()),
            payload => payload.read(records.iter().map(|record| record.value())),
        };
        self.rows(read.ok()?, records.iter()).ok()
    }

    /// One record, with all the patience there is.
    fn decode_one(&self, record: RecordSlice<'_>) -> Result<Decoded, String> {
        let read = match &self.payload {
            Payload::Changes(changes) => changes.read(record.iter()),
            payload => payload.read_one(record.iter().next().map_or(&[], |one| one.value())),
        };
        self.rows(read?, record.iter())
    }

    /// Whether batches that the application pushes become rows as they are; if not, why.
    ///
    /// # Errors
    /// When the stream is of another format, the batch has other columns, or a clock in it runs
    /// ahead of `now`, when it is stored.
    pub(crate) fn check_batch(&self, batch: &RecordBatch, now: Time) -> Result<(), String> {
        if let Payload::Changes(_) = &self.payload {
            return Err("its rows are the changes of a table".to_owned());
        }
        let Payload::Batches(batches) = &self.payload else {
            return Err("it is not of format 'arrow_ipc'".to_owned());
        };
        if let Some(pattern) = &self.topic {
            return Err(format!("its rows come from the topic {pattern}"));
        }
        let columns = batches.columns_of(batch)?;
        let time = self.event_time.map(|time| (time, &self.origins[time]));
        let Some((time, Origin::Payload(place))) = time else { return Ok(()) };
        let (name, times) = (self.schema.field(time).name(), &columns[*place]);
        if times.null_count() > 0 {
            return Err(format!("`{name}` is missing, and it is the event time"));
        }
        let last = max(times.as_primitive::<TimestampMicrosecondType>());
        match (&self.max_ahead, last, now.micros()) {
            (Some(most), Some(last), now) if last > ahead::latest(now, most) => {
                Err(ahead::reason(name, last, most, now))
            }
            _ => Ok(()),
        }
    }

    /// A batch of the application as rows of the stream, whatever its format: columns go by name,
    /// those that are not there are null.
    ///
    /// # Errors
    /// When a column has other values than the stream, or the event time is missing.
    pub(crate) fn rows_of_batch(&self, batch: &RecordBatch) -> Result<RecordBatch, String> {
        let fields = self.schema.fields().iter().cloned().collect();
        let columns = Batches { fields, times: self.format.times }.columns_of(batch)?;
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns);
        self.with_event_time(rows.map_err(|error| reason_of(&error))?)
    }

    /// The event time in a payload, in microseconds; of several the last.
    ///
    /// # Errors
    /// When it is no row, or the event time is not in the payload.
    pub(crate) fn time_of(&self, payload: &[u8]) -> Result<i64, String> {
        let time = self.event_time.map(|time| &self.origins[time]);
        let Some(Origin::Payload(place)) = time else {
            return Err("the stream has no event time in its records".to_owned());
        };
        let rows = self.payload.read_one(payload)?;
        let times = rows.columns[*place].as_primitive::<TimestampMicrosecondType>();
        max(times).ok_or_else(|| "the event time is missing".to_owned())
    }

    /// Metrics need what the records in front have said, so it goes one by one.
    fn decode_metrics(
        &self,
        fields: &[FieldRef],
        records: RecordSlice<'_>,
        memory: &mut Memory,
    ) -> Result<Decoded, ArrowError> {
        let (mut metrics, mut counts, mut rejected) = (Vec::new(), Vec::new(), Vec::new());
        let (mut readable, mut places) = (Vec::new(), Vec::new());
        for (place, record) in records.iter().enumerate() {
            let read = self.metrics(record, memory);
            match read {
                Ok(rows) => {
                    counts.push(rows.len());
                    metrics.extend(rows);
                    readable.push(record);
                    places.push(place);
                }
                Err(reason) => rejected.push(Rejected::undecodable(place, reason)),
            }
        }
        let columns = sparkplug::columns(fields, &metrics);
        let decoded = self.rows(Rows { columns, counts: Some(counts) }, readable.iter().copied());
        let decoded = decoded.map_err(ArrowError::ComputeError)?;
        let ahead = decoded.rejected.into_iter();
        rejected.extend(ahead.map(|one| Rejected { place: places[one.place], ..one }));
        rejected.sort_by_key(|one| one.place);
        Ok(Decoded { rows: decoded.rows, rejected })
    }

    fn metrics(
        &self,
        record: RecordRef<'_>,
        memory: &mut Memory,
    ) -> Result<Vec<sparkplug::Metric>, String> {
        if let Some(pattern) = &self.topic {
            levels(pattern, std::iter::once(record))?;
        }
        sparkplug::read(topic_of(record)?, record.value(), record.time().micros(), memory)
    }

    /// The columns of payloads with those of their topics and records.
    fn rows<'a>(
        &self,
        read: Rows,
        records: impl ExactSizeIterator<Item = RecordRef<'a>> + Clone,
    ) -> Result<Decoded, String> {
        let levels = match &self.topic {
            Some(pattern) => levels(pattern, records.clone())?,
            None => Vec::new(),
        };
        let of_records = OfRecords::new(read.counts.as_deref(), records.len());
        let columns = self.origins.iter().enumerate().map(|(place, origin)| match origin {
            Origin::Payload(column) => Ok(Arc::clone(&read.columns[*column])),
            Origin::Level(level) => of_records.each(&levels[*level]),
            Origin::Metadata(name) if self.wanted[place] => {
                of_records.each(&metadata(name, records.clone()))
            }
            Origin::Metadata(_) => {
                Ok(new_null_array(self.schema.field(place).data_type(), of_records.rows))
            }
        });
        let columns = columns.collect::<Result<_, ArrowError>>();
        let rows = columns.and_then(|columns| RecordBatch::try_new(self.schema.clone(), columns));
        let rows = self.with_event_time(rows.map_err(|error| reason_of(&error))?)?;
        let time = self.event_time.map(|time| (time, &self.origins[time]));
        match (&self.max_ahead, time) {
            (Some(most), Some((time, Origin::Payload(_)))) => {
                let decoded = ahead::without(rows, (time, most), records, &of_records);
                decoded.map_err(|error| reason_of(&error))
            }
            _ => Ok(rows.into()),
        }
    }

    fn with_event_time(&self, rows: RecordBatch) -> Result<RecordBatch, String> {
        match self.event_time {
            Some(time) if rows.column(time).null_count() > 0 => Err(format!(
                "`{}` is missing, and it is the event time",
                self.schema.field(time).name()
            )),
            _ => Ok(rows),
        }
    }
}

/// Columns of records as columns of their rows.
struct OfRecords {
    rows: usize,
    /// The record of each row; `None` if each record is one row.
    of: Option<UInt32Array>,
}

impl OfRecords {
    fn new(counts: Option<&[usize]>, records: usize) -> OfRecords {
        let Some(counts) = counts.filter(|counts| counts.iter().any(|count| *count != 1)) else {
            return OfRecords { rows: records, of: None };
        };
        let of = (0..).zip(counts).flat_map(|(record, count)| std::iter::repeat_n(record, *count));
        let of = UInt32Array::from_iter_values(of);
        OfRecords { rows: of.len(), of: Some(of) }
    }

    /// The place of the record that a row comes from.
    fn record(&self, row: usize) -> usize {
        self.of.as_ref().map_or(row, |of| of.values()[row] as usize)
    }

    /// How many rows the record at this place has.
    fn rows_of(&self, record: usize) -> usize {
        self.of.as_ref().map_or(1, |of| {
            let before = |last: usize| of.values().partition_point(|of| (*of as usize) < last);
            before(record + 1) - before(record)
        })
    }

    fn each(&self, column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
        match &self.of {
            None => Ok(Arc::clone(column)),
            Some(of) => take(column, of, None),
        }
    }
}

#[cfg(test)]
mod tests;
