//! This program as DataFusion, with the same query over the whole file.

use std::path::Path;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::prelude::{JsonReadOptions, SessionConfig, SessionContext};

use super::clock::Clock;
use super::own;
use crate::Result;

const QUERY: &str = "SELECT date_bin(INTERVAL '10 seconds', to_timestamp_millis(ts)) AS w, device, \
                     avg(temp), min(temp), max(temp), count(*) \
                     FROM readings WHERE temp > 20 GROUP BY 1, 2";

pub(super) async fn run(lines: &Path, answer: &Path, threads: usize) -> Result<()> {
    let context =
        SessionContext::new_with_config(SessionConfig::new().with_target_partitions(threads));
    let schema = Schema::new(vec![
        Field::new("device", DataType::Utf8, true),
        Field::new("ts", DataType::Int64, true),
        Field::new("temp", DataType::Float64, true),
        Field::new("hum", DataType::Float64, true),
    ]);
    let extension = lines.extension().and_then(|name| name.to_str()).unwrap_or_default();
    let options = JsonReadOptions {
        schema: Some(&schema),
        file_extension: extension,
        ..JsonReadOptions::default()
    };
    let path = lines.to_str().ok_or("the path is no text")?;
    let clock = Clock::start()?;
    context.register_json("readings", path, options).await?;
    let rows = context.sql(QUERY).await?.collect().await?;
    clock.say()?;
    own::write(&rows, answer)
}
