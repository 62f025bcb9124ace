//! A database with something of each kind in it, half of it settled, and ways to damage it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "not each test uses all of it")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use edge_db::{Db, DbBuilder, Entry, Seq, Table};

pub(crate) const LONG: Duration = Duration::from_secs(60);
pub(crate) const ROWS: u32 = 400;
/// Rows before this one have settled.
pub(crate) const SETTLED: u32 = 320;
pub(crate) const BLOCK: usize = 4096;
/// Each commit overwrites one of so many rows.
const OVERWRITTEN: u32 = 20;

pub(crate) type Files = BTreeMap<String, Vec<u8>>;

pub(crate) fn builder() -> DbBuilder {
    Db::builder().journal_bytes(1 << 20).memory_bytes(4 << 20)
}

/// How databases are opened: as they are, and encrypted where that is built in.
pub(crate) fn builders() -> Vec<DbBuilder> {
    vec![
        builder(),
        #[cfg(feature = "encryption")]
        builder().encryption_key(edge_db::EncryptionKey::from_bytes([7; 32])),
    ]
}

/// The file without which nothing else of an encrypted database can be read.
pub(crate) const KEY: &str = "key";

/// Blocks of the data file that stand behind one of their checksums, or seals.
pub(crate) fn group(files: &Files) -> usize {
    if files.contains_key(KEY) { BLOCK / 40 } else { BLOCK / 4 }
}

pub(crate) fn value(n: u32) -> Vec<u8> {
    n.to_le_bytes().repeat(100)
}

/// What a row is indexed by.
pub(crate) fn by(row: &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(*row.first_chunk()?) % 10)
}

/// One row and one record in each commit; `people` has all that can hang on a table.
pub(crate) fn fill(db: &Db, rows: std::ops::Range<u32>) {
    let log = db.log("readings").unwrap();
    let table = db.table::<u32, Vec<u8>>("rows").unwrap();
    let people = db.table::<String, Vec<u8>>("people").unwrap();
    let fading = db.table::<u32, String>("fading").unwrap().expire_after(LONG);
    let latest = db.table::<u32, u32>("latest").unwrap();
    let keys = db.keyspace("keys").unwrap();
    let changes = db.log("changes").unwrap();
    people.index("ten", |row: &Vec<u8>| by(row)).unwrap();
    people.keep_count().unwrap();
    people.capture_into(&changes).unwrap();
    let cursor = log.cursor("reader").unwrap();
    for n in rows {
        let mut batch = db.batch();
        batch.append(&log, Entry::new(value(n)).key(n.to_string()).header("n", "1"));
        batch.insert(&table, &n, &value(n)).unwrap();
        batch.insert(&latest, &(n % OVERWRITTEN), &n).unwrap();
        if n.is_multiple_of(4) {
            batch.insert(&people, &format!("p{n:05}"), &value(n)).unwrap();
            batch.put(&keys, n.to_be_bytes(), value(n));
            batch.insert(&fading, &n, &"soon".to_owned()).unwrap();
        }
        batch.advance(&cursor, Seq::new(log.bounds().unwrap().end.get() / 2));
        batch.commit().unwrap();
    }
}

/// Makes the database, and gives its files.
pub(crate) fn filled(dir: &Path) -> Files {
    filled_by(&builder(), dir)
}

pub(crate) fn filled_by(builder: &DbBuilder, dir: &Path) -> Files {
    let db = builder.clone().open(dir).unwrap();
    fill(&db, 0..SETTLED / 2);
    db.checkpoint().unwrap();
    fill(&db, SETTLED / 2..SETTLED);
    db.checkpoint().unwrap();
    fill(&db, SETTLED..ROWS);
    db.shutdown(LONG).unwrap();
    drop(db);
    files(dir)
}

pub(crate) fn files(dir: &Path) -> Files {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap()).filter(|name| name != "lock");
    names.map(|name| (name.clone(), fs::read(dir.join(name)).unwrap())).collect()
}

pub(crate) fn write(dir: &Path, files: &Files) {
    fs::create_dir_all(dir).unwrap();
    for entry in fs::read_dir(dir).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    for (name, bytes) in files {
        fs::write(dir.join(name), bytes).unwrap();
    }
}

pub(crate) fn altered(whole: &Files, name: &str, alter: impl FnOnce(&mut Vec<u8>)) -> Files {
    let mut files = whole.clone();
    alter(files.get_mut(name).unwrap());
    files
}

/// What is there of the rows, and that nothing of it is wrong.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) rows: Vec<u32>,
    pub(crate) people: Vec<u32>,
    pub(crate) keys: Vec<u32>,
    pub(crate) records: Vec<u32>,
}

