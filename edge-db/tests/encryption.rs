//! A database that is opened with a key does all that one without does, and nothing of what is in
//! it can be found in its files or backups; without its key it does not open.

#![cfg(feature = "encryption")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use edge_db::{
    BackupSummary, Db, EncryptionKey, Entry, KeyFileError, OpenError, Restore, RestoreError,
    RotateKeyError, restore,
};
use proptest::prelude::*;

const LONG: Duration = Duration::from_secs(60);

fn restore_encrypted(
    from: &[u8],
    dir: impl AsRef<Path>,
    key: &EncryptionKey,
) -> Result<BackupSummary, RestoreError> {
    let none = std::iter::empty::<std::io::Result<std::io::Empty>>();
    Restore::new(dir).key(key.clone()).run(from, none)
}

fn key(byte: u8) -> EncryptionKey {
    EncryptionKey::from_bytes([byte; 32])
}

fn open(dir: &Path, byte: u8) -> Result<Db, OpenError> {
    Db::builder().memory_bytes(0).encryption_key(key(byte)).open(dir)
}

#[derive(Debug, Clone)]
enum Action {
    Put(u8, Vec<u8>),
    Remove(u8),
    Append(Vec<u8>),
    Checkpoint,
    Compact,
    Reopen,
    Restore,
    Rotate,
}

