//! The open windows of some of the keys, and their aggregates.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{filter_record_batch, take_arrays};
use arrow::datatypes::{Int64Type, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion::physical_plan::aggregates::order::GroupOrdering;

use super::rows::{Placed, says};
use super::shape::Shape;
use super::timeline::{Fate, Part, Timeline};
use crate::error::OperatorError;
use crate::operator::window::pane::{Aggregate, Rows};

/// Windows that have ended.
pub(super) struct Ended {
    /// Behind them the value that stayed, where windows are those of one.
    pub(super) keys: Vec<ArrayRef>,
    pub(super) starts: Vec<i64>,
    pub(super) ends: Vec<i64>,
    pub(super) values: Vec<ArrayRef>,
}

pub(super) struct Bucket {
    shape: Arc<Shape>,
    /// `None` if there are no keys.
    keys: Option<Box<dyn GroupValues>>,
    /// The values that stay; `None` if windows are not those of a value.
    values: Option<Box<dyn GroupValues>>,
    /// A window's slot is its group.
    accumulators: Vec<Box<dyn GroupsAccumulator>>,
    timeline: Timeline,
    /// Whether windows are others than in the last snapshot.
    changed: bool,
    /// What it takes in the stored state; 0 if it is not there.
    pub(super) stored_bytes: usize,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("windows", &self.windows()).finish_non_exhaustive()
    }
}

impl Bucket {
    pub(super) fn new(shape: &Arc<Shape>) -> Result<Bucket, DataFusionError> {
        let known =
            |columns: &SchemaRef| new_group_values(SchemaRef::clone(columns), &GroupOrdering::None);
        let keys = Some(&shape.layout.keys).filter(|keys| !keys.fields().is_empty());
        let (keys, values) = (keys.map(known).transpose()?, shape.value.as_ref().map(known));
        let values = values.transpose()?;
        let accumulators = shape.layout.aggregates.iter().map(Aggregate::accumulator);
        let accumulators = accumulators.collect::<Result<_, _>>()?;
        let timeline = Timeline::new(shape.division);
        let (shape, changed, stored_bytes) = (Arc::clone(shape), false, 0);
        Ok(Bucket { shape, keys, values, accumulators, timeline, changed, stored_bytes })
    }

    /// Runs every step once on a row of nulls, so that an aggregate that cannot be stored, or
    /// taken up again, is found when the query is planned.
    pub(super) fn rehearse(shape: &Arc<Shape>, rows: &Rows) -> Result<(), OperatorError> {
        let mut bucket = Bucket::new(shape)?;
        intern(&mut bucket.keys, &rows.keys, 1)?;
        if let Some(values) = &mut bucket.values {
            values.intern(&rows.deciding, &mut Vec::new())?;
        }
        let part = Part { key: 0, start: 0, reached: 0, value: 0 };
        let slots: Vec<_> = bucket.timeline.restore(part).into_iter().collect();
        bucket.accumulate(rows, &slots)?;
        let columns = bucket.take()?;
        let mut again = Bucket::new(shape)?;
        again.absorb(&columns)?;
        // Not as an answer, whose columns may be declared to be without nulls.
        again.finish().map(drop)
    }

    /// How many windows are open.
    pub(super) fn windows(&self) -> usize {
        self.timeline.windows()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.windows() == 0
    }

    /// Takes rows in; returns how many of them came late.
    pub(super) fn update(
        &mut self,
        times: &[i64],
        rows: &Rows,
        watermark: i64,
    ) -> Result<u64, OperatorError> {
        let keys = intern(&mut self.keys, &rows.keys, times.len())?;
        let (mut placed, mut late) = (Placed::default(), 0);
        match &mut self.timeline {
            Timeline::Gaps(gaps) => {
                for (row, (key, time)) in (0..).zip(keys.into_iter().zip(times)) {
                    match gaps.place(key, *time, *time, watermark) {
                        Some(slot) => placed.put(row, slot),
                        None => late += 1,
                    }
                }
            }
            Timeline::ByRows(windows) => {
                let says = says(&rows.deciding, &mut self.values, times.len())?;
                let rows = keys.into_iter().zip(times).zip(says);
                for (row, ((key, time), says)) in (0..).zip(rows) {
                    windows.place(key, *time, says, |slot| placed.put(row, slot));
                }
            }
        }
        if !placed.slots.is_empty() {
            match placed.is_each_once(rows.len) {
                true => self.accumulate(rows, &placed.slots)?,
                false => self.accumulate(&placed.taken(rows)?, &placed.slots)?,
            }
            self.changed = true;
        }
        if self.timeline.is_sparse() {
            let columns = self.take()?;
            self.replace(&columns)?;
        }
        Ok(late)
    }

    fn accumulate(&mut self, rows: &Rows, slots: &[usize]) -> Result<(), DataFusionError> {
        let groups = self.timeline.slots();
        let inputs = rows.arguments.iter().zip(&rows.filters);
        for (accumulator, (arguments, filter)) in self.accumulators.iter_mut().zip(inputs) {
            accumulator.update_batch(arguments, slots, filter.as_ref(), groups)?;
        }
        Ok(())
    }

