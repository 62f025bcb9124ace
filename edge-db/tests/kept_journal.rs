//! The journal that is kept for increments: over power cuts, reopening, failed syncs and a full disk,
//! within its limits, and beside writers that use it again. An increment is whole, or says that it
//! cannot be.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "the power cuts use the rest of the modules")]

#[path = "../examples/power_cuts/rng.rs"]
mod rng;
#[path = "../examples/power_cuts/sim_disk.rs"]
mod sim_disk;
#[path = "../examples/power_cuts/sim_file.rs"]
mod sim_file;
#[path = "../examples/power_cuts/sim_names.rs"]
mod sim_names;
#[path = "../examples/power_cuts/sim_plug.rs"]
mod sim_plug;
#[path = "../examples/power_cuts/trouble.rs"]
mod trouble;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use edge_db::{BackupError, Batch, Db, DbBuilder, Entry, Restore, Revision, Seq};
use rng::Rng;
use sim_disk::SimDisk;
use trouble::{Ending, Fault, Kind, Op};

const LONG: Duration = Duration::from_secs(3600);
const KEEP: u64 = 4 << 20;

/// So small that everything settles, and segments are used again, all the time.
fn builder(keep: u64) -> DbBuilder {
    Db::builder().memory_bytes(0).journal_bytes(0).keep_journal_bytes(keep)
}

fn open(disk: &SimDisk) -> Db {
    builder(KEEP).open_on(disk.plug()).unwrap()
}

/// A row of its own.
fn row(db: &Db, number: u64) -> Batch {
    let rows = db.keyspace("rows").unwrap();
    let mut batch = db.batch();
    batch.put(&rows, number.to_be_bytes(), vec![7; 300]);
    batch
}

fn write(db: &Db, numbers: std::ops::Range<u64>) {
    numbers.for_each(|number| drop(row(db, number).commit().unwrap()));
}

fn rows(db: &Db) -> BTreeSet<u64> {
    let rows = db.keyspace("rows").unwrap().iter().unwrap().map(|row| row.unwrap().0);
    rows.map(|key| u64::from_be_bytes(key.as_ref().try_into().unwrap())).collect()
}

fn full(db: &Db) -> (Vec<u8>, Revision) {
    let mut full = Vec::new();
    let at = db.backup(&mut full).unwrap().revision;
    (full, at)
}

/// The rows of a full backup and all that the database has committed since.
fn restored(db: &Db, (full, at): &(Vec<u8>, Revision)) -> BTreeSet<u64> {
    let mut increment = Vec::new();
    let summary = db.backup_since(*at, &mut increment).unwrap();
    assert_eq!(summary.revision, db.revision());
    let dir = tempfile::tempdir().unwrap();
    let restored = Restore::new(dir.path()).run(&full[..], [Ok(&increment[..])]).unwrap();
    assert_eq!(restored.revision, summary.revision);
    let copy = Db::open(dir.path()).unwrap();
    let rows = rows(&copy);
    copy.shutdown(LONG).unwrap();
    rows
}

#[test]
fn what_is_kept_outlasts_settling_power_cuts_and_reopening() {
    for seed in 0..6 {
        let disk = SimDisk::new(&mut Rng::new(seed));
        let mut db = open(&disk);
        write(&db, 0..20);
        let begin = full(&db);
        for round in 0..6 {
            write(&db, 20 + round * 100..120 + round * 100);
            db.checkpoint().unwrap();
            if round % 2 == 0 {
                disk.end(Ending::PowerCut);
                disk.power_on(&mut Rng::new(seed));
            } else {
                db.shutdown(LONG).unwrap();
            }
            db = open(&disk);
            assert_eq!(restored(&db, &begin), (0..120 + round * 100).collect());
        }
    }
}

#[test]
fn what_a_failed_sync_left_is_in_no_increment() {
    for after in 0..30 {
        let disk = SimDisk::new(&mut Rng::new(after));
        let db = open(&disk);
        write(&db, 0..5);
        let begin = full(&db);
        let mut stored: BTreeSet<u64> = (0..5).collect();
        disk.fail(Fault { kind: Kind::Segment, op: Op::Sync, after });
        disk.fail(Fault { kind: Kind::Segment, op: Op::Sync, after: after + 1 });
        for number in 5..60 {
            let batch = row(&db, number);
            // Some wait for the sync of another one, and are written again when that fails.
            let batch = if number % 3 == 0 { batch.within(LONG) } else { batch };
            stored.extend(batch.commit().map(|_| number));
        }
        while db.batch().commit().is_err() {}
        assert!(stored.len() < 60, "no sync failed");
        assert_eq!(rows(&db), stored);
        assert_eq!(restored(&db, &begin), stored);
        db.checkpoint().unwrap();
        db.shutdown(LONG).unwrap();
        assert_eq!(restored(&open(&disk), &begin), stored);
    }
}

