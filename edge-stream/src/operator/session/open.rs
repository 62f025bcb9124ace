//! The open windows of all keys. They lie in buckets by the hash of their keys, so that a window that
//! ends, and a snapshot, cost the size of a bucket and not that of all.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::physical_expr::PhysicalExpr;

use super::bucket::{Bucket, Ended};
use super::rows::sort_by_bucket;
use super::shape::Shape;
use super::timeline::Division;
use crate::error::OperatorError;
use crate::operator::buckets::divided;
use crate::operator::window::pane::Layout;
use crate::operator::window::rows::{Evaluated, row_of_nulls};
use crate::operator::window::{Aggregate, GroupColumn};
use crate::operator::{Out, StateWriter};
use crate::watermark::EventTime;

/// A `GROUP BY` over windows that each key has of its own.
#[derive(Debug, Clone)]
pub(crate) struct Grouped {
    /// Gives the time of each row.
    pub(crate) time: Arc<dyn PhysicalExpr>,
    /// What rows open and close windows by.
    pub(crate) deciding: Vec<Arc<dyn PhysicalExpr>>,
    /// Windows close so much later, as rows may come until then.
    pub(crate) hold_micros: i64,
    pub(crate) columns: Vec<GroupColumn>,
    pub(crate) keys: Vec<Arc<dyn PhysicalExpr>>,
    pub(crate) aggregates: Vec<Aggregate>,
    /// Columns of the answer: groups, then aggregates.
    pub(crate) output: SchemaRef,
}

impl Grouped {
    pub(in crate::operator) fn held(&self, watermark: EventTime) -> EventTime {
        EventTime::from_micros(watermark.micros().saturating_sub(self.hold_micros))
    }

    /// The keys and the aggregates in words.
    pub(in crate::operator) fn text(&self) -> String {
        let keys: Vec<_> = self.keys.iter().map(ToString::to_string).collect();
        let by = if keys.is_empty() { String::new() } else { format!(" by {}", keys.join(", ")) };
        let aggregates = self.aggregates.iter().map(|one| one.function.name());
        format!("{by}: {}", aggregates.collect::<Vec<_>>().join(", "))
    }
}

#[derive(Debug)]
pub(in crate::operator) struct OpenWindows {
    of: Grouped,
    shape: Arc<Shape>,
    /// Those in which windows are open.
    buckets: BTreeMap<i64, Bucket>,
    /// Buckets that are empty now, and are still in the stored state.
    emptied: Vec<i64>,
}

impl OpenWindows {
    /// `input` is what rows come in as.
    pub(in crate::operator) fn new(
        of: Grouped,
        division: Division,
        input: &Schema,
    ) -> Result<OpenWindows, DataFusionError> {
        let layout = Layout::new(&of.keys, of.aggregates.clone(), input)?;
        let value = match of.deciding.as_slice() {
            [value] => Some(value.data_type(input)?),
            _ => None,
        };
        let shape = Arc::new(Shape::new(layout, division, value));
        Ok(OpenWindows { of, shape, buckets: BTreeMap::new(), emptied: Vec::new() })
    }

    pub(in crate::operator) fn rehearse(&self, input: &Schema) -> Result<(), OperatorError> {
        let rows = self.evaluate(&row_of_nulls(input)?)?.slice(0..1)?;
        Bucket::rehearse(&self.shape, &rows)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<Evaluated, OperatorError> {
        let rows = Evaluated::new(&self.of.time, &self.of.keys, &self.of.aggregates, batch)?;
        rows.with_deciding(&self.of.deciding, batch)
    }

    /// Takes rows in; returns how many of them came late.
    pub(in crate::operator) fn take_in(
        &mut self,
        batch: &RecordBatch,
        watermark: EventTime,
    ) -> Result<u64, OperatorError> {
        let (mut rows, mut late) = (self.evaluate(batch)?, 0);
        for (number, range) in sort_by_bucket(&mut rows)? {
            let times = &rows.starts()[range.clone()];
            let bucket = self.bucket(number)?;
            late += bucket.update(times, &rows.slice(range)?, watermark.micros())?;
        }
        Ok(late)
    }

    fn bucket(&mut self, number: i64) -> Result<&mut Bucket, DataFusionError> {
        Ok(match self.buckets.entry(number) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(free) => free.insert(Bucket::new(&self.shape)?),
        })
    }

