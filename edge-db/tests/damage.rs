//! Bytes of every file flipped, cut off, swapped, doubled, taken from an older state, files gone:
//! all of the data comes back, or an error says what is damaged. Never a record less, never a
//! panic that gets out.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use edge_db::{Db, DbBuilder, Entry};

const LONG: Duration = Duration::from_secs(60);
const ROWS: u32 = 120;
const BLOCK: usize = 4096;

type Files = BTreeMap<String, Vec<u8>>;
type Outcome = Result<(), Box<dyn std::error::Error>>;

/// How databases are opened: as they are, and encrypted where that is built in.
fn builders() -> Vec<DbBuilder> {
    vec![
        Db::builder(),
        #[cfg(feature = "encryption")]
        Db::builder().encryption_key(edge_db::EncryptionKey::from_bytes([7; 32])),
    ]
}

/// Fills a database, half of it settled, and gives its files.
fn filled(dir: &Path, builder: &DbBuilder) -> Files {
    let db = builder.clone().journal_bytes(0).open(dir).unwrap();
    let log = db.log("readings").unwrap();
    let table = db.table::<u32, Vec<u8>>("rows").unwrap();
    for n in 0..ROWS {
        let mut batch = db.batch();
        batch.append(&log, Entry::new(vec![1; 400]).key(n.to_string()));
        batch.insert(&table, &n, &vec![2; 400]).unwrap();
        // Some become durable with the next one.
        let batch = if n % 3 == 1 { batch.within(LONG) } else { batch };
        batch.commit().unwrap();
        if n == ROWS / 2 {
            db.checkpoint().unwrap();
        }
    }
    db.shutdown(LONG).unwrap();
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    let files = files.map(|name| name.into_string().unwrap()).filter(|name| name != "lock");
    files.map(|name| (name.clone(), fs::read(dir.join(name)).unwrap())).collect()
}

fn write(dir: &Path, files: &Files) {
    for entry in fs::read_dir(dir).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    for (name, bytes) in files {
        fs::write(dir.join(name), bytes).unwrap();
    }
}

/// Fails if anything is missing without an error.
fn look(dir: &Path, builder: &DbBuilder, check: bool) -> Outcome {
    let db = builder.clone().check_on_open(check).open(dir)?;
    let log = db.log("readings")?;
    let table = db.table::<u32, Vec<u8>>("rows")?;
    let records = log.read(log.bounds()?.start, usize::MAX)?;
    let rows = table.iter()?.collect::<Result<Vec<_>, _>>()?;
    for n in 0..ROWS {
        assert_eq!(table.get(&n)?, Some(vec![2; 400]), "row {n} is lost or altered");
    }
    let values = records.iter().map(|record| record.value());
    assert!(values.eq(std::iter::repeat_n(&vec![1; 400], ROWS as usize)), "records are altered");
    assert!(rows.iter().map(|(n, _)| *n).eq(0..ROWS), "rows are altered");
    db.shutdown(LONG)?;
    Ok(())
}

/// Looks at each damaged version of the files, and gives how many were errors and how many whole.
fn outcomes(
    builder: &DbBuilder,
    whole: &Files,
    damaged: impl Iterator<Item = (String, Files)>,
) -> (usize, usize) {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), whole);
    look(dir.path(), builder, false).unwrap();
    let (mut errors, mut intact) = (0, 0);
    for (number, (what, files)) in damaged.enumerate() {
        write(dir.path(), &files);
        let looked =
            catch_unwind(AssertUnwindSafe(|| look(dir.path(), builder, number.is_multiple_of(5))));
        match looked {
            Ok(Ok(())) => intact += 1,
            Ok(Err(error)) => {
                errors += 1;
                assert!(!error.to_string().is_empty());
            }
            Err(_) => panic!("after {what}"),
        }
    }
    (errors, intact)
}

fn altered(whole: &Files, name: &str, alter: impl FnOnce(&mut Vec<u8>)) -> Files {
    let mut files = whole.clone();
    alter(files.get_mut(name).unwrap());
    files
}