fn action() -> impl Strategy<Value = Action> {
    // Over several blocks, too.
    let value = || prop_oneof![(0..200_usize), (4000..20_000_usize)];
    let bytes = || (any::<u8>(), value()).prop_map(|(byte, len)| vec![byte; len]);
    prop_oneof![
        8 => (any::<u8>(), bytes()).prop_map(|(key, value)| Action::Put(key, value)),
        2 => any::<u8>().prop_map(Action::Remove),
        6 => bytes().prop_map(Action::Append),
        3 => Just(Action::Checkpoint),
        1 => Just(Action::Compact),
        3 => Just(Action::Reopen),
        1 => Just(Action::Restore),
        1 => Just(Action::Rotate),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn encrypted_database_behaves_as_the_model(
        actions in prop::collection::vec(action(), 1..40),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (mut place, mut byte) = (dir.path().join("0"), 0);
        let mut db = open(&place, byte).unwrap();
        let (mut rows, mut records) = (BTreeMap::new(), Vec::new());
        for (step, action) in actions.into_iter().enumerate() {
            let (table, log) = (db.keyspace("rows").unwrap(), db.log("log").unwrap());
            let mut batch = db.batch();
            match action {
                Action::Put(key, value) => {
                    batch.put(&table, [key], value.clone());
                    rows.insert(key, value);
                }
                Action::Remove(key) => {
                    batch.delete(&table, [key]);
                    rows.remove(&key);
                }
                Action::Append(value) => {
                    batch.append(&log, Entry::new(value.clone()));
                    records.push(value);
                }
                Action::Checkpoint => db.checkpoint().unwrap(),
                Action::Compact => drop(db.compact().unwrap()),
                Action::Reopen => {
                    db.shutdown(LONG).unwrap();
                    db = open(&place, byte).unwrap();
                    continue;
                }
                Action::Restore => {
                    let mut backup = Vec::new();
                    db.backup(&mut backup).unwrap();
                    place = dir.path().join(format!("after {step}"));
                    restore_encrypted(backup.as_slice(), &place, &key(byte)).unwrap();
                    db = open(&place, byte).unwrap();
                    continue;
                }
                Action::Rotate => {
                    byte += 1;
                    db.rotate_key(&key(byte)).unwrap();
                }
            }
            batch.commit().unwrap();
        }
        let (table, log) = (db.keyspace("rows").unwrap(), db.log("log").unwrap());
        let found = table.iter().unwrap().map(|row| row.unwrap());
        let found: BTreeMap<u8, Vec<u8>> =
            found.map(|(key, value)| (key[0], value.to_vec())).collect();
        prop_assert_eq!(found, rows);
        let found = log.read(log.bounds().unwrap().start, usize::MAX).unwrap();
        prop_assert!(found.iter().map(|record| record.value().to_vec()).eq(records));
    }
}

/// Words that stand in names, keys, values, headers: settled, in the journal, compacted.
const WORDS: [&str; 9] = [
    "name-of-a-table",
    "name-of-a-log",
    "name-of-a-cursor",
    "key-of-a-row",
    "value-of-a-row",
    "key-of-a-record",
    "value-of-a-record",
    "header-of-a-record",
    "value-of-a-header",
];

fn write_words(db: &Db, round: usize) {
    let table = db.table::<String, String>(WORDS[0]).unwrap();
    let log = db.log(WORDS[1]).unwrap();
    let cursor = log.cursor(WORDS[2]).unwrap();
    for number in 0..40 {
        let mut batch = db.batch();
        let key = format!("{} {round} {number}", WORDS[3]);
        batch.insert(&table, &key, &WORDS[4].repeat(30)).unwrap();
        let entry = Entry::new(WORDS[6].repeat(300)).key(WORDS[5]);
        batch.append(&log, entry.header(WORDS[7], WORDS[8]));
        batch.commit().unwrap();
    }
    let mut batch = db.batch();
    batch.advance(&cursor, log.bounds().unwrap().end);
    batch.commit().unwrap();
}

/// How many of the words are in files of the folder and its backup.
fn found_words(dir: &Path, db: &Db) -> usize {
    let mut backup = Vec::new();
    db.backup(&mut backup).unwrap();
    let files = fs::read_dir(dir).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    let all: Vec<Vec<u8>> = files.chain([backup]).collect();
    assert!(all.len() >= 5, "data, journal, mark, lock, backup");
    let is_in = |word: &str, bytes: &[u8]| bytes.windows(word.len()).any(|w| w == word.as_bytes());
    WORDS.iter().filter(|word| all.iter().any(|bytes| is_in(word, bytes))).count()
}

#[test]
fn nothing_that_was_written_can_be_found_in_files_or_backups() {
    for is_encrypted in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let builder = Db::builder().memory_bytes(0);
        let builder = if is_encrypted { builder.encryption_key(key(1)) } else { builder };
        let db = builder.open(dir.path()).unwrap();
        for round in 0..3 {
            write_words(&db, round);
            let expected = if is_encrypted { 0 } else { WORDS.len() };
            assert_eq!(found_words(dir.path(), &db), expected, "round {round}");
            match round {
                0 => db.checkpoint().unwrap(),
                _ => drop(db.compact().unwrap()),
            }
            assert_eq!(found_words(dir.path(), &db), expected, "round {round}, settled");
        }
    }
}

#[test]
fn same_content_is_never_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path(), 1).unwrap();
    let table = db.keyspace("rows").unwrap();
    for number in 0..50_u8 {
        let mut batch = db.batch();
        batch.put(&table, [number], vec![0; 5000]);
        batch.commit().unwrap();
    }
    db.checkpoint().unwrap();
    let bytes = fs::read(dir.path().join("data.pages")).unwrap();
    // Of the blocks in use: each is unlike all others, entries and redb's header aside.
    let blocks = bytes.chunks(4096).filter(|block| block[2048..].iter().any(|&byte| byte != 0));
    let mut ends: Vec<_> = blocks.map(|block| &block[2048..]).collect();
    let count = ends.len();
    assert!(count > 60, "{count} blocks");
    ends.sort_unstable();
    ends.dedup();
    assert_eq!(ends.len(), count);
}

