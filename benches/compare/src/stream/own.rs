//! This program as edge-stream, at one of the tasks.

mod gateway;
mod jobs;
mod state;

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema, TimeUnit};
use edge_db::{Db, Entry, LogOptions};
use edge_stream::{Engine, EventTime, JsonRows, Pipeline};

pub(super) use gateway::serve;
pub(super) use jobs::jobs;
pub(super) use state::{groups, restart};

use super::clock::Clock;
use super::data::DELAY_SECONDS;
use crate::Result;

/// Rows that the pipeline is given at once, as the engine does.
const ROWS: usize = 8_192;
/// Bytes of a file that are read at once.
const BLOCK_BYTES: usize = 1024 * 1024;
/// Records in a commit while a Log is filled.
const COMMIT: usize = 1_000;
/// More than any run needs: a full Log would drop records.
const LOG_BYTES: u64 = 8 << 30;
/// Too cold to be in an answer: it closes the last windows of a job, as nothing else comes.
const END: &str = r#"{"device":"end","ts":1767229200000,"temp":0,"hum":0}"#;
/// How long a job may take.
const PATIENCE: Duration = Duration::from_secs(600);

pub(super) const COLUMNS: &str = "window_start, device, avg(temp) AS a, min(temp) AS b, \
                                  max(temp) AS c, count(*) AS n";

/// The windows of a task, as they stand in `FROM`.
pub(super) fn windows(task: &str) -> Result<&'static str> {
    Ok(match task {
        "tumble" => "TUMBLE(readings, ts, INTERVAL '10 seconds')",
        "hop" => "HOP(readings, ts, INTERVAL '1 second', INTERVAL '60 seconds')",
        "session" => "SESSION(readings, ts, INTERVAL '5 seconds')",
        other => return Err(format!("no task `{other}`").into()),
    })
}

fn query(task: &str) -> Result<String> {
    let windows = windows(task)?;
    Ok(format!("SELECT {COLUMNS} FROM {windows} WHERE temp > 20 GROUP BY window_start, device"))
}

/// Rows are pushed into a pipeline, without a database.
pub(super) async fn pipeline(task: &str, lines: &Path, answer: &Path) -> Result<()> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("device", DataType::Utf8, true),
        Field::new("ts", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new("temp", DataType::Float64, true),
        Field::new("hum", DataType::Float64, true),
    ]));
    let json = JsonRows::new(Arc::clone(&schema))?;
    let builder = Pipeline::builder("readings", schema);
    let builder = builder.watermark("ts", Duration::from_secs(DELAY_SECONDS));
    let mut pipeline = builder.query(&query(task)?).await?;
    let clock = Clock::start()?;
    let mut out = Vec::new();
    let mut file = BufReader::with_capacity(BLOCK_BYTES, File::open(lines)?);
    let mut block = Vec::with_capacity(2 * BLOCK_BYTES);
    while file.by_ref().take(BLOCK_BYTES as u64).read_to_end(&mut block)? > 0 {
        file.read_until(b'\n', &mut block)?;
        for lines in lines_of(&block).chunks(ROWS) {
            out.extend(pipeline.push(&json.read(lines)?)?);
        }
        block.clear();
    }
    out.extend(pipeline.advance(EventTime::from_micros(i64::MAX))?);
    clock.say()?;
    println!("late {}", pipeline.late());
    write(&out, answer)
}

/// A job over a Log, its state, position and view in a database.
pub(super) async fn engine(task: &str, lines: &Path, answer: &Path) -> Result<()> {
    let dir = answer.with_extension("db");
    fill(&dir, lines)?;
    let db = Db::open(&dir)?;
    let engine = Engine::builder().db(&db).start().await?;
    engine.execute(&create_stream()).await?;
    engine.caught_up(PATIENCE).await?;
    let view = format!("CREATE MATERIALIZED VIEW answer AS {}", query(task)?);
    let clock = Clock::start()?;
    engine.execute(&view).await?;
    engine.caught_up(PATIENCE).await?;
    clock.say()?;
    println!("late {}", late(&engine).await?);
    let rows = engine.sql("SELECT window_start, device, a, b, c, n FROM answer").await?;
    write(&rows, answer)?;
    engine.shutdown(PATIENCE).await?;
    Ok(())
}

fn create_stream() -> String {
    format!(
        "CREATE STREAM readings (device VARCHAR, ts TIMESTAMP, temp DOUBLE, hum DOUBLE, \
         WATERMARK FOR ts AS ts - INTERVAL '{DELAY_SECONDS} seconds') \
         WITH (log = 'raw', format = 'json')"
    )
}

/// Rows that came late, of all jobs.
async fn late(engine: &Engine) -> Result<i64> {
    let late = engine.sql("SELECT sum(late) FROM system.jobs").await?;
    let late = cast(late[0].column(0), &DataType::Int64)?;
    Ok(late.as_primitive::<Int64Type>().value(0))
}

fn lines_of(text: &[u8]) -> Vec<&[u8]> {
    let mut start = 0;
    let lines = memchr::memchr_iter(b'\n', text).map(|end| {
        let line = &text[start..end];
        start = end + 1;
        line
    });
    lines.collect()
}

/// Leaves the lines in a Log, all of them where they stay.
fn fill(dir: &Path, lines: &Path) -> Result<()> {
    let db = Db::open(dir)?;
    fill_log(&db, lines)?;
    Ok(db.shutdown(PATIENCE)?)
}

fn fill_log(db: &Db, lines: &Path) -> Result<()> {
    let log = db.log_with("raw", LogOptions::new().max_bytes(LOG_BYTES))?;
    let text = std::fs::read(lines)?;
    for lines in lines_of(&text).chunks(COMMIT) {
        let mut batch = db.batch();
        lines.iter().for_each(|line| batch.append(&log, Entry::new(line.to_vec())));
        batch.commit()?;
    }
    log.append(Entry::new(END))?;
    Ok(())
}

/// Writes `start,device,avg,min,max,count`.
pub(super) fn write(rows: &[RecordBatch], path: &Path) -> Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for rows in rows {
        let column = |place: usize, kind: &DataType| cast(rows.column(place), kind);
        let start = column(0, &DataType::Timestamp(TimeUnit::Millisecond, None))?;
        let start = cast(&start, &DataType::Int64)?;
        let device = column(1, &DataType::Utf8)?;
        let numbers = [2, 3, 4].map(|place| column(place, &DataType::Float64));
        let count = column(5, &DataType::Int64)?;
        for row in 0..rows.num_rows() {
            let int = |of: &dyn Array| of.as_primitive::<Int64Type>().value(row);
            write!(file, "{},{}", int(&start), device.as_string::<i32>().value(row))?;
            for number in &numbers {
                let number = number.as_ref().map_err(ToString::to_string)?;
                write!(file, ",{}", number.as_primitive::<Float64Type>().value(row))?;
            }
            writeln!(file, ",{}", int(&count))?;
        }
    }
    Ok(file.flush()?)
}
