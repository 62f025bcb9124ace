//! The command line that both programs share.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use lexopt::prelude::*;

use crate::Result;

/// How a comparison runs.
#[derive(Debug)]
pub(crate) struct Options {
    /// How long each case measures each peer in each round.
    pub(crate) time: Duration,
    pub(crate) rounds: usize,
    /// Only cases with this in their name.
    only: Option<String>,
    /// Where stores lie while they are measured.
    pub(crate) dir: PathBuf,
}

impl Options {
    /// Whether this case was asked for.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| name.contains(only.as_str()))
    }

    fn check_names(&self, names: &[&str]) -> Result<()> {
        match &self.only {
            Some(only) if !names.iter().any(|name| self.wants(name)) => {
                Err(format!("no case `{only}`; there are: {}", names.join(", ")).into())
            }
            _ => Ok(()),
        }
    }
}

const HELP: &str =
    "  --seconds N   how long to measure each peer, in each case and round  [default: 5]
  --rounds N    how often; medians are shown                           [default: 5]
  --only NAME   only cases with NAME in their name
  --dir DIR     where files lie while measured; must be on a real disk [default: the temp folder]
  --help";

/// Reads the command line of the program `name` and runs it: help, one clear line, or `run`.
pub(crate) fn main(
    name: &str,
    about: &str,
    cases: &[&str],
    run: impl FnOnce(&Options) -> Result<()>,
) -> ExitCode {
    let options = match parse(cases) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{about}\n\nUsage: {name} [OPTIONS]\n\n{HELP}\n\nCases: {}", cases.join(", "));
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("{name}: {error} (see --help)");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(cases: &[&str]) -> Result<Option<Options>> {
    let (mut seconds, mut rounds) = (5, 5);
    let (mut only, mut dir) = (None, std::env::temp_dir());
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("seconds") => seconds = whole("--seconds", parser.value()?, 600)?,
            Long("rounds") => rounds = whole("--rounds", parser.value()?, 100)?,
            Long("only") => only = Some(parser.value()?.string()?),
            Long("dir") => dir = parser.value()?.into(),
            Long("help") | Short('h') => return Ok(None),
            other => return Err(other.unexpected().into()),
        }
    }
    if !dir.is_dir() {
        return Err(format!("--dir {}: no such folder", dir.display()).into());
    }
    let time = Duration::from_secs(u64::from(seconds));
    let options = Options { time, rounds: rounds.try_into()?, only, dir };
    options.check_names(cases)?;
    Ok(Some(options))
}

fn whole(option: &str, value: std::ffi::OsString, most: u32) -> Result<u32> {
    let number = value.to_str().and_then(|text| text.parse().ok());
    number.filter(|number| (1..=most).contains(number)).ok_or_else(|| {
        format!("{option} {}: use a whole number from 1 to {most}", value.display()).into()
    })
}
