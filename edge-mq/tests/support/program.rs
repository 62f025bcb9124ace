//! The example `broker` as a process: the test binary, started again as its test
//! `child_is_the_broker`.

use std::io::{BufRead, BufReader, Lines};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};

/// The command line of the child, a word on each line.
pub(crate) const WORDS: &str = "EDGE_MQ_BROKER";

/// A running broker; killed when dropped.
pub(crate) struct Program {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    errors: Lines<BufReader<ChildStderr>>,
}

/// What a program left that has ended.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) output: String,
    pub(crate) errors: String,
}

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child_is_the_broker", "--nocapture"]);
    command.env(WORDS, words.join("\n")).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it to its end.
pub(crate) fn run(words: &[&str]) -> Ended {
    let output = command(words).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), output: text(output.stdout), errors: text(output.stderr) }
}

impl Program {
    /// Starts it with the settings of a file.
    pub(crate) fn start(file: &Path) -> Program {
        Program::start_with(file, &[])
    }

    /// The same, with variables of the environment.
    pub(crate) fn start_with(file: &Path, variables: &[(&str, &str)]) -> Program {
        let mut command = command(&["--config", file.to_str().unwrap()]);
        let mut process = command.envs(variables.iter().copied()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let errors = BufReader::new(process.stderr.take().unwrap()).lines();
        Program { process, lines, errors }
    }

    /// The next line of its output with this in it.
    pub(crate) fn says(&mut self, text: &str) -> String {
        let line = self.lines.by_ref().map(Result::unwrap).find(|line| line.contains(text));
        line.unwrap_or_else(|| panic!("it ended without `{text}`"))
    }

    /// The next line of its errors with this in it.
    pub(crate) fn complains(&mut self, text: &str) -> String {
        let line = self.errors.by_ref().map(Result::unwrap).find(|line| line.contains(text));
        line.unwrap_or_else(|| panic!("it ended without `{text}`"))
    }

    /// Where its next listener listens.
    pub(crate) fn address(&mut self) -> SocketAddr {
        let line = self.says("listening on ");
        let address = line.strip_prefix("listening on ").unwrap();
        address.split(' ').next().unwrap().parse().unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        let process = self.process.id().to_string();
        assert!(Command::new("kill").args([name, &process]).status().unwrap().success());
    }

    /// Everything that it says until it has ended by itself.
    pub(crate) fn end(mut self) -> Ended {
        let rest = self.lines.by_ref().map(Result::unwrap);
        let output = rest.collect::<Vec<_>>().join("\n");
        let errors = self.errors.by_ref().map(Result::unwrap).collect::<Vec<_>>().join("\n");
        let code = self.process.wait().unwrap().code();
        Ended { code, output, errors }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Only fails if it has ended, which is what we want.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
