//! Batches over a table, a log and cursors do what plain collections would, whatever the order,
//! over reopening, trimming and refused batches. The model is a `BTreeMap` and a `Vec`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::time::Duration;

use edge_db::{Db, Entry, Log, Seq, WriteError};
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Insert(u8, u32),
    Remove(u8),
    Append(Vec<u8>),
    Advance(u8),
    Trim(u8),
}

#[derive(Debug, Clone)]
enum Action {
    Commit(Vec<Step>),
    Reopen,
    ReadFrom(u8, usize),
}

fn action() -> impl Strategy<Value = Action> {
    let step = prop_oneof![
        3 => (any::<u8>(), any::<u32>()).prop_map(|(k, v)| Step::Insert(k % 16, v)),
        1 => any::<u8>().prop_map(|k| Step::Remove(k % 16)),
        4 => vec(any::<u8>(), 0..20).prop_map(Step::Append),
        1 => any::<u8>().prop_map(Step::Advance),
        1 => any::<u8>().prop_map(Step::Trim),
    ];
    prop_oneof![
        6 => vec(step, 1..8).prop_map(Action::Commit),
        1 => Just(Action::Reopen),
        2 => (any::<u8>(), 0usize..30).prop_map(|(from, most)| Action::ReadFrom(from, most)),
    ]
}

#[derive(Debug, Default, Clone)]
struct Model {
    table: BTreeMap<u8, u32>,
    log: Vec<Vec<u8>>,
    cursor: u64,
}

impl Model {
    /// Applies the steps; `false`, and nothing, if the store has to refuse them.
    fn commit(&mut self, steps: &[Step]) -> bool {
        let mut next = self.clone();
        let appended = steps.iter().filter(|step| matches!(step, Step::Append(_))).count();
        let end = (self.log.len() + appended) as u64;
        for step in steps {
            match step {
                Step::Insert(key, value) => drop(next.table.insert(*key, *value)),
                Step::Remove(key) => drop(next.table.remove(key)),
                Step::Append(value) => next.log.push(value.clone()),
                Step::Advance(to) if u64::from(*to) > end => return false,
                Step::Advance(to) => next.cursor = u64::from(*to),
                Step::Trim(_) => {}
            }
        }
        *self = next;
        true
    }
}

fn commit(db: &Db, steps: &[Step]) -> Result<(), WriteError> {
    let table = db.table::<u8, u32>("table").unwrap();
    let log = db.log("log").unwrap();
    let cursor = log.cursor("reader").unwrap();
    let mut batch = db.batch();
    for step in steps {
        match step {
            Step::Insert(key, value) => batch.insert(&table, key, value).unwrap(),
            Step::Remove(key) => batch.remove(&table, key),
            Step::Append(value) => batch.append(&log, Entry::new(value.clone())),
            Step::Advance(to) => batch.advance(&cursor, Seq::new(u64::from(*to))),
            Step::Trim(before) => batch.trim(&log, Seq::new(u64::from(*before))),
        }
    }
    batch.commit().map(drop)
}

fn check(db: &Db, model: &Model) {
    let table = db.table::<u8, u32>("table").unwrap();
    let rows: Vec<_> = table.iter().unwrap().map(Result::unwrap).collect();
    assert_eq!(rows, model.table.clone().into_iter().collect::<Vec<_>>());
    let log = db.log("log").unwrap();
    assert_eq!(log.bounds().unwrap().end.get(), model.log.len() as u64);
    assert_eq!(log.cursor("reader").unwrap().position().unwrap().get(), model.cursor);
    let first = log.bounds().unwrap().start;
    check_read(&log, model, first, usize::MAX);
}

/// Reads until `most` records are there or the log ends, and compares with the model.
fn check_read(log: &Log, model: &Model, from: Seq, most: usize) {
    let mut position = from;
    let mut read = 0;
    while read < most {
        let records = log.read(position, most - read).unwrap();
        if let Some(missing) = records.missing() {
            assert_eq!(missing, position..log.bounds().unwrap().start);
            position = missing.end;
        }
        if records.is_empty() {
            assert!(position.get() >= model.log.len() as u64, "read stopped before the end");
            return;
        }
        for record in &records {
            assert_eq!(record.seq(), position);
            assert_eq!(record.value(), &model.log[usize::try_from(position.get()).unwrap()]);
            position = position.next();
            read += 1;
        }
        assert_eq!(records.next(), position);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn database_behaves_as_the_model(actions in vec(action(), 1..25)) {
        let dir = tempfile::tempdir().unwrap();
        let mut db = Db::open(dir.path()).unwrap();
        let mut model = Model::default();
        for action in &actions {
            match action {
                Action::Commit(steps) => {
                    let stored = commit(&db, steps);
                    prop_assert_eq!(stored.is_ok(), model.commit(steps), "{:?}", stored);
                }
                Action::Reopen => {
                    db.shutdown(Duration::from_secs(60)).unwrap();
                    db = Db::open(dir.path()).unwrap();
                }
                Action::ReadFrom(from, most) => {
                    let log = db.log("log").unwrap();
                    check_read(&log, &model, Seq::new(u64::from(*from)), *most);
                }
            }
        }
        check(&db, &model);
    }
}
