//! Batches over a table, a log and cursors do what plain collections would, whatever the order,
//! over settling, reopening, trimming and refused batches; snapshots that stay open go on showing
//! what they showed. The model is a `BTreeMap` and a `Vec`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::time::Duration;

use edge_db::{Db, Entry, Log, Seq, Snapshot, WriteError};
use proptest::collection::vec;
use proptest::prelude::*;

const LONG: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
enum Step {
    Insert(u8, u32),
    Remove(u8),
    Append(Vec<u8>),
    Advance(u8),
    Trim(u8),
    RemoveRange(u8, u8),
    Add(u8, u32),
    Clear,
}

#[derive(Debug, Clone)]
enum Action {
    /// With or without a time within which it may be visible and not durable.
    Commit(Vec<Step>, bool),
    Checkpoint,
    Reopen,
    Snapshot,
    ReadFrom(u8, usize),
    ReadRange(u8, u8),
}

fn action() -> impl Strategy<Value = Action> {
    let step = prop_oneof![
        3 => (any::<u8>(), any::<u32>()).prop_map(|(k, v)| Step::Insert(k % 16, v)),
        1 => any::<u8>().prop_map(|k| Step::Remove(k % 16)),
        4 => vec(any::<u8>(), 0..20).prop_map(Step::Append),
        1 => any::<u8>().prop_map(Step::Advance),
        1 => any::<u8>().prop_map(Step::Trim),
        1 => (0u8..16, 0u8..16).prop_map(|(from, to)| Step::RemoveRange(from, to)),
        1 => (0u8..16, any::<u32>()).prop_map(|(key, more)| Step::Add(key, more)),
        1 => Just(Step::Clear),
    ];
    prop_oneof![
        6 => (vec(step, 1..8), any::<bool>())
            .prop_map(|(steps, may_wait)| Action::Commit(steps, may_wait)),
        2 => Just(Action::Checkpoint),
        1 => Just(Action::Reopen),
        1 => Just(Action::Snapshot),
        2 => (0u8..16, 0u8..16).prop_map(|(from, to)| Action::ReadRange(from, to)),
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
                Step::RemoveRange(from, to) => {
                    next.table.retain(|key, _| !(from..to).contains(&key));
                }
                Step::Add(key, more) => {
                    let value = next.table.entry(*key).or_default();
                    *value = value.wrapping_add(*more);
                }
                Step::Clear => next.table.clear(),
            }
        }
        *self = next;
        true
    }
}

fn commit(db: &Db, steps: &[Step], may_wait: bool) -> Result<(), WriteError> {
    let table = db.table::<u8, u32>("table").unwrap();
    let log = db.log("log").unwrap();
    let cursor = log.cursor("reader").unwrap();
    let mut batch = if may_wait { db.batch().within(LONG) } else { db.batch() };
    for step in steps.iter().cloned() {
        match step {
            Step::Insert(key, value) => batch.insert(&table, &key, &value).unwrap(),
            Step::Remove(key) => batch.remove(&table, &key),
            Step::Append(value) => batch.append(&log, Entry::new(value)),
            Step::Advance(to) => batch.advance(&cursor, Seq::new(u64::from(to))),
            Step::Trim(before) => batch.trim(&log, Seq::new(u64::from(before))),
            Step::RemoveRange(from, to) => batch.remove_range(&table, from..to),
            Step::Add(key, more) => batch.update(&table, &key, move |old: Option<u32>| {
                Some(old.unwrap_or(0).wrapping_add(more))
            }),
            Step::Clear => batch.clear_table(&table),
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

/// A range of the table from both ends at once, taking turns as `from` says.
fn check_range(db: &Db, model: &Model, from: u8, to: u8) {
    let table = db.table::<u8, u32>("table").unwrap();
    let (low, high) = (from.min(to), from.max(to));
    let mut rows = table.range(low..high).unwrap();
    let (mut front, mut back) = (Vec::new(), Vec::new());
    for turn in 0usize.. {
        let at_front = (turn * usize::from(from | 1)).is_multiple_of(3);
        let row = if at_front { rows.next() } else { rows.next_back() };
        let Some(row) = row else { break };
        (if at_front { &mut front } else { &mut back }).push(row.unwrap());
    }
    front.extend(back.into_iter().rev());
    let expected: Vec<_> =
        model.table.range(low..high).map(|(key, value)| (*key, *value)).collect();
    assert_eq!(front, expected);
    for key in low..high {
        assert_eq!(table.get(&key).unwrap().as_ref(), model.table.get(&key));
    }
}

fn check_snapshot(db: &Db, snapshot: &Snapshot, model: &Model) {
    let table = db.table::<u8, u32>("table").unwrap();
    let rows: Vec<_> = snapshot.iter(&table).unwrap().map(Result::unwrap).collect();
    assert_eq!(rows, model.table.clone().into_iter().collect::<Vec<_>>());
    let log = db.log("log").unwrap();
    let bounds = snapshot.bounds(&log).unwrap();
    assert_eq!(bounds.end.get(), model.log.len() as u64);
    let records = snapshot.read(&log, bounds.start, usize::MAX).unwrap();
    let values: Vec<_> = records.iter().map(|record| record.value().to_vec()).collect();
    let first = usize::try_from(bounds.start.get()).unwrap();
    assert_eq!(values, model.log[first..]);
    assert_eq!(snapshot.position(&log.cursor("reader").unwrap()).unwrap().get(), model.cursor);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn database_behaves_as_the_model(actions in vec(action(), 1..40)) {
        let dir = tempfile::tempdir().unwrap();
        // Small enough that it settles without being asked to.
        let builder = || Db::builder().memory_bytes(0).journal_bytes(0);
        let mut db = builder().open(dir.path()).unwrap();
        let mut model = Model::default();
        // The log and its cursor are there before the first snapshot.
        commit(&db, &[], false).unwrap();
        let mut snapshots = Vec::new();
        for action in &actions {
            match action {
                Action::Commit(steps, may_wait) => {
                    let stored = commit(&db, steps, *may_wait);
                    prop_assert_eq!(stored.is_ok(), model.commit(steps), "{:?}", stored);
                }
                Action::Checkpoint => db.checkpoint().unwrap(),
                Action::Reopen => {
                    snapshots.clear();
                    db.shutdown(LONG).unwrap();
                    db = builder().open(dir.path()).unwrap();
                }
                Action::Snapshot => snapshots.push((db.snapshot().unwrap(), model.clone())),
                Action::ReadFrom(from, most) => {
                    let log = db.log("log").unwrap();
                    check_read(&log, &model, Seq::new(u64::from(*from)), *most);
                }
                Action::ReadRange(from, to) => check_range(&db, &model, *from, *to),
            }
            for (snapshot, model) in &snapshots {
                check_snapshot(&db, snapshot, model);
            }
        }
        check(&db, &model);
    }
}
