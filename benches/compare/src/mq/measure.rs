//! What is run on one fresh broker, and which figures come of it.

use std::thread;
use std::time::{Duration, Instant};

use super::Sheet;
use super::crowd::Crowd;
use super::durable::check_log;
use super::generator::{Histogram, Timing, Traffic, own_cpu_time};
use super::load::{Sample, run};
use super::matching::{CURVE, cost};
use super::peer::{Peer, Setup, Store};
use super::process::Broker;
use super::traffic::{durable_fan_in, fan_in, fan_out, pairs, unheard};
use super::work::Work;
use crate::figures::Case;
use crate::metric::Metric;
use crate::options::Options;
use crate::runs::Often;
use crate::{Result, db, device};

type Run = crate::runs::Run<Work, Peer, Options>;

/// edge-mq and the brokers that it is compared with.
const BROKERS: &[Peer] = &[Peer::EdgeMq, Peer::Rumqttd, Peer::Mosquitto];

/// Messages each second that come on a schedule.
const PACE: u32 = 20_000;
/// A generator that is later than this for one message in a hundred measures itself: brokers take
/// about as long.
pub(crate) const LATE: Duration = Duration::from_millis(1);
/// Connections that do nothing.
const IDLE: usize = 10_000;
/// How long they do nothing until the memory that they take is looked at.
const QUIET: Duration = Duration::from_secs(1);

const fn each_round(
    works: &'static [Work],
    engines: &'static [Peer],
    measure: fn(&Options, &mut Sheet) -> Result<()>,
) -> Run {
    Run { works, engines, often: Often::EachRound, measure }
}

/// In the order of a round: what is compared with each other lies close together.
pub(super) const RUNS: [Run; 15] = [
    each_round(&[Work::FanInQos0], BROKERS, |options, sheet| {
        flood(options, sheet, Work::FanInQos0, fan_in(0))
    }),
    each_round(&[Work::FanInQos1], BROKERS, |options, sheet| {
        flood(options, sheet, Work::FanInQos1, fan_in(1))
    }),
    each_round(&[Work::FanInLone], BROKERS, |options, sheet| {
        flood(options, sheet, Work::FanInLone, Traffic { window: 1, ..fan_in(1) })
    }),
    each_round(&[Work::FanOutQos0], BROKERS, |options, sheet| {
        flood(options, sheet, Work::FanOutQos0, fan_out(0))
    }),
    each_round(&[Work::FanOutQos1], BROKERS, |options, sheet| {
        flood(options, sheet, Work::FanOutQos1, fan_out(1))
    }),
    each_round(&[Work::PairsQos1], BROKERS, |options, sheet| {
        flood(options, sheet, Work::PairsQos1, pairs(1))
    }),
    each_round(&[Work::PairsQos2], BROKERS, |options, sheet| {
        flood(options, sheet, Work::PairsQos2, pairs(2))
    }),
    each_round(&[Work::Paced], BROKERS, paced),
    each_round(&[Work::Durable50], &[Peer::EdgeMq, Peer::Mosquitto], durable_50),
    each_round(&[Work::Session50], &[Peer::EdgeMq, Peer::Mosquitto], session_50),
    each_round(&[Work::Durable1], &[Peer::EdgeMq, Peer::Disk], durable_1),
    each_round(&[Work::Workers], &[Peer::EdgeMq, Peer::EdgeMqOneWorker], workers),
    each_round(&[Work::Idle], &[Peer::EdgeMq, Peer::Mosquitto], idle),
    // It accepts a connection each two milliseconds.
    Run {
        works: &[Work::Idle],
        engines: &[Peer::Rumqttd],
        often: Often::OnceUnlessQuick,
        measure: idle,
    },
    each_round(
        &[
            Work::Match1Of1k,
            Work::Match1Of100k,
            Work::Match10Of100k,
            Work::Match100Of100k,
            Work::Match1000Of1k,
            Work::Match1000Of10k,
            Work::Match1000Of100k,
        ],
        &[Peer::EdgeMq],
        matching,
    ),
];

/// As much as the broker can do.
fn flood(options: &Options, sheet: &mut Sheet, work: Work, traffic: Traffic) -> Result<()> {
    flood_with(options, sheet, work, traffic, Setup::default())
}

/// A fresh broker for each run, so that its peak memory is that of this load.
fn flood_with(
    options: &Options,
    sheet: &mut Sheet,
    work: Work,
    traffic: Traffic,
    setup: Setup,
) -> Result<()> {
    let mut broker = Broker::start(sheet.engine, setup, &options.dir)?;
    let sample = run(traffic, Timing::None, &mut broker, options.time)?;
    record(sheet, work, &sample, &broker)
}

fn paced(options: &Options, sheet: &mut Sheet) -> Result<()> {
    let mut broker = Broker::start(sheet.engine, Setup::default(), &options.dir)?;
    let timing = Timing::Scheduled(PACE);
    // The schedule alone holds publishers back.
    let traffic = Traffic { window: PACE.into(), ..pairs(1) };
    let sample = run(traffic, timing, &mut broker, options.time)?;
    sheet.record(Work::Paced, Metric::LateP99Us, micros(&sample.lateness, 0.99));
    if sample.lateness.percentile(0.99) > LATE {
        eprint!(" NOT COUNTED, as the machine has other work;");
        return sample.check();
    }
    record(sheet, Work::Paced, &sample, &broker)
}

