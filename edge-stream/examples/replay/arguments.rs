//! The command line.

use std::error::Error;
use std::path::PathBuf;

use lexopt::{Arg, Parser, ValueExt};

pub(crate) const USAGE: &str = "\
usage: replay [OPTION]...    replays hours of event time and looks at what the jobs hold meanwhile

  --devices N     up to 100000 [10000]
  --hours N       of event time, 2 to 240 [24]
  --out FOLDER    for replay.csv and replay.svg [.]";

/// What is to be done.
#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) devices: u32,
    pub(crate) hours: u32,
    pub(crate) out: PathBuf,
}

impl Arguments {
    /// `None` if the usage is asked for.
    pub(crate) fn parse(mut parser: Parser) -> Result<Option<Arguments>, Box<dyn Error>> {
        let mut arguments = Arguments { devices: 10_000, hours: 24, out: ".".into() };
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Long("help") => return Ok(None),
                Arg::Long("devices") => arguments.devices = parser.value()?.parse()?,
                Arg::Long("hours") => arguments.hours = parser.value()?.parse()?,
                Arg::Long("out") => arguments.out = parser.value()?.into(),
                other => return Err(other.unexpected().into()),
            }
        }
        if !(1..=100_000).contains(&arguments.devices) || !(2..=240).contains(&arguments.hours) {
            return Err("--devices is 1 to 100000, --hours 2 to 240".into());
        }
        Ok(Some(arguments))
    }
}
