//! What a Log does at its limit, and how its readers are woken.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use edge_db::{Db, Entry, LogOptions, Seq, WhenFull, WriteError};

const LONG: Duration = Duration::from_secs(60);

fn value() -> Vec<u8> {
    vec![7; 1000]
}

#[test]
fn full_log_refuses_until_its_slowest_cursor_has_moved() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let log = db.log_with("readings", LogOptions::new().max_bytes(10_000)).unwrap();
    let (fast, slow) = (log.cursor("fast").unwrap(), log.cursor("slow").unwrap());

    let stored = (0..).take_while(|_| log.append(Entry::new(value())).is_ok()).count() as u64;
    assert_eq!(stored, 9);
    let Err(WriteError::LogFull { used_bytes, limit_bytes: 10_000, .. }) =
        log.append(Entry::new(value()))
    else {
        panic!("a full log refuses with what it holds");
    };
    assert_eq!(used_bytes, log.state().unwrap().bytes);
    let mut batch = db.batch();
    batch.advance(&fast, Seq::new(1));
    batch.commit().unwrap();
    let error = log.append(Entry::new(value())).unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "log `readings` is full: {used_bytes} of 10000 bytes, kept for its slowest cursor `slow`"
        )
    );

    let mut batch = db.batch();
    batch.advance(&fast, Seq::new(stored));
    batch.advance(&slow, Seq::new(3));
    batch.commit().unwrap();
    for _ in 0..3 {
        log.append(Entry::new(value())).unwrap();
    }
    assert!(matches!(log.append(Entry::new(value())), Err(WriteError::LogFull { .. })));
    assert_eq!(log.bounds().unwrap(), Seq::new(3)..Seq::new(12));
    assert_eq!(log.state().unwrap().dropped, 0);
}

#[test]
fn full_log_without_a_cursor_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let log = db.log_with("readings", LogOptions::new().max_bytes(1_500)).unwrap();
    log.append(Entry::new(value())).unwrap();
    let error = log.append(Entry::new(value())).unwrap_err().to_string();
    assert_eq!(
        error,
        "log `readings` is full: 1008 of 1500 bytes, and no cursor reads it: open one and advance it, or \
         use `WhenFull::DropOldest`"
    );
    // What may be dropped is up to the options alone.
    let options = log.options().when_full(WhenFull::DropOldest);
    let log = db.log_with("readings", options).unwrap();
    log.append(Entry::new(value())).unwrap();
    assert_eq!(log.bounds().unwrap(), Seq::new(1)..Seq::new(2));
    assert_eq!(log.options(), LogOptions::new().max_bytes(1_500).when_full(WhenFull::DropOldest));
}

#[test]
fn log_that_drops_the_oldest_counts_what_nobody_had_read() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let options = LogOptions::new().max_bytes(10_000).when_full(WhenFull::DropOldest);
    let log = db.log_with("errors", options).unwrap();
    let cursor = log.cursor("reader").unwrap();
    let mut batch = db.batch();
    for _ in 0..4 {
        log.append(Entry::new(value())).unwrap();
    }
    batch.advance(&cursor, Seq::new(2));
    batch.commit().unwrap();
    for _ in 0..16 {
        log.append(Entry::new(value())).unwrap();
    }

    let state = log.state().unwrap();
    assert!(state.bytes <= 10_000);
    assert_eq!(state.next, Seq::new(20));
    assert_eq!(state.dropped, state.first.get() - 2, "the first two had been read");
    let records = log.read(cursor.position().unwrap(), 1).unwrap();
    assert_eq!(records.missing(), Some(Seq::new(2)..state.first));
    assert_eq!(records.iter().next().unwrap().seq(), state.first);
}

#[test]
fn options_are_kept_and_can_be_changed() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    db.log_with("readings", LogOptions::new().max_bytes(3_000)).unwrap();
    db.shutdown(LONG).unwrap();
    let db = Db::open(dir.path()).unwrap();
    let log = db.log("readings").unwrap();
    let stored = (0..).take_while(|_| log.append(Entry::new(value())).is_ok()).count();
    assert_eq!(stored, 2);
    let log = db.log_with("readings", LogOptions::new()).unwrap();
    log.append(Entry::new(value())).unwrap();
}

