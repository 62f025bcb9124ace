//! What one memory table says between two bounds, from either end.

use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use crate::memory::{Erased, MemoryTable};
use crate::revision::Revision;

/// Entries taken out of the table at once, at first and at most: it stands still meanwhile.
const AT_ONCE: [usize; 2] = [16, 256];

type Said = (Bytes, Option<Bytes>);

#[derive(Debug)]
pub(super) struct Side {
    table: Arc<MemoryTable>,
    revision: Revision,
    /// What is still in the table lies between these; `None` when nothing is.
    rest: Option<(Bound<Bytes>, Bound<Bytes>)>,
    /// Taken out from the front and from the back.
    front: VecDeque<Said>,
    back: VecDeque<Said>,
    at_once: usize,
    erased: Erased,
}

impl Side {
    pub(super) fn new(
        table: Arc<MemoryTable>,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        revision: Revision,
    ) -> Side {
        let erased = table.erased(from, to, revision);
        let rest = Some((from.map(Bytes::copy_from_slice), to.map(Bytes::copy_from_slice)));
        let mut side = Side {
            table,
            revision,
            rest,
            front: VecDeque::new(),
            back: VecDeque::new(),
            at_once: AT_ONCE[0],
            erased,
        };
        side.fill(true);
        side
    }

    /// Whether it says nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.front.is_empty() && self.back.is_empty() && self.erased.is_empty()
    }

    /// The next key at an end.
    pub(super) fn peek(&mut self, at_front: bool) -> Option<&Bytes> {
        self.fill(at_front);
        let said = if at_front {
            self.front.front().or(self.back.back())
        } else {
            self.back.front().or(self.front.back())
        };
        said.map(|(key, _)| key)
    }

    /// Takes the next key at an end off; gives its value, `None` if it was deleted.
    pub(super) fn take(&mut self, at_front: bool) -> Option<Bytes> {
        let said = if at_front {
            self.front.pop_front().or_else(|| self.back.pop_back())
        } else {
            self.back.pop_front().or_else(|| self.front.pop_back())
        };
        said.and_then(|(_, value)| value)
    }

    pub(super) fn erases(&self, key: &[u8]) -> bool {
        self.erased.holding(key).is_some()
    }

    /// The erased range that a key lies in.
    pub(super) fn erasing(&self, key: &[u8]) -> Option<(Bytes, Bytes)> {
        self.erased.holding(key).map(|(from, to)| (from.clone(), to.clone()))
    }

    fn fill(&mut self, at_front: bool) {
        let held = if at_front { &mut self.front } else { &mut self.back };
        if !held.is_empty() {
            return;
        }
        let Some((from, to)) = self.rest.take() else { return };
        let bounds = (from.as_ref().map(Bytes::as_ref), to.as_ref().map(Bytes::as_ref));
        let most = self.at_once;
        self.at_once = (most * 2).min(AT_ONCE[1]);
        let take = |key, value| held.push_back((key, value));
        if at_front {
            self.table.scan(bounds.0, bounds.1, self.revision, most, take);
        } else {
            self.table.scan_back(bounds.0, bounds.1, self.revision, most, take);
        }
        if held.len() == most {
            let last = held.back().map(|(key, _)| Bound::Excluded(key.clone()));
            let last = last.expect("as many as `most` were taken");
            self.rest = Some(if at_front { (last, to) } else { (from, last) });
        }
    }
}
