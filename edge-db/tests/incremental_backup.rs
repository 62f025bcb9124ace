//! A full backup and the increments behind it give any commit back as it was, beside writers, over
//! settling and reopening; an increment that is damaged, missing or not of this database is an
//! error. The model is what the database held after each commit.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use edge_db::{
    BackupError, BackupSummary, Db, DbBuilder, Entry, OpenError, Receipt, Restore, RestoreError,
    Revision, Seq,
};
use proptest::collection::vec;
use proptest::prelude::*;

const LONG: Duration = Duration::from_secs(60);

/// All that a database holds, at one commit.
#[derive(Debug, Default, Clone, PartialEq)]
struct State {
    rows: BTreeMap<u8, u32>,
    /// From the first record that the log has.
    records: BTreeMap<u64, Vec<u8>>,
    end: u64,
    cursor: u64,
}

#[derive(Debug, Clone)]
enum Step {
    Insert(u8, u32),
    RemoveRange(u8, u8),
    Clear,
    Append(Vec<u8>),
    Advance,
    Trim(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u8..32, any::<u32>()).prop_map(|(key, value)| Step::Insert(key, value)),
        1 => (0u8..32, 0u8..32).prop_map(|(a, b)| Step::RemoveRange(a.min(b), a.max(b))),
        1 => Just(Step::Clear),
        4 => vec(any::<u8>(), 0..200).prop_map(Step::Append),
        1 => Just(Step::Advance),
        1 => (0u8..60).prop_map(Step::Trim),
    ]
}

fn commit(db: &Db, steps: &[Step]) -> Receipt {
    let table = db.table::<u8, u32>("rows").unwrap();
    let log = db.log("log").unwrap();
    let cursor = log.cursor("reader").unwrap();
    let mut batch = db.batch();
    for step in steps {
        match step {
            Step::Insert(key, value) => batch.insert(&table, key, value).unwrap(),
            Step::RemoveRange(from, to) => batch.remove_range(&table, *from..*to),
            Step::Clear => batch.clear_table(&table),
            Step::Append(value) => batch.append(&log, Entry::new(value.clone())),
            Step::Advance => batch.advance(&cursor, log.bounds().unwrap().end),
            Step::Trim(before) => batch.trim(&log, Seq::new(u64::from(*before))),
        }
    }
    batch.commit().unwrap()
}

/// What the database holds, by what it was before and what was done; but for the front of the log,
/// which goes by whole chunks.
fn apply(state: &mut State, steps: &[Step], first: Seq) {
    let before = state.end;
    for step in steps {
        match step {
            Step::Insert(key, value) => drop(state.rows.insert(*key, *value)),
            Step::RemoveRange(from, to) => state.rows.retain(|key, _| !(from..to).contains(&key)),
            Step::Clear => state.rows.clear(),
            Step::Append(value) => {
                state.records.insert(state.end, value.clone());
                state.end += 1;
            }
            Step::Advance => state.cursor = before,
            Step::Trim(_) => {}
        }
    }
    state.records.retain(|position, _| *position >= first.get());
}

fn read(db: &Db) -> State {
    let log = db.log("log").unwrap();
    let bounds = log.bounds().unwrap();
    let records = log.read(bounds.start, usize::MAX).unwrap();
    let records = records.iter().map(|record| (record.seq().get(), record.value().to_vec()));
    State {
        rows: db.table("rows").unwrap().iter().unwrap().map(Result::unwrap).collect(),
        records: records.collect(),
        end: bounds.end.get(),
        cursor: log.cursor("reader").unwrap().position().unwrap().get(),
    }
}

/// A full backup, and what follows.
#[derive(Debug, Default, Clone)]
struct Chain {
    full: Vec<u8>,
    increments: Vec<Vec<u8>>,
    at: Revision,
}

impl Chain {
    fn begin(db: &Db) -> Chain {
        let mut full = Vec::new();
        let at = db.backup(&mut full).unwrap().revision;
        Chain { full, increments: Vec::new(), at }
    }

    fn go_on(&mut self, db: &Db) -> Result<(), BackupError> {
        let mut increment = Vec::new();
        self.at = db.backup_since(self.at, &mut increment)?.revision;
        self.increments.push(increment);
        Ok(())
    }

    fn restore(&self, dir: &Path, up_to: Option<Revision>) -> Result<BackupSummary, RestoreError> {
        let restore = Restore::new(dir);
        let restore = up_to.into_iter().fold(restore, Restore::up_to);
        restore.run(&self.full[..], self.increments.iter().map(|bytes| Ok(&bytes[..])))
    }