    /// Gives out windows that have ended, in the order of their ends, whatever buckets they lay in.
    pub(in crate::operator) fn close(
        &mut self,
        watermark: EventTime,
        out: &mut Out,
    ) -> Result<(), OperatorError> {
        let (mut answers, mut ends) = (Vec::new(), Vec::new());
        let mut ended = Vec::new();
        for bucket in self.buckets.values_mut() {
            ended.extend(bucket.close(watermark.micros())?);
        }
        for ended in ended {
            ends.extend(ended.ends.iter().copied());
            answers.push(self.answer(ended)?);
        }
        if !answers.is_empty() {
            let mut order: Vec<u32> = (0u32..).take(ends.len()).collect();
            order.sort_by_key(|row| ends[*row as usize]);
            let answer = concat_batches(&self.of.output, &answers)?;
            out.push(take_record_batch(&answer, &UInt32Array::from(order))?);
        }
        self.drop_empty();
        Ok(())
    }

    fn answer(&self, ended: Ended) -> Result<RecordBatch, OperatorError> {
        let Ended { keys, starts, ends, values } = ended;
        let mut columns = Vec::new();
        for (place, group) in self.of.columns.iter().enumerate() {
            let times = match group {
                GroupColumn::Key(key) => {
                    columns.push(ArrayRef::clone(&keys[*key]));
                    continue;
                }
                GroupColumn::WindowStart => &starts,
                GroupColumn::WindowEnd => &ends,
            };
            let zone = match self.of.output.field(place).data_type() {
                DataType::Timestamp(_, zone) => zone.clone(),
                _ => None,
            };
            let times = TimestampMicrosecondArray::from(times.clone()).with_timezone_opt(zone);
            columns.push(Arc::new(times));
        }
        columns.extend(values);
        Ok(RecordBatch::try_new(SchemaRef::clone(&self.of.output), columns)?)
    }

    /// Drops buckets without windows.
    fn drop_empty(&mut self) {
        let emptied = &mut self.emptied;
        self.buckets.retain(|number, bucket| {
            if bucket.is_empty() && bucket.stored_bytes > 0 {
                emptied.push(*number);
            }
            !bucket.is_empty()
        });
    }

    /// How many windows are open.
    pub(in crate::operator) fn windows(&self) -> usize {
        self.buckets.values().map(Bucket::windows).sum()
    }

    pub(in crate::operator) fn stored_bytes(&self) -> usize {
        self.buckets.values().map(|bucket| bucket.stored_bytes).sum()
    }

    /// Writes the buckets that have changed, each under the key of its number.
    pub(in crate::operator) fn store(
        &mut self,
        state: &mut StateWriter<'_>,
        key: impl Fn(i64) -> i64,
    ) -> Result<(), OperatorError> {
        for number in self.emptied.drain(..) {
            state.remove(key(number));
        }
        for (number, bucket) in &mut self.buckets {
            if let Some(columns) = bucket.take_changed()? {
                bucket.stored_bytes = state.put(key(*number), &columns)?;
            }
        }
        Ok(())
    }

    /// Takes over all buckets that were stored: their numbers, columns and bytes.
    pub(in crate::operator) fn restore(
        &mut self,
        stored: impl Iterator<Item = Result<(i64, RecordBatch, usize), OperatorError>>,
    ) -> Result<(), OperatorError> {
        let (mut stored_bytes, mut has_moved) = (BTreeMap::new(), false);
        for entry in stored {
            let (number, columns, bytes) = entry?;
            stored_bytes.insert(number, bytes);
            for (bucket, windows) in divided(self.shape.columns(&columns)?.keys, &columns)? {
                has_moved |= bucket != number;
                self.bucket(bucket)?.absorb(&windows)?;
            }
        }
        for (number, bytes) in stored_bytes {
            match self.buckets.get_mut(&number) {
                Some(bucket) => bucket.stored_bytes = bytes,
                None => self.emptied.push(number),
            }
        }
        if has_moved {
            self.buckets.values_mut().for_each(Bucket::set_changed);
        }
        Ok(())
    }
}
