//! What becomes of rows that expire while others take their place, and of what hangs on them.
//! Where a row has to grow old, the test waits for a row beside it that was to live as long.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::error::Error;
use std::time::Duration;

use edge_db::{Db, Index, OpenError, Table, WriteError};

const LONG: Duration = Duration::from_secs(60 * 60);
/// Long enough to put another row in its place, and short enough to wait for.
const SHORT: Duration = Duration::from_millis(50);

type Rows = Table<u8, u8>;

/// A database with a table, once more as one whose rows live for a short time, and its index.
fn open(dir: &std::path::Path) -> (Db, Rows, Rows, Index<u8, u8, u8>) {
    let db = Db::open(dir).unwrap();
    let rows = db.table::<u8, u8>("rows").unwrap();
    let brief = rows.clone().expire_after(SHORT);
    let index = brief.unique_index("value", |value: &u8| Some(*value)).unwrap();
    (db, rows, brief, index)
}

fn insert(db: &Db, table: &Rows, rows: &[(u8, u8)]) -> Result<(), WriteError> {
    let mut batch = db.batch();
    rows.iter().for_each(|(key, value)| batch.insert(table, key, value).unwrap());
    batch.commit().map(drop)
}

fn wait_until_gone(table: &Rows, key: u8) {
    let mut watch = table.watch_key(&200);
    while table.get(&key).unwrap().is_some() {
        watch.wait(Duration::from_millis(1));
    }
}

fn found(index: &Index<u8, u8, u8>, value: u8) -> Vec<(u8, u8)> {
    index.get(&value).unwrap().map(Result::unwrap).collect()
}

#[test]
fn row_in_place_of_an_expired_one_is_not_found_by_what_that_was() {
    let dir = tempfile::tempdir().unwrap();
    let (db, rows, brief, index) = open(dir.path());
    insert(&db, &brief, &[(1, 10)]).unwrap();
    wait_until_gone(&brief, 1);
    insert(&db, &rows, &[(1, 20)]).unwrap();
    assert_eq!(found(&index, 10), []);
    assert_eq!(found(&index, 20), [(1, 20)]);
    assert_eq!(index.range(..).unwrap().count(), 1);
    // Another row may have it.
    insert(&db, &rows, &[(2, 10)]).unwrap();
    assert_eq!(found(&index, 10), [(2, 10)]);
}

#[test]
fn row_that_is_put_again_to_last_stays_in_its_index() {
    let dir = tempfile::tempdir().unwrap();
    let (db, rows, brief, index) = open(dir.path());
    insert(&db, &brief, &[(1, 10), (2, 20)]).unwrap();
    insert(&db, &rows, &[(1, 10)]).unwrap();
    wait_until_gone(&brief, 2);
    let look = || {
        assert_eq!(found(&index, 10), [(1, 10)]);
        let taken = insert(&db, &rows, &[(3, 10)]);
        assert!(matches!(taken, Err(WriteError::NotUnique { .. })), "{taken:?}");
    };
    look();
    // What has expired leaves the file here.
    db.checkpoint().unwrap();
    look();
}

#[test]
fn transaction_reads_an_expired_row_as_none_and_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let rows = db.table::<u8, u8>("rows").unwrap();
    insert(&db, &rows.clone().expire_after(Duration::ZERO), &[(1, 10)]).unwrap();
    let mut attempts = 0;
    let done: Result<_, Box<dyn Error>> = db.transact(|tx| {
        attempts += 1;
        let found = (tx.get(&rows, &1)?, tx.range(&rows, ..)?.count());
        // That it leaves the file here is no change.
        db.keyspace(&format!("settles {attempts}"))?;
        db.checkpoint()?;
        tx.insert(&rows, &1, &11)?;
        Ok(found)
    });
    assert_eq!((done.unwrap(), attempts), ((None, 0), 1));
    assert_eq!(rows.get(&1).unwrap(), Some(11));
}

#[test]
fn refused_count_leaves_the_table_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let lasting = db.table::<u8, u8>("rows").unwrap().expire_after(LONG);
    insert(&db, &lasting, &[(1, 10)]).unwrap();
    let refused = lasting.keep_count();
    let expected = matches!(refused, Err(OpenError::Write(WriteError::CountedExpires { .. })));
    assert!(expected, "{refused:?}");
    insert(&db, &lasting, &[(2, 20)]).unwrap();
    db.shutdown(LONG).unwrap();
    let db = Db::open(dir.path()).unwrap();
    let lasting = db.table::<u8, u8>("rows").unwrap().expire_after(LONG);
    insert(&db, &lasting, &[(3, 30)]).unwrap();
    assert_eq!(lasting.count().unwrap(), 3);
}
