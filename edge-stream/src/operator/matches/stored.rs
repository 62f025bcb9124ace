//! The state of a search for matches in the store: the watermark, segments of rows, which of their
//! rows are still needed, and the pieces of what waits.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};

use super::Matches;
use crate::error::OperatorError;
use crate::operator::state::{columns_as, damaged, expect, number_of, numbered};
use crate::operator::waiting::in_unit;
use crate::operator::{StateReader, StateWriter};

/// Kinds of entries, in the order in which they are read. Part of the file format.
const PASSED: u8 = 0;
const ROWS: u8 = 1;
const NEEDED: u8 = 2;
const WAITING: u8 = 3;

impl Matches {
    /// Puts what these keys have in segments from this number on into one.
    pub(super) fn settle(&mut self, of: &BTreeSet<u32>, from: u64) -> Result<(), OperatorError> {
        let mut rows = Vec::new();
        for partition in of.iter().filter_map(|place| self.partitions.get(*place)) {
            rows.extend(partition.rows.range(partition.first_in(from)..).copied());
        }
        if rows.is_empty() {
            return Ok(());
        }
        let (segment, mut next) = (self.kept.gather_into_one(&rows)?, 0);
        for place in of {
            let Some(partition) = self.partitions.get_mut(*place) else { continue };
            let first = partition.first_in(from);
            for row in partition.rows.range_mut(first..) {
                (row.segment, row.row) = (segment, next);
                next += 1;
            }
        }
        Ok(())
    }

    pub(super) fn write(&mut self, state: &mut StateWriter<'_>) -> Result<(), OperatorError> {
        self.passed.store(state, numbered(PASSED, 0))?;
        self.write_rows(state)?;
        self.waiting.store(state, |number| numbered(WAITING, number))
    }

    fn write_rows(&mut self, state: &mut StateWriter<'_>) -> Result<(), OperatorError> {
        let changed = std::mem::take(&mut self.changed);
        if self.kept.is_slack() {
            let all = self.partitions.places().collect();
            self.settle(&all, 0)?;
        } else {
            self.settle(&changed, self.stored_to)?;
        }
        self.stored_to = self.kept.next();
        for number in self.kept.left.drain(..) {
            state.remove(numbered(ROWS, number));
            state.remove(numbered(NEEDED, number));
        }
        for (number, segment) in &mut self.kept.segments {
            if segment.stored.is_none() {
                segment.stored = Some(state.put(numbered(ROWS, *number), &segment.rows)?);
            } else if segment.is_touched {
                let is_needed: ArrayRef = Arc::new(BooleanArray::from(segment.is_needed.clone()));
                state.put(numbered(NEEDED, *number), &columns_as(vec![is_needed])?)?;
            }
            segment.is_touched = false;
        }
        Ok(())
    }

    pub(super) fn read(&mut self, state: &StateReader<'_>) -> Result<(), OperatorError> {
        for entry in state.entries() {
            let (key, rows, bytes) = entry?;
            let (kind, number) = number_of(key);
            match kind {
                PASSED => self.passed.restore(&rows)?,
                ROWS => self.kept.restore(number, rows, bytes)?,
                NEEDED => self.kept.restore_needed(number, &rows)?,
                WAITING => {
                    let types = self.plan.input.fields().iter();
                    let types: Vec<_> = types.map(|field| field.data_type().clone()).collect();
                    expect(&rows, &types)?;
                    self.waiting.restore(number, rows, self.passed.at, bytes)?;
                }
                _ => return Err(damaged("it has parts that MATCH_RECOGNIZE has not")),
            }
        }
        self.stored_to = self.kept.next();
        self.look_again()
    }

    /// Finds out about the stored rows what was known of them: no match, as those were decided.
    fn look_again(&mut self) -> Result<(), OperatorError> {
        let mut touched = BTreeSet::new();
        for number in self.kept.segments.keys().copied().collect::<Vec<_>>() {
            let is_needed = self.kept.segments[&number].is_needed.clone();
            let rows = is_needed.into_iter().enumerate().filter(|(_, is_needed)| *is_needed);
            touched.extend(self.distribute(number, rows.map(|(row, _)| row))?);
        }
        let Some(passed) = self.passed.at else { return Ok(()) };
        let (found, gone) = self.look(&touched, in_unit(passed, self.plan.unit))?;
        match found.is_empty() && gone.is_empty() {
            true => Ok(()),
            false => Err(damaged("it has rows that were needed no longer")),
        }
    }
}
