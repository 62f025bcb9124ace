//! A log gives back what was appended, from any position and time and in both directions, and
//! says what it dropped, whether its chunks are in memory, joined or compressed, over settling
//! and reopening; snapshots that stay open go on showing what they showed. The model is a `Vec`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use edge_db::{
    Compression, Db, Entry, Gap, GapReason, Log, LogOptions, Records, Seq, Snapshot, Time,
    WhenFull, WriteError,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// In the year 2100: nothing of that time grows old while this test runs.
const FUTURE: i64 = 4_102_444_800_000_000;
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Time and value; the value is a letter many times, or bytes that do not compress.
#[derive(Debug, Clone)]
struct Row {
    time: i64,
    value: Vec<u8>,
}

#[derive(Debug, Clone)]
enum Action {
    Append(Vec<Row>),
    Advance(Index),
    Trim(Index),
    Options(Options),
    Checkpoint,
    Reopen,
    Snapshot,
    Read(Index, usize),
    ReadBack(Index, usize),
    Find(Index),
}

#[derive(Debug, Clone, Copy)]
struct Options {
    max_bytes: u64,
    when_full: WhenFull,
    /// Whether what is older than a year goes.
    ages: bool,
    compression: Compression,
}

impl Options {
    fn open(self, db: &Db) -> Log {
        let options = LogOptions::new().max_bytes(self.max_bytes).when_full(self.when_full);
        let options = options.compression(self.compression);
        let options = if self.ages { options.max_age(YEAR) } else { options };
        db.log_with("log", options).unwrap()
    }
}

fn row() -> impl Strategy<Value = Row> {
    let time = prop_oneof![4 => 0i64..100, 1 => -50i64..50, 1 => FUTURE..FUTURE + 100];
    let value = prop_oneof![
        4 => (any::<u8>(), 0usize..400).prop_map(|(letter, count)| vec![letter; count]),
        1 => vec(any::<u8>(), 300),
    ];
    (time, value).prop_map(|(time, value)| Row { time, value })
}

/// What this build can do.
fn compression() -> impl Strategy<Value = Compression> {
    let mut all = vec![Compression::None];
    all.extend(cfg!(feature = "lz4").then_some(Compression::Lz4));
    all.extend(cfg!(feature = "zstd").then_some(Compression::Zstd));
    proptest::sample::select(all)
}

fn options() -> impl Strategy<Value = Options> {
    let bytes = prop_oneof![Just(1 << 40), 2000u64..40_000];
    let policy = prop_oneof![Just(WhenFull::Refuse), Just(WhenFull::DropOldest)];
    (bytes, policy, any::<bool>(), compression()).prop_map(
        |(max_bytes, when_full, ages, compression)| Options {
            max_bytes,
            when_full,
            ages,
            compression,
        },
    )
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        8 => vec(row(), 1..12).prop_map(Action::Append),
        2 => any::<Index>().prop_map(Action::Advance),
        1 => any::<Index>().prop_map(Action::Trim),
        1 => options().prop_map(Action::Options),
        2 => Just(Action::Checkpoint),
        1 => Just(Action::Reopen),
        1 => Just(Action::Snapshot),
        2 => (any::<Index>(), 0usize..60).prop_map(|(from, most)| Action::Read(from, most)),
        2 => (any::<Index>(), 0usize..60).prop_map(|(from, most)| Action::ReadBack(from, most)),
        2 => any::<Index>().prop_map(Action::Find),
    ]
}

/// All that was ever appended, and from where on it is kept.
#[derive(Debug, Default, Clone)]
struct Model {
    rows: Vec<Row>,
    first: usize,
    cursor: usize,
    dropped: usize,
}

impl Model {
    fn bytes(&self) -> u64 {
        self.rows[self.first..].iter().map(|row| row.value.len() as u64 + 8).sum()
    }

    /// The first kept record at or after a time.
    fn find(&self, time: i64) -> usize {
        let found = self.rows[self.first..].iter().position(|row| row.time >= time);
        found.map_or(self.rows.len(), |found| self.first + found)
    }

    fn at(&self, index: Index) -> usize {
        index.index(self.rows.len() + 1)
    }

    /// Takes over from where on the log keeps its records, after one commit.
    fn dropped_to(&mut self, first: usize) {
        assert!((self.first..=self.rows.len()).contains(&first), "{first}");
        self.dropped += first - self.cursor.clamp(self.first, first);
        self.first = first;
    }
}

