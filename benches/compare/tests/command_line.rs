//! What the program says by its exit code: 0 when all floors hold, 1 when one does not, 2 when the
//! command line is wrong. Nothing is measured here: no engine can store anything below `/proc`, and
//! a floor without its figure must not pass for one that holds.

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
fn help_is_no_error_and_a_wrong_command_line_is() {
    for help in [&["--help"][..], &["db", "--help"], &["mqtt", "--help"]] {
        assert_eq!(code(help), Some(0), "{help:?}");
    }
    for wrong in [&[][..], &["store"], &["mqtt", "--quick"], &["db", "--only", "nothing"]] {
        assert_eq!(code(wrong), Some(2), "{wrong:?}");
    }
}

#[test]
fn a_file_for_figures_that_cannot_be_made_is_told_at_once() {
    assert_eq!(code(&["db", "--quick", "--json", "no/such/folder/figures"]), Some(1));
}
