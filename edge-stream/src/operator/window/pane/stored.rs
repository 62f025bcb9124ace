//! What a pane takes in the stored state: all of its groups as they were once, and behind that, as
//! parts, what rows have made of groups since. A snapshot writes no more than the groups that rows
//! came to, until the parts outgrow the whole.

use super::Pane;
use crate::error::OperatorError;
use crate::operator::StateWriter;

/// Each part is read by itself at a restart.
const MOST_PARTS: u32 = 64;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::operator) struct Size {
    whole_bytes: usize,
    parts: u32,
    parts_bytes: usize,
}

impl Size {
    pub(in crate::operator) fn bytes(self) -> usize {
        self.whole_bytes + self.parts_bytes
    }

    /// Whether so many of all groups are written as a part. In the long run as much is written for
    /// all groups together as for twice those that have changed.
    fn takes_part(self, changed: usize, groups: usize) -> bool {
        let expected_bytes = self.whole_bytes / groups.max(1) * changed;
        self.parts < MOST_PARTS && self.parts_bytes + expected_bytes <= self.whole_bytes / 2
    }

    /// Takes it away.
    pub(in crate::operator) fn remove(self, key: i64, state: &mut StateWriter<'_>) {
        state.remove(key);
        state.remove_parts(key, self.parts);
    }
}

impl Pane {
    /// Writes what has changed since the last call.
    ///
    /// Accumulators give their state away, so the pane is built anew from what is stored: what a
    /// restart would do happens at every snapshot, and cannot differ from it.
    pub(in crate::operator) fn snapshot(
        &mut self,
        key: i64,
        state: &mut StateWriter<'_>,
    ) -> Result<(), OperatorError> {
        if !std::mem::take(&mut self.changed) {
            return Ok(());
        }
        let is_part = self.stored.whole_bytes > 0 && self.sealed.is_none() && !self.is_whole_due;
        if let Some(newer) = self.newer.take_if(|_| is_part) {
            let columns = newer.into_columns(&self.layout)?;
            self.merge(columns.columns())?;
            if self.stored.takes_part(columns.num_rows(), self.all.len()) {
                let bytes = state.put_part(key, self.stored.parts, &columns)?;
                self.note_stored(Some(self.stored.parts), bytes);
                return Ok(());
            }
        }
        let columns = match &self.sealed {
            Some(columns) => columns.clone(),
            None => self.copy()?,
        };
        state.remove_parts(key, self.stored.parts);
        let whole_bytes = state.put(key, &columns)?;
        self.stored = Size { whole_bytes, ..Size::default() };
        self.is_whole_due = false;
        Ok(())
    }

    /// What it takes in the stored state; 0 bytes if it is not there.
    pub(in crate::operator) fn stored(&self) -> Size {
        self.stored
    }

    /// So much is stored of it, as a whole or as its next part.
    pub(in crate::operator) fn note_stored(&mut self, part: Option<u32>, bytes: usize) {
        match part {
            None => self.stored.whole_bytes += bytes,
            Some(part) => {
                self.stored.parts = part + 1;
                self.stored.parts_bytes += bytes;
            }
        }
    }
}