fn position(seq: Seq) -> usize {
    usize::try_from(seq.get()).unwrap()
}

fn seq(position: usize) -> Seq {
    Seq::new(position as u64)
}

/// What the log gave is what the model says stands at these positions, in this order.
fn check_records(records: &Records, model: &Model, positions: impl Iterator<Item = usize>) {
    let found: Vec<_> = records
        .iter()
        .map(|record| (position(record.seq()), record.time().micros(), record.value().to_vec()))
        .collect();
    let expected: Vec<_> =
        positions.map(|at| (at, model.rows[at].time, model.rows[at].value.clone())).collect();
    assert_eq!(found, expected);
}

fn check_read(records: &Records, model: &Model, from: usize, most: usize) {
    let start = from.max(model.first);
    let end = start.saturating_add(most).min(model.rows.len());
    check_records(records, model, start..end);
    assert_eq!(position(records.next()), end.max(start));
    let missing = (from < model.first).then(|| seq(from)..seq(model.first));
    assert_eq!(records.missing(), missing);
}

fn check_read_back(records: &Records, model: &Model, before: usize, most: usize) {
    let start = before.saturating_sub(most).max(model.first);
    check_records(records, model, (start..before).rev());
    assert_eq!(position(records.next()), if start < before { start } else { before });
    assert_eq!(records.missing(), None);
}

/// Everything that a snapshot shows.
fn check_snapshot(snapshot: &Snapshot, log: &Log, model: &Model, gaps: &[Gap]) {
    let end = model.rows.len();
    assert_eq!(snapshot.bounds(log).unwrap(), seq(model.first)..seq(end));
    let all = usize::MAX;
    check_read(&snapshot.read(log, seq(model.first), all).unwrap(), model, model.first, all);
    check_read_back(&snapshot.read_back(log, seq(end), all).unwrap(), model, end, all);
    for time in [-60, 0, 50, 99, FUTURE, FUTURE + 99, FUTURE + 100] {
        let found = snapshot.position_at(log, Time::from_micros(time)).unwrap();
        assert_eq!(position(found), model.find(time), "{time}");
    }
    assert_eq!(snapshot.gaps(log).unwrap(), gaps);
}

struct Fixture {
    dir: tempfile::TempDir,
    db: Db,
    log: Log,
    options: Options,
    model: Model,
    snapshots: Vec<(Snapshot, Model, Vec<Gap>)>,
}

