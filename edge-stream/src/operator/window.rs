//! `GROUP BY` over windows: one pane of groups for each stretch of time whose rows lie in the same
//! windows. A tumbling window is a pane; windows that lie over each other are merged of theirs.

pub(super) mod pane;
pub(super) mod rows;
mod sliding;
mod timing;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::scalar::ScalarValue;

pub(crate) use pane::Aggregate;
use pane::{Layout, Pane, Size};
use rows::{Evaluated, row_of_nulls};
use sliding::Sliding;
pub(crate) use timing::Timing;

use super::{Explain, Operator, Out, StateReader, StateWriter};
use crate::emit::Emit;
use crate::error::OperatorError;
use crate::watermark::EventTime;
use crate::windows::{Shape, Window, Windows};

/// State of the open windows of one operator; beyond, the job stops and says so. All of it may be
/// written at once, into one batch of edge-db, which takes 64 MiB.
const STATE_BYTES: usize = 56 * 1024 * 1024;

/// What stands in one column of the answer in front of the aggregates.
#[derive(Debug, Clone)]
pub(crate) enum GroupColumn {
    WindowStart,
    WindowEnd,
    /// A key of the group, by its place among the keys.
    Key(usize),
}

/// The windows and the keys of a `GROUP BY`.
#[derive(Debug)]
pub(crate) struct Grouping {
    /// Gives the start of each row's pane.
    pub(crate) pane: Arc<dyn PhysicalExpr>,
    pub(crate) windows: Windows,
    pub(crate) columns: Vec<GroupColumn>,
    pub(crate) keys: Vec<Arc<dyn PhysicalExpr>>,
    pub(crate) timing: Timing,
    /// Columns of the answer: groups, then aggregates.
    pub(crate) output: SchemaRef,
}

#[derive(Debug)]
pub(crate) struct WindowAggregate {
    of: Grouping,
    layout: Arc<Layout>,
    /// By their start. None of them is behind the watermark with all windows that it lies in, and
    /// with the time that these are kept.
    panes: BTreeMap<i64, Pane>,
    sliding: Sliding,
    /// Panes that have gone and are still in the stored state.
    gone: Vec<(i64, Size)>,
    watermark: Option<EventTime>,
    limit_bytes: usize,
}

impl WindowAggregate {
    /// `input` is what rows come in as.
    pub(crate) fn new(
        of: Grouping,
        aggregates: Vec<Aggregate>,
        input: &Schema,
    ) -> Result<WindowAggregate, DataFusionError> {
        let layout = match of.timing.gives_out_again() {
            true => Layout::with_fresh(&of.keys, aggregates, input)?,
            false => Layout::new(&of.keys, aggregates, input)?,
        };
        let layout = Arc::new(layout);
        let (panes, gone, sliding) = (BTreeMap::new(), Vec::new(), Sliding::default());
        // A group that has changed comes out once for each of its windows, all in one batch.
        let copies = if of.timing.gives_out_again() { of.windows.overlap() } else { 1 };
        let limit_bytes = STATE_BYTES / usize::try_from(copies).unwrap_or(usize::MAX);
        Ok(WindowAggregate { of, layout, panes, sliding, gone, watermark: None, limit_bytes })
    }

    /// Runs every step once on a row of nulls, so that an aggregate that cannot be stored, or
    /// taken up again, is found when the query is planned.
    pub(crate) fn rehearse(&self, input: &Schema) -> Result<(), OperatorError> {
        let rows = self.evaluate(&row_of_nulls(input)?)?.slice(0..1)?;
        Pane::rehearse(&self.layout, &rows)
    }

    /// All expressions of the operator, for the whole batch at once.
    fn evaluate(&self, batch: &RecordBatch) -> Result<Evaluated, OperatorError> {
        Evaluated::new(&self.of.pane, &self.of.keys, &self.layout.aggregates, batch)
    }

