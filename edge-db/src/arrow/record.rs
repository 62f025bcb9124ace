//! Columns of a Log's records.

use std::sync::{Arc, LazyLock};

use arrow_array::builder::{
    BinaryBuilder, StringBuilder, TimestampMicrosecondBuilder, UInt64Builder,
};
use arrow_array::{ArrayRef, ListArray, RecordBatch, StructArray};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};

use super::UTC;
use crate::RecordRef;
use crate::log::chunk::take_header;

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("seq", DataType::UInt64, false),
        Field::new("time", DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())), false),
        Field::new("key", DataType::Binary, false),
        Field::new("value", DataType::Binary, false),
        Field::new("headers", DataType::List(header_field()), false),
    ]))
});

/// The columns of every Log, none of which is ever null:
///
/// | column | type | what it is |
/// |---|---|---|
/// | `seq` | `UInt64` | [`Record::seq`](crate::Record::seq) |
/// | `time` | `Timestamp(Microsecond, "UTC")` | [`Record::time`](crate::Record::time) |
/// | `key` | `Binary` | [`Record::key`](crate::Record::key), empty where nothing was said |
/// | `value` | `Binary` | [`Record::value`](crate::Record::value) |
/// | `headers` | `List` of `Struct` of `name` (`Utf8`) and `value` (`Binary`) | [`Record::headers`](crate::Record::headers), in their order and with repeats |
pub fn log_schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}

fn header_fields() -> Fields {
    Fields::from(vec![
        Field::new("name", DataType::Utf8, false),
        Field::new("value", DataType::Binary, false),
    ])
}

fn header_field() -> FieldRef {
    Arc::new(Field::new("item", DataType::Struct(header_fields()), false))
}

/// Records on their way into columns.
#[derive(Debug)]
pub(super) struct RecordColumns {
    seqs: UInt64Builder,
    times: TimestampMicrosecondBuilder,
    keys: BinaryBuilder,
    values: BinaryBuilder,
    headers: HeaderColumn,
    rows: usize,
    bytes: usize,
}

impl RecordColumns {
    /// None yet, with room for so many and for so many bytes of values.
    pub(super) fn with_capacity(rows: usize, value_bytes: usize) -> RecordColumns {
        RecordColumns {
            seqs: UInt64Builder::with_capacity(rows),
            times: TimestampMicrosecondBuilder::with_capacity(rows),
            keys: BinaryBuilder::with_capacity(rows, 0),
            values: BinaryBuilder::with_capacity(rows, value_bytes),
            headers: HeaderColumn::with_capacity(rows),
            rows: 0,
            bytes: 0,
        }
    }

    pub(super) fn push(&mut self, record: RecordRef<'_>) {
        self.seqs.append_value(record.seq.get());
        self.times.append_value(record.time.micros());
        self.keys.append_value(record.key);
        self.values.append_value(record.value);
        self.headers.push(record.headers);
        self.rows += 1;
        self.bytes += record.key.len() + record.headers.len() + record.value.len();
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of keys, headers and values.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn finish(mut self) -> RecordBatch {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.seqs.finish()),
            Arc::new(self.times.finish().with_timezone(UTC)),
            Arc::new(self.keys.finish()),
            Arc::new(self.values.finish()),
            Arc::new(self.headers.finish()),
        ];
        RecordBatch::try_new(log_schema(), columns).expect("each column has its row of the schema")
    }
}

#[derive(Debug)]
struct HeaderColumn {
    names: StringBuilder,
    values: BinaryBuilder,
    /// Where the headers of each record begin, and where the last ones end.
    offsets: Vec<i32>,
}

impl HeaderColumn {
    fn with_capacity(rows: usize) -> HeaderColumn {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        HeaderColumn {
            names: StringBuilder::with_capacity(0, 0),
            values: BinaryBuilder::with_capacity(0, 0),
            offsets,
        }
    }

    fn push(&mut self, mut headers: &[u8]) {
        let mut end = self.offsets.last().copied().unwrap_or_default();
        while let Some((name, value)) = take_header(&mut headers) {
            self.names.append_value(name);
            self.values.append_value(value);
            end += 1;
        }
        self.offsets.push(end);
    }

    fn finish(mut self) -> ListArray {
        let columns: Vec<ArrayRef> =
            vec![Arc::new(self.names.finish()), Arc::new(self.values.finish())];
        let headers = StructArray::new(header_fields(), columns, None);
        let offsets = OffsetBuffer::new(self.offsets.into());
        ListArray::new(header_field(), offsets, Arc::new(headers), None)
    }
}
