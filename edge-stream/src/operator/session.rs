//! `GROUP BY` over session windows: rows of one key that are less than a gap apart.
//!
//! What sessions are open lies in buckets by the hash of their keys, so that a session that ends,
//! and a snapshot, cost the size of a bucket and not that of all.

mod bucket;
mod rows;
mod timeline;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::physical_expr::PhysicalExpr;

use super::buckets::divided;
use super::window::pane::Layout;
use super::window::rows::{Evaluated, row_of_nulls};
use super::window::{Aggregate, GroupColumn};
use super::{Explain, Operator, Out, STATE_BYTES, StateReader, StateWriter};
use crate::error::OperatorError;
use crate::watermark::EventTime;
use bucket::{Bucket, Ended, Shape};
use rows::sort_by_bucket;

/// The sessions and the keys of a `GROUP BY`.
#[derive(Debug)]
pub(crate) struct Sessions {
    /// Gives the time of each row.
    pub(crate) time: Arc<dyn PhysicalExpr>,
    /// Rows are of one session if they are less than this apart.
    pub(crate) gap_micros: i64,
    /// They close so long behind their end, as rows may come until then.
    pub(crate) hold_micros: i64,
    pub(crate) columns: Vec<GroupColumn>,
    pub(crate) keys: Vec<Arc<dyn PhysicalExpr>>,
    /// Columns of the answer: groups, then aggregates.
    pub(crate) output: SchemaRef,
}

#[derive(Debug)]
pub(crate) struct SessionAggregate {
    of: Sessions,
    shape: Arc<Shape>,
    /// Those in which sessions are open.
    buckets: BTreeMap<i64, Bucket>,
    /// Buckets that are empty now, and are still in the stored state.
    emptied: Vec<i64>,
    watermark: i64,
    limit_bytes: usize,
}

impl SessionAggregate {
    /// `input` is what rows come in as.
    pub(crate) fn new(
        of: Sessions,
        aggregates: Vec<Aggregate>,
        input: &Schema,
    ) -> Result<SessionAggregate, DataFusionError> {
        let layout = Layout::new(&of.keys, aggregates, input)?;
        let shape = Arc::new(Shape::new(layout, of.gap_micros));
        let (buckets, emptied) = (BTreeMap::new(), Vec::new());
        let (watermark, limit_bytes) = (i64::MIN, STATE_BYTES);
        Ok(SessionAggregate { of, shape, buckets, emptied, watermark, limit_bytes })
    }

    /// Runs every step once on a row of nulls, so that an aggregate that cannot be stored, or
    /// taken up again, is found when the query is planned.
    pub(crate) fn rehearse(&self, input: &Schema) -> Result<(), OperatorError> {
        let rows = self.evaluate(&row_of_nulls(input)?)?.slice(0..1)?;
        let mut bucket = Bucket::new(&self.shape)?;
        bucket.update(&[0], rows, i64::MIN)?;
        bucket.take_changed()?;
        // Not as an answer, whose columns may be declared to be without nulls.
        bucket.close(i64::MAX).map(drop)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<Evaluated, OperatorError> {
        Evaluated::new(&self.of.time, &self.of.keys, &self.shape.layout.aggregates, batch)
    }

    fn bucket(&mut self, number: i64) -> Result<&mut Bucket, DataFusionError> {
        Ok(match self.buckets.entry(number) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(free) => free.insert(Bucket::new(&self.shape)?),
        })
    }

    fn answer(&self, ended: Ended) -> Result<RecordBatch, OperatorError> {
        let Ended { keys, starts, lasts, values } = ended;
        let end = |last: &i64| last.saturating_add(self.of.gap_micros);
        let mut columns = Vec::new();
        for (place, group) in self.of.columns.iter().enumerate() {
            let times = match group {
                GroupColumn::Key(key) => {
                    columns.push(ArrayRef::clone(&keys[*key]));
                    continue;
                }
                GroupColumn::WindowStart => starts.clone(),
                GroupColumn::WindowEnd => lasts.iter().map(end).collect(),
            };
            let zone = match self.of.output.field(place).data_type() {
                DataType::Timestamp(_, zone) => zone.clone(),
                _ => None,
            };
            let times = TimestampMicrosecondArray::from(times).with_timezone_opt(zone);
            columns.push(Arc::new(times));
        }
        columns.extend(values);
        Ok(RecordBatch::try_new(SchemaRef::clone(&self.of.output), columns)?)
    }

