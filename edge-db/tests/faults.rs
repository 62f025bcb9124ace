//! A disk that hangs, fills up or fails: reads go on, errors are clear, nothing acknowledged is
//! lost, and writes are taken again once the disk takes them, without opening the database again.

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

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use edge_db::{Batch, Commit, Db, Entry, Keyspace, Log, LogOptions, Receipt, Seq, WriteError};
use rng::Rng;
use sim_disk::{INJECTED, SimDisk};
use trouble::{Ending, Fault, Kind, Op};

/// A database on a simulated disk, with what it must hold.
struct Site {
    disk: SimDisk,
    db: Db,
    cells: Keyspace,
    log: Log,
    stored: BTreeMap<u64, Vec<u8>>,
    next: u64,
}

impl Site {
    fn new() -> Site {
        Site::with_seed(1)
    }

    /// The seed gives what of the writes survives.
    fn with_seed(seed: u64) -> Site {
        let disk = SimDisk::new(&mut Rng::new(seed));
        let (db, cells, log) = open(&disk);
        Site { disk, db, cells, log, stored: BTreeMap::new(), next: 0 }
    }

    /// A batch that is like no other, over a keyspace and a log.
    fn batch(&self, number: u64) -> Batch {
        let mut batch = self.db.batch();
        batch.put(&self.cells, number.to_be_bytes(), value(number));
        batch.append(&self.log, Entry::new(number.to_be_bytes().to_vec()));
        batch
    }

    fn begin(&mut self) -> (u64, Commit) {
        self.next += 1;
        (self.next, self.batch(self.next).commit_async())
    }

    fn commit(&mut self) -> Result<(), WriteError> {
        let (number, commit) = self.begin();
        self.end(number, commit.wait())
    }

    fn end(&mut self, number: u64, done: Result<Receipt, WriteError>) -> Result<(), WriteError> {
        let receipt = done?;
        let end = Seq::new(self.stored.len() as u64 + 1);
        assert_eq!(receipt.seqs(&self.log).unwrap().end, end, "positions are dense");
        self.stored.insert(number, value(number));
        Ok(())
    }

    /// Commits until it works again; a database that does not heal makes the test hang.
    fn commit_until_healed(&mut self) {
        while let Err(error) = self.commit() {
            assert_injected(&error);
            std::thread::yield_now();
        }
    }

    /// Reads everything in several ways: nothing more and nothing less than what is acknowledged.
    fn check(&self) {
        let found: BTreeMap<u64, Vec<u8>> = self
            .cells
            .iter()
            .unwrap()
            .map(Result::unwrap)
            .map(|(key, value)| {
                (u64::from_be_bytes(key.as_ref().try_into().unwrap()), value.to_vec())
            })
            .collect();
        assert!(found == self.stored, "cells are not those that were acknowledged");
        for (number, value) in &self.stored {
            assert_eq!(self.cells.get(number.to_be_bytes()).unwrap().as_deref(), Some(&value[..]));
        }
        let snapshot = self.db.snapshot().unwrap();
        let mut position = Seq::ZERO;
        let mut numbers = Vec::new();
        loop {
            let records = snapshot.read(&self.log, position, 100).unwrap();
            if records.is_empty() {
                break;
            }
            numbers.extend(records.iter().map(|record| record.value().to_vec()));
            position = records.next();
        }
        let expected = self.stored.keys().map(|number| number.to_be_bytes().to_vec());
        assert!(numbers.into_iter().eq(expected), "the log is not what was acknowledged");
    }

    /// The power is cut, and everything acknowledged is still there.
    fn check_after_power_cut(mut self) {
        for seed in 0..3 {
            self.disk.end(Ending::PowerCut);
            self.disk.power_on(&mut Rng::new(seed));
            (self.db, self.cells, self.log) = open(&self.disk);
            self.check();
            self.commit().unwrap();
        }
    }
}

fn open(disk: &SimDisk) -> (Db, Keyspace, Log) {
    let builder = Db::builder().memory_bytes(64 * 1024).journal_bytes(64 * 1024);
    let db = builder.open_on(disk.plug()).unwrap();
    let (cells, log) = (db.keyspace("cells").unwrap(), db.log("log").unwrap());
    (db, cells, log)
}

fn value(number: u64) -> Vec<u8> {
    Rng::new(number).bytes(300)
}

/// The error names its cause, which is the one that the test made.
fn assert_injected(error: &WriteError) {
    assert!(matches!(error, WriteError::Store(_)), "{error:?}");
    let causes = std::iter::successors(Some(error as &dyn Error), |error| (*error).source());
    let chain = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    assert!(chain.contains(INJECTED), "{chain}");
}

