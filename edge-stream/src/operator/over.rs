//! `OVER (PARTITION BY .. ORDER BY event time ..)`: rows in order of event time, with values of
//! functions over the rows of the same key in front of them.
//!
//! A row waits until the watermark has passed it. So the answer does not depend on the order in
//! which rows come; only those of one point in time stay in the order in which they came.

mod carried;
mod frame;
mod function;
mod history;
mod keys;
mod stored;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::array::{RecordBatchOptions, new_null_array};
use arrow::compute::{cast, concat, take};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::row::SortField;
use datafusion::error::DataFusionError;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::scalar::ScalarValue;

pub(crate) use frame::Frame;
pub(crate) use function::{Aggregate, Function, reports};
use history::History;
use keys::Keys;
use stored::{Kind, Types};

use super::pending::{Ordered, order_by};
use super::state::{Passed, columns_as, expect};
use super::waiting::{Waiting, in_unit};
use super::{Explain, Operator, Out, STATE_BYTES, StateReader, StateWriter};
use crate::error::OperatorError;
use crate::watermark::EventTime;

/// Keys whose carried values are stored together.
const BUCKET: u32 = 64;

/// What is computed for each row.
#[derive(Debug)]
pub(crate) struct Ordering {
    /// The event time.
    pub(crate) time: Arc<dyn PhysicalExpr>,
    pub(crate) keys: Vec<Arc<dyn PhysicalExpr>>,
    /// Arguments of all functions.
    pub(crate) arguments: Vec<Arc<dyn PhysicalExpr>>,
    pub(crate) input: SchemaRef,
    /// The columns of the input, then one for each function.
    pub(crate) output: SchemaRef,
}

#[derive(Debug)]
pub(crate) struct Over {
    of: Ordering,
    types: Types,
    waiting: Waiting,
    keys: Keys,
    history: History,
    /// Rows in front of it have been given out.
    emitted: Passed,
    /// Keys with new rows since the last snapshot.
    changed: BTreeSet<u32>,
    /// Bytes of each bucket in the stored state.
    carried_bytes: Vec<usize>,
    rows_since_sweep: usize,
    limit_bytes: usize,
}

impl Over {
    pub(crate) fn new(of: Ordering, functions: Vec<Function>) -> Result<Over, DataFusionError> {
        let DataType::Timestamp(unit, _) = of.time.data_type(&of.input)? else {
            return datafusion::common::plan_err!("the event time is no TIMESTAMP");
        };
        let types = Types::new(&of, &functions)?;
        let fields = types.keys.iter().cloned().map(SortField::new).collect();
        let keys = Keys::new(functions, fields, of.arguments.len())?;
        let waiting = Waiting::new(Arc::clone(&of.time), unit);
        Ok(Over {
            of,
            types,
            waiting,
            keys,
            history: History::default(),
            emitted: Passed::default(),
            changed: BTreeSet::new(),
            carried_bytes: Vec::new(),
            rows_since_sweep: 0,
            limit_bytes: STATE_BYTES,
        })
    }

    /// Computes a row of nulls, so that a function that cannot run, or be stored, is found when
    /// the query is planned. The operator is used up by it.
    pub(crate) fn rehearse(mut self) -> Result<(), OperatorError> {
        let nulls = self.types.pending.iter().map(|kind| new_null_array(kind, 2));
        let rows = RecordBatch::try_new(nullable(&self.of.input), nulls.collect())?;
        self.of.output = nullable(&self.of.output);
        self.answer(&Ordered { rows, times: vec![0, 1].into() }, i64::MIN)?;
        if self.keys.carries {
            let carried = self.carried(0..1)?;
            self.restore_carried(&carried)?;
        }
        Ok(())
    }

    fn columns(
        exprs: &[Arc<dyn PhysicalExpr>],
        batch: &RecordBatch,
    ) -> Result<Vec<ArrayRef>, DataFusionError> {
        let rows = batch.num_rows();
        exprs.iter().map(|expr| expr.evaluate(batch)?.into_array(rows)).collect()
    }