    fn held(&self, watermark: EventTime) -> i64 {
        watermark.micros().saturating_sub(self.of.hold_micros)
    }

    fn check_size(&self) -> Result<(), OperatorError> {
        let used_bytes = self.buckets.values().map(|bucket| bucket.stored_bytes).sum();
        if used_bytes <= self.limit_bytes {
            return Ok(());
        }
        let groups = self.buckets.values().map(Bucket::sessions).sum();
        Err(OperatorError::StateFull { groups, used_bytes, limit_bytes: self.limit_bytes })
    }

    /// Drops buckets without sessions.
    fn drop_empty(&mut self) {
        let emptied = &mut self.emptied;
        self.buckets.retain(|number, bucket| {
            if bucket.is_empty() && bucket.stored_bytes > 0 {
                emptied.push(*number);
            }
            !bucket.is_empty()
        });
    }
}

impl Operator for SessionAggregate {
    fn has_state(&self) -> bool {
        true
    }

    fn explain(&self) -> Explain {
        let gap = Duration::from_micros(self.of.gap_micros.unsigned_abs());
        let keys: Vec<_> = self.of.keys.iter().map(ToString::to_string).collect();
        let by = if keys.is_empty() { String::new() } else { format!(" by {}", keys.join(", ")) };
        let aggregates = self.shape.layout.aggregates.iter().map(|one| one.function.name());
        let aggregates = aggregates.collect::<Vec<_>>().join(", ");
        Explain {
            what: format!("sessions with gaps of {gap:?}{by}: {aggregates}"),
            keeps: "each open session with its aggregates".to_owned(),
            until: "the watermark is a gap behind its last row".to_owned(),
        }
    }

    fn holds(&self) -> String {
        format!("{} sessions", self.buckets.values().map(Bucket::sessions).sum::<usize>())
    }

    fn state_bytes(&self) -> usize {
        self.buckets.values().map(|bucket| bucket.stored_bytes).sum()
    }

    fn on_batch(
        &mut self,
        _: usize,
        batch: RecordBatch,
        out: &mut Out,
    ) -> Result<(), OperatorError> {
        let mut rows = self.evaluate(&batch)?;
        let watermark = self.watermark;
        for (number, range) in sort_by_bucket(&mut rows)? {
            let times = &rows.starts()[range.clone()];
            let bucket = self.bucket(number)?;
            out.late += bucket.update(times, rows.slice(range)?, watermark)?;
        }
        Ok(())
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Out) -> Result<(), OperatorError> {
        self.watermark = self.held(watermark);
        let (mut answers, mut ends) = (Vec::new(), Vec::new());
        let mut ended = Vec::new();
        for bucket in self.buckets.values_mut() {
            ended.extend(bucket.close(self.watermark)?);
        }
        for ended in ended {
            ends.extend(ended.lasts.iter().copied());
            answers.push(self.answer(ended)?);
        }
        if !answers.is_empty() {
            // In the order of their ends, whatever buckets they lay in.
            let mut order: Vec<u32> = (0u32..).take(ends.len()).collect();
            order.sort_by_key(|row| ends[*row as usize]);
            let answer = concat_batches(&self.of.output, &answers)?;
            out.push(take_record_batch(&answer, &UInt32Array::from(order))?);
        }
        self.drop_empty();
        Ok(())
    }

    fn watermark_out(&self, watermark: EventTime) -> EventTime {
        EventTime::from_micros(self.held(watermark))
    }

    fn snapshot(&mut self, state: &mut StateWriter<'_>) -> Result<(), OperatorError> {
        for number in self.emptied.drain(..) {
            state.remove(number);
        }
        for (number, bucket) in &mut self.buckets {
            if let Some(columns) = bucket.take_changed()? {
                bucket.stored_bytes = state.put(*number, &columns)?;
            }
        }
        self.check_size()
    }

    fn restore(&mut self, state: &StateReader<'_>) -> Result<(), OperatorError> {
        let (mut stored_bytes, mut has_moved) = (BTreeMap::new(), false);
        for entry in state.entries() {
            let (number, columns, bytes) = entry?;
            stored_bytes.insert(number, bytes);
            for (bucket, sessions) in divided(self.shape.keys(&columns)?, &columns)? {
                has_moved |= bucket != number;
                self.bucket(bucket)?.absorb(&sessions)?;
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
