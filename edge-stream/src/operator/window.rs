//! `GROUP BY` over a tumbling window: one pane of groups for each window that is open.

mod pane;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array,
    new_null_array,
};
use arrow::compute::{concat_batches, take};
use arrow::datatypes::{DataType, Schema, SchemaRef, TimestampMicrosecondType};
use datafusion::common::cast::as_boolean_array;
use datafusion::error::DataFusionError;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::scalar::ScalarValue;

pub(crate) use pane::Aggregate;
use pane::{Layout, Pane, Rows};

use super::{Operator, Out, StateReader, StateWriter};
use crate::error::OperatorError;
use crate::watermark::EventTime;

/// State of the open windows of one operator; beyond, the job stops and says so. The rows of a
/// window take some three times its state, and all of them go into one batch of edge-db, which
/// takes 64 MiB.
const STATE_BYTES: usize = 16 * 1024 * 1024;

/// What stands in one column of the answer in front of the aggregates.
#[derive(Debug, Clone)]
pub(crate) enum GroupColumn {
    WindowStart,
    WindowEnd,
    /// A key of the group, by its place among the keys.
    Key(usize),
}

/// The window and the keys of a `GROUP BY`.
#[derive(Debug)]
pub(crate) struct Grouping {
    /// Gives the start of each row's window.
    pub(crate) window_start: Arc<dyn PhysicalExpr>,
    pub(crate) size_micros: i64,
    pub(crate) columns: Vec<GroupColumn>,
    pub(crate) keys: Vec<Arc<dyn PhysicalExpr>>,
    /// Columns of the answer: groups, then aggregates.
    pub(crate) output: SchemaRef,
}