    /// The windows that have ended, if there are any.
    ///
    /// Accumulators cannot give the values of some groups and keep the others, so this costs a look
    /// at all open windows: their states are taken, and those that go on merged into new ones.
    pub(super) fn close(&mut self, watermark: i64) -> Result<Option<Ended>, OperatorError> {
        if !self.timeline.has_ended(watermark) {
            return Ok(None);
        }
        let fates = self.timeline.fates(watermark);
        let columns = self.take()?;
        let those = |wanted: Fate| {
            let are: BooleanArray = fates.iter().map(|fate| Some(*fate == wanted)).collect();
            filter_record_batch(&columns, &are)
        };
        let (ended, open) = (those(Fate::Ended)?, those(Fate::Open)?);
        self.replace(&open)?;
        self.changed = true;
        if ended.num_rows() == 0 {
            return Ok(None);
        }
        let mut closing = Bucket::new(&self.shape)?;
        closing.absorb(&ended)?;
        closing.finish().map(Some)
    }

    fn finish(mut self) -> Result<Ended, OperatorError> {
        let parts = self.timeline.parts();
        let mut keys = taken(&mut self.keys, parts.iter().map(|part| part.key))?;
        keys.extend(taken(&mut self.values, parts.iter().map(|part| part.value))?);
        let values = self.accumulators.iter_mut().map(|one| one.evaluate(EmitTo::All));
        let values = values.collect::<Result<_, _>>()?;
        let starts = parts.iter().map(|part| part.start).collect();
        let ends = parts.iter().map(|part| self.shape.end(part)).collect();
        Ok(Ended { keys, starts, ends, values })
    }

    /// The whole of it as columns, if it has changed since the last call.
    pub(super) fn take_changed(&mut self) -> Result<Option<RecordBatch>, OperatorError> {
        if !std::mem::take(&mut self.changed) {
            return Ok(None);
        }
        let columns = self.take()?;
        self.replace(&columns)?;
        Ok(Some(columns))
    }

    /// Adds windows that [`Bucket::take_changed`] gave, of this bucket or of another.
    pub(super) fn absorb(&mut self, state: &RecordBatch) -> Result<(), OperatorError> {
        let (rows, shape) = (state.num_rows(), Arc::clone(&self.shape));
        let columns = shape.columns(state)?;
        let keys = intern(&mut self.keys, columns.keys, rows)?;
        let values = intern(&mut self.values, columns.value, rows)?;
        let starts = columns.starts.as_primitive::<Int64Type>().values();
        let reached = columns.reached.as_primitive::<Int64Type>().values();
        let number = |place: usize| u32::try_from(place).expect("state has a limit far below");
        let mut slots = Vec::with_capacity(rows);
        for (row, (start, reached)) in starts.iter().zip(reached).enumerate() {
            let (key, value) = (number(keys[row]), number(values[row]));
            let part = Part { key, start: *start, reached: *reached, value };
            slots.extend(self.timeline.restore(part));
        }
        let (groups, mut states) = (self.timeline.slots(), columns.aggregates);
        for (accumulator, width) in self.accumulators.iter_mut().zip(&shape.layout.widths) {
            let (of_this, rest) = states.split_at(*width);
            accumulator.merge_batch(of_this, &slots, groups)?;
            states = rest;
        }
        Ok(())
    }

    /// That these windows were not in the last snapshot of this bucket.
    pub(super) fn set_changed(&mut self) {
        self.changed = true;
    }

    /// A row for each slot; the accumulators are of no use afterwards. What a restart would do
    /// happens whenever windows close or are stored, and cannot differ from it.
    fn take(&mut self) -> Result<RecordBatch, OperatorError> {
        let parts = self.timeline.parts();
        // Some accumulators cannot say that they have none.
        if parts.is_empty() {
            return Ok(RecordBatch::new_empty(SchemaRef::clone(&self.shape.state)));
        }
        let starts = Int64Array::from_iter_values(parts.iter().map(|part| part.start));
        let reached = Int64Array::from_iter_values(parts.iter().map(|part| part.reached));
        let mut columns: Vec<ArrayRef> = vec![Arc::new(starts), Arc::new(reached)];
        columns.extend(taken(&mut self.keys, parts.iter().map(|part| part.key))?);
        columns.extend(taken(&mut self.values, parts.iter().map(|part| part.value))?);
        for accumulator in &mut self.accumulators {
            columns.extend(accumulator.state(EmitTo::All)?);
        }
        Ok(RecordBatch::try_new(SchemaRef::clone(&self.shape.state), columns)?)
    }

    /// Makes it anew from these columns.
    fn replace(&mut self, columns: &RecordBatch) -> Result<(), OperatorError> {
        let mut fresh = Bucket::new(&self.shape)?;
        fresh.absorb(columns)?;
        (fresh.stored_bytes, fresh.changed) = (self.stored_bytes, self.changed);
        *self = fresh;
        Ok(())
    }
}

/// The number of what stands in each row; 0 where there are no columns.
pub(super) fn intern(
    known: &mut Option<Box<dyn GroupValues>>,
    columns: &[ArrayRef],
    rows: usize,
) -> Result<Vec<usize>, DataFusionError> {
    let mut places = Vec::with_capacity(rows);
    match known {
        Some(known) => known.intern(columns, &mut places)?,
        None => places.resize(rows, 0),
    }
    Ok(places)
}

/// What has these numbers.
fn taken(
    known: &mut Option<Box<dyn GroupValues>>,
    numbers: impl Iterator<Item = u32>,
) -> Result<Vec<ArrayRef>, OperatorError> {
    let Some(known) = known else { return Ok(Vec::new()) };
    let numbers = UInt32Array::from_iter_values(numbers);
    Ok(take_arrays(&known.emit(EmitTo::All)?, &numbers, None)?)
}
