//! The figures as one table.

use super::peer::Peer;
use super::work::Work;
use super::{Figure, Figures};
use crate::figures::{Case, Contender};
use crate::metric::Metric;
use crate::report::by;
use crate::table::{Table, figure, rate};

const HEADER: [&str; 11] = [
    "work",
    "engine",
    "rows per second",
    "edge-stream by it",
    "CPU µs",
    "peak MB",
    "cores",
    "p50 µs",
    "p99 µs",
    "bytes per group",
    "restart ms",
];

/// One row for each engine and work.
pub(super) fn table(figures: &Figures) -> Table {
    let mut table = Table::new(&HEADER);
    for work in Work::ALL {
        for engine in Peer::ALL {
            let of = |metric| Figure { work, metric, engine };
            let value = |metric| figures.value(of(metric));
            let shown = [Metric::PerSecond, Metric::BytesPerGroup, Metric::OpenMs];
            if shown.iter().all(|metric| value(*metric).is_none()) {
                continue;
            }
            table.row([
                work.name().to_owned(),
                engine.name().to_owned(),
                rate(value(Metric::PerSecond)),
                by(figures, of(Metric::PerSecond)),
                figure(value(Metric::CpuUs), 3),
                figure(value(Metric::PeakMb), 1),
                figure(value(Metric::Cores), 2),
                figure(value(Metric::P50Us), 0),
                figure(value(Metric::P99Us), 0),
                figure(value(Metric::BytesPerGroup), 0),
                figure(value(Metric::OpenMs), 0),
            ]);
        }
    }
    table
}
