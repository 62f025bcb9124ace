//! Logs.

use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::{TimestampMicrosecondType, UInt64Type};
use arrow_array::{Array, RecordBatch, RecordBatchReader};
use edge_db::arrow::log_schema;
use edge_db::{Compression, Db, Entry, Log, LogOptions, Record, Seq, Snapshot, Time};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::{collect, row_counts};

#[derive(Debug, Clone)]
enum Action {
    Append(Vec<Row>),
    Trim(Index),
    Checkpoint,
    Reopen,
}

#[derive(Debug, Clone)]
struct Row {
    time: i64,
    key: Vec<u8>,
    headers: Vec<(String, Vec<u8>)>,
    value: Vec<u8>,
}

fn row() -> impl Strategy<Value = Row> {
    let extremes = proptest::sample::select(vec![i64::MIN, i64::MAX]);
    let time = prop_oneof![4 => 0i64..1000, 1 => any::<i64>(), 1 => extremes];
    let headers = vec(("[a-c]{0,2}", vec(any::<u8>(), 0..4)), 0..3);
    let value = prop_oneof![
        4 => (any::<u8>(), 0usize..400).prop_map(|(letter, count)| vec![letter; count]),
        1 => vec(any::<u8>(), 0..300),
    ];
    (time, vec(any::<u8>(), 0..20), headers, value).prop_map(|(time, key, headers, value)| Row {
        time,
        key,
        headers,
        value,
    })
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        8 => vec(row(), 1..30).prop_map(Action::Append),
        1 => any::<Index>().prop_map(Action::Trim),
        1 => Just(Action::Checkpoint),
        1 => Just(Action::Reopen),
    ]
}

/// What this build can do.
fn compression() -> impl Strategy<Value = Compression> {
    let mut all = vec![Compression::None];
    all.extend(cfg!(feature = "lz4").then_some(Compression::Lz4));
    all.extend(cfg!(feature = "zstd").then_some(Compression::Zstd));
    proptest::sample::select(all)
}

fn open(dir: &std::path::Path, compression: Compression) -> (Db, Log) {
    let db = Db::open(dir).unwrap();
    let log = db.log_with("log", LogOptions::new().compression(compression)).unwrap();
    (db, log)
}

fn apply(db: &Db, log: &Log, action: &Action) {
    let mut batch = db.batch();
    match action {
        Action::Append(rows) => {
            for row in rows {
                let entry = Entry::new(row.value.clone()).key(row.key.clone());
                let entry = entry.at(Time::from_micros(row.time));
                let headers = row.headers.iter().cloned();
                let entry = headers.fold(entry, |entry, (name, value)| entry.header(name, value));
                batch.append(log, entry);
            }
        }
        Action::Trim(before) => {
            let end = usize::try_from(log.bounds().unwrap().end.get()).unwrap();
            batch.trim(log, Seq::new(before.index(end + 1) as u64));
        }
        Action::Checkpoint => db.checkpoint().unwrap(),
        Action::Reopen => unreachable!("there is another handle then"),
    }
    batch.commit().unwrap();
}

fn records_from(snapshot: &Snapshot, log: &Log, mut from: Seq) -> Vec<Record> {
    let mut all = Vec::new();
    loop {
        let records = snapshot.read(log, from, 50).unwrap();
        if records.is_empty() {
            return all;
        }
        from = records.next();
        all.extend(records);
    }
}

