//! What all buckets of one operator have in common.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};

use super::timeline::{Division, Part};
use crate::error::OperatorError;
use crate::operator::window::pane::Layout;

#[derive(Debug)]
pub(super) struct Shape {
    pub(super) layout: Layout,
    pub(super) division: Division,
    /// The value that stays, where windows are those of a value.
    pub(super) value: Option<SchemaRef>,
    /// Start and reach of a window, the keys, the value, then the state of each aggregate.
    pub(super) state: SchemaRef,
}

/// Stored windows, column by column.
pub(super) struct Columns<'a> {
    pub(super) starts: &'a ArrayRef,
    pub(super) reached: &'a ArrayRef,
    pub(super) keys: &'a [ArrayRef],
    /// One or none.
    pub(super) value: &'a [ArrayRef],
    pub(super) aggregates: &'a [ArrayRef],
}

impl Shape {
    pub(super) fn new(layout: Layout, division: Division, value: Option<DataType>) -> Shape {
        let number = |name| Arc::new(Field::new(name, DataType::Int64, false));
        let numbers: [FieldRef; 2] = [number("start"), number("reached")];
        let value = value.map(|kind| Arc::new(Schema::new(vec![Field::new("value", kind, true)])));
        let (keys, aggregates) = layout.state.fields().split_at(layout.keys.fields().len());
        let of_value = value.iter().flat_map(|value| value.fields().iter());
        let fields = numbers.iter().chain(keys).chain(of_value).chain(aggregates);
        let state = Arc::new(Schema::new(fields.cloned().collect::<Vec<_>>()));
        Shape { layout, division, value, state }
    }

    /// The columns of stored windows.
    pub(super) fn columns<'a>(&self, state: &'a RecordBatch) -> Result<Columns<'a>, OperatorError> {
        let wanted = self.state.fields().iter().map(|field| field.data_type());
        let found = state.columns().iter().map(|column| column.data_type());
        let ([starts, reached, rest @ ..], true) = (state.columns(), wanted.eq(found)) else {
            let reason = "its columns are others than those of the query".to_owned();
            return Err(OperatorError::State { reason });
        };
        let (keys, rest) = rest.split_at(self.layout.keys.fields().len());
        let (value, aggregates) = rest.split_at(usize::from(self.value.is_some()));
        Ok(Columns { starts, reached, keys, value, aggregates })
    }

    /// When a window ended that came so far.
    pub(super) fn end(&self, part: &Part) -> i64 {
        self.division.end(part.reached)
    }
}
