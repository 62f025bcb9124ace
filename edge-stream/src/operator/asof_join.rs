//! `ASOF JOIN`: each left row with the newest right row of its keys that is not behind it in time.
//!
//! Rows of both sides wait until the watermark has passed them, so that the answer does not depend
//! on which side came first. Of the right rows that it has passed the newest of each key is kept;
//! among those of one point in time that is the one which came last. A row behind the watermark is
//! late, and left out: others have had their answer without it.

mod newest;
mod stored;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, BooleanArray, RecordBatch, new_null_array};
use arrow::compute::{filter_record_batch, interleave};
use arrow::datatypes::{SchemaRef, TimeUnit};
use datafusion::common::cast::as_boolean_array;
use datafusion::error::DataFusionError;
use datafusion::physical_expr::PhysicalExpr;

use newest::Newest;

use super::interval_join::SidePlan;
use super::pending::Ordered;
use super::state::Passed;
use super::waiting::{Waiting, in_unit};
use super::{Explain, Operator, Out, STATE_BYTES, StateReader, StateWriter};
use crate::error::OperatorError;
use crate::watermark::EventTime;

const LEFT: usize = 0;
const RIGHT: usize = 1;

/// The condition of a join.
#[derive(Debug)]
pub(crate) struct AsofPlan {
    pub(crate) sides: [SidePlan; 2],
    /// What the times of both sides are counted in.
    pub(crate) unit: TimeUnit,
    /// Whether the right row lies in front of the left one, and not at the same point in time.
    pub(crate) is_before: bool,
    /// How much older than the left row the right one may be.
    pub(crate) tolerance: Option<i64>,
    /// What must hold for a left row of an outer join that finds a partner.
    pub(crate) left_filter: Option<Arc<dyn PhysicalExpr>>,
    /// Whether left rows without a partner come out too.
    pub(crate) is_outer: bool,
    /// Columns of the left, then of the right.
    pub(crate) output: SchemaRef,
}

#[derive(Debug)]
pub(crate) struct AsofJoin {
    plan: AsofPlan,
    waiting: [Waiting; 2],
    newest: Newest,
    /// Rows in front of it have been given out.
    passed: Passed,
    limit_bytes: usize,
}

/// The right row of a left one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Partner {
    /// That which was kept for the key of this place.
    Kept(u32),
    /// One of those that the watermark has just passed.
    Fresh(u32),
}

impl AsofJoin {
    pub(crate) fn new(plan: AsofPlan) -> Result<AsofJoin, DataFusionError> {
        let newest = Newest::new(&plan.sides[RIGHT], plan.tolerance.is_some())?;
        let waiting =
            [LEFT, RIGHT].map(|side| Waiting::new(Arc::clone(&plan.sides[side].time), plan.unit));
        let (passed, limit_bytes) = (Passed::default(), STATE_BYTES);
        Ok(AsofJoin { plan, waiting, newest, passed, limit_bytes })
    }

    /// The partner of each left row. Both sides are in order of time.
    fn partners(
        &mut self,
        left: &Ordered,
        right: &Ordered,
    ) -> Result<Vec<Option<Partner>>, OperatorError> {
        let keys = self.newest.keyed(&self.plan.sides[RIGHT].keys, &right.rows)?;
        let mut fresh = (0u32..).zip(right.times.iter().copied()).peekable();
        let mut see = |newest: &mut Newest, until: &dyn Fn(i64) -> bool| {
            while let Some((row, time)) = fresh.next_if(|(_, time)| until(*time)) {
                newest.see(&keys, row, time);
            }
        };
        let wanted = self.newest.keyed(&self.plan.sides[LEFT].keys, &left.rows)?;
        let may_match = self.may_match(&left.rows)?;
        let mut partners = Vec::with_capacity(left.times.len());
        for (row, time) in left.times.iter().enumerate() {
            let is_before = self.plan.is_before;
            see(&mut self.newest, &|other| other < *time || (other == *time && !is_before));
            let oldest = self.plan.tolerance.map_or(i64::MIN, |most| time.saturating_sub(most));
            let key =
                wanted.key(row).filter(|_| may_match.as_ref().is_none_or(|may| may.value(row)));
            partners.push(key.and_then(|key| self.newest.find(key, oldest)));
        }
        see(&mut self.newest, &|_| true);
        Ok(partners)
    }

    /// For which left rows of an outer join the condition about them alone holds.
    fn may_match(&self, left: &RecordBatch) -> Result<Option<BooleanArray>, OperatorError> {
        let Some(filter) = &self.plan.left_filter else { return Ok(None) };
        let holds = filter.evaluate(left)?.into_array(left.num_rows())?;
        let holds = as_boolean_array(&holds)?;
        Ok(Some(holds.iter().map(|holds| Some(holds == Some(true))).collect()))
    }