impl Fixture {
    fn new(options: Options) -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        // Small enough that it settles without being asked to.
        let db = Db::builder().memory_bytes(0).journal_bytes(0).open(dir.path()).unwrap();
        let log = options.open(&db);
        log.cursor("reader").unwrap();
        Fixture { dir, db, log, options, model: Model::default(), snapshots: Vec::new() }
    }

    fn reopen(&mut self) {
        self.snapshots.clear();
        self.db.shutdown(Duration::from_secs(60)).unwrap();
        let builder = Db::builder().memory_bytes(0).journal_bytes(0);
        self.db = builder.open(self.dir.path()).unwrap();
        self.log = self.db.log("log").unwrap();
    }

    fn append(&mut self, rows: &[Row]) {
        let mut batch = self.db.batch();
        for row in rows {
            let entry = Entry::new(row.value.clone()).at(Time::from_micros(row.time));
            batch.append(&self.log, entry);
        }
        let more: u64 = rows.iter().map(|row| row.value.len() as u64 + 8).sum();
        match batch.commit() {
            Ok(receipt) => {
                let seqs = receipt.seqs(&self.log).unwrap();
                assert_eq!(position(seqs.start), self.model.rows.len());
                self.model.rows.extend_from_slice(rows);
                assert!(self.log.state().unwrap().bytes <= self.options.max_bytes.max(more));
            }
            Err(WriteError::LogFull { .. }) => {
                assert_eq!(self.options.when_full, WhenFull::Refuse);
                assert!(self.model.bytes() + more > self.options.max_bytes);
            }
            Err(other) => panic!("{other}"),
        }
    }

    fn trim(&mut self, before: usize) {
        let mut batch = self.db.batch();
        batch.trim(&self.log, seq(before));
        batch.commit().unwrap();
        self.look(before);
    }

    /// Looks what the log dropped, and whether it should have. What is before `trimmed` may be
    /// gone.
    fn look(&mut self, trimmed: usize) {
        // Whatever was appended before this grows old in this commit, and not at some time later.
        self.db.batch().commit().unwrap();
        let first = position(self.log.bounds().unwrap().start);
        let before = self.model.clone();
        self.model.dropped_to(first);
        let by_policy = self.model.rows[before.first.max(trimmed).min(first)..first].iter();
        if self.options.max_bytes == 1 << 40 {
            assert!(by_policy.clone().all(|row| self.options.ages && row.time < FUTURE));
        }
        if self.options.when_full == WhenFull::Refuse {
            assert!(first <= before.first.max(before.cursor).max(trimmed), "unread was dropped");
        }
        let kept = &self.model.rows[first..];
        // What was dropped from the front of a chunk still keeps it, if it was of the future.
        if self.options.ages && self.model.rows.iter().all(|row| row.time < FUTURE) {
            let held = self.options.when_full == WhenFull::Refuse;
            let passed = self.model.cursor >= self.model.rows.len();
            assert!(kept.is_empty() || (held && !passed), "all are old, and {} stay", kept.len());
        }
    }

    fn check_state(&self) {
        let (state, model) = (self.log.state().unwrap(), &self.model);
        assert_eq!((position(state.first), position(state.next)), (model.first, model.rows.len()));
        assert_eq!((state.bytes, state.dropped), (model.bytes(), model.dropped as u64));
        let newest = model.rows.iter().map(|row| Time::from_micros(row.time)).max();
        assert_eq!(state.newest, newest);
        let gaps = self.log.gaps().unwrap();
        assert_eq!(gaps.iter().map(|gap| gap.dropped).sum::<u64>(), state.dropped);
        for gap in &gaps {
            let records = &model.rows[position(gap.records.start)..position(gap.records.end)];
            assert!(gap.records.end <= state.first && gap.dropped == records.len() as u64);
            let is_old = records.iter().all(|row| row.time < FUTURE);
            assert!(gap.reason != GapReason::Age || is_old);
        }
        assert!(gaps.windows(2).all(|pair| pair[0].records.end <= pair[1].records.start));
    }

    fn run(&mut self, action: &Action) {
        match action {
            Action::Append(rows) => self.append(rows),
            Action::Advance(to) => {
                let to = self.model.at(*to);
                let cursor = self.log.cursor("reader").unwrap();
                let mut batch = self.db.batch();
                batch.advance(&cursor, seq(to));
                batch.commit().unwrap();
                self.model.cursor = to;
            }
            Action::Trim(before) => self.trim(self.model.at(*before)),
            Action::Options(options) => {
                self.log = options.open(&self.db);
                self.options = *options;
            }
            Action::Checkpoint => self.db.checkpoint().unwrap(),
            Action::Reopen => self.reopen(),
            Action::Snapshot => {
                let gaps = self.log.gaps().unwrap();
                self.snapshots.push((self.db.snapshot().unwrap(), self.model.clone(), gaps));
            }
            Action::Read(from, most) => {
                let from = self.model.at(*from);
                let records = self.log.read(seq(from), *most).unwrap();
                check_read(&records, &self.model, from, *most);
            }
            Action::ReadBack(before, most) => {
                let before = self.model.at(*before);
                let records = self.log.read_back(seq(before), *most).unwrap();
                check_read_back(&records, &self.model, before, *most);
            }
            Action::Find(at) => {
                let Some(row) = self.model.rows.get(self.model.at(*at)) else { return };
                let found = self.log.position_at(Time::from_micros(row.time)).unwrap();
                assert_eq!(position(found), self.model.find(row.time));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn log_gives_back_what_it_keeps_and_tells_what_it_dropped(
        options in options(),
        mut actions in vec(action(), 1..40),
        has_future in any::<bool>(),
    ) {
        for action in &mut actions {
            if let Action::Append(rows) = action && !has_future {
                rows.iter_mut().for_each(|row| row.time %= FUTURE);
            }
        }
        let mut fixture = Fixture::new(options);
        for action in &actions {
            fixture.run(action);
            fixture.look(0);
            fixture.check_state();
            for (snapshot, model, gaps) in &fixture.snapshots {
                check_snapshot(snapshot, &fixture.log, model, gaps);
            }
        }
        let snapshot = fixture.db.snapshot().unwrap();
        let gaps = fixture.log.gaps().unwrap();
        check_snapshot(&snapshot, &fixture.log, &fixture.model, &gaps);
    }
}
