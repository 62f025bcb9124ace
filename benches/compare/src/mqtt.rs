//! edge-mq against other MQTT brokers.

mod case;
mod flow;
mod load;
mod packet;
mod peer;
mod process;

use std::process::ExitCode;

pub(crate) use peer::{SERVE, serve};

use crate::mqtt::case::{CASES, Case};
use crate::mqtt::load::Sample;
use crate::mqtt::peer::Peer;
use crate::options::{Options, Program};
use crate::rounds::{interleave, median, ratio};
use crate::table::{Table, figure, rate};
use crate::{Result, mqtt::process::Broker};

const ABOUT: &str = "\
edge-mq against other MQTT brokers: messages per second, broker CPU, memory, and what was lost.
MQTT 3.1.1 over loopback, 64-byte payloads, brokers in processes of their own.";

/// The subcommand `mqtt`.
pub(crate) fn main(parser: lexopt::Parser) -> ExitCode {
    let cases = CASES.iter().map(|case| case.name).collect();
    let program = Program { name: "mqtt", about: ABOUT, cases, seconds: 5, rounds: 5, quick: None };
    program.main(parser, compare)
}

fn compare(options: &Options) -> Result<ExitCode> {
    let mosquitto = Peer::mosquitto();
    let mut table = Table::new(&[
        "case",
        "broker",
        "messages/s",
        "by edge-mq",
        "CPU µs/message",
        "peak RSS MB",
        "faults",
    ]);
    for case in CASES.iter().filter(|case| options.wants(case.name)) {
        let peers = case.peers(mosquitto.as_ref());
        let results = interleave(&peers, options.rounds, |round, peer| {
            eprint!("{} round {round}: {} .. ", case.name, peer.name());
            let outcome = run(case, peer, options).unwrap_or_else(Sample::failed);
            eprintln!("{}/s{}", rate(outcome.per_second), outcome.faults_after(", "));
            outcome
        });
        add_rows(&mut table, case, &peers, &results);
    }
    if mosquitto.is_none() {
        let absent = ["all", "mosquitto", "-", "-", "-", "-", "absent: not on the PATH"];
        table.row(absent.map(str::to_owned));
    }
    print!("{table}");
    Ok(ExitCode::SUCCESS)
}

/// A fresh broker for each run, so that its peak memory is that of this load.
fn run(case: &Case, peer: &Peer, options: &Options) -> Result<Sample> {
    let mut broker = Broker::start(peer, &options.dir)?;
    load::run(case, &mut broker, options.time)
}

/// One row for each peer; `results` go by peer and round, ours first.
fn add_rows(table: &mut Table, case: &Case, peers: &[Peer], results: &[Vec<Sample>]) {
    let rates = |samples: &[Sample]| -> Vec<Option<f64>> {
        samples.iter().map(|sample| sample.per_second).collect()
    };
    let ours = rates(&results[0]);
    for (peer, samples) in peers.iter().zip(results) {
        let theirs = rates(samples);
        let mut faults: Vec<&str> =
            samples.iter().flat_map(|sample| &sample.faults).map(String::as_str).collect();
        faults.dedup();
        let faults = if faults.is_empty() { "none".to_owned() } else { faults.join(", ") };
        table.row([
            case.name.to_owned(),
            peer.name().to_owned(),
            rate(median(theirs.iter().flatten().copied())),
            figure(ratio(&theirs, &ours), 2),
            figure(median(samples.iter().filter_map(|sample| sample.cpu_micros)), 2),
            figure(median(samples.iter().filter_map(|sample| sample.rss_mb)), 1),
            faults,
        ]);
    }
}
