//! Tables.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::builder::FixedSizeBinaryBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Float32Array, Float64Array, Int16Array, Int64Array,
    ListArray, RecordBatchReader, StringArray, StructArray, TimestampMicrosecondArray, UInt32Array,
    UInt64Array,
};
use arrow_schema::{DataType, Field, Fields, TimeUnit};
use edge_db::arrow::{RowError, RowSchema};
use edge_db::{Db, ReadError, Table, Time};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{cause, collect, one, row_counts};

type Key = (String, i64, Vec<u8>);

#[derive(Debug, Clone, Serialize, Deserialize)]
enum State {
    Idle,
    Running,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Place {
    room: String,
    floor: Option<i16>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Machine {
    unsigned: u64,
    signed: i64,
    float: f64,
    single: Option<f32>,
    text: Option<String>,
    bytes: Vec<u8>,
    is_on: bool,
    state: State,
    place: Option<Place>,
    samples: Vec<Option<i32>>,
}

prop_compose! {
    fn machine()(
        numbers in (any::<u64>(), any::<i64>(), any::<f64>(), any::<Option<f32>>()),
        text in any::<Option<String>>(),
        bytes in vec(any::<u8>(), 0..9),
        is_on in any::<bool>(),
        place in any::<Option<(String, Option<i16>)>>(),
        samples in vec(any::<Option<i32>>(), 0..5),
    ) -> Machine {
        let (unsigned, signed, float, single) = numbers;
        let place = place.map(|(room, floor)| Place { room, floor });
        let state = if is_on { State::Running } else { State::Idle };
        Machine { unsigned, signed, float, single, text, bytes, is_on, state, place, samples }
    }
}

fn places(rows: &[(Key, Machine)]) -> StructArray {
    let places: Vec<_> = rows.iter().map(|(_, machine)| machine.place.clone()).collect();
    let rooms = places.iter().map(|place| place.as_ref().map_or("", |place| &place.room));
    let floors = places.iter().map(|place| place.as_ref()?.floor);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rooms)),
        Arc::new(floors.collect::<Int16Array>()),
    ];
    let fields = Fields::from(vec![
        Field::new("room", DataType::Utf8, false),
        Field::new("floor", DataType::Int16, true),
    ]);
    let is_there = places.iter().map(Option::is_some).collect::<Vec<_>>();
    StructArray::new(fields, columns, Some(is_there.into()))
}

fn samples(rows: &[(Key, Machine)]) -> ListArray {
    let lists = rows.iter().map(|(_, machine)| Some(machine.samples.clone()));
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(lists);
    let (_, offsets, values, nulls) = lists.into_parts();
    let item = Field::new("element", DataType::Int32, true);
    ListArray::new(Arc::new(item), offsets, values, nulls)
}

/// The columns as Arrow's own constructors make them of plain rows.
fn columns_of(rows: &[(Key, Machine)]) -> Vec<ArrayRef> {
    let keys = || rows.iter().map(|(key, _)| key);
    let values = || rows.iter().map(|(_, machine)| machine);
    let states = values().map(|machine| match machine.state {
        State::Idle => "Idle",
        State::Running => "Running",
    });
    vec![
        Arc::new(StringArray::from_iter_values(keys().map(|key| &key.0))),
        Arc::new(Int64Array::from_iter_values(keys().map(|key| key.1))),
        Arc::new(BinaryArray::from_iter_values(keys().map(|key| &key.2))),
        Arc::new(UInt64Array::from_iter_values(values().map(|machine| machine.unsigned))),
        Arc::new(Int64Array::from_iter_values(values().map(|machine| machine.signed))),
        Arc::new(Float64Array::from_iter_values(values().map(|machine| machine.float))),
        Arc::new(values().map(|machine| machine.single).collect::<Float32Array>()),
        Arc::new(values().map(|machine| machine.text.as_ref()).collect::<StringArray>()),
        Arc::new(BinaryArray::from_iter_values(values().map(|machine| &machine.bytes))),
        Arc::new(values().map(|machine| Some(machine.is_on)).collect::<BooleanArray>()),
        Arc::new(StringArray::from_iter_values(states)),
        Arc::new(places(rows)),
        Arc::new(samples(rows)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn batches_hold_what_plain_reads_give(
        rows in btree_map(any::<Key>(), machine(), 0..60),
        settled in 0usize..60,
        max_rows in 1usize..20,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path()).unwrap();
        let table = db.table::<Key, Machine>("machines").unwrap();
        for (place, (key, machine)) in rows.iter().enumerate() {
            if place == settled {
                db.checkpoint().unwrap();
            }
            let mut batch = db.batch().within(Duration::from_secs(1));
            batch.insert(&table, key, machine).unwrap();
            batch.commit().unwrap();
        }
        let stored: Vec<_> = table.iter().unwrap().collect::<Result<_, _>>().unwrap();
        prop_assert!(stored.iter().map(|(key, _)| key).eq(rows.keys()));

        let batches = collect(table.iter().unwrap().record_batches(max_rows).unwrap());
        prop_assert_eq!(batches.len(), stored.len().div_ceil(max_rows));
        for (batch, rows) in batches.iter().zip(stored.chunks(max_rows)) {
            prop_assert_eq!(batch.columns(), columns_of(rows));
        }
        let backwards: Vec<_> = stored.into_iter().rev().collect();
        let rows = table.iter().unwrap().rev();
        let schema = RowSchema::new().unwrap();
        let batches = collect(schema.record_batches(rows, max_rows).unwrap());
        for (batch, rows) in batches.iter().zip(backwards.chunks(max_rows)) {
            prop_assert_eq!(batch.columns(), columns_of(rows));
        }
    }
}

fn table_of<V: Serialize + DeserializeOwned>(db: &Db, values: &[V]) -> Table<u32, V> {
    let table = db.table::<u32, V>("values").unwrap();
    let mut batch = db.batch();
    for (key, value) in (0..).zip(values) {
        batch.insert(&table, &key, value).unwrap();
    }
    batch.commit().unwrap();
    table
}

#[test]
fn empty_table_has_columns_and_no_batch() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let batches = table_of::<f64>(&db, &[]).iter().unwrap().record_batches(100).unwrap();
    let schema = batches.schema();
    let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!((names, batches.count()), (vec!["key", "value"], 0));
}

