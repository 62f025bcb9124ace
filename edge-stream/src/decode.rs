//! Records of a Log as rows of a stream: payloads that are JSON, named levels of the topic, and
//! the columns that every stream has.

use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, StringBuilder,
    TimestampMicrosecondArray, UInt8Array, new_null_array,
};
use arrow::compute::{concat_batches, max, min};
use arrow::datatypes::{
    DataType, Date32Type, Field, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
};
use arrow::error::ArrowError;
use arrow_json::reader::{Decoder as JsonDecoder, ReaderBuilder};
use edge_db::Record;

use crate::topic::TopicPattern;

/// The columns that every stream has, behind its own.
const METADATA: [&str; 5] = ["_topic", "_time", "_seq", "_qos", "_client"];

/// Levels of lists and objects in a payload.
const MAX_DEPTH: usize = 64;

/// Characters of a reason.
const REASON_CHARS: usize = 300;

/// The years 1 to 9999, in microseconds and in days.
const YEARS_MICROS: RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_300_799_999_999;
const YEARS_DAYS: RangeInclusive<i64> = -719_162..=2_932_896;

/// The columns of a stream: those that were declared, then those that every stream has.
pub(crate) fn stream_schema(declared: &[Field]) -> SchemaRef {
    let kinds = [
        DataType::Utf8,
        DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        DataType::Int64,
        DataType::UInt8,
        DataType::Utf8,
    ];
    let metadata = METADATA.into_iter().zip(kinds).map(|(name, kind)| Field::new(name, kind, true));
    Arc::new(Schema::new(declared.iter().cloned().chain(metadata).collect::<Vec<_>>()))
}

/// Where a column comes from.
#[derive(Debug, Clone)]
enum Origin {
    /// The field of this place among those of the JSON object.
    Json(usize),
    /// The named level of this place in the topic.
    Level(usize),
    Metadata(&'static str),
}

/// Decodes records of one stream.
///
/// A row counts as readable if all its declared columns are, whether a query wants them or not:
/// so every query sees the same rows.
#[derive(Debug, Clone)]
pub(crate) struct Decoder {
    schema: SchemaRef,
    origins: Vec<Origin>,
    json: SchemaRef,
    topic: Option<TopicPattern>,
    /// The column that must not be null.
    event_time: Option<usize>,
    /// Columns that somebody wants; of the others, those that every stream has are left null.
    wanted: Vec<bool>,
}

/// Rows, and what is none.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) rows: RecordBatch,
    pub(crate) rejected: Vec<Rejected>,
}

/// A record that is no row of the stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rejected {
    /// Its place among the records.
    pub(crate) place: usize,
    pub(crate) reason: String,
}

