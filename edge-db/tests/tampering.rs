//! Whoever writes to the disk without the key changes nothing unnoticed: blocks put elsewhere or
//! taken away, with what the file says of them, are errors, or nobody needs them.

#![cfg(feature = "encryption")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::error::Error;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use edge_db::{Db, EncryptionKey};

const LONG: Duration = Duration::from_secs(60);
const BLOCK: usize = 4096;
const SEAL: usize = 40;
const GROUP: usize = BLOCK / SEAL;
const ROWS: u8 = 10;

fn open(dir: &Path) -> Result<Db, Box<dyn Error>> {
    Ok(Db::builder().encryption_key(EncryptionKey::from_bytes([7; 32])).open(dir)?)
}

/// Several blocks long: redb looks at the first one only.
fn value(row: u8) -> Vec<u8> {
    (0..20_000_usize).map(|at| row ^ u8::try_from(at % 251).unwrap()).collect()
}

/// Settles rows, and gives the data file.
fn filled(dir: &Path) -> Vec<u8> {
    let db = open(dir).unwrap();
    let table = db.keyspace("rows").unwrap();
    for row in 0..ROWS {
        let mut batch = db.batch();
        batch.put(&table, [row], value(row));
        batch.commit().unwrap();
    }
    db.checkpoint().unwrap();
    db.shutdown(LONG).unwrap();
    fs::read(dir.join("data.pages")).unwrap()
}

/// Fails if anything is altered without an error.
fn look(dir: &Path) -> Result<(), Box<dyn Error>> {
    let db = open(dir)?;
    let read = read_all(&db);
    // Whatever was found: the folder is opened again.
    db.shutdown(LONG)?;
    read
}

fn read_all(db: &Db) -> Result<(), Box<dyn Error>> {
    let table = db.keyspace("rows")?;
    for row in 0..ROWS {
        let found = table.get([row])?;
        assert!(found.is_some_and(|found| found == value(row)), "row {row} is lost or altered");
    }
    Ok(())
}

/// Where a block of redb's is, and its entry.
fn places(block: usize) -> [Range<usize>; 2] {
    let front = block / GROUP * (GROUP + 1) * BLOCK;
    let (entry, place) = (front + block % GROUP * SEAL, front + (block % GROUP + 1) * BLOCK);
    [place..place + BLOCK, entry..entry + SEAL]
}

fn outcomes(alter: impl Fn(&mut Vec<u8>, usize)) -> (usize, usize) {
    let dir = tempfile::tempdir().unwrap();
    let whole = filled(dir.path());
    let blocks = whole.len() / BLOCK;
    let count = blocks - blocks.div_ceil(GROUP + 1);
    let (mut errors, mut intact) = (0, 0);
    for block in 1..count - 1 {
        let mut altered = whole.clone();
        alter(&mut altered, block);
        if altered == whole {
            continue;
        }
        fs::write(dir.path().join("data.pages"), altered).unwrap();
        match look(dir.path()) {
            Ok(()) => intact += 1,
            Err(error) => {
                assert!(!error.to_string().contains("in use"), "{error}");
                errors += 1;
            }
        }
    }
    (errors, intact)
}

#[test]
fn block_put_in_place_of_another_with_its_entry_is_noticed() {
    let (errors, intact) = outcomes(|file, block| {
        for (from, to) in places(block).into_iter().zip(places(block + 1)) {
            file.copy_within(from, to.start);
        }
    });
    assert!(errors > 40, "{errors} errors, {intact} intact");
}

#[test]
fn block_taken_away_with_its_entry_is_noticed() {
    let (errors, intact) = outcomes(|file, block| {
        places(block).into_iter().for_each(|place| file[place].fill(0));
    });
    assert!(errors > 40, "{errors} errors, {intact} intact");
}