    /// Windows that end until then have gone.
    fn gone_until(&self) -> i64 {
        self.of.timing.gone_until(self.watermark.map_or(i64::MIN, EventTime::micros))
    }

    /// Whether all windows have gone that the rows of this pane would lie in.
    fn is_late(&self, pane: i64) -> bool {
        self.of.windows.last_end(pane) <= self.gone_until()
    }

    /// The next window that is to be closed, once the watermark is there.
    fn next_window(&self) -> Option<Window> {
        let closed = self.watermark.map_or(i64::MIN, EventTime::micros);
        self.panes.keys().find_map(|pane| self.of.windows.first(*pane, closed))
    }

    /// The groups of a window that is closed.
    fn close(&mut self, window: Window) -> Result<Pane, OperatorError> {
        match self.of.windows.shape {
            Shape::Tumble if !self.of.timing.keeps_closed() => {
                let pane = self.panes.remove(&window.start).expect("it was found in a pane");
                self.forget(window.start, &pane);
                Ok(pane)
            }
            shape => self.sliding.window(shape, window, &self.layout, &self.panes),
        }
    }

    /// A pane is not needed any more.
    fn forget(&mut self, start: i64, pane: &Pane) {
        if pane.stored().bytes() > 0 {
            self.gone.push((start, pane.stored()));
        }
    }

    /// Lets go of panes all of whose windows have gone.
    fn let_go(&mut self) {
        let gone = self.gone_until();
        while let Some(first) = self.panes.first_entry()
            && self.of.windows.last_end(*first.key()) <= gone
        {
            let (start, pane) = first.remove_entry();
            self.forget(start, &pane);
        }
    }

    /// Gives out all windows that end until then, and that have not ended before.
    fn close_until(&mut self, watermark: i64, out: &mut Out) -> Result<(), OperatorError> {
        if self.of.windows.shape != Shape::Tumble || self.of.timing.keeps_closed() {
            let size = self.of.windows.pane();
            let mut ended = self.panes.range_mut(..=watermark.saturating_sub(size));
            ended.try_for_each(|(_, pane)| pane.seal())?;
        }
        let mut answers = Vec::new();
        while let Some(window) = self.next_window()
            && window.end <= watermark
        {
            let pane = self.close(window)?;
            answers.push(self.answer(window, pane)?);
            self.watermark = Some(EventTime::from_micros(window.end));
            self.let_go();
        }
        if !answers.is_empty() {
            out.push(concat_batches(&self.of.output, &answers)?);
        }
        Ok(())
    }

    /// The answer of one window.
    fn answer(&self, window: Window, pane: Pane) -> Result<RecordBatch, OperatorError> {
        let (keys, aggregates) = pane.finish()?;
        let rows = aggregates.first().or(keys.first()).map_or(1, |column| column.len());
        let mut columns = Vec::new();
        for (place, group) in self.of.columns.iter().enumerate() {
            let time = match group {
                GroupColumn::Key(key) => {
                    columns.push(ArrayRef::clone(&keys[*key]));
                    continue;
                }
                GroupColumn::WindowStart => window.start,
                GroupColumn::WindowEnd => window.end,
            };
            let zone = match self.of.output.field(place).data_type() {
                DataType::Timestamp(_, zone) => zone.clone(),
                _ => None,
            };
            let time = ScalarValue::TimestampMicrosecond(Some(time), zone);
            columns.push(time.to_array_of_size(rows)?);
        }
        columns.extend(aggregates);
        Ok(RecordBatch::try_new(SchemaRef::clone(&self.of.output), columns)?)
    }

    fn stored_bytes(&self) -> usize {
        self.panes.values().map(|pane| pane.stored().bytes()).sum()
    }

    fn check_size(&self) -> Result<(), OperatorError> {
        let used_bytes = self.stored_bytes();
        if used_bytes <= self.limit_bytes {
            return Ok(());
        }
        let groups = self.panes.values().map(Pane::groups).sum();
        Err(OperatorError::StateFull { groups, used_bytes, limit_bytes: self.limit_bytes })
    }
}

