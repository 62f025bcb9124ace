//! Attacks a broker, and compares how long the messages of two quiet clients take meanwhile with how
//! long they take without.
//!
//! ```sh
//! cargo run --release -p edge-mq --example attack
//! ```
//!
//! Options: `--rounds N` (default 5) of `--seconds N` (default 2) each without and under attack, one
//! after the other, so that whatever else the machine does is in both; `--limits default` or
//! `--limits guarded` for one of the two sets in `guard.rs`, and `--only NAME` for one attack. A ratio
//! is the median over the rounds. The exit code is 1 if it is over 3 for the guarded broker, or if the
//! broker takes more memory than its limits say.
//!
//! The broker is a process of its own, and so is the attacker: one thread, at the lowest priority,
//! as on real networks it would not take the broker's processor.

mod attacks;
#[path = "../fuzz/chance.rs"]
mod chance;
mod guard;
#[path = "../fuzz/mutate.rs"]
mod mutate;
#[allow(dead_code, reason = "the fuzzer uses all of it")]
#[path = "../fuzz/packets.rs"]
mod packets;
mod pair;
mod rounds;
mod victim;
mod wire;

use std::io;
use std::process::ExitCode;

use rounds::{DEFAULT, Plan, attack_all, attacker};

const USAGE: &str =
    "usage: attack [--rounds N] [--seconds N] [--limits default|guarded] [--only NAME]";

/// What this process is: without a role, the one that starts the others.
#[derive(Default)]
struct Arguments {
    role: Option<String>,
    broker: Option<String>,
    plan: Plan,
}

fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(wrong) => {
            eprintln!("attack: {wrong}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("attack: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> io::Result<bool> {
    let plan = &arguments.plan;
    match arguments.role.as_deref() {
        Some("broker") => victim::serve(plan.limits.as_deref().unwrap_or(DEFAULT))?,
        Some(_) => {
            let addr = arguments.broker.as_deref().unwrap_or_default();
            attacker(plan.only.as_deref(), addr.parse().map_err(io::Error::other)?)?;
        }
        None => return attack_all(plan),
    }
    Ok(true)
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments::default();
    while let Some(name) = words.next() {
        let value = words.next().ok_or(format!("{name} has no value"))?;
        let number = || value.parse::<u32>().map_err(|_| format!("{value} is no number"));
        match &name[..] {
            "--rounds" => arguments.plan.rounds = number()?.max(1),
            "--seconds" => arguments.plan.seconds = number()?.max(1),
            "--limits" if [DEFAULT, guard::GUARDED].contains(&&value[..]) => {
                arguments.plan.limits = Some(value);
            }
            "--only" => arguments.plan.only = Some(value),
            "--role" => arguments.role = Some(value),
            "--broker" => arguments.broker = Some(value),
            _ => return Err(format!("unknown option {name}")),
        }
    }
    Ok(arguments)
}
