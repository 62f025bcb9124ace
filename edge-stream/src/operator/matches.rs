//! `MATCH_RECOGNIZE`: rows of a key that follow each other in event time as a pattern says.
//!
//! Rows wait until the watermark has passed them. Of each key those from the first one on are kept
//! at which a match may still begin; what has been found out about them is found out again after a
//! restart. `WITHIN` bounds how long that can be.

mod condition;
mod measure;
mod partition;
mod rows;
mod stored;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use datafusion::error::DataFusionError;
use datafusion::physical_expr::PhysicalExpr;

pub(crate) use condition::{Computed, Condition};
pub(crate) use measure::{Measures, Source};
use partition::{Found, Partition, Search};
use rows::{Kept, Place};

use super::packed::Packed;
use super::pending::Ordered;
use super::places::Places;
use super::state::Passed;
use super::waiting::{Waiting, in_unit};
use super::{Explain, Operator, Out, STATE_BYTES, StateReader, StateWriter};
use crate::error::OperatorError;
use crate::matching::{Attempt, Program, Slotted};
use crate::watermark::EventTime;

/// What is looked for, and what comes out of it.
#[derive(Debug)]
pub(crate) struct MatchPlan {
    /// The event time.
    pub(crate) time: Arc<dyn PhysicalExpr>,
    pub(crate) unit: TimeUnit,
    pub(crate) keys: Vec<Arc<dyn PhysicalExpr>>,
    /// What is kept of each row.
    pub(crate) values: Vec<Arc<dyn PhysicalExpr>>,
    pub(crate) input: SchemaRef,
    pub(crate) program: Program,
    pub(crate) slotted: Slotted,
    /// When a row may be a variable, one for each.
    pub(crate) conditions: Vec<Condition>,
    /// From the first row of a match to its last one is less than this, in `unit`.
    pub(crate) within: i64,
    pub(crate) within_micros: i64,
    /// Whether the next match begins behind the last row of one, not behind its first.
    pub(crate) skips_past: bool,
    pub(crate) measures: Measures,
    /// The keys, then the measures.
    pub(crate) output: SchemaRef,
    /// The pattern as it is written.
    pub(crate) text: String,
}

#[derive(Debug)]
pub(crate) struct Matches {
    plan: MatchPlan,
    keys: Packed,
    waiting: Waiting,
    kept: Kept,
    partitions: Places<Partition>,
    /// What each search begins with.
    start: Attempt,
    /// Keys by the time of the first row that they keep.
    by_start: BTreeSet<(i64, u32)>,
    /// Keys with rows that are not in the store: those of segments from `stored_to` on.
    changed: BTreeSet<u32>,
    stored_to: u64,
    /// Rows in front of it have been looked at.
    passed: Passed,
    limit_bytes: usize,
}

impl Matches {
    pub(crate) fn new(plan: MatchPlan) -> Result<Matches, DataFusionError> {
        let types = |exprs: &[Arc<dyn PhysicalExpr>]| {
            exprs.iter().map(|expr| expr.data_type(&plan.input)).collect::<Result<Vec<_>, _>>()
        };
        let keys = types(&plan.keys)?;
        let computed = plan.conditions.iter().filter(|one| matches!(one, Condition::Row(_)));
        let computed = computed.map(|_| DataType::Boolean);
        let times = std::iter::once(DataType::Int64);
        let kept = times.chain(keys.iter().cloned()).chain(types(&plan.values)?).chain(computed);
        let kept = Kept::new(kept.collect());
        Ok(Matches {
            waiting: Waiting::new(Arc::clone(&plan.time), plan.unit),
            start: Attempt::new(&plan.program, &plan.slotted),
            plan,
            keys: Packed::new(&keys)?,
            kept,
            partitions: Places::default(),
            by_start: BTreeSet::new(),
            changed: BTreeSet::new(),
            stored_to: 0,
            passed: Passed::default(),
            limit_bytes: STATE_BYTES,
        })
    }

    /// What is kept of these rows: time, keys, values, and which conditions about them alone hold.
    fn columns(&self, ready: &Ordered) -> Result<Vec<ArrayRef>, OperatorError> {
        let rows = ready.rows.num_rows();
        let times: ArrayRef = Arc::new(Int64Array::new(ready.times.clone(), None));
        let exprs = self.plan.keys.iter().chain(&self.plan.values);
        let values = exprs.map(|expr| expr.evaluate(&ready.rows)?.into_array(rows));
        let columns = std::iter::once(Ok(times)).chain(values);
        let mut columns = columns.collect::<Result<Vec<_>, DataFusionError>>()?;
        let values = columns[self.plan.first_value()..].to_vec();
        for condition in &self.plan.conditions {
            if let Condition::Row(computed) = condition {
                let of_row = |_, value: usize| Ok(ArrayRef::clone(&values[value]));
                columns.push(computed.evaluate(of_row, rows)?);
            }
        }
        Ok(columns)
    }

    /// Gives rows of a segment to the partitions of their keys; returns the places of those.
    fn distribute(
        &mut self,
        segment: u64,
        rows: impl Iterator<Item = usize>,
    ) -> Result<BTreeSet<u32>, OperatorError> {
        let columns = self.kept.columns(segment);
        let times = rows::times(columns)?.clone();
        let keys = &columns[1..self.plan.first_value()];
        let keys = self.keys.pack(keys, times.len())?;
        let mut touched = BTreeSet::new();
        for row in rows {
            let place = self.partitions.place_of(&keys[row], || Partition::new(&self.start));
            let partition = self.partitions.get_mut(place).expect("it was just put there");
            let time = times.value(row);
            let row = u32::try_from(row).expect("the limit of state is far below");
            if partition.push(Place { segment, row, time }) {
                self.by_start.insert((time, place));
            }
            touched.insert(place);
        }
        Ok(touched)
    }