#[test]
fn flipped_bytes_give_an_error_or_all_of_the_data() {
    for builder in builders() {
        let dir = tempfile::tempdir().unwrap();
        let whole = filled(dir.path(), &builder);
        let whole = &whole;
        let damaged = whole.iter().flat_map(|(name, bytes)| {
            let fine = (0..bytes.len().min(512)).step_by(17);
            let places = fine.chain((0..bytes.len()).step_by((bytes.len() / 60).max(1)));
            // The tail of the journal: where a damaged record looks most like a torn one.
            let used = bytes.iter().rposition(|&byte| byte != 0).unwrap_or(0);
            let places = places.chain((used.saturating_sub(900)..=used).step_by(23));
            places.map(move |at| {
                let files = altered(whole, name, |bytes| bytes[at] ^= 0x55);
                (format!("byte {at} of {name} was flipped"), files)
            })
        });
        let (errors, intact) = outcomes(&builder, whole, damaged);
        assert!(
            errors > 50 && intact > 50,
            "{errors} errors, {intact} intact: the test sees nothing"
        );
    }
}

#[test]
fn files_cut_short_or_gone_give_an_error_or_all_of_the_data() {
    for builder in builders() {
        let dir = tempfile::tempdir().unwrap();
        let whole = filled(dir.path(), &builder);
        let whole = &whole;
        let damaged = whole.iter().flat_map(|(name, bytes)| {
            let lengths = [0, 1, 63, 100, 4096, bytes.len() / 2, bytes.len() - 1];
            let cut =
                lengths.into_iter().filter(|length| *length < bytes.len()).map(move |length| {
                    let files = altered(whole, name, |bytes| bytes.truncate(length));
                    (format!("{name} was cut to {length} bytes"), files)
                });
            let mut gone = whole.clone();
            gone.remove(name);
            cut.chain([(format!("{name} was removed"), gone)])
        });
        let (errors, _) = outcomes(&builder, whole, damaged);
        assert!(errors >= 2 * whole.len(), "{errors} errors over {} files", whole.len());
    }
}

#[test]
fn swapped_and_doubled_blocks_give_an_error_or_all_of_the_data() {
    for builder in builders() {
        let dir = tempfile::tempdir().unwrap();
        let whole = filled(dir.path(), &builder);
        let mut damaged = Vec::new();
        for (name, bytes) in &whole {
            let blocks = bytes.len() / BLOCK;
            for (one, other) in
                (0..blocks.saturating_sub(1)).step_by(2).flat_map(|n| [(n, n + 1), (n + 1, n)])
            {
                let files = altered(&whole, name, |bytes| {
                    bytes.copy_within(one * BLOCK..(one + 1) * BLOCK, other * BLOCK);
                });
                damaged.push((format!("block {one} of {name} was written over {other}"), files));
            }
            for one in (0..blocks.saturating_sub(3)).step_by(3) {
                let files = altered(&whole, name, |bytes| {
                    let (front, back) = bytes.split_at_mut((one + 3) * BLOCK);
                    front[one * BLOCK..(one + 1) * BLOCK].swap_with_slice(&mut back[..BLOCK]);
                });
                damaged.push((format!("block {one} of {name} was swapped"), files));
            }
        }
        for (name, bytes) in whole.iter().filter(|(name, _)| name.starts_with("journal")) {
            let mut files = whole.clone();
            files.insert("journal-00009999".to_owned(), bytes.clone());
            damaged.push((format!("{name} was there twice"), files));
        }
        let (errors, _) = outcomes(&builder, &whole, damaged.into_iter());
        assert!(errors > 10, "{errors} errors");
    }
}

#[test]
fn damage_is_named_with_file_and_offset() {
    for builder in builders() {
        let dir = tempfile::tempdir().unwrap();
        let whole = filled(dir.path(), &builder);
        // The youngest segment is the one with the highest number.
        let segments = whole.iter().filter(|(name, _)| name.starts_with("journal"));
        let (journal, _) = segments.max_by_key(|(_, bytes)| bytes[16..24].to_vec()).unwrap();
        let files = altered(&whole, journal, |bytes| bytes[100] ^= 1);
        write(dir.path(), &files);
        let error = builder.open(dir.path()).unwrap_err();
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        assert!(text.contains(&format!("{journal} is damaged at offset 64")), "{text}");
    }
}
