//! What logs drop, when, and what they say of it: by table, over a disk of a map, with a clock of
//! the test.

use std::cell::Cell;

use bytes::Bytes;

use super::*;
use crate::Entry;
use crate::log::gap::{Gap, GapReason};
use crate::log::{LogOptions, chunk, chunk_last};

const LOG: Space = Space::FIRST;
/// What each record of these tests counts for: one byte of value.
const RECORD: u64 = 9;

struct Fixture {
    ledger: Ledger,
    disk: BTreeMap<Bytes, Bytes>,
    /// How often chunks were looked for on disk.
    looks: Cell<usize>,
    /// Whether the disk budget is used up.
    is_full: bool,
}

impl Fixture {
    fn new(options: LogOptions) -> Fixture {
        let mut fixture = Fixture {
            ledger: Ledger::default(),
            disk: BTreeMap::new(),
            looks: Cell::new(0),
            is_full: false,
        };
        fixture.options(options);
        fixture
    }

    /// One group of one batch, at this time.
    fn commit(&mut self, now: i64, ops: Vec<Op>) -> Result<Receipt, WriteError> {
        let now = Time::from_micros(now);
        let (disk, looks) = (&self.disk, &self.looks);
        let mut oldest = |log: Space, from| {
            looks.set(looks.get() + 1);
            let (start, end) = (Bytes::from(log.chunk_key(from)), log.next().prefix().to_vec());
            let range = disk.range(start..end.into());
            Ok(range.take(4).map(|(key, stored)| stored_chunk(key, stored)).collect())
        };
        let full = self.is_full.then_some(Fullness { used_bytes: 2, budget_bytes: 1 });
        self.ledger.begin(now, full, &mut oldest).unwrap();
        let outcome = self.ledger.admit(ops, &mut oldest);
        for write in self.ledger.take_writes() {
            match write {
                Write::Put(key, value) => drop(self.disk.insert(key, value)),
                Write::Delete(key) => drop(self.disk.remove(&key)),
                Write::DeleteRange(from, to) => {
                    self.disk.retain(|key, _| *key < from || *key >= to)
                }
            }
        }
        outcome
    }

    fn options(&mut self, options: LogOptions) {
        self.commit(0, vec![Op::OpenLog { log: LOG, name: "log".into(), options }]).unwrap();
    }

    /// Appends records of these times, each batch of one in a commit of its own.
    fn append(&mut self, now: i64, times: &[i64]) -> Result<(), WriteError> {
        times.iter().try_for_each(|time| self.commit(now, vec![append(*time)]).map(drop))
    }

    fn cursor(&mut self, to: u64) {
        let cursor = "reader".into();
        self.commit(0, vec![Op::Advance { log: LOG, cursor, to: Seq::new(to) }]).unwrap();
    }

    /// All chunks become one, as they do when they settle.
    fn settle(&mut self) {
        let (start, end) = (LOG.prefix().to_vec(), LOG.next().prefix().to_vec());
        let chunks = self.disk.range(Bytes::from(start)..end.into());
        let chunks: Vec<_> = chunks.map(|(key, chunk)| (key.clone(), chunk.clone())).collect();
        let Some((last, _)) = chunks.last().cloned() else { return };
        let joined = chunk::join(chunks.iter().map(|(_, chunk)| chunk)).unwrap();
        chunks.iter().for_each(|(key, _)| drop(self.disk.remove(key)));
        self.disk.insert(last, joined);
    }

    /// The database was opened again: nothing is known of chunks.
    fn forget(&mut self) {
        self.ledger.logs.values_mut().for_each(Account::forget_chunks);
    }

    fn state(&self) -> LogState {
        self.ledger.logs[&LOG].state
    }

    /// First and next.
    fn bounds(&self) -> (u64, u64) {
        (self.state().first.get(), self.state().next.get())
    }

    /// The gaps as they are stored.
    fn gaps(&self) -> Vec<Gap> {
        let prefix = LOG.gaps_key();
        let stored = self.disk.iter().filter(|(key, _)| key.starts_with(&prefix));
        stored.map(|(_, gap)| codec::decode(gap, 0).unwrap()).collect()
    }
}

fn stored_chunk(key: &[u8], stored: &[u8]) -> StoredChunk {
    let front = chunk::front(stored).unwrap();
    let records = front.positions(chunk_last(key).unwrap()).unwrap();
    StoredChunk { records, end_bytes: front.end_bytes, latest: front.latest }
}