#[test]
fn batches_have_as_many_rows_as_asked_for_within_limits() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let table = table_of(&db, &[(); 40_000]);
    let rows =
        |max_rows| row_counts(&collect(table.iter().unwrap().record_batches(max_rows).unwrap()));
    assert_eq!(rows(20_000), [20_000, 20_000]);
    assert_eq!(rows(usize::MAX), [32_768, 7_232]);
    let few = table.range(..3).unwrap();
    assert_eq!(row_counts(&collect(few.record_batches(0).unwrap())), [1, 1, 1]);
}

#[test]
fn expired_rows_are_in_no_batch() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let table = table_of(&db, &[0u64, 1, 2, 3]);
    let gone = table.clone().expire_after(Duration::ZERO);
    let kept = table.clone().expire_after(Duration::from_secs(3600));
    let mut batch = db.batch();
    batch.insert(&gone, &0, &10).unwrap();
    batch.insert(&gone, &2, &12).unwrap();
    batch.insert(&kept, &3, &13).unwrap();
    batch.commit().unwrap();
    let batches = collect(table.iter().unwrap().record_batches(2).unwrap());
    let expected: Vec<ArrayRef> =
        vec![Arc::new(UInt32Array::from(vec![1, 3])), Arc::new(UInt64Array::from(vec![1, 13]))];
    assert_eq!(row_counts(&batches), [2]);
    assert_eq!(batches[0].columns(), expected);
}

#[test]
fn rows_of_an_index_are_in_its_order() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let table = db.table::<u32, u64>("values").unwrap();
    let by_value = table.index("value", |value| Some(*value)).unwrap();
    table_of(&db, &[7u64, 9, 8]);
    let schema = RowSchema::<u32, u64>::new().unwrap();
    let batches = schema.record_batches(by_value.range(8..).unwrap(), 100).unwrap();
    let expected: Vec<ArrayRef> =
        vec![Arc::new(UInt32Array::from(vec![2, 1])), Arc::new(UInt64Array::from(vec![8, 9]))];
    assert_eq!(collect(batches)[0].columns(), expected);
}

#[test]
fn column_takes_the_type_that_it_is_given() {
    #[derive(Serialize, Deserialize)]
    struct Seen {
        at: Time,
        mac: [u8; 6],
        state: State,
    }
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let seen = |state| Seen { at: Time::from_micros(i64::MIN), mac: [1, 2, 3, 4, 5, 6], state };
    let table = table_of(&db, &[seen(State::Idle), seen(State::Running)]);
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let text = DataType::Dictionary(DataType::UInt8.into(), DataType::Utf8.into());
    let schema = RowSchema::<u32, Seen>::with_keys(["id"]).unwrap();
    let schema = schema.column(Field::new("at", time, false)).unwrap();
    let schema = schema.column(Field::new("mac", DataType::FixedSizeBinary(6), false)).unwrap();
    let schema = schema.column(Field::new("state", text, false)).unwrap();
    let batches = collect(schema.record_batches(table.iter().unwrap(), 100).unwrap());
    let [ids, times, macs, states] = batches[0].columns() else { panic!("{batches:?}") };
    assert_eq!(ids, &one(UInt32Array::from(vec![0, 1]))[0]);
    let expected = TimestampMicrosecondArray::from(vec![i64::MIN; 2]).with_timezone("UTC");
    assert_eq!(times, &one(expected)[0]);
    let mut expected = FixedSizeBinaryBuilder::new(6);
    (0..2).for_each(|_| expected.append_value([1, 2, 3, 4, 5, 6]).unwrap());
    assert_eq!(macs, &one(expected.finish())[0]);
    assert_eq!(states.as_any_dictionary().values().as_string::<i32>().value(1), "Running");
}

#[test]
fn row_that_does_not_fit_is_named_and_ends_the_batches() {
    let rows = [1u64, 300, 2].into_iter().zip(0u32..).map(|(number, key)| Ok((key, (number,))));
    let schema = RowSchema::<u32, (u64,)>::new().unwrap();
    let schema = schema.column(Field::new("value_0", DataType::UInt8, false)).unwrap();
    let mut batches = schema.record_batches(rows, 1).unwrap();
    assert_eq!(batches.next().unwrap().unwrap().num_rows(), 1);
    let error = batches.next().unwrap().unwrap_err();
    let error: &RowError = cause(&error);
    assert_eq!(error.key, "1");
    let source = error.source.to_string();
    assert!(source.contains("out of range") && source.contains("value.value_0"), "{source}");
    assert!(source.contains("UInt8"), "{source}");
    assert!(batches.next().is_none());
}

#[test]
fn row_that_cannot_be_read_ends_the_batches() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let table = table_of(&db, &[1u64, 2, 3]);
    let mut batch = db.batch();
    batch.insert(&table.clone().version(1), &1, &20).unwrap();
    batch.commit().unwrap();
    let mut batches = table.iter().unwrap().record_batches(1).unwrap();
    assert!(batches.next().unwrap().is_ok());
    let error = batches.next().unwrap().unwrap_err();
    assert!(matches!(cause(&error), ReadError::Value { name, .. } if name == "values"));
    assert!(batches.next().is_none());
}