#[test]
fn reads_go_on_and_batches_queue_while_a_sync_does_not_return() {
    let mut site = Site::new();
    (0..20).for_each(|_| site.commit().unwrap());
    site.db.checkpoint().unwrap();
    (0..20).for_each(|_| site.commit().unwrap());
    let before = site.db.snapshot().unwrap();

    site.disk.hold_syncs(Kind::Segment);
    let mut flying = vec![site.begin()];
    site.disk.wait_held();
    flying.extend((0..50).map(|_| site.begin()));
    assert!(flying.iter().all(|(_, commit)| commit.is_queued()));
    // What is not durable is not seen, by no way of reading.
    site.check();
    assert_eq!(
        before.bounds(&site.log).unwrap(),
        site.db.snapshot().unwrap().bounds(&site.log).unwrap()
    );

    site.disk.release_syncs();
    for (number, commit) in flying {
        site.end(number, commit.wait()).unwrap();
    }
    site.check();
    drop(before);
    site.check_after_power_cut();
}

#[test]
fn writes_with_room_go_on_while_settling_does_not() {
    let mut site = Site::new();
    (0..20).for_each(|_| site.commit().unwrap());
    site.disk.hold_syncs(Kind::Tree);
    let db = site.db.clone();
    let checkpoint = std::thread::spawn(move || db.checkpoint());
    site.disk.wait_held();
    // The frozen table settles; the other one takes what comes.
    (0..20).for_each(|_| site.commit().unwrap());
    site.check();
    site.disk.release_syncs();
    checkpoint.join().unwrap().unwrap();
    site.check();
    site.check_after_power_cut();
}

#[test]
fn full_disk_refuses_writes_until_there_is_space_and_answers_reads() {
    let mut site = Site::new();
    (0..50).for_each(|_| site.commit().unwrap());
    site.disk.set_space(Some(site.disk.used_bytes() + 10_000));
    let refused = std::iter::repeat_with(|| site.commit()).take(5000).find_map(Result::err);
    assert_injected(&refused.expect("the disk is full"));
    site.check();
    for _ in 0..20 {
        drop(site.commit());
    }
    site.check();
    site.disk.set_space(None);
    site.commit_until_healed();
    (0..200).for_each(|_| site.commit_until_healed());
    site.db.checkpoint().unwrap();
    site.check();
    site.check_after_power_cut();
}

/// Fails one operation, the first or a later one of its kind, while batches and checkpoints go
/// on, and goes on until all is well.
fn fail_once(kind: Kind, op: Op) {
    let hits = (0..12).filter(|after| fails_and_heals(Fault { kind, op, after: *after })).count();
    assert!(hits > 0, "{hits} operations {kind:?} {op:?} failed");
}

/// Whether there was such an operation.
fn fails_and_heals(fault: Fault) -> bool {
    let mut site = Site::new();
    site.disk.fail(fault);
    let is_armed = |site: &Site| site.disk.trouble(|trouble| !trouble.faults.is_empty());
    let mut failures = 0;
    for _ in 0..60 {
        failures += usize::from(site.commit().is_err());
        failures += usize::from(site.db.checkpoint().is_err());
        site.check();
        if !is_armed(&site) {
            break;
        }
    }
    assert!(failures <= 2, "{fault:?}: {failures} failures");
    let has_hit = !is_armed(&site);
    site.commit_until_healed();
    site.check();
    while let Err(error) = site.db.checkpoint() {
        assert_injected(&error);
        std::thread::yield_now();
    }
    (0..100).for_each(|_| site.commit_until_healed());
    site.check();
    site.check_after_power_cut();
    has_hit
}

#[test]
fn write_of_the_journal_that_fails_once_loses_nothing_acknowledged() {
    fail_once(Kind::Segment, Op::Write);
}

#[test]
fn sync_of_the_journal_that_fails_once_loses_nothing_acknowledged() {
    fail_once(Kind::Segment, Op::Sync);
}

#[test]
fn new_segment_that_cannot_be_written_is_tried_again() {
    fail_once(Kind::Unborn, Op::Write);
    fail_once(Kind::Unborn, Op::Sync);
}

#[test]
fn settling_that_fails_once_keeps_reads_and_writes_going_and_is_tried_again() {
    fail_once(Kind::Tree, Op::Write);
    fail_once(Kind::Tree, Op::Sync);
}

