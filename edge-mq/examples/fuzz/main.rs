//! Feeds the decoder and a whole broker with mutated packets, and looks for panics, hangs and memory
//! that is not given back.
//!
//! ```sh
//! cargo run --release -p edge-mq --example fuzz -- --packets 100000000
//! ```
//!
//! Options: `--packets N` (default 1,000,000), `--seed N` (default 1), and `--batch N`, which runs
//! that batch alone. A failure names seed and batch. One batch goes to the decoder, the next to the
//! broker, and so on; what the decoder gets depends on the seed alone, what the broker makes of its
//! clients also on who comes first.

mod broker;
mod chance;
mod codec;
mod mutate;
mod packets;
mod run;

use std::process::ExitCode;

use run::{Plan, run};

const USAGE: &str = "usage: fuzz [--packets N] [--seed N] [--batch N]";

fn main() -> ExitCode {
    let plan = match plan(std::env::args().skip(1)) {
        Ok(plan) => plan,
        Err(wrong) => {
            eprintln!("fuzz: {wrong}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let report = run(plan, |line| println!("{line}"));
    println!("{report}");
    ExitCode::SUCCESS
}

fn plan(mut arguments: impl Iterator<Item = String>) -> Result<Plan, String> {
    let mut plan = Plan { packets: 1_000_000, seed: 1, only: None };
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or(format!("{name} has no value"))?;
        let number = value.parse().map_err(|_| format!("{value} is no number"))?;
        match &name[..] {
            "--packets" => plan.packets = number,
            "--seed" => plan.seed = number,
            "--batch" => plan.only = Some(number),
            _ => return Err(format!("unknown option {name}")),
        }
    }
    Ok(plan)
}
