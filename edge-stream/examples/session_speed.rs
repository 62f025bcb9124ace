//! How many events a second one core takes through session windows of 10,000 devices, beside the
//! same through tumbling windows: `cargo run --release --example session_speed`.
//!
//! Each device sends for 20 seconds and is silent for 40, so that sessions begin and end all the
//! time; rows are up to 2 seconds out of order, and a checkpoint is taken each second of event time.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use edge_stream::Pipeline;

const DEVICES: u64 = 10_000;
const ROWS: usize = 8192;
const SECOND: i64 = 1_000_000;

/// A batch of rows, of the devices that send at that time: a third of all, each once a second.
fn batch(number: u64) -> Result<RecordBatch, Box<dyn Error>> {
    let first = number * ROWS as u64;
    let rows = (first..first + ROWS as u64).map(|row| {
        let sending = DEVICES / 3;
        let second = row / sending;
        // Who sends moves on by a part of the devices each second.
        let device = (row % sending + second * (DEVICES / 60)) % DEVICES;
        let jitter = i64::try_from(row * 7919 % 2000).unwrap_or(0) * 1000;
        (device, i64::try_from(second).unwrap_or(0) * SECOND + jitter)
    });
    let rows: Vec<_> = rows.collect();
    let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.1));
    let devices: StringArray = rows.iter().map(|row| Some(format!("device-{}", row.0))).collect();
    let temps: Float64Array = (0..ROWS).map(|row| Some(20.0 + (row % 97) as f64)).collect();
    let columns: [(&str, ArrayRef); 3] =
        [("ts", Arc::new(times)), ("device", Arc::new(devices)), ("temp", Arc::new(temps))];
    Ok(RecordBatch::try_from_iter(columns)?)
}

async fn run(windows: &str, batches: &[RecordBatch]) -> Result<f64, Box<dyn Error>> {
    let query = format!(
        "SELECT window_start, device, avg(temp) AS a, min(temp) AS b, max(temp) AS c, \
         count(*) AS n FROM {windows} WHERE temp > 21 GROUP BY window_start, device"
    );
    let builder = Pipeline::builder("t", batches[0].schema());
    let mut query = builder.watermark("ts", Duration::from_secs(2)).query(&query).await?;
    #[allow(clippy::disallowed_methods, reason = "speed is what this measures")]
    let began = Instant::now();
    let (mut answers, mut checkpoint) = (0, 0);
    for batch in batches {
        answers += query.push(batch)?.iter().map(RecordBatch::num_rows).sum::<usize>();
        let second = query.watermark().map_or(0, |watermark| watermark.micros() / SECOND);
        if second > checkpoint {
            query.checkpoint()?;
            checkpoint = second;
        }
    }
    let rate = (batches.len() * ROWS) as f64 / began.elapsed().as_secs_f64();
    println!("{windows}: {rate:.0} events/s, {answers} rows, {} late", query.late());
    Ok(rate)
}

fn main() -> Result<(), Box<dyn Error>> {
    let count = std::env::args().nth(1).map_or(Ok(250), |count| count.parse())?;
    let batches = (0..count).map(batch).collect::<Result<Vec<_>, _>>()?;
    tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
        let tumble = run("TUMBLE(t, ts, INTERVAL '10 seconds')", &batches).await?;
        let session = run("SESSION(t, ts, INTERVAL '30 seconds')", &batches).await?;
        println!("sessions take {:.2} times as long", tumble / session);
        Ok(())
    })
}
