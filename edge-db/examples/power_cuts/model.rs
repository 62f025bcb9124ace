//! What the database must hold, on plain collections.
//!
//! Batches are applied in the order of their issue, which is the order in which the database
//! commits them. What becomes of a batch is learned in two ways: from its acknowledgement, and
//! from the marks in a state that was read, for each batch leaves its number there. A state must
//! hold every acknowledged batch, no refused one, and none behind one that is missing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::model_log::{ModelLog, Rec};

/// Marks of so many batches are kept.
pub(crate) const MARKS: u64 = 64;

/// The two logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// Refuses when full.
    Kept = 0,
    /// Drops its oldest records when full.
    Rolling = 1,
}

/// The cursors, by log and name.
pub(crate) const CURSORS: [(Which, &str); 3] =
    [(Which::Kept, "job"), (Which::Kept, "slow"), (Which::Rolling, "job")];

/// The row that the job behind a cursor stores together with its position.
pub(crate) fn job_row(cursor: usize) -> u32 {
    1_000_000 + u32::try_from(cursor).expect("there are three")
}

/// One operation of a batch.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Insert(u32, Vec<u8>),
    Remove(u32),
    ClearTable,
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    Clear,
    Append(Which, Rec),
    /// Moves a cursor, and stores the position in the job's row.
    Advance(usize, u64),
    Trim(Which, u64),
}

/// A batch whose outcome is not known yet.
#[derive(Debug)]
pub(crate) struct Issued {
    pub(crate) number: u64,
    pub(crate) changes: Vec<Change>,
    /// It was told that it is not stored, for a failure on purpose.
    has_failed: bool,
}

/// Everything at one moment, but for the content of the logs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) table: BTreeMap<u32, Vec<u8>>,
    pub(crate) cells: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The last batch of each slot.
    pub(crate) marks: BTreeMap<u64, u64>,
    pub(crate) cursors: [u64; 3],
    /// The ends of the logs.
    pub(crate) ends: [u64; 2],
}

#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) state: State,
    pub(crate) logs: [ModelLog; 2],
    issued: VecDeque<Issued>,
    /// Whether the disk fails on purpose: a batch in flight may have failed.
    pub(crate) is_faulty: bool,
    last_number: u64,
    pub(crate) acknowledged: u64,
    pub(crate) refused: u64,
    /// Batches without an acknowledgement that an end has swallowed.
    pub(crate) lost: u64,
}

impl Model {
    /// Notes a batch that is about to be committed; gives its number.
    pub(crate) fn issue(&mut self, changes: Vec<Change>) -> u64 {
        self.last_number += 1;
        self.issued.push_back(Issued { number: self.last_number, changes, has_failed: false });
        self.last_number
    }

    /// Batches that may or may not be there.
    pub(crate) fn in_doubt(&self) -> impl Iterator<Item = &Issued> {
        self.issued.iter()
    }

    /// Takes in what a state that was read has marks of; `is_reopened`: for the first time since
    /// the database was opened.
    pub(crate) fn observe(&mut self, marks: &BTreeMap<u64, u64>, is_reopened: bool) {
        let stored: BTreeSet<u64> = marks.values().copied().collect();
        for issued in self.issued.iter().filter(|issued| issued.has_failed && !is_reopened) {
            let number = issued.number;
            assert!(!stored.contains(&number), "batch {number}, told that it has failed, is there");
        }
        let last = self.issued.iter().rev().find(|issued| stored.contains(&issued.number));
        if let Some(last) = last.map(|issued| issued.number) {
            self.resolve(last, |number| stored.contains(&number));
        }
        if is_reopened {
            // The rest is lost, and will not come back.
            self.lost += self.issued.len() as u64;
            self.issued.clear();
        }
    }