#[test]
fn read_that_fails_once_says_so_and_later_ones_find_everything() {
    for after in 0..6 {
        let mut site = Site::new();
        (0..60).for_each(|_| site.commit().unwrap());
        site.db.checkpoint().unwrap();
        let db = site.db.clone();
        let before = db.snapshot().unwrap();
        site.disk.fail(Fault { kind: Kind::Tree, op: Op::Read, after });
        let read = |site: &Site| site.cells.iter().and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let is_armed = |site: &Site| site.disk.trouble(|trouble| !trouble.faults.is_empty());
        // The cache may hold what it is to read.
        while is_armed(&site) && read(&site).is_ok() {
            drop(site.commit());
            site.db.checkpoint().ok();
        }
        // A database that does not heal makes the test hang.
        while read(&site).is_err() {
            std::thread::yield_now();
        }
        site.check();
        drop(before);
        site.commit_until_healed();
        site.check();
        site.check_after_power_cut();
    }
}

/// A kernel that could not write a page may take it for written: a later sync saves nothing.
#[test]
fn what_a_killed_process_left_after_a_failed_sync_is_not_durable_by_another_sync() {
    for seed in 0..10 {
        let mut site = Site::with_seed(seed);
        (0..5).for_each(|_| site.commit().unwrap());
        site.disk.fail(Fault { kind: Kind::Segment, op: Op::Sync, after: 0 });
        assert_injected(&site.commit().unwrap_err());
        site.disk.end(Ending::Kill);
        site.disk.power_on(&mut Rng::new(seed));
        // The batch that failed is there, by what the system's cache still has.
        (site.db, site.cells, site.log) = open(&site.disk);
        if site.cells.get(6u64.to_be_bytes()).unwrap().is_some() {
            site.stored.insert(6, value(6));
        }
        site.check();
        site.commit().unwrap();
        site.check_after_power_cut();
    }
}

#[test]
fn what_is_owed_is_synced_in_every_segment_that_takes_it() {
    for seed in 0..20 {
        let mut site = Site::with_seed(seed);
        site.commit().unwrap();
        // More than a segment holds, visible and not durable.
        for _ in 0..30 {
            site.next += 1;
            let later = site.batch(site.next).within(Duration::from_secs(3600));
            site.end(site.next, later.commit()).unwrap();
        }
        site.disk.fail(Fault { kind: Kind::Segment, op: Op::Sync, after: 0 });
        site.commit().unwrap_err();
        // All of it is written again, and durable once this is.
        site.commit().unwrap();
        site.disk.end(Ending::PowerCut);
        site.disk.power_on(&mut Rng::new(seed));
        (site.db, site.cells, site.log) = open(&site.disk);
        site.check();
    }
}

/// A checkpoint that waits for what nobody does any more makes the test hang.
#[test]
fn drop_of_expired_rows_that_fails_once_keeps_no_checkpoint_waiting() {
    let mut failures = 0;
    for after in 0..40 {
        let site = Site::new();
        let rows = site.db.table::<u64, Vec<u8>>("rows").unwrap();
        let rows = rows.expire_after(Duration::ZERO);
        let mut batch = site.db.batch();
        (0..20).for_each(|row| batch.insert(&rows, &row, &value(row)).unwrap());
        batch.commit().unwrap();
        let (kind, op) = (Kind::Tree, if after % 2 == 0 { Op::Write } else { Op::Sync });
        site.disk.fail(Fault { kind, op, after: after / 2 });
        for _ in 0..4 {
            while let Err(error) = site.db.checkpoint() {
                assert_injected(&error);
                failures += 1;
            }
        }
        assert_eq!(rows.iter().unwrap().count(), 0);
    }
    assert!(failures > 10, "{failures} failures");
}

/// A batch that is refused because a log is full has dropped what all cursors have passed, even if it
/// was to be durable later: nobody knows of it, so nobody knows that the dropping could be lost.
#[test]
fn what_a_refused_batch_dropped_stays_dropped() {
    for seed in 0..20 {
        let disk = SimDisk::new(&mut Rng::new(seed));
        let open = || {
            let db = Db::builder().open_on(disk.plug()).unwrap();
            let log = db.log_with("full", LogOptions::new().max_bytes(1000)).unwrap();
            (db, log)
        };
        let (db, log) = open();
        let cursor = log.cursor("reader").unwrap();
        let append = |bytes| {
            let mut batch = db.batch();
            batch.append(&log, Entry::new(vec![1; bytes]));
            batch
        };
        append(400).commit().unwrap();
        append(400).commit().unwrap();
        let mut batch = db.batch();
        batch.advance(&cursor, Seq::new(1));
        batch.commit().unwrap();
        let refused = append(900).within(Duration::from_secs(3600)).commit();
        assert!(matches!(refused, Err(WriteError::LogFull { .. })), "{refused:?}");
        assert_eq!(log.bounds().unwrap().start, Seq::new(1));
        disk.end(Ending::PowerCut);
        drop((cursor, db));
        disk.power_on(&mut Rng::new(seed));
        let (_db, log) = open();
        assert_eq!(log.bounds().unwrap().start, Seq::new(1), "seed {seed}");
    }
}
