//! One load, with a line each second, and what came of it.

#![allow(clippy::disallowed_methods, reason = "it reads the clock everywhere")]

use std::time::{Duration, Instant};

use super::arguments::Arguments;
use super::generator::{Broker, Histogram, Load, Outcome, Result, Timing, own_cpu_time};

/// Not measured: caches fill, the broker's buffers grow.
const WARM_UP: Duration = Duration::from_millis(500);
const SECOND: Duration = Duration::from_secs(1);

/// Runs it, tells `say` how it goes, and returns whether nothing was wrong.
pub(crate) fn run(arguments: &Arguments, mut say: impl FnMut(String)) -> Result<bool> {
    let credentials = arguments.credentials.as_ref();
    let credentials = credentials.map(|(user, password)| (&user[..], &password[..]));
    let broker = Broker { address: arguments.address, credentials };
    let mut load = Load::connect(arguments.traffic, arguments.timing, broker)?;
    load.turn_for(WARM_UP)?;
    load.forget_times();
    let (start, own_cpu, passed) = (Instant::now(), own_cpu_time()?, load.passed());
    while start.elapsed() < arguments.time && !load.is_hung() {
        let before = load.passed();
        let turn = Instant::now();
        load.turn_for(SECOND.min(arguments.time.saturating_sub(start.elapsed())))?;
        let per_second = (load.passed() - before) as f64 / turn.elapsed().as_secs_f64();
        say(format!("{:4.0} s {per_second:12.0} messages/s", start.elapsed().as_secs_f64()));
    }
    let seconds = start.elapsed().as_secs_f64();
    let cores = own_cpu_time()?.saturating_sub(own_cpu).as_secs_f64() / seconds;
    let passed = load.passed() - passed;
    let outcome = load.finish()?;
    for line in report(arguments, &outcome, passed as f64 / seconds, cores) {
        say(line);
    }
    Ok(outcome.faults.is_empty())
}

fn report(arguments: &Arguments, outcome: &Outcome, per_second: f64, cores: f64) -> Vec<String> {
    let done = if arguments.traffic.subscribers == 0 { "acknowledged" } else { "received" };
    let faults = match outcome.faults.as_slice() {
        [] => "none lost, doubled, damaged or out of order".to_owned(),
        faults => faults.join(", "),
    };
    let mut lines = vec![
        format!("{done}   {per_second:.0} messages/s"),
        format!("faults     {faults}"),
        format!("latency    {}", percentiles(&outcome.latencies)),
        format!("generator  {cores:.2} cores"),
    ];
    if let Timing::Scheduled(_) = arguments.timing {
        // As much as the latencies: then the generator has measured itself.
        lines.push(format!("  late     {}", percentiles(&outcome.lateness)));
    }
    lines
}

fn percentiles(times: &Histogram) -> String {
    let millis = |time: Duration| format!("{:.3} ms", time.as_secs_f64() * 1e3);
    format!(
        "p50 {}, p99 {}, p99.9 {}, max {}",
        millis(times.percentile(0.5)),
        millis(times.percentile(0.99)),
        millis(times.percentile(0.999)),
        millis(times.longest())
    )
}
