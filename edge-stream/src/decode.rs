//! Records of a Log as rows of a stream: payloads that are JSON, named levels of the topic, and
//! the columns that every stream has.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Int64Array, RecordBatch, StringArray, StringBuilder,
    TimestampMicrosecondArray, UInt8Array, new_null_array,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow_json::reader::{Decoder as JsonDecoder, ReaderBuilder};
use edge_db::Record;

use crate::topic::TopicPattern;

/// The columns that every stream has, behind its own.
const METADATA: [&str; 5] = ["_topic", "_time", "_seq", "_qos", "_client"];

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
        // Something in there is no row: look at each by itself.
        let (mut rows, mut rejected) = (Vec::new(), Vec::new());
        for (place, record) in records.iter().enumerate() {
            match self.decode_one(record) {
                Ok(row) => rows.push(row),
                Err(reason) => rejected.push(Rejected { place, reason }),
            }
        }
        Ok(Decoded { rows: concat_batches(&self.schema, &rows)?, rejected })
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
        let rows = self.rows(&json, records).ok()?;
        let untimed = self.event_time.is_some_and(|time| rows.column(time).null_count() > 0);
        (!untimed).then_some(rows)
    }

    fn decode_one(&self, record: &Record) -> Result<RecordBatch, String> {
        let mut decoder = self.json_decoder(1).map_err(|error| error.to_string())?;
        read_object(&mut decoder, record.value(), 0)?;
        let json = self.flush(decoder, 1).map_err(|error| reason_of(&error))?;
        let row = self.rows(&json, std::slice::from_ref(record))?;
        match self.event_time {
            Some(time) if row.column(time).is_null(0) => Err(format!(
                "`{}` is missing, and it is the event time",
                self.schema.field(time).name()
            )),
            _ => Ok(row),
        }
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

fn reason_of(error: &ArrowError) -> String {
    match error {
        ArrowError::JsonError(reason) | ArrowError::ParseError(reason) => reason.clone(),
        other => other.to_string(),
    }
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
