//! A broker and the engine in one process, as in a gateway.

use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use edge_db::{Db, LogOptions};
use edge_mq::Broker;
use edge_stream::Engine;

use super::{LOG_BYTES, PATIENCE};
use crate::Result;
use crate::stream::gateway::COUNTED;

/// The messages of the generator, each stored before it is acknowledged.
const STREAM: &str = "CREATE STREAM load (device VARCHAR, value VARBINARY, WATERMARK FOR _time) \
                      WITH (topic = 'load/{device}', format = 'raw')";
const SINK: &str = "CREATE SINK heard WITH (topic = 'heard/{device}', format = 'raw') AS \
                    SELECT device, value FROM load WHERE device <> 'none'";
const VIEW: &str = "CREATE MATERIALIZED VIEW counts AS \
                    SELECT window_start, window_end, device, count(*) AS n \
                    FROM TUMBLE(load, _time, INTERVAL '1 second') \
                    GROUP BY window_start, window_end, device";

/// Serves until standard input ends. Then it waits until all has been counted, and writes how many
/// there were.
pub(in crate::stream) async fn serve(task: &str, address: SocketAddr, dir: &Path) -> Result<()> {
    let db = Db::open(dir.join("db"))?;
    // More than any run publishes: a full Log would refuse messages.
    db.log_with("load", LogOptions::new().max_bytes(LOG_BYTES))?;
    let broker = Broker::builder().db(&db).start().await?;
    let engine = Engine::builder().db(&db).broker(&broker).start().await?;
    match task {
        "mqtt-to-mqtt" => engine.execute(&format!("{STREAM}; {SINK}")).await?,
        "mqtt-to-view" => engine.execute(&format!("{STREAM}; {VIEW}")).await?,
        // The broker alone, as durable as with them.
        _ => return wait_beside(&broker, address).await,
    };
    broker.listen(address.into()).await?;
    stdin_ended().await?;
    engine.caught_up(PATIENCE).await?;
    if task == "mqtt-to-view" {
        std::fs::write(dir.join(COUNTED), counted(&engine).await?.to_string())?;
    }
    Ok(())
}

async fn wait_beside(broker: &Broker, address: SocketAddr) -> Result<()> {
    broker.journal("load/+".parse()?, "load").await?;
    broker.listen(address.into()).await?;
    stdin_ended().await
}

async fn stdin_ended() -> Result<()> {
    let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    ended.await??;
    Ok(())
}

/// What the view has counted, with what lies in windows that are still open.
async fn counted(engine: &Engine) -> Result<i64> {
    let closed = number(engine, "SELECT sum(n) FROM counts").await?;
    let open = "SELECT count(*) FROM load WHERE _time >= (SELECT max(window_end) FROM counts)";
    Ok(closed + number(engine, open).await?)
}

async fn number(engine: &Engine, query: &str) -> Result<i64> {
    let rows = engine.sql(query).await?;
    let numbers = cast(rows.first().ok_or("no row")?.column(0), &DataType::Int64)?;
    Ok(if numbers.is_null(0) { 0 } else { numbers.as_primitive::<Int64Type>().value(0) })
}