impl Decoder {
    /// `schema` is from [`stream_schema`].
    pub(crate) fn new(
        schema: &SchemaRef,
        topic: Option<&TopicPattern>,
        event_time: Option<usize>,
    ) -> Decoder {
        let mut json = Vec::new();
        let levels: Vec<&str> = topic.iter().flat_map(|topic| topic.names()).collect();
        let origins = schema.fields().iter().map(|field| {
            let name = field.name().as_str();
            if let Some(metadata) = METADATA.into_iter().find(|metadata| *metadata == name) {
                return Origin::Metadata(metadata);
            }
            if let Some(level) = levels.iter().position(|level| *level == name) {
                return Origin::Level(level);
            }
            json.push(Arc::clone(field));
            Origin::Json(json.len() - 1)
        });
        let origins = origins.collect();
        let (schema, topic) = (Arc::clone(schema), topic.cloned());
        let wanted = vec![true; schema.fields().len()];
        Decoder { schema, origins, json: Arc::new(Schema::new(json)), topic, event_time, wanted }
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Says which columns are wanted.
    pub(crate) fn with_columns(mut self, columns: &[usize]) -> Decoder {
        let places = 0..self.wanted.len();
        self.wanted = places
            .map(|place| columns.contains(&place) || Some(place) == self.event_time)
            .collect();
        self
    }

    /// The rows of these records in order.
    ///
    /// # Errors
    /// Never for what a record holds, that is in [`Decoded::rejected`].
    pub(crate) fn decode(&self, records: &[Record]) -> Result<Decoded, ArrowError> {
        if let Some(rows) = self.decode_all(records) {
            return Ok(Decoded { rows, rejected: Vec::new() });
        }
        let (mut rows, mut rejected) = (Vec::new(), Vec::new());
        self.decode_halves(records, 0, &mut rows, &mut rejected);
        Ok(Decoded { rows: concat_batches(&self.schema, &rows)?, rejected })
    }

    /// Something in there is no row: halves it until that is alone.
    fn decode_halves(
        &self,
        records: &[Record],
        first: usize,
        rows: &mut Vec<RecordBatch>,
        rejected: &mut Vec<Rejected>,
    ) {
        let (left, right) = records.split_at(records.len() / 2);
        for (half, first) in [(left, first), (right, first + left.len())] {
            match half {
                [] => {}
                [record] => match self.decode_one(record) {
                    Ok(row) => rows.push(row),
                    Err(reason) => rejected.push(Rejected { place: first, reason }),
                },
                _ => match self.decode_all(half) {
                    Some(batch) => rows.push(batch),
                    None => self.decode_halves(half, first, rows, rejected),
                },
            }
        }
    }

    /// All records at once, if all of them are rows.
    fn decode_all(&self, records: &[Record]) -> Option<RecordBatch> {
        let mut decoder = self.json_decoder(records.len()).ok()?;
        for (before, record) in records.iter().enumerate() {
            let is_one_row = read_object(&mut decoder, record.value(), before).is_ok();
            if !is_one_row {
                return None;
            }
        }
        let json = self.flush(decoder, records.len()).ok()?;
        if let Some(_out_of_range) = self.out_of_range(&json) {
            return None;
        }
        let rows = self.rows(&json, records).ok()?;
        let untimed = self.event_time.is_some_and(|time| rows.column(time).null_count() > 0);
        (!untimed).then_some(rows)
    }

    fn decode_one(&self, record: &Record) -> Result<RecordBatch, String> {
        let mut decoder = self.json_decoder(1).map_err(|error| error.to_string())?;
        read_object(&mut decoder, record.value(), 0)?;
        let json = self.flush(decoder, 1).map_err(|error| reason_of(&error))?;
        if let Some(name) = self.out_of_range(&json) {
            return Err(format!("`{name}` is no time between the years 1 and 9999"));
        }
        let row = self.rows(&json, std::slice::from_ref(record))?;
        match self.event_time {
            Some(time) if row.column(time).is_null(0) => Err(format!(
                "`{}` is missing, and it is the event time",
                self.schema.field(time).name()
            )),
            _ => Ok(row),
        }
    }

    /// The first column with a time that neither SQL nor calendars can handle.
    fn out_of_range(&self, json: &[ArrayRef]) -> Option<&str> {
        let columns = self.json.fields().iter().zip(json);
        let mut wrong = columns.filter(|(_, column)| match column.data_type() {
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                let times = column.as_primitive::<TimestampMicrosecondType>();
                !is_within(min(times), max(times), &YEARS_MICROS)
            }
            DataType::Date32 => {
                let days = column.as_primitive::<Date32Type>();
                let wide = |day: Option<i32>| day.map(i64::from);
                !is_within(wide(min(days)), wide(max(days)), &YEARS_DAYS)
            }
            _ => false,
        });
        wrong.next().map(|(field, _)| field.name().as_str())
    }

    fn json_decoder(&self, rows: usize) -> Result<JsonDecoder, ArrowError> {
        ReaderBuilder::new(Arc::clone(&self.json))
            .with_batch_size(rows.max(1))
            .with_coerce_primitive(true)
            .build_decoder()
    }

    /// The columns of the JSON objects; a stream may have none of them.
    fn flush(&self, mut decoder: JsonDecoder, rows: usize) -> Result<Vec<ArrayRef>, ArrowError> {
        match decoder.flush()? {
            Some(batch) if batch.num_rows() == rows => Ok(batch.columns().to_vec()),
            None if rows == 0 => {
                let columns = self.json.fields().iter();
                Ok(columns.map(|field| new_null_array(field.data_type(), 0)).collect())
            }
            _ => Err(ArrowError::JsonError("payload is not one JSON object".to_owned())),
        }
    }

