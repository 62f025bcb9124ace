//! The groups of one pane, and their aggregates.

mod fresh;
mod groups;
mod stored;

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::GroupsAccumulator;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::{GroupsAccumulatorAdapter, PhysicalExpr};

use groups::Groups;
pub(in crate::operator) use stored::Size;

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
    /// What rows open and close windows by, if they do.
    pub(in crate::operator) deciding: Vec<ArrayRef>,
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
    /// All groups, but for what is in `newer`.
    all: Groups,
    /// What rows since the last snapshot have made, if that is stored by itself.
    newer: Option<Groups>,
    /// In place of these, once no more rows are expected: to be merged, as often as it takes.
    sealed: Option<RecordBatch>,
    /// Whether it is another than in the last snapshot.
    changed: bool,
    /// Whether groups have changed since they were last given out.
    is_fresh: bool,
    /// Whether `all` has what was in `newer` and is not stored.
    is_whole_due: bool,
    stored: Size,
}

impl fmt::Debug for Pane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pane").field("groups", &self.groups()).finish_non_exhaustive()
    }
}

impl Pane {
    pub(in crate::operator) fn new(layout: &Arc<Layout>) -> Result<Pane, DataFusionError> {
        let all = Groups::new(layout)?;
        let (layout, stored) = (Arc::clone(layout), Size::default());
        let (newer, sealed) = (None, None);
        let (changed, is_fresh, is_whole_due) = (false, false, false);
        Ok(Pane { layout, all, newer, sealed, changed, is_fresh, is_whole_due, stored })
    }

    /// A pane of these groups, as they were stored.
    pub(in crate::operator) fn restore(
        layout: &Arc<Layout>,
        state: &[ArrayRef],
    ) -> Result<Pane, OperatorError> {
        let mut pane = Pane::new(layout)?;
        pane.absorb(state)?;
        Ok(pane)
    }

    /// Takes in groups, or parts of them, as they were stored.
    pub(in crate::operator) fn absorb(&mut self, state: &[ArrayRef]) -> Result<(), OperatorError> {
        self.layout.check(state)?;
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
        pane.copy()?;
        // Not as an answer, whose columns may be declared to be without nulls.
        pane.finish()?;
        Ok(())
    }

    /// Takes in the groups of another pane of this layout, by its columns.
    pub(in crate::operator) fn merge(&mut self, state: &[ArrayRef]) -> Result<(), DataFusionError> {
        self.all.merge(&self.layout, state)
    }

    /// How many groups there are, once a snapshot was taken; before that perhaps fewer.
    pub(in crate::operator) fn groups(&self) -> usize {
        let newer = self.newer.as_ref().map_or(0, Groups::len);
        match &self.sealed {
            Some(columns) => columns.num_rows(),
            None => self.all.len().max(newer),
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
        self.changed = true;
        // Groups that come out again and again are needed whole each time.
        if self.layout.fresh.is_some() {
            let places = self.all.update(rows)?;
            return self.set_fresh(&places, is_fresh);
        }
        let newer = self.newer.take().map_or_else(|| Groups::new(&self.layout), Ok)?;
        self.newer.insert(newer).update(rows)?;
        Ok(())
    }

    /// Keys of the groups, and the value of each aggregate.
    pub(in crate::operator) fn finish(
        mut self,
    ) -> Result<(Vec<ArrayRef>, Vec<ArrayRef>), OperatorError> {
        self.fold()?;
        Ok(self.all.finish(&self.layout)?)
    }

    /// Brings all groups together.
    fn fold(&mut self) -> Result<(), OperatorError> {
        let Some(newer) = self.newer.take() else { return Ok(()) };
        self.is_whole_due = true;
        if self.all.is_empty {
            self.all = newer;
            return Ok(());
        }
        let columns = newer.into_columns(&self.layout)?;
        Ok(self.merge(columns.columns())?)
    }

    /// All columns. The pane is built anew from them.
    pub(in crate::operator) fn copy(&mut self) -> Result<RecordBatch, OperatorError> {
        let columns = self.take_columns()?;
        self.merge(columns.columns())?;
        Ok(columns)
    }

    /// All columns; the pane is empty then.
    fn take_columns(&mut self) -> Result<RecordBatch, OperatorError> {
        self.fold()?;
        let all = std::mem::replace(&mut self.all, Groups::new(&self.layout)?);
        all.into_columns(&self.layout)
    }
}
