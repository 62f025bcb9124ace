//! Readings of one room: stored before they are acknowledged, averaged in SQL, landed as Parquet.

use std::time::Duration;

use edge_db::Db;
use edge_mq::{Broker, Message, QoS};
use edge_stream::Engine;
use edge_sync::Syncer;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let db = Db::open("edge-data/db")?; // all that is durable lies in this folder
    let broker = Broker::builder().db(&db).start().await?;
    let engine = Engine::builder().db(&db).broker(&broker).start().await?;
    let script = "
        CREATE STREAM IF NOT EXISTS readings (room VARCHAR, ts TIMESTAMP, co2_ppm DOUBLE,
          WATERMARK FOR ts AS ts - INTERVAL '10 seconds')
          WITH (topic = 'office/{room}/climate', format = 'json');
        CREATE MATERIALIZED VIEW IF NOT EXISTS air AS
          SELECT window_start, room, avg(co2_ppm) AS co2_ppm, count(*) AS readings
          FROM TUMBLE(readings, DESCRIPTOR(ts), INTERVAL '1 minute') GROUP BY window_start, room";
    engine.execute(script).await?;
    broker.listen(([127, 0, 0, 1], 0).into()).await?; // now devices may come; 0 takes a free port
    let readings = db.log("readings")?; // the topic, stored before each PUBACK
    let syncer = Syncer::builder(&db).folder("edge-data/cloud").log(&readings).start().await?;

    // Any MQTT client can do this; here it is the one inside the process.
    for (time, co2) in [("12:00:10", 700), ("12:00:50", 900), ("12:01:30", 800)] {
        let payload = format!(r#"{{"ts":"2026-01-01T{time}","co2_ppm":{co2}}}"#);
        let message = Message::new("office/lab/climate".parse()?, payload).qos(QoS::AtLeastOnce);
        broker.local().publish(message).await?; // returns once it is on disk
    }
    engine.caught_up(Duration::from_secs(5)).await?;
    let air = engine.sql("SELECT window_start, room, co2_ppm, readings FROM air").await?;
    println!("{}", arrow::util::pretty::pretty_format_batches(&air)?);

    broker.shutdown(Duration::from_secs(5)).await?;
    engine.shutdown(Duration::from_secs(5)).await?;
    syncer.shutdown(Duration::from_secs(5)).await?; // the rows lie in edge-data/cloud now
    db.shutdown(Duration::from_secs(5))?;
    Ok(())
}