fn append(time: i64) -> Op {
    Op::Append { log: LOG, entry: Entry::new("x"), time: Time::from_micros(time) }
}

fn aged(age: u64) -> LogOptions {
    LogOptions::new().max_age(std::time::Duration::from_micros(age))
}

fn gap(
    records: std::ops::Range<u64>,
    at: i64,
    reason: GapReason,
) -> (u64, u64, u64, i64, GapReason) {
    (records.start, records.end, records.end - records.start, at, reason)
}

fn seen(gap: &Gap) -> (u64, u64, u64, i64, GapReason) {
    let (start, end) = (gap.records.start.get(), gap.records.end.get());
    (start, end, gap.dropped, gap.at.micros(), gap.reason)
}

#[test]
fn what_is_older_than_its_log_keeps_it_goes_with_the_next_commit() {
    let mut log = Fixture::new(aged(100));
    log.append(10, &[10, 20, 30]).unwrap();
    for (now, first) in [(110, 0), (111, 1), (120, 1), (121, 2), (1000, 3)] {
        log.commit(now, Vec::new()).unwrap();
        assert_eq!(log.bounds(), (first, 3), "at {now}");
        assert_eq!(log.state().bytes, (3 - first) * RECORD);
    }
    assert_eq!(log.state().dropped, 0, "nobody was to read it");
    assert_eq!(log.gaps(), []);
    log.append(1000, &[1000]).unwrap();
    assert_eq!(log.bounds(), (3, 4));
}

#[test]
fn records_that_settled_together_go_together() {
    let mut log = Fixture::new(aged(100));
    log.append(10, &[10, 20, 30]).unwrap();
    log.settle();
    log.forget();
    log.commit(130, Vec::new()).unwrap();
    assert_eq!(log.bounds(), (0, 3));
    log.commit(131, Vec::new()).unwrap();
    assert_eq!(log.bounds(), (3, 3));
}

#[test]
fn chunks_that_were_known_before_they_settled_still_go_one_by_one() {
    let mut log = Fixture::new(aged(100));
    log.append(10, &[10, 20, 30]).unwrap();
    log.forget();
    log.commit(20, Vec::new()).unwrap();
    log.settle();
    log.commit(125, Vec::new()).unwrap();
    assert_eq!((log.bounds(), log.state().bytes), ((2, 3), RECORD));
    assert!(log.disk.contains_key(LOG.chunk_key(Seq::new(2)).as_slice()), "it holds the third");
    log.commit(131, Vec::new()).unwrap();
    assert_eq!((log.bounds(), log.state().bytes), ((3, 3), 0));
    assert!(!log.disk.contains_key(LOG.chunk_key(Seq::new(2)).as_slice()));
}

#[test]
fn record_from_the_future_keeps_those_behind_it() {
    let mut log = Fixture::new(aged(100));
    log.append(10, &[10, 5000, 20]).unwrap();
    log.commit(1000, Vec::new()).unwrap();
    assert_eq!(log.bounds(), (1, 3));
}

#[test]
fn clock_that_is_behind_drops_nothing() {
    let mut log = Fixture::new(aged(100));
    log.append(1_000_000, &[1_000_000]).unwrap();
    for now in [0, i64::MIN] {
        log.commit(now, Vec::new()).unwrap();
        assert_eq!(log.bounds(), (0, 1));
    }
}

#[test]
fn log_that_refuses_keeps_what_is_unread_however_old() {
    let mut log = Fixture::new(aged(100));
    log.append(10, &[10, 11, 12]).unwrap();
    log.cursor(2);
    log.commit(1000, Vec::new()).unwrap();
    assert_eq!(log.bounds(), (2, 3));
    log.cursor(3);
    log.commit(1000, Vec::new()).unwrap();
    assert_eq!((log.bounds(), log.state().dropped), ((3, 3), 0));
}

#[test]
fn log_that_drops_the_oldest_says_what_it_dropped_by_age() {
    let mut log = Fixture::new(aged(100).when_full(WhenFull::DropOldest));
    log.append(10, &[10, 11, 12]).unwrap();
    log.cursor(1);
    log.commit(1000, Vec::new()).unwrap();
    assert_eq!((log.bounds(), log.state().dropped), ((3, 3), 2));
    let gaps: Vec<_> = log.gaps().iter().map(seen).collect();
    assert_eq!(gaps, [gap(1..3, 1000, GapReason::Age)]);
}