#[test]
fn full_disk_leaves_no_gap() {
    let disk = SimDisk::new(&mut Rng::new(1));
    let db = open(&disk);
    write(&db, 0..5);
    let begin = full(&db);
    let mut stored: BTreeSet<u64> = (0..5).collect();
    disk.set_space(Some(disk.used_bytes() + 10_000));
    stored.extend((5..1000).filter(|number| row(&db, *number).commit().is_ok()));
    assert!(stored.len() < 1000, "the disk was not full");
    disk.set_space(None);
    while db.batch().commit().is_err() || db.checkpoint().is_err() {}
    stored.extend((1000..1200).filter(|number| row(&db, *number).commit().is_ok()));
    assert_eq!(restored(&db, &begin), stored);
}

#[test]
fn what_a_full_backup_holds_is_durable() {
    let disk = SimDisk::new(&mut Rng::new(1));
    let db = open(&disk);
    write(&db, 0..5);
    row(&db, 5).within(LONG).commit().unwrap();
    let visible = full(&db);
    assert_eq!(db.revision(), visible.1);
    row(&db, 6).within(LONG).commit().unwrap();
    assert_eq!(db.revision(), visible.1);
    disk.end(Ending::PowerCut);
    disk.power_on(&mut Rng::new(1));
    let db = open(&disk);
    // Row 6 may be lost, and its revision another one's then.
    write(&db, 7..9);
    let found = rows(&db);
    assert!(found.contains(&5));
    assert_eq!(restored(&db, &visible), found);
}

#[test]
fn journal_keeps_as_much_as_it_was_told() {
    const LIMIT: u64 = 64 * 1024;
    let dir = tempfile::tempdir().unwrap();
    let fill = |db: &Db| {
        let mut most = 0;
        for round in 0..40 {
            write(db, round * 100..round * 100 + 100);
            db.checkpoint().unwrap();
            most = most.max(db.stats().journal_bytes);
        }
        most
    };
    let mut kept = Vec::new();
    for keep in [0, 512 * 1024, 0] {
        let db = builder(keep).open(dir.path()).unwrap();
        let most = fill(&db);
        let files = fs::read_dir(dir.path()).unwrap().map(Result::unwrap);
        let segments = files.filter(|file| file.file_name().to_string_lossy().contains("journal"));
        let bytes = segments.map(|file| file.metadata().unwrap().len()).sum::<u64>();
        assert_eq!(bytes, db.stats().journal_bytes);
        kept.push((most, db.stats().journal_bytes));
        db.shutdown(LONG).unwrap();
        assert!(edge_db::verify(dir.path(), |_| {}).unwrap().is_clean());
    }
    let [(most, _), (_, more), (_, last)] = kept[..] else { panic!("three times") };
    assert!(most <= 2 * LIMIT && last <= 2 * LIMIT, "{kept:?}");
    assert!((512 * 1024..=512 * 1024 + 4 * LIMIT).contains(&more), "{kept:?}");
}

#[test]
fn what_was_kept_goes_when_less_is_to_be_kept() {
    const LIMIT: u64 = 32 << 20;
    let dir = tempfile::tempdir().unwrap();
    let open = |keep| builder(keep).journal_bytes(LIMIT).open(dir.path()).unwrap();
    let write = |db: &Db, count| {
        let rows = db.keyspace("rows").unwrap();
        for _ in 0..count {
            let mut batch = db.batch();
            batch.put(&rows, "row", vec![7; 3 << 20]);
            batch.commit().unwrap();
        }
        db.stats().journal_bytes
    };
    let db = open(3 * LIMIT);
    assert!(write(&db, 30) > 2 * LIMIT);
    db.checkpoint().unwrap();
    db.shutdown(LONG).unwrap();
    assert!(write(&open(0), 3) < 2 * LIMIT);
}

#[test]
fn what_is_kept_is_not_read_at_open_and_its_damage_is_no_hole() {
    let dir = tempfile::tempdir().unwrap();
    let db = builder(KEEP).open(dir.path()).unwrap();
    write(&db, 0..2000);
    db.checkpoint().unwrap();
    db.shutdown(LONG).unwrap();
    let oldest = dir.path().join("journal-00000001");
    let mut bytes = fs::read(&oldest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&oldest, bytes).unwrap();

    let db = builder(KEEP).open(dir.path()).unwrap();
    assert_eq!(rows(&db), (0..2000).collect());
    let gap = db.backup_since(Revision::ZERO, Vec::new());
    let Err(BackupError::Gap { since: Revision::ZERO, oldest }) = gap else { panic!("{gap:?}") };
    let before = Revision::new(oldest.get() - 1);
    assert_eq!(db.backup_since(before, Vec::new()).unwrap().revision, db.revision());
}

