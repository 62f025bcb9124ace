//! A load on a broker of its own, and what that takes.

use std::time::{Duration, Instant};

use super::generator::{self, Histogram, Load, Timing, Traffic, own_cpu_time};
use super::process::Broker;
use crate::Result;

/// Not measured: caches fill, the broker's buffers grow.
const WARM_UP: Duration = Duration::from_millis(500);

/// What one run measured.
#[derive(Debug, Default)]
pub(crate) struct Sample {
    pub(crate) per_second: f64,
    /// CPU time of the broker for each message that was delivered.
    pub(crate) cpu_micros: f64,
    /// How much of a core the generator took.
    pub(super) generator_cores: f64,
    /// Nothing unless they were asked for.
    pub(crate) latencies: Histogram,
    /// How late the generator itself was on a schedule.
    pub(crate) lateness: Histogram,
    /// By publisher.
    pub(crate) acknowledged: Vec<u64>,
    pub(super) faults: Vec<String>,
}

impl Sample {
    /// What was wrong with what the broker did.
    pub(crate) fn check(&self) -> Result<()> {
        match self.faults.as_slice() {
            [] => Ok(()),
            faults => Err(faults.join(", ").into()),
        }
    }
}

/// Runs the load for this time, then waits until all that was sent has arrived.
pub(crate) fn run(
    traffic: Traffic,
    timing: Timing,
    broker: &mut Broker,
    time: Duration,
) -> Result<Sample> {
    let target = generator::Broker { address: broker.address(), credentials: None };
    let mut load = Load::connect(traffic, timing, target)?;
    load.turn_for(WARM_UP)?;
    load.forget_times();
    let (start, passed) = (Instant::now(), load.passed());
    let (cpu, own_cpu) = (broker.cpu_time()?, own_cpu_time()?);
    load.turn_for(time)?;
    let seconds = start.elapsed().as_secs_f64();
    let cpu = broker.cpu_time()?.saturating_sub(cpu).as_secs_f64();
    let own_cpu = own_cpu_time()?.saturating_sub(own_cpu).as_secs_f64();
    let passed = (load.passed() - passed) as f64;
    let outcome = load.finish()?;
    broker.check_running()?;
    Ok(Sample {
        per_second: passed / seconds,
        cpu_micros: cpu * 1e6 / passed,
        generator_cores: own_cpu / seconds,
        latencies: outcome.latencies,
        lateness: outcome.lateness,
        acknowledged: outcome.acknowledged,
        faults: outcome.faults,
    })
}