    /// Rows with the values of the functions.
    fn answer(&mut self, ready: &Ordered, watermark: i64) -> Result<RecordBatch, OperatorError> {
        let rows = ready.rows.num_rows();
        let keys = Self::columns(&self.of.keys, &ready.rows)?;
        let arguments = Self::columns(&self.of.arguments, &ready.rows)?;
        let places = self.keys.places_of(&keys, rows)?;
        let order = order_by(&places);
        let arguments = arguments.iter().map(|column| take(column, &order, None));
        let arguments = arguments.collect::<Result<Vec<_>, _>>()?;
        let times: Vec<_> = order.values().iter().map(|row| ready.times[*row as usize]).collect();
        let mut values: Vec<Vec<ArrayRef>> = vec![Vec::new(); self.keys.functions.len()];
        let mut end = 0;
        let place = |row: &u32| places[*row as usize];
        for run in order.values().chunk_by(|a, b| place(a) == place(b)) {
            let (rows, place) = (end..end + run.len(), place(&run[0]));
            end = rows.end;
            let slice = |column: &ArrayRef| column.slice(rows.start, rows.len());
            let own: Vec<_> = arguments.iter().map(slice).collect();
            let computed = self.keys.evaluate(place, &own, &times[rows.clone()])?;
            values.iter_mut().zip(computed).for_each(|(all, own)| all.push(own));
            self.changed.insert(place);
            self.keys.trim(place, watermark, |number| self.history.gone(number))?;
        }
        self.rows_since_sweep += rows;
        let back = inverse(&order);
        let mut columns = ready.rows.columns().to_vec();
        for values in &values {
            let values: Vec<&dyn Array> = values.iter().map(AsRef::as_ref).collect();
            let values = take(&concat(&values)?, &back, None)?;
            columns.push(cast(&values, self.of.output.field(columns.len()).data_type())?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let output = SchemaRef::clone(&self.of.output);
        Ok(RecordBatch::try_new_with_options(output, columns, &options)?)
    }

    /// Lets go of what silent keys keep, once as many rows have come as there are keys.
    fn sweep(&mut self, watermark: i64) -> Result<(), OperatorError> {
        if self.keys.keep.range.is_none() || self.rows_since_sweep < self.keys.len() {
            return Ok(());
        }
        self.rows_since_sweep = 0;
        for place in self.keys.places() {
            self.keys.trim(place, watermark, |number| self.history.gone(number))?;
        }
        Ok(())
    }

    /// The keys at these places, and what they carry.
    fn carried(&mut self, places: std::ops::Range<u32>) -> Result<RecordBatch, OperatorError> {
        let names = places.clone().map(|place| &*self.keys.get(place).bytes);
        let mut columns = self.keys.columns_of(names)?;
        let types = &self.types.arguments;
        for number in 0..self.keys.functions.len() {
            let mut all: Vec<Vec<ScalarValue>> = vec![Vec::new(); self.types.carried[number].len()];
            for place in places.clone() {
                let state = self.keys.state(place, number, types)?;
                all.iter_mut().zip(state).for_each(|(all, value)| all.push(value));
            }
            for values in all {
                columns.push(ScalarValue::iter_to_array(values)?);
            }
        }
        Ok(columns_as(columns)?)
    }

    fn restore_carried(&mut self, batch: &RecordBatch) -> Result<(), OperatorError> {
        let types: Vec<_> =
            self.types.keys.iter().chain(self.types.carried.iter().flatten()).cloned().collect();
        expect(batch, &types)?;
        let (names, mut rest) = batch.columns().split_at(self.types.keys.len());
        let places = self.keys.places_of(names, batch.num_rows())?;
        for (number, types) in self.types.carried.iter().enumerate() {
            let (own, behind) = rest.split_at(types.len());
            rest = behind;
            for (row, place) in places.iter().enumerate() {
                self.keys.get_mut(*place).carried[number].restore(own, row)?;
            }
        }
        Ok(())
    }

    fn store_carried(&mut self, state: &mut StateWriter<'_>) -> Result<(), OperatorError> {
        if !self.keys.carries {
            return Ok(());
        }
        let buckets: BTreeSet<_> = self.changed.iter().map(|place| place / BUCKET).collect();
        let keys = u32::try_from(self.keys.len()).expect("places are 32 bits wide");
        for bucket in buckets {
            let first = bucket * BUCKET;
            let batch = self.carried(first..keys.min(first + BUCKET))?;
            let bytes = state.put(Kind::Carried.key(bucket.into()), &batch)?;
            let bucket = bucket as usize;
            self.carried_bytes.resize(self.carried_bytes.len().max(bucket + 1), 0);
            self.carried_bytes[bucket] = bytes;
        }
        Ok(())
    }

    fn stored_bytes(&self) -> usize {
        let carried: usize = self.carried_bytes.iter().sum();
        self.waiting.stored_bytes() + self.history.stored_bytes() + carried
    }

    fn check_size(&self) -> Result<(), OperatorError> {
        let used_bytes = self.stored_bytes();
        if used_bytes <= self.limit_bytes {
            return Ok(());
        }
        let (waiting, keys) = (self.waiting.rows(), self.keys.len());
        let limit_bytes = self.limit_bytes;
        Err(OperatorError::RowsFull { waiting, keys, used_bytes, limit_bytes })
    }
}

impl Operator for Over {
    fn explain(&self) -> Explain {
        let new = self.of.output.fields().iter().skip(self.of.input.fields().len());
        let names: Vec<_> = new.map(|field| field.name().as_str()).collect();
        let until = match (self.keys.carries, self.keys.keep.rows, self.keys.keep.range) {
            (false, 0, Some(_)) => "the watermark has passed the frame".to_owned(),
            _ => "the job ends; rows that wait go with the watermark".to_owned(),
        };
        Explain {
            what: format!("OVER in order of event time: {}", names.join(", ")),
            keeps: "rows until the watermark; for each key its last rows and values".to_owned(),
            until,
        }
    }

    fn holds(&self) -> String {
        format!("{} keys and {} rows that wait", self.keys.len(), self.waiting.rows())
    }

    fn state_bytes(&self) -> usize {
        self.stored_bytes()
    }

    fn has_state(&self) -> bool {
        true
    }

    fn on_batch(
        &mut self,
        _: usize,
        batch: RecordBatch,
        out: &mut Out,
    ) -> Result<(), OperatorError> {
        self.waiting.push(batch, self.emitted.at, out)
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Out) -> Result<(), OperatorError> {
        self.emitted.at = Some(watermark);
        let before = in_unit(watermark, self.waiting.unit);
        if let Some(ready) = self.waiting.take(watermark)? {
            out.push(self.answer(&ready, before)?);
        }
        self.sweep(before)
    }

    fn snapshot(&mut self, state: &mut StateWriter<'_>) -> Result<(), OperatorError> {
        self.emitted.store(state, Kind::Emitted.key(0))?;
        self.store_carried(state)?;
        let changed = std::mem::take(&mut self.changed);
        self.history.store(&self.keys, changed.into_iter(), |rows, number| {
            state.put_or_remove(Kind::History.key(number), rows)
        })?;
        self.waiting.store(state, |number| Kind::Pending.key(number))?;
        self.check_size()
    }

    fn restore(&mut self, state: &StateReader<'_>) -> Result<(), OperatorError> {
        let (mut segments, mut pieces) = (Vec::new(), Vec::new());
        for entry in state.entries() {
            let (key, batch, bytes) = entry?;
            let (kind, number) = Kind::of(key)?;
            match kind {
                Kind::Emitted => self.emitted.restore(&batch)?,
                Kind::Carried => {
                    self.restore_carried(&batch)?;
                    self.carried_bytes.push(bytes);
                }
                Kind::History => segments.push((number, batch, bytes)),
                Kind::Pending => pieces.push((number, batch, bytes)),
            }
        }
        self.history.restore(&mut self.keys, &self.types.history, &segments)?;
        let emitted = self.emitted.at.map(|emitted| in_unit(emitted, self.waiting.unit));
        let watermark = emitted.unwrap_or(i64::MIN);
        for place in self.keys.places() {
            self.keys.trim(place, watermark, |number| self.history.gone(number))?;
        }
        for (number, batch, bytes) in pieces {
            expect(&batch, &self.types.pending)?;
            self.waiting.restore(number, batch, self.emitted.at, bytes)?;
        }
        Ok(())
    }
}

fn nullable(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter();
    let fields = fields.map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn inverse(order: &UInt32Array) -> UInt32Array {
    let mut back = vec![0; order.len()];
    for (place, row) in (0..).zip(order.values()) {
        back[*row as usize] = place;
    }
    UInt32Array::from(back)
}
