//! Which windows a row belongs to where rows themselves open and close them. Rows of a key come in
//! order of time.

use super::{Fate, Part};
use crate::row_windows::{RowWindows, Rule};

/// What a row says of the windows of its key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in super::super) struct Says {
    /// Whether a window begins with it, if none is open.
    pub(in super::super) opens: bool,
    /// Whether the open window ends with it.
    pub(in super::super) closes: bool,
    /// The number of its value: a window ends in front of it if that has another.
    pub(in super::super) value: u32,
}

/// The windows of many keys. Each has a slot, which it keeps when it has ended, until all of this is
/// made anew.
#[derive(Debug)]
pub(in super::super) struct ByRows {
    of: RowWindows,
    /// The slots of each key's open windows, the oldest first.
    open: Vec<Vec<u32>>,
    slots: Vec<Slot>,
    /// Slots of windows that are not open any more.
    closed: usize,
    /// No window is cut off in front of it.
    next_cut: i64,
}

#[derive(Debug)]
struct Slot {
    part: Part,
    fate: Fate,
}

impl ByRows {
    pub(super) fn new(of: RowWindows) -> ByRows {
        ByRows { of, open: Vec::new(), slots: Vec::new(), closed: 0, next_cut: i64::MAX }
    }

    /// Calls `put` with the slot of each window that a row is in.
    pub(in super::super) fn place(
        &mut self,
        key: usize,
        time: i64,
        says: Says,
        mut put: impl FnMut(usize),
    ) {
        self.know(key);
        self.cut(key, time);
        let newest = self.open[key].last().map(|at| self.slots[*at as usize].part);
        let opens = match self.of.rule {
            Rule::Count { every, .. } => newest.is_none_or(|part| part.reached >= every.into()),
            Rule::Event => newest.is_none() && says.opens,
            Rule::State => newest.is_none_or(|part| part.value != says.value),
        };
        if opens && self.of.rule == Rule::State {
            self.end_oldest(key, time, Fate::Ended);
        }
        if opens {
            let key = number(key);
            self.restore(Part { key, start: time, reached: 0, value: says.value });
        }
        for at in &self.open[key] {
            self.slots[*at as usize].part.reached += 1;
            put(*at as usize);
        }
        let oldest = self.open[key].first().map(|at| self.slots[*at as usize].part);
        let is_full = match self.of.rule {
            Rule::Count { rows, .. } => oldest.is_some_and(|part| part.reached >= rows.into()),
            Rule::Event => says.closes,
            Rule::State => false,
        };
        if is_full {
            self.end_oldest(key, time, Fate::Ended);
        }
    }

    /// Adds a window, newer than those of its key that are there; returns its slot.
    pub(super) fn restore(&mut self, part: Part) -> usize {
        self.know(part.key as usize);
        let place = self.slots.len();
        self.open[part.key as usize].push(number(place));
        self.next_cut = self.next_cut.min(self.cut_of(part));
        self.slots.push(Slot { part, fate: Fate::Open });
        place
    }

    fn know(&mut self, key: usize) {
        if self.open.len() <= key {
            self.open.resize_with(key + 1, Vec::new);
        }
    }

    /// When a window has been open for the longest time that it may be.
    fn cut_of(&self, part: Part) -> i64 {
        part.start.saturating_add(self.of.longest_micros)
    }

    /// Ends those windows of a key that have been open for too long at this time.
    fn cut(&mut self, key: usize, time: i64) {
        let fate = match self.of.rule {
            // It has not its rows.
            Rule::Count { .. } => Fate::Dropped,
            Rule::Event | Rule::State => Fate::Ended,
        };
        while let Some(oldest) = self.open[key].first() {
            let end = self.cut_of(self.slots[*oldest as usize].part);
            if time < end {
                break;
            }
            self.end_oldest(key, end, fate);
        }
    }

    fn end_oldest(&mut self, key: usize, end: i64, fate: Fate) {
        if self.open[key].is_empty() {
            return;
        }
        let slot = &mut self.slots[self.open[key].remove(0) as usize];
        (slot.part.reached, slot.fate) = (end, fate);
        self.closed += 1;
    }

    /// How many windows are open.
    pub(super) fn windows(&self) -> usize {
        self.slots.len() - self.closed
    }

    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Whether most of its keys have no window. What has ended is still to be asked for, and is not
    /// sparse.
    pub(super) fn is_sparse(&self) -> bool {
        self.closed == 0 && self.open.len() > 2 * self.slots.len() + 64
    }

    /// Whether a window has ended, now that all rows in front of the watermark have come. What ends at
    /// the watermark itself may do so by a row, and waits for that.
    pub(super) fn has_ended(&mut self, watermark: i64) -> bool {
        if self.next_cut < watermark {
            (0..self.open.len()).for_each(|key| self.cut(key, watermark - 1));
        }
        self.closed > 0
    }

    pub(super) fn fates(&self) -> impl Iterator<Item = Fate> {
        self.slots.iter().map(|slot| slot.fate)
    }

    /// All slots in their order.
    pub(super) fn parts(&self) -> impl Iterator<Item = Part> {
        self.slots.iter().map(|slot| slot.part)
    }
}

fn number(place: usize) -> u32 {
    u32::try_from(place).expect("state has a limit far below")
}

#[cfg(test)]
mod tests;