    fn rows(&self, json: &[ArrayRef], records: &[Record]) -> Result<RecordBatch, String> {
        let levels = self.levels(records)?;
        let columns = self.origins.iter().enumerate().map(|(place, origin)| match origin {
            Origin::Json(field) => Arc::clone(&json[*field]),
            Origin::Level(level) => Arc::clone(&levels[*level]),
            Origin::Metadata(name) if self.wanted[place] => metadata(name, records),
            Origin::Metadata(_) => {
                new_null_array(self.schema.field(place).data_type(), records.len())
            }
        });
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns.collect());
        rows.map_err(|error| reason_of(&error))
    }

    fn levels(&self, records: &[Record]) -> Result<Vec<ArrayRef>, String> {
        let Some(pattern) = &self.topic else { return Ok(Vec::new()) };
        let mut columns: Vec<_> = pattern.names().map(|_| StringBuilder::new()).collect();
        for record in records {
            let topic =
                std::str::from_utf8(record.key()).map_err(|_| "topic is no text".to_owned())?;
            let values = pattern.values(topic);
            let values = values.ok_or_else(|| format!("topic `{topic}` does not fit {pattern}"))?;
            columns.iter_mut().zip(values).for_each(|(column, value)| column.append_value(value));
        }
        Ok(columns.into_iter().map(|mut column| Arc::new(column.finish()) as ArrayRef).collect())
    }
}

/// Reads a payload that must be one JSON object, with `before` of them in the decoder.
fn read_object(decoder: &mut JsonDecoder, payload: &[u8], before: usize) -> Result<(), String> {
    if depth(payload) > MAX_DEPTH {
        return Err(format!("payload is nested more than {MAX_DEPTH} levels deep"));
    }
    let read = decoder.decode(payload).map_err(|error| reason_of(&error))?;
    if decoder.has_partial_record() {
        return Err("payload ends inside a JSON object".to_owned());
    }
    let rest = payload.get(read..).unwrap_or_default();
    if decoder.len() != before + 1 || !rest.iter().all(u8::is_ascii_whitespace) {
        return Err("payload is not one JSON object".to_owned());
    }
    Ok(())
}

/// The reason, without all of a long payload that the message may repeat.
fn reason_of(error: &ArrowError) -> String {
    let mut reason = match error {
        ArrowError::JsonError(reason) | ArrowError::ParseError(reason) => reason.clone(),
        other => other.to_string(),
    };
    if let Some((end, _)) = reason.char_indices().nth(REASON_CHARS) {
        reason.truncate(end);
        reason.push_str(" ..");
    }
    reason
}

fn is_within(least: Option<i64>, most: Option<i64>, range: &RangeInclusive<i64>) -> bool {
    least.is_none_or(|least| range.contains(&least))
        && most.is_none_or(|most| range.contains(&most))
}

/// How deep lists and objects lie in each other, at most. The decoder recurses, so a payload of nothing but
/// brackets would otherwise end the process. What is no JSON may be taken for deeper than it is.
fn depth(payload: &[u8]) -> usize {
    // Most payloads have not so many brackets at all, and counting them is far cheaper.
    let brackets = payload.iter().filter(|byte| matches!(byte, b'[' | b'{')).count();
    if brackets <= MAX_DEPTH {
        return brackets;
    }
    let (mut depth, mut deepest) = (0usize, 0);
    let (mut in_text, mut is_escaped) = (false, false);
    for byte in payload {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_text => is_escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn metadata(name: &str, records: &[Record]) -> ArrayRef {
    match name {
        "_topic" => {
            let topics = records.iter().map(|record| std::str::from_utf8(record.key()).ok());
            Arc::new(topics.collect::<StringArray>())
        }
        "_time" => {
            let times = records.iter().map(|record| record.time().micros());
            Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))
        }
        "_seq" => {
            let seqs = records.iter().map(|record| record.seq().get().cast_signed());
            Arc::new(Int64Array::from_iter_values(seqs))
        }
        "_qos" => {
            let qos = records.iter().map(|record| record.header("qos")?.first().copied());
            Arc::new(qos.collect::<UInt8Array>())
        }
        _ => {
            let mut clients = StringBuilder::new();
            for record in records {
                let client = record.header("client");
                clients.append_option(
                    client.as_deref().and_then(|name| std::str::from_utf8(name).ok()),
                );
            }
            Arc::new(clients.finish())
        }
    }
}

#[cfg(test)]
mod tests;