/// mosquitto keeps in memory what edge-mq has on disk.
fn durable_50(options: &Options, sheet: &mut Sheet) -> Result<()> {
    durable(options, sheet, Work::Durable50, durable_fan_in(), Store::Journal)
}

/// The same with the queue of a subscriber whose session outlives its connection.
fn session_50(options: &Options, sheet: &mut Sheet) -> Result<()> {
    let traffic = Traffic { is_kept: true, ..durable_fan_in() };
    durable(options, sheet, Work::Session50, traffic, Store::Sessions)
}

fn durable_1(options: &Options, sheet: &mut Sheet) -> Result<()> {
    if sheet.engine != Peer::Disk {
        return durable(options, sheet, Work::Durable1, unheard(1), Store::Journal);
    }
    device::sync(&options.dir)?;
    let dir = tempfile::tempdir_in(&options.dir)?;
    let times = db::sync_times(dir.path(), options.time)?;
    let total: Duration = times.iter().sum();
    sheet.record(Work::Durable1, Metric::PerSecond, times.len() as f64 / total.as_secs_f64());
    record_times(sheet, Work::Durable1, &times.into_iter().collect());
    Ok(())
}

/// Looks into the Log that edge-mq left, too.
fn durable(
    options: &Options,
    sheet: &mut Sheet,
    work: Work,
    traffic: Traffic,
    store: Store,
) -> Result<()> {
    // On a disk that has nothing else left to write.
    device::sync(&options.dir)?;
    let setup = Setup { store, ..Setup::default() };
    let mut broker = Broker::start(sheet.engine, setup, &options.dir)?;
    let sample = run(traffic, Timing::Acknowledged, &mut broker, options.time)?;
    record(sheet, work, &sample, &broker)?;
    if sheet.engine == Peer::EdgeMq && store == Store::Journal {
        broker.kill()?;
        check_log(broker.dir(), &sample.acknowledged)?;
    }
    Ok(())
}

fn workers(options: &Options, sheet: &mut Sheet) -> Result<()> {
    let workers = if sheet.engine == Peer::EdgeMq { 2 } else { 1 };
    let setup = Setup { workers: Some(workers), ..Setup::default() };
    flood_with(options, sheet, Work::Workers, pairs(2), setup)
}

fn idle(options: &Options, sheet: &mut Sheet) -> Result<()> {
    Crowd::allow(IDLE)?;
    let mut broker = Broker::start(sheet.engine, Setup::default(), &options.dir)?;
    let mut crowd = Crowd::new(broker.address())?;
    let (start, cpu, own_cpu) = (Instant::now(), broker.cpu_time()?, own_cpu_time()?);
    crowd.connect(IDLE)?;
    let seconds = start.elapsed().as_secs_f64();
    let cpu = broker.cpu_time()?.saturating_sub(cpu).as_secs_f64();
    let own_cpu = own_cpu_time()?.saturating_sub(own_cpu).as_secs_f64();
    sheet.record(Work::Idle, Metric::PerSecond, IDLE as f64 / seconds);
    sheet.record(Work::Idle, Metric::CpuUs, cpu * 1e6 / IDLE as f64);
    sheet.record(Work::Idle, Metric::GeneratorCores, own_cpu / seconds);
    thread::sleep(QUIET);
    crowd.check()?;
    broker.check_running()?;
    sheet.record(Work::Idle, Metric::ResidentMb, broker.resident_mb()?);
    Ok(())
}

fn matching(options: &Options, sheet: &mut Sheet) -> Result<()> {
    for point in CURVE.iter().filter(|point| options.wants(point.work.name())) {
        // As long as a load, all of them together.
        let time = cost(*point, options.time.div_f64(CURVE.len() as f64))?;
        sheet.record(point.work, Metric::CpuUs, time.as_secs_f64() * 1e6);
    }
    Ok(())
}

/// Keeps the figures of a load, then says what was wrong with it.
fn record(sheet: &mut Sheet, work: Work, sample: &Sample, broker: &Broker) -> Result<()> {
    sheet.record(work, Metric::PerSecond, sample.per_second);
    sheet.record(work, Metric::CpuUs, sample.cpu_micros);
    sheet.record(work, Metric::PeakMb, broker.peak_mb()?);
    sheet.record(work, Metric::GeneratorCores, sample.generator_cores);
    if !sample.latencies.is_empty() {
        record_times(sheet, work, &sample.latencies);
    }
    sample.check()
}

fn record_times(sheet: &mut Sheet, work: Work, times: &Histogram) {
    sheet.record(work, Metric::P50Us, micros(times, 0.5));
    sheet.record(work, Metric::P99Us, micros(times, 0.99));
}

pub(crate) fn micros(times: &Histogram, share: f64) -> f64 {
    times.percentile(share).as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_work_belongs_to_a_run() {
        let mut works: Vec<Work> = RUNS.iter().flat_map(|run| run.works).copied().collect();
        works.sort();
        works.dedup();
        assert_eq!(works, Work::ALL);
    }
}
