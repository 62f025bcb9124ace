//! Each format writes what the same format reads, and says what it cannot.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array,
    ListArray, RecordBatch, StringArray, StructArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use edge_db::{Db, Entry, Log};

use super::Encoder;
use crate::decode::format::{Format, FormatKind};
use crate::decode::{Decoder, Memory, stream_schema};

/// Two rows of every type that streams have, the second NULL in all of them.
fn rows() -> RecordBatch {
    let decimal = Decimal128Array::from(vec![Some(-12_345), None]);
    let decimal = decimal.with_precision_and_scale(10, 2).unwrap();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("text", Arc::new(StringArray::from(vec![Some("a;\"b\"\nc"), None]))),
        ("truth", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("small", Arc::new(Int32Array::from(vec![Some(-7), None]))),
        ("float", Arc::new(Float64Array::from(vec![Some(0.1 + 0.2), None]))),
        ("decimal", Arc::new(decimal)),
        ("day", Arc::new(Date32Array::from(vec![Some(20_000), None]))),
        ("at", Arc::new(TimestampMicrosecondArray::from(vec![Some(1_700_000_000_000_001), None]))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true)))
        .unwrap()
}

/// The same with a list and an object.
fn nested() -> RecordBatch {
    let list = ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1), None]), None]);
    let inner: ArrayRef = Arc::new(StringArray::from(vec![Some("x"), None]));
    let fields = vec![Field::new("inner", DataType::Utf8, true)];
    let valid = vec![true, false];
    let object = StructArray::new(fields.into(), vec![inner], Some(valid.into()));
    let flat = rows();
    let schema = flat.schema();
    let fields = schema.fields().iter().cloned().chain([
        Arc::new(Field::new("list", list_type(), true)),
        Arc::new(Field::new("object", arrow::array::Array::data_type(&object).clone(), true)),
    ]);
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let columns =
        flat.columns().iter().cloned().chain([Arc::new(list) as _, Arc::new(object) as _]);
    RecordBatch::try_new(schema, columns.collect()).unwrap()
}

fn list_type() -> DataType {
    DataType::new_list(DataType::Int64, true)
}

fn format(kind: FormatKind) -> Format {
    Format { kind, ..Format::default() }
}

fn encoder(format: &Format, schema: &SchemaRef) -> Result<Encoder, String> {
    Encoder::new(format, schema, &[])
}

fn log() -> (tempfile::TempDir, Log) {
    let dir = tempfile::tempdir().unwrap();
    let log = Db::open(dir.path()).unwrap().log("l").unwrap();
    (dir, log)
}

/// What a stream of this format reads of the payloads that a sink of it writes.
fn read_back(format: &Format, rows: &RecordBatch) -> RecordBatch {
    let schema = rows.schema();
    let fields: Vec<Field> = schema.fields().iter().map(|field| field.as_ref().clone()).collect();
    let decoder = Decoder::new(&stream_schema(&fields), None, None, format).unwrap();
    let (_dir, log) = log();
    for payload in encoder(format, &schema).unwrap().payloads(rows).unwrap() {
        log.append(Entry::new(payload)).unwrap();
    }
    let records = log.read(edge_db::Seq::ZERO, 100).unwrap();
    let decoded = decoder.decode(records.as_slice(), &mut Memory::default()).unwrap();
    assert_eq!(decoded.rejected, [], "{format:?}");
    let places: Vec<_> = (0..fields.len()).collect();
    decoded.rows.project(&places).unwrap()
}

#[test]
fn what_is_written_is_read_back_as_it_was() {
    let with_header = Format { has_header: true, delimiter: b';', ..format(FormatKind::Csv) };
    for format in [format(FormatKind::Csv), with_header] {
        assert_eq!(read_back(&format, &rows()), rows(), "{format:?}");
    }
    for kind in [FormatKind::Json, FormatKind::Cbor, FormatKind::ArrowIpc] {
        assert_eq!(read_back(&format(kind), &nested()), nested(), "{kind:?}");
    }
    let one = |name: &str| rows().project(&[rows().schema().index_of(name).unwrap()]).unwrap();
    for name in ["truth", "small", "float", "day", "at"] {
        let valid = one(name).slice(0, 1);
        assert_eq!(read_back(&format(FormatKind::Raw), &valid), valid, "{name}");
    }
}

#[test]
fn cbor_is_what_another_reader_takes_it_for() {
    let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![Some(&b"\xff\x00"[..])]));
    let large: ArrayRef = Arc::new(UInt64Array::from(vec![u64::MAX]));
    let rows = RecordBatch::try_from_iter([("bytes", bytes), ("large", large)]).unwrap();
    let payloads = encoder(&format(FormatKind::Cbor), &rows.schema()).unwrap().payloads(&rows);
    let read: ciborium::Value = ciborium::from_reader(&payloads.unwrap()[0][..]).unwrap();
    let text = |text: &str| ciborium::Value::Text(text.to_owned());
    let expected = ciborium::Value::Map(vec![
        (text("bytes"), ciborium::Value::Bytes(vec![255, 0])),
        (text("large"), ciborium::Value::Integer(u64::MAX.into())),
    ]);
    assert_eq!(read, expected);
}

#[test]
fn raw_is_the_value_itself_and_nothing_for_null() {
    let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![Some(&b"\xff\x00"[..]), None]));
    let rooms: ArrayRef = Arc::new(StringArray::from(vec!["lab", "hall"]));
    let rows = RecordBatch::try_from_iter([("room", rooms), ("bytes", bytes)]).unwrap();
    let raw = Encoder::new(&format(FormatKind::Raw), &rows.schema(), &[0]).unwrap();
    assert_eq!(raw.payloads(&rows).unwrap(), [vec![255, 0], vec![]]);
}

#[test]
fn what_a_format_cannot_say_is_refused_by_name() {
    let (flat, nested) = (rows().schema(), nested().schema());
    let span = DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano);
    let span = Arc::new(Schema::new(vec![Field::new("span", span, true)]));
    let table = [
        (FormatKind::Csv, &nested, &[][..], "column `list` of type List(Int64)"),
        (FormatKind::Cbor, &span, &[], "column `span` of type Interval(MonthDayNano)"),
        (FormatKind::ArrowIpc, &flat, &[0], "'arrow_ipc' has many rows in one message"),
        (FormatKind::Raw, &flat, &[0], "one column beside the levels of the topic, not 6"),
        (FormatKind::Raw, &span, &[0], "one column beside the levels of the topic, not 0"),
    ];
    for (kind, schema, levels, expected) in table {
        let error = Encoder::new(&format(kind), schema, levels).unwrap_err();
        assert!(error.contains(expected), "{kind:?}: {error}");
    }
}

#[test]
fn batches_are_cut_so_that_each_fits_into_a_message() {
    let long = "x".repeat(1000);
    let texts: ArrayRef = Arc::new(StringArray::from(vec![long.as_str(); 3000]));
    let rows = RecordBatch::try_from_iter([("text", texts)]).unwrap();
    let payloads = encoder(&format(FormatKind::ArrowIpc), &rows.schema()).unwrap();
    let payloads = payloads.payloads(&rows).unwrap();
    assert!(payloads.len() > 3 && payloads.iter().all(|one| one.len() < 600 << 10));
    assert_eq!(read_back(&format(FormatKind::ArrowIpc), &rows), rows);
}
