//! What opening answers: names that are something else, a folder in use, foreign files.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::time::Duration;

use edge_db::{Db, DecodeError, Entry, OpenError, ReadError, WriteError};

const LONG: Duration = Duration::from_secs(60);

#[test]
fn name_opened_as_something_else_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    db.table::<u32, u32>("rooms").unwrap();
    let error = db.log("rooms").unwrap_err();
    assert_eq!(
        error.to_string(),
        "`rooms` is stored as a table with keys of kind u32, it cannot be opened as a log"
    );
    let error = db.table::<(String, u32), u32>("rooms").unwrap_err();
    assert!(matches!(error, OpenError::Kind { .. }));
    assert!(matches!(db.log(""), Err(OpenError::Name { bytes: 0 })));
}

#[test]
fn value_of_another_schema_version_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let table = db.table::<u32, u32>("rooms").unwrap();
    let mut batch = db.batch();
    batch.insert(&table, &1, &1).unwrap();
    batch.commit().unwrap();
    let newer = db.table::<u32, (u32, String)>("rooms").unwrap().version(1);
    let Err(ReadError::Value { source, .. }) = newer.get(&1) else { panic!("no nonsense") };
    assert_eq!(source, DecodeError::SchemaVersion { found: 0, expected: 1 });
}

#[test]
fn folder_in_use_is_an_error_until_shutdown() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    assert!(matches!(Db::open(dir.path()), Err(OpenError::InUse { .. })));
    db.shutdown(LONG).unwrap();
    db.shutdown(LONG).unwrap();
    let log = Db::open(dir.path()).unwrap().log("readings").unwrap();
    log.append(Entry::new("x")).unwrap();
    assert!(matches!(db.batch().commit(), Err(WriteError::Closed)));
    assert!(matches!(db.snapshot(), Err(ReadError::Closed)));
}

#[test]
fn batch_of_two_databases_is_refused() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [a, b] = dirs.each_ref().map(|dir| Db::open(dir.path()).unwrap());
    let log = b.log("readings").unwrap();
    let mut batch = a.batch();
    batch.append(&log, Entry::new("x"));
    assert!(matches!(batch.commit(), Err(WriteError::ForeignHandle)));
}

#[test]
fn key_that_is_too_long_is_refused_with_its_length() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let log = db.log("readings").unwrap();
    let refused = log.append(Entry::new("x").key(vec![0; 70_000])).unwrap_err();
    assert_eq!(refused.to_string(), "key has 70000 bytes, the limit is 65536");
}

#[test]
fn file_that_is_no_database_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("data.pages"), b"not a database, and long enough to be looked at")
        .unwrap();
    assert!(matches!(Db::open(dir.path()), Err(OpenError::Damaged { .. })));
    fs::write(dir.path().join("plain"), b"").unwrap();
    let error = Db::open(dir.path().join("plain")).unwrap_err();
    assert!(matches!(error, OpenError::Folder { .. }), "{error}");
}

/// Somebody who still reads does not keep the folder from being opened, and is never told wrong.
#[test]
fn folder_opens_again_after_shutdown_whoever_still_reads() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Db::builder().memory_bytes(0).open(dir.path()).unwrap();
    let fill = |db: &Db, value: u8| {
        let table = db.table::<u32, Vec<u8>>("rows").unwrap();
        for n in 0..200 {
            let mut batch = db.batch();
            batch.insert(&table, &n, &vec![value; 1000]).unwrap();
            batch.commit().unwrap();
        }
        db.checkpoint().unwrap();
        table
    };
    let db = open();
    let table = fill(&db, 1);
    let snapshot = db.snapshot().unwrap();
    let mut rows = table.iter().unwrap();
    assert!(rows.next().is_some());
    db.shutdown(LONG).unwrap();

    let again = open();
    (2..6).for_each(|value| drop(fill(&again, value)));
    let mut errors = 0;
    let left = rows.map(|row| row.map(|(_, value)| value));
    let asked = (0..200).map(|n| snapshot.get(&table, &n).map(Option::unwrap));
    for answer in left.chain(asked) {
        match answer {
            Ok(value) => assert_eq!(value, vec![1; 1000]),
            Err(error) => {
                errors += 1;
                let cause = std::error::Error::source(&error).unwrap();
                let cause = cause.source().map_or(cause.to_string(), ToString::to_string);
                assert_eq!(cause, "database is closed", "{error:?}");
            }
        }
    }
    assert!(errors > 0, "nothing was written over: the test sees nothing");
    assert_eq!(again.table::<u32, Vec<u8>>("rows").unwrap().get(&7).unwrap(), Some(vec![5; 1000]));
}

/// A build without encryption says so, rather than find nonsense.
#[cfg(not(feature = "encryption"))]
#[test]
fn encrypted_folder_or_backup_is_refused_by_a_build_that_cannot_decrypt() {
    let dir = tempfile::tempdir().unwrap();
    Db::open(dir.path().join("db")).unwrap().shutdown(LONG).unwrap();
    fs::write(dir.path().join("db/key"), [0; 92]).unwrap();
    let error = Db::open(dir.path().join("db")).unwrap_err();
    assert!(matches!(error, OpenError::EncryptionOff { .. }), "{error:?}");
    let error = edge_db::verify(dir.path().join("db"), |_| {}).unwrap_err();
    assert!(matches!(error, edge_db::VerifyError::EncryptionOff { .. }), "{error:?}");
    let backup = [&b"EDGEBKUX\x01\0\0\0"[..], &[0; 200]].concat();
    let error = edge_db::restore(backup.as_slice(), dir.path().join("copy")).unwrap_err();
    assert!(matches!(error, edge_db::RestoreError::EncryptionOff), "{error:?}");
}