    /// Looks on from where each of these keys stood. Returns the matches, and the rows that are not
    /// needed any more.
    fn look(
        &mut self,
        places: &BTreeSet<u32>,
        watermark: i64,
    ) -> Result<(Vec<Found>, Vec<Place>), OperatorError> {
        let (mut found, mut gone) = (Vec::new(), Vec::new());
        let search = Search { plan: &self.plan, kept: &self.kept, start: &self.start, watermark };
        for place in places.iter().copied() {
            let Some(partition) = self.partitions.get_mut(place) else { continue };
            let before = partition.start();
            partition.look(&search, &mut found, &mut gone)?;
            let start = partition.start();
            if start != before {
                self.by_start.remove(&(before.unwrap_or_default(), place));
                self.by_start.extend(start.map(|time| (time, place)));
            }
            if start.is_none() {
                self.partitions.remove(place);
            }
        }
        Ok((found, gone))
    }

    /// Keys whose first row has been passed by so much that no row comes to its match.
    fn expired(&self, watermark: i64) -> impl Iterator<Item = u32> + '_ {
        let is_over = move |time: &i64| time.saturating_add(self.plan.within) <= watermark;
        self.by_start.iter().take_while(move |(time, _)| is_over(time)).map(|(_, place)| *place)
    }

    /// The keys and measures of matches.
    fn answer(&self, found: &[Found]) -> Result<RecordBatch, OperatorError> {
        let first: Vec<_> = found.iter().map(|one| one.rows.first().copied()).collect();
        let keys = (1..self.plan.first_value()).map(|column| self.kept.gather(&first, column));
        let mut columns = keys.collect::<Result<Vec<_>, _>>()?;
        let measures = self.plan.measures.of(found, &self.kept, self.plan.first_value())?;
        columns.extend(measures);
        let declared = columns.iter().zip(self.plan.output.fields());
        let columns = declared.map(|(column, field)| cast(column, field.data_type()));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        Ok(RecordBatch::try_new(SchemaRef::clone(&self.plan.output), columns)?)
    }

    fn stored_bytes(&self) -> usize {
        self.waiting.stored_bytes() + self.kept.stored_bytes()
    }

    fn check_size(&self) -> Result<(), OperatorError> {
        let (used_bytes, limit_bytes) = (self.stored_bytes(), self.limit_bytes);
        if used_bytes <= limit_bytes {
            return Ok(());
        }
        let rows = self.waiting.rows() + self.kept.rows();
        Err(OperatorError::MatchesFull { rows, used_bytes, limit_bytes })
    }
}

impl MatchPlan {
    /// Where values begin among the columns that are kept: behind the time and the keys.
    fn first_value(&self) -> usize {
        1 + self.keys.len()
    }
}

impl Operator for Matches {
    fn on_batch(
        &mut self,
        _: usize,
        batch: RecordBatch,
        out: &mut Out,
    ) -> Result<(), OperatorError> {
        self.waiting.push(batch, self.passed.at, out)
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Out) -> Result<(), OperatorError> {
        self.passed.at = Some(watermark);
        let ready = self.waiting.take(watermark)?;
        let fresh = ready.map(|ready| self.kept.add(self.columns(&ready)?)).transpose()?;
        let mut touched = match fresh {
            Some(fresh) => self.distribute(fresh, 0..self.kept.rows_of(fresh))?,
            None => BTreeSet::new(),
        };
        let watermark = in_unit(watermark, self.plan.unit);
        touched.extend(self.expired(watermark));
        let (found, gone) = self.look(&touched, watermark)?;
        if !found.is_empty() {
            out.push(self.answer(&found)?);
        }
        gone.into_iter().for_each(|row| self.kept.remove(row));
        // Without the rows that nothing begins with, which are most.
        if let Some(fresh) = fresh {
            self.changed.extend(&touched);
            self.settle(&touched, fresh)?;
        }
        Ok(())
    }

    /// A match comes out less than `WITHIN` behind its first row.
    fn watermark_out(&self, watermark: EventTime) -> EventTime {
        EventTime::from_micros(watermark.micros().saturating_sub(self.plan.within_micros))
    }

    fn has_state(&self) -> bool {
        true
    }

    fn explain(&self) -> Explain {
        let keys: Vec<_> = self.plan.keys.iter().map(ToString::to_string).collect();
        let by = if keys.is_empty() { String::new() } else { format!(" by {}", keys.join(", ")) };
        let within = self.plan.within_micros as f64 / 1e6;
        Explain {
            what: format!("match{by} {} within {within} s", self.plan.text),
            keeps:
                "rows until the watermark; for each key the rows from the first one on at which \
                    a match may still begin"
                    .to_owned(),
            until: "the match is decided, at the latest when the watermark is WITHIN behind its \
                    first row"
                .to_owned(),
        }
    }

    fn state_bytes(&self) -> usize {
        self.stored_bytes()
    }

    fn snapshot(&mut self, state: &mut StateWriter<'_>) -> Result<(), OperatorError> {
        self.write(state)?;
        self.check_size()
    }

    fn restore(&mut self, state: &StateReader<'_>) -> Result<(), OperatorError> {
        self.read(state)
    }
}
