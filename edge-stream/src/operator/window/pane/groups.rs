//! Groups by their keys, each with its accumulators.

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion::physical_plan::aggregates::order::GroupOrdering;

use super::{Aggregate, Layout, Rows};
use crate::error::OperatorError;

pub(super) struct Groups {
    /// `None` if there are no keys: then all rows are one group.
    keys: Option<Box<dyn GroupValues>>,
    pub(super) accumulators: Vec<Box<dyn GroupsAccumulator>>,
    /// Whether nothing has come in yet.
    pub(super) is_empty: bool,
}

impl Groups {
    pub(super) fn new(layout: &Layout) -> Result<Groups, DataFusionError> {
        let keys = SchemaRef::clone(&layout.keys);
        let has_keys = !keys.fields().is_empty();
        let keys = has_keys.then(|| new_group_values(keys, &GroupOrdering::None)).transpose()?;
        let accumulators = layout.aggregates.iter().chain(&layout.fresh);
        let accumulators = accumulators.map(Aggregate::accumulator).collect::<Result<_, _>>()?;
        Ok(Groups { keys, accumulators, is_empty: true })
    }

    pub(super) fn len(&self) -> usize {
        self.keys.as_ref().map_or(1, |keys| keys.len())
    }

    /// Takes rows in; returns the group of each.
    pub(super) fn update(&mut self, rows: &Rows) -> Result<Vec<usize>, DataFusionError> {
        let places = self.intern(&rows.keys, rows.len)?;
        let groups = self.len();
        let inputs = rows.arguments.iter().zip(&rows.filters);
        for (accumulator, (arguments, filter)) in self.accumulators.iter_mut().zip(inputs) {
            accumulator.update_batch(arguments, &places, filter.as_ref(), groups)?;
        }
        self.is_empty = false;
        Ok(places)
    }

    /// Takes in other groups by their columns.
    pub(super) fn merge(
        &mut self,
        layout: &Layout,
        state: &[ArrayRef],
    ) -> Result<(), DataFusionError> {
        let (keys, mut states) = state.split_at(layout.keys.fields().len());
        let rows = state.first().map_or(0, |column| column.len());
        let places = self.intern(keys, rows)?;
        let groups = self.len();
        for (accumulator, width) in self.accumulators.iter_mut().zip(&layout.widths) {
            let (of_this, rest) = states.split_at(*width);
            accumulator.merge_batch(of_this, &places, groups)?;
            states = rest;
        }
        self.is_empty = false;
        Ok(())
    }

    /// Keys, then the state of each accumulator.
    pub(super) fn into_columns(mut self, layout: &Layout) -> Result<RecordBatch, OperatorError> {
        let mut columns = self.take_keys()?;
        for accumulator in &mut self.accumulators {
            columns.extend(accumulator.state(EmitTo::All)?);
        }
        layout.check(&columns)?;
        // A window without keys and aggregates has one row of no columns.
        let rows = columns.first().map_or(1, |column| column.len());
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let schema = SchemaRef::clone(&layout.state);
        Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
    }

    /// Keys, and the value of each aggregate that was asked for.
    pub(super) fn finish(
        mut self,
        layout: &Layout,
    ) -> Result<(Vec<ArrayRef>, Vec<ArrayRef>), DataFusionError> {
        let keys = self.take_keys()?;
        let asked_for = self.accumulators.iter_mut().take(layout.aggregates.len());
        let values = asked_for.map(|one| one.evaluate(EmitTo::All));
        Ok((keys, values.collect::<Result<_, _>>()?))
    }

    fn take_keys(&mut self) -> Result<Vec<ArrayRef>, DataFusionError> {
        self.keys.as_mut().map_or(Ok(Vec::new()), |keys| keys.emit(EmitTo::All))
    }

    /// The group of each row.
    pub(super) fn intern(
        &mut self,
        keys: &[ArrayRef],
        rows: usize,
    ) -> Result<Vec<usize>, DataFusionError> {
        let mut places = Vec::with_capacity(rows);
        match &mut self.keys {
            Some(groups) => groups.intern(keys, &mut places)?,
            None => places.resize(rows, 0),
        }
        Ok(places)
    }
}
