//! What hangs on a table is what the table says: indexes, count and snapshots agree with a
//! `BTreeMap`, and the change log with a `Vec` of all that changed, over inserts, removals, updates,
//! comparisons, ranges, batches that are in the queue together, settling and reopening.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "table_model/model.rs"]
mod model;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use edge_db::{
    Batch, Change, ChangeKind, Db, Entry, Index, Key, Log, Seq, Snapshot, Table, WriteError,
};
use model::{Model, Person, Refusal, Step};
use proptest::collection::vec;
use proptest::prelude::*;

const LONG: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
enum Action {
    /// Batches that are in the queue together.
    Commit(Vec<Vec<Step>>),
    /// The same as a step of its name, alone.
    CompareAndSet(u8, Option<Person>, Option<Person>),
    Checkpoint,
    Reopen,
    Snapshot,
}

fn person() -> impl Strategy<Value = Person> {
    (proptest::option::of(0u8..6), 0u8..4)
}

/// What is expected of a row, and what it becomes.
fn comparison() -> impl Strategy<Value = (u8, Option<Person>, Option<Person>)> {
    let maybe = || proptest::option::of(person());
    (0u8..12, prop_oneof![1 => maybe(), 1 => Just(None)], maybe())
}

fn action() -> impl Strategy<Value = Action> {
    let step = prop_oneof![
        8 => (0u8..12, person()).prop_map(|(key, person)| Step::Insert(key, person)),
        2 => (0u8..12).prop_map(Step::Remove),
        3 => (0u8..12, 0u8..4).prop_map(|(key, room)| Step::Move(key, room)),
        2 => comparison().prop_map(|(key, old, new)| Step::CompareAndSet(key, old, new)),
        1 => (0u8..12, 0u8..12).prop_map(|(from, to)| Step::RemoveRange(from, to)),
        1 => Just(Step::Clear),
    ];
    prop_oneof![
        8 => vec(vec(step, 1..4), 1..5).prop_map(Action::Commit),
        3 => comparison().prop_map(|(key, old, new)| Action::CompareAndSet(key, old, new)),
        2 => Just(Action::Checkpoint),
        1 => Just(Action::Reopen),
        1 => Just(Action::Snapshot),
    ]
}

fn refusal<T>(told: Result<T, WriteError>) -> Result<T, Refusal> {
    told.map_err(|error| match error {
        WriteError::Conflict { .. } => Refusal::Conflict,
        WriteError::NotUnique { .. } => Refusal::NotUnique,
        error => panic!("{error}"),
    })
}

struct People {
    db: Db,
    table: Table<u8, Person>,
    by_badge: Index<u8, u8, Person>,
    by_room: Index<u8, u8, Person>,
    changes: Log,
}

impl People {
    fn open(dir: &std::path::Path) -> People {
        let db = Db::builder().memory_bytes(0).journal_bytes(0).open(dir).unwrap();
        let table = db.table::<u8, Person>("people").unwrap();
        let changes = db.log("changes").unwrap();
        table.capture_into(&changes).unwrap();
        table.keep_count().unwrap();
        let by_badge = table.unique_index("badge", |(badge, _): &Person| *badge).unwrap();
        let by_room = table.index("room", |(_, room): &Person| Some(*room)).unwrap();
        People { db, table, by_badge, by_room, changes }
    }

    fn batch(&self, steps: &[Step]) -> Batch {
        let mut batch = self.db.batch();
        for step in steps {
            match step.clone() {
                Step::Insert(key, person) => batch.insert(&self.table, &key, &person).unwrap(),
                Step::Remove(key) => batch.remove(&self.table, &key),
                Step::Move(key, room) => {
                    batch.update(&self.table, &key, move |old| old.map(|(badge, _)| (badge, room)))
                }
                Step::CompareAndSet(key, old, new) => {
                    batch.expect(&self.table, &key, old.as_ref()).unwrap();
                    match new {
                        Some(new) => batch.insert(&self.table, &key, &new).unwrap(),
                        None => batch.remove(&self.table, &key),
                    }
                }
                Step::RemoveRange(from, to) => batch.remove_range(&self.table, from..to),
                Step::Clear => batch.clear_table(&self.table),
            }
        }
        batch
    }

    fn check(&self, Model { rows: model, changes }: &Model) {
        let rows: BTreeMap<_, _> = self.table.iter().unwrap().map(Result::unwrap).collect();
        assert_eq!(&rows, model);
        assert_eq!(self.table.count().unwrap(), model.len() as u64);
        assert_eq!(self.table.first().unwrap(), model.iter().next().map(|(k, v)| (*k, *v)));
        assert_eq!(self.table.last().unwrap(), model.iter().next_back().map(|(k, v)| (*k, *v)));
        for badge in 0..6 {
            let found: Vec<_> =
                self.by_badge.get(&badge).unwrap().map(|row| row.unwrap().0).collect();
            let expected = model.iter().filter(|(_, row)| row.0 == Some(badge));
            assert_eq!(found, expected.map(|(key, _)| *key).collect::<Vec<_>>(), "badge {badge}");
        }
        for (from, to) in [(0, 4), (1, 2), (2, 4)] {
            let found = self.by_room.range(from..to).unwrap().map(|row| row.unwrap().0);
            let mut expected: Vec<_> =
                model.iter().filter(|(_, row)| (from..to).contains(&row.1)).collect();
            expected.sort_by_key(|(key, row)| (row.1, **key));
            assert_eq!(
                found.collect::<Vec<_>>(),
                expected.iter().map(|(key, _)| **key).collect::<Vec<_>>()
            );
            let bounds = (Bound::Excluded(from), Bound::Included(to));
            let backwards = self.by_room.range(bounds).unwrap().rev().count();
            let rooms = model.values().filter(|row| row.1 > from && row.1 <= to);
            assert_eq!(backwards, rooms.count());
        }
        assert_eq!(&self.changes(), changes, "the change log tells another story");
    }

