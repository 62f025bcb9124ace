//! A process of this program's own that opens a store: its memory is the store's alone, and it
//! can be killed.

mod task;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{self, ChildStdout, Command, Stdio};

pub(crate) use task::child;
pub(super) use task::{CRASH, MEMORY};

use super::engine::Engine;
use crate::Result;
use crate::figures::Contender;

/// The hidden subcommand that makes this program such a process.
pub(crate) const CHILD: &str = "child";

/// A running one; killed when dropped.
#[derive(Debug)]
pub(super) struct Child {
    process: process::Child,
    lines: BufReader<ChildStdout>,
}

impl Child {
    /// Starts it with a task on a store, and numbers that the task understands.
    pub(super) fn start(task: &str, engine: Engine, dir: &Path, numbers: &[u64]) -> Result<Child> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([CHILD.as_ref(), task.as_ref(), OsStr::new(engine.id()), dir.as_os_str()]);
        command.args(numbers.iter().map(u64::to_string));
        // The pipe stays open as long as the `Child` lives, and the process no longer.
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let lines = BufReader::new(process.stdout.take().ok_or("no pipe from the process")?);
        Ok(Child { process, lines })
    }

    /// Its next line, which must be this word and a number.
    pub(super) fn number(&mut self, word: &str) -> Result<u64> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        let number = line.strip_prefix(word).and_then(|number| number.trim().parse().ok());
        number.ok_or_else(|| match line.is_empty() {
            true => format!("the process ended before it said `{word}`").into(),
            false => format!("the process said `{}`, not `{word}`", line.trim_end()).into(),
        })
    }

    /// Kills it with SIGKILL, which it cannot prepare for.
    pub(super) fn kill(mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Only fails if it has ended, which is what we want.
        self.process.kill().and_then(|()| self.process.wait()).ok();
    }
}
