//! One reading's way, from a device to the cloud folder, through all four crates.
//!
//! `cargo run --release --example gateway` replays real measurements of an office through real
//! MQTT clients; `-- --no-devices` waits for yours. `-- --help` lists the rest.

#[path = "gateway/devices.rs"]
mod devices;
#[path = "gateway/options.rs"]
mod options;
#[path = "gateway/report.rs"]
mod report;

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use devices::Devices;
use edge_db::{Db, Log, Table};
use edge_mq::Broker;
use edge_stream::Engine;
use edge_sync::Syncer;
use futures::FutureExt;
use options::Options;
use report::{Meter, Report};
use tokio::time::timeout;

/// What the gateway computes. A stream is a topic that is stored before it is acknowledged; a
/// view is a table that each closed minute adds to; a sink publishes what its query finds, here
/// readings above the limit of their room.
const SQL: &str = "
CREATE STREAM IF NOT EXISTS readings (
  room VARCHAR,                                  -- a named level of the topic
  ts TIMESTAMP, temperature_c DOUBLE, humidity_pct DOUBLE, light_lux DOUBLE, co2_ppm DOUBLE,
  occupied BOOLEAN,
  WATERMARK FOR ts AS ts - INTERVAL '10 minutes'
) WITH (topic = 'office/{room}/climate', format = 'json');

CREATE MATERIALIZED VIEW IF NOT EXISTS climate AS
SELECT window_start, room, avg(temperature_c) AS avg_c, min(temperature_c) AS min_c,
       max(temperature_c) AS max_c, avg(co2_ppm) AS co2_ppm, count(*) AS readings
FROM TUMBLE(readings, DESCRIPTOR(ts), INTERVAL '1 minute')
GROUP BY window_start, window_end, room;

CREATE SINK IF NOT EXISTS alarms WITH (topic = 'alarm/{room}', format = 'json') AS
SELECT r.room, r.ts, r.co2_ppm, coalesce(l.value, 1000) AS limit_ppm
FROM readings r LEFT JOIN limits l ON r.room = l._key
WHERE r.co2_ppm > coalesce(l.value, 1000);
";

/// Limits of CO2 in ppm, until somebody writes others into the table: a reading meets the one that
/// is there when it comes. Rooms that are not in it have 1000.
const LIMITS: [(&str, f64); 4] =
    [("east", 1000.0), ("north", 1000.0), ("south", 900.0), ("west", 1200.0)];

/// How long each part may take to drain at the end.
const DRAIN: Duration = Duration::from_secs(30);

type AnyError = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("gateway: {}", report::with_causes(&*error));
            ExitCode::from(2)
        }
    }
}

async fn run() -> Result<ExitCode, AnyError> {
    let Some(options) = options::parse()? else {
        println!("{}", options::HELP);
        return Ok(ExitCode::SUCCESS);
    };
    // One folder holds all that is durable: the Log of readings, the view, the jobs' state and
    // every position.
    let folder = options.data.join("db");
    if let Some(query) = &options.sql {
        if !folder.exists() {
            return Err(format!("nothing is stored in {}", options.data.display()).into());
        }
        let db = Db::open(folder)?;
        let engine = Engine::builder().db(&db).table(&limits(&db)?).start().await?;
        report::print_table(&engine.sql(query).await?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let gateway = Gateway::start(&options, Db::open(folder)?).await?;
    let report = gateway.run(&options).await?;
    report.print();
    Ok(if report.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Gateway {
    db: Db,
    broker: Broker,
    engine: Engine,
    syncer: Syncer,
    readings: Log,
    address: SocketAddr,
}

impl Gateway {
    async fn start(options: &Options, db: Db) -> Result<Gateway, AnyError> {
        let broker = Broker::builder().db(&db).start().await?;
        let engine = Engine::builder().db(&db).broker(&broker).table(&limits(&db)?);
        let engine = engine.start().await?;
        engine.execute(SQL).await?;
        // Only now may devices come: PUBACK for the stream's topic leaves after the commit.
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
        let listening = broker.listen(listen.into()).await?;
        let address = listening.local_addr().unwrap_or(listen);
        // The stream's Log goes to the cloud as it is.
        let readings = db.log("readings")?;
        let syncer = Syncer::builder(&db)
            .edge("gateway-1")
            .folder(options.data.join("cloud"))
            .log(&readings)
            .linger(Duration::from_secs(1))
            .start()
            .await?;
        Ok(Gateway { db, broker, engine, syncer, readings, address })
    }

    async fn run(self, options: &Options) -> Result<Report, AnyError> {
        let mut interrupted = pin!(tokio::signal::ctrl_c());
        // Polled once, it listens: who sees the next line may already press Ctrl-C.
        drop(interrupted.as_mut().now_or_never());
        println!("mqtt://{} | data in {}", self.address, options.data.display());
        let mut meter = Meter::start(&self.readings, &self.broker).await?;
        let newest = report::newest_reading(&self.engine).await?;
        let mut devices =
            options.devices.then(|| Devices::start(self.address.port(), options.speed, newest));
        let stop_after = options.stop_after.unwrap_or(Duration::MAX);
        let deadline = tokio::time::sleep(stop_after.min(Duration::from_secs(u32::MAX.into())));
        tokio::pin!(deadline);
        let mut second = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                _ = second.tick() => meter.line(devices.as_ref(), &self.engine, &self.syncer)?,
                () = done(devices.as_mut()) => break,
                () = &mut deadline => break,
                ctrl_c = &mut interrupted => {
                    ctrl_c?;
                    break;
                }
            }
        }
        tokio::select! {
            report = self.drain(options, meter, devices) => report,
            _ = tokio::signal::ctrl_c() => Err("ended before all had drained; it goes on there".into()),
        }
    }

    /// Upstream first: each part hands on all it has before the next one stops.
    async fn drain(
        self,
        options: &Options,
        meter: Meter,
        mut devices: Option<Devices>,
    ) -> Result<Report, AnyError> {
        println!("draining ... (Ctrl-C ends it at once)");
        if let Some(devices) = &mut devices {
            timeout(DRAIN, devices.stop()).await.map_err(|_| "devices are not acknowledged")?;
        }
        self.engine.caught_up(DRAIN).await?;
        self.broker.shutdown(DRAIN).await?;
        self.engine.shutdown(DRAIN).await?;
        self.syncer.shutdown(DRAIN).await?;
        let report = meter.report(options, devices.as_ref(), &self.engine, &self.syncer).await?;
        self.db.shutdown(DRAIN)?;
        Ok(report)
    }
}

/// The limit of each room. Those that are there stay as they are.
fn limits(db: &Db) -> Result<Table<String, f64>, AnyError> {
    let limits = db.table::<String, f64>("limits")?;
    let mut batch = db.batch();
    for (room, ppm) in LIMITS {
        if limits.get(&room.to_owned())?.is_none() {
            batch.insert(&limits, &room.to_owned(), &ppm)?;
        }
    }
    batch.commit()?;
    Ok(limits)
}

/// Ends when the devices have replayed everything; never without devices.
async fn done(devices: Option<&mut Devices>) {
    match devices {
        Some(devices) => devices.done().await,
        None => std::future::pending().await,
    }
}