#[test]
fn database_opens_with_its_key_only() {
    let dir = tempfile::tempdir().unwrap();
    let [encrypted, plain] = ["encrypted", "plain"].map(|name| dir.path().join(name));
    let db = open(&encrypted, 1).unwrap();
    write_words(&db, 0);
    db.shutdown(LONG).unwrap();
    Db::open(&plain).unwrap().shutdown(LONG).unwrap();

    let refused = Db::open(&encrypted).unwrap_err();
    assert!(matches!(refused, OpenError::KeyNeeded { .. }), "{refused:?}");
    assert!(refused.to_string().ends_with("is encrypted: open it with its key"), "{refused}");
    let refused = open(&encrypted, 2).unwrap_err();
    assert!(matches!(refused, OpenError::WrongKey { .. }), "{refused:?}");
    let refused = open(&plain, 1).unwrap_err();
    assert!(matches!(refused, OpenError::NotEncrypted { .. }), "{refused:?}");
    assert!(!plain.join("key").exists(), "nothing was changed");

    let whole = fs::read(encrypted.join("key")).unwrap();
    fs::remove_file(encrypted.join("key")).unwrap();
    for opened in [Db::open(&encrypted), open(&encrypted, 1)] {
        assert!(cause(opened).contains("the file `key` is missing"));
    }
    assert!(!encrypted.join("key").exists(), "nothing was changed");
    for len in [0, 40, whole.len() - 1] {
        fs::write(encrypted.join("key"), &whole[..len]).unwrap();
        assert!(cause(open(&encrypted, 1)).contains("the file `key` is damaged"));
    }
    fs::write(encrypted.join("key"), [whole.as_slice(), b"more"].concat()).unwrap();
    assert!(cause(open(&encrypted, 1)).contains("the file `key` is damaged"));

    // The key of another database is another data key, even under the same key.
    open(&dir.path().join("other"), 1).unwrap().shutdown(LONG).unwrap();
    fs::copy(dir.path().join("other/key"), encrypted.join("key")).unwrap();
    assert!(matches!(open(&encrypted, 1), Err(OpenError::Damaged { .. })));

    fs::write(encrypted.join("key"), whole).unwrap();
    let db = open(&encrypted, 1).unwrap();
    assert_eq!(db.find_log(WORDS[1]).unwrap().bounds().unwrap().end.get(), 40);
}

/// What does not hold of a damaged database.
fn cause(opened: Result<Db, OpenError>) -> String {
    let Err(OpenError::Damaged { source, .. }) = opened else { panic!("{opened:?}") };
    std::error::Error::source(&source).unwrap().to_string()
}

#[test]
fn backup_restores_with_the_key_of_its_time_only() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir.path().join("db"), 1).unwrap();
    write_words(&db, 0);
    let [mut backup, mut plain] = [Vec::new(), Vec::new()];
    db.backup(&mut backup).unwrap();
    db.rotate_key(&key(2)).unwrap();
    Db::open(dir.path().join("plain")).unwrap().backup(&mut plain).unwrap();

    let copy = |name: &str| dir.path().join(name);
    let refused = restore(backup.as_slice(), copy("1")).unwrap_err();
    assert!(matches!(refused, RestoreError::KeyNeeded), "{refused:?}");
    let refused = restore_encrypted(backup.as_slice(), copy("2"), &key(2)).unwrap_err();
    assert!(matches!(refused, RestoreError::WrongKey), "{refused:?}");
    let refused = restore_encrypted(plain.as_slice(), copy("3"), &key(1)).unwrap_err();
    assert!(matches!(refused, RestoreError::NotEncrypted), "{refused:?}");

    restore_encrypted(backup.as_slice(), copy("4"), &key(1)).unwrap();
    let restored = open(&copy("4"), 1).unwrap();
    assert_eq!(restored.find_log(WORDS[1]).unwrap().bounds().unwrap().end.get(), 40);
    assert_eq!(found_words(&copy("4"), &restored), 0);

    for at in (0..backup.len()).step_by(backup.len() / 200) {
        backup[at] ^= 1;
        let copy = copy(&format!("flipped {at}"));
        restore_encrypted(backup.as_slice(), &copy, &key(1)).unwrap_err();
        backup[at] ^= 1;
        // Where nothing was begun there is no folder, else one that does not open.
        assert!(!copy.exists() || open(&copy, 1).is_err(), "{at}");
    }
    for len in (0..backup.len()).step_by(backup.len() / 20) {
        let copy = copy(&format!("cut {len}"));
        restore_encrypted(&backup[..len], &copy, &key(1)).unwrap_err();
    }
}

