//! Many jobs over one stream, while rows come at a steady rate.

use std::path::Path;
use std::time::{Duration, Instant};

use edge_db::{Db, Entry, LogOptions};
use edge_stream::Engine;
use tokio::time::sleep_until;

use super::{COLUMNS, END, LOG_BYTES, PATIENCE, create_stream, late, lines_of, windows, write};
use crate::Result;
use crate::stream::clock::Clock;

const JOBS: u64 = 100;
const DEVICES: u64 = 1_000;
/// Rows that come together, as from a broker that has them from many clients, and how often.
const ROWS: usize = 1_000;
const EVERY: Duration = Duration::from_millis(10);

/// Each job is about its own devices; together they are about all of them.
pub(in crate::stream) async fn jobs(lines: &Path, answer: &Path) -> Result<()> {
    let text = std::fs::read(lines)?;
    let db = Db::open(answer.with_extension("db"))?;
    let log = db.log_with("raw", LogOptions::new().max_bytes(LOG_BYTES))?;
    let engine = Engine::builder().db(&db).start().await?;
    engine.execute(&create_stream()).await?;
    for job in 0..JOBS {
        let name = |device: u64| format!("'device-{device:04}'");
        let (first, end) = (name(job * DEVICES / JOBS), name((job + 1) * DEVICES / JOBS - 1));
        let view = format!(
            "CREATE MATERIALIZED VIEW answer{job} AS SELECT {COLUMNS} FROM {} \
             WHERE temp > 20 AND device BETWEEN {first} AND {end} GROUP BY window_start, device",
            windows("tumble")?
        );
        engine.execute(&view).await?;
    }
    let clock = Clock::start()?;
    let mut due = Instant::now();
    for lines in lines_of(&text).chunks(ROWS) {
        let mut batch = db.batch();
        lines.iter().for_each(|line| batch.append(&log, Entry::new(line.to_vec())));
        batch.commit_async().await?;
        due += EVERY;
        sleep_until(due.into()).await;
    }
    log.append(Entry::new(END))?;
    engine.caught_up(PATIENCE).await?;
    clock.say()?;
    println!("late {}", late(&engine).await?);
    let mut rows = Vec::new();
    for job in 0..JOBS {
        let answer = format!("SELECT window_start, device, a, b, c, n FROM answer{job}");
        rows.extend(engine.sql(&answer).await?);
    }
    write(&rows, answer)?;
    engine.shutdown(PATIENCE).await?;
    Ok(())
}
