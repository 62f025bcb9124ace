//! The figures as tables.

use super::engine::Engine;
use super::work::Work;
use super::{Figure, Figures};
use crate::figures::{Case, Contender};
use crate::metric::Metric;
use crate::report::by;
use crate::table::{Table, figure, rate};

/// How fast each engine does each work.
pub(super) fn rates(figures: &Figures) -> Table {
    let mut table =
        Table::new(&["work", "engine", "per second", "edge-db by it", "p99 ms", "max ms"]);
    for work in Work::ALL {
        for engine in Engine::ALL {
            let of = |metric| Figure { work, metric, engine };
            let value = |metric| figures.value(of(metric));
            let Some(per_second) = value(Metric::PerSecond) else { continue };
            table.row([
                work.name().to_owned(),
                engine.name().to_owned(),
                rate(Some(per_second)),
                by(figures, of(Metric::PerSecond)),
                figure(value(Metric::P99Ms), 2),
                figure(value(Metric::MaxMs), 0),
            ]);
        }
    }
    table
}

/// What each engine costs: bytes, memory, waits.
pub(super) fn costs(figures: &Figures) -> Table {
    let mut table = Table::new(&["work", "engine", "figure", "edge-db by it"]);
    for (figure, value) in figures.all() {
        if let Metric::PerSecond | Metric::P99Ms | Metric::MaxMs = figure.metric {
            continue;
        }
        table.row([
            format!("{}: {}", figure.work.name(), figure.metric.label()),
            figure.engine.name().to_owned(),
            figure.metric.show(value),
            by(figures, figure),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Figures {
        let mut figures = Figures::of(Work::ALL);
        let mut record = |engine, work, metric, value| {
            figures.record(1, Figure { work, metric, engine }, value);
        };
        record(Engine::EdgeDb, Work::Put1, Metric::PerSecond, 8_000.0);
        record(Engine::EdgeDb, Work::Put1, Metric::P99Ms, 0.25);
        record(Engine::Redb, Work::Put1, Metric::PerSecond, 5_000.0);
        record(Engine::EdgeDb, Work::Wear1, Metric::DeviceBytesPerPut, 4_200.5);
        record(Engine::Redb, Work::Wear1, Metric::DeviceBytesPerPut, f64::NAN);
        figures
    }

    #[test]
    fn rates_stand_beside_their_ratio() {
        let lines = [
            "| work  | engine   | per second | edge-db by it | p99 ms | max ms |\n",
            "|-------|----------|-----------:|--------------:|-------:|-------:|\n",
            "| put-1 | edge-db  |       8.0k |          1.00 |   0.25 |      - |\n",
            "| put-1 | redb 4.6 |       5.0k |          1.60 |      - |      - |\n",
        ];
        assert_eq!(rates(&figures()).to_string(), lines.concat());
    }

    #[test]
    fn costs_have_what_rates_have_not() {
        let text = costs(&figures()).to_string();
        assert!(text.contains("| wear-1: device bytes per put | edge-db  | 4200 B |"), "{text}");
        assert!(!text.contains("put-1"), "{text}");
    }
}
