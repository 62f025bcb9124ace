//! What a power cut leaves of batches that were to be durable later: the first of them, whichever
//! blocks of the journal reached the disk, and no more of the rest ever after.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use edge_db::{Db, Entry};

const LONG: Duration = Duration::from_secs(60 * 60);

fn open(dir: &Path) -> Db {
    Db::builder().journal_bytes(0).open(dir).unwrap()
}

/// Appends an entry that fills a third of a segment of the journal.
fn append(db: &Db, number: u8, within: Option<Duration>) {
    let mut batch = db.batch();
    batch.append(&db.log("log").unwrap(), Entry::new(vec![number; 2500]));
    let batch = if let Some(within) = within { batch.within(within) } else { batch };
    batch.commit().unwrap();
}

/// The numbers of all entries.
fn entries(db: &Db) -> Vec<u8> {
    let log = db.log("log").unwrap();
    let records = log.read(log.bounds().unwrap().start, usize::MAX).unwrap();
    records.iter().map(|record| record.value()[0]).collect()
}

/// The journal's segments by the order in which they were begun, as a killed process leaves them.
fn segments(from: &Path, to: &Path) -> Vec<PathBuf> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(from).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        fs::copy(from.join(&name), to.join(&name)).unwrap();
        if name.starts_with("journal-") {
            segments.push(to.join(name));
        }
    }
    segments.sort_by_key(|path| fs::read(path).unwrap()[16..24].to_vec());
    segments
}

/// Which segment holds this entry, and where.
fn find(segments: &[PathBuf], number: u8) -> (usize, usize) {
    let at = |path| fs::read(path).unwrap().windows(2500).position(|bytes| bytes == [number; 2500]);
    segments.iter().enumerate().find_map(|(place, path)| Some((place, at(path)?))).unwrap()
}

/// Puts zeros where this entry lies, as if its blocks had not been written.
fn lose(segments: &[PathBuf], number: u8) {
    let (place, at) = find(segments, number);
    let mut bytes = fs::read(&segments[place]).unwrap();
    bytes[at..at + 2500].fill(0);
    fs::write(&segments[place], bytes).unwrap();
}

#[test]
fn later_segment_that_reached_the_disk_alone_is_given_up() {
    let (live, cut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let db = open(live.path());
    append(&db, 1, None);
    for number in 2..9 {
        append(&db, number, Some(LONG));
    }
    assert_eq!(entries(&db), [1, 2, 3, 4, 5, 6, 7, 8]);
    let segments = segments(live.path(), cut.path());
    assert!(find(&segments, 4).0 < find(&segments, 8).0, "one segment holds all");
    lose(&segments, 4);

    let db = open(cut.path());
    assert_eq!(entries(&db), [1, 2, 3]);
    append(&db, 20, None);
    db.shutdown(LONG).unwrap();
    drop(db);
    // What was lost does not follow what came in its place.
    let db = open(cut.path());
    assert_eq!(entries(&db), [1, 2, 3, 20]);
    db.checkpoint().unwrap();
    (21..30).for_each(|number| append(&db, number, Some(Duration::ZERO)));
    db.shutdown(LONG).unwrap();
    drop(db);
    let db = open(cut.path());
    assert_eq!(entries(&db), [1, 2, 3, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29]);
}

#[test]
fn later_durable_batch_shows_that_a_lost_one_is_damage() {
    let (live, cut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let db = open(live.path());
    for number in 1..9 {
        append(&db, number, Some(LONG));
    }
    append(&db, 9, None);
    append(&db, 10, None);
    let segments = segments(live.path(), cut.path());
    // The records themselves say so.
    fs::remove_file(cut.path().join("durable")).unwrap();
    lose(&segments, 4);
    let error = Db::open(cut.path()).unwrap_err();
    assert!(error.to_string().contains("damaged"), "{error}");
}
