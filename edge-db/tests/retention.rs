//! What a log drops by age, also while nobody writes, and what it says of what it dropped after
//! it was opened again. What is of 1970 is old here, what gets the time of its append is not.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use edge_db::{Cursor, Db, Entry, GapReason, Log, LogOptions, Seq, Time, WhenFull};

const LONG: Duration = Duration::from_secs(60);
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

fn old() -> Entry {
    Entry::new("old").at(Time::from_micros(0))
}

fn advance(db: &Db, cursor: &Cursor, to: u64) {
    let mut batch = db.batch();
    batch.advance(cursor, Seq::new(to));
    batch.commit().unwrap();
}

/// First and next.
fn bounds(log: &Log) -> (u64, u64) {
    let bounds = log.bounds().unwrap();
    (bounds.start.get(), bounds.end.get())
}

#[test]
fn any_commit_lets_all_logs_grow_old() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let aged = LogOptions::new().max_age(YEAR);
    let (a, b) = (db.log_with("a", aged).unwrap(), db.log_with("b", aged).unwrap());
    let keeps = db.log("keeps").unwrap();
    for log in [&a, &b, &keeps] {
        log.append(old()).unwrap();
        log.append(Entry::new("new")).unwrap();
    }
    db.table::<u8, u8>("table").unwrap();
    assert_eq!([bounds(&a), bounds(&b), bounds(&keeps)], [(1, 2), (1, 2), (0, 2)]);
    assert_eq!(a.read(Seq::new(1), 10).unwrap().len(), 1);
}

#[test]
fn database_that_nobody_writes_to_lets_logs_grow_old() {
    let dir = tempfile::tempdir().unwrap();
    // As soon as the settling thread has nothing to do.
    let db = Db::builder().checkpoint_age(Duration::from_millis(1)).open(dir.path()).unwrap();
    let log = db.log_with("readings", LogOptions::new().max_age(YEAR)).unwrap();
    log.append(old()).unwrap();
    let mut watch = log.watch();
    while bounds(&log) != (1, 1) {
        assert!(watch.wait(LONG), "nothing was dropped");
    }
    assert_eq!(log.state().unwrap().bytes, 0);
}

#[test]
fn aged_log_is_read_from_its_first_young_record_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let options = LogOptions::new().max_age(YEAR).when_full(WhenFull::DropOldest);
    let log = db.log_with("readings", options).unwrap();
    log.cursor("reader").unwrap();
    (0..3).for_each(|_| assert!(log.append(old()).is_ok()));
    log.append(Entry::new("new")).unwrap();
    let gaps = log.gaps().unwrap();
    db.checkpoint().unwrap();
    db.shutdown(LONG).unwrap();

    let db = Db::open(dir.path()).unwrap();
    let log = db.log("readings").unwrap();
    assert_eq!((bounds(&log), log.state().unwrap().dropped), ((3, 4), 3));
    assert_eq!(log.gaps().unwrap(), gaps);
    assert_eq!((gaps[0].records.clone(), gaps[0].reason), (Seq::ZERO..Seq::new(3), GapReason::Age));
    // The options are kept, too; and what is young keeps what is behind it.
    (0..2).for_each(|_| assert!(log.append(old()).is_ok()));
    db.batch().commit().unwrap();
    assert_eq!(bounds(&log), (3, 6));
    // The next gap goes on where the last one ended.
    let mut batch = db.batch();
    batch.trim(&log, Seq::new(4));
    batch.commit().unwrap();
    db.batch().commit().unwrap();
    let gaps: Vec<_> = log.gaps().unwrap().into_iter().map(|gap| gap.reason).collect();
    assert_eq!(gaps, [GapReason::Age, GapReason::Trimmed, GapReason::Age]);
    assert_eq!((bounds(&log), log.state().unwrap().dropped), ((6, 6), 6));
}

#[test]
fn log_that_refuses_has_no_room_for_what_no_reader_may_lose() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let options = LogOptions::new().max_age(YEAR).max_bytes(30);
    let log = db.log_with("readings", options).unwrap();
    let cursor = log.cursor("reader").unwrap();
    (0..2).for_each(|_| assert!(log.append(old()).is_ok()));
    assert!(log.append(old()).is_err());
    advance(&db, &cursor, 1);
    log.append(old()).unwrap();
    advance(&db, &cursor, 3);
    db.batch().commit().unwrap();
    assert_eq!((bounds(&log), log.gaps().unwrap().len()), ((3, 3), 0));
}

#[test]
fn trimmed_records_that_nobody_had_read_are_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let log = db.log("readings").unwrap();
    let cursor = log.cursor("reader").unwrap();
    (0..5).for_each(|_| assert!(log.append(old()).is_ok()));
    advance(&db, &cursor, 1);
    let before = db.snapshot().unwrap();
    let mut batch = db.batch();
    batch.trim(&log, Seq::new(3));
    batch.commit().unwrap();
    let gaps = log.gaps().unwrap();
    assert_eq!(gaps.len(), 1);
    assert_eq!(gaps[0].records, Seq::new(1)..Seq::new(3));
    assert_eq!((gaps[0].dropped, gaps[0].reason), (2, GapReason::Trimmed));
    assert_eq!(before.gaps(&log).unwrap(), []);
}
