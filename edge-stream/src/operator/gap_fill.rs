//! Windows without rows, for the keys that were seen: with the last value, with one on the line
//! between its neighbours, or with NULL.
//!
//! It stands behind the operator of the windows, whose answers come in their order, and its
//! watermark is the start of the next one.

mod keys;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, RecordBatch, TimestampMicrosecondArray, UInt32Array,
    new_null_array,
};
use arrow::compute::{concat_batches, filter_record_batch, is_not_null, take_record_batch};
use arrow::datatypes::{DataType, SchemaRef, TimestampMicrosecondType};
use datafusion::error::DataFusionError;
use datafusion::physical_expr::PhysicalExpr;

use self::keys::{Filled, Keys, Named};
use super::{Explain, Operator, Out, STATE_BYTES, StateReader, StateWriter};
use crate::error::OperatorError;
use crate::watermark::EventTime;

/// Rows that come out at once when event time goes on after all keys were silent: for each key one
/// for each window that may be filled. They go into one batch of edge-db, which takes 64 MiB.
const MAX_ROWS: usize = 500_000;

/// What is filled, and how.
#[derive(Debug)]
pub(crate) struct Gaps {
    /// From one window to the next.
    pub(crate) size_micros: i64,
    /// So many windows are filled behind the last one of a key that had rows; then it is let go.
    pub(crate) windows: i64,
    /// What the columns of the input are.
    pub(crate) columns: Vec<GapColumn>,
    pub(crate) fills: Vec<Fill>,
    pub(crate) input: SchemaRef,
    /// The columns of the input, then one for each of the fills.
    pub(crate) output: SchemaRef,
}

/// What a column of the windows' answers is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum GapColumn {
    WindowStart,
    WindowEnd,
    Key,
    /// Is NULL where there were no rows.
    Value,
}

/// The column that says which window an answer is of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WindowColumn {
    pub(crate) place: usize,
    /// How far its times lie behind the starts of the windows.
    behind: i64,
}

impl WindowColumn {
    /// Of these columns, one of which is a bound of the windows.
    pub(crate) fn of(columns: &[GapColumn], size_micros: i64) -> WindowColumn {
        let place = |wanted| columns.iter().position(|column| *column == wanted);
        let start = place(GapColumn::WindowStart).map(|place| WindowColumn { place, behind: 0 });
        let end = place(GapColumn::WindowEnd);
        start
            .or(end.map(|place| WindowColumn { place, behind: size_micros }))
            .expect("gaps are those of windows that are grouped by")
    }

    /// The starts of the windows.
    pub(crate) fn starts(&self, batch: &RecordBatch) -> Vec<i64> {
        let times = batch.column(self.place).as_primitive::<TimestampMicrosecondType>();
        times.iter().flatten().map(|time| time.saturating_sub(self.behind)).collect()
    }
}

/// How a window without rows gets a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Filling {
    /// That of the last window with rows.
    Last,
    /// On the line between those of the windows with rows in front of it and behind it.
    Linear,
}

#[derive(Debug, Clone)]
pub(crate) struct Fill {
    pub(crate) how: Filling,
    /// Its value where there are rows; of an f64 if it is linear.
    pub(crate) argument: Arc<dyn PhysicalExpr>,
}

#[derive(Debug)]
pub(crate) struct GapFill {
    of: Gaps,
    window: WindowColumn,
    keys: Keys,
    /// Answers that have come since event time moved last.
    arrived: Vec<RecordBatch>,
    /// The start of the first window that is not filled yet, once a key is known.
    reached: Option<i64>,
}

/// Answers of windows, with the columns of the fills, and what they say of their keys.
struct Answers {
    batch: RecordBatch,
    starts: Vec<i64>,
    keys: Vec<Named>,
}

impl GapFill {
    pub(crate) fn new(of: Gaps) -> Result<GapFill, DataFusionError> {
        let keys = Keys::new(&of)?;
        let window = WindowColumn::of(&of.columns, of.size_micros);
        Ok(GapFill { of, window, keys, arrived: Vec::new(), reached: None })
    }

