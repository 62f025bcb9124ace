//! The open sessions of some of the keys, and their aggregates.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{filter_record_batch, not, take, take_arrays};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, Schema, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion::physical_plan::aggregates::order::GroupOrdering;

use super::timeline::{Part, Timeline};
use crate::error::OperatorError;
use crate::operator::window::pane::{Aggregate, Layout, Rows};

/// What all buckets of one operator have in common.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) layout: Layout,
    pub(super) gap_micros: i64,
    /// Times of the first and of the last row, the keys, then the state of each aggregate.
    state: SchemaRef,
}

impl Shape {
    pub(super) fn new(layout: Layout, gap_micros: i64) -> Shape {
        let time = |name| Arc::new(Field::new(name, DataType::Int64, false));
        let times: [FieldRef; 2] = [time("start"), time("last")];
        let fields = times.into_iter().chain(layout.state.fields().iter().cloned());
        let state = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Shape { layout, gap_micros, state }
    }

    fn holds(&self, state: &RecordBatch) -> bool {
        let wanted = self.state.fields().iter().map(|field| field.data_type());
        wanted.eq(state.columns().iter().map(|column| column.data_type()))
    }

    /// The columns of the keys in stored state.
    pub(super) fn keys<'a>(&self, state: &'a RecordBatch) -> Result<&'a [ArrayRef], OperatorError> {
        if !self.holds(state) {
            let reason = "its columns are others than those of the query".to_owned();
            return Err(OperatorError::State { reason });
        }
        Ok(&state.columns()[2..2 + self.layout.keys.fields().len()])
    }
}

/// Sessions that have ended.
pub(super) struct Ended {
    pub(super) keys: Vec<ArrayRef>,
    pub(super) starts: Vec<i64>,
    /// Times of their last rows.
    pub(super) lasts: Vec<i64>,
    pub(super) values: Vec<ArrayRef>,
}

pub(super) struct Bucket {
    shape: Arc<Shape>,
    /// `None` if there are no keys.
    keys: Option<Box<dyn GroupValues>>,
    /// A session's slot is its group.
    accumulators: Vec<Box<dyn GroupsAccumulator>>,
    timeline: Timeline,
    /// Whether sessions are others than in the last snapshot.
    changed: bool,
    /// What it takes in the stored state; 0 if it is not there.
    pub(super) stored_bytes: usize,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("sessions", &self.sessions()).finish_non_exhaustive()
    }
}

impl Bucket {
    pub(super) fn new(shape: &Arc<Shape>) -> Result<Bucket, DataFusionError> {
        let keys = SchemaRef::clone(&shape.layout.keys);
        let has_keys = !keys.fields().is_empty();
        let keys = has_keys.then(|| new_group_values(keys, &GroupOrdering::None)).transpose()?;
        let accumulators = shape.layout.aggregates.iter().map(Aggregate::accumulator);
        let accumulators = accumulators.collect::<Result<_, _>>()?;
        let timeline = Timeline::new(shape.gap_micros);
        let shape = Arc::clone(shape);
        Ok(Bucket { shape, keys, accumulators, timeline, changed: false, stored_bytes: 0 })
    }

    /// How many sessions are open.
    pub(super) fn sessions(&self) -> usize {
        self.timeline.sessions()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sessions() == 0
    }

    /// Takes rows in; returns how many of them came late.
    pub(super) fn update(
        &mut self,
        times: &[i64],
        rows: Rows,
        watermark: i64,
    ) -> Result<u64, OperatorError> {
        let keys = self.intern(&rows.keys, times.len())?;
        let (mut slots, mut late) = (Vec::with_capacity(times.len()), Vec::new());
        for (row, (key, time)) in (0u32..).zip(keys.into_iter().zip(times)) {
            match self.timeline.place(key, *time, *time, watermark) {
                Some(slot) => slots.push(slot),
                None => late.push(row),
            }
        }
        let rows = if late.is_empty() { rows } else { without(&rows, &late)? };
        if !slots.is_empty() {
            let groups = self.timeline.slots();
            let inputs = rows.arguments.iter().zip(&rows.filters);
            for (accumulator, (arguments, filter)) in self.accumulators.iter_mut().zip(inputs) {
                accumulator.update_batch(arguments, &slots, filter.as_ref(), groups)?;
            }
            self.changed = true;
        }
        if self.timeline.is_sparse() {
            let columns = self.take()?;
            self.replace(&columns)?;
        }
        Ok(late.len() as u64)
    }

    /// The sessions that have ended, if there are any.
    ///
    /// Accumulators cannot give the values of some groups and keep the others, so this costs a look
    /// at all open sessions: their states are taken, and those that go on merged into new ones.
    pub(super) fn close(&mut self, watermark: i64) -> Result<Option<Ended>, OperatorError> {
        if !self.timeline.has_ended(watermark) {
            return Ok(None);
        }
        let columns = self.take()?;
        let gap = self.shape.gap_micros;
        let lasts = columns.column(1).as_primitive::<Int64Type>().values();
        let ended = lasts.iter().map(|last| Some(last.saturating_add(gap) <= watermark));
        let ended: BooleanArray = ended.collect();
        let mut closing = Bucket::new(&self.shape)?;
        closing.absorb(&filter_record_batch(&columns, &ended)?)?;
        self.replace(&filter_record_batch(&columns, &not(&ended)?)?)?;
        self.changed = true;
        closing.finish().map(Some)
    }