    /// What is restored of it.
    fn restored(&self, up_to: Option<Revision>) -> Result<State, RestoreError> {
        let dir = tempfile::tempdir().unwrap();
        let summary = self.restore(dir.path(), up_to)?;
        assert!(up_to.is_none_or(|up_to| summary.revision == up_to));
        let db = Db::open(dir.path()).unwrap();
        assert_eq!(db.revision(), summary.revision);
        let state = read(&db);
        // And it is a database to go on with.
        assert_eq!(commit(&db, &[Step::Append(vec![1])]).revision(), summary.revision.next());
        db.shutdown(LONG).unwrap();
        Ok(state)
    }
}

/// So small that everything settles, and segments are used again, all the time.
fn builder(keep: u64) -> DbBuilder {
    Db::builder().memory_bytes(0).journal_bytes(0).keep_journal_bytes(keep)
}

#[derive(Debug, Clone)]
enum Action {
    Commit(Vec<Step>),
    Checkpoint,
    Reopen,
    Full,
    Increment,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        8 => vec(step(), 1..8).prop_map(Action::Commit),
        1 => Just(Action::Checkpoint),
        1 => Just(Action::Reopen),
        1 => Just(Action::Full),
        3 => Just(Action::Increment),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_commit_comes_back_as_it_was(
        actions in vec(action(), 1..80),
        keeps in any::<bool>(),
        wanted in vec(any::<prop::sample::Index>(), 2..4),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let keep = if keeps { u64::MAX } else { 0 };
        let mut db = builder(keep).open(dir.path()).unwrap();
        commit(&db, &[]);
        let mut states = BTreeMap::from([(db.revision(), State::default())]);
        let mut chain = Chain::begin(&db);
        let mut from = chain.at;
        for action in &actions {
            match action {
                Action::Commit(steps) => {
                    let revision = commit(&db, steps).revision();
                    let mut state = states.last_key_value().unwrap().1.clone();
                    apply(&mut state, steps, db.log("log").unwrap().bounds().unwrap().start);
                    states.insert(revision, state);
                }
                Action::Checkpoint => db.checkpoint().unwrap(),
                Action::Reopen => {
                    db.shutdown(LONG).unwrap();
                    db = builder(keep).open(dir.path()).unwrap();
                }
                Action::Full => {
                    chain = Chain::begin(&db);
                    from = chain.at;
                }
                Action::Increment => match chain.go_on(&db) {
                    Err(BackupError::Gap { since, oldest }) if !keeps => {
                        prop_assert!(since == chain.at && oldest > since.next());
                        chain = Chain::begin(&db);
                        from = chain.at;
                    }
                    done => done.unwrap(),
                },
            }
        }
        prop_assert!(db.stats().journal_bytes <= db.stats().used_bytes);
        prop_assert_eq!(&read(&db), states.last_key_value().unwrap().1);
        let all = chain.restored(None).unwrap();
        prop_assert_eq!(&all, states.range(..=chain.at).next_back().unwrap().1);
        for wanted in wanted {
            let span = usize::try_from(chain.at.get() - from.get()).unwrap() + 1;
            let up_to = Revision::new(from.get() + wanted.index(span) as u64);
            let state = chain.restored(Some(up_to)).unwrap();
            prop_assert_eq!(&state, states.range(..=up_to).next_back().unwrap().1);
        }
    }
}

/// A chain with three increments of some commits each, and what the database held in the end.
fn sample() -> (Chain, State, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let db = builder(1 << 20).open(dir.path()).unwrap();
    let mut number = 0;
    let mut write = || {
        (0..5).for_each(|_| {
            number += 1;
            let row = Step::Insert(u8::try_from(number % 7).unwrap(), number);
            commit(&db, &[row, Step::Append(vec![3; 90])]);
        });
    };
    write();
    let mut chain = Chain::begin(&db);
    for _ in 0..3 {
        write();
        chain.go_on(&db).unwrap();
    }
    let state = read(&db);
    db.shutdown(LONG).unwrap();
    (chain, state, dir)
}