#[test]
fn removed_cursor_holds_nothing_back() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let log = db.log_with("readings", LogOptions::new().max_bytes(3_000)).unwrap();
    let (stays, goes) = (log.cursor("stays").unwrap(), log.cursor("goes").unwrap());
    (0..2).for_each(|_| assert!(log.append(Entry::new(value())).is_ok()));
    let mut batch = db.batch();
    batch.advance(&stays, Seq::new(2));
    batch.commit().unwrap();
    assert!(matches!(log.append(Entry::new(value())), Err(WriteError::LogFull { .. })));
    let mut batch = db.batch();
    batch.remove_cursor(&goes);
    batch.commit().unwrap();
    log.append(Entry::new(value())).unwrap();
}

#[test]
fn cleared_keyspace_is_empty_and_its_neighbours_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let [before, cleared, after] = ["a", "b", "c"].map(|name| db.keyspace(name).unwrap());
    let mut batch = db.batch();
    for keyspace in [&before, &cleared, &after] {
        batch.put(keyspace, [], b"first");
        batch.put(keyspace, [0xFF; 40], b"last");
    }
    batch.clear(&cleared);
    batch.commit().unwrap();
    let left = [&before, &cleared, &after].map(|keyspace| keyspace.iter().unwrap().count());
    assert_eq!(left, [2, 0, 2]);
}

#[test]
fn deleted_range_of_a_keyspace_leaves_what_is_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let [keyspace, other] = ["a", "b"].map(|name| db.keyspace(name).unwrap());
    let mut batch = db.batch();
    for key in 0..10u8 {
        batch.put(&keyspace, [key], []);
        batch.put(&other, [key], []);
    }
    batch.commit().unwrap();
    let keys = || keyspace.iter().unwrap().map(|entry| entry.unwrap().0[0]).collect::<Vec<_>>();
    let mut batch = db.batch();
    batch.delete_range(&keyspace, [2]..[4]);
    batch.delete_range(&keyspace, [6]..=[7]);
    batch.commit().unwrap();
    assert_eq!(keys(), [0, 1, 4, 5, 8, 9]);
    let mut batch = db.batch();
    batch.delete_range(&keyspace, ..[5]);
    batch.put(&keyspace, [3], []);
    batch.delete_range(&keyspace, [9]..);
    batch.commit().unwrap();
    assert_eq!(keys(), [3, 5, 8]);
    let mut batch = db.batch();
    batch.delete_range::<[u8; 1]>(&keyspace, ..);
    batch.commit().unwrap();
    assert!(keys().is_empty());
    assert_eq!(other.iter().unwrap().count(), 10);
}

#[test]
fn cleared_table_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let (one, other) = (db.table::<u8, u8>("a").unwrap(), db.table::<u8, u8>("b").unwrap());
    let mut batch = db.batch();
    batch.insert(&one, &1, &1).unwrap();
    batch.insert(&other, &1, &1).unwrap();
    batch.commit().unwrap();
    let mut batch = db.batch();
    batch.clear_table(&one);
    batch.insert(&one, &2, &2).unwrap();
    batch.commit().unwrap();
    assert_eq!((one.get(&1).unwrap(), one.get(&2).unwrap()), (None, Some(2)));
    assert_eq!(other.get(&1).unwrap(), Some(1));
}

#[test]
fn logs_are_found_by_name_and_not_made_by_it() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    drop(db.table::<u8, u8>("table").unwrap());
    db.log("b").unwrap().append(Entry::new("x")).unwrap();
    drop(db.log("a").unwrap());
    assert_eq!(db.log_names(), ["a", "b"]);
    assert_eq!(db.find_log("b").unwrap().read(Seq::ZERO, 10).unwrap().len(), 1);
    assert!(db.find_log("c").is_none() && db.find_log("table").is_none());
    assert_eq!(db.log_names(), ["a", "b"]);
}

