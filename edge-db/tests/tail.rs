//! A tail gets every record once, as soon as it is there, blocking and async; what it waits in
//! may be dropped, and ends with the database.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use edge_db::{Db, Entry, LogOptions, ReadError, Records, Seq, WhenFull};
use futures::FutureExt;
use futures::executor::block_on;

const LONG: Duration = Duration::from_secs(60);

fn positions(records: &Records) -> Vec<u64> {
    records.iter().map(|record| record.seq().get()).collect()
}

#[test]
fn tail_reads_what_is_there_and_then_what_comes() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let log = db.log("readings").unwrap();
    (0..3).for_each(|_| assert!(log.append(Entry::new("x")).is_ok()));
    let mut tail = log.tail(Seq::new(1));
    assert_eq!(positions(&tail.wait_next(1, LONG).unwrap()), [1]);
    assert_eq!(positions(&block_on(tail.next(10)).unwrap()), [2]);
    assert!(tail.wait_next(10, Duration::ZERO).unwrap().is_empty());
    assert_eq!(tail.position(), Seq::new(3));
    log.append(Entry::new("x")).unwrap();
    assert_eq!(positions(&block_on(tail.next(0)).unwrap()), [3], "one at least");
}

#[test]
fn dropped_future_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let log = db.log("readings").unwrap();
    let mut tail = log.tail(Seq::ZERO);
    for round in 0..10 {
        assert!(tail.next(10).now_or_never().is_none(), "it waits, and is dropped");
        log.append(Entry::new("x")).unwrap();
        log.append(Entry::new("x")).unwrap();
        let records = tail.next(10).now_or_never().unwrap().unwrap();
        assert_eq!(positions(&records), [2 * round, 2 * round + 1]);
    }
}

#[test]
fn tails_of_many_threads_see_every_record_once_over_settling() {
    const RECORDS: u64 = 400;
    let dir = tempfile::tempdir().unwrap();
    // Small enough that it settles under way.
    let db = Db::builder().memory_bytes(0).journal_bytes(0).open(dir.path()).unwrap();
    let log = db.log("readings").unwrap();
    std::thread::scope(|scope| {
        for reader in 0..4 {
            let mut tail = log.tail(Seq::ZERO);
            scope.spawn(move || {
                let mut expected = 0;
                while expected < RECORDS {
                    let records = match reader % 2 {
                        0 => tail.wait_next(7, LONG).unwrap(),
                        _ => block_on(tail.next(7)).unwrap(),
                    };
                    assert!(!records.is_empty(), "it was not woken");
                    for record in records {
                        assert_eq!(record.seq().get(), expected);
                        expected += 1;
                    }
                }
            });
        }
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..RECORDS / 4 {
                    log.append(Entry::new(vec![7; 500])).unwrap();
                }
            });
        }
    });
}

#[test]
fn tail_is_told_what_was_dropped_before_it_came() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let options = LogOptions::new().max_bytes(3000).when_full(WhenFull::DropOldest);
    let log = db.log_with("readings", options).unwrap();
    let mut tail = log.tail(Seq::ZERO);
    (0..5).for_each(|_| assert!(log.append(Entry::new(vec![7; 1000])).is_ok()));
    let records = tail.wait_next(1, LONG).unwrap();
    assert_eq!(records.missing(), Some(Seq::ZERO..Seq::new(3)));
    assert_eq!(positions(&records), [3]);

    let mut batch = db.batch();
    batch.trim(&log, Seq::new(5));
    batch.commit().unwrap();
    let records = tail.next(1).now_or_never().unwrap().unwrap();
    assert!(records.is_empty());
    assert_eq!(records.missing(), Some(Seq::new(4)..Seq::new(5)));
    assert!(tail.next(1).now_or_never().is_none(), "it was told");
}

#[test]
fn shutdown_ends_the_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let log = db.log("readings").unwrap();
    let (mut blocking, mut waiting) = (log.tail(Seq::ZERO), log.tail(Seq::ZERO));
    let mut waiting = Box::pin(waiting.next(1));
    assert!((&mut waiting).now_or_never().is_none());
    std::thread::scope(|scope| {
        let blocking = scope.spawn(move || blocking.wait_next(1, LONG).map(drop));
        db.shutdown(LONG).unwrap();
        assert!(matches!(blocking.join().unwrap(), Err(ReadError::Closed)));
    });
    assert!(matches!(waiting.now_or_never(), Some(Err(ReadError::Closed))), "it was not woken");
}