impl Operator for WindowAggregate {
    fn has_state(&self) -> bool {
        true
    }

    fn explain(&self) -> Explain {
        let keys: Vec<_> = self.of.keys.iter().map(ToString::to_string).collect();
        let by = if keys.is_empty() { String::new() } else { format!(" by {}", keys.join(", ")) };
        let aggregates = self.layout.aggregates.iter().map(|one| one.function.name());
        let aggregates = aggregates.collect::<Vec<_>>().join(", ");
        Explain {
            what: format!(
                "{}{by}: {aggregates}{}",
                self.of.windows,
                self.of.timing.emit.explained()
            ),
            keeps: match self.of.windows.shape {
                Shape::Tumble => "for each open window, each group with its aggregates".to_owned(),
                _ => format!(
                    "for each {}, each group with its aggregates",
                    self.of.windows.pane_text()
                ),
            },
            until: self.of.timing.until(),
        }
    }

    fn holds(&self) -> String {
        format!("{} groups", self.panes.values().map(Pane::groups).sum::<usize>())
    }

    fn state_bytes(&self) -> usize {
        self.stored_bytes()
    }

    fn on_batch(
        &mut self,
        _: usize,
        batch: RecordBatch,
        out: &mut Out,
    ) -> Result<(), OperatorError> {
        let mut rows = self.evaluate(&batch)?;
        rows.sort_by_pane()?;
        for (start, range) in rows.panes() {
            // Where hops leave gaps between windows, a row may lie in none.
            if self.of.windows.first(start, i64::MIN).is_none() {
                continue;
            }
            if self.is_late(start) {
                out.late += range.len() as u64;
                continue;
            }
            let is_fresh = self.is_fresh(start);
            let pane = match self.panes.entry(start) {
                Entry::Occupied(open) => open.into_mut(),
                Entry::Vacant(free) => free.insert(Pane::new(&self.layout)?),
            };
            self.sliding.touch(start);
            pane.update(&rows.slice(range)?, is_fresh)?;
        }
        Ok(())
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Out) -> Result<(), OperatorError> {
        let watermark = self.of.timing.held(watermark);
        self.give_changes(Some(watermark.micros()), out)?;
        if self.of.timing.emit == Emit::OnWindowClose {
            self.close_until(watermark.micros(), out)?;
        }
        self.watermark = Some(watermark);
        self.let_go();
        Ok(())
    }

    fn on_step_end(&mut self, out: &mut Out) -> Result<(), OperatorError> {
        self.give_changes(None, out)
    }

    fn resume(&mut self, watermark: EventTime) -> Result<(), OperatorError> {
        self.watermark = Some(self.of.timing.held(watermark));
        Ok(())
    }

    /// Answers to come are of windows that end behind the watermark; their starts are the least of
    /// their times.
    fn watermark_out(&self, watermark: EventTime) -> EventTime {
        let watermark = self.of.timing.held(watermark);
        EventTime::from_micros(self.of.windows.next_start(watermark.micros()))
    }

    fn snapshot(&mut self, state: &mut StateWriter<'_>) -> Result<(), OperatorError> {
        for (start, size) in self.gone.drain(..) {
            size.remove(start, state);
        }
        for (start, pane) in &mut self.panes {
            pane.snapshot(*start, state)?;
        }
        self.check_size()
    }

    fn restore(&mut self, state: &StateReader<'_>) -> Result<(), OperatorError> {
        for entry in state.parts() {
            let (start, part, columns, bytes) = entry?;
            let pane = match self.panes.entry(start) {
                Entry::Occupied(there) => there.into_mut(),
                Entry::Vacant(free) => free.insert(Pane::new(&self.layout)?),
            };
            pane.absorb(columns.columns())?;
            pane.note_stored(part, bytes);
        }
        Ok(())
    }
}