#[test]
fn each_reason_is_a_gap_and_neighbours_of_one_reason_are_one() {
    let options = LogOptions::new().max_bytes(4 * RECORD).when_full(WhenFull::DropOldest);
    let mut log = Fixture::new(options);
    log.cursor(0);
    log.append(7, &[0; 6]).unwrap();
    log.commit(8, vec![Op::Trim { log: LOG, before: Seq::new(4) }]).unwrap();
    log.append(9, &[0; 4]).unwrap();
    let gaps: Vec<_> = log.gaps().iter().map(seen).collect();
    let expected = [
        gap(0..2, 7, GapReason::Full),
        gap(2..4, 8, GapReason::Trimmed),
        gap(4..6, 9, GapReason::Full),
    ];
    assert_eq!(gaps, expected);
    assert_eq!((log.bounds(), log.state().dropped), ((6, 10), 6));
}

#[test]
fn oldest_gaps_become_one_when_there_are_many() {
    let mut log = Fixture::new(LogOptions::new());
    for round in 0..100 {
        // One is read, two are not.
        log.append(0, &[0; 3]).unwrap();
        log.cursor(round * 3 + 1);
        let before = Seq::new(round * 3 + 3);
        log.commit(round.cast_signed(), vec![Op::Trim { log: LOG, before }]).unwrap();
    }
    let gaps = log.gaps();
    assert_eq!(gaps.len(), 64);
    assert_eq!(seen(&gaps[0]), (1, 111, 74, 36, GapReason::Trimmed));
    assert_eq!(seen(&gaps[63]), gap(298..300, 99, GapReason::Trimmed));
    assert_eq!(gaps.iter().map(|gap| gap.dropped).sum::<u64>(), log.state().dropped);
    let kept: Vec<_> = log.ledger.logs[&LOG].gaps.iter().cloned().collect();
    assert_eq!(kept, gaps, "what is stored is what the ledger goes on with");
}

#[test]
fn dropping_with_each_commit_does_not_read_with_each() {
    let options = LogOptions::new().max_bytes(50 * RECORD).when_full(WhenFull::DropOldest);
    let mut log = Fixture::new(options);
    log.append(0, &[0; 150]).unwrap();
    assert_eq!(log.bounds(), (100, 150));
    assert_eq!(log.looks.get(), 26, "for 101 chunks, four a look");
}

#[test]
fn log_that_waits_for_its_age_is_looked_at_once() {
    let mut log = Fixture::new(aged(100));
    log.append(10, &[10]).unwrap();
    (0..50).for_each(|_| log.append(20, &[20]).unwrap());
    assert_eq!(log.looks.get(), 1);
}

#[test]
fn full_disk_takes_what_removes_or_pushes_out_and_nothing_else() {
    let user = || Space::FIRST.next().key(b"key");
    let system = || Space::CATALOG.key(b"name");
    let put = |key| Op::Put { key, value: vec![1] };
    let cursor = || "reader".into();
    let cases: Vec<(WhenFull, Vec<Op>, bool)> = vec![
        (WhenFull::DropOldest, vec![put(user())], false),
        (WhenFull::DropOldest, vec![put(system())], true),
        (WhenFull::DropOldest, vec![Op::Delete { key: user() }], true),
        (WhenFull::DropOldest, vec![Op::Delete { key: user() }, put(user())], false),
        (WhenFull::DropOldest, vec![append(1)], true),
        (WhenFull::DropOldest, vec![append(1), append(2), append(3)], true),
        (WhenFull::DropOldest, vec![append(1), append(2), append(3), append(4)], false),
        (WhenFull::Refuse, vec![append(1)], false),
        (WhenFull::Refuse, vec![Op::Advance { log: LOG, cursor: cursor(), to: Seq::new(2) }], true),
        (WhenFull::Refuse, vec![Op::Trim { log: LOG, before: Seq::new(2) }], true),
    ];
    for (policy, ops, is_taken) in cases {
        let mut fixture = Fixture::new(LogOptions::new().when_full(policy));
        fixture.append(0, &[0, 0, 0]).unwrap();
        fixture.is_full = true;
        let before = fixture.state();
        let said = format!("{policy:?} {ops:?}");
        match fixture.commit(1, ops) {
            Ok(_) => assert!(is_taken, "{said}"),
            Err(WriteError::Full { used_bytes: 2, budget_bytes: 1 }) => {
                assert!(!is_taken, "{said}");
                assert_eq!(fixture.state(), before, "{said}");
            }
            Err(error) => panic!("{said}: {error}"),
        }
        assert!(fixture.state().bytes <= 3 * RECORD, "{said}");
    }
}
