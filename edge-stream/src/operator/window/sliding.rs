//! Windows that lie over each other, merged of their panes.
//!
//! Each pane is merged some three times, however many windows it lies in: those in front of a turning
//! point as what lies between each of them and that point, those behind it into one. When windows
//! have moved past the turning point, it moves on to their end (two stacks: Tangwongsan, Hirzel,
//! Schneider and Wu, "General Incremental Sliding-Window Aggregation", VLDB 2015).

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;

use super::pane::{Layout, Pane};
use crate::error::OperatorError;
use crate::windows::{Shape, Window};

#[derive(Debug, Default)]
pub(super) struct Sliding {
    turn: Option<Turn>,
}

#[derive(Debug)]
struct Turn {
    at: i64,
    /// By the start of a pane, all groups from there to the turning point.
    front: BTreeMap<i64, RecordBatch>,
    /// All groups from the turning point to `end`, if there is a pane.
    back: Option<Pane>,
    end: i64,
}

impl Sliding {
    /// Rows come into a pane: if it lies where panes were merged, they have to be merged anew. It may
    /// be a new one, where there was none.
    pub(super) fn touch(&mut self, pane: i64) {
        if self.turn.as_ref().is_some_and(|turn| pane < turn.end) {
            self.turn = None;
        }
    }

    /// The groups of a window. Windows come in the order of their ends, and their panes are sealed.
    pub(super) fn window(
        &mut self,
        shape: Shape,
        window: Window,
        layout: &Arc<Layout>,
        panes: &BTreeMap<i64, Pane>,
    ) -> Result<Pane, OperatorError> {
        let is_over = |turn: &Turn| match shape {
            // These begin where they turn.
            Shape::Cumulate => turn.at != window.start,
            Shape::Tumble | Shape::Hop => turn.at <= window.start,
        };
        let turn = match self.turn.take().filter(|turn| !is_over(turn)) {
            Some(turn) => turn,
            None => Turn::new(shape, window, layout, panes)?,
        };
        let turn = self.turn.insert(turn);
        for (_, pane) in panes.range(turn.end..window.end.max(turn.end)) {
            let back = turn.back.take().map_or_else(|| Pane::new(layout), Ok)?;
            turn.back.insert(back).merge(pane.sealed())?;
        }
        turn.end = turn.end.max(window.end);
        turn.front = turn.front.split_off(&window.start);
        let mut answer = Pane::new(layout)?;
        if let Some((_, columns)) = turn.front.first_key_value() {
            answer.merge(columns.columns())?;
        }
        if let Some(back) = &mut turn.back {
            answer.merge(back.copy()?.columns())?;
        }
        Ok(answer)
    }
}

impl Turn {
    fn new(
        shape: Shape,
        window: Window,
        layout: &Arc<Layout>,
        panes: &BTreeMap<i64, Pane>,
    ) -> Result<Turn, OperatorError> {
        let at = if shape == Shape::Cumulate { window.start } else { window.end };
        let (mut front, mut all) = (BTreeMap::new(), Pane::new(layout)?);
        for (start, pane) in panes.range(window.start..at).rev() {
            all.merge(pane.sealed())?;
            front.insert(*start, all.copy()?);
        }
        Ok(Turn { at, front, back: None, end: at })
    }
}