    fn is_linear(&self) -> bool {
        self.of.fills.iter().any(|fill| fill.how == Filling::Linear)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<Answers, OperatorError> {
        let rows = batch.num_rows();
        let mut columns = batch.columns().to_vec();
        let (mut carried, mut points) = (Vec::new(), Vec::new());
        for fill in &self.of.fills {
            let values = fill.argument.evaluate(batch)?.into_array(rows)?;
            match fill.how {
                Filling::Last => carried.push(ArrayRef::clone(&values)),
                Filling::Linear => points.push(ArrayRef::clone(&values)),
            }
            columns.push(values);
        }
        let names: Vec<_> = self
            .columns(GapColumn::Key)
            .map(|place| ArrayRef::clone(batch.column(place)))
            .collect();
        let starts = self.window.starts(batch);
        let keys = self.keys.read(&starts, &names, &carried, &points)?;
        let batch = RecordBatch::try_new(SchemaRef::clone(&self.of.output), columns)?;
        Ok(Answers { batch, starts, keys })
    }

    /// The places of columns of a kind.
    fn columns(&self, kind: GapColumn) -> impl Iterator<Item = usize> {
        let places = self.of.columns.iter().enumerate();
        places.filter(move |(_, column)| **column == kind).map(|(place, _)| place)
    }

    /// Fills the windows in front of `to`.
    fn fill_to(&mut self, to: i64, filled: &mut Vec<Filled>) {
        let Some(mut window) = self.reached else { return };
        while window < to && !self.keys.is_empty() {
            self.keys.fill(window, filled);
            window = window.saturating_add(self.of.size_micros);
        }
        self.reached = Some(window.max(to));
    }

    /// Takes answers, and fills what is open in front of them.
    fn take(
        &mut self,
        windows: &[i64],
        keys: Vec<Named>,
        filled: &mut Vec<Filled>,
    ) -> Result<(), OperatorError> {
        for (window, (name, key)) in windows.iter().zip(keys) {
            if self.reached.is_none_or(|reached| reached < *window) {
                self.fill_to(*window, filled);
                self.reached = Some(*window);
            }
            self.keys.report(name, key, filled);
        }
        self.keys.check_rows(MAX_ROWS)
    }

    /// The rows of windows that had none.
    fn batch_of(&self, filled: &[Filled]) -> Result<RecordBatch, OperatorError> {
        let mut names = self.keys.names(filled)?.into_iter();
        let mut carried = self.keys.carried(filled)?.into_iter();
        let mut columns: Vec<ArrayRef> = Vec::new();
        for (column, field) in self.of.columns.iter().zip(self.of.input.fields()) {
            columns.push(match column {
                GapColumn::WindowStart => times(filled, 0, field.data_type()),
                GapColumn::WindowEnd => times(filled, self.of.size_micros, field.data_type()),
                GapColumn::Key => names.next().expect("there is one for each key"),
                GapColumn::Value => new_null_array(field.data_type(), filled.len()),
            });
        }
        let mut points = 0..;
        for fill in &self.of.fills {
            columns.push(match fill.how {
                Filling::Last => carried.next().expect("there is one for each fill"),
                Filling::Linear => {
                    let place = points.next().expect("there is no end of numbers");
                    let values = filled.iter().map(|row| row.points[place]);
                    Arc::new(values.collect::<Float64Array>())
                }
            });
        }
        Ok(RecordBatch::try_new(SchemaRef::clone(&self.of.output), columns)?)
    }

    /// Both, in the order of their windows.
    fn in_order(
        &self,
        answers: Option<RecordBatch>,
        filled: &[Filled],
    ) -> Result<Option<RecordBatch>, OperatorError> {
        if filled.is_empty() {
            return Ok(answers);
        }
        let batches: Vec<_> = answers.into_iter().chain([self.batch_of(filled)?]).collect();
        let all = concat_batches(&self.of.output, &batches)?;
        let starts = self.window.starts(&all);
        let mut order: Vec<u32> = (0u32..).take(starts.len()).collect();
        order.sort_by_key(|row| starts[*row as usize]);
        Ok(Some(take_record_batch(&all, &UInt32Array::from(order))?))
    }
}

fn times(filled: &[Filled], behind: i64, kind: &DataType) -> ArrayRef {
    let times = filled.iter().map(|row| row.window.saturating_add(behind));
    let zone = match kind {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    };
    Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone_opt(zone))
}

impl Operator for GapFill {
    fn has_state(&self) -> bool {
        true
    }

    fn explain(&self) -> Explain {
        let fields = self.of.output.fields().iter().map(|field| field.name().as_str());
        let fills: Vec<_> = fields.skip(self.of.columns.len()).collect();
        let size = self.of.size_micros.saturating_mul(self.of.windows);
        let silent = Duration::from_micros(size.unsigned_abs());
        let with = if fills.is_empty() { "NULL".to_owned() } else { fills.join(", ") };
        Explain {
            what: format!("fill windows without rows: {with}"),
            keeps: "for each key its last window with rows, and the values of that".to_owned(),
            until: format!("the key had no rows for {silent:?}"),
        }
    }

    fn holds(&self) -> String {
        format!("{} keys", self.keys.len())
    }

    fn state_bytes(&self) -> usize {
        self.keys.stored_bytes()
    }

    fn on_batch(&mut self, _: usize, batch: RecordBatch, _: &mut Out) -> Result<(), OperatorError> {
        // In a bounded query rows may have no time.
        let times = batch.column(self.window.place);
        self.arrived.push(match times.null_count() {
            0 => batch,
            _ => filter_record_batch(&batch, &is_not_null(times)?)?,
        });
        Ok(())
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Out) -> Result<(), OperatorError> {
        let (mut filled, mut answers) = (Vec::new(), None);
        let arrived = std::mem::take(&mut self.arrived);
        if !arrived.is_empty() {
            let rows = self.evaluate(&concat_batches(&self.of.input, &arrived)?)?;
            self.take(&rows.starts, rows.keys, &mut filled)?;
            answers = Some(rows.batch);
        }
        self.fill_to(watermark.micros(), &mut filled);
        if let Some(batch) = self.in_order(answers, &filled)? {
            out.push(batch);
        }
        Ok(())
    }

    fn resume(&mut self, watermark: EventTime) -> Result<(), OperatorError> {
        self.reached = (!self.keys.is_empty()).then_some(watermark.micros());
        Ok(())
    }

    /// Windows between two with rows come when the second does.
    fn watermark_out(&self, watermark: EventTime) -> EventTime {
        let behind = if self.is_linear() { self.of.windows } else { 0 };
        let behind = self.of.size_micros.saturating_mul(behind);
        EventTime::from_micros(watermark.micros().saturating_sub(behind))
    }

    fn snapshot(&mut self, state: &mut StateWriter<'_>) -> Result<(), OperatorError> {
        debug_assert!(self.arrived.is_empty(), "event time moves with each answer");
        self.keys.snapshot(state, STATE_BYTES)
    }

    fn restore(&mut self, state: &StateReader<'_>) -> Result<(), OperatorError> {
        self.keys.restore(state)
    }
}
