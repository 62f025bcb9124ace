//! What the command line says.

use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::*;

pub(crate) const HELP: &str = "\
One gateway: MQTT in, SQL over it, Parquet out; by default fed by real measurements of an office.

Usage: gateway [OPTIONS]

  --port N        TCP port for MQTT on 127.0.0.1; 0 takes a free one      [default: 1883]
  --data DIR      where the store and the cloud folder lie                [default: edge-data]
  --speed N|max   replay N seconds of measurements in one second          [default: 50000]
  --for 20s       stop after this time (ms, s, m or h)                    [default: at the end]
  --no-devices    replay nothing: bring your own MQTT clients
  --sql QUERY     ask the stored data, print the answer, exit
  --help";

/// How the example runs.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) port: u16,
    pub(crate) data: PathBuf,
    /// Seconds of measurements in one second; `None` is as fast as it goes.
    pub(crate) speed: Option<f64>,
    pub(crate) stop_after: Option<Duration>,
    pub(crate) devices: bool,
    pub(crate) sql: Option<String>,
}

/// Reads the command line; `None` if it asks for help.
pub(crate) fn parse() -> Result<Option<Options>, lexopt::Error> {
    let mut options = Options {
        port: 1883,
        data: "edge-data".into(),
        speed: Some(50_000.0),
        stop_after: None,
        devices: true,
        sql: None,
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("port") => options.port = parser.value()?.parse_with(port)?,
            Long("data") => options.data = parser.value()?.into(),
            Long("speed") => options.speed = parser.value()?.parse_with(speed)?,
            Long("for") => options.stop_after = Some(parser.value()?.parse_with(duration)?),
            Long("no-devices") => options.devices = false,
            Long("sql") => options.sql = Some(parser.value()?.string()?),
            Long("help") | Short('h') => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Some(options))
}

fn port(text: &str) -> Result<u16, &'static str> {
    text.parse().map_err(|_| "use a port from 0 to 65535")
}

fn speed(text: &str) -> Result<Option<f64>, &'static str> {
    match text.parse::<f64>() {
        _ if text == "max" => Ok(None),
        Ok(speed) if speed > 0.0 && speed.is_finite() => Ok(Some(speed)),
        _ => Err("use a number above 0, or `max`"),
    }
}

fn duration(text: &str) -> Result<Duration, &'static str> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| "use a whole number and a unit, like 20s")?;
    match &text[digits.len()..] {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number.saturating_mul(60))),
        "h" => Ok(Duration::from_secs(number.saturating_mul(3600))),
        _ => Err("use a unit: ms, s, m or h"),
    }
}
