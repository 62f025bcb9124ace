//! Loads any MQTT broker and says how fast it is, how long messages take, and whether it lost, doubled
//! or reordered any.
//!
//! ```text
//! cargo run --release -p edge-mq --example bench -- --publishers 50 --qos 1 --seconds 10
//! ```
//!
//! `--help` has all options. Exit code 1 if something was lost, doubled or out of order.

#[cfg(target_os = "linux")]
pub(crate) mod arguments;
#[cfg(target_os = "linux")]
#[path = "generator/generator.rs"]
#[allow(dead_code, reason = "`benches/compare` uses the rest")]
pub(crate) mod generator;
#[cfg(target_os = "linux")]
pub(crate) mod run;

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    let arguments = match arguments::Arguments::parse(lexopt::Parser::from_env()) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            println!("{}", arguments::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("bench: {error}\n{}", arguments::USAGE);
            return ExitCode::from(2);
        }
    };
    match run::run(&arguments, |line| println!("{line}")) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The generator is woken for each message by a timer that only Linux has.
#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("bench runs on Linux only");
    ExitCode::FAILURE
}
