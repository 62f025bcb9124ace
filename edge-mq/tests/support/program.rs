//! The example `broker` as a process: the test binary, started again as its test
//! `child_is_the_broker`.

use std::io::{BufRead, BufReader, Lines};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

/// The command line of the child, a word on each line.
pub(crate) const WORDS: &str = "EDGE_MQ_BROKER";

/// A running broker; killed when dropped.
pub(crate) struct Program {
    process: Child,
    log: Lines<BufReader<ChildStderr>>,
}

/// What a program left that has ended.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    /// Nothing of a program that was started.
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
        command.env_remove("JOURNAL_STREAM").stdout(Stdio::null());
        let mut process = command.envs(variables.iter().copied()).spawn().unwrap();
        let log = BufReader::new(process.stderr.take().unwrap()).lines();
        Program { process, log }
    }

    /// The next line of its log with this in it.
    pub(crate) fn says(&mut self, text: &str) -> String {
        self.says_before(text).pop().expect("the last has it")
    }

    /// All lines up to that one.
    pub(crate) fn says_before(&mut self, text: &str) -> Vec<String> {
        let mut lines = Vec::new();
        for line in self.log.by_ref() {
            lines.push(line.unwrap());
            if lines[lines.len() - 1].contains(text) {
                return lines;
            }
        }
        panic!("it ended without `{text}`: {lines:#?}")
    }

    /// Where its next listener listens.
    pub(crate) fn address(&mut self) -> SocketAddr {
        let line = self.says("listening address=");
        let (_, address) = line.split_once("address=").unwrap();
        address.split(' ').next().unwrap().parse().unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        let process = self.process.id().to_string();
        assert!(Command::new("kill").args([name, &process]).status().unwrap().success());
    }

    /// Everything that it says until it has ended by itself.
    pub(crate) fn end(mut self) -> Ended {
        let errors = self.log.by_ref().map(Result::unwrap).collect::<Vec<_>>().join("\n");
        let code = self.process.wait().unwrap().code();
        Ended { code, output: String::new(), errors }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Only fails if it has ended, which is what we want.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
