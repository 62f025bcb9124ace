//! The command line.

use std::path::PathBuf;

use edge_mq::TopicFilter;
use lexopt::ValueExt;

use super::settings::JournalRule;

pub(crate) const USAGE: &str = "\
usage: broker [--config FILE] [--port PORT] [--data FOLDER] [--journal FILTER=LOG]...
       broker --check [--config FILE] ...      all mistakes in the settings; starts nothing
       broker --import MOSQUITTO.CONF          the same settings as TOML, to the standard output

  --config FILE         settings; examples/broker/broker.toml has all of them with their defaults
  --port PORT           of the first listener, in place of the file's; 0 takes a free one
  --data FOLDER         of the database, in place of the file's
  --journal FILTER=LOG  stores matching messages in a Log before they are acknowledged; needs a
                        database; any number of them

SIGHUP reads the file again: the log, users, rules, certificates, journal rules and bridges.
SIGTERM and Ctrl-C stop it in peace, a second one at once.";

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(crate) enum Command {
    Run(Arguments),
    Check(Arguments),
    Import(PathBuf),
    Help,
}

/// Where settings come from.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Arguments {
    pub(crate) config: Option<PathBuf>,
    pub(crate) overrides: Overrides,
}

/// What goes before the file.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Overrides {
    pub(crate) port: Option<u16>,
    pub(crate) data: Option<PathBuf>,
    pub(crate) journal: Vec<JournalRule>,
}

impl Command {
    pub(crate) fn parse(words: &[String]) -> Result<Command, lexopt::Error> {
        use lexopt::Arg::Long;
        let mut arguments = Arguments::default();
        let (mut is_check, mut import) = (false, None);
        let mut parser = lexopt::Parser::from_args(words);
        while let Some(word) = parser.next()? {
            match word {
                Long("config") => arguments.config = Some(parser.value()?.into()),
                Long("port") => arguments.overrides.port = Some(parser.value()?.parse()?),
                Long("data") => arguments.overrides.data = Some(parser.value()?.into()),
                Long("journal") => {
                    let rule = parser.value()?.parse_with(journal_rule)?;
                    arguments.overrides.journal.push(rule);
                }
                Long("check") => is_check = true,
                Long("import") => import = Some(parser.value()?.into()),
                Long("help") | lexopt::Arg::Short('h') => return Ok(Command::Help),
                other => return Err(other.unexpected()),
            }
        }
        let has_database = arguments.config.is_some() || arguments.overrides.data.is_some();
        if !has_database && !arguments.overrides.journal.is_empty() {
            return Err("--journal needs --data".into());
        }
        match import {
            Some(_) if is_check || arguments != Arguments::default() => {
                Err("--import stands alone".into())
            }
            Some(file) => Ok(Command::Import(file)),
            None if is_check => Ok(Command::Check(arguments)),
            None => Ok(Command::Run(arguments)),
        }
    }
}

fn journal_rule(text: &str) -> Result<JournalRule, String> {
    let (filter, log) = text.rsplit_once('=').ok_or("not FILTER=LOG")?;
    let filter: TopicFilter =
        filter.parse().map_err(|error| super::mistakes::with_causes(&error))?;
    Ok(JournalRule { filter, log: log.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Command::parse(&words).map_err(|error| error.to_string())
    }

    #[test]
    fn options_go_together_where_they_mean_something() {
        let Ok(Command::Run(arguments)) = parse("--port 0 --data d --journal a/+=x --journal b=y")
        else {
            panic!("it runs");
        };
        assert_eq!(arguments.overrides.port, Some(0));
        let rules: Vec<_> = arguments.overrides.journal.iter().map(ToString::to_string).collect();
        assert_eq!(rules, ["`a/+` into the Log `x`", "`b` into the Log `y`"]);
        assert!(matches!(parse("--check --config x"), Ok(Command::Check(_))));
        assert_eq!(parse("--import m.conf"), Ok(Command::Import("m.conf".into())));
        assert_eq!(parse("-h"), Ok(Command::Help));
    }

    #[test]
    fn what_means_nothing_is_refused_with_what_is_wrong() {
        for (line, expected) in [
            ("--port 70000", "70000"),
            ("--port", "--port"),
            ("--journal a", "not FILTER=LOG"),
            ("--journal a/#/b=x", "topic filter"),
            ("--journal a=x", "needs --data"),
            ("--verbose", "--verbose"),
            ("file", "file"),
            ("--import m.conf --port 1", "stands alone"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
