//! `JOIN` of two streams within an interval of time: each side keeps its rows for as long as
//! partners may come, and no longer.
//!
//! A pair comes out when the later of the two arrives. A row of a `LEFT JOIN` that has found no
//! partner comes out when the watermark says that none will come. A row behind the watermark is
//! late, and left out: its partners may have gone.

mod chunk;
mod side;
mod stored;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::{cast, filter_record_batch, take_record_batch};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::row::{RowConverter, SortField};
use datafusion::common::cast::as_boolean_array;
use datafusion::error::DataFusionError;
use datafusion::physical_expr::PhysicalExpr;
use side::{Held, Side};

use super::{Explain, Operator, Out, StateReader, StateWriter};
use crate::error::OperatorError;
use crate::watermark::EventTime;

/// What the rows that wait on both sides may take. What a checkpoint writes is new rows of at most
/// this, and one batch of edge-db takes 64 MiB.
const STATE_BYTES: usize = 32 * 1024 * 1024;

/// Pairs that are put together at a time: a key with many rows on both sides makes the product.
const PAIRS: usize = 8192;

const LEFT: usize = 0;
const RIGHT: usize = 1;

/// What a side of the join is told by.
#[derive(Debug)]
pub(crate) struct SidePlan {
    /// Equal in both sides, and of the same types.
    pub(crate) keys: Vec<Arc<dyn PhysicalExpr>>,
    /// The event time of a row.
    pub(crate) time: Arc<dyn PhysicalExpr>,
    pub(crate) schema: SchemaRef,
}

/// The condition of a join.
#[derive(Debug)]
pub(crate) struct JoinPlan {
    pub(crate) sides: [SidePlan; 2],
    /// A partner's time less that of the left row is at least this, and at most `upper_micros`.
    pub(crate) lower_micros: i64,
    pub(crate) upper_micros: i64,
    /// What else must hold for a pair, over the columns of both.
    pub(crate) filter: Option<Arc<dyn PhysicalExpr>>,
    /// Whether left rows without a partner come out too.
    pub(crate) is_outer: bool,
    /// Columns of the left, then of the right.
    pub(crate) output: SchemaRef,
}

#[derive(Debug)]
pub(crate) struct IntervalJoin {
    plan: JoinPlan,
    converter: RowConverter,
    sides: [Side; 2],
    /// Rows of an outer join that have no partner yet: time and number.
    lonely: BTreeSet<(i64, u64)>,
    watermark: Option<EventTime>,
    stored_watermark: Option<EventTime>,
    limit_bytes: usize,
}

/// Rows that came in together, without those that are late.
#[derive(Debug)]
struct Arrived {
    rows: RecordBatch,
    keys: Vec<Option<Box<[u8]>>>,
    times: Vec<i64>,
}

/// A row that came in, by its place, and one that waited for it.
type Pair = (u32, Held);

impl IntervalJoin {
    pub(crate) fn new(plan: JoinPlan) -> Result<IntervalJoin, DataFusionError> {
        let left = &plan.sides[LEFT];
        let fields = left.keys.iter().map(|key| Ok(SortField::new(key.data_type(&left.schema)?)));
        let converter = RowConverter::new(fields.collect::<Result<_, DataFusionError>>()?)?;
        let sides = [Side::new(&left.schema), Side::new(&plan.sides[RIGHT].schema)];
        let (watermark, stored_watermark) = (None, None);
        let (lonely, limit_bytes) = (BTreeSet::new(), STATE_BYTES);
        Ok(IntervalJoin {
            plan,
            converter,
            sides,
            lonely,
            watermark,
            stored_watermark,
            limit_bytes,
        })
    }

    /// The times between which partners of a row lie.
    fn partners(&self, input: usize, time: i64) -> (i64, i64) {
        let (lower, upper) = (self.plan.lower_micros, self.plan.upper_micros);
        match input {
            LEFT => (time.saturating_add(lower), time.saturating_add(upper)),
            _ => (time.saturating_sub(upper), time.saturating_sub(lower)),
        }
    }

    /// The time in front of which rows of a side can find no partner any more.
    fn expired(&self, side: usize) -> i64 {
        let watermark = self.watermark.map_or(i64::MIN, EventTime::micros);
        match side {
            LEFT => watermark.saturating_sub(self.plan.upper_micros),
            _ => watermark.saturating_add(self.plan.lower_micros),
        }
    }