#[test]
fn increments_altered_cut_or_of_something_else_are_errors() {
    let (chain, state, _dir) = sample();
    assert_eq!(chain.restored(None).unwrap(), state);
    let whole = chain.increments[1].clone();
    let flipped = (0..whole.len()).step_by(41).map(|at| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x04;
        bytes
    });
    let cut = (0..whole.len()).step_by(67).map(|len| whole[..len].to_vec());
    let front = |bytes: &[u8], len: usize| bytes[..len].to_vec();
    let others = [
        chain.full.clone(),
        // Its commits stand where those of another one are expected.
        [front(&chain.increments[0], 20), whole[20..].to_vec()].concat(),
        [front(&whole, 100), chain.increments[2][100..].to_vec()].concat(),
    ];
    for (round, bytes) in flipped.chain(cut).chain(others).enumerate() {
        let mut damaged = chain.clone();
        damaged.increments[1] = bytes;
        let dir = tempfile::tempdir().unwrap();
        let restored = damaged.restore(dir.path(), None);
        assert!(
            matches!(restored, Err(RestoreError::Increment { number: 1, .. })),
            "round {round}: {restored:?}"
        );
        assert!(matches!(Db::open(dir.path()), Err(OpenError::Damaged { .. })));
    }
    let mut damaged = chain.clone();
    damaged.full = chain.increments[0].clone();
    assert!(matches!(damaged.restored(None), Err(RestoreError::Format)));
}

#[test]
fn increments_missing_or_swapped_are_errors_and_doubled_ones_do_no_harm() {
    let (chain, state, _dir) = sample();
    let orders: [&[usize]; 13] = [
        &[0, 2],
        &[1, 2],
        &[2],
        &[0, 2, 1],
        &[1, 0, 2],
        &[2, 1, 0],
        &[0, 1],
        &[0],
        &[0, 0, 1, 2],
        &[0, 1, 0, 1, 2],
        &[0, 1, 2, 2],
        &[0, 1, 2, 0],
        &[0, 1, 2],
    ];
    for (round, order) in orders.into_iter().enumerate() {
        let increments = order.iter().map(|number| chain.increments[*number].clone()).collect();
        let other = Chain { increments, ..chain.clone() };
        match other.restored(Some(chain.at)) {
            Ok(restored) if round >= 8 => {
                assert_eq!(restored, state);
                assert_eq!(other.restored(None).unwrap(), state);
            }
            Err(RestoreError::TooShort { up_to, last }) if (6..8).contains(&round) => {
                assert!(up_to == chain.at && last < up_to);
            }
            Err(RestoreError::Increment { source, .. }) if round < 6 => {
                let RestoreError::Gap { since, last } = *source else { panic!("{source}") };
                assert!(since > last);
            }
            other => panic!("order {order:?}: {other:?}"),
        }
    }
    let early = chain.restored(Some(Revision::new(2)));
    let Err(RestoreError::TooLate { up_to, full }) = early else { panic!("{early:?}") };
    assert!(up_to == Revision::new(2) && full > up_to);
}

#[test]
fn increment_of_another_database_or_of_a_restored_one_is_refused() {
    let (mut chain, state, dir) = sample();
    let (other, _, _other_dir) = sample();
    let foreign = |chain: &Chain, increment: &[u8]| {
        let mut chain = chain.clone();
        chain.increments.push(increment.to_vec());
        let restored = chain.restored(None);
        let Err(RestoreError::Increment { source, .. }) = restored else { panic!("{restored:?}") };
        assert!(matches!(*source, RestoreError::OtherDatabase), "{source}");
    };
    foreign(&chain, &other.increments[2]);

    // The copy goes on, and so does the original, each in its own way.
    let copy_dir = tempfile::tempdir().unwrap();
    chain.restore(copy_dir.path(), None).unwrap();
    let copy = builder(1 << 20).open(copy_dir.path()).unwrap();
    let mut branch = Chain::begin(&copy);
    commit(&copy, &[Step::Insert(1, 77)]);
    branch.go_on(&copy).unwrap();
    foreign(&chain, &branch.increments[0]);
    let db = builder(1 << 20).open(dir.path()).unwrap();
    assert_eq!(db.revision(), chain.at);
    commit(&db, &[Step::Insert(1, 78)]);
    chain.go_on(&db).unwrap();
    foreign(&Chain { increments: vec![], ..branch.clone() }, &chain.increments[3]);

    let with = |value| {
        let mut state = state.clone();
        state.rows.insert(1, value);
        state
    };
    assert_eq!(branch.restored(None).unwrap(), with(77));
    assert_eq!(chain.restored(None).unwrap(), with(78));
    let ahead = db.backup_since(chain.at.next(), Vec::new());
    assert!(matches!(ahead, Err(BackupError::Ahead { since, last }) if since > last));
}