    /// The batch was acknowledged with these positions in the logs.
    pub(crate) fn acknowledge(&mut self, number: u64, ends: [Option<u64>; 2]) {
        self.acknowledged += 1;
        let is_open = self.issued.front().is_some_and(|issued| issued.number <= number);
        if is_open {
            // Only batches that have failed can be open before it: outcomes come in order.
            self.resolve(number, |other| other == number);
        }
        let stored = self.state.marks.get(&(number % MARKS)).copied();
        assert!(
            stored >= Some(number),
            "batch {number} was acknowledged, and was not there before"
        );
        for (which, end) in [Which::Kept, Which::Rolling].into_iter().zip(ends) {
            let next = self.logs[which as usize].end_of(number);
            assert_eq!(end, next, "batch {number} was told a wrong position in log {which:?}");
        }
    }

    /// The batch was refused for what it wants.
    pub(crate) fn refuse(&mut self, number: u64) {
        self.refused += 1;
        let stored = self.state.marks.get(&(number % MARKS));
        assert_ne!(stored, Some(&number), "batch {number} was refused, and is stored");
        // Those before it have outcomes, or have failed and may still turn up.
        self.issued.retain(|issued| issued.number != number);
    }

    /// The batch was told a failure on purpose: it is not there now, and may be at the next open.
    pub(crate) fn fail(&mut self, number: u64) {
        let stored = self.state.marks.get(&(number % MARKS));
        assert_ne!(
            stored,
            Some(&number),
            "batch {number} was told that it has failed, and is stored"
        );
        for issued in self.issued.iter_mut().filter(|issued| issued.number == number) {
            issued.has_failed = true;
        }
    }

    /// Settles the fate of all batches up to `last`.
    fn resolve(&mut self, last: u64, is_stored: impl Fn(u64) -> bool) {
        while self.issued.front().is_some_and(|issued| issued.number <= last) {
            let issued = self.issued.pop_front().expect("looked at above");
            if is_stored(issued.number) {
                self.apply(issued);
            } else {
                let may_fail = issued.has_failed || self.is_faulty;
                let may_miss = may_fail || self.may_be_refused(&issued);
                assert!(may_miss, "batch {} is missing, and batch {last} is there", issued.number);
            }
        }
    }

    /// Whether a batch may be refused for what it wants.
    fn may_be_refused(&self, issued: &Issued) -> bool {
        issued.changes.iter().any(|change| match change {
            Change::Append(Which::Kept, _) => true,
            Change::Advance(cursor, to) => *to > self.end_with(issued, CURSORS[*cursor].0),
            _ => false,
        })
    }

    /// The end that a log has after a batch.
    pub(crate) fn end_with(&self, issued: &Issued, which: Which) -> u64 {
        let appends = |change: &&Change| matches!(change, Change::Append(log, _) if *log == which);
        let appended = issued.changes.iter().filter(appends).count();
        self.state.ends[which as usize] + appended as u64
    }

    fn apply(&mut self, issued: Issued) {
        let Issued { number, changes, .. } = issued;
        let state = &mut self.state;
        state.marks.insert(number % MARKS, number);
        for change in changes {
            match change {
                Change::Insert(key, value) => drop(state.table.insert(key, value)),
                Change::Remove(key) => drop(state.table.remove(&key)),
                Change::ClearTable => state.table.clear(),
                Change::Put(key, value) => drop(state.cells.insert(key, value)),
                Change::Delete(key) => drop(state.cells.remove(&key)),
                Change::Clear => state.cells.clear(),
                Change::Append(which, rec) => {
                    self.logs[which as usize].append(rec, number);
                    state.ends[which as usize] += 1;
                }
                Change::Advance(cursor, to) => {
                    state.cursors[cursor] = to;
                    state.table.insert(job_row(cursor), to.to_be_bytes().to_vec());
                }
                Change::Trim(which, before) => self.logs[which as usize].may_drop(before),
            }
        }
        for (cursor, (which, _)) in CURSORS.into_iter().enumerate() {
            assert!(
                state.cursors[cursor] <= state.ends[which as usize],
                "batch {number} moved cursor {cursor} behind the end of its log"
            );
        }
        self.logs[Which::Kept as usize].may_drop(state.cursors[0].min(state.cursors[1]));
        self.logs[Which::Rolling as usize].may_drop(u64::MAX);
    }
}
