//! Which windows rows belong to that each key has of its own. Knows times and numbers of keys, no rows
//! and no aggregates.

mod by_rows;
mod gaps;

use crate::row_windows::RowWindows;

pub(super) use by_rows::{ByRows, Says};
pub(super) use gaps::Gaps;

/// What rows are divided into windows by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::operator) enum Division {
    /// A session ends where no row comes for so many microseconds.
    Gap(i64),
    /// Rows open and close windows.
    Rows(RowWindows),
}

impl Division {
    /// The end of a window that came so far.
    pub(super) fn end(self, reached: i64) -> i64 {
        match self {
            Division::Gap(gap) => reached.saturating_add(gap),
            Division::Rows(_) => reached,
        }
    }
}

/// The open windows of many keys.
#[derive(Debug)]
pub(super) enum Timeline {
    Gaps(Gaps),
    ByRows(ByRows),
}

/// A slot, and the window that it is, or has become, a part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) key: u32,
    /// Time of the first row.
    pub(super) start: i64,
    /// How far it has come: the time of a session's last row; of other windows how many rows they have,
    /// and their end once they have one.
    pub(super) reached: i64,
    /// The number of the value that stays, where windows are those of a value.
    pub(super) value: u32,
}

/// What has become of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Open,
    Ended,
    /// It can end no more, and is in no answer.
    Dropped,
}

impl Timeline {
    pub(super) fn new(division: Division) -> Timeline {
        match division {
            Division::Gap(gap) => Timeline::Gaps(Gaps::new(gap)),
            Division::Rows(windows) => Timeline::ByRows(ByRows::new(windows)),
        }
    }

    /// The slot of a window, or of a part of one, as it was once.
    pub(super) fn restore(&mut self, part: Part) -> Option<usize> {
        match self {
            Timeline::Gaps(gaps) => {
                gaps.place(part.key as usize, part.start, part.reached, i64::MIN)
            }
            Timeline::ByRows(windows) => Some(windows.restore(part)),
        }
    }

    /// How many windows are open.
    pub(super) fn windows(&self) -> usize {
        match self {
            Timeline::Gaps(gaps) => gaps.sessions(),
            Timeline::ByRows(windows) => windows.windows(),
        }
    }

    pub(super) fn slots(&self) -> usize {
        match self {
            Timeline::Gaps(gaps) => gaps.slots(),
            Timeline::ByRows(windows) => windows.slots(),
        }
    }

    /// Whether most of it is of windows that are no more, or of keys that have none.
    pub(super) fn is_sparse(&self) -> bool {
        match self {
            Timeline::Gaps(gaps) => gaps.is_sparse(),
            Timeline::ByRows(windows) => windows.is_sparse(),
        }
    }

    /// Whether a window is not open any more, once event time has come so far.
    pub(super) fn has_ended(&mut self, watermark: i64) -> bool {
        match self {
            Timeline::Gaps(gaps) => gaps.has_ended(watermark),
            Timeline::ByRows(windows) => windows.has_ended(watermark),
        }
    }

    /// What has become of each slot, as [`Timeline::has_ended`] found out.
    pub(super) fn fates(&self, watermark: i64) -> Vec<Fate> {
        match self {
            Timeline::Gaps(gaps) => gaps.fates(watermark).collect(),
            Timeline::ByRows(windows) => windows.fates().collect(),
        }
    }

    /// All slots in their order.
    pub(super) fn parts(&self) -> Vec<Part> {
        match self {
            Timeline::Gaps(gaps) => gaps.parts().collect(),
            Timeline::ByRows(windows) => windows.parts().collect(),
        }
    }
}
