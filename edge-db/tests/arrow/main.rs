//! Record batches hold what plain reads give: every row once, in order, with equal values, over
//! settling, compression and reopening; of one moment, and nothing that has expired or is gone.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod keys;
mod logs;
mod schemas;
mod tables;

use std::error::Error;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchReader};
use arrow_schema::ArrowError;
use edge_db::{Db, Entry, Seq};

/// As those take them that want no more than the trait.
fn collect(batches: impl RecordBatchReader + Send) -> Vec<RecordBatch> {
    let batches: Box<dyn RecordBatchReader + Send> = Box::new(batches);
    let schema = batches.schema();
    let all: Vec<_> = batches.collect::<Result<_, _>>().unwrap();
    assert!(all.iter().all(|batch| batch.schema() == schema && batch.num_rows() > 0));
    all
}

fn one(column: impl Array + 'static) -> Vec<ArrayRef> {
    vec![Arc::new(column)]
}

fn row_counts(batches: &[RecordBatch]) -> Vec<usize> {
    batches.iter().map(RecordBatch::num_rows).collect()
}

/// The error that the iterator handed on.
fn cause<E: Error + 'static>(error: &ArrowError) -> &E {
    error.source().unwrap().downcast_ref().unwrap()
}

#[test]
fn snapshot_gives_tables_and_logs_of_one_moment() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let (table, log) = (db.table::<u32, u64>("counts").unwrap(), db.log("readings").unwrap());
    let write = |number: u32| {
        let mut batch = db.batch();
        batch.insert(&table, &number, &u64::from(number)).unwrap();
        batch.append(&log, Entry::new(number.to_string()));
        batch.commit().unwrap();
    };
    (0..10).for_each(write);
    let snapshot = db.snapshot().unwrap();
    (10..20).for_each(write);
    db.checkpoint().unwrap();

    let rows = collect(snapshot.iter(&table).unwrap().record_batches(100).unwrap());
    let records = collect(snapshot.record_batches(&log, Seq::ZERO, 100).unwrap());
    assert_eq!((row_counts(&rows), row_counts(&records)), (vec![10], vec![10]));

    let batches = log.record_batches(Seq::ZERO, 100).unwrap();
    (20..30).for_each(write);
    assert_eq!(row_counts(&collect(batches)), [20]);
    assert_eq!(row_counts(&collect(log.record_batches(Seq::ZERO, 100).unwrap())), [30]);
}