#[test]
fn rotating_the_key_is_refused_where_there_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path().join("plain")).unwrap();
    assert!(matches!(db.rotate_key(&key(1)), Err(RotateKeyError::NotEncrypted)));
    let db = open(&dir.path().join("db"), 1).unwrap();
    db.shutdown(LONG).unwrap();
    assert!(matches!(db.rotate_key(&key(2)), Err(RotateKeyError::Closed)));
    assert!(open(&dir.path().join("db"), 1).is_ok());
}

#[test]
fn key_comes_from_a_file_and_shows_itself_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("site.key");
    let missing = EncryptionKey::from_file(&file).unwrap_err();
    assert!(matches!(missing, KeyFileError::Read { .. }), "{missing:?}");
    fs::write(&file, "swordfish").unwrap();
    let wrong = EncryptionKey::from_file(&file).unwrap_err();
    assert!(
        wrong.to_string().ends_with("holds no key: a key is 32 bytes, or 64 hexadecimal digits")
    );
    assert!(!format!("{wrong:?}").contains("swordfish"));
    fs::write(&file, "0b".repeat(32) + "\n").unwrap();
    let found = EncryptionKey::from_file(&file).unwrap();
    assert_eq!(format!("{found:?}"), "EncryptionKey(..)");
    let builder = Db::builder().encryption_key(found);
    assert!(format!("{builder:?}").contains("EncryptionKey(..)"), "{builder:?}");
    let db = builder.open(dir.path().join("db")).unwrap();
    assert!(!format!("{db:?}").contains("11, 11"), "the key is in {db:?}");
    db.shutdown(LONG).unwrap();
    assert!(open(&dir.path().join("db"), 11).is_ok());
}

#[test]
fn increments_are_encrypted_and_follow_on_their_full_backup_alone() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::builder().keep_journal_bytes(1 << 20).encryption_key(key(1));
    let db = db.open(dir.path().join("db")).unwrap();
    let log = db.log("readings").unwrap();
    let (mut full, mut increment) = (Vec::new(), Vec::new());
    let at = db.backup(&mut full).unwrap().revision;
    for number in 0..50 {
        log.append(Entry::new(format!("a secret that nobody guesses {number}"))).unwrap();
    }
    db.backup_since(at, &mut increment).unwrap();
    assert!(!increment.windows(12).any(|bytes| bytes == b"secret that "));
    let restored = |name: &str, full: &[u8], increment: &[u8]| {
        let increments = [Ok(increment)];
        Restore::new(dir.path().join(name)).key(key(1)).run(full, increments)
    };
    restored("copy", &full, &increment).unwrap();
    let copy = open(&dir.path().join("copy"), 1).unwrap();
    assert_eq!(copy.log("readings").unwrap().bounds().unwrap().end.get(), 50);
    // What was altered, what is of another database, and a full backup's frames are refused.
    let mut altered = increment.clone();
    altered[100] ^= 1;
    restored("altered", &full, &altered).unwrap_err();
    let mut swapped = full.clone();
    swapped[..8].copy_from_slice(b"EDGEINCX");
    restored("swapped", &full, &swapped).unwrap_err();
    let other = open(&dir.path().join("other"), 1).unwrap();
    let mut others = Vec::new();
    other.backup(&mut others).unwrap();
    restored("others", &others, &increment).unwrap_err();
    let plain = Db::open(dir.path().join("plain")).unwrap();
    let mut unsealed = Vec::new();
    plain.backup(&mut unsealed).unwrap();
    let error = restored("unsealed", &unsealed, &increment).unwrap_err();
    assert!(matches!(error, RestoreError::NotEncrypted), "{error}");
}
