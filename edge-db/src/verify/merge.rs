//! Entries of the tree with those of the journal on top.

use std::ops::Bound;

use super::remains::Left;
use crate::memory::{Found, MemoryTable};
use crate::revision::Revision;

/// The tree with a memory table on top.
pub(super) struct Merge<'a> {
    pub(super) table: &'a MemoryTable,
    pub(super) at: Revision,
    pub(super) from: Bound<Vec<u8>>,
}

impl Merge<'_> {
    /// An entry of the tree, and what the table has in front of it.
    pub(super) fn below<E>(
        &mut self,
        key: &[u8],
        value: &[u8],
        visit: &mut dyn FnMut(Left<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.table.is_empty() {
            return visit(Left::Entry(key, value));
        }
        self.above(Bound::Excluded(key), visit)?;
        self.from = Bound::Excluded(key.to_vec());
        match self.table.get(key, || self.at) {
            Found::Value(value) => visit(Left::Entry(key, &value)),
            Found::Deleted => Ok(()),
            Found::Below => visit(Left::Entry(key, value)),
        }
    }

    /// What is left of the table.
    pub(super) fn rest<E>(
        &mut self,
        visit: &mut dyn FnMut(Left<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.above(Bound::Unbounded, visit)
    }

    /// What the table has up to a key.
    fn above<E>(
        &mut self,
        to: Bound<&[u8]>,
        visit: &mut dyn FnMut(Left<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        const AT_ONCE: usize = 256;
        loop {
            let mut entries = Vec::new();
            let from = self.from.as_ref().map(Vec::as_slice);
            if let (Bound::Excluded(from), Bound::Excluded(to)) = (from, to)
                && from >= to
            {
                return Ok(());
            }
            self.table.scan(from, to, self.at, AT_ONCE, |key, value| entries.push((key, value)));
            let Some((last, _)) = entries.last() else { return Ok(()) };
            self.from = Bound::Excluded(last.to_vec());
            for (key, value) in &entries {
                if let Some(value) = value {
                    visit(Left::Entry(key, value))?;
                }
            }
        }
    }
}
