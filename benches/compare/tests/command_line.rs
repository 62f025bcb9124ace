//! What the program says by its exit code: 0 when all floors hold, 1 when one does not, 2 when the
//! command line is wrong. Next to nothing is measured here: no engine can store anything below
//! `/proc`, and a floor without its figure must not pass for one that holds.

use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_edge-compare"))
        .args(arguments)
        .output()
        .expect("the program starts")
}

fn code(arguments: &[&str]) -> Option<i32> {
    run(arguments).status.code()
}

#[test]
fn a_floor_whose_figure_is_missing_fails_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("figures");
    let json_text = json.to_str().unwrap();
    let output = run(&["db", "--only", "expire", "--dir", "/proc", "--json", json_text]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("not measured |    NO |"), "{text}");
    assert!(text.contains("FAULT of edge-db: expire, round 1: "), "{text}");
    assert!(text.contains(" 0 hold, 1 do not, "), "{text}");
    assert_eq!(std::fs::read_to_string(json).unwrap(), "");
}

#[test]
fn a_broker_that_cannot_start_fails_the_run() {
    let output = run(&["mq", "--quick", "--only", "durable", "--only", "idle", "--dir", "/proc"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    // Two floors of both works with 50 durable publishers and of idle-10k, one of durable-1.
    assert_eq!(text.matches("not measured |    NO |").count(), 7, "{text}");
    assert!(text.contains("FAULT of edge-mq: idle-10k, round 2: "), "{text}");
    assert!(text.contains("FAULT of (the disk itself): durable-1, round 1: "), "{text}");
    assert!(text.contains(" 0 hold, 7 do not, "), "{text}");
}

#[test]
fn a_run_without_floors_that_fail_ends_well_and_leaves_its_figures() {
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("figures");
    let only = ["mq", "--quick", "--only", "match-1-of-1k", "--json", json.to_str().unwrap()];
    let output = run(&only);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("| match-1-of-1k | edge-mq |"), "{text}");
    assert!(text.contains(" 0 hold, 0 do not, "), "{text}");
    let lines = std::fs::read_to_string(json).unwrap();
    let begin = r#"{"work":"match-1-of-1k","engine":"edge-mq","metric":"cpu_us","value":"#;
    assert!(lines.starts_with(begin) && lines.lines().count() == 1, "{lines}");
}

#[test]
fn help_is_no_error_and_a_wrong_command_line_is() {
    for help in [&["--help"][..], &["db", "--help"], &["mq", "--help"]] {
        assert_eq!(code(help), Some(0), "{help:?}");
    }
    let unknown = ["--only", "nothing"];
    let of = |comparison| [&[comparison], &unknown[..]].concat();
    for wrong in [vec![], vec!["mqtt"], vec!["mq", "--slow"], of("db"), of("mq")] {
        assert_eq!(code(&wrong), Some(2), "{wrong:?}");
    }
}

#[test]
fn a_file_for_figures_that_cannot_be_made_is_told_at_once() {
    for comparison in ["db", "mq"] {
        assert_eq!(code(&[comparison, "--quick", "--json", "no/such/folder/figures"]), Some(1));
    }
}
