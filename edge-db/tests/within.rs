//! What a power cut leaves of batches that were to be durable later: the first of them, whichever
//! blocks of the journal reached the disk, and no more of the rest ever after.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use edge_db::{Db, Entry};

const LONG: Duration = Duration::from_secs(60 * 60);
const SMALL: u64 = 64 * 1024;
const LARGE: u64 = 512 * 1024;

/// Opens with segments of the journal of an eighth of so many bytes.
fn open(dir: &Path, journal_bytes: u64) -> Db {
    Db::builder().journal_bytes(journal_bytes).open(dir).unwrap()
}

fn append(db: &Db, number: u8, bytes: usize, within: Option<Duration>) {
    let mut batch = db.batch();
    batch.append(&db.log("log").unwrap(), Entry::new(vec![number; bytes]));
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
    let at = |path| fs::read(path).unwrap().windows(999).position(|bytes| bytes == [number; 999]);
    segments.iter().enumerate().find_map(|(place, path)| Some((place, at(path)?))).unwrap()
}

/// Puts zeros where this entry lies, as if its blocks had not been written.
fn lose(segments: &[PathBuf], number: u8) {
    let (place, at) = find(segments, number);
    let mut bytes = fs::read(&segments[place]).unwrap();
    bytes[at..].iter_mut().take_while(|byte| **byte == number).for_each(|byte| *byte = 0);
    fs::write(&segments[place], bytes).unwrap();
}

/// Puts one durable entry and seven others, three to a segment, and loses 3.
fn cut_behind_2(live: &Path, cut: &Path) {
    let db = open(live, SMALL);
    append(&db, 1, 2500, None);
    (2..9).for_each(|number| append(&db, number, 2500, Some(LONG)));
    let segments = segments(live, cut);
    assert!(find(&segments, 3).0 < find(&segments, 4).0, "a segment ends elsewhere");
    lose(&segments, 3);
}

#[test]
fn later_segment_that_reached_the_disk_alone_is_given_up() {
    let (live, cut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    cut_behind_2(live.path(), cut.path());
    let db = open(cut.path(), SMALL);
    assert_eq!(entries(&db), [1, 2]);
    append(&db, 20, 2500, None);
    db.shutdown(LONG).unwrap();
    drop(db);
    // What was lost does not follow what came in its place.
    let db = open(cut.path(), SMALL);
    assert_eq!(entries(&db), [1, 2, 20]);
}

/// A later segment that is not removed would be all that is left of the journal here.
#[test]
fn lost_batch_stays_lost_when_segments_are_used_again() {
    let [live, cut, again] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let db = open(live.path(), LARGE);
    append(&db, 0, 2500, None);
    db.shutdown(LONG).unwrap();
    drop(db);
    cut_behind_2(live.path(), cut.path());
    let db = open(cut.path(), LARGE);
    // A segment for these two, which settle.
    append(&db, 13, 30_000, None);
    append(&db, 14, 30_000, None);
    db.checkpoint().unwrap();
    // The first segment again for this one, and the one of those two for the next; both get lost.
    append(&db, 15, 30_000, Some(LONG));
    append(&db, 16, 40_000, Some(LONG));
    let segments = segments(cut.path(), again.path());
    lose(&segments, 15);
    lose(&segments, 16);
    let db = open(again.path(), LARGE);
    assert_eq!(entries(&db), [0, 1, 2, 13, 14]);
}

#[test]
fn later_durable_batch_shows_that_a_lost_one_is_damage() {
    let (live, cut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let db = open(live.path(), SMALL);
    (1..9).for_each(|number| append(&db, number, 2500, Some(LONG)));
    append(&db, 9, 2500, None);
    append(&db, 10, 2500, None);
    let segments = segments(live.path(), cut.path());
    // The records themselves say so.
    fs::remove_file(cut.path().join("durable")).unwrap();
    lose(&segments, 4);
    let error = Db::open(cut.path()).unwrap_err();
    assert!(error.to_string().contains("damaged"), "{error}");
}

#[test]
fn batch_becomes_durable_without_another_one() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path(), LARGE);
    append(&db, 1, 100, None);
    // Written after each sync of the journal: the revision that it covers.
    let durable = || fs::read(dir.path().join("durable")).unwrap();
    let before = durable();
    append(&db, 2, 100, Some(Duration::from_millis(1)));
    while durable() == before {
        std::thread::yield_now();
    }
}
