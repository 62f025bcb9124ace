//! edge-db against other embedded stores.

mod measure;
mod peers;
mod rows;

use std::process::ExitCode;

use crate::options::{self, Options};
use crate::rounds::{interleave, median, ratio};
use crate::table::{Table, figure, rate};
use crate::{Result, store::measure::Sample, store::peers::Peer};

const ABOUT: &str = "\
edge-db against other embedded stores: durable puts, bulk load, gets, scans.
16-byte keys in random order, 100-byte incompressible values, 64 MiB of cache each.";

/// What one run on one fresh store measures, by the names in the table.
const RUNS: [&[&str]; 3] = [&["put-1"], &["put-16"], &["load", "get", "scan"]];

/// The program `store`.
#[must_use]
pub fn main() -> ExitCode {
    options::main("store", ABOUT, &RUNS.concat(), compare)
}

fn compare(options: &Options) -> Result<()> {
    let mut table =
        Table::new(&["case", "store", "per second", "by edge-db", "p99 ms", "max ms", "file MB"]);
    for cases in RUNS {
        let cases: Vec<&str> = cases.iter().copied().filter(|case| options.wants(case)).collect();
        if cases.is_empty() {
            continue;
        }
        let peers = Peer::all(&cases);
        let results = interleave(&peers, options.rounds, |round, peer| {
            eprint!("{} round {round}: {} .. ", cases.join(", "), peer.name());
            let samples = measure::run(*peer, &cases, options)?;
            let rates = samples.iter().map(|sample| format!("{}/s", rate(Some(sample.per_second))));
            eprintln!("{}", rates.collect::<Vec<_>>().join(", "));
            Ok(samples)
        });
        let results: Vec<Vec<Vec<Sample>>> = results
            .into_iter()
            .map(|rounds| rounds.into_iter().collect::<Result<_>>())
            .collect::<Result<_>>()?;
        for (place, case) in cases.iter().enumerate() {
            add_rows(&mut table, case, place, &peers, &results);
        }
    }
    print!("{table}");
    Ok(())
}

/// One row for each peer; `results` go by peer, round and place.
fn add_rows(
    table: &mut Table,
    case: &str,
    place: usize,
    peers: &[Peer],
    results: &[Vec<Vec<Sample>>],
) {
    let rates = |peer: usize| -> Vec<Option<f64>> {
        results[peer].iter().map(|round| Some(round[place].per_second)).collect()
    };
    for (number, peer) in peers.iter().enumerate() {
        let samples = || results[number].iter().map(|round| &round[place]);
        table.row([
            case.to_owned(),
            peer.name().to_owned(),
            rate(median(samples().map(|sample| sample.per_second))),
            figure(ratio(&rates(number), &rates(0)), 2),
            figure(median(samples().filter_map(|sample| sample.p99_ms)), 2),
            figure(median(samples().filter_map(|sample| sample.max_ms)), 0),
            figure(median(samples().filter_map(|sample| sample.file_mb)), 1),
        ]);
    }
}