#[derive(Debug)]
pub(crate) struct WindowAggregate {
    of: Grouping,
    layout: Arc<Layout>,
    /// By the start of their window. Behind the watermark there are none.
    open: BTreeMap<i64, Pane>,
    /// Windows that were closed and are still in the stored state.
    closed: Vec<i64>,
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
        let layout = Layout::new(&of.keys, aggregates, input)?;
        let layout = Arc::new(layout);
        let (open, closed) = (BTreeMap::new(), Vec::new());
        let limit_bytes = STATE_BYTES;
        Ok(WindowAggregate { of, layout, open, closed, watermark: None, limit_bytes })
    }

    /// Runs every step once on a row of nulls, so that an aggregate that cannot be stored, or
    /// taken up again, is found when the query is planned.
    pub(crate) fn rehearse(&self, input: &Schema) -> Result<(), OperatorError> {
        let fields = input.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let columns = schema.fields().iter().map(|field| new_null_array(field.data_type(), 1));
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let columns = columns.collect();
        let nulls = RecordBatch::try_new_with_options(schema, columns, &options)?;
        let mut pane = Pane::new(&self.layout)?;
        pane.update(&self.evaluate(&nulls)?.slice(0..1)?)?;
        pane.take_changed()?;
        self.answer(0, pane).map(drop)
    }

    fn is_closed(&self, start: i64) -> bool {
        let end = start.saturating_add(self.of.size_micros);
        self.watermark.is_some_and(|watermark| end <= watermark.micros())
    }

    /// All expressions of the operator, for the whole batch at once.
    fn evaluate(&self, batch: &RecordBatch) -> Result<Evaluated, OperatorError> {
        let rows = batch.num_rows();
        let column = |expr: &Arc<dyn PhysicalExpr>| expr.evaluate(batch)?.into_array(rows);
        let columns = |exprs: &[Arc<dyn PhysicalExpr>]| {
            exprs.iter().map(column).collect::<Result<Vec<_>, DataFusionError>>()
        };
        let (mut arguments, mut filters) = (Vec::new(), Vec::new());
        for aggregate in &self.layout.aggregates {
            arguments.push(columns(&aggregate.arguments)?);
            filters.push(aggregate.filter.as_ref().map(column).transpose()?);
        }
        let starts = column(&self.of.window_start)?;
        Ok(Evaluated { starts, keys: columns(&self.of.keys)?, arguments, filters })
    }

    /// The answer of one window.
    fn answer(&self, start: i64, pane: Pane) -> Result<RecordBatch, OperatorError> {
        let (keys, aggregates) = pane.finish()?;
        let rows = aggregates.first().or(keys.first()).map_or(1, |column| column.len());
        let mut columns = Vec::new();
        for (place, group) in self.of.columns.iter().enumerate() {
            let time = match group {
                GroupColumn::Key(key) => {
                    columns.push(ArrayRef::clone(&keys[*key]));
                    continue;
                }
                GroupColumn::WindowStart => start,
                GroupColumn::WindowEnd => start.saturating_add(self.of.size_micros),
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

    fn check_size(&self) -> Result<(), OperatorError> {
        let used_bytes = self.open.values().map(|pane| pane.stored_bytes).sum();
        if used_bytes <= self.limit_bytes {
            return Ok(());
        }
        let groups = self.open.values().map(Pane::groups).sum();
        Err(OperatorError::StateFull { groups, used_bytes, limit_bytes: self.limit_bytes })
    }
}

impl Operator for WindowAggregate {
    fn has_state(&self) -> bool {
        true
    }

    fn on_batch(
        &mut self,
        _: usize,
        batch: RecordBatch,
        out: &mut Out,
    ) -> Result<(), OperatorError> {
        let mut rows = self.evaluate(&batch)?;
        rows.sort_by_window()?;
        for (start, range) in rows.windows() {
            if self.is_closed(start) {
                out.late += range.len() as u64;
                continue;
            }
            let pane = match self.open.entry(start) {
                std::collections::btree_map::Entry::Occupied(open) => open.into_mut(),
                std::collections::btree_map::Entry::Vacant(free) => {
                    free.insert(Pane::new(&self.layout)?)
                }
            };
            pane.update(&rows.slice(range)?)?;
        }
        Ok(())
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Out) -> Result<(), OperatorError> {
        self.watermark = Some(watermark);
        let mut answers = Vec::new();
        while let Some((&start, _)) = self.open.first_key_value() {
            if !self.is_closed(start) {
                break;
            }
            let Some((_, pane)) = self.open.pop_first() else { break };
            if pane.stored_bytes > 0 {
                self.closed.push(start);
            }
            answers.push(self.answer(start, pane)?);
        }
        if !answers.is_empty() {
            out.push(concat_batches(&self.of.output, &answers)?);
        }
        Ok(())
    }

    fn snapshot(&mut self, state: &mut StateWriter<'_>) -> Result<(), OperatorError> {
        for start in self.closed.drain(..) {
            state.remove(start);
        }
        for (start, pane) in &mut self.open {
            if let Some(columns) = pane.take_changed()? {
                pane.stored_bytes = state.put(*start, &columns)?;
            }
        }
        self.check_size()
    }

    fn restore(&mut self, state: &StateReader<'_>) -> Result<(), OperatorError> {
        for entry in state.entries() {
            let (start, columns, stored_bytes) = entry?;
            let mut pane = Pane::restore(&self.layout, columns.columns())?;
            pane.stored_bytes = stored_bytes;
            self.open.insert(start, pane);
        }
        Ok(())
    }
}

/// What the expressions gave for one batch.
struct Evaluated {
    starts: ArrayRef,
    keys: Vec<ArrayRef>,
    arguments: Vec<Vec<ArrayRef>>,
    filters: Vec<Option<ArrayRef>>,
}

impl Evaluated {
    fn starts(&self) -> &[i64] {
        self.starts.as_primitive::<TimestampMicrosecondType>().values()
    }

    /// Brings rows of one window together, in the order in which they came. Rows mostly come in
    /// that order, and then this costs one look at each.
    fn sort_by_window(&mut self) -> Result<(), OperatorError> {
        let starts = self.starts();
        if starts.is_sorted() {
            return Ok(());
        }
        let rows = u32::try_from(starts.len()).expect("batches have at most some thousand rows");
        let mut order: Vec<u32> = (0..rows).collect();
        order.sort_by_key(|row| starts[*row as usize]);
        let order = UInt32Array::from(order);
        let arguments = self.arguments.iter_mut().flatten();
        let filters = self.filters.iter_mut().flatten();
        let starts = std::iter::once(&mut self.starts);
        for column in starts.chain(&mut self.keys).chain(arguments).chain(filters) {
            *column = take(&*column, &order, None)?;
        }
        Ok(())
    }

    /// Each window's start and rows.
    fn windows(&self) -> Vec<(i64, std::ops::Range<usize>)> {
        let mut end = 0;
        let runs = self.starts().chunk_by(|a, b| a == b);
        runs.map(|run| {
            end += run.len();
            (run[0], end - run.len()..end)
        })
        .collect()
    }

    fn slice(&self, range: std::ops::Range<usize>) -> Result<Rows, OperatorError> {
        let (from, len) = (range.start, range.len());
        let slice = |column: &ArrayRef| column.slice(from, len);
        let slices = |columns: &Vec<ArrayRef>| columns.iter().map(slice).collect();
        let filters = self.filters.iter().map(|filter| match filter {
            None => Ok(None),
            Some(filter) => as_boolean_array(&slice(filter)).cloned().map(Some),
        });
        let filters = filters.collect::<Result<Vec<Option<BooleanArray>>, DataFusionError>>()?;
        let arguments = self.arguments.iter().map(slices).collect();
        Ok(Rows { len, keys: slices(&self.keys), arguments, filters })
    }
}
