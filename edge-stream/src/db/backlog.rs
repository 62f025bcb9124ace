//! Rows that came out, on their way into commits.
//!
//! A step may give out more rows than one commit takes: a window of a million groups, or event time
//! that jumps over a day of windows. Those that are too many are stored by the commit of their step, as
//! columns, which take a fraction of what they take in a view or a Log. The next commits each bring some
//! of them to where they belong and take them out of there, before the job reads on: each row comes out
//! once, whenever the power fails.

use std::collections::VecDeque;

use arrow::array::RecordBatch;
use bytes::Bytes;
use edge_db::{Batch, Keyspace};

use super::output::{Output, OutputError};
use crate::delta::Delta;
use crate::error::OperatorError;
use crate::operator::{from_bytes, to_bytes};

/// In front of the keys of rows that are stored here.
pub(crate) const BACKLOG_KEY: u8 = 0xFC;

/// Rows that are stored together, and what they may take: one of these is what a commit may go beyond
/// its limit by.
const CHUNK_ROWS: usize = 4096;
const CHUNK_BYTES: usize = 2 * 1024 * 1024;

/// What rows may take in one commit, and what they may fill it up to where state is in it.
const ROWS_BYTES: usize = 24 * 1024 * 1024;
const COMMIT_BYTES: usize = 52 * 1024 * 1024;

#[derive(Debug)]
pub(crate) struct Backlog {
    /// No more than [`chunk_rows`] in each.
    waiting: VecDeque<Delta>,
    /// So many of those in front are stored, under numbers from `first` on.
    stored: u32,
    first: u32,
    rows_bytes: usize,
}

impl Default for Backlog {
    fn default() -> Backlog {
        Backlog { waiting: VecDeque::new(), stored: 0, first: 0, rows_bytes: ROWS_BYTES }
    }
}

impl Backlog {
    pub(crate) fn extend(&mut self, deltas: impl IntoIterator<Item = Delta>) {
        for delta in deltas {
            let (rows, most) = (delta.rows().num_rows(), chunk_rows(delta.rows()));
            let parts = (0..rows).step_by(most);
            let parts = parts.map(|at| delta.slice(at, most.min(rows - at)));
            self.waiting.extend(parts);
        }
    }

    /// Whether nothing came out that has not gone.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether rows wait that are of the last checkpoint.
    pub(crate) fn is_stored(&self) -> bool {
        self.stored > 0
    }

    /// What came out since the last checkpoint goes nowhere.
    pub(crate) fn forget(&mut self) {
        self.waiting.truncate(self.stored as usize);
    }

    /// Takes up what earlier lives have stored, in the order of its keys.
    pub(crate) fn restore(
        &mut self,
        entries: impl IntoIterator<Item = (Vec<u8>, Bytes)>,
    ) -> Result<(), OperatorError> {
        for (key, value) in entries {
            let reason = "rows that wait to come out are damaged".to_owned();
            let damaged = OperatorError::State { reason };
            let number = key.get(1..).and_then(|number| <[u8; 4]>::try_from(number).ok());
            let (Some(number), Some((kind, rows))) = (number, value.split_first()) else {
                return Err(damaged);
            };
            self.waiting.push_back(match kind {
                0 => Delta::Rows(from_bytes(rows)?),
                1 => Delta::Gone(from_bytes(rows)?),
                _ => return Err(damaged),
            });
            if self.stored == 0 {
                self.first = u32::from_be_bytes(number);
            }
            self.stored += 1;
        }
        Ok(())
    }

    /// Puts as many into a batch as it takes; `out` counts all that ever came out. The batch stores
    /// the others.
    pub(crate) fn put(
        &mut self,
        batch: &mut Batch,
        output: &Output,
        out: &mut u64,
        state: &Keyspace,
    ) -> Result<(), OutputError> {
        let full_bytes = (batch.bytes() + self.rows_bytes).min(COMMIT_BYTES);
        while batch.bytes() < full_bytes
            && let Some(delta) = self.waiting.pop_front()
        {
            match &delta {
                Delta::Rows(rows) => {
                    output.add(batch, rows, *out)?;
                    *out += rows.num_rows() as u64;
                }
                Delta::Gone(keys) => output.remove(batch, keys)?,
            }
            if self.stored > 0 {
                batch.delete(state, stored_key(self.first));
                (self.first, self.stored) = (self.first + 1, self.stored - 1);
            }
        }
        if self.waiting.is_empty() {
            self.first = 0;
        }
        for delta in self.waiting.iter().skip(self.stored as usize) {
            let kind = u8::from(matches!(delta, Delta::Gone(_)));
            let value = [&[kind], &to_bytes(delta.rows())?[..]].concat();
            batch.put(state, stored_key(self.first + self.stored), value);
            self.stored += 1;
        }
        Ok(())
    }
}

/// How many of these rows are a piece. Of rows that share their columns with others, it is fewer.
fn chunk_rows(rows: &RecordBatch) -> usize {
    let row_bytes = rows.get_array_memory_size() / rows.num_rows().max(1);
    (CHUNK_BYTES / row_bytes.max(1)).clamp(1, CHUNK_ROWS)
}

fn stored_key(number: u32) -> Vec<u8> {
    [&[BACKLOG_KEY], &number.to_be_bytes()[..]].concat()
}

#[cfg(test)]
mod tests;
