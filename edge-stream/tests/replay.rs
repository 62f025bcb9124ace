//! A small run of `examples/replay`: two hours of few devices; and that what it is there to see is seen.

#![cfg(feature = "db")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../examples/replay/plot.rs"]
mod plot;
#[path = "../examples/replay/readings.rs"]
mod readings;
#[path = "../examples/replay/run.rs"]
mod run;
#[path = "../examples/replay/sample.rs"]
mod sample;
#[path = "../examples/replay/verdict.rs"]
mod verdict;

use run::Outcome;
use sample::Sample;

#[test]
fn memory_is_flat_and_nothing_is_late_that_should_not_be() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let outcome = runtime.block_on(run::run(300, 2, |_| ())).unwrap();
    assert_eq!(verdict::wrong(&outcome), [""; 0]);
    assert!(outcome.rows > 20_000, "{}", outcome.rows);
    assert!(outcome.made_late > 0, "no row was made late");
    assert!(outcome.samples.iter().all(|sample| sample.all_state_bytes() > 0));
    let svg = plot::svg(&outcome.samples);
    let points = svg.lines().filter(|line| line.starts_with("<polyline"));
    let counts = points.map(|line| line.matches(',').count());
    assert_eq!(counts.collect::<Vec<_>>(), [outcome.samples.len(); 4]);
}

/// A day of which this is the sample of each minute.
fn day(of: impl Fn(u64) -> Sample) -> Outcome {
    let samples = (1..=1440u32).map(|minute| Sample { minute, ..of(minute.into()) }).collect();
    Outcome { samples, rows: 100, made_late: 7, in_windows: 93, in_sessions: 93 }
}

const FLAT: Sample = Sample {
    minute: 0,
    rows: 0,
    made_late: 7,
    resident_bytes: 100 << 20,
    state_bytes: [0, 1 << 20, 1 << 20, 1 << 20],
    late: [7; 4],
};

#[test]
fn what_grows_and_what_is_late_is_told() {
    assert_eq!(verdict::wrong(&day(|_| FLAT)), [""; 0]);
    for (outcome, expected) in [
        (
            day(|minute| Sample { resident_bytes: (100 << 20) + minute * 65_536, ..FLAT }),
            "resident memory was ",
        ),
        (
            day(|minute| Sample { state_bytes: [0, 1 << 20, 1 << 20, minute * 100_000], ..FLAT }),
            "state was ",
        ),
        (
            day(|_| Sample { late: [7, 7, 8, 7], ..FLAT }),
            "8 rows were late for `sessions`, and 7 were",
        ),
        (
            day(|_| Sample { late: [7, 7, 7, 0], ..FLAT }),
            "0 rows were late for `changes`, and 7 were",
        ),
        (Outcome { in_windows: 92, ..day(|_| FLAT) }, "`windows` has 92 rows of 93"),
    ] {
        let wrong = verdict::wrong(&outcome);
        assert!(wrong.len() == 1 && wrong[0].contains(expected), "{wrong:?}");
    }
}
