//! The invariants that ARCHITECTURE.md states, as far as a machine can read them: arrows between
//! crates point left, what decides names no clock, socket, task or file, every dependency says
//! why it is there, and every guarantee names a test that exists.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/named.rs"]
mod named;

use std::fs;
use std::path::{Path, PathBuf};

/// From left to right: each crate may know those before it.
const CRATES: [&str; 4] = ["edge-db", "edge-mq", "edge-stream", "edge-sync"];

/// Modules that decide; the rest of their crate does what they say.
const DECIDING: &[&str] = &[
    "edge-db/src/arrow/key.rs",
    "edge-db/src/arrow/record.rs",
    "edge-db/src/arrow/schema.rs",
    "edge-db/src/arrow/value.rs",
    "edge-db/src/audit.rs",
    "edge-db/src/batch.rs",
    "edge-db/src/catalog.rs",
    "edge-db/src/codec.rs",
    "edge-db/src/journal/record.rs",
    "edge-db/src/key.rs",
    "edge-db/src/ledger.rs",
    "edge-db/src/log/chunk.rs",
    "edge-db/src/log/coalesce.rs",
    "edge-db/src/memory.rs",
    "edge-db/src/resolve.rs",
    "edge-db/src/space.rs",
    "edge-db/src/tree/layout.rs",
    "edge-db/src/tree/nodes.rs",
    "edge-db/src/tree/weight.rs",
    "edge-db/src/upkeep.rs",
    "edge-db/src/view.rs",
    "edge-mq/src/bridge/echo.rs",
    "edge-mq/src/bridge/record.rs",
    "edge-mq/src/bridge/route.rs",
    "edge-mq/src/bridge/rule.rs",
    "edge-mq/src/bridge/window.rs",
    "edge-mq/src/crowd.rs",
    "edge-mq/src/hub.rs",
    "edge-mq/src/net/websocket/frame.rs",
    "edge-mq/src/packet.rs",
    "edge-mq/src/rate.rs",
    "edge-mq/src/delayed.rs",
    "edge-mq/src/retain.rs",
    "edge-mq/src/router.rs",
    "edge-mq/src/session.rs",
    "edge-mq/src/sys.rs",
    "edge-mq/src/topic.rs",
    "edge-stream/src/db/cells.rs",
    "edge-stream/src/db/job.rs",
    "edge-stream/src/db/output.rs",
    "edge-stream/src/decode.rs",
    "edge-stream/src/delta.rs",
    "edge-stream/src/emit.rs",
    "edge-stream/src/encode.rs",
    "edge-stream/src/operator.rs",
    "edge-stream/src/pipeline.rs",
    "edge-stream/src/plan.rs",
    "edge-stream/src/sql.rs",
    "edge-stream/src/topic.rs",
    "edge-stream/src/watermark.rs",
    "edge-sync/src/outbox.rs",
    "edge-sync/src/segment.rs",
    "edge-sync/src/edge_id.rs",
];

/// What no deciding module may name.
const SHELL_WORDS: [&str; 8] = [
    "tokio::",
    "std::net",
    "std::fs",
    "std::thread",
    "Instant::now",
    "SystemTime::now",
    "Utc::now",
    "Local::now",
];

fn root() -> PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The file, and all below the folder of its name: `session.rs` and `session/**.rs`.
fn module_files(file: &Path) -> Vec<PathBuf> {
    let mut files = vec![file.to_owned()];
    let folder = fs::read_dir(file.with_extension(""));
    for entry in folder.into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "rs") {
            files.extend(module_files(&path));
        }
    }
    files
}

/// The code in front of the unit tests, without comments.
fn code_of(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = code.lines().enumerate().map(|(number, line)| (number + 1, line));
    lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// The lines of a manifest's dependency tables: table, line above, line.
fn dependencies(manifest: &str) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    let (mut table, mut above) = (String::new(), String::new());
    for line in manifest.lines() {
        if let Some(name) = line.strip_prefix('[') {
            table = name.trim_end_matches(']').to_owned();
        } else if table.ends_with("dependencies") && line.contains('=') && !line.starts_with('#') {
            found.push((table.clone(), above.clone(), line.to_owned()));
        }
        above = line.to_owned();
    }
    found
}

#[test]
fn arrows_between_crates_point_left() {
    for (place, name) in CRATES.iter().enumerate() {
        for (_, _, line) in dependencies(&read(format!("{name}/Cargo.toml"))) {
            let wrong = CRATES[place..].iter().find(|right| line.starts_with(**right));
            assert!(wrong.is_none(), "{name} must not know {wrong:?}: {line}");
        }
    }
}

#[test]
fn every_dependency_says_why_it_is_there() {
    let manifests = CRATES.map(|name| format!("{name}/Cargo.toml"));
    let others = ["Cargo.toml".to_owned(), "benches/compare/Cargo.toml".to_owned()];
    for manifest in manifests.iter().chain(&others) {
        for (table, above, line) in dependencies(&read(manifest)) {
            // The workspace's table gives versions; the reasons stand where a crate uses them.
            let reason = table == "workspace.dependencies" || above.starts_with("# ");
            assert!(reason, "{manifest}: no reason above `{line}`");
        }
    }
}

#[test]
fn what_decides_names_no_clock_socket_task_or_file() {
    for module in DECIDING {
        for file in module_files(&root().join(module)) {
            let is_test = file
                .components()
                .any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs");
            let text = if is_test { String::new() } else { read(&file) };
            for (number, line) in code_of(&text) {
                let word = SHELL_WORDS.iter().find(|word| line.contains(**word));
                assert!(word.is_none(), "{}:{number} names {word:?}: {line}", file.display());
            }
        }
    }
}

/// Rows of the guarantee table end in `file::test`.
#[test]
fn every_guarantee_names_a_test_that_exists() {
    let architecture = read("ARCHITECTURE.md");
    let table = architecture.split("## Guarantees").nth(1).expect("there is a guarantee table");
    let table = table.split("\n## ").next().unwrap();
    let rows: Vec<_> = table.lines().filter(|line| line.starts_with('|')).skip(2).collect();
    assert!(rows.len() >= 6, "a row for each hop");
    for row in rows {
        let cell = row.trim_end_matches('|').rsplit('|').next().unwrap();
        let tests = named::tests_in(cell);
        assert!(!tests.is_empty(), "no test in: {row}");
        tests.into_iter().for_each(|test| named::assert_exists(&root(), test));
    }
}
