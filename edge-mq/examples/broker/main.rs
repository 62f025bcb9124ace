//! A small MQTT broker on its own.
//!
//! ```text
//! cargo run --example broker -- --port 1883 --data ./data --journal 'office/+/climate=readings'
//! ```
//!
//! `--data` opens a database, `--journal FILTER=LOG` (any number of them) stores matching messages
//! in a Log before they are acknowledged. Ctrl-C shuts down.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use edge_mq::{Broker, TopicFilter};

const USAGE: &str =
    "usage: broker [--port PORT] [--data FOLDER] [--journal FILTER=LOG, needs --data]...";

#[derive(Default)]
struct Arguments {
    port: Option<u16>,
    data: Option<String>,
    journal: Vec<(TopicFilter, String)>,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
        let mut arguments = Arguments::default();
        while let Some(word) = words.next() {
            if !["--port", "--data", "--journal"].contains(&word.as_str()) {
                return Err(format!("unknown option `{word}`"));
            }
            let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
            match word.as_str() {
                "--port" => arguments.port = Some(port(&value)?),
                "--data" => arguments.data = Some(value),
                _ => arguments.journal.push(rule(&value)?),
            }
        }
        if !arguments.journal.is_empty() && arguments.data.is_none() {
            return Err("--journal needs --data".into());
        }
        Ok(arguments)
    }
}

fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| format!("--port {text}: not a number from 0 to 65535"))
}

fn rule(text: &str) -> Result<(TopicFilter, String), String> {
    let wrong = |why: &dyn std::fmt::Display| format!("--journal {text}: {why}");
    let (filter, log) = text.rsplit_once('=').ok_or_else(|| wrong(&"not FILTER=LOG"))?;
    Ok((filter.parse().map_err(|error| wrong(&error))?, log.to_owned()))
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{error}; {USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let port = arguments.port.unwrap_or(1883);
    let mut builder = Broker::builder();
    if let Some(dir) = &arguments.data {
        builder = builder.db(&edge_db::Db::open(dir)?);
    }
    let broker = builder.start().await?;
    for (filter, log) in arguments.journal {
        broker.journal(filter, log).await?;
    }
    println!("listening on {}", broker.listen(([127, 0, 0, 1], port).into()).await?);
    tokio::signal::ctrl_c().await?;
    let left = broker.shutdown(Duration::from_secs(5)).await?;
    println!("{:#?}\n{left:#?}", broker.stats());
    Ok(())
}

/// An error and what caused it, in one line.
fn with_causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |error: &&dyn Error| (*error).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
