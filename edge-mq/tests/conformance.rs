//! `docs/conformance.md` has every statement of both standards, and a test that exists for each, or
//! the reason why there is none.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "../../tests/support/named.rs"]
mod named;

use std::collections::BTreeMap;
use std::path::Path;

/// Statements in appendix B of each standard.
const STATEMENTS: [(&str, usize); 2] = [("MQTT 3.1.1", 141), ("MQTT 5.0", 251)];

/// The cells of each row: numbers of 3.1.1 and 5.0, what is asked for, what shows it.
fn rows(text: &str) -> Vec<[&str; 4]> {
    let rows = text.lines().filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    let rows = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    let rows = rows.map(|cells| cells.try_into().expect("four cells"));
    rows.filter(|cells: &[&str; 4]| cells[0] != "3.1.1" && !cells[0].starts_with('-')).collect()
}

#[test]
fn every_statement_is_there_once_and_names_a_test_that_exists_or_says_why_not() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("docs/conformance.md")).unwrap();
    let rows = rows(&text);
    for [old, new, asks, shown] in &rows {
        let is_numbered = !old.is_empty() || !new.is_empty();
        assert!(!asks.is_empty() && is_numbered, "{old} {new}: {asks}");
        let tests = named::tests_in(shown);
        assert!(!tests.is_empty() || shown.starts_with("— "), "{old} {new}: {shown}");
        tests.into_iter().for_each(|test| named::assert_exists(root, test));
    }
    for (column, (standard, count)) in STATEMENTS.into_iter().enumerate() {
        let numbers: Vec<&str> = rows.iter().map(|cells| cells[column]).collect();
        let numbers: Vec<&str> = numbers.into_iter().filter(|number| !number.is_empty()).collect();
        assert_eq!(numbers.len(), count, "{standard}");
        assert_no_gaps(standard, &numbers);
    }
}

/// Statements of a section count from 1 on; only [MQTT-2.2.1-1] of 5.0 does not exist.
fn assert_no_gaps(standard: &str, numbers: &[&str]) {
    let mut sections: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for number in numbers {
        let (section, place) = number.rsplit_once('-').unwrap();
        sections.entry(section).or_default().push(place.parse().unwrap());
    }
    for (section, mut places) in sections {
        places.sort_unstable();
        let first = if (standard, section) == ("MQTT 5.0", "2.2.1") { 2 } else { 1 };
        let expected: Vec<u32> = (first..).take(places.len()).collect();
        assert_eq!(places, expected, "{standard}, {section}");
    }
}
