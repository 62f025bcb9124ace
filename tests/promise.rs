//! The product's promise: once a reading is acknowledged it is stored, counted and landed, each
//! exactly once, through `kill -9`.
//!
//! The gateway example runs as a process on one data folder. Six MQTT clients that we did not
//! write (rumqttc, QoS 1) publish numbered readings as fast as they are acknowledged. At a seeded
//! acknowledgement, with others under way, the process is killed; ten times, and started again. A
//! reading without an acknowledgement is never sent again, so it may be there once or not at all.
//! Then the gateway drains in peace, and what is in the Log, in the view and in the Parquet files
//! is compared, reading by reading. A seventh client, whose session the broker keeps while it cannot
//! connect, gets the alarms: one at least for each reading above its room's limit, with that limit,
//! which a job looks up in a table.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/gateway.rs"]
mod gateway;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use edge_db::{Db, Seq, Table};
use edge_stream::Engine;
use edge_sync::Zone;
use futures::future::join_all;
use gateway::Gateway;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Outgoing, Packet, QoS};

/// Printed with every failure: another seed kills at other moments.
const SEED: u64 = 20_260_401;
const KILLS: u32 = 10;
/// Each client is one room. Reading `n` is minute `n / ROOMS` of room `n % ROOMS`, so that each
/// has a window of its own in the view.
const ROOMS: u64 = 6;
/// Minutes in one step. The rooms go from step to step together, so that their event times stay
/// within the ten minutes that the stream's watermark waits.
const STEP: u64 = 8;
const MINUTE: i64 = 60_000_000;
/// 2020-01-01, in microseconds.
const EPOCH: i64 = 1_577_836_800_000_000;

/// Limits of rooms in the table; the others have the example's own.
const LIMITS: [(u64, f64); 2] = [(4, 1100.0), (5, 2000.0)];
const OTHER_LIMIT: f64 = 1000.0;

/// How often each reading is there.
type Counts = BTreeMap<u64, u64>;
/// The limit in the alarm of each reading.
type Alarms = BTreeMap<u64, f64>;

/// Acknowledged readings of one life of the gateway, and when it ends.
struct Life {
    acknowledged: Vec<u64>,
    /// Killed once so many are acknowledged.
    killed_after: Option<(usize, Gateway)>,
}

impl Life {
    fn acknowledge(&mut self, reading: u64) {
        self.acknowledged.push(reading);
        let killed = |(after, _): &mut (usize, Gateway)| self.acknowledged.len() >= *after;
        if let Some((_, gateway)) = self.killed_after.take_if(killed) {
            gateway.kill();
        }
    }
}

/// One device: an MQTT client in one room.
struct Device {
    room: u64,
    client: AsyncClient,
    events: EventLoop,
}

impl Device {
    fn connect(room: u64, port: u16) -> Device {
        let mut options = MqttOptions::new(format!("room-{room}"), "127.0.0.1", port);
        // What a killed gateway has not acknowledged is not sent again.
        options.set_clean_session(true);
        let (client, events) = AsyncClient::new(options, 16);
        Device { room, client, events }
    }

    /// Publishes this room's readings of these minutes; `false` once the gateway is gone.
    async fn publish(&mut self, minutes: Range<u64>, life: &Mutex<Life>) -> bool {
        let readings: Vec<u64> = minutes.map(|minute| minute * ROOMS + self.room).collect();
        for reading in &readings {
            let topic = format!("office/room-{}/climate", self.room);
            self.client.publish(topic, QoS::AtLeastOnce, false, payload(*reading)).await.unwrap();
        }
        // rumqttc sends in order, so the next packet identifier is the next reading's.
        let mut unsent = readings.iter();
        let mut in_flight = BTreeMap::new();
        let mut acknowledged = 0;
        while acknowledged < readings.len() {
            match self.events.poll().await {
                Ok(Event::Outgoing(Outgoing::Publish(packet))) => {
                    in_flight.insert(packet, *unsent.next().unwrap());
                }
                Ok(Event::Incoming(Packet::PubAck(ack))) => {
                    life.lock().unwrap().acknowledge(in_flight.remove(&ack.pkid).unwrap());
                    acknowledged += 1;
                }
                Ok(_) => {}
                Err(_) => return false,
            }
        }
        true
    }
}

