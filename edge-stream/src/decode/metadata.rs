//! The columns that every stream has, and the named levels of its topic.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int64Array, StringArray, StringBuilder, TimestampMicrosecondArray, UInt8Array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use edge_db::RecordRef;

use crate::topic::TopicPattern;

/// The columns that every stream has, behind its own.
pub(crate) const METADATA: [&str; 5] = ["_topic", "_time", "_seq", "_qos", "_client"];

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

/// What stands at the named levels of the records' topics.
pub(crate) fn levels<'a>(
    pattern: &TopicPattern,
    records: impl Iterator<Item = RecordRef<'a>>,
) -> Result<Vec<ArrayRef>, String> {
    let mut columns: Vec<_> = pattern.names().map(|_| StringBuilder::new()).collect();
    for record in records {
        let topic = topic_of(record)?;
        let values = pattern.values(topic);
        let values = values.ok_or_else(|| format!("topic `{topic}` does not fit {pattern}"))?;
        columns.iter_mut().zip(values).for_each(|(column, value)| column.append_value(value));
    }
    Ok(columns.into_iter().map(|mut column| Arc::new(column.finish()) as ArrayRef).collect())
}

pub(crate) fn topic_of(record: RecordRef<'_>) -> Result<&str, String> {
    std::str::from_utf8(record.key()).map_err(|_| "topic is no text".to_owned())
}

/// A column of [`METADATA`].
pub(crate) fn metadata<'a>(name: &str, records: impl Iterator<Item = RecordRef<'a>>) -> ArrayRef {
    match name {
        "_topic" => {
            let topics = records.map(|record| std::str::from_utf8(record.key()).ok());
            Arc::new(topics.collect::<StringArray>())
        }
        "_time" => {
            let times = records.map(|record| record.time().micros());
            Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))
        }
        "_seq" => {
            let seqs = records.map(|record| record.seq().get().cast_signed());
            Arc::new(Int64Array::from_iter_values(seqs))
        }
        "_qos" => {
            let qos = records.map(|record| record.header("qos")?.first().copied());
            Arc::new(qos.collect::<UInt8Array>())
        }
        _ => {
            let mut clients = StringBuilder::new();
            for record in records {
                let client = record.header("client");
                clients.append_option(client.and_then(|name| std::str::from_utf8(name).ok()));
            }
            Arc::new(clients.finish())
        }
    }
}
