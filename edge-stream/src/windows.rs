//! How event time is cut into windows. All times are in microseconds since the Unix epoch.

pub(crate) mod function;

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

/// The windows of one query, and where they begin.
///
/// Windows include their start, not their end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Windows {
    pub(crate) shape: Shape,
    /// From start to end; of the longest, where they grow.
    pub(crate) size: i64,
    /// From one window to the next.
    pub(crate) step: i64,
    /// Where one of them begins.
    pub(crate) offset: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Shape {
    /// One behind the other.
    Tumble,
    /// One each step, over each other where that is smaller than their size.
    Hop,
    /// From one start, each a step longer than the one before, up to the size.
    Cumulate,
}

/// One window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Window {
    pub(crate) end: i64,
    pub(crate) start: i64,
}

impl fmt::Display for Windows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (size, step) = (duration(self.size), duration(self.step));
        match self.shape {
            Shape::Tumble => write!(f, "tumbling windows of {size:?}"),
            Shape::Hop => write!(f, "windows of {size:?} each {step:?}"),
            Shape::Cumulate => write!(f, "windows that grow by {step:?} up to {size:?}"),
        }
    }
}

fn duration(micros: i64) -> Duration {
    Duration::from_micros(micros.unsigned_abs())
}

impl Windows {
    /// What rows of one pane are, in words.
    pub(crate) fn pane_text(&self) -> String {
        format!("{:?} of open windows", duration(self.pane()))
    }

    /// The panes of a window: rows of one pane lie in the same windows.
    pub(crate) fn pane(&self) -> i64 {
        match self.shape {
            Shape::Tumble => self.size,
            Shape::Hop => greatest_common_divisor(self.size, self.step),
            Shape::Cumulate => self.step,
        }
    }

    /// How many panes a window has.
    pub(crate) fn panes(&self) -> i64 {
        self.size / self.pane()
    }

    /// How many windows a row lies in, at most.
    pub(crate) fn overlap(&self) -> i64 {
        match self.shape {
            Shape::Tumble => 1,
            Shape::Hop => self.size.saturating_add(self.step - 1) / self.step,
            Shape::Cumulate => self.size / self.step,
        }
    }

    /// Where the pane begins that a row lies in.
    pub(crate) fn pane_of(&self, time: i64) -> i64 {
        self.aligned(time, self.pane())
    }

    /// The first window that this pane lies in and that ends behind `after`; `None` if there is none.
    pub(crate) fn first(&self, pane: i64, after: i64) -> Option<Window> {
        match self.shape {
            Shape::Tumble => {
                let window = Window { start: pane, end: pane.saturating_add(self.size) };
                (window.end > after).then_some(window)
            }
            Shape::Hop => {
                // Ends lie a size behind starts, and those a step from each other.
                let behind = pane.max(after);
                let last_start = self.aligned(behind.saturating_sub(self.size), self.step);
                let start = last_start.saturating_add(self.step);
                let window = Window { start, end: start.saturating_add(self.size) };
                (window.start <= pane).then_some(window)
            }
            Shape::Cumulate => {
                let start = self.aligned(pane, self.size);
                let last = self.aligned(pane.max(after), self.step);
                let end = last.saturating_add(self.step);
                (end <= start.saturating_add(self.size)).then_some(Window { end, start })
            }
        }
    }

    /// The end of the last window that this pane lies in; it is no more needed behind it.
    pub(crate) fn last_end(&self, pane: i64) -> i64 {
        let start = match self.shape {
            Shape::Tumble => pane,
            Shape::Hop => self.aligned(pane, self.step),
            Shape::Cumulate => self.aligned(pane, self.size),
        };
        start.saturating_add(self.size)
    }

    /// The earliest start of the windows that end behind `watermark`.
    pub(crate) fn next_start(&self, watermark: i64) -> i64 {
        match self.shape {
            Shape::Tumble | Shape::Hop => {
                let last = self.aligned(watermark.saturating_sub(self.size), self.step);
                last.saturating_add(self.step)
            }
            Shape::Cumulate => self.aligned(watermark, self.size),
        }
    }

    fn aligned(&self, time: i64, step: i64) -> i64 {
        let since = time.saturating_sub(self.offset);
        since.div_euclid(step).saturating_mul(step).saturating_add(self.offset)
    }
}

fn greatest_common_divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}
