//! The devices: four MQTT clients over TCP, each one room that replays the real measurements of
//! `examples/data/office-room.csv` and waits for its acknowledgements.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use chrono::{NaiveDateTime, TimeDelta};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use tokio::sync::{Barrier, Notify};
use tokio::task::JoinSet;
use tokio::time::Instant;

const MEASUREMENTS: &str = include_str!("../data/office-room.csv");
const ROOMS: [&str; 4] = ["east", "north", "south", "west"];

/// The rooms share one clock and never run further apart than this in event time, well within
/// the ten minutes that the stream's watermark waits. Only so is nothing late at any speed.
const STEP: TimeDelta = TimeDelta::minutes(5);

/// The file covers 16 days; the next lap begins 17 days behind the last one.
const LAP: TimeDelta = TimeDelta::days(17);

#[derive(Debug, Clone)]
struct Measurement {
    time: NaiveDateTime,
    fields: [&'static str; 6],
}

/// What the devices have done.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    pub(crate) published: AtomicU64,
    pub(crate) acknowledged: AtomicU64,
}

/// The devices under way.
#[derive(Debug)]
pub(crate) struct Devices {
    pub(crate) sent: Arc<Sent>,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Devices {
    /// Connects the rooms and begins behind `newest`, the newest measurement already stored.
    pub(crate) fn start(port: u16, speed: Option<f64>, newest: Option<NaiveDateTime>) -> Devices {
        let measurements: Arc<[Measurement]> = from_here_on(newest).into();
        let sent = Arc::new(Sent::default());
        let stop = Arc::new(AtomicBool::new(false));
        let together = Arc::new(Barrier::new(ROOMS.len()));
        let mut tasks = JoinSet::new();
        for room in ROOMS {
            let device = Device::connect(room, port, Arc::clone(&sent));
            let (measurements, together) = (Arc::clone(&measurements), Arc::clone(&together));
            let stop = Arc::clone(&stop);
            tasks.spawn(async move { device.replay(&measurements, speed, &together, &stop).await });
        }
        Devices { sent, stop, tasks }
    }

    /// Returns when all measurements are acknowledged.
    pub(crate) async fn done(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }

    /// Stops after the step under way, and waits for its acknowledgements.
    pub(crate) async fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.done().await;
    }
}

/// One room: a client, and the task that reads its answers.
struct Device {
    room: &'static str,
    client: AsyncClient,
    sent: Arc<Sent>,
    acknowledged: Arc<Acknowledged>,
    answers: tokio::task::JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Acknowledged {
    count: AtomicU64,
    more: Notify,
}

impl Device {
    fn connect(room: &'static str, port: u16, sent: Arc<Sent>) -> Device {
        let mut options = MqttOptions::new(format!("device-{room}"), "127.0.0.1", port);
        options.set_keep_alive(Duration::from_secs(30));
        // What was not acknowledged when a connection broke is sent again by the next one.
        options.set_clean_session(false);
        let (client, answers) = AsyncClient::new(options, 16);
        let acknowledged = Arc::new(Acknowledged::default());
        let answers = tokio::spawn(read_answers(answers, Arc::clone(&acknowledged), sent.clone()));
        Device { room, client, sent, acknowledged, answers }
    }

    async fn replay(
        self,
        measurements: &[Measurement],
        speed: Option<f64>,
        together: &Barrier,
        stop: &AtomicBool,
    ) {
        let start = Instant::now();
        let mut published = 0;
        for step in measurements.chunk_by(|a, b| bucket(a.time) == bucket(b.time)) {
            if let (Some(speed), Some(first)) = (speed, measurements.first()) {
                let passed = step[0].time - first.time;
                let due = Duration::from_secs_f64(passed.as_seconds_f64() / speed);
                tokio::time::sleep_until(start + due).await;
            }
            for measurement in step {
                self.publish(measurement).await;
                published += 1;
            }
            self.wait_for(published).await;
            // Nobody begins the next step before the slowest room is through with this one; the
            // flag is read between two meetings, so that all rooms see the same.
            together.wait().await;
            let stopping = stop.load(Ordering::Relaxed);
            together.wait().await;
            if stopping {
                break;
            }
        }
        drop(self.client.disconnect().await);
        self.answers.abort();
    }

    async fn publish(&self, measurement: &Measurement) {
        let topic = format!("office/{}/climate", self.room);
        let payload = measurement.as_json();
        let sent = self.client.publish(topic, QoS::AtLeastOnce, false, payload).await;
        sent.expect("the task that reads the answers outlives this one");
        self.sent.published.fetch_add(1, Ordering::Relaxed);
    }

    async fn wait_for(&self, published: u64) {
        loop {
            let more = self.acknowledged.more.notified();
            if self.acknowledged.count.load(Ordering::Acquire) >= published {
                return;
            }
            more.await;
        }
    }
}

async fn read_answers(mut answers: EventLoop, acknowledged: Arc<Acknowledged>, sent: Arc<Sent>) {
    loop {
        match answers.poll().await {
            Ok(Event::Incoming(Packet::PubAck(_))) => {
                sent.acknowledged.fetch_add(1, Ordering::Relaxed);
                acknowledged.count.fetch_add(1, Ordering::Release);
                acknowledged.more.notify_waiters();
            }
            Ok(_) => {}
            Err(error) => {
                eprintln!("device: {error}; connecting again");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    }
}

impl Measurement {
    fn as_json(&self) -> String {
        let Measurement { time, fields: [temperature, humidity, light, co2, ratio, occupied] } =
            self;
        format!(
            r#"{{"ts":"{}","temperature_c":{temperature},"humidity_pct":{humidity},"light_lux":{light},"co2_ppm":{co2},"humidity_ratio":{ratio},"occupied":{}}}"#,
            time.format("%Y-%m-%dT%H:%M:%S"),
            *occupied == "1",
        )
    }
}

fn bucket(time: NaiveDateTime) -> i64 {
    time.and_utc().timestamp().div_euclid(STEP.num_seconds())
}

/// The measurements behind `newest`, in the lap that it lies in or the one after.
fn from_here_on(newest: Option<NaiveDateTime>) -> Vec<Measurement> {
    let all = measurements();
    let Some(newest) = newest else { return all };
    let laps = (newest - all[0].time).num_seconds().div_euclid(LAP.num_seconds()).max(0);
    let lap = |laps: i64| {
        let shift = TimeDelta::seconds(LAP.num_seconds() * laps);
        all.iter().map(move |one| Measurement { time: one.time + shift, ..one.clone() })
    };
    let rest: Vec<_> = lap(laps).filter(|one| one.time > newest).collect();
    if rest.is_empty() { lap(laps + 1).collect() } else { rest }
}

fn measurements() -> Vec<Measurement> {
    MEASUREMENTS.lines().skip(1).map(|line| measurement(line).expect("our own file")).collect()
}

fn measurement(line: &'static str) -> Option<Measurement> {
    let (time, fields) = line.split_once(',')?;
    let time = NaiveDateTime::parse_from_str(time, "%Y-%m-%d %H:%M:%S").ok()?;
    let fields: Vec<_> = fields.split(',').collect();
    Some(Measurement { time, fields: fields.try_into().ok()? })
}
