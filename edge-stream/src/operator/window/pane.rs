//! The groups of one pane, and their aggregates.

mod fresh;

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::{GroupsAccumulatorAdapter, PhysicalExpr};
use datafusion::physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion::physical_plan::aggregates::order::GroupOrdering;

use crate::error::OperatorError;

/// One aggregate of the `SELECT` list.
#[derive(Debug, Clone)]
pub(crate) struct Aggregate {
    pub(crate) function: Arc<AggregateFunctionExpr>,
    pub(crate) arguments: Vec<Arc<dyn PhysicalExpr>>,
    pub(crate) filter: Option<Arc<dyn PhysicalExpr>>,
}

impl Aggregate {
    pub(in crate::operator) fn accumulator(
        &self,
    ) -> Result<Box<dyn GroupsAccumulator>, DataFusionError> {
        if self.function.groups_accumulator_supported() {
            return self.function.create_groups_accumulator();
        }
        let function = Arc::clone(&self.function);
        Ok(Box::new(GroupsAccumulatorAdapter::new(move || function.create_accumulator())))
    }
}

/// What all panes of one operator have in common.
#[derive(Debug)]
pub(in crate::operator) struct Layout {
    pub(in crate::operator) keys: SchemaRef,
    pub(in crate::operator) aggregates: Vec<Aggregate>,
    /// One more, that nobody asked for: whether a group has changed since it was last given out.
    fresh: Option<Aggregate>,
    /// Keys, then the state of each aggregate, as they are stored.
    pub(in crate::operator) state: SchemaRef,
    /// How many columns of state each aggregate has.
    pub(in crate::operator) widths: Vec<usize>,
}

/// Rows of one pane.
#[derive(Debug)]
pub(in crate::operator) struct Rows {
    pub(in crate::operator) len: usize,
    pub(in crate::operator) keys: Vec<ArrayRef>,
    /// For each aggregate.
    pub(in crate::operator) arguments: Vec<Vec<ArrayRef>>,
    pub(in crate::operator) filters: Vec<Option<BooleanArray>>,
}

impl Layout {
    pub(in crate::operator) fn new(
        keys: &[Arc<dyn PhysicalExpr>],
        aggregates: Vec<Aggregate>,
        input: &Schema,
    ) -> Result<Layout, DataFusionError> {
        Layout::with(keys, aggregates, None, input)
    }

    fn with(
        keys: &[Arc<dyn PhysicalExpr>],
        aggregates: Vec<Aggregate>,
        fresh: Option<Aggregate>,
        input: &Schema,
    ) -> Result<Layout, DataFusionError> {
        let mut fields: Vec<FieldRef> = Vec::new();
        for (place, key) in keys.iter().enumerate() {
            let kind = key.data_type(input)?;
            fields.push(Arc::new(Field::new(format!("key{place}"), kind, true)));
        }
        let keys = Arc::new(Schema::new(fields.clone()));
        let mut widths = Vec::new();
        for aggregate in aggregates.iter().chain(&fresh) {
            let state = aggregate.function.state_fields()?;
            widths.push(state.len());
            // Stored as what it is, whatever an aggregate says about nulls in it.
            let nullable = |field: FieldRef| Arc::new(field.as_ref().clone().with_nullable(true));
            fields.extend(state.into_iter().map(nullable));
        }
        let state = Arc::new(Schema::new(fields));
        Ok(Layout { keys, aggregates, fresh, state, widths })
    }

    fn check(&self, state: &[ArrayRef]) -> Result<(), OperatorError> {
        let wanted = self.state.fields().iter().map(|field| field.data_type());
        if wanted.eq(state.iter().map(|column| column.data_type())) {
            return Ok(());
        }
        let reason = "its columns are others than those of the query".to_owned();
        Err(OperatorError::State { reason })
    }

