//! A backup taken while writing goes on is one moment of the database; a damaged one is refused.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicBool, Ordering};

use edge_db::{Db, Entry, OpenError, RestoreError, Seq, restore};

/// Each batch puts its number under 50 keys and into the log, and moves the cursor behind it.
fn write(db: &Db, number: u64) {
    let (table, log) = (db.table::<u64, u64>("rows").unwrap(), db.log("log").unwrap());
    let cursor = log.cursor("reader").unwrap();
    let mut batch = db.batch();
    (0..50).for_each(|key| batch.insert(&table, &key, &number).unwrap());
    batch.append(&log, Entry::new(number.to_string()));
    batch.advance(&cursor, Seq::new(number + 1));
    batch.commit().unwrap();
}

/// The number of the last batch, if all of the database is of that.
fn moment(db: &Db) -> u64 {
    let (table, log) = (db.table::<u64, u64>("rows").unwrap(), db.log("log").unwrap());
    let rows: Vec<u64> = table.iter().unwrap().map(|row| row.unwrap().1).collect();
    let number = rows[0];
    assert!(rows.len() == 50 && rows.iter().all(|row| *row == number), "half a batch");
    assert_eq!(log.bounds().unwrap().end.get(), number + 1);
    assert_eq!(log.cursor("reader").unwrap().position().unwrap().get(), number + 1);
    number
}

#[test]
fn backup_beside_a_writer_is_one_moment() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::builder().memory_bytes(0).open(dir.path().join("db")).unwrap();
    (0..50).for_each(|number| write(&db, number));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (50..).take_while(|_| !stop.load(Ordering::Relaxed)).for_each(|n| write(&db, n));
        });
        for round in 0..5 {
            let before = db.log("log").unwrap().bounds().unwrap().end.get() - 1;
            let mut bytes = Vec::new();
            let summary = db.backup(&mut bytes).unwrap();
            let copy = dir.path().join(round.to_string());
            assert_eq!(restore(bytes.as_slice(), &copy).unwrap(), summary);
            let copy = Db::open(&copy).unwrap();
            assert!(moment(&copy) >= before);
            // And it is a database to go on with.
            write(&copy, moment(&copy) + 1);
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn damaged_backup_is_refused_and_leaves_no_database() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path().join("db")).unwrap();
    (0..5).for_each(|number| write(&db, number));
    let mut whole = Vec::new();
    db.backup(&mut whole).unwrap();
    let flipped = (0..whole.len()).step_by(97).map(|at| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        bytes
    });
    let cut = (0..whole.len()).step_by(301).map(|len| whole[..len].to_vec());
    for (round, bytes) in flipped.chain(cut).enumerate() {
        let copy = dir.path().join(format!("copy{round}"));
        let restored = restore(bytes.as_slice(), &copy);
        assert!(restored.is_err(), "round {round}: {restored:?}");
        if let Err(RestoreError::Damaged { .. }) = restored {
            assert!(matches!(Db::open(&copy), Err(OpenError::Damaged { .. })));
            std::fs::remove_dir_all(&copy).unwrap();
        }
        assert!(!copy.exists(), "round {round}: what is no backup makes no folder");
    }
    let refused = restore(whole.as_slice(), dir.path().join("db"));
    assert!(matches!(refused, Err(RestoreError::NotEmpty { .. })), "{refused:?}");
}
