//! Runs the gateway example as a process.

#![allow(dead_code, reason = "not every test uses all of it")]

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::SystemTime;

/// A gateway without devices of its own, on a free port.
pub(crate) struct Gateway {
    process: Child,
    output: BufReader<ChildStdout>,
    pub(crate) port: u16,
}

impl Gateway {
    /// Starts it on this data folder; it listens when this returns.
    pub(crate) fn start(data: &Path) -> Gateway {
        let mut process = Command::new(example())
            .args(["--no-devices", "--port", "0", "--data"])
            .arg(data)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let port = line.strip_prefix("mqtt://127.0.0.1:").and_then(|rest| rest.split(' ').next());
        let port = port.and_then(|port| port.parse().ok());
        Gateway { process, output, port: port.unwrap_or_else(|| panic!("no port in `{line}`")) }
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Ctrl-C: it drains, and its exit code says whether its own accounting holds.
    pub(crate) fn stop(mut self) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        assert!(self.process.wait().unwrap().success(), "{rest}");
    }
}

/// What `--sql` prints.
pub(crate) fn sql(data: &Path, query: &str) -> String {
    let output = Command::new(example()).args(["--sql", query, "--data"]).arg(data).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The example as a program. `cargo test` builds it beside the tests, unless it is told to build
/// one test alone: then the example may be missing, or be one of an earlier code.
pub(crate) fn example() -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let example = this.parent().unwrap().with_file_name("examples").join("gateway");
    let built = std::fs::metadata(&example).and_then(|file| file.modified()).ok();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["examples", "edge-db/src", "edge-mq/src", "edge-stream/src", "edge-sync/src"];
    let changed = folders.iter().filter_map(|folder| newest_change(&root.join(folder))).max();
    assert!(
        built >= changed,
        "{} is stale: `cargo build --workspace --examples`",
        example.display()
    );
    example
}

/// When a file below this folder was last changed.
fn newest_change(folder: &Path) -> Option<SystemTime> {
    let changes = std::fs::read_dir(folder).unwrap().filter_map(|entry| {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => newest_change(&entry.path()),
            false => entry.metadata().and_then(|file| file.modified()).ok(),
        }
    });
    changes.max()
}