    /// Keys and times of rows; a key with a null in it equals none.
    fn arrived(&self, input: usize, rows: RecordBatch) -> Result<Arrived, OperatorError> {
        let (plan, count) = (&self.plan.sides[input], rows.num_rows());
        let keys = plan.keys.iter().map(|key| key.evaluate(&rows)?.into_array(count));
        let keys = keys.collect::<Result<Vec<ArrayRef>, DataFusionError>>()?;
        let times = plan.time.evaluate(&rows)?.into_array(count)?;
        let times = cast(&times, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let times = times.iter().map(|time| time.unwrap_or(i64::MIN)).collect();
        if keys.is_empty() {
            return Ok(Arrived { rows, keys: vec![Some(Box::default()); count], times });
        }
        let bytes = self.converter.convert_columns(&keys)?;
        let is_null = |row: usize| keys.iter().any(|key| key.is_null(row));
        let key = |row: usize| Some(Box::from(bytes.row(row).as_ref()));
        let keys = (0..count).map(|row| if is_null(row) { None } else { key(row) }).collect();
        Ok(Arrived { rows, keys, times })
    }

    /// Without what is late, and what can be in no pair: that need not be kept.
    fn wanted(&self, input: usize, came: Arrived, out: &mut Out) -> Result<Arrived, OperatorError> {
        let watermark = self.watermark.map_or(i64::MIN, EventTime::micros);
        let is_kept = self.plan.is_outer && input == LEFT;
        let mut places = Vec::with_capacity(came.times.len());
        for (place, (time, key)) in (0u32..).zip(came.times.iter().zip(&came.keys)) {
            if *time < watermark {
                out.late += 1;
            } else if key.is_some() || is_kept {
                places.push(place);
            }
        }
        let Arrived { rows, mut keys, times } = came;
        let of = |place: &u32| *place as usize;
        let times = places.iter().map(|place| times[of(place)]).collect();
        let keys = places.iter().map(|place| keys[of(place)].take()).collect();
        // A copy, even of all rows: others may hold the columns that these are a slice of.
        Ok(Arrived { rows: take_record_batch(&rows, &UInt32Array::from(places))?, keys, times })
    }

    /// Gives out the pairs of rows that came in with rows that waited for them; returns which of
    /// the left rows are in one.
    fn join(
        &mut self,
        input: usize,
        came: &Arrived,
        out: &mut Out,
    ) -> Result<Vec<bool>, OperatorError> {
        let mut has_partner = vec![false; came.times.len()];
        let mut pairs: Vec<Pair> = Vec::new();
        for (place, (time, key)) in (0u32..).zip(came.times.iter().zip(&came.keys)) {
            let Some(key) = key else { continue };
            let (from, to) = self.partners(input, *time);
            let mut next = 0;
            // In pieces, as one key may have most of the rows.
            loop {
                let held = self.sides[1 - input].between(key, from, to);
                let rest = held.get(next..).unwrap_or_default();
                let some = &rest[..rest.len().min(PAIRS - pairs.len())];
                pairs.extend(some.iter().map(|held| (place, *held)));
                next += some.len();
                let is_last = some.len() == rest.len();
                if pairs.len() == PAIRS {
                    self.give(input, came, &pairs, &mut has_partner, out)?;
                    pairs.clear();
                }
                if is_last {
                    break;
                }
            }
        }
        self.give(input, came, &pairs, &mut has_partner, out)?;
        Ok(has_partner)
    }

    fn give(
        &mut self,
        input: usize,
        came: &Arrived,
        pairs: &[Pair],
        has_partner: &mut [bool],
        out: &mut Out,
    ) -> Result<(), OperatorError> {
        if pairs.is_empty() {
            return Ok(());
        }
        let places: UInt32Array = pairs.iter().map(|(place, _)| Some(*place)).collect();
        let new = take_record_batch(&came.rows, &places)?;
        let old = self.sides[1 - input].rows(pairs.iter().map(|(_, held)| held.number))?;
        let (left, right) = if input == LEFT { (new, old) } else { (old, new) };
        let columns = left.columns().iter().chain(right.columns()).cloned().collect();
        let mut joined = RecordBatch::try_new(SchemaRef::clone(&self.plan.output), columns)?;
        let mut holds = vec![true; pairs.len()];
        if let Some(filter) = &self.plan.filter {
            let mask = filter.evaluate(&joined)?.into_array(joined.num_rows())?;
            let mask = as_boolean_array(&mask)?;
            joined = filter_record_batch(&joined, mask)?;
            holds = mask.iter().map(|holds| holds == Some(true)).collect();
        }
        for ((place, held), _) in pairs.iter().zip(holds).filter(|(_, holds)| *holds) {
            has_partner[*place as usize] = true;
            if input == RIGHT && self.lonely.remove(&(held.time, held.number)) {
                self.sides[LEFT].touch(held.number);
            }
        }
        out.push(joined);
        Ok(())
    }

    /// Keeps rows for partners that come later.
    fn keep(
        &mut self,
        input: usize,
        came: Arrived,
        has_partner: &[bool],
    ) -> Result<(), OperatorError> {
        let Arrived { rows, keys, times } = came;
        let is_outer = self.plan.is_outer && input == LEFT;
        let first = self.sides[input].add(rows, &keys, &times)?;
        if is_outer {
            for ((number, time), has_partner) in (first..).zip(&times).zip(has_partner) {
                if *has_partner {
                    self.sides[LEFT].touch(number);
                } else {
                    self.lonely.insert((*time, number));
                }
            }
        }
        let used_bytes = self.sides.iter().map(Side::bytes).sum();
        if used_bytes > self.limit_bytes {
            let rows = self.sides.iter().map(Side::len).sum();
            return Err(OperatorError::JoinFull {
                rows,
                used_bytes,
                limit_bytes: self.limit_bytes,
            });
        }
        Ok(())
    }

    /// Gives out left rows that will have no partner.
    fn give_lonely(&mut self, out: &mut Out) -> Result<(), OperatorError> {
        let expired = self.expired(LEFT);
        while self.lonely.first().is_some_and(|(time, _)| *time < expired) {
            let mut numbers = Vec::new();
            while numbers.len() < PAIRS
                && let Some((time, number)) = self.lonely.pop_first()
            {
                if time >= expired {
                    self.lonely.insert((time, number));
                    break;
                }
                numbers.push(number);
            }
            let left = self.sides[LEFT].rows(numbers.into_iter())?;
            let right = self.plan.output.fields().iter().skip(left.num_columns());
            let nulls = right.map(|field| new_null_array(field.data_type(), left.num_rows()));
            let columns = left.columns().iter().cloned().chain(nulls).collect();
            out.push(RecordBatch::try_new(SchemaRef::clone(&self.plan.output), columns)?);
        }
        Ok(())
    }
}

impl Operator for IntervalJoin {
    fn on_batch(
        &mut self,
        input: usize,
        batch: RecordBatch,
        out: &mut Out,
    ) -> Result<(), OperatorError> {
        let came = self.arrived(input, batch)?;
        let came = self.wanted(input, came, out)?;
        let has_partner = self.join(input, &came, out)?;
        self.keep(input, came, &has_partner)?;
        // Partners of a row may all lie behind the watermark when it comes.
        self.give_lonely(out)
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Out) -> Result<(), OperatorError> {
        self.watermark = Some(watermark);
        self.give_lonely(out)?;
        for side in [LEFT, RIGHT] {
            let expired = self.expired(side);
            self.sides[side].forget(expired);
        }
        Ok(())
    }

