//! `GROUP BY` without a window: each group's values over all rows so far, given out again and again.
//!
//! All groups are kept, in buckets by a hash of their keys: what a step, and a snapshot, has to take
//! out of accumulators and put back is a bucket with groups that have changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::physical_expr::PhysicalExpr;

use super::buckets::divided;
use super::window::Aggregate;
use super::window::pane::{Layout, Pane};
use super::window::rows::{Evaluated, row_of_nulls};
use super::{Explain, Operator, Out, STATE_BYTES, StateReader, StateWriter};
use crate::emit::Emit;
use crate::error::OperatorError;
use crate::watermark::EventTime;

/// The keys of a `GROUP BY`.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) exprs: Vec<Arc<dyn PhysicalExpr>>,
    /// The key that stands in each column of the answer in front of the aggregates.
    pub(crate) columns: Vec<usize>,
    /// Columns of the answer: keys, then aggregates.
    pub(crate) output: SchemaRef,
}

#[derive(Debug)]
pub(crate) struct RunningAggregate {
    of: Keys,
    emit: Emit,
    layout: Arc<Layout>,
    buckets: BTreeMap<i64, Pane>,
    /// Buckets that are in the stored state alone.
    gone: Vec<i64>,
    watermark: Option<EventTime>,
    limit_bytes: usize,
}

impl RunningAggregate {
    /// `input` is what rows come in as.
    pub(crate) fn new(
        of: Keys,
        emit: Emit,
        aggregates: Vec<Aggregate>,
        input: &Schema,
    ) -> Result<RunningAggregate, DataFusionError> {
        let layout = Arc::new(Layout::with_fresh(&of.exprs, aggregates, input)?);
        let (buckets, gone, watermark) = (BTreeMap::new(), Vec::new(), None);
        let limit_bytes = STATE_BYTES;
        Ok(RunningAggregate { of, emit, layout, buckets, gone, watermark, limit_bytes })
    }

    /// Runs every step once on a row of nulls, so that an aggregate that cannot be stored, or
    /// taken up again, is found when the query is planned.
    pub(crate) fn rehearse(&self, input: &Schema) -> Result<(), OperatorError> {
        let rows = self.evaluate(&row_of_nulls(input)?)?.slice(0..1)?;
        Pane::rehearse(&self.layout, &rows)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<Evaluated, OperatorError> {
        Evaluated::in_buckets(&self.of.exprs, &self.layout.aggregates, batch)
    }

    fn bucket(&mut self, number: i64) -> Result<&mut Pane, DataFusionError> {
        use std::collections::btree_map::Entry;
        Ok(match self.buckets.entry(number) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(free) => free.insert(Pane::new(&self.layout)?),
        })
    }

    /// The groups that have changed, each once.
    fn give_out(&mut self, out: &mut Out) -> Result<(), OperatorError> {
        let mut answers = Vec::new();
        for bucket in self.buckets.values_mut().filter(|bucket| bucket.is_fresh()) {
            let mut changed = Pane::new(&self.layout)?;
            changed.merge(bucket.fresh()?.columns())?;
            bucket.settle()?;
            let (keys, aggregates) = changed.finish()?;
            let keys = self.of.columns.iter().map(|key| ArrayRef::clone(&keys[*key]));
            let columns = keys.chain(aggregates).collect();
            answers.push(RecordBatch::try_new(SchemaRef::clone(&self.of.output), columns)?);
        }
        if !answers.is_empty() {
            out.push(concat_batches(&self.of.output, &answers)?);
        }
        Ok(())
    }

    fn stored_bytes(&self) -> usize {
        self.buckets.values().map(|bucket| bucket.stored().bytes()).sum()
    }
}

impl Operator for RunningAggregate {
    fn has_state(&self) -> bool {
        true
    }

    fn explain(&self) -> Explain {
        let keys: Vec<_> = self.of.exprs.iter().map(ToString::to_string).collect();
        let by = if keys.is_empty() { String::new() } else { format!(" by {}", keys.join(", ")) };
        let aggregates = self.layout.aggregates.iter().map(|one| one.function.name());
        let aggregates = aggregates.collect::<Vec<_>>().join(", ");
        Explain {
            what: format!("all rows so far{by}: {aggregates}{}", self.emit.explained()),
            keeps: "each group with its aggregates".to_owned(),
            until: format!("never; at {} bytes the job stops", self.limit_bytes),
        }
    }

    fn state_bytes(&self) -> usize {
        self.stored_bytes()
    }

    fn holds(&self) -> String {
        format!("{} groups", self.buckets.values().map(Pane::groups).sum::<usize>())
    }

    fn on_batch(&mut self, _: usize, batch: RecordBatch, _: &mut Out) -> Result<(), OperatorError> {
        let mut rows = self.evaluate(&batch)?;
        rows.sort_by_pane()?;
        for (bucket, range) in rows.panes() {
            self.bucket(bucket)?.update(&rows.slice(range)?, true)?;
        }
        Ok(())
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Out) -> Result<(), OperatorError> {
        let before = self.watermark.replace(watermark).map(EventTime::micros);
        if self.emit.is_due(before, watermark.micros()) {
            self.give_out(out)?;
        }
        Ok(())
    }

    fn on_step_end(&mut self, out: &mut Out) -> Result<(), OperatorError> {
        if self.emit == Emit::Changes { self.give_out(out) } else { Ok(()) }
    }

    fn resume(&mut self, watermark: EventTime) -> Result<(), OperatorError> {
        self.watermark = Some(watermark);
        Ok(())
    }

    fn snapshot(&mut self, state: &mut StateWriter<'_>) -> Result<(), OperatorError> {
        for number in self.gone.drain(..) {
            state.remove(number);
        }
        for (number, bucket) in &mut self.buckets {
            bucket.snapshot(*number, state)?;
        }
        let (used_bytes, limit_bytes) = (self.stored_bytes(), self.limit_bytes);
        if used_bytes <= limit_bytes {
            return Ok(());
        }
        let groups = self.buckets.values().map(Pane::groups).sum();
        Err(OperatorError::GroupsFull { groups, used_bytes, limit_bytes })
    }

    fn restore(&mut self, state: &StateReader<'_>) -> Result<(), OperatorError> {
        let (mut stored_bytes, mut has_moved) = (BTreeMap::new(), false);
        for entry in state.entries() {
            let (number, columns, bytes) = entry?;
            stored_bytes.insert(number, bytes);
            for (bucket, groups) in divided(self.layout.keys_of(&columns)?, &columns)? {
                has_moved |= bucket != number;
                self.bucket(bucket)?.absorb(groups.columns())?;
            }
        }
        for (number, bytes) in stored_bytes {
            match self.buckets.get_mut(&number) {
                Some(bucket) => bucket.note_stored(None, bytes),
                None => self.gone.push(number),
            }
        }
        if has_moved {
            self.buckets.values_mut().for_each(Pane::set_changed);
        }
        Ok(())
    }
}
