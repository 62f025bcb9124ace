//! The code in the README is `examples/quickstart.rs`, to the letter, and it does what the README
//! says: the example runs as a process, and what it prints and lands is looked at.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/gateway.rs"]
mod gateway;

use std::process::Command;

use edge_sync::Zone;

const README: &str = include_str!("../README.md");
const QUICKSTART: &str = include_str!("../examples/quickstart.rs");

#[test]
fn readme_shows_the_quickstart() {
    let (_, block) = README.split_once("```rust\n").expect("README has a block of Rust");
    let (block, _) = block.split_once("```").expect("the block ends");
    assert_eq!(block, QUICKSTART);
}

#[test]
fn quickstart_answers_and_lands_each_reading_once() {
    let dir = tempfile::tempdir().unwrap();
    let quickstart = gateway::example().with_file_name("quickstart");
    let output = Command::new(quickstart).current_dir(dir.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("| 2026-01-01T12:00:00 | lab  | 800.0   | 2        |"), "{printed}");
    assert!(README.contains(printed.trim()), "README shows another answer than\n{printed}");
    let audit = &Zone::new(dir.path().join("edge-data/cloud")).audit("readings").unwrap()["edge"];
    assert!(audit.is_whole() && audit.rows == 3, "{audit:?}");
}