    fn check_snapshot(&self, snapshot: &Snapshot, Model { rows, changes }: &Model) {
        let found: BTreeMap<_, _> =
            snapshot.iter(&self.table).unwrap().map(Result::unwrap).collect();
        assert_eq!(&found, rows);
        assert_eq!(snapshot.bounds(&self.changes).unwrap().end.get(), changes.len() as u64);
    }

    /// What the change log tells.
    fn changes(&self) -> Vec<(u8, ChangeKind, Person)> {
        let mut changes = Vec::new();
        let mut position = self.changes.bounds().unwrap().start;
        loop {
            let records = self.changes.read(position, 100).unwrap();
            if records.is_empty() {
                return changes;
            }
            position = records.next();
            for record in records {
                let Change { kind, key, value, .. } = self.table.change_of(record.view()).unwrap();
                let word = if kind == ChangeKind::Delete { "delete" } else { "put" };
                assert_eq!(record.header("change").unwrap(), word);
                assert_eq!(u8::decode(&mut record.key().as_ref()), Some(key));
                changes.push((key, kind, value.unwrap()));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_hangs_on_a_table_agrees_with_it(actions in vec(action(), 1..40)) {
        let dir = tempfile::tempdir().unwrap();
        let mut people = People::open(dir.path());
        let mut model = Model::default();
        let mut snapshots = Vec::new();
        for action in actions {
            match action {
                Action::Commit(batches) => {
                    let batches = batches.iter().map(|steps| (steps, people.batch(steps)));
                    let flying: Vec<_> =
                        batches.map(|(steps, batch)| (steps, batch.commit_async())).collect();
                    for (steps, commit) in flying {
                        prop_assert_eq!(refusal(commit.wait()).map(drop), model.commit(steps));
                    }
                }
                Action::CompareAndSet(key, old, new) => {
                    let told = people.table.compare_and_set(&key, old.as_ref(), new.as_ref());
                    let should = match model.commit(&[Step::CompareAndSet(key, old, new)]) {
                        Err(Refusal::Conflict) => Ok(false),
                        other => other.map(|()| true),
                    };
                    prop_assert_eq!(refusal(told), should);
                }
                Action::Checkpoint => people.db.checkpoint().unwrap(),
                Action::Reopen => {
                    snapshots.clear();
                    people.db.shutdown(LONG).unwrap();
                    people = People::open(dir.path());
                }
                Action::Snapshot => snapshots.push((people.db.snapshot().unwrap(), model.clone())),
            }
            people.check(&model);
            for (snapshot, model) in &snapshots {
                people.check_snapshot(snapshot, model);
            }
        }
    }
}

#[test]
fn capture_that_has_ended_writes_nothing_over_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let put = |db: &Db, number| {
        let (table, changes) = (db.table::<u8, u8>("t").unwrap(), db.log("changes").unwrap());
        let mut batch = db.batch();
        batch.insert(&table, &0, &number).unwrap();
        batch.commit().unwrap();
        (changes.bounds().unwrap().end.get(), table, changes)
    };
    let db = Db::open(dir.path()).unwrap();
    db.table::<u8, u8>("t").unwrap().capture_into(&db.log("changes").unwrap()).unwrap();
    let (end, table, changes) = put(&db, 1);
    assert_eq!(end, 1);
    table.end_capture().unwrap();
    table.end_capture().unwrap();
    assert_eq!(put(&db, 2).0, 1);
    db.shutdown(LONG).unwrap();
    drop((table, changes, db));
    let db = Db::open(dir.path()).unwrap();
    assert_eq!(put(&db, 3).0, 1);
    let (_, table, changes) = put(&db, 4);
    table.capture_into(&changes).unwrap();
    assert_eq!(put(&db, 5).0, 2);
    let records = changes.read(Seq::ZERO, 9).unwrap();
    let kinds = records.iter().map(|record| table.change_of(record).unwrap().kind);
    assert_eq!(kinds.collect::<Vec<_>>(), [ChangeKind::Insert, ChangeKind::Update]);
    changes.append(Entry::new("what others wrote")).unwrap();
    let other = changes.read_back(changes.bounds().unwrap().end, 1).unwrap();
    assert!(table.change_of(other.iter().next().unwrap()).is_err());
}
