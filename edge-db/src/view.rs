//! The map at one moment: memory tables and tree merged.

mod side;
mod visit;

use std::ops::Bound;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::error::StoreError;
use crate::memory::{Found, MemoryTable};
use crate::revision::Revision;
use crate::store::{Layers, Store};
use crate::tree::{TreeEntry, TreeRange};
use side::Side;

/// Everything up to one revision. What it may ask for is kept while it, or a clone, is open.
#[derive(Debug, Clone)]
pub(crate) struct View {
    open: Arc<Open>,
}

#[derive(Debug)]
struct Open {
    store: Arc<Store>,
    layers: Arc<Layers>,
    revision: Revision,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.store.view_closed(self.revision);
    }
}

impl View {
    pub(crate) fn new(store: Arc<Store>, layers: Arc<Layers>, revision: Revision) -> View {
        View { open: Arc::new(Open { store, layers, revision }) }
    }

    pub(crate) fn revision(&self) -> Revision {
        self.open.revision
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let Open { layers, revision, .. } = &*self.open;
        let tables = [Some(&layers.active), layers.frozen.as_ref()];
        for table in tables.into_iter().flatten() {
            match table.get(key, || *revision) {
                Found::Value(value) => return Ok(Some(value)),
                Found::Deleted => return Ok(None),
                Found::Below => {}
            }
        }
        layers.base.tree.get(key)
    }

    /// The entries between the bounds, in the order of their keys, from either end.
    pub(crate) fn range(&self, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Result<Range, StoreError> {
        self.range_below(&[], Revision::ZERO, from, to)
    }

    /// [`View::range`] with tables on top that are not committed yet, seen at `at`, the younger
    /// first.
    pub(crate) fn range_below(
        &self,
        above: &[Arc<MemoryTable>],
        at: Revision,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
    ) -> Result<Range, StoreError> {
        let mut range = Range {
            sides: Vec::new(),
            tree: None,
            held: [None, None],
            block: BytesMut::new(),
            open: Arc::clone(&self.open),
        };
        if is_empty(from, to) {
            return Ok(range);
        }
        range.sides = self.sides(above, at, from, to);
        range.tree = Some(self.open.layers.base.tree.range(from, to)?);
        Ok(range)
    }

    /// The tables that say anything between the bounds, the younger first.
    fn sides(
        &self,
        above: &[Arc<MemoryTable>],
        at: Revision,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
    ) -> Vec<Side> {
        let Open { layers, revision, .. } = &*self.open;
        let committed = [Some(&layers.active), layers.frozen.as_ref()].into_iter().flatten();
        let tables = above.iter().map(|table| (table, at));
        let tables = tables.chain(committed.map(|table| (table, *revision)));
        let sides = tables.map(|(table, at)| Side::new(Arc::clone(table), from, to, at));
        sides.filter(|side| !side.is_empty()).collect()
    }
}

/// Takes a key off every side that has it at this end; gives what the one at `from` says of it.
fn take(sides: &mut [Side], from: usize, key: &Bytes, at_front: bool) -> Option<Bytes> {
    let mut value = None;
    for (place, side) in sides.iter_mut().enumerate() {
        if side.peek(at_front) == Some(key) {
            let taken = side.take(at_front);
            value = if place == from { taken } else { value };
        }
    }
    // A range erased by a younger table hides what an older one says.
    let is_erased = sides[..from].iter().any(|younger| younger.erases(key));
    value.filter(|_| !is_erased)
}

/// Maps panic on bounds that cross; an empty answer is kinder.
fn is_empty(from: Bound<&[u8]>, to: Bound<&[u8]>) -> bool {
    match (from, to) {
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Excluded(to))
        | (Bound::Excluded(from), Bound::Included(to)) => from >= to,
        _ => false,
    }
}

/// Entries of a [`View`], in the order of their keys.
pub(crate) struct Range {
    /// Memory tables that say anything between the bounds, the younger first.
    sides: Vec<Side>,
    /// What is left of the tree's entries.
    tree: Option<TreeRange>,
    /// Entries taken off the tree and not given out, by end.
    held: [Option<TreeEntry>; 2],
    /// Where entries of the tree are copied to, many to one allocation.
    block: BytesMut,
    /// Keeps what the entries lie in.
    open: Arc<Open>,
}

/// A key and its value.
pub(crate) type Entry = Result<(Bytes, Bytes), StoreError>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Front = 0,
    Back = 1,
}

impl End {
    fn other(self) -> End {
        if self == End::Front { End::Back } else { End::Front }
    }

    /// Whether `key` comes before `other`, seen from this end.
    fn is_before(self, key: &[u8], other: &[u8]) -> bool {
        if self == End::Front { key < other } else { key > other }
    }
}

/// What comes next.
enum Step {
    Memory(Bytes, Bytes),
    Tree(TreeEntry),
    End,
}

impl Range {
    /// What comes next; nothing after an error.
    fn step(&mut self, end: End) -> Result<Step, StoreError> {
        let step = self.merge(end);
        if step.is_err() {
            self.sides.clear();
            self.tree = None;
            self.held = [None, None];
        }
        step
    }

