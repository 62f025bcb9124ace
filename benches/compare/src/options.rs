//! The command line that both comparisons share.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use lexopt::prelude::*;

use crate::Result;

/// How a comparison runs.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// How long each case measures each peer in each round.
    pub(crate) time: Duration,
    pub(crate) rounds: usize,
    /// The names of the cases that were asked for.
    cases: Vec<&'static str>,
    /// Where files lie while they are measured.
    pub(crate) dir: PathBuf,
    /// Fewer rows and less time.
    pub(crate) quick: bool,
    /// Where each figure goes as a line of JSON.
    pub(crate) json: Option<PathBuf>,
}

impl Options {
    /// Whether this case was asked for.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.cases.contains(&name)
    }
}

/// One comparison, as its command line shows it.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) cases: Vec<&'static str>,
    /// Without `--quick`.
    pub(crate) seconds: u32,
    pub(crate) rounds: u32,
    /// The same with it.
    pub(crate) quick: (u32, u32),
}

impl Program {
    /// Reads the command line and runs: help, one clear line, or `run`.
    pub(crate) fn main(
        &self,
        parser: lexopt::Parser,
        run: impl FnOnce(&Options) -> Result<ExitCode>,
    ) -> ExitCode {
        let name = self.name;
        let options = match self.parse(parser) {
            Ok(Some(options)) => options,
            Ok(None) => {
                println!("{}", self.help());
                return ExitCode::SUCCESS;
            }
            Err(error) => {
                eprintln!("{name}: {error} (see --help)");
                return ExitCode::from(2);
            }
        };
        run(&options).unwrap_or_else(|error| {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        })
    }

    fn help(&self) -> String {
        let Program { name, about, seconds, rounds, .. } = self;
        let (quick_seconds, quick_rounds) = self.quick;
        format!(
            "{about}\n\nUsage: edge-compare {name} [OPTIONS]\n
  --quick       less of all; --seconds {quick_seconds} and --rounds {quick_rounds} unless given
  --json FILE   also write each figure as a line of JSON
  --seconds N   how long to measure each peer, in each case and round  [default: {seconds}]
  --rounds N    how often; medians are shown                           [default: {rounds}]
  --only NAME   only the case NAME, or those with NAME in their name; can be given several times
  --dir DIR     where files lie while measured; must be on a real disk [default: the temp folder]
  --help\n\nCases: {}",
            self.cases.join(", "),
        )
    }

    fn parse(&self, mut parser: lexopt::Parser) -> Result<Option<Options>> {
        let (mut seconds, mut rounds, mut quick) = (None, None, false);
        let (mut cases, mut json, mut dir) = (Vec::new(), None, std::env::temp_dir());
        while let Some(argument) = parser.next()? {
            match argument {
                Long("seconds") => seconds = Some(whole("--seconds", &parser.value()?, 600)?),
                Long("rounds") => rounds = Some(whole("--rounds", &parser.value()?, 100)?),
                Long("only") => cases.extend(self.named(&parser.value()?.string()?)?),
                Long("dir") => dir = parser.value()?.into(),
                Long("quick") => quick = true,
                Long("json") => json = Some(parser.value()?.into()),
                Long("help") | Short('h') => return Ok(None),
                other => return Err(other.unexpected().into()),
            }
        }
        if !dir.is_dir() {
            return Err(format!("--dir {}: no such folder", dir.display()).into());
        }
        let defaults = if quick { self.quick } else { (self.seconds, self.rounds) };
        let time = Duration::from_secs(seconds.unwrap_or(defaults.0).into());
        let rounds = rounds.unwrap_or(defaults.1).try_into()?;
        if cases.is_empty() {
            cases.clone_from(&self.cases);
        }
        Ok(Some(Options { time, rounds, cases, dir, quick, json }))
    }

    /// The case of this name, else those with it in their names.
    fn named(&self, only: &str) -> Result<Vec<&'static str>> {
        if let Some(case) = self.cases.iter().find(|case| **case == only) {
            return Ok(vec![case]);
        }
        let named: Vec<_> = self.cases.iter().copied().filter(|case| case.contains(only)).collect();
        if named.is_empty() {
            return Err(format!("no case `{only}`; there are: {}", self.cases.join(", ")).into());
        }
        Ok(named)
    }
}

fn whole(option: &str, value: &OsString, most: u32) -> Result<u32> {
    let number = value.to_str().and_then(|text| text.parse().ok());
    number.filter(|number| (1..=most).contains(number)).ok_or_else(|| {
        format!("{option} {}: use a whole number from 1 to {most}", value.display()).into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Option<Options>> {
        let cases = vec!["put-1", "put-16", "scan"];
        let (about, quick) = ("A test.", (1, 2));
        let program = Program { name: "test", about, cases, seconds: 5, rounds: 4, quick };
        program.parse(lexopt::Parser::from_args(arguments))
    }

    #[test]
    fn quick_changes_what_was_not_given() {
        let options = parse(&["--quick", "--rounds", "9"]).unwrap().unwrap();
        assert_eq!((options.time.as_secs(), options.rounds), (1, 9));
        let options = parse(&[]).unwrap().unwrap();
        assert_eq!((options.time.as_secs(), options.rounds), (5, 4));
    }

    #[test]
    fn only_takes_the_case_of_the_name_or_those_with_it() {
        let asked = |arguments: &[&str]| parse(arguments).unwrap().unwrap().cases;
        assert_eq!(asked(&[]), ["put-1", "put-16", "scan"]);
        assert_eq!(asked(&["--only", "put"]), ["put-1", "put-16"]);
        assert_eq!(asked(&["--only", "put-1"]), ["put-1"]);
        assert_eq!(asked(&["--only", "scan", "--only", "put-1"]), ["scan", "put-1"]);
        assert!(parse(&["--only", "nothing"]).is_err());
    }

    #[test]
    fn what_a_comparison_does_not_know_is_refused() {
        assert!(parse(&["--slow"]).is_err());
        assert!(parse(&["--seconds", "0"]).is_err());
        assert!(parse(&["--dir", "no/such/folder"]).is_err());
    }
}