/// Reads everything; an error if something cannot be read, a panic if it is not what was written.
pub(crate) fn look(db: &Db) -> Result<Found, Box<dyn std::error::Error>> {
    let mut found = Found::default();
    let table = db.table::<u32, Vec<u8>>("rows")?;
    for row in table.iter()? {
        let (n, row) = row?;
        assert_eq!(row, value(n), "row {n}");
        found.rows.push(n);
    }
    // An older value never comes back without all that was as old.
    let end = found.rows.last().map_or(0, |last| last + 1);
    for row in db.table::<u32, u32>("latest")?.iter()? {
        let (key, n) = row?;
        assert_eq!(n % OVERWRITTEN, key);
        assert!(
            n + OVERWRITTEN >= end,
            "row {key} has the value of {n}, the last row is {end} - 1"
        );
    }
    let people: Table<String, Vec<u8>> = db.table("people")?;
    for row in people.iter()? {
        let (key, row) = row?;
        let n = key[1..].parse()?;
        assert_eq!(row, value(n), "person {n}");
        found.people.push(n);
    }
    let index = people.index("ten", |row: &Vec<u8>| by(row))?;
    let mut indexed: Vec<u32> = Vec::new();
    for ten in 0..10 {
        for row in index.get(&ten)? {
            let (key, _): (String, Vec<u8>) = row?;
            indexed.push(key[1..].parse()?);
        }
    }
    indexed.sort_unstable();
    assert_eq!(indexed, found.people, "the index");
    people.keep_count()?;
    assert_eq!(people.count()?, found.people.len() as u64, "the count");
    for row in db.raw_rows("keys")? {
        let row = row?;
        let n = u32::from_be_bytes(row.key()[..].try_into()?);
        assert_eq!(row.value()?, value(n), "key {n}");
        found.keys.push(n);
    }
    let log = db.log("readings")?;
    let (mut from, end) = (log.bounds()?.start, log.bounds()?.end);
    let mut missing = 0;
    while from < end {
        let records = log.read(from, 1000)?;
        missing += records.missing().map_or(0, |missing| missing.end.since(missing.start));
        assert!(records.next() > from, "reading stops at {from}");
        from = records.next();
        for record in records {
            let n = u32::try_from(record.seq().get())?;
            assert_eq!(record.value(), &value(n), "record {n}");
            found.records.push(n);
        }
    }
    let lost: u64 = log.gaps()?.iter().map(|gap| gap.dropped).sum();
    assert_eq!(lost, missing, "records that are not there are told by gaps");
    Ok(found)
}

/// A small generator: the same numbers for the same seed.
#[derive(Debug)]
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end.max(1)
    }
}

/// Damages one file of those in one of the ways that media and people have.
pub(crate) fn damage(rng: &mut Rng, whole: &Files) -> (String, Files) {
    let name = whole.keys().nth(rng.below(whole.len())).unwrap().clone();
    let len = whole[&name].len();
    let block = |rng: &mut Rng| rng.below(len.div_ceil(BLOCK)) * BLOCK;
    let mut files = whole.clone();
    let bytes = files.get_mut(&name).unwrap();
    let what = match rng.below(7) {
        0 => {
            let at = rng.below(len);
            bytes[at] ^= 1 << rng.below(8);
            format!("a bit at {at} of {name} was flipped")
        }
        1 => {
            let at = block(rng);
            let end = (at + BLOCK).min(len);
            bytes[at..end].fill(0);
            format!("block {at} of {name} was zeroed")
        }
        2 => {
            let length = rng.below(len);
            bytes.truncate(length);
            format!("{name} was cut to {length}")
        }
        3 => {
            let (one, other) = (block(rng), block(rng));
            let count = BLOCK.min(len - one).min(len - other);
            bytes.copy_within(one..one + count, other);
            format!("block {one} of {name} was written over {other}")
        }
        4 => {
            let (one, other) = (block(rng), block(rng));
            let count = BLOCK.min(len - one).min(len - other);
            let old = bytes.clone();
            bytes[one..one + count].copy_from_slice(&old[other..other + count]);
            bytes[other..other + count].copy_from_slice(&old[one..one + count]);
            format!("blocks {one} and {other} of {name} were swapped")
        }
        5 => {
            files.remove(&name);
            format!("{name} was removed")
        }
        _ => {
            let at = rng.below(len);
            let end = (at + 100).min(len);
            bytes[at..end].iter_mut().for_each(|byte| *byte = !*byte);
            format!("100 bytes at {at} of {name} were turned")
        }
    };
    (what, files)
}
