//! How a comparison ends: figures as lines of JSON, tables, faults, floors, and the exit code.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::process::ExitCode;

use crate::Result;
use crate::figures::{Case, Contender, Figure, Figures};
use crate::floors::{Floor, Judged};
use crate::options::Options;
use crate::table::{self, Table};

/// The file for `--json`, made before anything is measured: half an hour later would be a bad
/// time to learn that it cannot be.
pub(crate) fn json_file(options: &Options) -> Result<Option<File>> {
    Ok(options.json.as_ref().map(File::create).transpose()?)
}

/// Writes the lines of JSON, prints tables, faults and floors. Success when no floor fails and
/// ours made no fault.
pub(crate) fn conclude<W: Case, E: Contender>(
    figures: &Figures<W, E>,
    floors: &[Floor<W, E>],
    tables: &[Table],
    json: Option<File>,
) -> Result<ExitCode> {
    if let Some(mut file) = json {
        file.write_all(lines(figures).as_bytes())?;
    }
    for table in tables.iter().filter(|table| !table.is_empty()) {
        println!("{table}");
    }
    for (engine, fault) in figures.faults() {
        println!("FAULT of {}: {fault}\n", engine.name());
    }
    let judged = Judged::of(floors, figures);
    print!("{}\n{}\n", judged.table(), judged.summary());
    Ok(if is_good(figures, &judged) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether no floor fails, and ours did nothing wrong. What others do wrong is theirs.
fn is_good<W: Case, E: Contender>(figures: &Figures<W, E>, judged: &Judged) -> bool {
    judged.none_fails() && figures.faults().all(|(engine, _)| engine != E::OURS)
}

/// Our figure by this one.
pub(crate) fn by<W: Case, E: Contender>(figures: &Figures<W, E>, other: Figure<W, E>) -> String {
    table::figure(figures.ratio(Figure { engine: E::OURS, ..other }, other), 2)
}

/// One object a line: `work`, `engine`, `metric`, `value`. What is no number is left out, as JSON
/// has none.
fn lines<W: Case, E: Contender>(figures: &Figures<W, E>) -> String {
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
    use crate::db::{Engine, Work};
    use crate::floors::Bound;
    use crate::metric::Metric;

    #[test]
    fn a_floor_that_fails_and_a_fault_of_ours_fail_the_run_each_alone() {
        let ours = Figure { work: Work::Put1, metric: Metric::PerSecond, engine: Engine::EdgeDb };
        let good = |least, at_fault: Option<Engine>| {
            let mut figures = Figures::of(Work::ALL);
            figures.record(1, ours, 1.0);
            at_fault.into_iter().for_each(|engine| figures.fault(engine, "lost".to_owned()));
            let floor = Floor { work: "test", ours, bound: Bound::Least(least) };
            is_good(&figures, &Judged::of(&[floor], &figures))
        };
        assert!(good(1.0, None));
        assert!(!good(1.1, None));
        assert!(!good(1.0, Some(Engine::EdgeDb)));
        assert!(good(1.0, Some(Engine::Redb)));
    }

    #[test]
    fn json_has_one_object_for_each_number() {
        let mut figures = Figures::of(Work::ALL);
        let mut record = |engine, work, metric, value| {
            figures.record(1, Figure { work, metric, engine }, value);
        };
        record(Engine::EdgeDb, Work::Put1, Metric::PerSecond, 8_000.0);
        record(Engine::EdgeDb, Work::Put1, Metric::P99Ms, 0.25);
        record(Engine::Redb, Work::Put1, Metric::PerSecond, 5_000.0);
        record(Engine::Redb, Work::Wear1, Metric::DeviceBytesPerPut, f64::NAN);
        let expected = [
            r#"{"work":"put-1","engine":"edge-db","metric":"per_second","value":8000}"#,
            r#"{"work":"put-1","engine":"redb","metric":"per_second","value":5000}"#,
            r#"{"work":"put-1","engine":"edge-db","metric":"p99_ms","value":0.25}"#,
        ];
        assert_eq!(lines(&figures).lines().collect::<Vec<_>>(), expected);
    }
}
