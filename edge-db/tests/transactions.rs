//! Transactions behave as if one ran after the other, however many run at once.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::error::Error;

use edge_db::{Db, Entry, WriteError};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[test]
fn transfers_between_accounts_keep_the_sum() {
    const ACCOUNTS: u64 = 2;
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let accounts = db.table::<u64, i64>("accounts").unwrap();
    let journal = db.log("transfers").unwrap();
    std::thread::scope(|scope| {
        for thread in 0..48 {
            let (db, accounts, journal) = (&db, &accounts, &journal);
            scope.spawn(move || {
                for round in 0..100 {
                    let (from, to) = ((thread + round) % ACCOUNTS, (thread * round + 1) % ACCOUNTS);
                    let done: Outcome<()> = db.transact(|tx| {
                        let left = tx.get(accounts, &from)?.unwrap_or(100);
                        tx.insert(accounts, &from, &(left - 7))?;
                        let there = tx.get(accounts, &to)?.unwrap_or(100);
                        tx.insert(accounts, &to, &(there + 7))?;
                        tx.batch().append(journal, Entry::new("7"));
                        Ok(())
                    });
                    done.unwrap();
                }
            });
        }
    });
    let sum: i64 = accounts.iter().unwrap().map(|row| row.unwrap().1).sum();
    assert_eq!(sum, 100 * ACCOUNTS as i64);
    assert_eq!(journal.bounds().unwrap().end.get(), 4800, "a transfer was stored twice or not");
}

/// Each inserts its number only if it saw none of the others: a write skew would let two in.
#[test]
fn range_that_changed_is_a_conflict() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let table = db.table::<u32, ()>("on duty").unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8u32 {
            let (db, table) = (&db, &table);
            scope.spawn(move || {
                let done: Outcome<()> = db.transact(|tx| {
                    if tx.range(table, ..)?.next().is_none() {
                        tx.insert(table, &thread, &())?;
                        assert_eq!(tx.range(table, ..)?.count(), 1, "its own write is not there");
                    }
                    Ok(())
                });
                done.unwrap();
            });
        }
    });
    assert_eq!(table.iter().unwrap().count(), 1);
}

#[test]
fn error_of_the_work_stores_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let table = db.table::<u32, u32>("rows").unwrap();
    let done: Outcome<()> = db.transact(|tx| {
        tx.insert(&table, &1, &1)?;
        Err("changed its mind".into())
    });
    assert_eq!(done.unwrap_err().to_string(), "changed its mind");
    assert_eq!(table.get(&1).unwrap(), None);
}

#[test]
fn transaction_that_always_comes_second_gives_up() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let table = db.table::<u32, u32>("rows").unwrap();
    let mut attempts = 0;
    let done: Outcome<()> = db.transact(|tx| {
        let before = tx.get(&table, &1)?;
        // Somebody else is faster, each time.
        attempts += 1;
        assert!(table.compare_and_set(&1, before.as_ref(), Some(&attempts))?);
        Ok(tx.insert(&table, &2, &attempts)?)
    });
    let error = done.unwrap_err();
    let conflict = error.downcast_ref::<WriteError>();
    assert!(matches!(conflict, Some(WriteError::Conflict { .. })), "{error}");
    assert_eq!((attempts, table.get(&1).unwrap(), table.get(&2).unwrap()), (32, Some(32), None));
}

#[test]
fn row_that_moved_within_a_range_is_a_conflict() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let table = db.table::<u32, u32>("rows").unwrap();
    assert!(table.compare_and_set(&1, None, Some(&7)).unwrap());
    let mut seen = Vec::new();
    let done: Outcome<()> = db.transact(|tx| {
        let rows = tx.range(&table, ..)?.collect::<Result<Vec<_>, _>>()?;
        if seen.is_empty() {
            let mut batch = db.batch();
            batch.remove(&table, &1);
            batch.insert(&table, &2, &7)?;
            batch.commit()?;
        }
        seen.push(rows);
        Ok(tx.insert(&table, &3, &8)?)
    });
    done.unwrap();
    assert_eq!(seen, [[(1, 7)], [(2, 7)]]);
}
