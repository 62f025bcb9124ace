//! Compacting: space comes back, and everything else stays as it is.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use edge_db::{Db, Table};

use proptest::prelude::*;

type Cells = Table<u32, Vec<u8>>;

fn open(dir: &tempfile::TempDir) -> (Db, Cells) {
    let db = Db::builder().memory_bytes(256 * 1024).open(dir.path()).unwrap();
    let cells = db.table("cells").unwrap();
    (db, cells)
}

fn fill(db: &Db, cells: &Cells, keys: std::ops::Range<u32>) {
    for first in keys.clone().step_by(500) {
        let mut batch = db.batch();
        for key in first..keys.end.min(first + 500) {
            batch.insert(cells, &key, &vec![7; 100]).unwrap();
        }
        batch.commit().unwrap();
    }
}

#[test]
fn space_of_removed_rows_goes_back_to_the_file_system() {
    let dir = tempfile::tempdir().unwrap();
    let (db, cells) = open(&dir);
    fill(&db, &cells, 0..50_000);
    let mut batch = db.batch();
    batch.remove_range(&cells, 1_000..50_000);
    batch.commit().unwrap();
    let done = db.compact().unwrap();
    assert!(done.after_bytes < 400_000, "{done:?}");
    assert!(done.before_bytes > 5_000_000, "{done:?}");
    assert_eq!(db.stats().file_bytes, done.after_bytes);
    let again = db.compact().unwrap();
    assert!(again.after_bytes <= done.after_bytes, "{again:?} after {done:?}");
    db.shutdown(std::time::Duration::from_secs(60)).unwrap();
    let (_db, cells) = open(&dir);
    assert_eq!(cells.iter().unwrap().count(), 1_000);
}

#[test]
fn cache_is_counted_over_the_file_that_takes_the_place_of_another() {
    let dir = tempfile::tempdir().unwrap();
    let (db, cells) = open(&dir);
    fill(&db, &cells, 0..10_000);
    db.checkpoint().unwrap();
    let use_of = |read: &dyn Fn()| {
        let before = db.stats();
        read();
        let after = db.stats();
        (after.cache_hits - before.cache_hits, after.cache_misses - before.cache_misses)
    };
    let (_, misses) = use_of(&|| assert_eq!(cells.iter().unwrap().count(), 10_000));
    assert!(misses > 200, "a cache of 64 KiB has no 1.2 MB: {misses}");
    cells.get(&7).unwrap();
    let (hits, misses) = use_of(&|| drop(cells.get(&7).unwrap()));
    assert!(hits > 0 && misses == 0, "{hits} hits, {misses} misses");
    let before = db.stats();
    db.compact().unwrap();
    let after = db.stats();
    assert!(after.cache_hits >= before.cache_hits && after.cache_misses >= before.cache_misses);
    db.shutdown(std::time::Duration::from_secs(60)).unwrap();
}

#[test]
fn file_does_not_grow_without_end_while_rows_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let (db, cells) = open(&dir);
    let mut bytes = vec![];
    for round in 0..30u32 {
        fill(&db, &cells, round * 5_000..(round + 1) * 5_000);
        let mut batch = db.batch();
        batch.remove_range(&cells, 0..round * 5_000);
        batch.commit().unwrap();
        db.checkpoint().unwrap();
        bytes.push(db.stats().file_bytes);
    }
    assert!(bytes[29] <= bytes[9] * 5 / 4, "{bytes:?}");
}

#[test]
fn snapshot_from_before_reads_on_and_both_see_what_is_theirs() {
    let dir = tempfile::tempdir().unwrap();
    let (db, cells) = open(&dir);
    fill(&db, &cells, 0..20_000);
    db.checkpoint().unwrap();
    let before = db.snapshot().unwrap();
    let mut batch = db.batch();
    batch.remove_range(&cells, 10..20_000);
    batch.commit().unwrap();
    db.compact().unwrap();
    fill(&db, &cells, 30_000..31_000);
    db.checkpoint().unwrap();
    assert_eq!(before.iter(&cells).unwrap().map(Result::unwrap).count(), 20_000);
    assert_eq!(cells.iter().unwrap().map(Result::unwrap).count(), 1_010);
}

#[test]
fn writers_and_readers_go_on_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let (db, cells) = open(&dir);
    fill(&db, &cells, 0..100_000);
    let is_done = AtomicBool::new(false);
    let written = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut written = BTreeMap::new();
            let mut number = 0u32;
            while !is_done.load(Ordering::Relaxed) {
                number += 1;
                let key = number.wrapping_mul(2_654_435_761) % 120_000;
                let mut batch = db.batch();
                if number.is_multiple_of(7) {
                    let to = key + 50;
                    batch.remove_range(&cells, key..to);
                    written.extend((key..to).map(|key| (key, None)));
                } else {
                    batch.insert(&cells, &key, &number.to_be_bytes().to_vec()).unwrap();
                    written.insert(key, Some(number));
                }
                let commit = batch.commit_async();
                if number.is_multiple_of(50) {
                    commit.wait().unwrap();
                    let expected = written[&key].map(|number| number.to_be_bytes().to_vec());
                    assert_eq!(cells.get(&key).unwrap(), expected);
                }
            }
            db.batch().commit().unwrap();
            written
        });
        for _ in 0..4 {
            db.compact().unwrap();
        }
        is_done.store(true, Ordering::Relaxed);
        writer.join().unwrap()
    });
    let mut expected: BTreeMap<u32, Vec<u8>> =
        (0..100_000).map(|key| (key, vec![7; 100])).collect();
    for (key, number) in written {
        match number {
            Some(number) => drop(expected.insert(key, number.to_be_bytes().to_vec())),
            None => drop(expected.remove(&key)),
        }
    }
    for reopened in [false, true] {
        let (db, cells) = if reopened { open(&dir) } else { (db.clone(), cells.clone()) };
        let found = cells.iter().unwrap().map(Result::unwrap);
        assert!(found.eq(expected.clone()), "reopened: {reopened}");
        db.shutdown(std::time::Duration::from_secs(60)).unwrap();
    }
}

#[derive(Debug, Clone)]
enum Step {
    Put(u32, u16),
    Clear(u32, u32),
    Checkpoint,
    Compact,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (0..256u32, 0..2000u16).prop_map(|(key, len)| Step::Put(key, len)),
        3 => (0..256u32, 0..40u32).prop_map(|(from, count)| Step::Clear(from, count)),
        2 => Just(Step::Checkpoint),
        2 => Just(Step::Compact),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn content_is_the_models_whatever_is_compacted_when(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (mut db, mut cells) = open(&dir);
        let mut model = BTreeMap::new();
        for step in steps {
            match step {
                Step::Put(key, len) => {
                    let value = vec![7; usize::from(len)];
                    let mut batch = db.batch();
                    batch.insert(&cells, &key, &value).unwrap();
                    batch.commit().unwrap();
                    model.insert(key, value);
                }
                Step::Clear(from, count) => {
                    let to = from + count;
                    let mut batch = db.batch();
                    batch.remove_range(&cells, from..to);
                    batch.commit().unwrap();
                    (from..to).for_each(|key| drop(model.remove(&key)));
                }
                Step::Checkpoint => db.checkpoint().unwrap(),
                Step::Compact => drop(db.compact().unwrap()),
                Step::Reopen => {
                    db.shutdown(std::time::Duration::from_secs(60)).unwrap();
                    (db, cells) = open(&dir);
                }
            }
            let found = cells.iter().unwrap().map(Result::unwrap);
            prop_assert!(found.eq(model.clone()));
        }
    }
}