    fn merge(&mut self, end: End) -> Result<Step, StoreError> {
        if self.sides.is_empty() {
            // Settled data: nothing to merge.
            return Ok(self.take_tree(end)?.map_or(Step::End, Step::Tree));
        }
        loop {
            self.hold(end)?;
            let mut first: Option<(usize, &Bytes)> = None;
            for (place, side) in self.sides.iter_mut().enumerate() {
                // On equal keys the younger one wins, which comes first.
                if let Some(key) = side.peek(end == End::Front)
                    && first.is_none_or(|(_, first)| end.is_before(key, first))
                {
                    first = Some((place, key));
                }
            }
            let held = self.held[end as usize].as_ref().map(TreeEntry::key);
            let (place, key) = match (first, held) {
                (None, None) => return Ok(Step::End),
                (Some((place, key)), None) => (place, key.clone()),
                (Some((place, key)), Some(held)) if !end.is_before(held, key) => {
                    (place, key.clone())
                }
                (_, Some(_)) => {
                    let entry = self.held[end as usize].take();
                    return Ok(entry.map_or(Step::End, Step::Tree));
                }
            };
            if let Some(value) = self.take_side(place, &key, end) {
                return Ok(Step::Memory(key, value));
            }
        }
    }

    /// Takes a key off every source that has it; gives what the side at `from` says of it.
    fn take_side(&mut self, from: usize, key: &Bytes, end: End) -> Option<Bytes> {
        let held = &mut self.held[end as usize];
        if held.as_ref().is_some_and(|entry| entry.key() == key.as_ref()) {
            *held = None;
        }
        take(&mut self.sides, from, key, end == End::Front)
    }

    /// Sees to it that the next entry of the tree that nothing erased is held at this end.
    fn hold(&mut self, end: End) -> Result<(), StoreError> {
        loop {
            if self.held[end as usize].is_none() {
                self.held[end as usize] = self.take_tree(end)?;
            }
            let Some(entry) = &self.held[end as usize] else { return Ok(()) };
            let erasing = self.sides.iter().find_map(|side| side.erasing(entry.key()));
            let Some((from, to)) = erasing else { return Ok(()) };
            self.held[end as usize] = None;
            self.skip(&from, &to, end)?;
        }
    }

    /// Goes on behind a range that was erased, without walking through all of it.
    fn skip(&mut self, from: &[u8], to: &[u8], end: End) -> Result<(), StoreError> {
        // A few entries are walked through faster than the tree is searched.
        for _ in 0..8 {
            let Some(entry) = self.take_tree(end)? else { return Ok(()) };
            if entry.key() < from || entry.key() >= to {
                self.held[end as usize] = Some(entry);
                return Ok(());
            }
        }
        let Some(mut tree) = self.tree.take() else { return Ok(()) };
        // The last entry at the other end tells where the rest ends.
        let far = if end == End::Front { tree.next_back() } else { tree.next() };
        let Some(far) = far.transpose()? else { return Ok(()) };
        let rest = match end {
            End::Front if far.key() >= to => (Bound::Included(to), Bound::Included(far.key())),
            End::Back if far.key() < from => (Bound::Included(far.key()), Bound::Excluded(from)),
            _ => return Ok(()),
        };
        self.tree = Some(self.open.layers.base.tree.range(rest.0, rest.1)?);
        Ok(())
    }

    /// The next entry of the tree; what the other end holds comes last.
    fn take_tree(&mut self, end: End) -> Result<Option<TreeEntry>, StoreError> {
        if let Some(entry) = self.held[end as usize].take() {
            return Ok(Some(entry));
        }
        let next = self.tree.as_mut().and_then(|tree| match end {
            End::Front => tree.next(),
            End::Back => tree.next_back(),
        });
        match next.transpose()? {
            Some(entry) => Ok(Some(entry)),
            None => Ok(self.held[end.other() as usize].take()),
        }
    }

    fn owned(&mut self, step: Step) -> Option<(Bytes, Bytes)> {
        /// Entries are copied into blocks of at first so many bytes, then twice as many, up to
        /// the second: a get of one entry allocates little, a scan seldom.
        const BLOCK_BYTES: [usize; 2] = [256, 16 * 1024];
        match step {
            Step::Memory(key, value) => Some((key, value)),
            Step::Tree(entry) => {
                let (key, value) = (entry.key(), entry.value());
                let bytes = key.len() + value.len();
                if self.block.capacity() - self.block.len() < bytes {
                    let last = self.block.capacity().max(BLOCK_BYTES[0]);
                    let size = (last * 2).clamp(BLOCK_BYTES[0], BLOCK_BYTES[1]);
                    self.block = BytesMut::with_capacity(size.max(bytes));
                }
                self.block.extend_from_slice(key);
                self.block.extend_from_slice(value);
                let mut key_bytes = self.block.split().freeze();
                let value_bytes = key_bytes.split_off(key.len());
                Some((key_bytes, value_bytes))
            }
            Step::End => None,
        }
    }
}

impl Iterator for Range {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        self.step(End::Front).map(|step| self.owned(step)).transpose()
    }
}

impl DoubleEndedIterator for Range {
    fn next_back(&mut self) -> Option<Entry> {
        self.step(End::Back).map(|step| self.owned(step)).transpose()
    }
}
