//! Which rows of its key a row's window function looks at.

use std::ops::Range;

/// `ROWS` or `RANGE` of an `OVER`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frame {
    /// From so many rows in front of the row to so many; 0 is the row itself.
    Rows { from: usize, to: usize },
    /// From so long in front of the row's time to so long, in the unit of the time column; with
    /// all rows of a point in time.
    Range { from: i64, to: i64 },
    /// All rows of the key up to this one, with those of the same time if it is a `RANGE`.
    Unbounded { with_peers: bool },
}

/// Rows of a key that a later row may still look at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Keep {
    /// The last so many.
    pub(crate) rows: usize,
    /// Those of the last so long, in the unit of the time column.
    pub(crate) range: Option<i64>,
}

impl Frame {
    /// The rows that row `at` looks at, of rows of one key with these times.
    pub(super) fn around(self, at: usize, times: &[i64]) -> Range<usize> {
        let (start, end) = match self {
            Frame::Rows { from, to } => (at.saturating_sub(from), (at + 1).saturating_sub(to)),
            Frame::Range { from, to } => {
                let (first, last) = (times[at].saturating_sub(from), times[at].saturating_sub(to));
                let start = times.partition_point(|time| *time < first);
                (start, times.partition_point(|time| *time <= last))
            }
            Frame::Unbounded { with_peers: false } => (0, at + 1),
            Frame::Unbounded { with_peers: true } => {
                (0, times.partition_point(|time| *time <= times[at]))
            }
        };
        start.min(end)..end
    }

    pub(super) fn keep(self) -> Keep {
        match self {
            Frame::Rows { from, .. } => Keep { rows: from, range: None },
            Frame::Range { from, .. } => Keep { rows: 0, range: Some(from) },
            Frame::Unbounded { .. } => Keep::default(),
        }
    }
}

impl Keep {
    pub(super) fn and(self, other: Keep) -> Keep {
        Keep { rows: self.rows.max(other.rows), range: self.range.max(other.range) }
    }

    /// How many of the first rows of a key no later row looks at, once there comes none in front
    /// of `watermark`.
    pub(super) fn passed(self, times: &[i64], watermark: i64) -> usize {
        let beyond = times.len().saturating_sub(self.rows);
        let Some(range) = self.range else { return beyond };
        let first = watermark.saturating_sub(range);
        beyond.min(times.partition_point(|time| *time < first))
    }
}
