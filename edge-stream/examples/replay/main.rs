//! A day of event time of many devices, replayed through jobs as fast as they go: does what they hold stay
//! the same, and is nothing late that should not be?
//!
//! ```sh
//! cargo run --release -p edge-stream --example replay -- --devices 10000 --hours 24 --out /tmp
//! ```
//!
//! Devices send a reading a minute for 20 minutes and are silent for 10; `readings.rs` makes them, some on
//! purpose much too late. An engine over a database in a folder of its own runs a view of windows by
//! device, one of sessions, and a sink of what has changed, by OVER. Each seven minutes of event time a
//! line is written: resident memory, bytes of state and late rows of each job. In the end there are
//! `replay.csv` and `replay.svg` in the folder `--out`. The exit code is 1 if memory or state has grown once
//! it should not (`verdict.rs` says how much is allowed, and why), or other rows were late than those
//! that were made so.

mod arguments;
mod plot;
mod readings;
mod run;
mod sample;
mod verdict;

use std::error::Error;
use std::process::ExitCode;

use arguments::Arguments;

fn main() -> ExitCode {
    let arguments = match Arguments::parse(lexopt::Parser::from_env()) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            println!("{}", arguments::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(wrong) => {
            eprintln!("replay: {wrong}\n{}", arguments::USAGE);
            return ExitCode::from(2);
        }
    };
    match replay(&arguments) {
        Ok(wrong) if wrong.is_empty() => ExitCode::SUCCESS,
        Ok(wrong) => {
            wrong.iter().for_each(|wrong| println!("{wrong}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("replay: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The columns of a sample as it is printed.
const HEADER: &str = "minute,rows,made_late,resident_bytes,windows_bytes,sessions_bytes,\
     changes_bytes,readings_late,windows_late,sessions_late,changes_late";

/// What is wrong in the end.
fn replay(arguments: &Arguments) -> Result<Vec<String>, Box<dyn Error>> {
    std::fs::create_dir_all(&arguments.out)?;
    println!("{}", HEADER);
    let runtime = tokio::runtime::Runtime::new()?;
    let tell = |sample: &sample::Sample| println!("{sample}");
    let outcome = runtime.block_on(run::run(arguments.devices, arguments.hours, tell))?;
    let lines = outcome.samples.iter().map(|sample| format!("{sample}\n"));
    let table = std::iter::once(format!("{}\n", HEADER)).chain(lines);
    std::fs::write(arguments.out.join("replay.csv"), table.collect::<String>())?;
    std::fs::write(arguments.out.join("replay.svg"), plot::svg(&outcome.samples))?;
    println!("{} rows, of which {} came too late on purpose", outcome.rows, outcome.made_late);
    Ok(verdict::wrong(&outcome))
}
