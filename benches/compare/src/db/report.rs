//! The figures as tables, and as lines of JSON.

use std::fmt::Write;

use super::engine::Engine;
use super::figures::{Figure, Figures};
use super::work::{Metric, Work};
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

/// edge-db's figure by this one.
fn by(figures: &Figures, other: Figure) -> String {
    figure(figures.ratio(Figure { engine: Engine::EdgeDb, ..other }, other), 2)
}

/// One object a line: `work`, `engine`, `metric`, `value`. What is no number is left out, as JSON
/// has none.
pub(super) fn json(figures: &Figures) -> String {
    let mut lines = String::new();
    for (Figure { work, metric, engine }, value) in figures.all() {
        if value.is_finite() {
            // Names are plain words: nothing in them needs a backslash.
            writeln!(
                lines,
                r#"{{"work":"{}","engine":"{}","metric":"{}","value":{value}}}"#,
                work.name(),
                engine.id(),
                metric.name(),
            )
            .expect("a String takes all");
        }
    }
    lines
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

    #[test]
    fn json_has_one_object_for_each_number() {
        let lines = [
            r#"{"work":"put-1","engine":"edge-db","metric":"per_second","value":8000}"#,
            r#"{"work":"put-1","engine":"redb","metric":"per_second","value":5000}"#,
            r#"{"work":"put-1","engine":"edge-db","metric":"p99_ms","value":0.25}"#,
            r#"{"work":"wear-1","engine":"edge-db","metric":"device_bytes_per_put","value":4200.5}"#,
        ];
        assert_eq!(json(&figures()).lines().collect::<Vec<_>>(), lines);
    }
}
