//! An encrypted folder is verified and repaired with its key, which must be the right one, and what
//! is made of it is encrypted under a data key of its own. `verify.rs` and `repair.rs` damage it.

#![cfg(feature = "encryption")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod sample;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use edge_db::disk::Folder;
use edge_db::{Db, DbBuilder, EncryptionKey, Entry, OpenError, Place, Report, VerifyError};
use sample::{
    BLOCK, Files, KEY, LONG, ROWS, altered, builder, files, filled, filled_by, look, write,
};

fn with_key(byte: u8) -> DbBuilder {
    builder().encryption_key(EncryptionKey::from_bytes([byte; 32]))
}

fn verify(dir: &Path, byte: u8) -> Result<Report, VerifyError> {
    with_key(byte).verify(dir, |_| {})
}

/// Why nobody looks at it, whichever way it is asked; and nothing of it has changed.
fn refused(dir: &Path, builder: &DbBuilder) -> VerifyError {
    let before = files(dir);
    let planned = builder.clone().plan_repair(dir, |_| {}).unwrap_err();
    let disk = Arc::new(Folder::new(dir).unwrap());
    let on_disk = builder.clone().verify_on(disk, |_| {}).unwrap_err();
    let refused = builder.clone().verify(dir, |_| {}).unwrap_err();
    assert_eq!(planned.to_string(), refused.to_string());
    assert_eq!(on_disk.to_string(), refused.to_string());
    assert_eq!(files(dir), before);
    refused
}

#[test]
fn encrypted_folder_is_looked_at_with_its_key_only() {
    let dir = tempfile::tempdir().unwrap();
    let (path, plain) = (dir.path().join("db"), dir.path().join("plain"));
    let whole = filled_by(&with_key(1), &path);
    let no_key = refused(&path, &builder());
    assert!(matches!(no_key, VerifyError::KeyNeeded { .. }), "{no_key:?}");
    assert!(no_key.to_string().ends_with("give its key, by DbBuilder::encryption_key"));
    let short = edge_db::verify(&path, |_| {}).unwrap_err();
    assert!(matches!(short, VerifyError::KeyNeeded { .. }), "{short:?}");
    let short = edge_db::plan_repair(&path, |_| {}).unwrap_err();
    assert!(matches!(short, VerifyError::KeyNeeded { .. }), "{short:?}");
    let wrong = refused(&path, &with_key(2));
    assert!(matches!(wrong, VerifyError::WrongKey { .. }), "{wrong:?}");
    let (key, mut flipped) = (whole[KEY].as_slice(), whole[KEY].clone());
    flipped[50] ^= 1;
    for key in [flipped, key[..91].to_vec(), [key, b"more"].concat()] {
        write(&path, &altered(&whole, KEY, |file| *file = key));
        let damaged = refused(&path, &with_key(1));
        assert!(matches!(damaged, VerifyError::KeyDamaged { .. }), "{damaged:?}");
    }
    let mut rest = whole.clone();
    rest.remove(KEY);
    write(&path, &rest);
    for builder in [builder(), with_key(1)] {
        let missing = refused(&path, &builder);
        assert!(matches!(missing, VerifyError::KeyMissing { .. }), "{missing:?}");
        assert!(missing.to_string().contains("`key`"), "{missing}");
    }
    // The journal says what the data file does not any more.
    rest.remove("data.pages");
    write(&path, &rest);
    for builder in [builder(), with_key(1)] {
        let missing = refused(&path, &builder);
        assert!(matches!(missing, VerifyError::KeyMissing { .. }), "{missing:?}");
    }
    assert!(matches!(with_key(1).open(&path), Err(OpenError::Damaged { .. })));

    filled(&plain);
    let needless = refused(&plain, &with_key(1));
    assert!(matches!(needless, VerifyError::NotEncrypted { .. }), "{needless:?}");
    assert!(edge_db::verify(&plain, |_| {}).unwrap().is_clean());
}

/// Opening creates a key, and takes away what a rotation left.
#[test]
fn verifying_creates_and_removes_no_key() {
    let dir = tempfile::tempdir().unwrap();
    let (path, empty, begun) =
        (dir.path().join("db"), dir.path().join("empty"), dir.path().join("begun"));
    let mut whole = filled_by(&with_key(1), &path);
    whole.insert("key.new".to_owned(), vec![1; 50]);
    whole.insert("journal-00009999.new".to_owned(), vec![1; 50]);
    write(&path, &whole);
    let plan = with_key(1).plan_repair(&path, |_| {}).unwrap();
    assert!(plan.report().is_clean(), "{plan}");
    plan.apply(dir.path().join("repaired"), |_| {}).unwrap();
    assert!(verify(&path, 1).unwrap().is_clean());
    assert_eq!(files(&path), whole);

    fs::create_dir(&empty).unwrap();
    assert!(matches!(verify(&empty, 1), Err(VerifyError::NoDatabase { .. })));
    assert_eq!(fs::read_dir(&empty).unwrap().count(), 0);

    // The power went when there was no more than a key.
    fs::create_dir(&begun).unwrap();
    fs::write(begun.join(KEY), &whole[KEY]).unwrap();
    assert!(verify(&begun, 1).unwrap().is_clean());
    assert!(matches!(verify(&begun, 2), Err(VerifyError::WrongKey { .. })));
    assert_eq!(files(&begun).len(), 1);
    with_key(1).open(&begun).unwrap().shutdown(LONG).unwrap();
}