    /// Left rows with the columns of their partners.
    fn joined(
        &self,
        left: &RecordBatch,
        partners: &[Option<Partner>],
        fresh: &RecordBatch,
    ) -> Result<RecordBatch, OperatorError> {
        const KEPT: usize = 0;
        const FRESH: usize = 1;
        const NONE: usize = 2;
        let (mut kept, mut places) = (Vec::new(), HashMap::new());
        let indices = partners.iter().filter(|partner| self.plan.is_outer || partner.is_some());
        let indices = indices.map(|partner| match partner {
            None => (NONE, 0),
            Some(Partner::Fresh(row)) => (FRESH, *row as usize),
            Some(Partner::Kept(place)) => {
                let row = *places.entry(*place).or_insert_with(|| {
                    kept.push(*place);
                    kept.len() - 1
                });
                (KEPT, row)
            }
        });
        let indices: Vec<_> = indices.collect();
        let kept = self.newest.rows(kept.into_iter())?;
        let mut columns = match self.plan.is_outer {
            true => left.columns().to_vec(),
            false => {
                let has_partner = partners.iter().map(|partner| Some(partner.is_some()));
                filter_record_batch(left, &has_partner.collect())?.columns().to_vec()
            }
        };
        for (kept, fresh) in kept.iter().zip(fresh.columns()) {
            let nulls = new_null_array(fresh.data_type(), 1);
            let from: [&dyn Array; 3] = [kept.as_ref(), fresh.as_ref(), nulls.as_ref()];
            columns.push(interleave(&from, &indices)?);
        }
        Ok(RecordBatch::try_new(SchemaRef::clone(&self.plan.output), columns)?)
    }

    fn none_of(&self, side: usize) -> Ordered {
        let schema = SchemaRef::clone(&self.plan.sides[side].schema);
        Ordered { rows: RecordBatch::new_empty(schema), times: Vec::new().into() }
    }

    fn stored_bytes(&self) -> usize {
        let waiting: usize = self.waiting.iter().map(Waiting::stored_bytes).sum();
        waiting + self.newest.stored_bytes()
    }

    fn check_size(&self) -> Result<(), OperatorError> {
        let (used_bytes, limit_bytes) = (self.stored_bytes(), self.limit_bytes);
        if used_bytes <= limit_bytes {
            return Ok(());
        }
        let waiting: usize = self.waiting.iter().map(Waiting::rows).sum();
        let rows = waiting + self.newest.len();
        Err(OperatorError::JoinFull { rows, used_bytes, limit_bytes })
    }
}

impl Operator for AsofJoin {
    fn on_batch(
        &mut self,
        input: usize,
        batch: RecordBatch,
        out: &mut Out,
    ) -> Result<(), OperatorError> {
        self.waiting[input].push(batch, self.passed.at, out)
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Out) -> Result<(), OperatorError> {
        self.passed.at = Some(watermark);
        let right = self.waiting[RIGHT].take(watermark)?;
        let right = right.unwrap_or_else(|| self.none_of(RIGHT));
        let left = self.waiting[LEFT].take(watermark)?.unwrap_or_else(|| self.none_of(LEFT));
        let partners = self.partners(&left, &right)?;
        out.push(self.joined(&left.rows, &partners, &right.rows)?);
        self.newest.settle(&right.rows)?;
        if let Some(tolerance) = self.plan.tolerance {
            // Left rows to come lie at the watermark, or behind it.
            self.newest.forget(in_unit(watermark, self.plan.unit).saturating_sub(tolerance));
        }
        Ok(())
    }

    fn has_state(&self) -> bool {
        true
    }

    fn explain(&self) -> Explain {
        let keys: Vec<_> = self.plan.sides[LEFT].keys.iter().map(ToString::to_string).collect();
        let by = if keys.is_empty() { String::new() } else { format!(" by {}", keys.join(", ")) };
        let before = if self.plan.is_before { "in front of" } else { "not behind" };
        let (most, until) = match self.plan.tolerance {
            None => (String::new(), "the job ends; rows that wait go with the watermark"),
            Some(most) => {
                let second = if self.plan.unit == TimeUnit::Nanosecond { 1e9 } else { 1e6 };
                let most = format!(", at most {} s older", most as f64 / second);
                (most, "the watermark says that no left row finds it")
            }
        };
        Explain {
            what: format!("asof join{by}: the newest right row {before} the left one{most}"),
            keeps: "rows of both sides until the watermark; for each key its newest right row"
                .to_owned(),
            until: until.to_owned(),
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
