//! What the database must hold, on plain collections.
//!
//! Batches are applied in the order of their issue, which is the order in which the database
//! commits them. What becomes of a batch is learned in two ways: from its acknowledgement, and
//! from the marks in a state that was read, for each batch leaves its number there. A state must
//! hold every acknowledged batch, no refused one, and none behind one that is missing. After a
//! power cut, and only then, the last of those may be missing that were to be durable later.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::model_early::Early;
use crate::model_log::ModelLog;
pub(crate) use crate::model_state::{CURSORS, Change, Life, MARKS, State, Which, job_row};

/// A batch whose outcome is not known yet, or that is not durable yet.
#[derive(Debug)]
pub(crate) struct Issued {
    pub(crate) number: u64,
    pub(crate) changes: Vec<Change>,
    /// For how long it may be visible before it is durable.
    pub(crate) within: Option<Duration>,
    /// It was told that it is not stored, for a failure on purpose.
    has_failed: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) state: State,
    pub(crate) logs: [ModelLog; 2],
    issued: VecDeque<Issued>,
    /// What is there and may not be durable.
    early: Option<Box<Early>>,
    /// Batches that have failed, and may turn up in place of those that are not durable.
    undead: Vec<Issued>,
    /// Whether the power went since the database was opened last.
    is_cut: bool,
    /// Whether the disk fails on purpose: a batch in flight may have failed.
    pub(crate) is_faulty: bool,
    last_number: u64,
    pub(crate) acknowledged: u64,
    pub(crate) refused: u64,
    /// Batches without an acknowledgement that an end has swallowed.
    pub(crate) lost: u64,
    /// Batches that were there, and that a power cut has swallowed before they were durable.
    pub(crate) lost_early: u64,
}

impl Model {
    /// Notes a batch that is about to be committed; gives its number.
    pub(crate) fn issue(&mut self, changes: Vec<Change>, within: Option<Duration>) -> u64 {
        self.last_number += 1;
        let number = self.last_number;
        self.issued.push_back(Issued { number, changes, within, has_failed: false });
        number
    }

    /// How many batches a power cut may swallow: fewer than there are marks.
    pub(crate) fn at_risk(&self) -> u64 {
        let early = self.early.as_ref().map_or(0, |early| early.batches.len());
        (self.issued.len() + self.undead.len() + early) as u64
    }

    /// All that is there is durable now.
    pub(crate) fn is_durable(&mut self) {
        self.early = None;
        self.undead.clear();
    }

    /// Nothing of what was not durable need be there any more.
    pub(crate) fn cut_power(&mut self) {
        self.is_cut = true;
    }

    /// Batches that may or may not be there.
    pub(crate) fn in_doubt(&self) -> impl Iterator<Item = &Issued> {
        self.issued.iter()
    }

    /// Takes in what a state that was read has marks of; `is_reopened`: for the first time since
    /// the database was opened.
    pub(crate) fn observe(&mut self, marks: &BTreeMap<u64, u64>, is_reopened: bool) {
        let stored: BTreeSet<u64> = marks.values().copied().collect();
        if is_reopened {
            let (early, is_cut) = (self.early.take(), std::mem::take(&mut self.is_cut));
            let early = early.filter(|_| is_cut);
            self.lost_early += early.map_or(0, |early| self.take_back(*early, &stored));
        }
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
            self.is_durable();
        }
    }

    /// Takes back what was not durable, but for batches up to the last that is there. One that is
    /// missing before that one shows when the states are compared.
    fn take_back(&mut self, early: Early, stored: &BTreeSet<u64>) -> u64 {
        let Early { state, logs, mut batches } = early;
        self.state = state;
        for (log, mark) in self.logs.iter_mut().zip(logs) {
            log.take_back(mark);
        }
        batches.append(&mut self.undead);
        batches.sort_by_key(|issued| issued.number);
        let mut lost = 0;
        for issued in batches {
            let is_there = match issued.has_failed {
                true => stored.contains(&issued.number),
                false => Some(&issued.number) <= stored.last(),
            };
            if is_there {
                self.apply(issued);
            } else {
                lost += u64::from(!issued.has_failed);
            }
        }
        lost
    }

    /// The batch was acknowledged.
    pub(crate) fn acknowledge(&mut self, number: u64) {
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
    }

    /// Compares the positions in the logs that an acknowledged batch was told.
    pub(crate) fn check_positions(&self, number: u64, ends: [Option<u64>; 2]) {
        for (log, end) in self.logs.iter().zip(ends) {
            let next = log.end_of(number);
            assert_eq!(end, next, "batch {number} was told a wrong position in a log");
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
            let must_miss = self.state.conflicts(&issued.changes)
                || self.state.has_taken_badge(&issued.changes);
            if is_stored(issued.number) {
                assert!(!must_miss, "batch {} had to be refused, and is there", issued.number);
                self.apply(issued);
            } else {
                let may_fail = issued.has_failed || self.is_faulty;
                let may_miss = must_miss || may_fail || self.may_be_refused(&issued);
                assert!(may_miss, "batch {} is missing, and batch {last} is there", issued.number);
                if may_fail && !must_miss {
                    self.undead.push(Issued { has_failed: true, ..issued });
                }
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
        if issued.within.is_none() {
            // It was durable before anybody saw it, and so was all before it.
            self.is_durable();
        } else {
            let early = || Box::new(Early::behind(&self.state, &self.logs));
            self.early.get_or_insert_with(early);
        }
        self.state.apply(issued.number, &issued.changes, &mut self.logs);
        if let Some(early) = &mut self.early {
            early.batches.push(issued);
        }
    }
}
