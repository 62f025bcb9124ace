//! A disk budget: what is refused once it is used up, what is not, and how room comes back.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::Duration;

use edge_db::{Db, Entry, LogOptions, OpenError, Seq, Table, WhenFull, WriteError};

const BUDGET: u64 = 4 << 20;

fn open(dir: &Path) -> (Db, Table<u64, Vec<u8>>) {
    let builder = Db::builder().memory_bytes(256 << 10).journal_bytes(512 << 10);
    let db = builder.disk_budget(BUDGET).open(dir).unwrap();
    let rows = db.table("rows").unwrap();
    (db, rows)
}

/// The same for a number, and no two alike.
fn value(number: u64) -> Vec<u8> {
    (0..100).map(|at| (number.wrapping_mul(at * 2 + 1) >> 3).to_le_bytes()[0]).collect()
}

fn insert(
    db: &Db,
    rows: &Table<u64, Vec<u8>>,
    keys: std::ops::Range<u64>,
) -> Result<(), WriteError> {
    let mut batch = db.batch();
    for key in keys {
        batch.insert(rows, &key, &value(key)).unwrap();
    }
    batch.commit().map(drop)
}

/// Inserts until the budget is used up, whatever settles; gives the first key that is not there.
fn fill(db: &Db, rows: &Table<u64, Vec<u8>>, from: u64) -> u64 {
    let mut next = from;
    let mut has_settled = false;
    loop {
        match insert(db, rows, next..next + 100) {
            Ok(()) => (next, has_settled) = (next + 100, false),
            Err(WriteError::Full { used_bytes, budget_bytes: BUDGET }) if used_bytes >= BUDGET => {
                if std::mem::replace(&mut has_settled, true) {
                    return next;
                }
                db.checkpoint().unwrap();
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn allocated(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let files = std::fs::read_dir(dir).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().blocks() * 512).sum()
}

#[test]
fn budget_that_is_used_up_refuses_what_puts_and_takes_what_removes() {
    let dir = tempfile::tempdir().unwrap();
    let (db, rows) = open(dir.path());
    let end = fill(&db, &rows, 0);
    assert!(end > 10_000, "{end} rows");
    assert!(allocated(dir.path()) <= BUDGET, "{} bytes", allocated(dir.path()));
    assert_eq!(rows.iter().unwrap().map(Result::unwrap).count() as u64, end);

    let mut batch = db.batch();
    batch.remove_range(&rows, 0..end / 2);
    batch.commit().unwrap();
    let refused = std::iter::repeat_with(|| insert(&db, &rows, end..end + 1)).take(1_000_000);
    let refused = refused.take_while(Result::is_err).count();
    assert!(refused < 1_000_000, "room never comes back");
    // About as many as have gone find room.
    let more = fill(&db, &rows, end + 1) - end;
    assert!(more > end / 4, "{more} of {}", end / 2);
    assert!(allocated(dir.path()) <= BUDGET * 5 / 4, "{} bytes", allocated(dir.path()));
}

#[test]
fn budget_holds_over_opening_and_room_is_known_then() {
    let dir = tempfile::tempdir().unwrap();
    let (db, rows) = open(dir.path());
    let end = fill(&db, &rows, 0);
    db.shutdown(Duration::from_secs(60)).unwrap();
    let (db, rows) = open(dir.path());
    assert!(matches!(insert(&db, &rows, end..end + 1), Err(WriteError::Full { .. })));
    let mut batch = db.batch();
    batch.remove_range(&rows, 0..end / 2);
    batch.commit().unwrap();
    db.checkpoint().unwrap();
    db.shutdown(Duration::from_secs(60)).unwrap();
    let (db, rows) = open(dir.path());
    insert(&db, &rows, 0..100).unwrap();
    let more = fill(&db, &rows, 100);
    assert!(more > end / 4, "{more} of {}", end / 2);
    assert!(allocated(dir.path()) <= BUDGET * 5 / 4, "{} bytes", allocated(dir.path()));
}

#[test]
fn churn_stays_within_the_budget() {
    let dir = tempfile::tempdir().unwrap();
    let (db, rows) = open(dir.path());
    let mut random = 1u64;
    let mut refusals = 0;
    for round in 0..1500u64 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let first = random >> 40;
        match insert(&db, &rows, first..first + 20) {
            Ok(()) => {}
            Err(WriteError::Full { .. }) => {
                refusals += 1;
                let oldest = rows.range(first..).unwrap().take(2000).map(|row| row.unwrap().0);
                let mut batch = db.batch();
                oldest.for_each(|key| batch.remove(&rows, &key));
                batch.commit().unwrap();
                db.checkpoint().unwrap();
            }
            Err(error) => panic!("{error}"),
        }
        assert!(allocated(dir.path()) <= BUDGET * 5 / 4, "round {round}");
    }
    assert!(refusals > 3, "{refusals} refusals");
}

#[test]
fn logs_do_as_their_policy_says() {
    let dir = tempfile::tempdir().unwrap();
    let (db, rows) = open(dir.path());
    let kept = db.log_with("kept", LogOptions::new().when_full(WhenFull::Refuse)).unwrap();
    let rolling = LogOptions::new().when_full(WhenFull::DropOldest);
    let rolling = db.log_with("rolling", rolling).unwrap();
    for _ in 0..50 {
        kept.append(Entry::new(vec![1; 1000])).unwrap();
        rolling.append(Entry::new(vec![2; 1000])).unwrap();
    }
    let cursor = kept.cursor("reader").unwrap();
    let end = fill(&db, &rows, 0);
    assert!(matches!(kept.append(Entry::new("x")), Err(WriteError::Full { .. })));
    for _ in 0..200 {
        rolling.append(Entry::new(vec![3; 1000])).unwrap();
    }
    let bounds = rolling.bounds().unwrap();
    assert_eq!(bounds.end, Seq::new(250));
    assert!(bounds.start >= Seq::new(150), "{bounds:?}");
    // More than it holds pushes out nothing.
    let end = fill(&db, &rows, end);
    let mut batch = db.batch();
    (0..100).for_each(|_| batch.append(&rolling, Entry::new(vec![4; 1000])));
    assert!(matches!(batch.commit(), Err(WriteError::Full { .. })));
    assert_eq!(rolling.bounds().unwrap(), bounds);
    // Who reads goes on.
    let mut batch = db.batch();
    batch.advance(&cursor, Seq::new(50));
    batch.remove_range(&rows, 0..end);
    batch.commit().unwrap();
    while kept.append(Entry::new("x")).is_err() {}
}

#[test]
fn budget_without_room_for_journal_and_tables_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let error = Db::builder().disk_budget(1 << 20).open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::Budget { budget_bytes: 1_048_576, .. }));
    assert!(error.to_string().contains("1048576"), "{error}");
}
