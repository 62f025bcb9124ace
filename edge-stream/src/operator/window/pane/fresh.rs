//! Which groups have changed since they were last given out. It is one more aggregate of theirs, so
//! that it is merged and stored as the others are.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::functions_aggregate::bool_and_or::bool_or_udaf;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateExprBuilder;
use datafusion::physical_expr::expressions::lit;

use super::{Aggregate, Layout, Pane};
use crate::error::OperatorError;

impl Layout {
    /// One of panes that know which of their groups have changed.
    pub(in crate::operator) fn with_fresh(
        keys: &[Arc<dyn PhysicalExpr>],
        aggregates: Vec<Aggregate>,
        input: &Schema,
    ) -> Result<Layout, DataFusionError> {
        let function = AggregateExprBuilder::new(bool_or_udaf(), vec![lit(true)])
            .schema(Arc::new(input.clone()))
            .alias("fresh")
            .build()?;
        // Its argument is not from the rows: see `Pane::set_fresh`.
        let (function, arguments) = (Arc::new(function), Vec::new());
        let fresh = Aggregate { function, arguments, filter: None };
        Layout::with(keys, aggregates, Some(fresh), input)
    }

    /// Of each group in these columns, whether it has changed.
    fn fresh<'a>(&self, state: &'a [ArrayRef]) -> Option<&'a BooleanArray> {
        self.fresh.as_ref().and(state.last())?.as_boolean_opt()
    }
}

impl Pane {
    /// Whether any group has changed.
    pub(in crate::operator) fn is_fresh(&self) -> bool {
        self.is_fresh
    }

    /// The columns of the groups that have changed.
    pub(in crate::operator) fn fresh(&mut self) -> Result<RecordBatch, OperatorError> {
        self.seal()?;
        let all = self.all_sealed()?;
        match self.layout.fresh(all.columns()) {
            Some(fresh) => Ok(filter_record_batch(&all, fresh)?),
            None => Ok(all.slice(0, 0)),
        }
    }

    /// A pane of these columns, to be merged.
    pub(in crate::operator) fn of(
        layout: &Arc<Layout>,
        columns: RecordBatch,
    ) -> Result<Pane, DataFusionError> {
        Ok(Pane { sealed: Some(columns), ..Pane::new(layout)? })
    }

    /// The columns of the groups that another pane has among its first so many.
    pub(in crate::operator) fn among_first(
        &mut self,
        other: &mut Pane,
        groups: usize,
    ) -> Result<RecordBatch, OperatorError> {
        self.seal()?;
        let all = self.all_sealed()?;
        // The others come in behind them, which does no harm there.
        let places = other.all.intern(self.layout.keys_of(&all)?, all.num_rows())?;
        let is_among: BooleanArray = places.iter().map(|place| Some(*place < groups)).collect();
        Ok(filter_record_batch(&all, &is_among)?)
    }

    /// The groups that have changed have been given out.
    pub(in crate::operator) fn settle(&mut self) -> Result<(), OperatorError> {
        self.seal()?;
        let mut columns = self.sealed().to_vec();
        if let Some(fresh) = columns.last_mut() {
            *fresh = Arc::new(BooleanArray::from(vec![false; fresh.len()]));
        }
        let schema = SchemaRef::clone(&self.layout.state);
        self.sealed = Some(RecordBatch::try_new(schema, columns)?);
        (self.is_fresh, self.changed) = (false, true);
        Ok(())
    }

    fn all_sealed(&self) -> Result<RecordBatch, OperatorError> {
        let schema = SchemaRef::clone(&self.layout.state);
        Ok(RecordBatch::try_new(schema, self.sealed().to_vec())?)
    }

    pub(super) fn set_fresh(
        &mut self,
        places: &[usize],
        is_fresh: bool,
    ) -> Result<(), DataFusionError> {
        if self.layout.fresh.is_none() {
            return Ok(());
        }
        let groups = self.all.len();
        if let Some(accumulator) = self.all.accumulators.last_mut() {
            let values: ArrayRef = Arc::new(BooleanArray::from(vec![is_fresh; places.len()]));
            accumulator.update_batch(&[values], places, None, groups)?;
            self.is_fresh |= is_fresh;
        }
        Ok(())
    }

    /// Groups were merged into it.
    pub(super) fn note_fresh(&mut self, state: &[ArrayRef]) {
        self.is_fresh |= self.layout.fresh(state).is_some_and(|fresh| fresh.true_count() > 0);
    }
}