    /// The columns of the keys in stored state.
    pub(in crate::operator) fn keys_of<'a>(
        &self,
        state: &'a RecordBatch,
    ) -> Result<&'a [ArrayRef], OperatorError> {
        self.check(state.columns())?;
        Ok(&state.columns()[..self.keys.fields().len()])
    }
}

/// One pane's groups.
pub(in crate::operator) struct Pane {
    layout: Arc<Layout>,
    /// `None` if there are no keys: then all rows are one group.
    groups: Option<Box<dyn GroupValues>>,
    accumulators: Vec<Box<dyn GroupsAccumulator>>,
    /// In place of these, once no more rows are expected: to be merged, as often as it takes.
    sealed: Option<RecordBatch>,
    /// Whether it is another than in the last snapshot.
    changed: bool,
    /// Whether groups have changed since they were last given out.
    is_fresh: bool,
    /// What it takes in the stored state; 0 if it is not there.
    pub(in crate::operator) stored_bytes: usize,
}

impl fmt::Debug for Pane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pane").field("groups", &self.groups()).finish_non_exhaustive()
    }
}

impl Pane {
    pub(in crate::operator) fn new(layout: &Arc<Layout>) -> Result<Pane, DataFusionError> {
        let keys = SchemaRef::clone(&layout.keys);
        let has_keys = !keys.fields().is_empty();
        let groups = has_keys.then(|| new_group_values(keys, &GroupOrdering::None)).transpose()?;
        let accumulators = layout.aggregates.iter().chain(&layout.fresh);
        let accumulators = accumulators.map(Aggregate::accumulator).collect::<Result<_, _>>()?;
        let layout = Arc::clone(layout);
        let (sealed, changed, is_fresh, stored_bytes) = (None, false, false, 0);
        Ok(Pane { layout, groups, accumulators, sealed, changed, is_fresh, stored_bytes })
    }

    /// The pane whose columns [`Pane::take_changed`] gave.
    pub(in crate::operator) fn restore(
        layout: &Arc<Layout>,
        state: &[ArrayRef],
    ) -> Result<Pane, OperatorError> {
        layout.check(state)?;
        let mut pane = Pane::new(layout)?;
        pane.absorb(state)?;
        Ok(pane)
    }

    /// The same, into a pane that is there.
    pub(in crate::operator) fn absorb(
        &mut self,
        state: &[ArrayRef],
    ) -> Result<(), DataFusionError> {
        self.merge(state)?;
        self.note_fresh(state);
        Ok(())
    }

    /// That this was not in the last snapshot.
    pub(in crate::operator) fn set_changed(&mut self) {
        self.changed = true;
    }

    /// Runs every step once on these rows, so that an aggregate that cannot be stored, or taken up
    /// again, is found when the query is planned.
    pub(in crate::operator) fn rehearse(
        layout: &Arc<Layout>,
        rows: &Rows,
    ) -> Result<(), OperatorError> {
        let mut pane = Pane::new(layout)?;
        pane.update(rows, true)?;
        pane.take_changed()?;
        // Not as an answer, whose columns may be declared to be without nulls.
        pane.finish()?;
        Ok(())
    }

    /// Takes in the groups of another pane of this layout, by its columns.
    pub(in crate::operator) fn merge(&mut self, state: &[ArrayRef]) -> Result<(), DataFusionError> {
        let layout = Arc::clone(&self.layout);
        let (keys, mut states) = state.split_at(layout.keys.fields().len());
        let rows = state.first().map_or(0, |column| column.len());
        let places = self.intern(keys, rows)?;
        let groups = self.groups();
        for (accumulator, width) in self.accumulators.iter_mut().zip(&layout.widths) {
            let (of_this, rest) = states.split_at(*width);
            accumulator.merge_batch(of_this, &places, groups)?;
            states = rest;
        }
        Ok(())
    }

    /// How many groups there are.
    pub(in crate::operator) fn groups(&self) -> usize {
        match &self.sealed {
            Some(columns) => columns.num_rows(),
            None => self.groups.as_ref().map_or(1, |groups| groups.len()),
        }
    }