#[test]
fn cursor_cannot_point_behind_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let log = db.log("readings").unwrap();
    let cursor = log.cursor("reader").unwrap();
    let mut batch = db.batch();
    batch.append(&log, Entry::new("one"));
    batch.advance(&cursor, Seq::new(2));
    let refused = batch.commit().unwrap_err();
    assert_eq!(
        refused.to_string(),
        "cursor `reader` cannot advance to 2: log `readings` ends at 1"
    );
    assert_eq!(log.bounds().unwrap(), Seq::ZERO..Seq::ZERO, "nothing of the batch is stored");
}

#[test]
fn receipt_tells_the_positions_in_each_log() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let (a, b) = (db.log("a").unwrap(), db.log("b").unwrap());
    a.append(Entry::new("before")).unwrap();
    let mut batch = db.batch();
    batch.append(&a, Entry::new("1"));
    batch.append(&b, Entry::new("2"));
    batch.append(&a, Entry::new("3"));
    let receipt = batch.commit().unwrap();
    assert_eq!(receipt.seqs(&a), Some(Seq::new(1)..Seq::new(3)));
    assert_eq!(receipt.seqs(&b), Some(Seq::ZERO..Seq::new(1)));
}

#[test]
fn records_are_read_backwards_over_chunks_and_what_was_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let log = db.log("readings").unwrap();
    (0..10).for_each(|_| assert!(log.append(Entry::new("x")).is_ok()));
    let before = db.snapshot().unwrap();
    let mut batch = db.batch();
    batch.trim(&log, Seq::new(3));
    batch.commit().unwrap();
    db.checkpoint().unwrap();
    for (end, most, expected) in [
        (10, 4, vec![9, 8, 7, 6]),
        (6, 9, vec![5, 4, 3]),
        (99, 1, vec![9]),
        (3, 9, vec![]),
        (0, 9, vec![]),
        (9, 0, vec![]),
    ] {
        let records = log.read_back(Seq::new(end), most).unwrap();
        let found: Vec<_> = records.iter().map(|record| record.seq().get()).collect();
        assert_eq!(found, expected);
        assert_eq!(records.next().get(), expected.last().copied().unwrap_or(end));
        assert_eq!(records.missing(), None);
    }
    assert_eq!(before.read_back(&log, Seq::new(4), 9).unwrap().len(), 4);
}

#[test]
fn many_readers_of_a_tail_see_every_record_once() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let log = Arc::new(db.log("readings").unwrap());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut watch = log.watch();
                let mut position = Seq::ZERO;
                while position < Seq::new(400) {
                    let records = log.read(position, 16).unwrap();
                    assert_eq!(records.next().since(position), records.len() as u64);
                    position = records.next();
                    assert!(!records.is_empty() || watch.wait(LONG), "reader was not woken");
                }
            });
        }
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..100 {
                    log.append(Entry::new("x")).unwrap();
                }
            });
        }
    });
}

#[test]
fn watch_of_a_cursor_and_of_a_table_wakes_for_them_alone() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let log = db.log("readings").unwrap();
    let table = db.table::<u32, u32>("table").unwrap();
    let cursor = log.cursor("reader").unwrap();
    let (mut of_log, mut of_cursor, mut of_table) = (log.watch(), cursor.watch(), table.watch());

    log.append(Entry::new("x")).unwrap();
    let told = |watch: &mut edge_db::Watch| watch.wait(Duration::ZERO);
    assert!(told(&mut of_log) && !told(&mut of_cursor) && !told(&mut of_table));

    let mut batch = db.batch();
    batch.advance(&cursor, Seq::new(1));
    batch.insert(&table, &1, &1).unwrap();
    batch.commit().unwrap();
    assert!(!told(&mut of_log) && told(&mut of_cursor) && told(&mut of_table));
}