#[test]
fn key_is_the_one_that_it_was_last_rotated_to() {
    let dir = tempfile::tempdir().unwrap();
    filled_by(&with_key(1), dir.path());
    let db = with_key(1).open(dir.path()).unwrap();
    db.rotate_key(&EncryptionKey::from_bytes([2; 32])).unwrap();
    assert!(matches!(verify(dir.path(), 2), Err(VerifyError::InUse { .. })));
    db.shutdown(LONG).unwrap();
    assert!(matches!(verify(dir.path(), 1), Err(VerifyError::WrongKey { .. })));
    assert!(verify(dir.path(), 2).unwrap().is_clean());
}

/// The caller's key opens both of them.
#[test]
fn key_file_of_another_database_is_named_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let (path, other) = (dir.path().join("db"), dir.path().join("other"));
    let whole = filled_by(&with_key(1), &path);
    with_key(1).open(&other).unwrap().shutdown(LONG).unwrap();
    fs::copy(other.join(KEY), path.join(KEY)).unwrap();
    let report = verify(&path, 1).unwrap();
    let place = Place::File { name: KEY.to_owned(), offset: None };
    let told = report.findings.iter().find(|finding| finding.place == place);
    let told = told.unwrap_or_else(|| panic!("{:#?}", report.findings));
    assert!(told.what.contains("no block of data.pages can be decrypted"), "{told}");
    assert_eq!(report.entries, 0);
    write(&path, &whole);
    assert!(verify(&path, 1).unwrap().is_clean());
}

/// Whether bytes stand in any of the files.
fn holds(files: &Files, wanted: &[u8]) -> bool {
    files.values().any(|file| file.windows(wanted.len()).any(|bytes| bytes == wanted))
}

#[test]
fn repaired_database_is_encrypted_under_a_data_key_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let [path, new, plain] = ["db", "new", "plain"].map(|name| dir.path().join(name));
    let whole = filled_by(&with_key(1), &path);
    // From the end on, until it is a block in which something is stored.
    let mut blocks = (0..whole["data.pages"].len()).step_by(BLOCK).rev();
    let plan = blocks.find_map(|block| {
        write(&path, &altered(&whole, "data.pages", |bytes| bytes[block + 100] ^= 1));
        let plan = with_key(1).plan_repair(&path, |_| {}).unwrap();
        plan.to_string().contains("cannot be read").then_some(plan)
    });
    let plan = plan.expect("no block holds anything");
    let (debug, rows) = (format!("{plan:?}"), plan.report().entries);
    assert!(debug.len() < 2000 && rows > 500, "there is more than the report in {debug}");
    plan.apply(&new, |_| {}).unwrap();

    let repaired = files(&new);
    let words = [&sample::value(ROWS / 2)[..40], b"readings", b"people", b"p00200"];
    assert!(words.iter().all(|word| !holds(&repaired, word)));
    let shown = filled(&plain);
    assert!(words.iter().all(|word| holds(&shown, word)), "the test sees nothing");
    assert!(matches!(Db::open(&new), Err(OpenError::KeyNeeded { .. })));
    let db = with_key(1).open(&new).unwrap();
    assert!(look(&db).unwrap().rows.len() > 300);
    // Its commits go on with revisions that the damaged one had, or goes on to.
    let log = db.log("readings").unwrap();
    log.append(Entry::new("new")).unwrap();
    db.shutdown(LONG).unwrap();
    drop((log, db));
    assert!(verify(&new, 1).unwrap().is_clean());

    assert_ne!(repaired[KEY], whole[KEY]);
    let mixed = altered(&files(&new), KEY, |key| key.copy_from_slice(&whole[KEY]));
    write(&path, &mixed);
    assert!(matches!(with_key(1).open(&path), Err(OpenError::Damaged { .. })));
    assert!(!verify(&path, 1).unwrap().is_clean());
}

/// Left over where the repaired one was put in place of the damaged one file by file.
#[test]
fn commits_of_the_damaged_one_do_not_come_back_in_the_repaired_one() {
    let dir = tempfile::tempdir().unwrap();
    let [path, new] = ["db", "new"].map(|name| dir.path().join(name));
    let whole = filled_by(&with_key(1), &path);
    let segments = whole.iter().filter(|(name, _)| name.starts_with("journal"));
    let (name, bytes) = segments.max_by_key(|(_, bytes)| bytes[16..24].to_vec()).unwrap();
    let length = u32::from_le_bytes(*bytes[72..].first_chunk().unwrap()) as usize;
    let second = 64 + (32 + length).next_multiple_of(8);
    write(&path, &altered(&whole, name, |bytes| bytes[second + 40] ^= 1));
    let plan = with_key(1).plan_repair(&path, |_| {}).unwrap();
    assert!(plan.to_string().contains("commits"), "{plan}");
    plan.apply(&new, |_| {}).unwrap();
    let repaired = files(&new);
    let mut mixed = repaired.clone();
    mixed.insert(name.clone(), bytes.clone());
    write(&new, &mixed);
    assert!(matches!(with_key(1).open(&new), Err(OpenError::Damaged { .. })));
    let report = verify(&new, 1).unwrap();
    assert_eq!(report.commits, 0, "{report:?}");
    let is_named =
        |place: &Place| matches!(place, Place::File { name: found, .. } if found == name);
    assert!(report.findings.iter().any(|finding| is_named(&finding.place)), "{report:#?}");
    write(&new, &repaired);
    assert!(verify(&new, 1).unwrap().is_clean());
}
