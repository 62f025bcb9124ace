//! What many groups cost: memory, and time to come back.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Float64Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::Schema;
use edge_db::{Db, Entry, LogOptions};
use edge_stream::{Engine, Pipeline};

use super::{LOG_BYTES, PATIENCE, ROWS};
use crate::Result;
use crate::stream::clock::resident_bytes;

const GROUPS: i64 = 1_000_000;
/// One window for all of them.
const QUERY: &str = "SELECT window_start, id, sum(temp) AS s, count(*) AS n \
                     FROM TUMBLE(readings, ts, INTERVAL '1 day') GROUP BY window_start, id";
/// Of a group: the key, a sum and a count.
const VALUES_BYTES: f64 = 24.0;
const AGGREGATES: f64 = 2.0;

fn rows(from: i64, to: i64) -> Result<RecordBatch> {
    let times = (from..to).map(|id| id * 1_000);
    let temps = (from..to).map(|id| f64::from(u32::try_from(id).unwrap_or(0)));
    Ok(RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from_iter_values(from..to)) as _),
        ("ts", Arc::new(TimestampMicrosecondArray::from_iter_values(times)) as _),
        ("temp", Arc::new(Float64Array::from_iter_values(temps)) as _),
    ])?)
}

/// Says how many bytes each group and aggregate takes beside the values: of resident memory, at the
/// end, snapshots taken.
pub(in crate::stream) async fn groups() -> Result<()> {
    let schema: Arc<Schema> = rows(0, 0)?.schema();
    let builder = Pipeline::builder("readings", schema).watermark("ts", Duration::from_secs(1));
    let mut pipeline = builder.query(QUERY).await?;
    pipeline.push(&rows(0, 1)?)?;
    let before = resident_bytes()?;
    for from in (1..GROUPS).step_by(ROWS) {
        pipeline.push(&rows(from, GROUPS.min(from + i64::try_from(ROWS)?))?)?;
    }
    let taken = resident_bytes()? - before;
    let groups = f64::from(u32::try_from(GROUPS)?);
    println!("bytes {}", (taken / groups - VALUES_BYTES) / AGGREGATES);
    // It is not to be let go of before.
    drop(pipeline);
    Ok(())
}

/// Says how long it takes from opening the database until a job with as many groups runs again.
pub(in crate::stream) async fn restart(answer: &Path) -> Result<()> {
    let dir = answer.with_extension("db");
    let stream = "CREATE STREAM IF NOT EXISTS readings (id BIGINT, ts TIMESTAMP, temp DOUBLE, \
                  WATERMARK FOR ts AS ts - INTERVAL '1 second') WITH (log = 'raw', format = 'json')";
    {
        let db = Db::open(&dir)?;
        let log = db.log_with("raw", LogOptions::new().max_bytes(LOG_BYTES))?;
        for from in (0..GROUPS).step_by(ROWS) {
            let mut batch = db.batch();
            for id in from..GROUPS.min(from + i64::try_from(ROWS)?) {
                let line = format!(r#"{{"id":{id},"ts":{},"temp":{id}}}"#, 1_767_225_600_000 + id);
                batch.append(&log, Entry::new(line));
            }
            batch.commit()?;
        }
        let engine = Engine::builder().db(&db).start().await?;
        engine.execute(stream).await?;
        engine.execute(&format!("CREATE MATERIALIZED VIEW answer AS {QUERY}")).await?;
        engine.caught_up(PATIENCE).await?;
        engine.shutdown(PATIENCE).await?;
        db.shutdown(PATIENCE)?;
    }
    let start = Instant::now();
    let db = Db::open(&dir)?;
    let engine = Engine::builder().db(&db).start().await?;
    // The job is at the end only once its state is there.
    let log = db.log("raw")?;
    log.append(Entry::new(format!(r#"{{"id":0,"ts":{},"temp":0}}"#, 1_767_225_600_000 + GROUPS)))?;
    engine.caught_up(PATIENCE).await?;
    println!("open_ms {}", start.elapsed().as_secs_f64() * 1e3);
    engine.shutdown(PATIENCE).await?;
    Ok(())
}
