//! Parquet files, as other programs write them, replayed into streams.

#![cfg(feature = "parquet")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/site.rs"]
mod site;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use edge_stream::Speed;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use site::{LONG, ask, end, job, start};

const NEW_YEAR_MS: i64 = 1_767_225_600_000;

/// A reading each second of two rooms in turn; each tenth is without a value.
fn write(path: &Path, seconds: u32, compression: Compression) {
    let all = || 0..seconds;
    let times = all().map(|second| NEW_YEAR_MS + i64::from(second) * 1_000);
    let rooms = all().map(|second| Some(if second % 2 == 0 { "lab" } else { "hall" }));
    let temps = all().map(|second| (second % 10 != 9).then_some(f64::from(second)));
    let rows = RecordBatch::try_from_iter([
        ("ts", Arc::new(TimestampMillisecondArray::from_iter_values(times)) as ArrayRef),
        ("room", Arc::new(rooms.collect::<StringArray>())),
        ("temp", Arc::new(temps.collect::<Float64Array>())),
    ]);
    let rows = rows.unwrap();
    let properties = WriterProperties::builder().set_compression(compression).build();
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, rows.schema(), Some(properties)).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_file_become_payloads_in_the_format_of_the_stream() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    let columns = "(ts TIMESTAMP, room VARCHAR, temp DOUBLE, WATERMARK FOR ts)";
    for format in ["json", "csv", "cbor", "arrow_ipc"] {
        let stream = format!("CREATE STREAM {format} {columns}");
        let stream = format!("{stream} WITH (log = '{format}', format = '{format}')");
        engine.execute(&stream).await.unwrap();
    }
    let file = dir.path().join("readings.parquet");
    for (seconds, compression, formats) in [
        (3_000, Compression::SNAPPY, ["json", "arrow_ipc"]),
        (200, Compression::ZSTD(ZstdLevel::default()), ["csv", "cbor"]),
    ] {
        write(&file, seconds, compression);
        for format in formats {
            let records = engine.replay(&file, format, Speed::Max).await.unwrap();
            let many = if format == "arrow_ipc" { 3 } else { u64::from(seconds) };
            assert_eq!(records, many, "{format}");
            let counts =
                format!("SELECT room, count(*), count(temp) FROM {format} GROUP BY 1 ORDER BY 1");
            let (half, without) = (seconds / 2, seconds / 10);
            let expected =
                [format!("hall {half} {}", half - without), format!("lab {half} {half}")];
            assert_eq!(ask(&engine, &counts).await, expected, "{format}");
            let last = format!("SELECT max(ts) FROM {format}");
            let minutes = (seconds - 1) / 60;
            let last_second = format!("2026-01-01T00:{minutes:02}:{:02}", (seconds - 1) % 60);
            assert_eq!(ask(&engine, &last).await, [last_second], "{format}");
        }
    }
    engine.caught_up(LONG).await.unwrap();
    assert_eq!(job(&engine, "json").undecodable, 0);
    end(&db, &engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_parquet_or_does_not_fit_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (db, engine) = start(dir.path()).await;
    engine
        .execute(
            "CREATE STREAM j (temp DOUBLE) WITH (log = 'j', format = 'json');
             CREATE STREAM r (text VARCHAR) WITH (log = 'r', format = 'raw')",
        )
        .await
        .unwrap();
    let file = dir.path().join("a.parquet");
    std::fs::write(&file, "ts,temp\n1,2\n").unwrap();
    let error = engine.replay(&file, "j", Speed::Max).await.unwrap_err().to_string();
    assert!(error.contains("a.parquet: ") && error.contains("Parquet"), "{error}");
    write(&file, 10, Compression::UNCOMPRESSED);
    let error = engine.replay(&file, "r", Speed::Max).await.unwrap_err().to_string();
    assert!(error.contains("a.parquet: ") && error.contains("raw"), "{error}");
    end(&db, &engine).await;
}
