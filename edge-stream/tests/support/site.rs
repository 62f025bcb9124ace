//! One stream over a Log, two views over it, and how to feed and ask them.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::Path;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use edge_db::{Db, Entry, Log};
use edge_stream::{Engine, JobStatus};

pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) const SCRIPT: &str = "
CREATE STREAM readings (
  ts TIMESTAMP, room VARCHAR, temp DOUBLE,
  WATERMARK FOR ts AS ts - INTERVAL '10 seconds'
) WITH (log = 'raw', format = 'json');

CREATE MATERIALIZED VIEW heat AS
SELECT window_start, room, avg(temp) AS temp, count(*) AS n
FROM TUMBLE(readings, DESCRIPTOR(ts), INTERVAL '1 minute')
GROUP BY window_start, window_end, room;

CREATE MATERIALIZED VIEW hot AS SELECT room, temp, _seq FROM readings WHERE temp > 30;
";

pub(crate) async fn start(dir: &Path) -> (Db, Engine) {
    let db = Db::open(dir).unwrap();
    let engine = Engine::builder().db(&db).start().await.unwrap();
    (db, engine)
}

pub(crate) async fn end(db: &Db, engine: &Engine) {
    assert_eq!(engine.shutdown(LONG).await.unwrap().records, 0);
    db.shutdown(LONG).unwrap();
}

pub(crate) fn reading(second: u32, room: &str, temp: f64) -> Entry {
    let (minute, second) = (second / 60, second % 60);
    let time = format!("2026-01-01T{:02}:{:02}:{second:02}", minute / 60, minute % 60);
    Entry::new(format!(r#"{{"ts":"{time}","room":"{room}","temp":{temp}}}"#))
}

pub(crate) fn append(db: &Db, log: &Log, entries: impl IntoIterator<Item = Entry>) {
    let mut batch = db.batch();
    entries.into_iter().for_each(|entry| batch.append(log, entry));
    batch.commit().unwrap();
}

/// The cells of an answer, row by row.
pub(crate) fn cells(answer: &[RecordBatch]) -> Vec<String> {
    let text = pretty_format_batches(answer).unwrap().to_string();
    let rows = text.lines().skip(3).filter(|line| line.starts_with('|'));
    rows.map(|row| row.split_whitespace().filter(|cell| *cell != "|").collect::<Vec<_>>().join(" "))
        .collect()
}

pub(crate) async fn ask(engine: &Engine, query: &str) -> Vec<String> {
    cells(&engine.sql(query).await.unwrap())
}

pub(crate) fn job(engine: &Engine, name: &str) -> JobStatus {
    engine.jobs().into_iter().find(|job| job.name == name).unwrap()
}
