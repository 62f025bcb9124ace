//! Rows of a Log as the bytes of one immutable segment.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, Int64Builder, ListBuilder, RecordBatch, StringBuilder, StructBuilder,
    TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use bytes::Bytes;
use edge_db::{Record, Seq};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use sha2::{Digest as _, Sha256};

use crate::outbox::Digest;

/// What stands in the metadata of each segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About<'a> {
    pub(crate) edge: &'a str,
    pub(crate) stream: &'a str,
    pub(crate) epoch: u64,
    pub(crate) first: Seq,
    pub(crate) next: Seq,
    /// The rows were dropped by the Log's limit before they could be sent.
    pub(crate) gap: bool,
}

/// Metadata keys in a segment's footer.
pub(crate) const FIRST_SEQ: &str = "edge.first_seq";
pub(crate) const NEXT_SEQ: &str = "edge.next_seq";
pub(crate) const GAP: &str = "edge.gap";

/// The columns of a segment.
///
/// Text that is not UTF-8 lies in the `_raw` column beside, so that every byte lands and ordinary
/// text reads as text.
pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("_seq", DataType::Int64, false),
        Field::new("_time", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
        Field::new("key", DataType::Utf8, true),
        Field::new("key_raw", DataType::Binary, true),
        Field::new("value", DataType::Utf8, true),
        Field::new("value_raw", DataType::Binary, true),
        Field::new("headers", DataType::List(Arc::new(header_field())), false),
    ]))
}

fn header_fields() -> Fields {
    Fields::from(vec![
        Field::new("name", DataType::Utf8, false),
        Field::new("value", DataType::Binary, false),
    ])
}

fn header_field() -> Field {
    Field::new("item", DataType::Struct(header_fields()), false)
}

/// Encodes the rows. The same rows and the same build always give the same bytes.
///
/// # Errors
/// Only when the rows are more than the format holds.
pub(crate) fn encode(about: &About<'_>, records: &[Record]) -> Result<Bytes, ParquetError> {
    let mut writer = ArrowWriter::try_new(Vec::new(), schema(), Some(properties(about)))?;
    if !records.is_empty() {
        writer.write(&columns(records)?)?;
    }
    Ok(writer.into_inner()?.into())
}

pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Sha256::digest(bytes).into()
}

fn properties(about: &About<'_>) -> WriterProperties {
    let mut metadata = vec![
        KeyValue::new("edge.id".to_owned(), about.edge.to_owned()),
        KeyValue::new("edge.stream".to_owned(), about.stream.to_owned()),
        KeyValue::new("edge.epoch".to_owned(), about.epoch.to_string()),
        KeyValue::new(FIRST_SEQ.to_owned(), about.first.to_string()),
        KeyValue::new(NEXT_SEQ.to_owned(), about.next.to_string()),
    ];
    if about.gap {
        metadata.push(KeyValue::new(GAP.to_owned(), "dropped at the limit of the log".to_owned()));
    }
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_created_by(concat!("edge-sync ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_key_value_metadata(Some(metadata))
        .build()
}

fn columns(records: &[Record]) -> Result<RecordBatch, ArrowError> {
    let mut seqs = Int64Builder::with_capacity(records.len());
    let mut times = TimestampMicrosecondBuilder::with_capacity(records.len()).with_timezone("UTC");
    let (mut keys, mut values) = (TextBuilder::default(), TextBuilder::default());
    let entry = StructBuilder::from_fields(header_fields(), records.len());
    let mut headers = ListBuilder::new(entry).with_field(header_field());
    for record in records {
        seqs.append_value(record.seq().get().cast_signed());
        times.append_value(record.time().micros());
        keys.append(record.key());
        values.append(record.value());
        append_headers(&mut headers, record);
    }
    let [keys, raw_keys] = keys.finish();
    let [values, raw_values] = values.finish();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(seqs.finish()),
        Arc::new(times.finish()),
        keys,
        raw_keys,
        values,
        raw_values,
        Arc::new(headers.finish()),
    ];
    RecordBatch::try_new(schema(), columns)
}

fn append_headers(headers: &mut ListBuilder<StructBuilder>, record: &Record) {
    for (name, value) in record.headers() {
        let entry = headers.values();
        let fields = "header_fields() has a text and a binary field";
        entry.field_builder::<StringBuilder>(0).expect(fields).append_value(name);
        entry.field_builder::<BinaryBuilder>(1).expect(fields).append_value(value);
        entry.append(true);
    }
    headers.append(true);
}

/// Bytes as text where they are UTF-8, and as they are where not.
#[derive(Default)]
struct TextBuilder {
    text: StringBuilder,
    raw: BinaryBuilder,
}

impl TextBuilder {
    fn append(&mut self, bytes: &[u8]) {
        let text = std::str::from_utf8(bytes).ok();
        self.text.append_option(text);
        self.raw.append_option(text.is_none().then_some(bytes));
    }

    fn finish(mut self) -> [ArrayRef; 2] {
        [Arc::new(self.text.finish()), Arc::new(self.raw.finish())]
    }
}
