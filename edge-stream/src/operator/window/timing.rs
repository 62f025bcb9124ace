//! When windows come out, and that they come out again: before they are closed by `EMIT`, and behind
//! that by late rows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use arrow::compute::concat_batches;

use super::pane::Pane;
use super::sliding::Sliding;
use super::{Out, WindowAggregate};
use crate::emit::Emit;
use crate::error::OperatorError;
use crate::watermark::EventTime;
use crate::windows::{Shape, Window};

/// When the windows of an operator come out.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Timing {
    pub(crate) emit: Emit,
    /// They close so long behind their end, as rows may come until then and windows come out once.
    pub(crate) hold_micros: i64,
    /// They are kept so long behind their end, and come out again when rows come until then.
    pub(crate) keep_micros: i64,
}

impl Timing {
    pub(super) fn held(self, watermark: EventTime) -> EventTime {
        EventTime::from_micros(watermark.micros().saturating_sub(self.hold_micros))
    }

    /// Until when panes are kept.
    pub(super) fn until(self) -> String {
        let until = "the watermark passes the end of the last window that it is in";
        let by = |micros: i64| Duration::from_micros(micros.unsigned_abs());
        match (self.hold_micros, self.keep_micros) {
            (0, 0) => until.to_owned(),
            (hold, 0) => format!("{until} by {:?}, so that late rows are in it", by(hold)),
            (_, keep) => format!("{until} by {:?}, as late rows change it", by(keep)),
        }
    }

    /// Windows that end until then are not kept any more.
    pub(super) fn gone_until(self, watermark: i64) -> i64 {
        watermark.saturating_sub(self.keep_micros)
    }

    pub(super) fn keeps_closed(self) -> bool {
        self.keep_micros > 0
    }

    pub(crate) fn gives_out_again(self) -> bool {
        self.emit != Emit::OnWindowClose || self.keeps_closed()
    }
}

impl WindowAggregate {
    /// Whether rows that come to this pane now are to be given out before a window closes.
    pub(super) fn is_fresh(&self, pane: i64) -> bool {
        if !self.of.timing.gives_out_again() {
            return false;
        }
        let closed = self.watermark.map_or(i64::MIN, EventTime::micros);
        match self.of.timing.emit {
            Emit::OnWindowClose => {
                let kept = self.of.windows.first(pane, self.gone_until());
                kept.is_some_and(|window| window.end <= closed)
            }
            Emit::Changes | Emit::Every(_) => true,
        }
    }

    /// Whether what has changed in a window comes out, as event time goes from where it is to there;
    /// or stays, at the end of a step. `None` if nothing does.
    fn due(&self, to: Option<i64>) -> Option<impl Fn(Window) -> bool + use<>> {
        let gone = self.gone_until();
        let from = self.watermark.map(EventTime::micros);
        let closed = from.unwrap_or(i64::MIN);
        // What goes before the next time is told of now, or never.
        let mut going = i64::MIN;
        let (behind, until) = match (self.of.timing.emit, to) {
            (Emit::OnWindowClose, _) => (gone, closed),
            (Emit::Changes, _) => (gone, i64::MAX),
            (Emit::Every(_), None) => return None,
            (emit, Some(to)) if emit.is_due(from, to) => (gone, i64::MAX),
            (Emit::Every(_), Some(to)) => {
                going = self.of.timing.gone_until(to);
                (closed, to)
            }
        };
        Some(move |window: Window| {
            gone < window.end
                && (window.end <= going || (behind < window.end && window.end <= until))
        })
    }

    /// Gives out the groups that have changed in windows that are due.
    pub(super) fn give_changes(
        &mut self,
        to: Option<i64>,
        out: &mut Out,
    ) -> Result<(), OperatorError> {
        if !self.of.timing.gives_out_again() {
            return Ok(());
        }
        let fresh = self.panes.iter().filter(|(_, pane)| pane.is_fresh());
        let fresh: Vec<i64> = fresh.map(|(start, _)| *start).collect();
        let Some(is_due) = self.due(to).filter(|_| !fresh.is_empty()) else { return Ok(()) };
        let windows: BTreeSet<Window> = fresh
            .iter()
            .flat_map(|pane| self.windows_of(*pane))
            .filter(|window| is_due(*window))
            .collect();
        let mut answers = Vec::new();
        let panes = self.changed_groups(&fresh, &windows)?;
        let mut sliding = Sliding::default();
        for window in windows {
            let mut pane = sliding.window(self.of.windows.shape, window, &self.layout, &panes)?;
            let groups = pane.fresh()?;
            if groups.num_rows() > 0 {
                let groups = Pane::restore(&self.layout, groups.columns())?;
                answers.push(self.answer(window, groups)?);
            }
        }
        for start in fresh {
            // Late rows are told of in this step, or they were none.
            let is_told =
                self.of.timing.emit == Emit::OnWindowClose || self.windows_of(start).all(&is_due);
            if let Some(pane) = self.panes.get_mut(&start).filter(|_| is_told) {
                pane.settle()?;
            }
        }
        if !answers.is_empty() {
            out.push(concat_batches(&self.of.output, &answers)?);
        }
        Ok(())
    }

    /// The windows of a pane that are kept.
    fn windows_of(&self, pane: i64) -> impl Iterator<Item = Window> + use<> {
        let (windows, gone) = (self.of.windows, self.gone_until());
        let first = windows.first(pane, gone);
        std::iter::successors(first, move |window| windows.first(pane, window.end))
    }

    /// The panes of these windows, sealed, with no other groups than those that have changed in some
    /// pane.
    fn changed_groups(
        &mut self,
        fresh: &[i64],
        windows: &BTreeSet<Window>,
    ) -> Result<BTreeMap<i64, Pane>, OperatorError> {
        let starts = windows.iter().map(|window| window.start);
        let (Some(from), Some(last)) = (starts.min(), windows.last()) else {
            return Ok(BTreeMap::new());
        };
        let mut changed = Pane::new(&self.layout)?;
        for start in fresh {
            if let Some(pane) = self.panes.get_mut(start) {
                changed.merge(pane.fresh()?.columns())?;
            }
        }
        let known = changed.groups();
        let is_one = self.of.windows.shape == Shape::Tumble;
        let mut panes = BTreeMap::new();
        for (start, pane) in self.panes.range_mut(from..last.end) {
            // A window that is one pane has changed if that has.
            if is_one && !pane.is_fresh() {
                continue;
            }
            let groups = pane.among_first(&mut changed, known)?;
            if groups.num_rows() > 0 {
                panes.insert(*start, Pane::of(&self.layout, groups)?);
            }
        }
        Ok(panes)
    }
}