#[test]
fn what_is_not_kept_is_a_gap_that_says_from_where_on_there_is_something() {
    let dir = tempfile::tempdir().unwrap();
    let db = builder(0).open(dir.path()).unwrap();
    let (_, since) = full(&db);
    write(&db, 0..3000);
    let gap = db.backup_since(since, Vec::new()).unwrap_err();
    let BackupError::Gap { since: told, oldest } = gap else { panic!("{gap:?}") };
    assert!(told == since && oldest > since.next() && oldest <= db.revision());
    db.backup_since(Revision::new(oldest.get() - 1), Vec::new()).unwrap();
    assert!(db.backup_since(Revision::new(oldest.get() - 2), Vec::new()).is_err());
    // Nothing is in a restored database's journal, and nothing is missing.
    let (full, _) = full(&db);
    let copy = dir.path().join("copy");
    edge_db::restore(&full[..], &copy).unwrap();
    let copy = Db::open(&copy).unwrap();
    assert_eq!(copy.backup_since(db.revision(), Vec::new()).unwrap().keys, 0);
    assert!(matches!(copy.backup_since(since, Vec::new()), Err(BackupError::Gap { .. })));
}

const WRITERS: usize = 4;
const EACH: u64 = 2500;

/// A full backup, and what follows.
struct Chain {
    full: Vec<u8>,
    increments: Vec<Vec<u8>>,
    at: Revision,
}

impl Chain {
    fn begin(db: &Db) -> Chain {
        let (full, at) = full(db);
        Chain { full, increments: Vec::new(), at }
    }

    /// Whether there could be an increment.
    fn go_on(&mut self, db: &Db) -> bool {
        let mut increment = Vec::new();
        match db.backup_since(self.at, &mut increment) {
            Ok(summary) => {
                self.at = summary.revision;
                self.increments.push(increment);
                true
            }
            Err(BackupError::Gap { since, oldest }) => {
                assert!(since == self.at && oldest > since.next());
                false
            }
            Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
        }
    }
}

/// Each batch has a row and a record with the writer's next number.
fn write_numbers(db: &Db, writer: u64) {
    let (table, log) = (db.table::<(u64, u64), u64>("rows").unwrap(), db.log("log").unwrap());
    for number in 0..EACH {
        let mut batch = db.batch();
        batch.insert(&table, &(writer, number % 50), &number).unwrap();
        batch.append(&log, Entry::new(vec![9; 100]).key(format!("{writer} {number}")));
        // Some are visible before they are durable.
        let batch = if number.is_multiple_of(7) { batch.within(LONG) } else { batch };
        batch.commit().unwrap();
    }
}

/// How far each writer had come; all that it had written by then is there, and nothing else.
fn check_numbers(db: &Db) -> [u64; WRITERS] {
    let (table, log) = (db.table::<(u64, u64), u64>("rows").unwrap(), db.log("log").unwrap());
    let mut counts = [0; WRITERS];
    for position in 0..log.bounds().unwrap().end.get() {
        let records = log.read(Seq::new(position), 1).unwrap();
        let record = records.iter().next().unwrap();
        assert_eq!(record.seq().get(), position);
        let key = String::from_utf8(record.key().to_vec()).unwrap();
        let (writer, number) = key.split_once(' ').unwrap();
        let count = &mut counts[writer.parse::<usize>().unwrap()];
        assert_eq!(number.parse::<u64>().unwrap(), *count);
        *count += 1;
    }
    let mut rows = BTreeMap::new();
    for (writer, count) in (0u64..).zip(counts) {
        rows.extend((0..count).map(|number| ((writer, number % 50), number)));
    }
    assert!(table.iter().unwrap().map(Result::unwrap).eq(rows), "rows are not those of the log");
    counts
}

#[test]
fn increment_beside_four_writers_is_whole_or_says_that_it_cannot_be() {
    let dir = tempfile::tempdir().unwrap();
    let db = &builder(32 * 1024).open(dir.path().join("db")).unwrap();
    db.log("log").unwrap();
    db.table::<(u64, u64), u64>("rows").unwrap();
    let mut chains = vec![Chain::begin(db)];
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS as u64)
            .map(|writer| scope.spawn(move || write_numbers(db, writer)))
            .collect();
        let are_done = || writers.iter().all(|writer| writer.is_finished());
        // From one commit to more than are kept.
        for round in 0u64.. {
            let chain = chains.last_mut().unwrap();
            let due = Revision::new(chain.at.get() + 1 + round * 37 % 150);
            while db.revision() < due && !are_done() {
                std::thread::yield_now();
            }
            if are_done() {
                break;
            }
            if !chain.go_on(db) {
                chains.push(Chain::begin(db));
            }
        }
    });
    chains.push(Chain::begin(db));
    assert!(chains.iter().any(|chain| !chain.increments.is_empty()), "no increment was whole");
    for (round, chain) in chains.iter().enumerate() {
        let copy = dir.path().join(format!("copy{round}"));
        let increments = chain.increments.iter().map(|bytes| Ok(&bytes[..]));
        let restored = Restore::new(&copy).run(&chain.full[..], increments).unwrap();
        assert_eq!(restored.revision, chain.at);
        let copy = Db::open(&copy).unwrap();
        let counts = check_numbers(&copy);
        assert!(round + 1 < chains.len() || counts == [EACH; WRITERS]);
        copy.shutdown(LONG).unwrap();
    }
}
