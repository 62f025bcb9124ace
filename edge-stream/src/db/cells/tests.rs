//! Cells give back what went in, and keys sort as cells do.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int8Array, Int64Array, ListArray, RecordBatch, StringArray, StringViewArray, StructArray,
    Time32SecondArray, TimestampMicrosecondArray, TimestampNanosecondArray, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Int32Type, IntervalUnit, Schema};
use proptest::prelude::*;

use super::*;

fn every_type() -> RecordBatch {
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([
        Some(vec![Some(1), None, Some(3)]),
        None,
        Some(vec![]),
    ]);
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c"]));
    let fields = vec![
        Arc::new(Field::new("n", DataType::Int64, true)),
        Arc::new(Field::new("t", DataType::Utf8, true)),
    ];
    let nulls = Some(vec![true, true, false].into());
    let structs = StructArray::new(fields.into(), vec![numbers, texts], nulls);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("bool", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
        ("i8", Arc::new(Int8Array::from(vec![Some(i8::MIN), None, Some(i8::MAX)]))),
        ("i64", Arc::new(Int64Array::from(vec![Some(i64::MIN), None, Some(i64::MAX)]))),
        ("u64", Arc::new(UInt64Array::from(vec![Some(u64::MAX), None, Some(0)]))),
        ("f32", Arc::new(Float32Array::from(vec![Some(0.1), None, Some(f32::INFINITY)]))),
        ("f64", Arc::new(Float64Array::from(vec![Some(-0.0), None, Some(f64::MAX)]))),
        (
            "decimal",
            Arc::new(
                Decimal128Array::from(vec![Some(-12345), None, Some(1)])
                    .with_precision_and_scale(20, 3)
                    .unwrap(),
            ),
        ),
        ("text", Arc::new(StringArray::from(vec![Some("é"), None, Some("")]))),
        ("view", Arc::new(StringViewArray::from(vec![Some("longer than twelve"), None, Some("")]))),
        ("bytes", Arc::new(BinaryArray::from(vec![Some(&[0u8, 255][..]), None, Some(&[])]))),
        ("date", Arc::new(Date32Array::from(vec![Some(-1), None, Some(20000)]))),
        ("time", Arc::new(Time32SecondArray::from(vec![Some(1), None, Some(86_399)]))),
        ("micros", Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), None, Some(1)]))),
        (
            "nanos",
            Arc::new(
                TimestampNanosecondArray::from(vec![Some(1), None, Some(2)]).with_timezone("UTC"),
            ),
        ),
        ("list", Arc::new(lists)),
        ("struct", Arc::new(structs)),
    ];
    let fields =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true));
    let schema = Schema::new(fields.collect::<Vec<_>>());
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

#[test]
fn every_type_comes_back_as_it_was() {
    let batch = every_type();
    assert_eq!(not_storable(batch.schema_ref()), None);
    let rows = rows_of(&batch).unwrap();
    assert_eq!(rows[1].iter().filter(|cell| **cell == Cell::Null).count(), 15);
    assert_eq!(batch_of(&batch.schema(), rows).unwrap(), batch);
    let empty = batch.slice(0, 0);
    assert_eq!(batch_of(&empty.schema(), rows_of(&empty).unwrap()).unwrap(), empty);
}

#[test]
fn types_that_cannot_be_stored_are_named() {
    let interval = DataType::Interval(IntervalUnit::MonthDayNano);
    let schema = Schema::new(vec![Field::new("d", interval, true)]);
    assert_eq!(not_storable(&schema).unwrap().name(), "d");
    let batch = every_type();
    let list = batch.schema().index_of("list").unwrap();
    assert_eq!(not_a_key(batch.schema_ref(), &[0, list]).unwrap().name(), "list");
}

#[test]
fn rows_of_another_view_are_an_error() {
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
    assert!(batch_of(&schema, vec![vec![]]).is_err());
    assert!(batch_of(&schema, vec![vec![Cell::Text("1".to_owned())]]).is_err());
}

#[test]
fn long_keys_are_cut_and_told_apart() {
    let key = |end: &str| key_of(&[Cell::Text("x".repeat(200_000) + end)]);
    assert!(key("a").len() < 20_000);
    assert_ne!(key("a"), key("b"));
    assert_eq!(key("a"), key("a"));
}

proptest! {
    #[test]
    fn keys_sort_as_their_cells(
        a in (any::<Option<i64>>(), ".{0,3}", any::<f64>()),
        b in (any::<Option<i64>>(), ".{0,3}", any::<f64>()),
    ) {
        let cells = |(n, text, float): &(Option<i64>, String, f64)| {
            let n = n.map_or(Cell::Null, Cell::Int);
            [n, Cell::Text(text.clone()), Cell::Float(*float)]
        };
        let order = a.0.cmp(&b.0).then(a.1.cmp(&b.1)).then(a.2.total_cmp(&b.2));
        prop_assert_eq!(key_of(&cells(&a)).cmp(&key_of(&cells(&b))), order);
    }
}
