//! Batches from many threads and futures share syncs, keep their order, and wait where they must.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Mutex, mpsc};
use std::thread::{self, ThreadId};
use std::time::Duration;

use edge_db::{Batch, Db, Entry, Seq};
use futures::executor::block_on;

#[test]
fn waiting_batches_share_a_sync() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let log = db.log("readings").unwrap();
    let before = db.stats();
    let commits: Vec<_> = (0..200u32)
        .map(|n| {
            let mut batch = db.batch();
            batch.append(&log, Entry::new(n.to_string()));
            batch.commit_async()
        })
        .collect();
    for (n, commit) in (0..).zip(commits) {
        let receipt = block_on(commit).unwrap();
        assert_eq!(receipt.seqs(&log), Some(Seq::new(n)..Seq::new(n + 1)), "in call order");
    }
    let after = db.stats();
    assert_eq!(after.batches - before.batches, 200);
    assert!(after.commits - before.commits < 200, "each batch had a sync of its own");
}

/// The thread that a batch is committed in.
fn committed_in(db: &Db, commit: impl FnOnce(Batch)) -> ThreadId {
    let table = db.table::<u32, u32>("rows").unwrap();
    let (told, thread) = mpsc::sync_channel(1);
    let mut batch = db.batch();
    batch.update(&table, &1, move |value: Option<u32>| {
        told.send(thread::current().id()).unwrap();
        value
    });
    commit(batch);
    thread.recv().unwrap()
}

#[test]
fn lone_writer_commits_in_its_own_thread_and_async_code_never_does() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let here = thread::current().id();
    assert_eq!(committed_in(&db, |batch| drop(batch.commit().unwrap())), here);
    assert_ne!(committed_in(&db, |batch| drop(block_on(batch.commit_async()).unwrap())), here);
    assert_ne!(committed_in(&db, |batch| drop(batch.commit_async().wait().unwrap())), here);
}

#[test]
fn full_queue_makes_writers_wait_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::builder().queue_bytes(1000).open(dir.path()).unwrap();
    let log = db.log("readings").unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let (db, log) = (&db, &log);
            scope.spawn(move || {
                for _ in 0..50 {
                    let mut batch = db.batch();
                    batch.append(log, Entry::new(vec![0; 900]));
                    if writer % 2 == 0 {
                        batch.commit().unwrap();
                    } else {
                        block_on(batch.commit_async()).unwrap();
                    }
                }
            });
        }
    });
    assert_eq!(log.bounds().unwrap().end, Seq::new(200));
}

#[test]
fn claim_is_held_by_one_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let held = Mutex::new(());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let claim = block_on(db.claim("engine"));
                    drop(held.try_lock().expect("nobody else holds it"));
                    drop(claim);
                }
            });
        }
    });
    let _one = block_on(db.claim("one"));
    drop(block_on(db.claim("other")));
}

#[test]
fn shutdown_stores_what_is_in_the_queue() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let log = db.log("readings").unwrap();
    for _ in 0..100 {
        let mut batch = db.batch();
        batch.append(&log, Entry::new("x"));
        drop(batch.commit_async());
    }
    db.shutdown(Duration::from_secs(60)).unwrap();
    let log = Db::open(dir.path()).unwrap().log("readings").unwrap();
    assert_eq!(log.bounds().unwrap().end, Seq::new(100));
}

#[test]
fn snapshot_shows_one_moment_over_everything() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let log = db.log("readings").unwrap();
    let table = db.table::<u32, u32>("table").unwrap();
    let cursor = log.cursor("reader").unwrap();
    let snapshot = db.snapshot().unwrap();
    let mut batch = db.batch();
    batch.append(&log, Entry::new("x"));
    batch.insert(&table, &1, &1).unwrap();
    batch.advance(&cursor, Seq::new(1));
    batch.commit().unwrap();
    assert_eq!(snapshot.bounds(&log).unwrap().end, Seq::ZERO);
    assert_eq!(snapshot.get(&table, &1).unwrap(), None);
    assert_eq!(snapshot.position(&cursor).unwrap(), Seq::ZERO);
    assert_eq!(db.snapshot().unwrap().get(&table, &1).unwrap(), Some(1));
}

#[test]
fn ranges_run_from_either_end_and_never_panic() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let table = db.table::<i64, String>("table").unwrap();
    let mut batch = db.batch();
    for key in -5..5 {
        batch.insert(&table, &key, &key.to_string()).unwrap();
    }
    batch.commit().unwrap();
    let keys = |range: (std::ops::Bound<i64>, std::ops::Bound<i64>)| -> Vec<i64> {
        table.range(range).unwrap().map(|row| row.unwrap().0).collect()
    };
    use std::ops::Bound::{Excluded, Included, Unbounded};
    assert_eq!(keys((Included(-2), Excluded(2))), [-2, -1, 0, 1]);
    assert_eq!(keys((Unbounded, Included(-4))), [-5, -4]);
    assert_eq!(keys((Excluded(3), Unbounded)), [4]);
    assert_eq!(keys((Included(3), Excluded(-3))), [0i64; 0]);
    let last = table.iter().unwrap().next_back().unwrap().unwrap();
    assert_eq!(last, (4, "4".to_owned()));
}
