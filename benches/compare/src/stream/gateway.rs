//! Messages that go through a broker and the engine in one process.

use std::path::Path;
use std::time::Instant;

use super::Sheet;
use super::child::STREAM_CHILD;
use super::peer::Peer;
use super::work::Work;
use crate::Result;
use crate::figures::{Case, Contender};
use crate::metric::Metric;
use crate::mq::generator::{Timing, Traffic};
use crate::mq::{Broker, LATE, Sample, durable_fan_in, micros, run_load};
use crate::options::Options;

/// Where that process writes how many messages it has counted.
pub(super) const COUNTED: &str = "counted";

/// Messages each second that come on a schedule.
const PACE: u32 = 10_000;

fn start(work: Work, dir: &Path) -> Result<Broker> {
    Broker::start_as(dir, |address, dir| {
        let mut command = std::process::Command::new(std::env::current_exe()?);
        command.args([STREAM_CHILD, Peer::EdgeStream.id(), work.name()]);
        command.arg(address.to_string()).arg(dir).arg("2");
        Ok(command)
    })
}

/// What a message takes from its publisher through a filter in SQL to a subscriber.
pub(super) fn relay(options: &Options, sheet: &mut Sheet) -> Result<()> {
    let mut broker = start(Work::MqttToMqtt, &options.dir)?;
    let traffic = Traffic { window: PACE.into(), heard_below: "heard", ..durable_fan_in() };
    let sample = run_load(traffic, Timing::Scheduled(PACE), &mut broker, options.time)?;
    if sample.lateness.percentile(0.99) > LATE {
        eprint!(" NOT COUNTED, as the machine has other work;");
        return sample.check();
    }
    sheet.record(Work::MqttToMqtt, Metric::P50Us, micros(&sample.latencies, 0.5));
    sheet.record(Work::MqttToMqtt, Metric::P99Us, micros(&sample.latencies, 0.99));
    record(sheet, Work::MqttToMqtt, sample.per_second, &sample)
}

/// Durable messages as fast as they come, counted in windows; beside that the same without SQL.
pub(super) fn count(options: &Options, sheet: &mut Sheet, work: Work) -> Result<()> {
    let mut broker = start(work, &options.dir)?;
    let traffic = Traffic { subscribers: 0, ..durable_fan_in() };
    let begun = Instant::now();
    let sample = run_load(traffic, Timing::None, &mut broker, options.time)?;
    let loaded = begun.elapsed().as_secs_f64();
    broker.finish()?;
    let all = begun.elapsed().as_secs_f64();
    record(sheet, work, sample.per_second * loaded / all, &sample)?;
    if work == Work::MqttToView {
        let counted: u64 = std::fs::read_to_string(broker.dir().join(COUNTED))?.parse()?;
        let acknowledged: u64 = sample.acknowledged.iter().sum();
        if counted != acknowledged {
            return Err(format!("{counted} counted of {acknowledged} acknowledged").into());
        }
    }
    Ok(())
}

fn record(sheet: &mut Sheet, work: Work, per_second: f64, sample: &Sample) -> Result<()> {
    sheet.record(work, Metric::PerSecond, per_second);
    sheet.record(work, Metric::CpuUs, sample.cpu_micros);
    sample.check()
}