fn payload(reading: u64) -> String {
    let time = EPOCH + i64::try_from(reading / ROOMS).unwrap() * MINUTE;
    let time = chrono::DateTime::from_timestamp_micros(time).unwrap();
    let time = time.format("%Y-%m-%dT%H:%M:%S");
    let co2 = co2_of(reading);
    format!(r#"{{"ts":"{time}","temperature_c":20.5,"co2_ppm":{co2},"reading":{reading}}}"#)
}

/// Few are above any limit: each alarm is a commit of its own, as the session that wants it is stored.
fn co2_of(reading: u64) -> f64 {
    match reading / ROOMS % 32 {
        0 => 1200.0,
        16 => 1050.0,
        _ => 800.0,
    }
}

/// Whoever looks at alarms: as long as the gateway lives, or until it has subscribed and all of these
/// have come.
async fn watch(port: u16, alarms: Arc<Mutex<Alarms>>, until: Option<Vec<u64>>) {
    let mut options = MqttOptions::new("watcher", "127.0.0.1", port);
    options.set_clean_session(false);
    let (client, mut events) = AsyncClient::new(options, 16);
    client.subscribe("alarm/#", QoS::AtLeastOnce).await.unwrap();
    let is_done = || {
        let alarms = alarms.lock().unwrap();
        until.as_ref().is_some_and(|until| until.iter().all(|one| alarms.contains_key(one)))
    };
    let mut is_subscribed = false;
    while !is_subscribed || !is_done() {
        match events.poll().await {
            Ok(Event::Incoming(Packet::SubAck(_))) => is_subscribed = true,
            Ok(Event::Incoming(Packet::Publish(alarm))) => {
                let (reading, limit) = alarm_in(&alarm.topic, &alarm.payload);
                alarms.lock().unwrap().insert(reading, limit);
            }
            Ok(_) => {}
            Err(error) => {
                assert!(until.is_none(), "seed {SEED}: {error}");
                return;
            }
        }
    }
}

/// The reading that an alarm is about, and the limit in it.
fn alarm_in(topic: &str, payload: &[u8]) -> (u64, f64) {
    let text = std::str::from_utf8(payload).unwrap();
    let field = |name: &str| {
        let (_, rest) = text.split_once(&format!("\"{name}\":")).unwrap();
        rest.split([',', '}']).next().unwrap().trim_matches('"')
    };
    let room: u64 = topic.strip_prefix("alarm/room-").unwrap().parse().unwrap();
    let time = chrono::NaiveDateTime::parse_from_str(field("ts"), "%Y-%m-%dT%H:%M:%S").unwrap();
    let minute = (time.and_utc().timestamp_micros() - EPOCH) / MINUTE;
    (u64::try_from(minute).unwrap() * ROOMS + room, field("limit_ppm").parse().unwrap())
}

/// The alarms that belong to these readings.
fn alarms_of(readings: impl Iterator<Item = u64>) -> Alarms {
    let limit_of = |reading: u64| {
        let own = LIMITS.iter().find(|(room, _)| *room == reading % ROOMS);
        own.map_or(OTHER_LIMIT, |(_, limit)| *limit)
    };
    let limits = readings.map(|reading| (reading, limit_of(reading)));
    limits.filter(|(reading, limit)| co2_of(*reading) > *limit).collect()
}

/// The example's table, with limits of this test.
fn limits(db: &Db) -> Table<String, f64> {
    let limits = db.table("limits").unwrap();
    let mut batch = db.batch();
    for (room, limit) in LIMITS {
        batch.insert(&limits, &format!("room-{room}"), &limit).unwrap();
    }
    batch.commit().unwrap();
    limits
}

fn number_in(payload: &[u8]) -> u64 {
    let text = std::str::from_utf8(payload).unwrap();
    let (_, number) = text.split_once("\"reading\":").unwrap();
    number.trim_end_matches('}').parse().unwrap()
}

/// A small generator: the test must do the same again for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % end
    }
}

/// Publishes from all rooms, step by step, at most `steps` of them or until the gateway is gone;
/// what was acknowledged. `minute` is where the next step begins.
async fn live(port: u16, minute: &mut u64, steps: u64, life: Life) -> Life {
    let mut devices: Vec<_> = (0..ROOMS).map(|room| Device::connect(room, port)).collect();
    let life = Mutex::new(life);
    for _ in 0..steps {
        let minutes = *minute..*minute + STEP;
        *minute += STEP;
        let published = devices.iter_mut().map(|device| device.publish(minutes.clone(), &life));
        if !join_all(published).await.into_iter().all(|connected| connected) {
            break;
        }
    }
    life.into_inner().unwrap()
}

