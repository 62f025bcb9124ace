//! `Keyspace::visit` shows what iterating gives, whatever was erased and whatever has settled.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ops::ControlFlow;

use edge_db::{Db, Keyspace};
use proptest::prelude::*;

type Shown = Vec<(Vec<u8>, Vec<u8>)>;

fn visited(cells: &Keyspace, from: u8, to: u8) -> Shown {
    let mut shown = Vec::new();
    let visit = |key: &[u8], value: &[u8]| {
        shown.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    };
    cells.visit([from]..[to], visit).unwrap();
    shown
}

fn iterated(cells: &Keyspace, from: u8, to: u8) -> Shown {
    let entries = cells.range([from]..[to]).unwrap().map(Result::unwrap);
    entries.map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
}

#[test]
fn what_was_put_after_everything_was_erased_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let cells = db.keyspace("cells").unwrap();
    let put = |keys: std::ops::Range<u8>| {
        let mut batch = db.batch();
        keys.for_each(|key| batch.put(&cells, [key], [key]));
        batch.commit().unwrap();
    };
    put(0..50);
    db.checkpoint().unwrap();
    let mut batch = db.batch();
    batch.clear(&cells);
    batch.commit().unwrap();
    put(40..60);
    assert_eq!(visited(&cells, 0, 100), iterated(&cells, 0, 100));
    assert_eq!(visited(&cells, 0, 100).len(), 20);
}

#[derive(Debug, Clone)]
enum Step {
    Put(u8, u8),
    Delete(u8),
    Clear,
    Settle,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (0..40u8, any::<u8>()).prop_map(|(key, count)| Step::Put(key, count % 30)),
        4 => (0..70u8).prop_map(Step::Delete),
        1 => Just(Step::Clear),
        2 => Just(Step::Settle),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn visit_shows_what_iterating_gives(steps in proptest::collection::vec(step(), 1..25)) {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path()).unwrap();
        let cells = db.keyspace("cells").unwrap();
        for (round, step) in (0u8..).zip(steps) {
            let mut batch = db.batch();
            match step {
                Step::Put(first, count) => {
                    (first..first + count).for_each(|key| batch.put(&cells, [key], [round]));
                }
                Step::Delete(key) => batch.delete(&cells, [key]),
                Step::Clear => batch.clear(&cells),
                Step::Settle => db.checkpoint().unwrap(),
            }
            batch.commit().unwrap();
            for (from, to) in [(0, 100), (13, 41), (30, 31), (41, 13)] {
                prop_assert_eq!(visited(&cells, from, to), iterated(&cells, from, to));
            }
        }
    }
}
