//! More rows come out of one step than a commit takes: each comes out once, though the engine is dropped
//! in the middle of them.

#![cfg(feature = "db")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/site.rs"]
mod site;

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampSecondArray};
use arrow::datatypes::Int64Type;
use arrow::ipc::reader::StreamReader;
use edge_db::{Db, Log, Seq};
use site::{LONG, end, job, start};

/// Each commit takes 24 MiB of what comes out: more than two of them.
const ROWS: i64 = 2_600;
const TEXT_BYTES: usize = 20_000;

const SCRIPT: &str = "
CREATE STREAM IF NOT EXISTS letters (ts TIMESTAMP, device BIGINT, text VARCHAR,
  WATERMARK FOR ts AS ts - INTERVAL '1 hour') WITH (log = 'raw', format = 'arrow_ipc');
CREATE SINK IF NOT EXISTS said WITH (log = 'said', format = 'arrow_ipc') AS
SELECT window_start, device, max(text) AS text
FROM TUMBLE(letters, DESCRIPTOR(ts), INTERVAL '1 second') GROUP BY window_start, device";

fn letters(devices: Range<i64>, second: impl Fn(i64) -> i64) -> RecordBatch {
    let devices = Int64Array::from_iter_values(devices);
    let times = devices.values().iter().map(|device| 1_767_225_600 + second(*device));
    let texts = devices.values().iter().map(|_| Some("x".repeat(TEXT_BYTES)));
    RecordBatch::try_from_iter([
        ("ts", Arc::new(TimestampSecondArray::from_iter_values(times)) as ArrayRef),
        ("text", Arc::new(texts.collect::<StringArray>())),
        ("device", Arc::new(devices)),
    ])
    .unwrap()
}

/// Pieces of rows that are stored, and have not come out.
fn waiting(db: &Db) -> usize {
    let state = db.keyspace("stream.state.said").unwrap();
    state.iter().unwrap().filter(|entry| entry.as_ref().unwrap().0[0] == 0xFC).count()
}

/// The devices in the Log of the sink, in its order.
fn devices(log: &Log) -> Vec<i64> {
    let (mut devices, mut position) = (Vec::new(), Seq::ZERO);
    loop {
        let records = log.read(position, 100).unwrap();
        if records.is_empty() {
            return devices;
        }
        position = records.next();
        for record in &records {
            for rows in StreamReader::try_new(record.value(), None).unwrap() {
                let rows = rows.unwrap();
                devices.extend(rows["device"].as_primitive::<Int64Type>().values());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_too_many_for_a_commit_come_out_once_through_crashes() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine.execute(SCRIPT).await.unwrap();
    for from in (0..ROWS).step_by(260) {
        engine.push("letters", &letters(from..from + 260, |device| device % 60)).await.unwrap();
    }
    engine.caught_up(LONG).await.unwrap();
    let said = db.log("said").unwrap();
    assert_eq!(said.bounds().unwrap().end, Seq::ZERO, "no window is closed");
    let mut stored = db.keyspace("stream.state.said").unwrap().watch();
    engine.push("letters", &letters(ROWS..ROWS + 1, |_| 7_200)).await.unwrap();
    // The commit that follows this one may be under way; it does not bring out all of them.
    while said.bounds().unwrap().end == Seq::ZERO {
        stored.changed().await;
    }
    drop(engine);
    db.shutdown(LONG).unwrap();
    drop((said, stored, db));
    let db = Db::open(dir.path()).unwrap();
    println!("{} pieces wait", waiting(&db));
    drop(db);

    let (db, engine) = start(dir.path()).await;
    engine.caught_up(LONG).await.unwrap();
    let mut found = devices(&db.log("said").unwrap());
    found.sort_unstable();
    assert_eq!(found, (0..ROWS).collect::<Vec<_>>());
    assert_eq!((waiting(&db), job(&engine, "said").out), (0, ROWS.unsigned_abs()));
    end(&db, &engine).await;
}
