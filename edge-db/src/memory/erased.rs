//! Ranges of keys that were deleted at once.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use crate::revision::Revision;

/// What a range takes beside its two keys.
const RANGE_BYTES: usize = 120;

/// Ranges that do not overlap, each with the revision that deleted it first. Keys that were
/// written again are not its business: the table that it belongs to has them.
#[derive(Debug, Default, Clone)]
pub(crate) struct Erased {
    /// By first key: the first key behind, and since when.
    ranges: BTreeMap<Bytes, (Bytes, Revision)>,
    bytes: usize,
}

impl Erased {
    /// Adds a range, `to` excluded. Parts that were deleted before keep their revision.
    /// Neighbours become one range where no view from `oldest` on can tell them apart.
    pub(crate) fn add(&mut self, from: Bytes, to: Bytes, revision: Revision, oldest: Revision) {
        let mut start = from;
        while start < to {
            // What holds `start`, or else begins next, ends the gap.
            let holding = self.ranges.range::<Bytes, _>(..=&start).next_back();
            if let Some((_, (end, _))) = holding.filter(|(_, (end, _))| *end > start) {
                start = end.clone();
                continue;
            }
            let bounds = (Bound::Excluded(&start), Bound::Excluded(&to));
            let next = self.ranges.range::<Bytes, _>(bounds).next();
            let end = next.map_or_else(|| to.clone(), |(next, _)| next.clone());
            self.insert(start, end.clone(), revision, oldest);
            start = end;
        }
    }

    fn insert(&mut self, from: Bytes, to: Bytes, since: Revision, oldest: Revision) {
        self.bytes += from.len() + to.len() + RANGE_BYTES;
        self.ranges.insert(from.clone(), (to.clone(), since));
        self.join(&to, oldest);
        self.join(&from, oldest);
        // The range before was too young to be joined with its own neighbour when it came.
        let before = self.ranges.range::<Bytes, _>(..&from).next_back();
        if let Some(start) = before.map(|(start, _)| start.clone()) {
            self.join(&start, oldest);
        }
    }

    /// Makes the range that begins here one with the range that ends here, if it may.
    fn join(&mut self, at: &Bytes, oldest: Revision) {
        let Some((end, since)) = self.ranges.get(at).cloned() else { return };
        let before = self.ranges.range_mut::<Bytes, _>(..at).next_back();
        if let Some((_, (before_end, before_since))) = before
            && before_end == at
            && can_join(*before_since, since, oldest)
        {
            let grown = end.len();
            *before_end = end;
            *before_since = since.max(*before_since);
            self.remove(at);
            self.bytes = (self.bytes + grown).saturating_sub(at.len());
        }
    }

    fn remove(&mut self, from: &Bytes) {
        if let Some((to, _)) = self.ranges.remove(from) {
            self.bytes -= from.len() + to.len() + RANGE_BYTES;
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether a key was deleted by a range, as seen at this revision.
    pub(crate) fn covers(&self, key: &[u8], at: Revision) -> bool {
        let before = self.ranges.range::<[u8], _>((Bound::Unbounded, Bound::Included(key)));
        let holding = before.map(|(_, holding)| holding).next_back();
        holding.is_some_and(|(end, since)| end.as_ref() > key && *since <= at)
    }

    /// The range that a key lies in.
    pub(crate) fn holding(&self, key: &[u8]) -> Option<(&Bytes, &Bytes)> {
        let before = self.ranges.range::<[u8], _>((Bound::Unbounded, Bound::Included(key)));
        let (start, (end, _)) = before.into_iter().next_back()?;
        (end.as_ref() > key).then_some((start, end))
    }

    /// What of it is seen at this revision and reaches into the bounds.
    pub(crate) fn within(&self, from: Bound<&[u8]>, to: Bound<&[u8]>, at: Revision) -> Erased {
        let mut within = Erased::default();
        if self.ranges.is_empty() {
            return within;
        }
        let behind = match from {
            Bound::Included(from) | Bound::Excluded(from) => from,
            Bound::Unbounded => &[],
        };
        for (start, (end, since)) in self.ranges.range::<[u8], _>((Bound::Unbounded, to)).rev() {
            if end.as_ref() <= behind {
                break;
            }
            if *since <= at {
                within.ranges.insert(start.clone(), (end.clone(), *since));
            }
        }
        within
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        self.ranges.iter().map(|(from, (to, _))| (from, to))
    }
}

/// Whether nobody sees one of two neighbours without the other.
fn can_join(a: Revision, b: Revision, oldest: Revision) -> bool {
    a == b || (a <= oldest && b <= oldest)
}
