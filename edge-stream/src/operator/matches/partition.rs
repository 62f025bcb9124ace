//! The rows of one key, and the search for a match that begins at the first of them.

use std::collections::VecDeque;

use arrow::array::new_null_array;

use super::MatchPlan;
use super::condition::{Condition, holds};
use super::rows::{Kept, Place};
use crate::error::OperatorError;
use crate::matching::{Attempt, Slots, Status};

#[derive(Debug)]
pub(super) struct Partition {
    /// From the first row on at which a match may still begin.
    pub(super) rows: VecDeque<Place>,
    attempt: Attempt,
}

/// A match: its rows, and which variable each is.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) rows: Vec<Place>,
    pub(super) variables: Vec<usize>,
}

/// What a search goes by.
pub(super) struct Search<'a> {
    pub(super) plan: &'a MatchPlan,
    pub(super) kept: &'a Kept,
    pub(super) start: &'a Attempt,
    pub(super) watermark: i64,
}

impl Partition {
    pub(super) fn new(start: &Attempt) -> Partition {
        Partition { rows: VecDeque::new(), attempt: start.clone() }
    }

    /// The time of the first row.
    pub(super) fn start(&self) -> Option<i64> {
        self.rows.front().map(|row| row.time)
    }

    /// The number of the first row in a segment of this number or above: newer rows lie in later
    /// segments.
    pub(super) fn first_in(&self, segment: u64) -> usize {
        self.rows.partition_point(|row| row.segment < segment)
    }

    /// Adds the newest row: whether it is the only one.
    pub(super) fn push(&mut self, row: Place) -> bool {
        self.rows.push_back(row);
        self.rows.len() == 1
    }

    /// Looks on, match by match, until what comes next depends on rows that have not come.
    pub(super) fn look(
        &mut self,
        search: &Search<'_>,
        found: &mut Vec<Found>,
        gone: &mut Vec<Place>,
    ) -> Result<(), OperatorError> {
        while let Some(start) = self.start()
            && self.is_decided(search, start.saturating_add(search.plan.within))?
        {
            let attempt = std::mem::replace(&mut self.attempt, search.start.clone());
            let mut passed = 1;
            if let Some(variables) = attempt.finish() {
                if search.plan.skips_past {
                    passed = variables.len();
                }
                let rows = self.rows.iter().take(variables.len()).copied().collect();
                found.push(Found { rows, variables });
            }
            gone.extend(self.rows.drain(..passed));
        }
        Ok(())
    }

    /// Whether no row to come changes what begins at the first one; a row at `end` is out of it.
    fn is_decided(&mut self, search: &Search<'_>, end: i64) -> Result<bool, OperatorError> {
        let Search { plan, kept, watermark, .. } = search;
        let rows = &self.rows;
        loop {
            let current = self.attempt.rows();
            match rows.get(current as usize) {
                Some(row) if row.time >= end => return Ok(true),
                Some(_) => {
                    let may_be = |variable: usize, slots: &Slots| {
                        Self::may_be(rows, current, (variable, slots), plan, kept)
                    };
                    let status = self.attempt.advance(&plan.program, &plan.slotted, may_be)?;
                    if status == Status::Decided {
                        return Ok(true);
                    }
                }
                None => return Ok(*watermark >= end),
            }
        }
    }

    /// Whether the current row may be a variable of the match so far.
    fn may_be(
        rows: &VecDeque<Place>,
        current: u32,
        (variable, slots): (usize, &Slots),
        plan: &MatchPlan,
        kept: &Kept,
    ) -> Result<bool, OperatorError> {
        match &plan.conditions[variable] {
            Condition::Always => Ok(true),
            Condition::Row(_) => {
                let before = plan.conditions[..variable].iter();
                let before = before.filter(|one| matches!(one, Condition::Row(_))).count();
                let column = plan.first_value() + plan.values.len() + before;
                let row = rows[current as usize];
                holds(&kept.columns(row.segment)[column], row.row as usize)
            }
            Condition::Rows(computed) => computed.is_true(|reference, value| {
                let column = plan.first_value() + value;
                let row = plan.slotted.find(slots, reference, variable, current);
                Ok(match row {
                    Some(row) => kept.value(rows[row as usize], column),
                    None => new_null_array(kept.kind(column), 1),
                })
            }),
        }
    }
}
