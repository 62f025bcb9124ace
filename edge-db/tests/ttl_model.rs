//! Rows that have expired are never returned, by no handle, read, index, snapshot, update,
//! condition or transaction, over settling and reopening; they leave the file when the table
//! settles, and nothing else does. No test waits for a clock: rows have expired when they come, or
//! outlive every test. What becomes of rows that grow old is in `tests/expiry.rs`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "ttl_model/model.rs"]
mod model;
#[path = "ttl_model/site.rs"]
mod site;

use std::error::Error;
use std::ops::Range;
use std::time::Duration;

use edge_db::WriteError;
use model::{Key, Life, Model, Refusal, Row, Step};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use site::{Site, check_snapshot};

#[derive(Debug, Clone)]
enum Action {
    /// Batches that are in the queue together.
    Commit(Vec<Vec<Step>>),
    /// Reads a row and a range, and puts a row.
    Transact(Key, Range<Key>, Life, Key),
    Settle,
    Reopen,
    Snapshot,
}

fn key() -> impl Strategy<Value = Key> {
    (0u8..3, 0u8..4)
}

fn range() -> impl Strategy<Value = Range<Key>> {
    (key(), key()).prop_map(|(from, to)| from..to)
}

fn row() -> impl Strategy<Value = Row> {
    (of(0u8..6), 0u8..4)
}

fn life() -> impl Strategy<Value = Life> {
    prop_oneof![Just(Life::None), Just(Life::Longest), Just(Life::Forever)]
}

fn moves(life: impl Strategy<Value = Life>) -> impl Strategy<Value = Step> {
    let moves = (life, key(), 0u8..4, any::<bool>());
    moves.prop_map(|(life, key, room, or_insert)| Step::Move { life, key, room, or_insert })
}

fn batch() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (life(), key(), row()).prop_map(|(life, key, row)| Step::Insert(life, key, row)),
        2 => key().prop_map(Step::Remove),
        1 => range().prop_map(Step::RemoveRange),
        1 => Just(Step::Clear),
        3 => moves(prop_oneof![Just(Life::Longest), Just(Life::Forever)]),
        3 => (key(), prop_oneof![3 => Just(None), 1 => row().prop_map(Some)])
            .prop_map(|(key, row)| Step::Expect(key, row)),
    ];
    // An update reads the clock after its batch did: for that the row is there yet.
    let last = of(moves(Just(Life::None)));
    (vec(step, 1..4), last).prop_map(|(steps, last)| steps.into_iter().chain(last).collect())
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        8 => vec(batch(), 1..4).prop_map(Action::Commit),
        2 => (key(), range(), life(), key())
            .prop_map(|(key, range, life, to)| Action::Transact(key, range, life, to)),
        1 => Just(Action::Settle),
        1 => Just(Action::Reopen),
        1 => Just(Action::Snapshot),
    ]
}

fn commit(site: &Site, model: &mut Model, batches: &[Vec<Step>]) {
    let flying: Vec<_> = batches.iter().map(|steps| site.batch(steps).commit_async()).collect();
    for (steps, commit) in batches.iter().zip(flying) {
        let told = match commit.wait() {
            Ok(_) => Ok(()),
            Err(WriteError::Conflict { .. }) => Err(Refusal::Conflict),
            Err(WriteError::NotUnique { .. }) => Err(Refusal::NotUnique),
            Err(error) => panic!("{error}"),
        };
        let next = model.after(steps);
        assert_eq!(told.as_ref().err(), next.as_ref().err(), "{steps:?}");
        *model = next.unwrap_or_else(|_| std::mem::take(model));
    }
}

fn transact(site: &Site, model: &mut Model, key: Key, range: Range<Key>, life: Life, to: Key) {
    let table = site.table(life);
    let mut attempts = 0;
    let done: Result<_, Box<dyn Error>> = site.db.transact(|tx| {
        attempts += 1;
        let row = tx.get(table, &key)?;
        let found = tx.range(table, range.clone())?.collect::<Result<Vec<_>, _>>()?;
        tx.insert(table, &to, &(None, 1))?;
        let own = tx.get(table, &to)?;
        Ok((row, found, own.is_some()))
    });
    let (row, found, has_own) = done.unwrap();
    assert_eq!(attempts, 1, "a conflict with nobody");
    assert_eq!(row, model.rows.get(&key).copied());
    let expected = model.rows.iter().filter(|(key, _)| range.contains(key));
    assert!(found.iter().map(|(key, row)| (key, row)).eq(expected), "{range:?} is {found:?}");
    assert_eq!(has_own, life != Life::None);
    *model = model.after(&[Step::Insert(life, to, (None, 1))]).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_has_expired_is_never_returned(actions in vec(action(), 1..30)) {
        let dir = tempfile::tempdir().unwrap();
        let mut site = Site::open(dir.path());
        let mut model = Model::default();
        let mut snapshots = Vec::new();
        for action in actions {
            match action {
                Action::Commit(batches) => commit(&site, &mut model, &batches),
                Action::Transact(key, range, life, to) => {
                    transact(&site, &mut model, key, range, life, to);
                }
                Action::Settle => {
                    site.settle();
                    model.expired.clear();
                }
                Action::Reopen => {
                    snapshots.clear();
                    site.db.shutdown(Duration::from_secs(60)).unwrap();
                    site = Site::open(dir.path());
                }
                Action::Snapshot => {
                    snapshots.push((site.db.snapshot().unwrap(), model.rows.clone()));
                }
            }
            site.check(&model);
            for (snapshot, rows) in &snapshots {
                check_snapshot(snapshot, site.table(Life::None), rows);
            }
        }
    }
}