/// Whether the rows are these records, column by column.
fn assert_rows(batch: &RecordBatch, records: &[Record]) {
    assert_eq!(batch.num_rows(), records.len());
    assert!(batch.columns().iter().all(|column| column.null_count() == 0));
    let [seqs, times, keys, values, headers] = batch.columns() else { panic!("{batch:?}") };
    for (row, record) in records.iter().enumerate() {
        assert_eq!(seqs.as_primitive::<UInt64Type>().value(row), record.seq().get());
        let time = times.as_primitive::<TimestampMicrosecondType>().value(row);
        assert_eq!(time, record.time().micros());
        assert_eq!(keys.as_binary::<i32>().value(row), record.key());
        assert_eq!(values.as_binary::<i32>().value(row), record.value());
        let headers = headers.as_list::<i32>().value(row);
        let (names, values) = (headers.as_struct().column(0), headers.as_struct().column(1));
        let names = names.as_string::<i32>().iter().map(Option::unwrap);
        let values = values.as_binary::<i32>().iter().map(Option::unwrap);
        let expected: Vec<_> = record.headers().collect();
        let found: Vec<_> = names.zip(values).collect();
        assert!(found.iter().copied().eq(expected.iter().map(|(name, value)| (*name, &value[..]))));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn batches_hold_what_plain_reads_give(
        actions in vec(action(), 1..20),
        compression in compression(),
        from in any::<Index>(),
        max_rows in 1usize..80,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (mut db, mut log) = open(dir.path(), compression);
        for action in &actions {
            if let Action::Reopen = action {
                db.shutdown(Duration::from_secs(60)).unwrap();
                drop((db, log));
                (db, log) = open(dir.path(), compression);
            } else {
                apply(&db, &log, action);
            }
        }
        let snapshot = db.snapshot().unwrap();
        let bounds = snapshot.bounds(&log).unwrap();
        let from = Seq::new(from.index(usize::try_from(bounds.end.get()).unwrap() + 2) as u64);
        let records = records_from(&snapshot, &log, from);

        let mut batches = snapshot.record_batches(&log, from, max_rows).unwrap();
        prop_assert_eq!(batches.missing(), (from < bounds.start).then_some(from..bounds.start));
        for expected in records.chunks(max_rows) {
            assert_rows(&batches.next().unwrap().unwrap(), expected);
            prop_assert_eq!(batches.position(), expected.last().unwrap().seq().next());
        }
        prop_assert!(batches.next().is_none());
        let end = records.last().map_or(from.max(bounds.start), |last| last.seq().next());
        prop_assert_eq!(batches.position(), end);

        let newest = log.read_back(bounds.end, max_rows).unwrap();
        assert_rows(&newest.to_record_batch(), &newest.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn empty_log_has_columns_and_no_batch() {
    let dir = tempfile::tempdir().unwrap();
    let (_db, log) = open(dir.path(), Compression::None);
    let batches = log.record_batches(Seq::new(7), 100).unwrap();
    assert_eq!(batches.schema(), log_schema());
    assert_eq!((batches.position(), batches.count()), (Seq::new(7), 0));
    let none = log.read(Seq::ZERO, 100).unwrap().to_record_batch();
    assert_eq!((none.num_rows(), none.schema()), (0, log_schema()));
}

#[test]
fn batch_ends_at_its_rows_or_at_4_mib() {
    let dir = tempfile::tempdir().unwrap();
    let (db, log) = open(dir.path(), Compression::None);
    let mut batch = db.batch();
    (0..10).for_each(|_| batch.append(&log, Entry::new("short")));
    (0..10).for_each(|_| batch.append(&log, Entry::new(vec![0; 1 << 20])));
    batch.commit().unwrap();
    let rows = |max_rows| row_counts(&collect(log.record_batches(Seq::ZERO, max_rows).unwrap()));
    assert_eq!(rows(10), [10, 4, 4, 2]);
    assert_eq!(rows(usize::MAX), [14, 4, 2]);
    assert_eq!(rows(0), [1; 20]);
}

#[test]
fn what_retention_dropped_is_missing_and_in_no_batch() {
    let dir = tempfile::tempdir().unwrap();
    let (db, log) = open(dir.path(), Compression::None);
    for value in ["1", "2", "3", "4"] {
        log.append(Entry::new(value)).unwrap();
    }
    let before = db.snapshot().unwrap();
    let mut batch = db.batch();
    batch.trim(&log, Seq::new(2));
    batch.commit().unwrap();

    let batches = log.record_batches(Seq::new(1), 100).unwrap();
    assert_eq!(batches.missing(), Some(Seq::new(1)..Seq::new(2)));
    assert_eq!(row_counts(&collect(batches)), [2]);
    let batches = before.record_batches(&log, Seq::new(1), 100).unwrap();
    assert_eq!(batches.missing(), None);
    assert_eq!(row_counts(&collect(batches)), [3]);
}

#[test]
fn batches_begin_at_a_time_by_its_position() {
    let dir = tempfile::tempdir().unwrap();
    let (_db, log) = open(dir.path(), Compression::None);
    for second in [10, 20, 15, 30] {
        log.append(Entry::new("x").at(Time::from_micros(second * 1_000_000))).unwrap();
    }
    let from = log.position_at(Time::from_micros(12_000_000)).unwrap();
    let batches = collect(log.record_batches(from, 100).unwrap());
    let records = log.read(Seq::new(1), 100).unwrap().into_iter().collect::<Vec<_>>();
    assert_rows(&batches[0], &records);
}
