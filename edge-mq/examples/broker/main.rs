//! A standalone MQTT broker, with the settings of a file.
//!
//! ```text
//! cargo run --release -p edge-mq --example broker -- --config edge-mq/examples/broker/broker.toml
//! ```
//!
//! `broker.toml` beside this file has every setting with its default. `--check` finds all mistakes
//! in a file, `--import` makes one of a mosquitto.conf, SIGHUP reads it again while the broker runs.
//! `edge-mq.service` is a unit for systemd. Bridges need the feature `bridge`, users by token `jwt`.

mod arguments;
mod import;
mod log;
mod mistakes;
mod notify;
pub(crate) mod run;
mod running;
mod settings;
mod signals;

use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    run::run(&words).into()
}
