//! What `verify` says of whole and of damaged databases: nothing is wrong with what a kill leaves,
//! and whatever a reader would come by is found and named, in a folder that stays as it is.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod sample;

use std::fs;
use std::path::Path;

use edge_db::{Db, DbBuilder, Place, VerifyError, restore, verify};
use sample::{
    BLOCK, Files, KEY, LONG, ROWS, Rng, SETTLED, altered, builder, builders, fill, filled,
    filled_by, look, write,
};

#[test]
fn whole_database_is_clean_and_all_of_it_was_looked_at() {
    for builder in builders() {
        let dir = tempfile::tempdir().unwrap();
        let files = filled_by(&builder, dir.path());
        whole_is_clean(builder, dir.path(), &files);
    }
}

fn whole_is_clean(builder: DbBuilder, dir: &Path, files: &Files) {
    let mut told = Vec::new();
    let report = builder.verify(dir, |progress| told.push(progress.done_bytes)).unwrap();
    assert!(report.is_clean(), "{:#?}", report.findings);
    let blocks = files["data.pages"].len() / BLOCK;
    assert_eq!(report.blocks, (blocks - blocks.div_ceil(sample::group(files) + 1)) as u64);
    assert_eq!(report.unused_blocks, 0);
    assert!(report.commits >= u64::from(ROWS - SETTLED), "{report:?}");
    assert!(report.entries > u64::from(ROWS), "{report:?}");
    assert_eq!(report.names, 10);
    assert!(told.is_sorted() && told.last() >= Some(&(report.blocks * 4096 / 2)), "{told:?}");
    assert_eq!(&sample::files(dir), files, "verifying changes nothing");
}

/// A copy of the folder is what a kill leaves: whatever the database has done by then.
#[test]
fn what_a_kill_leaves_is_clean() {
    for builder in builders() {
        let dir = tempfile::tempdir().unwrap();
        killed_is_clean(&builder, dir.path());
    }
}

fn killed_is_clean(builder: &DbBuilder, dir: &Path) {
    let (path, copy) = (dir.join("db"), dir.join("copy"));
    let verify = |dir: &Path| builder.clone().verify(dir, |_| {});
    let db = builder.clone().open(&path).unwrap();
    for round in 0..12 {
        fill(&db, round * 20..(round + 1) * 20);
        if round.is_multiple_of(3) {
            db.checkpoint().unwrap();
        }
        write(&copy, &sample::files(&path));
        let report = verify(&copy).unwrap();
        assert!(report.is_clean(), "round {round}: {:#?}", report.findings);
        assert!(db.verify().unwrap().is_clean(), "round {round}: {:#?}", db.verify().unwrap());
    }
    assert!(matches!(verify(&path), Err(VerifyError::InUse { .. })));
    if !sample::files(&copy).contains_key(KEY) {
        let mut backup = Vec::new();
        db.backup(&mut backup).unwrap();
        restore(backup.as_slice(), dir.join("restored")).unwrap();
        assert!(verify(&dir.join("restored")).unwrap().is_clean());
    }
    // A copy is opened while it is verified, and the other way round.
    let other = builder.clone().open(&copy).unwrap();
    look(&other).unwrap();
    other.shutdown(LONG).unwrap();
    assert!(verify(&copy).unwrap().is_clean());
}

#[test]
fn empty_and_foreign_folders_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(verify(dir.path(), |_| {}), Err(VerifyError::NoDatabase { .. })));
    assert!(matches!(verify(dir.path().join("not"), |_| {}), Err(VerifyError::Folder { .. })));
    assert!(!dir.path().join("not").exists());
    let path = dir.path().join("db");
    Db::open(&path).unwrap().shutdown(LONG).unwrap();
    let report = verify(&path, |_| {}).unwrap();
    assert!(report.is_clean(), "{report:?}");
    fs::write(path.join("restoring"), "").unwrap();
    assert!(matches!(verify(&path, |_| {}), Err(VerifyError::Incomplete { .. })));
    // The power went before the data file was complete.
    let unborn = dir.path().join("unborn");
    fs::create_dir(&unborn).unwrap();
    fs::write(unborn.join("data.pages.new"), [0; 100]).unwrap();
    let report = verify(&unborn, |_| {}).unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
}

/// Whether everything can be read.
fn is_readable(builder: &DbBuilder, dir: &Path) -> bool {
    let builder = builder.clone();
    let looked = std::panic::catch_unwind(|| {
        let db = builder.open(dir).ok()?;
        let found = look(&db).ok()?;
        db.shutdown(LONG).ok()?;
        Some(found.rows.len() == ROWS as usize && found.records.len() == ROWS as usize)
    });
    looked.ok().flatten().unwrap_or(false)
}

