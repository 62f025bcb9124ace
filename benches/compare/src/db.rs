//! edge-db against other embedded stores, and against the disk itself.

mod child;
mod device;
mod engine;
mod figures;
mod floors;
mod measure;
mod report;
mod rows;
mod work;

use std::fs::File;
use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

pub(crate) use child::{CHILD, child};

use self::engine::Engine;
use self::figures::{Figures, Sheet};
use self::floors::{Judged, floors};
use self::measure::{Bench, RUNS, Run};
use self::work::Work;
use crate::Result;
use crate::options::{Options, Program};

const ABOUT: &str = "\
edge-db against other embedded stores and the disk itself: durable puts, what they write to the
device, bulk load, reads, logs, opening after a kill, memory. 16-byte keys in random order, 100-byte
incompressible values, 64 MiB of cache each. Ends with edge-db's floors; exit code 1 when one of
them does not hold.";

/// The subcommand `db`.
pub(crate) fn main(parser: lexopt::Parser) -> ExitCode {
    let cases = Work::ALL.iter().map(|work| work.name()).collect();
    let program =
        Program { name: "db", about: ABOUT, cases, seconds: 3, rounds: 3, quick: Some((1, 2)) };
    program.main(parser, compare)
}

fn compare(options: &Options) -> Result<ExitCode> {
    // Before anything is measured: half an hour later would be a bad time to learn of it.
    let mut json = options.json.as_ref().map(File::create).transpose()?;
    let bench = Bench::new(options);
    let mut figures = Figures::of(asked(options));
    for round in 1..=options.rounds {
        for run in RUNS.iter().filter(|run| is_asked(run, options)) {
            if run.often.includes(round, options.quick) {
                measure(&bench, run, round, &mut figures);
            }
        }
    }
    if let Some(json) = &mut json {
        json.write_all(report::json(&figures).as_bytes())?;
    }
    let judged = Judged::of(&floors(), &figures);
    print(options, &bench, &figures, &judged);
    let at_fault = figures.faults().any(|(engine, _)| engine == Engine::EdgeDb);
    Ok(if judged.none_fails() && !at_fault { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn is_asked(run: &Run, options: &Options) -> bool {
    run.works.iter().any(|work| options.wants(work.name()))
}

/// The works that this run of the program is about.
fn asked(options: &Options) -> impl Iterator<Item = Work> {
    let runs = RUNS.iter().filter(|run| run.often.includes(1, options.quick));
    runs.flat_map(|run| run.works).copied().filter(|work| options.wants(work.name()))
}

/// Lets each engine do it once. One that fails is told of, and does not stop the others.
fn measure(bench: &Bench, run: &Run, round: usize, figures: &mut Figures) {
    for engine in run.engines() {
        eprint!("round {round}: {}:", engine.name());
        let start = Instant::now();
        let outcome = (run.measure)(bench, &mut Sheet { figures, engine, round });
        eprintln!(" ({:.1} s)", start.elapsed().as_secs_f64());
        if let Err(error) = outcome {
            let works: Vec<&str> = run.works.iter().map(|work| work.name()).collect();
            let fault = format!("{}, round {round}: {error}", works.join(", "));
            eprintln!("{}: {fault}", engine.name());
            figures.fault(engine, fault);
        }
    }
}

fn print(options: &Options, bench: &Bench, figures: &Figures, judged: &Judged) {
    let (rounds, seconds) = (options.rounds, options.time.as_secs());
    let rows = bench.sizes.rows;
    println!(
        "Rounds: {rounds}; {seconds} s for each work; {rows} rows loaded. Medians of the rounds, of \
         device bytes the least."
    );
    match &bench.device {
        Ok(device) => println!("Device bytes: block device {device}, whoever wrote them."),
        Err(why) => println!(
            "Device bytes: not measurable below {}: {why}. Engines' own counts stand for them.",
            options.dir.display(),
        ),
    }
    println!();
    for table in [report::rates(figures), report::costs(figures)] {
        if !table.is_empty() {
            println!("{table}");
        }
    }
    for (engine, fault) in figures.faults() {
        println!("FAULT of {}: {fault}\n", engine.name());
    }
    print!("{}\n{}\n", judged.table(), judged.summary());
}