    /// No more rows are expected: from here on it is only merged. If some come all the same, it is
    /// built anew.
    pub(in crate::operator) fn seal(&mut self) -> Result<(), OperatorError> {
        if self.sealed.is_none() {
            self.sealed = Some(self.take_columns()?);
        }
        Ok(())
    }

    /// The columns of a sealed pane.
    pub(in crate::operator) fn sealed(&self) -> &[ArrayRef] {
        self.sealed.as_ref().map_or(&[], RecordBatch::columns)
    }

    /// Takes rows in. `is_fresh` is whether their groups are to be given out for that.
    pub(in crate::operator) fn update(
        &mut self,
        rows: &Rows,
        is_fresh: bool,
    ) -> Result<(), DataFusionError> {
        if let Some(columns) = self.sealed.take() {
            self.merge(columns.columns())?;
        }
        let places = self.intern(&rows.keys, rows.len)?;
        let groups = self.groups();
        let inputs = rows.arguments.iter().zip(&rows.filters);
        for (accumulator, (arguments, filter)) in self.accumulators.iter_mut().zip(inputs) {
            accumulator.update_batch(arguments, &places, filter.as_ref(), groups)?;
        }
        self.set_fresh(&places, is_fresh)?;
        self.changed = true;
        Ok(())
    }

    /// Keys of the groups, and the value of each aggregate.
    pub(in crate::operator) fn finish(
        mut self,
    ) -> Result<(Vec<ArrayRef>, Vec<ArrayRef>), DataFusionError> {
        let keys = self.take_keys()?;
        let asked_for = self.accumulators.iter_mut().take(self.layout.aggregates.len());
        let values = asked_for.map(|one| one.evaluate(EmitTo::All));
        Ok((keys, values.collect::<Result<_, _>>()?))
    }

    /// The whole of it as columns, if rows came since the last call.
    ///
    /// Accumulators give their state away, so the pane is built anew from what is stored: what a
    /// restart would do happens at every snapshot, and cannot differ from it.
    pub(in crate::operator) fn take_changed(
        &mut self,
    ) -> Result<Option<RecordBatch>, OperatorError> {
        if !std::mem::take(&mut self.changed) {
            return Ok(None);
        }
        if let Some(columns) = &self.sealed {
            return Ok(Some(columns.clone()));
        }
        self.copy().map(Some)
    }

    /// All columns. The pane is built anew from them.
    pub(in crate::operator) fn copy(&mut self) -> Result<RecordBatch, OperatorError> {
        let columns = self.take_columns()?;
        self.merge(columns.columns())?;
        Ok(columns)
    }

    /// All columns; the pane is empty then.
    fn take_columns(&mut self) -> Result<RecordBatch, OperatorError> {
        let mut columns = self.take_keys()?;
        for accumulator in &mut self.accumulators {
            columns.extend(accumulator.state(EmitTo::All)?);
        }
        self.layout.check(&columns)?;
        let fresh = Pane::new(&self.layout)?;
        (self.groups, self.accumulators) = (fresh.groups, fresh.accumulators);
        // A window without keys and aggregates has one row of no columns.
        let rows = columns.first().map_or(1, |column| column.len());
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let schema = SchemaRef::clone(&self.layout.state);
        Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
    }

    fn take_keys(&mut self) -> Result<Vec<ArrayRef>, DataFusionError> {
        self.groups.as_mut().map_or(Ok(Vec::new()), |groups| groups.emit(EmitTo::All))
    }

    /// The group of each row.
    fn intern(&mut self, keys: &[ArrayRef], rows: usize) -> Result<Vec<usize>, DataFusionError> {
        let mut places = Vec::with_capacity(rows);
        match &mut self.groups {
            Some(groups) => groups.intern(keys, &mut places)?,
            None => places.resize(rows, 0),
        }
        Ok(places)
    }
}
