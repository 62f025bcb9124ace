//! edge-db against other embedded stores, and against the disk itself.

mod child;
mod engine;
mod floors;
mod measure;
mod report;
mod rows;
mod work;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

pub(crate) use child::{CHILD, child};
pub(crate) use engine::Engine;
pub(crate) use work::Work;

use self::floors::floors;
use self::measure::{Bench, RUNS};
use crate::figures::Case;
use crate::options::{Options, Program};
use crate::report::{conclude, json_file};
use crate::{Result, runs};

type Bound = crate::floors::Bound<Work, Engine>;
type Figure = crate::figures::Figure<Work, Engine>;
type Figures = crate::figures::Figures<Work, Engine>;
type Floor = crate::floors::Floor<Work, Engine>;
type Sheet<'a> = crate::figures::Sheet<'a, Work, Engine>;

const ABOUT: &str = "\
edge-db against other embedded stores and the disk itself: durable puts, what they write to the
device, bulk load, reads, logs, opening after a kill, memory. 16-byte keys in random order, 100-byte
incompressible values, 64 MiB of cache each. Ends with edge-db's floors; exit code 1 when one of
them does not hold.";

/// The subcommand `db`.
pub(crate) fn main(parser: lexopt::Parser) -> ExitCode {
    let cases = Work::ALL.iter().map(|work| work.name()).collect();
    let program = Program { name: "db", about: ABOUT, cases, seconds: 3, rounds: 3, quick: (1, 2) };
    program.main(parser, compare)
}

/// How long the disk itself takes for a durable row of a lone writer, shortest first.
pub(crate) fn sync_times(dir: &Path, time: Duration) -> Result<Vec<Duration>> {
    measure::lone_puts(Engine::Disk, dir, Instant::now() + time)
}

fn compare(options: &Options) -> Result<ExitCode> {
    let json = json_file(options)?;
    let bench = Bench::new(options);
    let figures = runs::measure(&RUNS, &bench, options);
    print_head(options, &bench);
    let tables = [report::rates(&figures), report::costs(&figures)];
    conclude(&figures, &floors(), &tables, json)
}

fn print_head(options: &Options, bench: &Bench) {
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
}