#[tokio::test]
async fn acknowledged_readings_are_stored_counted_and_landed_once_through_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random(SEED);
    let mut minute = 0;
    let mut acknowledged = Vec::new();
    let alarms = Arc::<Mutex<Alarms>>::default();
    let db = Db::open(dir.path().join("db")).unwrap();
    limits(&db);
    db.shutdown(Duration::from_secs(60)).unwrap();
    drop(db);
    let gateway = Gateway::start(dir.path());
    watch(gateway.port, Arc::clone(&alarms), Some(Vec::new())).await;
    gateway.stop();
    for _ in 0..KILLS {
        let gateway = Gateway::start(dir.path());
        let port = gateway.port;
        let watcher = tokio::spawn(watch(port, Arc::clone(&alarms), None));
        let after = usize::try_from(100 + random.below(1500)).unwrap();
        let life = Life { acknowledged: Vec::new(), killed_after: Some((after, gateway)) };
        let life = live(port, &mut minute, u64::MAX, life).await;
        assert!(life.killed_after.is_none(), "seed {SEED}: the gateway ended by itself");
        acknowledged.extend(life.acknowledged);
        watcher.await.unwrap();
    }
    let gateway = Gateway::start(dir.path());
    let life = || Life { acknowledged: Vec::new(), killed_after: None };
    acknowledged.extend(live(gateway.port, &mut minute, 20, life()).await.acknowledged);
    // Readings far ahead close all windows but their own.
    minute += 100;
    let last = live(gateway.port, &mut minute, 1, life()).await.acknowledged;
    gateway.stop();
    let gateway = Gateway::start(dir.path());
    let all = alarms_of(acknowledged.iter().chain(&last).copied()).into_keys().collect();
    let watching = watch(gateway.port, Arc::clone(&alarms), Some(all));
    let watched = tokio::time::timeout(Duration::from_secs(60), watching).await;
    watched.unwrap_or_else(|_| panic!("seed {SEED}: alarms of acknowledged readings are lost"));
    gateway.stop();

    let stored = stored(&dir.path().join("db"));
    check("stored", &acknowledged, &stored);
    let counted = counted(&dir.path().join("db")).await;
    check("counted", &acknowledged, &counted);
    let landed = landed(&dir.path().join("cloud"));
    check("landed", &acknowledged, &landed);
    assert_eq!(stored, landed, "seed {SEED}: the cloud differs from the Log");
    let closed = |counts: Counts| -> Counts {
        counts.into_iter().filter(|(reading, _)| !last.contains(reading)).collect()
    };
    assert_eq!(closed(stored), closed(counted), "seed {SEED}: the view differs from the Log");
    let alarms = alarms.lock().unwrap();
    assert_eq!(
        *alarms,
        alarms_of(landed.keys().copied()),
        "seed {SEED}: alarms differ from the Log"
    );
    let in_all = acknowledged.len();
    println!(
        "{in_all} acknowledged, {} stored, {} alarms, {KILLS} kills",
        landed.len(),
        alarms.len()
    );
}

/// Every acknowledged reading once, every other one at most once.
fn check(what: &str, acknowledged: &[u64], counts: &Counts) {
    let lost: Vec<_> = acknowledged.iter().filter(|n| !counts.contains_key(n)).collect();
    assert!(lost.is_empty(), "seed {SEED}: acknowledged, but not {what}: {lost:?}");
    let doubled: Vec<_> = counts.iter().filter(|(_, count)| **count != 1).collect();
    assert!(doubled.is_empty(), "seed {SEED}: {what} more than once: {doubled:?}");
}

fn stored(db: &Path) -> Counts {
    let db = Db::open(db).unwrap();
    let log = db.log("readings").unwrap();
    let mut counts = Counts::new();
    let mut position = Seq::ZERO;
    loop {
        let records = log.read(position, 10_000).unwrap();
        if records.is_empty() {
            break;
        }
        position = records.next();
        for record in &records {
            *counts.entry(number_in(record.value())).or_default() += 1;
        }
    }
    db.shutdown(Duration::from_secs(60)).unwrap();
    counts
}

/// What the view says of each reading's minute and room.
async fn counted(db: &Path) -> Counts {
    let db = Db::open(db).unwrap();
    let engine = Engine::builder().db(&db).table(&limits(&db)).start().await.unwrap();
    let query = "SELECT window_start, CAST(substr(room, 6) AS BIGINT), readings FROM climate";
    let mut counts = Counts::new();
    for batch in &engine.sql(query).await.unwrap() {
        let times = batch.column(0).as_primitive::<TimestampMicrosecondType>().values();
        let rooms = batch.column(1).as_primitive::<Int64Type>().values();
        let readings = batch.column(2).as_primitive::<Int64Type>().values();
        for ((time, room), count) in times.iter().zip(rooms).zip(readings) {
            let minute = u64::try_from((time - EPOCH) / MINUTE).unwrap();
            let reading = minute * ROOMS + u64::try_from(*room).unwrap();
            *counts.entry(reading).or_default() += u64::try_from(*count).unwrap();
        }
    }
    engine.shutdown(Duration::from_secs(60)).await.unwrap();
    db.shutdown(Duration::from_secs(60)).unwrap();
    counts
}

fn landed(zone: &Path) -> Counts {
    let audit = &Zone::new(zone).audit("readings").unwrap()["gateway-1"];
    assert!(audit.is_whole(), "seed {SEED}: {audit:?}");
    let mut counts = Counts::new();
    for entry in std::fs::read_dir(zone.join("readings/edge=gateway-1")).unwrap() {
        let file = std::fs::File::open(entry.unwrap().path()).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
        for batch in reader {
            let batch = batch.unwrap();
            for value in batch["value"].as_string::<i32>().iter().flatten() {
                *counts.entry(number_in(value.as_bytes())).or_default() += 1;
            }
        }
    }
    counts
}
