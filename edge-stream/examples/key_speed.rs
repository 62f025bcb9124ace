//! What `watermark_by` costs a row: `cargo run --release --example key_speed`.
//!
//! A projection over rows of devices that speak in turn, with one watermark for all and with one for
//! each device, which is the worst case: no two rows that follow one another have the same key.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use edge_stream::Pipeline;

const BATCHES: i64 = 250;
const ROWS: i64 = 8192;
const IDLE: Duration = Duration::from_secs(3600);

/// Rows of as many devices, a millisecond from one to the next.
fn batch(number: i64, devices: i64) -> Result<RecordBatch, Box<dyn Error>> {
    let rows = number * ROWS..(number + 1) * ROWS;
    let times = TimestampMicrosecondArray::from_iter_values(rows.clone().map(|row| row * 1000));
    let names: StringArray =
        rows.clone().map(|row| Some(format!("device-{:05}", row % devices))).collect();
    let temps: Float64Array = rows.clone().map(|row| Some((row % 97) as f64)).collect();
    let columns: [(&str, ArrayRef); 5] = [
        ("device", Arc::new(names)),
        ("ts", Arc::new(times.clone())),
        ("temp", Arc::new(temps)),
        ("_time", Arc::new(times.with_timezone("UTC"))),
        ("_seq", Arc::new(Int64Array::from_iter_values(rows))),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

/// Nanoseconds for a row, the least of several runs.
async fn measure(batches: &[RecordBatch], is_keyed: bool) -> Result<f64, Box<dyn Error>> {
    let mut least = f64::MAX;
    for _ in 0..5 {
        let builder = Pipeline::builder("t", batches[0].schema());
        let builder = builder.watermark("ts", Duration::from_secs(5));
        let builder = if is_keyed { builder.watermark_by("device", Some(IDLE)) } else { builder };
        let mut query = builder.query("SELECT device, temp FROM t").await?;
        #[allow(clippy::disallowed_methods, reason = "speed is what this measures")]
        let began = Instant::now();
        for batch in batches {
            query.push(batch)?;
        }
        let nanos = began.elapsed().as_secs_f64() * 1e9;
        least = least.min(nanos / (BATCHES * ROWS) as f64);
    }
    Ok(least)
}

fn main() -> Result<(), Box<dyn Error>> {
    tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
        for devices in [1, 100, 10_000] {
            let batches =
                (0..BATCHES).map(|number| batch(number, devices)).collect::<Result<Vec<_>, _>>()?;
            let (plain, keyed) = (measure(&batches, false).await?, measure(&batches, true).await?);
            println!(
                "{devices} devices: {plain:.1} ns a row with one watermark, {keyed:.1} with each"
            );
        }
        Ok(())
    })
}
