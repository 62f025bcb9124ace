//! What the person at the terminal sees: a line each second, and the accounting at the end.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use arrow::util::pretty::pretty_format_batches;
use chrono::{DateTime, NaiveDateTime};
use edge_db::{Log, Time};
use edge_mq::Broker;
use edge_stream::{Engine, JobStatus};
use edge_sync::{Syncer, Zone};

use crate::AnyError;
use crate::devices::{Devices, Sent};
use crate::options::Options;

/// Counts while the gateway runs.
pub(crate) struct Meter {
    log: Log,
    /// Readings that the store held before.
    before: u64,
    alarms: Arc<AtomicU64>,
    seconds: u64,
}

impl Meter {
    pub(crate) async fn start(log: &Log, broker: &Broker) -> Result<Meter, AnyError> {
        let mut subscription = broker.local().subscribe("alarm/#", 10_000).await?;
        let alarms = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&alarms);
        tokio::spawn(async move {
            while subscription.recv().await.is_some() {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        let before = log.bounds()?.end.get();
        Ok(Meter { log: log.clone(), before, alarms, seconds: 0 })
    }

    /// Prints how far everything has come.
    pub(crate) fn line(
        &mut self,
        devices: Option<&Devices>,
        engine: &Engine,
        syncer: &Syncer,
    ) -> Result<(), AnyError> {
        if self.seconds.is_multiple_of(20) {
            println!(
                "{:>6} {:>10} {:>10} {:>10} {:>10} {:>10} {:>17} {:>8} {:>12}",
                "second",
                "published",
                "acked",
                "stored",
                "counted",
                "landed",
                "watermark",
                "alarms",
                "cloud behind"
            );
        }
        let job = view(engine)?;
        let account = syncer.accounting()?.remove(0);
        let (published, acknowledged) = sent(devices);
        println!(
            "{:>6} {published:>10} {acknowledged:>10} {:>10} {:>10} {:>10} {:>17} {:>8} {:>7} rows",
            self.seconds,
            self.log.bounds()?.end.get() - self.before,
            job.position.get().saturating_sub(self.before),
            (account.landed + account.dropped).saturating_sub(self.before),
            job.watermark.map_or("-".to_owned(), |time| format_time(time, "%Y-%m-%d %H:%M")),
            self.alarms.load(Ordering::Relaxed),
            account.pending,
        );
        if let Some(trouble) = account.trouble.or(job.error) {
            eprintln!("gateway: {trouble}");
        }
        self.seconds += 1;
        Ok(())
    }

    /// Asks every part once more, after they have drained.
    pub(crate) async fn report(
        self,
        options: &Options,
        devices: Option<&Devices>,
        engine: &Engine,
        syncer: &Syncer,
    ) -> Result<Report, AnyError> {
        let zone = options.data.join("cloud");
        let landed = Zone::new(&zone).audit("readings")?.remove("gateway-1").unwrap_or_default();
        let account = syncer.accounting()?.remove(0);
        let job = view(engine)?;
        let counted = number(engine, "SELECT count(*) FROM readings").await?;
        let closed = match job.watermark {
            None => 0,
            Some(watermark) => {
                let watermark = format_time(watermark, "%Y-%m-%d %H:%M:00");
                let inside = format!("SELECT count(*) FROM readings WHERE ts < '{watermark}'");
                number(engine, &inside).await?
            }
        };
        let in_view = number(engine, "SELECT coalesce(sum(readings), 0) FROM climate").await?;
        let newest = "SELECT * FROM climate ORDER BY window_start DESC, room LIMIT 8";
        Ok(Report {
            sent: devices.map(|_| sent(devices)),
            stored: self.log.bounds()?.end.get(),
            before: self.before,
            counted,
            undecodable: job.undecodable,
            ahead: job.ahead,
            late: job.late,
            closed,
            in_view,
            landed: landed.distinct,
            dropped: landed.dropped,
            whole: landed.is_whole() && account.pending == 0,
            segments: landed.segments,
            alarms: self.alarms.load(Ordering::Relaxed),
            newest: engine.sql(newest).await?,
            data: options.data.clone(),
        })
    }
}

/// The accounting.
pub(crate) struct Report {
    /// Published and acknowledged in this run, if the devices were ours.
    sent: Option<(u64, u64)>,
    stored: u64,
    /// What the store held before this run.
    before: u64,
    counted: u64,
    undecodable: u64,
    /// Readings of a clock that runs ahead.
    ahead: u64,
    late: u64,
    closed: u64,
    in_view: u64,
    landed: u64,
    dropped: u64,
    whole: bool,
    segments: u64,
    alarms: u64,
    newest: Vec<RecordBatch>,
    data: PathBuf,
}

impl Report {
    /// Whether every reading is where the promise says, once.
    pub(crate) fn holds(&self) -> bool {
        let stored = self.stored - self.before;
        let sent = self.sent.is_none_or(|(published, acknowledged)| {
            published == acknowledged && acknowledged == stored
        });
        sent && self.counted + self.undecodable + self.ahead == self.stored
            && self.landed + self.dropped == self.stored
            && self.in_view + self.late == self.closed
            && self.whole
    }

    pub(crate) fn print(&self) {
        println!("\n{:<44} {:>12} {:>12}", "", "this run", "in all");
        if let Some((published, acknowledged)) = self.sent {
            println!("{:<44} {published:>12}", "published");
            println!("{:<44} {acknowledged:>12}", "acknowledged");
        }
        let rows = [
            ("stored", self.stored),
            ("counted by SQL", self.counted + self.undecodable + self.ahead),
            ("landed, by reading the Parquet files back", self.landed + self.dropped),
        ];
        for (name, total) in rows {
            println!("{name:<44} {:>12} {total:>12}", total.saturating_sub(self.before));
        }
        println!("{:<44} {:>12} {:>12}", "in closed windows", "", self.closed);
        println!("{:<44} {:>12} {:>12}", "counted by the view", "", self.in_view);
        for (name, count) in [
            ("too late for their window", self.late),
            ("not readable, in `readings_errors`", self.undecodable),
            ("of a clock that runs ahead, likewise", self.ahead),
            ("dropped at the limit before they landed", self.dropped),
        ] {
            if count > 0 {
                println!("{name:<44} {:>12} {count:>12}", "");
            }
        }
        println!("{:<44} {:>12}", "alarms", self.alarms);
        println!("\nThe newest minutes of the view `climate`:");
        if let Err(error) = print_table(&self.newest) {
            eprintln!("gateway: {error}");
        }
        self.print_next();
        if !self.holds() {
            eprintln!("\ngateway: the accounting does not hold");
        }
    }

    fn print_next(&self) {
        let data = self.data.display();
        let newest = self.newest.first().and_then(|batch| first_time(batch, 0));
        let next = newest.unwrap_or_default() + chrono::TimeDelta::minutes(12);
        println!(
            "\nWhat to try next:
  cargo run --release --example gateway -- --no-devices --data {data}
  mosquitto_pub -q 1 -t office/lab/climate -m '{{\"ts\":\"{}\",\"temperature_c\":21.5,\"co2_ppm\":1200}}'
  mosquitto_sub -t 'alarm/#'
  cargo run --release --example gateway -- --data {data} --sql \\
    'SELECT room, avg(temperature_c), max(co2_ppm), count(*) FROM readings GROUP BY room'
The store is {data}/db, the cloud {data}/cloud with {} Parquet files; any engine reads them.",
            next.format("%Y-%m-%dT%H:%M:%S"),
            self.segments,
        );
    }
}

pub(crate) fn print_table(batches: &[RecordBatch]) -> Result<(), AnyError> {
    println!("{}", pretty_format_batches(batches)?);
    Ok(())
}

/// The event time of the newest reading that is stored.
pub(crate) async fn newest_reading(engine: &Engine) -> Result<Option<NaiveDateTime>, AnyError> {
    let answer = engine.sql("SELECT max(ts) FROM readings").await?;
    Ok(answer.first().and_then(|batch| first_time(batch, 0)))
}

pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.map(ToString::to_string).fold(error.to_string(), |line, cause| {
        // Some errors tell their cause themselves.
        if line.ends_with(&cause) { line } else { format!("{line}: {cause}") }
    })
}

fn first_time(batch: &RecordBatch, column: usize) -> Option<NaiveDateTime> {
    let times = batch.column(column).as_primitive_opt::<TimestampMicrosecondType>()?;
    let micros = (!times.is_empty() && times.is_valid(0)).then(|| times.value(0))?;
    DateTime::from_timestamp_micros(micros).map(|time| time.naive_utc())
}

async fn number(engine: &Engine, query: &str) -> Result<u64, AnyError> {
    let answer = engine.sql(query).await?;
    let column = answer.first().and_then(|batch| batch.column(0).as_primitive_opt::<Int64Type>());
    let value = column.map(|column| column.value(0)).ok_or("a count is one integer")?;
    Ok(u64::try_from(value)?)
}

fn view(engine: &Engine) -> Result<JobStatus, AnyError> {
    let jobs = engine.jobs().into_iter().find(|job| job.name == "climate");
    jobs.ok_or_else(|| "the view `climate` has no job".into())
}

fn sent(devices: Option<&Devices>) -> (u64, u64) {
    let load = |count: fn(&Sent) -> &AtomicU64| {
        devices.map_or(0, |devices| count(&devices.sent).load(Ordering::Relaxed))
    };
    (load(|sent| &sent.published), load(|sent| &sent.acknowledged))
}

fn format_time(time: Time, format: &str) -> String {
    let time = DateTime::from_timestamp_micros(time.micros()).unwrap_or_default();
    time.format(format).to_string()
}
