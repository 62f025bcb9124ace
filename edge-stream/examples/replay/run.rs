//! The engine, what is sent to it, and what is seen meanwhile.

use std::error::Error;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use edge_db::{Db, LogOptions, WhenFull};
use edge_stream::Engine;

use crate::readings::minute;
use crate::sample::Sample;

const SCRIPT: &str = "
CREATE STREAM readings (
  ts TIMESTAMP, device VARCHAR, temp DOUBLE, WATERMARK FOR ts AS ts - INTERVAL '30 seconds'
) WITH (log = 'raw', format = 'arrow_ipc', late = 'divert');

CREATE MATERIALIZED VIEW windows AS
SELECT window_start, device, avg(temp) AS mean, min(temp) AS low, max(temp) AS high, count(*) AS n
FROM TUMBLE(readings, DESCRIPTOR(ts), INTERVAL '10 minutes') GROUP BY window_start, device;

CREATE MATERIALIZED VIEW sessions AS
SELECT window_start, window_end, device, avg(temp) AS mean, count(*) AS n
FROM SESSION(readings PARTITION BY device, DESCRIPTOR(ts), INTERVAL '5 minutes')
GROUP BY window_start, window_end, device;

CREATE SINK changes WITH (log = 'changes') AS
SELECT ts, device, temp,
  avg(temp) OVER (PARTITION BY device ORDER BY ts ROWS BETWEEN 4 PRECEDING AND CURRENT ROW) AS mean
FROM readings QUALIFY changed(temp, 3) OVER (PARTITION BY device ORDER BY ts);
";

/// Minutes of event time from one sample to the next: no divisor of a window's length, so that these are seen
/// young and old.
const SAMPLE_EVERY: u32 = 7;
/// What the database may hold in memory. With little, its tables have been full, and empty again, before
/// memory is compared.
const DATABASE_BYTES: usize = 8 << 20;
/// Of each of the two Logs: what all jobs have read goes first.
const LOG_BYTES: u64 = 32 << 20;
/// How long the jobs may take for a minute of event time, on the slowest machine.
const LONG: Duration = Duration::from_secs(600);

/// What was seen.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) samples: Vec<Sample>,
    pub(crate) rows: u64,
    /// Rows that were sent much too late.
    pub(crate) made_late: u64,
    /// Rows that the closed windows and the ended sessions have in the end.
    pub(crate) in_windows: u64,
    pub(crate) in_sessions: u64,
}

/// Sends so many hours of so many devices; `tell` gets each sample.
pub(crate) async fn run(
    devices: u32,
    hours: u32,
    tell: impl Fn(&Sample),
) -> Result<Outcome, Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let db = Db::builder().memory_bytes(DATABASE_BYTES).open(dir.path())?;
    db.log_with("raw", LogOptions::new().max_bytes(LOG_BYTES))?;
    // Nobody reads it.
    let options = LogOptions::new().max_bytes(LOG_BYTES).when_full(WhenFull::DropOldest);
    db.log_with("changes", options)?;
    let engine = Engine::builder().db(&db).start().await?;
    engine.execute(SCRIPT).await?;
    let (mut samples, mut rows, mut made_late) = (Vec::new(), 0, 0);
    for number in 0..hours * 60 {
        let minute = minute(number, devices)?;
        engine.push("readings", &minute.rows).await?;
        rows += minute.rows.num_rows() as u64;
        made_late += minute.late;
        // No further ahead than this, so that what waits in the Log is no part of the measure.
        engine.caught_up(LONG).await?;
        if number % SAMPLE_EVERY == SAMPLE_EVERY - 1 {
            let sample = Sample::take(&engine, number + 1, rows, made_late);
            tell(&sample);
            samples.push(sample);
        }
    }
    // An hour later nothing is open, but for what these say themselves.
    let end = minute(hours * 60 + 65, devices)?;
    engine.push("readings", &end.rows).await?;
    engine.caught_up(LONG).await?;
    let (in_windows, in_sessions) =
        (count(&engine, "windows").await?, count(&engine, "sessions").await?);
    engine.shutdown(LONG).await?;
    db.shutdown(LONG)?;
    Ok(Outcome { samples, rows, made_late, in_windows, in_sessions })
}

async fn count(engine: &Engine, view: &str) -> Result<u64, Box<dyn Error>> {
    let answer = engine.sql(&format!("SELECT sum(n) FROM {view}")).await?;
    let sum = answer.first().ok_or("a sum is one row")?.column(0);
    Ok(sum.as_primitive::<Int64Type>().value(0).try_into()?)
}
