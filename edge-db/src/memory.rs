//! What was committed and has not settled yet, in memory, by key and revision.
//!
//! One thread writes, many read. A key keeps the versions that somebody may still ask for: what
//! is older than every open view goes when it is overwritten.

mod erased;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::RwLock;

pub(crate) use erased::Erased;

use crate::revision::Revision;
use crate::store::Write;

/// What an entry takes beside key and value: the map's node, two handles, two allocations.
const ENTRY_BYTES: usize = 160;

/// What a layer says of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// This is its value.
    Value(Bytes),
    /// It was deleted.
    Deleted,
    /// Nothing: the layer below knows.
    Below,
}

#[derive(Debug, Default)]
pub(crate) struct MemoryTable {
    inner: RwLock<Inner>,
    bytes: AtomicUsize,
    /// Whether anything was applied, if only a range without keys.
    is_touched: AtomicBool,
}

#[derive(Debug, Default)]
struct Inner {
    entries: BTreeMap<Bytes, Versions>,
    erased: Erased,
}

/// The newest version and those before it that an open view may need, newest first.
#[derive(Debug)]
struct Versions {
    newest: Version,
    older: Vec<Version>,
}

#[derive(Debug)]
struct Version {
    revision: Revision,
    /// `None`: deleted.
    value: Option<Bytes>,
}

impl Versions {
    fn at(&self, revision: Revision) -> Option<&Version> {
        std::iter::once(&self.newest)
            .chain(&self.older)
            .find(|version| version.revision <= revision)
    }

    /// Puts a version on top; gives back the bytes of those that nobody can see any more, which
    /// are all but the newest that `oldest` sees and what is younger.
    fn push(&mut self, version: Version, oldest: Revision) -> usize {
        let before = std::mem::replace(&mut self.newest, version);
        if before.revision != self.newest.revision && self.newest.revision > oldest {
            self.older.insert(0, before);
            let seen = self.older.iter().position(|version| version.revision <= oldest);
            let unseen = self.older.drain(seen.map_or(self.older.len(), |seen| seen + 1)..);
            return unseen.map(|version| version.bytes()).sum();
        }
        before.bytes()
    }
}

impl Version {
    fn bytes(&self) -> usize {
        self.value.as_ref().map_or(0, Bytes::len)
    }
}

impl MemoryTable {
    /// Applies a group. `oldest` is the oldest revision that anybody reads at.
    pub(crate) fn apply(&self, writes: Vec<Write>, revision: Revision, oldest: Revision) {
        /// Readers get a turn after so many writes.
        const AT_ONCE: usize = 256;
        let mut writes = writes.into_iter();
        while writes.len() > 0 {
            let mut inner = self.inner.write();
            self.is_touched.store(true, Ordering::Release);
            let (mut more, mut less) = (0, 0);
            for write in writes.by_ref().take(AT_ONCE) {
                let (added, freed) = match write {
                    Write::Put(key, value) => inner.put(key, Some(value), revision, oldest),
                    Write::Delete(key) => inner.put(key, None, revision, oldest),
                    Write::DeleteRange(from, to) => inner.erase(from, to, revision, oldest),
                };
                more += added;
                less += freed;
            }
            self.bytes.fetch_add(more, Ordering::Relaxed);
            self.bytes.fetch_sub(less, Ordering::Relaxed);
        }
    }

    /// About how much memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// What it says of a key at the revision that `at` gives once the table stands still.
    pub(crate) fn get(&self, key: &[u8], at: impl FnOnce() -> Revision) -> Found {
        if self.is_empty() {
            // Without the lock, which readers would pass from hand to hand.
            return Found::Below;
        }
        let inner = self.inner.read();
        inner.get(key, at())
    }

    /// What was deleted by ranges within these bounds.
    pub(crate) fn erased(&self, from: Bound<&[u8]>, to: Bound<&[u8]>, at: Revision) -> Erased {
        self.inner.read().erased.within(from, to, at)
    }

    /// Appends to `out` up to `most` keys between the bounds from the front, with what is said of
    /// them. Values of deleted keys are `None`.
    pub(crate) fn scan(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        at: Revision,
        most: usize,
        mut out: impl FnMut(Bytes, Option<Bytes>),
    ) {
        let inner = self.inner.read();
        inner.visible(from, to, at).take(most).for_each(|(key, value)| out(key, value));
    }

    /// [`MemoryTable::scan`] from the back.
    pub(crate) fn scan_back(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        at: Revision,
        most: usize,
        mut out: impl FnMut(Bytes, Option<Bytes>),
    ) {
        let inner = self.inner.read();
        inner.visible(from, to, at).rev().take(most).for_each(|(key, value)| out(key, value));
    }

    /// Everything as it stands, for settling: first what ranges deleted, then each key.
    pub(crate) fn settle<E>(
        &self,
        mut erase: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
        mut write: impl FnMut(&Bytes, Option<&Bytes>) -> Result<(), E>,
    ) -> Result<(), E> {
        let inner = self.inner.read();
        for (from, to) in inner.erased.iter() {
            erase(from, to)?;
        }
        for (key, versions) in &inner.entries {
            write(key, versions.newest.value.as_ref())?;
        }
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.is_touched.load(Ordering::Acquire)
    }
}

impl Inner {
    /// Gives the bytes that came and those that went.
    fn put(
        &mut self,
        key: Bytes,
        value: Option<Bytes>,
        revision: Revision,
        oldest: Revision,
    ) -> (usize, usize) {
        let version = Version { revision, value };
        let bytes = version.bytes();
        let key_bytes = key.len();
        match self.entries.entry(key) {
            std::collections::btree_map::Entry::Occupied(mut entry) => {
                (bytes, entry.get_mut().push(version, oldest))
            }
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(Versions { newest: version, older: Vec::new() });
                (key_bytes + bytes + ENTRY_BYTES, 0)
            }
        }
    }

    fn erase(
        &mut self,
        from: Bytes,
        to: Bytes,
        revision: Revision,
        oldest: Revision,
    ) -> (usize, usize) {
        if from >= to {
            return (0, 0);
        }
        let mut freed = 0;
        let bounds = (Bound::Included(&from), Bound::Excluded(&to));
        for (_, versions) in self.entries.range_mut::<Bytes, _>(bounds) {
            freed += versions.push(Version { revision, value: None }, oldest);
        }
        let before = self.erased.bytes();
        self.erased.add(from, to, revision, oldest);
        (self.erased.bytes().saturating_sub(before), freed)
    }

    fn get(&self, key: &[u8], at: Revision) -> Found {
        match self.entries.get(key).and_then(|versions| versions.at(at)) {
            Some(Version { value: Some(value), .. }) => Found::Value(value.clone()),
            Some(Version { value: None, .. }) => Found::Deleted,
            None if self.erased.covers(key, at) => Found::Deleted,
            None => Found::Below,
        }
    }

    fn visible(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        at: Revision,
    ) -> impl DoubleEndedIterator<Item = (Bytes, Option<Bytes>)> {
        self.entries.range::<[u8], _>((from, to)).filter_map(move |(key, versions)| {
            let version = versions.at(at)?;
            Some((key.clone(), version.value.clone()))
        })
    }
}

#[cfg(test)]
mod tests;
