//! What `verify` says of whole and of damaged databases: nothing is wrong with what a kill leaves,
//! and whatever a reader would come by is found and named, in a folder that stays as it is.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod sample;

use std::fs;

use edge_db::{Db, Place, VerifyError, restore, verify};
use sample::{BLOCK, Files, LONG, ROWS, Rng, SETTLED, altered, builder, fill, filled, look, write};

#[test]
fn whole_database_is_clean_and_all_of_it_was_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let files = filled(dir.path());
    let mut told = Vec::new();
    let report = verify(dir.path(), |progress| told.push(progress.done_bytes)).unwrap();
    assert!(report.is_clean(), "{:#?}", report.findings);
    assert_eq!(report.blocks, files["data.pages"].len() as u64 / 4096 - 1);
    assert!(report.commits >= u64::from(ROWS - SETTLED), "{report:?}");
    assert!(report.entries > u64::from(ROWS), "{report:?}");
    assert_eq!(report.names, 10);
    assert!(told.is_sorted() && told.last() >= Some(&(report.blocks * 4096 / 2)), "{told:?}");
    assert_eq!(sample::files(dir.path()), files, "verifying changes nothing");
}

/// A copy of the folder is what a kill leaves: whatever the database has done by then.
#[test]
fn what_a_kill_leaves_is_clean() {
    let dir = tempfile::tempdir().unwrap();
    let (path, copy) = (dir.path().join("db"), dir.path().join("copy"));
    let db = builder().open(&path).unwrap();
    for round in 0..12 {
        fill(&db, round * 20..(round + 1) * 20);
        if round.is_multiple_of(3) {
            db.checkpoint().unwrap();
        }
        write(&copy, &sample::files(&path));
        let report = verify(&copy, |_| {}).unwrap();
        assert!(report.is_clean(), "round {round}: {:#?}", report.findings);
        assert!(db.verify().unwrap().is_clean(), "round {round}: {:#?}", db.verify().unwrap());
    }
    assert!(matches!(verify(&path, |_| {}), Err(VerifyError::InUse { .. })));
    let mut backup = Vec::new();
    db.backup(&mut backup).unwrap();
    restore(backup.as_slice(), dir.path().join("restored")).unwrap();
    assert!(verify(dir.path().join("restored"), |_| {}).unwrap().is_clean());
    // A copy is opened while it is verified, and the other way round.
    let other = builder().open(&copy).unwrap();
    look(&other).unwrap();
    other.shutdown(LONG).unwrap();
    assert!(verify(&copy, |_| {}).unwrap().is_clean());
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
fn is_readable(dir: &std::path::Path) -> bool {
    let looked = std::panic::catch_unwind(|| {
        let db = builder().open(dir).ok()?;
        let found = look(&db).ok()?;
        db.shutdown(LONG).ok()?;
        Some(found.rows.len() == ROWS as usize && found.records.len() == ROWS as usize)
    });
    looked.ok().flatten().unwrap_or(false)
}

/// Verifies each damaged version: what cannot be read must be found.
fn check(damaged: impl Iterator<Item = (String, Files)>) -> usize {
    let dir = tempfile::tempdir().unwrap();
    let mut found = 0;
    for (what, files) in damaged {
        write(dir.path(), &files);
        let report = verify(dir.path(), |_| {}).unwrap_or_else(|error| panic!("{what}: {error}"));
        found += usize::from(!report.is_clean());
        assert!(!report.is_clean() || is_readable(dir.path()), "{what}, and verify finds nothing");
    }
    found
}

#[test]
fn flipped_bits_are_found_wherever_a_reader_would_come_by_them() {
    let dir = tempfile::tempdir().unwrap();
    let whole = &filled(dir.path());
    let damaged = whole.iter().flat_map(|(name, bytes)| {
        let places = (0..bytes.len()).step_by((bytes.len() / 40).max(3));
        let places = (0..bytes.len().min(320)).step_by(29).chain(places);
        places.map(move |at| {
            let files = altered(whole, name, |bytes| bytes[at] ^= 0x10);
            (format!("byte {at} of {name} was flipped"), files)
        })
    });
    let found = check(damaged);
    assert!(found > 50, "{found} found: the test sees nothing");
}

#[test]
fn other_damage_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let whole = filled(dir.path());
    let mut rng = Rng(1);
    let found = check((0..60).map(|_| sample::damage(&mut rng, &whole)));
    assert!(found > 25, "{found} found: the test sees nothing");
}

/// The youngest segment of the journal.
fn youngest(files: &Files) -> String {
    let segments = files.iter().filter(|(name, _)| name.starts_with("journal"));
    segments.max_by_key(|(_, bytes)| bytes[16..24].to_vec()).unwrap().0.clone()
}

#[test]
fn findings_name_file_and_offset() {
    let dir = tempfile::tempdir().unwrap();
    let whole = filled(dir.path());
    let journal = youngest(&whole);
    let cases = [
        (journal.as_str(), 100, Some(64)),
        (journal.as_str(), 3, None),
        ("data.pages", 0, Some(0)),
        ("data.pages", BLOCK, Some(BLOCK as u64)),
        ("durable", 3, None),
    ];
    for (name, at, offset) in cases {
        write(dir.path(), &altered(&whole, name, |bytes| bytes[at] ^= 1));
        let report = verify(dir.path(), |_| {}).unwrap();
        let place = Place::File { name: name.to_owned(), offset };
        let named = report.findings.iter().any(|finding| finding.place == place);
        assert!(named, "{name} at {at}: {:#?}", report.findings);
    }
    for block in 2..whole["data.pages"].len() / BLOCK {
        let files = altered(&whole, "data.pages", |bytes| bytes[block * BLOCK + 9] ^= 1);
        write(dir.path(), &files);
        let report = verify(dir.path(), |_| {}).unwrap();
        let at = (block * BLOCK) as u64;
        // A page may begin before; what nobody uses is counted.
        let is_named = report.findings.iter().any(|finding| {
            matches!(finding.place, Place::File { offset: Some(offset), .. } if offset <= at)
        });
        assert!(is_named || report.unused_blocks == 1, "block {block}: {:#?}", report.findings);
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
