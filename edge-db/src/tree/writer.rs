//! What settles, written in the order of its keys.
//!
//! A page that splits under single inserts in order stays half empty. Puts that fall between two
//! neighbours of the tree go in as one run instead, which fills its pages, and in a fraction of the
//! time.

use std::ops::Bound;

use redb::CursorError;

use super::{Table, unsettled};
use crate::error::StoreError;

/// Puts are held back until there are so many bytes of them: each run writes the pages at its ends
/// once more.
const PENDING_BYTES: usize = 64 * 1024;
/// Puts that make a run worth its search. After a shorter one, as many go in one by one before the
/// next is tried, so that what changes here and there in a large tree does not pay for it.
const WORTH: usize = 16;

pub(super) struct Writer<'a, 'txn> {
    table: &'a mut Table<'txn>,
    pending: Puts,
    /// So many puts go in one by one.
    lone: usize,
    grown: i64,
}

impl<'a, 'txn> Writer<'a, 'txn> {
    pub(super) fn new(table: &'a mut Table<'txn>) -> Writer<'a, 'txn> {
        Writer { table, pending: Puts::default(), lone: 0, grown: 0 }
    }

    /// Keys of puts and removals must rise.
    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        if key.len() + value.len() > PENDING_BYTES {
            self.flush()?;
            return self.insert(key, value);
        }
        self.pending.push(key, value);
        if self.pending.bytes.len() >= PENDING_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> Result<(), StoreError> {
        // What is held back has other keys: which of them is written first is all the same.
        if let Some(before) = self.table.remove(key).map_err(unsettled)? {
            self.grown -= length(key, before.value());
        }
        Ok(())
    }

    /// Removes all keys from one on up to the other; before the first put.
    pub(super) fn erase(&mut self, from: &[u8], to: &[u8]) -> Result<(), StoreError> {
        debug_assert!(self.pending.ends.is_empty(), "puts in the range would come after it");
        let grown = &mut self.grown;
        let remove = |key: &[u8], stored: &[u8]| {
            *grown -= length(key, stored);
            false
        };
        self.table.retain_in(from..to, remove).map_err(unsettled)
    }

    /// Writes what was held back; by how many bytes of keys and values the table grew.
    pub(super) fn finish(mut self) -> Result<i64, StoreError> {
        self.flush()?;
        Ok(self.grown)
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let pending = std::mem::take(&mut self.pending);
        let mut next = 0;
        while let Some((key, value)) = pending.get(next) {
            if self.lone > 0 {
                self.lone -= 1;
                self.insert(key, value)?;
                next += 1;
                continue;
            }
            let count = self.insert_run(&pending, next)?;
            next += count;
            if count < WORTH {
                self.lone = WORTH;
            }
        }
        self.pending = pending.cleared();
        Ok(())
    }

    /// Writes what falls between two neighbours of the table, from one of the puts on; how many
    /// that were.
    fn insert_run(&mut self, puts: &Puts, from: usize) -> Result<usize, StoreError> {
        let mut next = from;
        let Some((first, _)) = puts.get(next) else { return Ok(0) };
        let mut gap = self.table.lower_bound_mut(Bound::Included(first)).map_err(unsettled)?;
        while let Some((key, value)) = puts.get(next) {
            match gap.insert_before(key, value) {
                Ok(()) => self.grown += length(key, value),
                // It is in the table, or behind the next one that is.
                Err(CursorError::UnorderedKey) => break,
                Err(error) => return Err(unsettled(error)),
            }
            next += 1;
        }
        gap.close().map_err(unsettled)?;
        Ok(next - from)
    }

    fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        if let Some(before) = self.table.insert(key, value).map_err(unsettled)? {
            self.grown -= length(key, before.value());
        }
        self.grown += length(key, value);
        Ok(())
    }
}

fn length(key: &[u8], value: &[u8]) -> i64 {
    i64::try_from(key.len() + value.len()).unwrap_or(i64::MAX)
}

/// Keys and their values, one behind the other.
#[derive(Default)]
struct Puts {
    bytes: Vec<u8>,
    /// Where each key and its value end.
    ends: Vec<(usize, usize)>,
}

impl Puts {
    fn push(&mut self, key: &[u8], value: &[u8]) {
        self.bytes.extend_from_slice(key);
        let end = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.ends.push((end, self.bytes.len()));
    }

    fn get(&self, place: usize) -> Option<(&[u8], &[u8])> {
        let &(middle, end) = self.ends.get(place)?;
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before].1);
        Some((&self.bytes[start..middle], &self.bytes[middle..end]))
    }

    /// The same memory, without them.
    fn cleared(mut self) -> Puts {
        self.bytes.clear();
        self.ends.clear();
        self
    }
}