/// Verifies each damaged version: what cannot be read must be found.
fn check(builder: &DbBuilder, damaged: impl Iterator<Item = (String, Files)>) -> usize {
    let dir = tempfile::tempdir().unwrap();
    let mut found = 0;
    for (what, files) in damaged {
        write(dir.path(), &files);
        let is_clean = match builder.clone().verify(dir.path(), |_| {}) {
            Ok(report) => report.is_clean(),
            Err(VerifyError::KeyDamaged { .. } | VerifyError::KeyMissing { .. }) => false,
            Err(error) => panic!("{what}: {error}"),
        };
        found += usize::from(!is_clean);
        assert!(!is_clean || is_readable(builder, dir.path()), "{what}, and verify finds nothing");
    }
    found
}

#[test]
fn flipped_bits_are_found_wherever_a_reader_would_come_by_them() {
    for builder in builders() {
        let dir = tempfile::tempdir().unwrap();
        let whole = &filled_by(&builder, dir.path());
        // Decrypting takes its time in a test.
        let (tries, fine, least) = if whole.contains_key(KEY) { (8, 61, 25) } else { (40, 29, 50) };
        let damaged = whole.iter().flat_map(|(name, bytes)| {
            let places = (0..bytes.len()).step_by((bytes.len() / tries).max(3));
            let places = (0..bytes.len().min(320)).step_by(fine).chain(places);
            places.map(move |at| {
                let files = altered(whole, name, |bytes| bytes[at] ^= 0x10);
                (format!("byte {at} of {name} was flipped"), files)
            })
        });
        let found = check(&builder, damaged);
        assert!(found > least, "{found} found: the test sees nothing");
    }
}

#[test]
fn other_damage_is_found() {
    for builder in builders() {
        let dir = tempfile::tempdir().unwrap();
        let whole = filled_by(&builder, dir.path());
        let mut rng = Rng(1);
        let tries = if whole.contains_key(KEY) { 20 } else { 60 };
        let found = check(&builder, (0..tries).map(|_| sample::damage(&mut rng, &whole)));
        assert!(found > tries / 3, "{found} found: the test sees nothing");
    }
}

/// The youngest segment of the journal.
fn youngest(files: &Files) -> String {
    let segments = files.iter().filter(|(name, _)| name.starts_with("journal"));
    segments.max_by_key(|(_, bytes)| bytes[16..24].to_vec()).unwrap().0.clone()
}

#[test]
fn findings_name_file_and_offset() {
    for builder in builders() {
        let dir = tempfile::tempdir().unwrap();
        let whole = filled_by(&builder, dir.path());
        let damage_is_named = |name: &str, at: usize, is_named: &dyn Fn(Option<u64>) -> bool| {
            write(dir.path(), &altered(&whole, name, |bytes| bytes[at] ^= 1));
            let report = builder.clone().verify(dir.path(), |_| {}).unwrap();
            let found = report.findings.iter().any(|finding| match &finding.place {
                Place::File { name: found, offset } => found == name && is_named(*offset),
                _ => false,
            });
            // What nobody uses is counted.
            let is_unused = report.is_clean() && report.unused_blocks == 1;
            assert!(found || is_unused, "{name} at {at}: {:#?}", report.findings);
        };
        let journal = youngest(&whole);
        let cases = [
            (journal.as_str(), 100, Some(64)),
            (journal.as_str(), 3, None),
            ("data.pages", 0, Some(0)),
            ("data.pages", BLOCK, Some(BLOCK as u64)),
            ("durable", 3, None),
        ];
        for (name, at, offset) in cases {
            damage_is_named(name, at, &|found| found == offset);
        }
        let group = sample::group(&whole);
        // Decrypting takes its time in a test.
        let step = if whole.contains_key(KEY) { 9 } else { 1 };
        for block in (2..whole["data.pages"].len() / BLOCK).step_by(step) {
            let entries = block / (group + 1) * (group + 1);
            if block == entries {
                continue;
            }
            // A page may begin before.
            let offset = (block * BLOCK) as u64;
            let is_named = |found: Option<u64>| found.is_some_and(|found| found <= offset);
            damage_is_named("data.pages", block * BLOCK + 9, &is_named);
            // Its checksum or, of its seal, the tag.
            let entry = entries * BLOCK + (block - entries - 1) * (BLOCK / group) + 3;
            let entry = if whole.contains_key(KEY) { entry + 30 } else { entry };
            damage_is_named("data.pages", entry, &is_named);
        }
    }
}

/// What no checksum shows: rows and what hangs on them do not agree.
#[test]
fn open_database_finds_index_entries_that_are_not_what_their_rows_say() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let db = builder().open(dir.path()).unwrap();
    let people = db.table::<String, Vec<u8>>("people").unwrap();
    // The same index with other code finds all rows in the wrong place.
    people.index("ten", |row: &Vec<u8>| sample::by(row).map(|ten| ten + 1)).unwrap();
    let report = db.verify().unwrap();
    let [finding] = report.findings.as_slice() else { panic!("{:#?}", report.findings) };
    assert_eq!(finding.place, Place::Name("index `ten` of `people`".to_owned()));
}
