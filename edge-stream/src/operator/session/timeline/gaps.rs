//! Which session a row belongs to: rows of one key that are less than a gap apart.

use super::{Fate, Part};

/// No slot.
const NONE: u32 = u32::MAX;

/// The open sessions of many keys. Each has a slot, and keeps it when it grows; where two become
/// one, the slot of the older points to that of the newer.
#[derive(Debug)]
pub(in super::super) struct Gaps {
    gap: i64,
    /// The newest session of each key, from which the older ones are found.
    newest: Vec<u32>,
    slots: Vec<Slot>,
    /// Slots that point to another.
    joined: usize,
    /// No session ends before.
    next_end: i64,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    key: u32,
    /// Times of the first and of the last row.
    start: i64,
    last: i64,
    /// The next older session of the key.
    older: u32,
    /// The session that this one became a part of.
    into: u32,
}

impl Gaps {
    pub(super) fn new(gap: i64) -> Gaps {
        let (newest, slots) = (Vec::new(), Vec::new());
        Gaps { gap, newest, slots, joined: 0, next_end: i64::MAX }
    }

    /// The slot of a row, and of all rows from `start` to `last` that are known to be of one
    /// session; `None` if it would begin a session that has ended before `watermark`.
    ///
    /// Costs one step for each session of the key that is newer.
    pub(in super::super) fn place(
        &mut self,
        key: usize,
        start: i64,
        last: i64,
        watermark: i64,
    ) -> Option<usize> {
        if self.newest.len() <= key {
            self.newest.resize(key + 1, NONE);
        }
        let end = last.saturating_add(self.gap);
        let (mut newer, mut at) = (NONE, self.newest[key]);
        while let Some(slot) = self.slots.get(at as usize)
            && end <= slot.start
        {
            (newer, at) = (at, slot.older);
        }
        match self.slots.get_mut(at as usize) {
            Some(slot) if start < slot.last.saturating_add(self.gap) => {
                slot.last = slot.last.max(last);
                if start < slot.start {
                    slot.start = start;
                    self.join_older(at);
                }
                Some(at as usize)
            }
            _ if end <= watermark => None,
            _ => Some(self.open(key, start, last, newer, at)),
        }
    }

    fn open(&mut self, key: usize, start: i64, last: i64, newer: u32, older: u32) -> usize {
        let number = |place: usize| u32::try_from(place).expect("state has a limit far below");
        let place = self.slots.len();
        self.slots.push(Slot { key: number(key), start, last, older, into: NONE });
        match self.slots.get_mut(newer as usize) {
            Some(newer) => newer.older = number(place),
            None => self.newest[key] = number(place),
        }
        self.next_end = self.next_end.min(last.saturating_add(self.gap));
        place
    }

    /// The session has grown backwards: those that it has reached become parts of it.
    fn join_older(&mut self, at: u32) {
        let mut grown = self.slots[at as usize];
        while let Some(older) = self.slots.get_mut(grown.older as usize)
            && grown.start < older.last.saturating_add(self.gap)
        {
            older.into = at;
            grown.start = grown.start.min(older.start);
            grown.last = grown.last.max(older.last);
            grown.older = older.older;
            self.joined += 1;
        }
        self.slots[at as usize] = grown;
    }

    /// How many sessions are open.
    pub(super) fn sessions(&self) -> usize {
        self.slots.len() - self.joined
    }

    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Whether most of it is of sessions that are no more: joined ones, and keys whose rows all
    /// came late.
    pub(super) fn is_sparse(&self) -> bool {
        let most = 2 * self.sessions() + 64;
        self.slots.len() > most || self.newest.len() > most
    }

    /// Whether a session has ended by now.
    pub(super) fn has_ended(&mut self, watermark: i64) -> bool {
        if watermark < self.next_end {
            return false;
        }
        let open = self.slots.iter().filter(|slot| slot.into == NONE);
        let ends = open.map(|slot| slot.last.saturating_add(self.gap));
        self.next_end = ends.min().unwrap_or(i64::MAX);
        self.next_end <= watermark
    }

    /// All slots in their order.
    pub(super) fn parts(&self) -> impl Iterator<Item = Part> {
        self.slots.iter().map(|slot| {
            let mut whole = slot;
            while let Some(next) = self.slots.get(whole.into as usize) {
                whole = next;
            }
            Part { key: whole.key, start: whole.start, reached: whole.last, value: 0 }
        })
    }

    /// What has become of each slot's session by now.
    pub(super) fn fates(&self, watermark: i64) -> impl Iterator<Item = Fate> {
        self.parts().map(move |part| match part.reached.saturating_add(self.gap) <= watermark {
            true => Fate::Ended,
            false => Fate::Open,
        })
    }
}

#[cfg(test)]
mod tests;