    fn finish(mut self) -> Result<Ended, OperatorError> {
        let (keys, parts) = self.take_keys()?;
        let values = self.accumulators.iter_mut().map(|one| one.evaluate(EmitTo::All));
        let values = values.collect::<Result<_, _>>()?;
        let starts = parts.iter().map(|part| part.start).collect();
        Ok(Ended { keys, starts, lasts: parts.iter().map(|part| part.last).collect(), values })
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

    /// Adds sessions that [`Bucket::take_changed`] gave, of this bucket or of another.
    pub(super) fn absorb(&mut self, state: &RecordBatch) -> Result<(), OperatorError> {
        let rows = state.num_rows();
        let keys = self.intern(self.shape.clone().keys(state)?, rows)?;
        let starts = state.column(0).as_primitive::<Int64Type>().values();
        let lasts = state.column(1).as_primitive::<Int64Type>().values();
        let mut slots = Vec::with_capacity(rows);
        for (key, (start, last)) in keys.into_iter().zip(starts.iter().zip(lasts)) {
            slots.extend(self.timeline.place(key, *start, *last, i64::MIN));
        }
        let groups = self.timeline.slots();
        let mut states = &state.columns()[2 + self.shape.layout.keys.fields().len()..];
        for (accumulator, width) in self.accumulators.iter_mut().zip(&self.shape.layout.widths) {
            let (of_this, rest) = states.split_at(*width);
            accumulator.merge_batch(of_this, &slots, groups)?;
            states = rest;
        }
        Ok(())
    }

    /// That these sessions were not in the last snapshot of this bucket.
    pub(super) fn set_changed(&mut self) {
        self.changed = true;
    }

    /// A row for each slot; the accumulators are of no use afterwards. What a restart would do
    /// happens whenever sessions close or are stored, and cannot differ from it.
    fn take(&mut self) -> Result<RecordBatch, OperatorError> {
        let (keys, parts) = self.take_keys()?;
        let starts = Int64Array::from_iter_values(parts.iter().map(|part| part.start));
        let lasts = Int64Array::from_iter_values(parts.iter().map(|part| part.last));
        let mut columns: Vec<ArrayRef> = vec![Arc::new(starts), Arc::new(lasts)];
        columns.extend(keys);
        for accumulator in &mut self.accumulators {
            columns.extend(accumulator.state(EmitTo::All)?);
        }
        Ok(RecordBatch::try_new(SchemaRef::clone(&self.shape.state), columns)?)
    }

    /// The key and the times of each slot.
    fn take_keys(&mut self) -> Result<(Vec<ArrayRef>, Vec<Part>), OperatorError> {
        let parts: Vec<Part> = self.timeline.parts().collect();
        let Some(keys) = &mut self.keys else { return Ok((Vec::new(), parts)) };
        let places = UInt32Array::from_iter_values(parts.iter().map(|part| part.key));
        Ok((take_arrays(&keys.emit(EmitTo::All)?, &places, None)?, parts))
    }

    /// Makes it anew from these columns.
    fn replace(&mut self, columns: &RecordBatch) -> Result<(), OperatorError> {
        let mut fresh = Bucket::new(&self.shape)?;
        fresh.absorb(columns)?;
        (fresh.stored_bytes, fresh.changed) = (self.stored_bytes, self.changed);
        *self = fresh;
        Ok(())
    }

    /// The number of each row's key.
    fn intern(&mut self, keys: &[ArrayRef], rows: usize) -> Result<Vec<usize>, DataFusionError> {
        let mut places = Vec::with_capacity(rows);
        match &mut self.keys {
            Some(known) => known.intern(keys, &mut places)?,
            None => places.resize(rows, 0),
        }
        Ok(places)
    }
}

/// The rows but for some.
fn without(rows: &Rows, left_out: &[u32]) -> Result<Rows, OperatorError> {
    let all = 0..u32::try_from(rows.len).expect("batches have at most some thousand rows");
    let kept = all.filter(|row| left_out.binary_search(row).is_err());
    let kept = UInt32Array::from_iter_values(kept);
    let columns = |columns: &Vec<ArrayRef>| take_arrays(columns, &kept, None);
    let filters = rows.filters.iter().map(|filter| match filter {
        None => Ok(None),
        Some(filter) => Ok(Some(take(filter, &kept, None)?.as_boolean().clone())),
    });
    let filters = filters.collect::<Result<_, OperatorError>>()?;
    let arguments = rows.arguments.iter().map(columns).collect::<Result<_, _>>()?;
    Ok(Rows { len: kept.len(), keys: columns(&rows.keys)?, arguments, filters })
}
