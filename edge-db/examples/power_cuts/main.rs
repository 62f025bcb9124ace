//! Cuts the power of a database again and again, and looks each time whether all is there.
//!
//! ```sh
//! cargo run --release -p edge-db --example power_cuts -- --cuts 1000000
//! ```
//!
//! The database runs on a disk in memory (`sim_disk.rs`) that loses, tears and reorders what was
//! not synced. A workload (`life.rs`) of batches and transactions over tables with what hangs on
//! them, rows that expire, a keyspace, logs and cursors is cut at any write, sync or change of a
//! name: of a commit, of settling, of the journal's recycling, of opening, of closing. What is
//! found then must be what a model (`model.rs`) says after some of the batches in the order of
//! their issue, whole ones, and all that were acknowledged as durable.

#![allow(clippy::unwrap_used, reason = "a failure is a panic that names its seed")]

mod case;
mod handles;
mod life;
mod look;
mod model;
mod model_early;
mod model_log;
mod model_state;
mod reads;
mod rng;
#[allow(dead_code, reason = "tests/faults.rs uses the rest")]
mod sim_disk;
mod sim_file;
mod sim_names;
mod sim_plug;
mod tally;
mod trouble;
mod workload;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use case::{CUTS, Watched};
use tally::Tally;

/// So many cuts fall on every kind of moment.
const ENOUGH_CUTS: u64 = 50_000;

/// A run that makes no cut for so long hangs.
const PATIENCE: Duration = Duration::from_secs(60);

struct Options {
    cuts: u64,
    seed: u64,
    threads: usize,
    fails: bool,
}

fn options() -> Result<Options, lexopt::Error> {
    use lexopt::prelude::*;
    let mut options = Options { cuts: 100_000, seed: 1, threads: 2, fails: true };
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("cuts") => options.cuts = arguments.value()?.parse()?,
            Long("seed") => options.seed = arguments.value()?.parse()?,
            Long("no-faults") => options.fails = false,
            Long("threads") => options.threads = arguments.value()?.parse()?,
            other => return Err(other.unexpected()),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(error) => {
            eprintln!(
                "{error}\nusage: power_cuts [--cuts N] [--seed N] [--threads N] [--no-faults]"
            );
            return ExitCode::FAILURE;
        }
    };
    let watched: Arc<[Watched]> = (0..options.threads).map(|_| Watched::default()).collect();
    fail_on_any_panic(Arc::clone(&watched));
    let next = AtomicU64::new(0);
    let is_done = AtomicBool::new(false);
    let total = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        let workers: Vec<_> = watched
            .iter()
            .map(|watched| scope.spawn(|| work(&options, watched, &next, &total)))
            .collect();
        scope.spawn(|| report(options.cuts, &watched, &is_done));
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        is_done.store(true, Ordering::Relaxed);
    });
    let total = total.into_inner().unwrap();
    println!("\n{total}");
    let uncut = total.uncut();
    for moment in &uncut {
        println!("never cut: {moment:?}");
    }
    if uncut.is_empty() || options.cuts < ENOUGH_CUTS {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn work(options: &Options, watched: &Watched, next: &AtomicU64, total: &Mutex<Tally>) {
    loop {
        let case = next.fetch_add(1, Ordering::Relaxed);
        if case * CUTS >= options.cuts {
            return;
        }
        let tally = case::run(options.seed.wrapping_add(case), options.fails, watched);
        total.lock().unwrap().add(&tally);
    }
}

/// A panic anywhere, in threads of the database too, ends the run as a failure.
fn fail_on_any_panic(watched: Arc<[Watched]>) {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        tell(&watched);
        std::process::exit(1);
    }));
}

fn tell(watched: &[Watched]) {
    for watched in watched {
        let seed = watched.seed.load(Ordering::Relaxed);
        let cut = watched.cut.load(Ordering::Relaxed);
        eprintln!("at seed {seed}, cut {cut} (again: --seed {seed} --cuts {CUTS} --threads 1)");
    }
}

#[allow(clippy::disallowed_methods, reason = "tells a person how long it takes")]
fn report(cuts: u64, watched: &[Watched], is_done: &AtomicBool) {
    let begun = Instant::now();
    let mut last = (0, begun);
    while !is_done.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_secs(1));
        let done = watched.iter().map(|watched| watched.all_cuts.load(Ordering::Relaxed)).sum();
        let seconds = begun.elapsed().as_secs().max(1);
        println!("{done} of {cuts} cuts, {} per second", done / seconds);
        if done > last.0 {
            last = (done, Instant::now());
        } else if last.1.elapsed() > PATIENCE {
            eprintln!("nothing happens");
            tell(watched);
            std::process::exit(1);
        }
    }
}
