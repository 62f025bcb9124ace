//! What tables promise beyond putting and getting, one by one; `tests/table_model.rs` does them all
//! at random.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use edge_db::{Db, DecodeError, WriteError};

const LONG: Duration = Duration::from_secs(60);

#[test]
fn new_index_has_the_rows_that_were_there() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let table = db.table::<u32, String>("words").unwrap();
    let mut batch = db.batch();
    for n in 0..2500 {
        batch.insert(&table, &n, &format!("word {}", n % 50)).unwrap();
    }
    batch.commit().unwrap();
    let index = table.index("word", |word: &String| Some(word.clone())).unwrap();
    assert_eq!(index.get(&"word 7".to_owned()).unwrap().count(), 50);
    let Err(error) = table.unique_index("only", |word: &String| Some(word.clone())) else {
        panic!("words repeat")
    };
    assert!(format!("{error:?}").contains("NotUnique"), "{error:?}");
    // What was refused left nothing behind that keeps the table from being written.
    assert!(table.compare_and_set(&1, Some(&"word 1".to_owned()), None).unwrap());
    assert_eq!(index.get(&"word 1".to_owned()).unwrap().count(), 49);
}

#[test]
fn table_with_an_index_nobody_opened_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let table = db.table::<u32, u32>("rows").unwrap();
    table.index("half", |row: &u32| Some(row / 2)).unwrap();
    db.shutdown(LONG).unwrap();
    drop((db, table));
    let db = Db::open(dir.path()).unwrap();
    let table = db.table::<u32, u32>("rows").unwrap();
    let refused = table.compare_and_set(&1, None, Some(&1)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "`rows` has the index `half`: open it before writing to the table"
    );
    table.remove_index("half").unwrap();
    assert!(table.compare_and_set(&1, None, Some(&1)).unwrap());
}

#[test]
fn expired_rows_are_never_returned_and_leave_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let lasting = db.table::<u32, u32>("rows").unwrap().expire_after(LONG * 60);
    let index = lasting.index("value", |row: &u32| Some(*row)).unwrap();
    let gone = db.table::<u32, u32>("rows").unwrap().expire_after(Duration::ZERO);
    let mut batch = db.batch();
    for n in 0..100 {
        batch.insert(if n % 4 == 0 { &lasting } else { &gone }, &n, &n).unwrap();
    }
    batch.commit().unwrap();
    let look = || {
        assert_eq!(lasting.get(&1).unwrap(), None);
        assert_eq!(lasting.get(&4).unwrap(), Some(4));
        assert_eq!(lasting.iter().unwrap().count(), 25);
        assert_eq!(lasting.range(..40).unwrap().rev().count(), 10);
        assert_eq!(index.range(..40).unwrap().count(), 10);
    };
    look();
    assert_eq!(gone.count().unwrap(), 100, "still in memory");
    db.checkpoint().unwrap();
    look();
    assert_eq!(db.stats().expired, 75);
    assert_eq!(gone.count().unwrap(), 25, "gone from the file");
    // For whoever comes later they were never there.
    assert!(gone.compare_and_set(&1, None, Some(&7)).unwrap());
}

#[test]
fn counted_rows_cannot_expire() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let table = db.table::<u32, u32>("rows").unwrap();
    table.keep_count().unwrap();
    let table = table.expire_after(LONG);
    let mut batch = db.batch();
    batch.insert(&table, &1, &1).unwrap();
    assert!(matches!(batch.commit(), Err(WriteError::CountedExpires { .. })));
}

#[test]
fn value_of_an_older_version_is_migrated() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let old = db.table::<u8, f64>("rooms").unwrap();
    assert!(old.compare_and_set(&1, None, Some(&21.5)).unwrap());
    let new = db.table::<u8, (f64, Option<u32>)>("rooms").unwrap().version(1).migrate(|old| {
        match old.version() {
            0 => Ok((old.decode::<f64>()?, None)),
            found => Err(DecodeError::SchemaVersion { found, expected: 1 }),
        }
    });
    assert_eq!(new.get(&1).unwrap(), Some((21.5, None)));
    // Compared as the newer type, and rewritten as it.
    assert!(new.compare_and_set(&1, Some(&(21.5, None)), Some(&(21.5, Some(600)))).unwrap());
    assert_eq!(new.get(&1).unwrap(), Some((21.5, Some(600))));
    assert!(old.get(&1).is_err());
}

#[test]
fn panicking_update_is_refused_and_the_database_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let table = db.table::<u8, u8>("rows").unwrap();
    let mut batch = db.batch();
    batch.insert(&table, &1, &1).unwrap();
    batch.update(&table, &2, |_| panic!("of the application"));
    assert!(matches!(batch.commit(), Err(WriteError::Panicked { .. })));
    assert_eq!(table.get(&1).unwrap(), None, "half a batch was stored");
    assert!(table.compare_and_set(&1, None, Some(&1)).unwrap());
}

#[test]
fn prefix_of_a_tuple_gives_its_rows() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let table = db.table::<(String, f64), u8>("rows").unwrap();
    let mut batch = db.batch();
    for (room, at) in [("a", 2.0), ("a", -1.0), ("ab", 0.0), ("b", 1.0)] {
        batch.insert(&table, &(room.to_owned(), at), &0).unwrap();
    }
    batch.commit().unwrap();
    let rows = table.prefix(&"a".to_owned()).unwrap().map(|row| row.unwrap().0.1);
    assert_eq!(rows.collect::<Vec<_>>(), [-1.0, 2.0]);
}

#[test]
fn watch_of_a_key_or_prefix_wakes_for_that_alone() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let table = db.table::<(String, u32), u8>("rows").unwrap();
    let key = |room: &str, number| (room.to_owned(), number);
    let mut one = table.watch_key(&key("a", 1));
    let mut room = table.watch_prefix(&"a".to_owned());
    let mut all = table.watch();
    let mut woken = || [&mut one, &mut room, &mut all].map(|watch| watch.wait(Duration::ZERO));
    let put = |key| table.compare_and_set(&key, None, Some(&1)).unwrap();
    put(key("b", 1));
    assert_eq!(woken(), [false, false, true]);
    put(key("a", 2));
    assert_eq!(woken(), [false, true, true]);
    put(key("a", 1));
    assert_eq!(woken(), [true, true, true]);
    let mut batch = db.batch();
    batch.remove_range(&table, key("a", 0)..key("a", 5));
    batch.commit().unwrap();
    assert_eq!(woken(), [true, true, true]);
    put(key("c", 1));
    let mut batch = db.batch();
    batch.clear_table(&table);
    batch.commit().unwrap();
    assert_eq!(woken(), [true, true, true]);
    assert_eq!(woken(), [false, false, false]);
}

#[test]
fn database_with_an_index_closes_with_its_last_handle() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let table = db.table::<u32, u32>("rows").unwrap();
    let index = table.index("half", |row: &u32| Some(row / 2)).unwrap();
    let mut watch = table.watch();
    drop((db, table, index));
    // The threads end by themselves; the watch says so, or the folder opens.
    while Db::open(dir.path()).is_err() {
        watch.wait(Duration::from_millis(10));
    }
}
