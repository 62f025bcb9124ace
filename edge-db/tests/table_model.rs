//! What hangs on a table is what the table says: indexes, count and change log agree with a
//! `BTreeMap` over inserts, removals, updates, comparisons, ranges, settling and reopening.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use edge_db::{Db, Index, Key, Log, Table, WriteError};
use proptest::collection::vec;
use proptest::prelude::*;

const LONG: Duration = Duration::from_secs(60);

/// Badge (unique, if any) and room.
type Person = (Option<u8>, u8);

#[derive(Debug, Clone)]
enum Step {
    Insert(u8, Person),
    Remove(u8),
    Move(u8, u8),
    CompareAndSet(u8, Option<Person>, Option<Person>),
    RemoveRange(u8, u8),
    Clear,
}

#[derive(Debug, Clone)]
enum Action {
    Commit(Vec<Step>),
    Checkpoint,
    Reopen,
}

fn person() -> impl Strategy<Value = Person> {
    (proptest::option::of(0u8..6), 0u8..4)
}

fn action() -> impl Strategy<Value = Action> {
    let step = prop_oneof![
        8 => (0u8..12, person()).prop_map(|(key, person)| Step::Insert(key, person)),
        2 => (0u8..12).prop_map(Step::Remove),
        3 => (0u8..12, 0u8..4).prop_map(|(key, room)| Step::Move(key, room)),
        3 => (0u8..12, proptest::option::of(person()), proptest::option::of(person()))
            .prop_map(|(key, old, new)| Step::CompareAndSet(key, old, new)),
        1 => (0u8..12, 0u8..12).prop_map(|(from, to)| Step::RemoveRange(from, to)),
        1 => Just(Step::Clear),
    ];
    prop_oneof![
        8 => vec(step, 1..4).prop_map(Action::Commit),
        1 => Just(Action::Checkpoint),
        1 => Just(Action::Reopen),
    ]
}

/// The rows, or nothing if the batch must be refused.
fn apply(model: &BTreeMap<u8, Person>, steps: &[Step]) -> Option<BTreeMap<u8, Person>> {
    let mut rows = model.clone();
    for step in steps {
        match step {
            Step::Insert(key, person) => put(&mut rows, *key, *person)?,
            Step::Remove(key) => drop(rows.remove(key)),
            Step::Move(key, room) => {
                if let Some((badge, _)) = rows.get(key).copied() {
                    put(&mut rows, *key, (badge, *room))?;
                }
            }
            Step::CompareAndSet(key, old, new) => {
                if rows.get(key) != old.as_ref() {
                    return None;
                }
                match new {
                    Some(new) => put(&mut rows, *key, *new)?,
                    None => drop(rows.remove(key)),
                }
            }
            Step::RemoveRange(from, to) => rows.retain(|key, _| !(from..to).contains(&key)),
            Step::Clear => rows.clear(),
        }
    }
    Some(rows)
}

fn put(rows: &mut BTreeMap<u8, Person>, key: u8, person: Person) -> Option<()> {
    let is_taken = |(other, row): (&u8, &Person)| *other != key && row.0 == person.0;
    if person.0.is_some() && rows.iter().any(is_taken) {
        return None;
    }
    rows.insert(key, person);
    Some(())
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

    fn commit(&self, steps: &[Step]) -> Result<(), WriteError> {
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
        batch.commit().map(drop)
    }

    fn check(&self, model: &BTreeMap<u8, Person>) {
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
        assert_eq!(&self.replayed(), model, "the change log tells another story");
    }

    /// The table as its change log tells it.
    fn replayed(&self) -> BTreeMap<u8, Person> {
        let mut rows = BTreeMap::new();
        let mut position = self.changes.bounds().unwrap().start;
        loop {
            let records = self.changes.read(position, 100).unwrap();
            if records.is_empty() {
                return rows;
            }
            position = records.next();
            for record in records {
                let key = u8::decode(&mut record.key().as_ref()).unwrap();
                let change = record.headers().next().unwrap();
                assert_eq!(change.0, "change");
                if change.1 == b"put"[..] {
                    rows.insert(key, person_in(record.value()));
                } else {
                    assert_eq!(change.1, b"delete"[..]);
                    assert!(rows.remove(&key).is_some(), "deleted what was not there");
                }
            }
        }
    }
}

/// Of the two numbers behind codec and version: bincode writes an option as 0, or 1 and it.
fn person_in(stored: &[u8]) -> Person {
    match stored[2..] {
        [0, room] => (None, room),
        [1, badge, room] => (Some(badge), room),
        _ => panic!("{stored:?} is no person"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_hangs_on_a_table_agrees_with_it(actions in vec(action(), 1..40)) {
        let dir = tempfile::tempdir().unwrap();
        let mut people = People::open(dir.path());
        let mut model = BTreeMap::new();
        for action in &actions {
            match action {
                Action::Commit(steps) => {
                    let stored = people.commit(steps);
                    match apply(&model, steps) {
                        Some(rows) => {
                            prop_assert!(stored.is_ok(), "{:?}", stored);
                            model = rows;
                        }
                        None => {
                            let refused = matches!(
                                stored,
                                Err(WriteError::Conflict { .. } | WriteError::NotUnique { .. })
                            );
                            prop_assert!(refused, "{:?}", stored);
                        }
                    }
                }
                Action::Checkpoint => people.db.checkpoint().unwrap(),
                Action::Reopen => {
                    people.db.shutdown(LONG).unwrap();
                    people = People::open(dir.path());
                }
            }
            people.check(&model);
        }
    }
}
