//! An engine in a process of its own, so that its CPU time and memory are its alone.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};

use super::peer::{Peer, python};
use crate::Result;
use crate::figures::Contender;

/// The hidden subcommand that makes this program one of the engines.
pub(crate) const STREAM_CHILD: &str = "stream-child";

/// The cores that an engine may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cores {
    One,
    Two,
}

impl Cores {
    fn count(self) -> &'static str {
        match self {
            Cores::One => "1",
            Cores::Two => "2",
        }
    }

    /// What `taskset` calls them.
    fn list(self) -> &'static str {
        match self {
            Cores::One => "1",
            Cores::Two => "0,1",
        }
    }
}

/// What an engine has said about its work: names with a number each.
#[derive(Debug)]
pub(super) struct Said(HashMap<String, f64>);

impl Said {
    pub(super) fn number(&self, name: &str) -> Result<f64> {
        self.0.get(name).copied().ok_or_else(|| format!("it has not said `{name}`").into())
    }

    fn of(text: &str) -> Result<Said> {
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        let numbers = lines.map(|(name, number)| Ok((name.to_owned(), number.trim().parse()?)));
        Ok(Said(numbers.collect::<Result<_>>()?))
    }
}

/// Lets an engine do a task with a file, and write its answer to another.
pub(super) fn run(
    peer: Peer,
    task: &str,
    cores: Cores,
    lines: &Path,
    answer: &Path,
) -> Result<Said> {
    let mut command = Command::new("taskset");
    command.args(["-c", cores.list()]);
    match peer.script() {
        Some(script) => _ = command.arg(python()).args(["-c", script]),
        None => _ = command.arg(std::env::current_exe()?).args([STREAM_CHILD, peer.id(), task]),
    }
    command.arg(lines).arg(answer).arg(cores.count());
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("it ended with {}", output.status).into());
    }
    Said::of(&String::from_utf8_lossy(&output.stdout))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_engine_says_is_a_number_for_each_name() {
        let said = Said::of("seconds 1.5\nnothing\npeak_kib 7\n").unwrap();
        assert_eq!(said.number("peak_kib").unwrap(), 7.0);
        assert!(said.number("cpu").is_err());
        assert!(Said::of("seconds soon").is_err());
    }
}
