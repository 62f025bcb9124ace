//! The figures as one table.

use super::peer::Peer;
use super::work::Work;
use super::{Figure, Figures};
use crate::figures::{Case, Contender};
use crate::metric::Metric;
use crate::report::by;
use crate::table::{Table, figure, rate};

/// Above this much of a core the generator may be what limits a rate.
const BUSY: f64 = 0.9;

const HEADER: [&str; 11] = [
    "work",
    "broker",
    "per second",
    "edge-mq by it",
    "CPU µs",
    "p50 µs",
    "p99 µs",
    "peak MB",
    "resident MB",
    "generator",
    "late µs",
];

/// What the columns are, beyond their names.
pub(super) const LEGEND: &str = "\
Per second: messages delivered; durable-1: acknowledged; idle-10k: connections accepted. CPU: of the
broker for each of them. Latency: paced-20k from when a message was due until its subscriber had it,
durable: until PUBACK. Generator: cores that it took, `!` above 0.9, where it may be what limits the
rate; late: its own p99 behind the schedule.";

/// One row for each broker and work.
pub(super) fn table(figures: &Figures) -> Table {
    let mut table = Table::new(&HEADER);
    for work in Work::ALL {
        for engine in Peer::ALL {
            let of = |metric| Figure { work, metric, engine };
            let value = |metric| figures.value(of(metric));
            if value(Metric::PerSecond).or(value(Metric::CpuUs)).is_none() {
                continue;
            }
            table.row([
                work.name().to_owned(),
                engine.name().to_owned(),
                rate(value(Metric::PerSecond)),
                by(figures, of(Metric::PerSecond)),
                figure(value(Metric::CpuUs), 2),
                figure(value(Metric::P50Us), 0),
                figure(value(Metric::P99Us), 0),
                figure(value(Metric::PeakMb), 1),
                figure(value(Metric::ResidentMb), 1),
                generator(value(Metric::GeneratorCores)),
                figure(value(Metric::LateP99Us), 0),
            ]);
        }
    }
    table
}

fn generator(cores: Option<f64>) -> String {
    let mark = if cores.is_some_and(|cores| cores > BUSY) { " !" } else { "" };
    format!("{}{mark}", figure(cores, 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_generator_is_marked() {
        let mut figures = Figures::of(Work::ALL);
        for (engine, cores) in [(Peer::EdgeMq, 0.91), (Peer::Rumqttd, 0.9)] {
            let of = |metric| Figure { work: Work::FanInQos0, metric, engine };
            figures.record(1, of(Metric::PerSecond), 1e6 * cores);
            figures.record(1, of(Metric::GeneratorCores), cores);
        }
        let text = table(&figures).to_string();
        let cell = |row| text.lines().nth(row).and_then(|line| line.split('|').nth(10));
        assert_eq!([2, 3].map(cell), [Some("    0.91 ! "), Some("      0.90 ")], "{text}");
    }
}