    /// A row that has waited comes out with its own time.
    fn watermark_out(&self, watermark: EventTime) -> EventTime {
        let back = self.plan.upper_micros.max(-self.plan.lower_micros).max(0);
        EventTime::from_micros(watermark.micros().saturating_sub(back))
    }

    fn has_state(&self) -> bool {
        true
    }

    fn explain(&self) -> Explain {
        let micros = |micros: i64| format!("{} s", micros as f64 / 1e6);
        let (lower, upper) = (micros(self.plan.lower_micros), micros(self.plan.upper_micros));
        let keys: Vec<_> = self.plan.sides[LEFT].keys.iter().map(ToString::to_string).collect();
        let by = if keys.is_empty() { String::new() } else { format!(" by {}", keys.join(", ")) };
        Explain {
            what: format!("join{by}, the right row {lower} to {upper} after the left one"),
            keeps: "the rows of both sides".to_owned(),
            until: "the watermark says that no partner can come".to_owned(),
        }
    }

    fn holds(&self) -> String {
        format!("{} rows", self.sides.iter().map(Side::len).sum::<usize>())
    }

    fn state_bytes(&self) -> usize {
        self.sides.iter().map(Side::bytes).sum()
    }

    fn snapshot(&mut self, state: &mut StateWriter<'_>) -> Result<(), OperatorError> {
        self.write(state)
    }

    fn restore(&mut self, state: &StateReader<'_>) -> Result<(), OperatorError> {
        self.read(state)
    }
}
