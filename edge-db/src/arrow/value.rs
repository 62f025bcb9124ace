//! Columns of serde values.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::cast::AsArray;
use arrow_schema::{DataType, Field, FieldRef, Fields, UnionFields};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_arrow::ArrayBuilder;
use serde_arrow::schema::{SchemaLike, TracingOptions};

use super::error::ColumnError;

/// The name of the only column of a value that has no fields.
const VALUE: &str = "value";

/// Each look at a type shows one variant of each enum in it; so many, one enum may have.
const MAX_VARIANTS: usize = 1000;

/// What serde_arrow is shown, which wants structs: so a value may be anything.
#[derive(Serialize, Deserialize)]
struct Wrapped<V> {
    value: V,
}

/// The columns that a value becomes.
#[derive(Debug, Clone)]
pub(super) enum ValueColumns {
    /// It holds nothing, as `()`.
    None,
    One(FieldRef),
    /// One for each field of a struct or tuple.
    Fields(Fields),
}

impl ValueColumns {
    /// Those that the type tells, by decoding what is not there and seeing what it asks for.
    pub(super) fn of<V: DeserializeOwned>() -> Result<ValueColumns, ColumnError> {
        let options = TracingOptions::new()
            .from_type_budget(MAX_VARIANTS)
            .allow_null_fields(true)
            .map_as_struct(false)
            .enums_without_data_as_strings(true)
            .sequence_as_large_list(false)
            .strings_as_large_utf8(false)
            .bytes_as_large_binary(false);
        let fields = Vec::<FieldRef>::from_type::<Wrapped<V>>(options);
        let fields = fields.map_err(|error| ColumnError::of(&error))?;
        let [value] = fields.as_slice() else { return Ok(ValueColumns::None) };
        let value = plain_field(value);
        if let Some(field) = nullable_union(&value) {
            let reason = "a `Union`, which an enum with data becomes, cannot be null";
            return Err(ColumnError::new(format!("{reason} (field: {:?})", field.name())));
        }
        Ok(match value.data_type() {
            DataType::Null => ValueColumns::None,
            DataType::Struct(fields) if !value.is_nullable() => {
                ValueColumns::Fields(fields.iter().enumerate().map(named).collect())
            }
            _ => ValueColumns::One(value),
        })
    }

    pub(super) fn fields(&self) -> &[FieldRef] {
        match self {
            ValueColumns::None => &[],
            ValueColumns::One(field) => std::slice::from_ref(field),
            ValueColumns::Fields(fields) => fields,
        }
    }

    /// With another field in place of the one of its name; `None` if there is none.
    pub(super) fn replace(&self, new: &FieldRef) -> Option<ValueColumns> {
        let place = self.fields().iter().position(|field| field.name() == new.name())?;
        Some(match self {
            ValueColumns::None => return None,
            ValueColumns::One(_) => ValueColumns::One(Arc::clone(new)),
            ValueColumns::Fields(fields) => {
                let mut fields = fields.to_vec();
                fields[place] = Arc::clone(new);
                ValueColumns::Fields(fields.into())
            }
        })
    }

    pub(super) fn builder(&self) -> Result<ValueBuilder, ColumnError> {
        let value = match self {
            ValueColumns::None => Field::new(VALUE, DataType::Null, true).into(),
            ValueColumns::One(field) => Arc::clone(field),
            ValueColumns::Fields(fields) => {
                Field::new(VALUE, DataType::Struct(fields.clone()), false).into()
            }
        };
        let builder = ArrayBuilder::from_arrow(&[value]);
        let builder = builder.map_err(|error| ColumnError::of(&error))?;
        Ok(ValueBuilder { builder, columns: self.clone() })
    }
}

/// Fields of a tuple have their place as name, and are written by that.
fn named((place, field): (usize, &FieldRef)) -> FieldRef {
    if *field.name() == place.to_string() {
        Arc::new(Field::clone(field).with_name(format!("{VALUE}_{place}")))
    } else {
        Arc::clone(field)
    }
}

/// The field with the types that most readers know.
fn plain_field(field: &FieldRef) -> FieldRef {
    Field::new(field.name(), plain_type(field.data_type()), field.is_nullable()).into()
}

/// Text in place of dictionaries, which differ from batch to batch; bytes in place of lists of
/// them.
fn plain_type(kind: &DataType) -> DataType {
    match kind {
        DataType::Dictionary(_, values) => plain_type(values),
        DataType::List(item) if !item.is_nullable() && *item.data_type() == DataType::UInt8 => {
            DataType::Binary
        }
        DataType::List(item) => DataType::List(plain_field(item)),
        DataType::Map(entries, is_sorted) => DataType::Map(plain_field(entries), *is_sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain_field).collect()),
        DataType::Union(fields, mode) => {
            let fields = fields.iter().map(|(id, field)| (id, plain_field(field)));
            DataType::Union(fields.collect::<UnionFields>(), *mode)
        }
        other => other.clone(),
    }
}

/// The first field, of those below too, that could not be written where it is null.
fn nullable_union(field: &FieldRef) -> Option<&FieldRef> {
    match field.data_type() {
        DataType::Union(..) if field.is_nullable() => Some(field),
        DataType::Union(fields, _) => fields.iter().find_map(|(_, field)| nullable_union(field)),
        DataType::Struct(fields) => fields.iter().find_map(nullable_union),
        DataType::List(below) | DataType::Map(below, _) => nullable_union(below),
        _ => None,
    }
}

/// Values on their way into columns.
#[derive(Debug)]
pub(super) struct ValueBuilder {
    builder: ArrayBuilder,
    columns: ValueColumns,
}

impl ValueBuilder {
    pub(super) fn push(&mut self, value: &impl Serialize) -> Result<(), ColumnError> {
        self.builder.push(Wrapped { value }).map_err(|error| ColumnError::of(&error))
    }

    /// The columns of the values pushed; none are left.
    pub(super) fn finish(&mut self) -> Result<Vec<ArrayRef>, ColumnError> {
        let columns = self.builder.to_arrow().map_err(|error| ColumnError::of(&error))?;
        Ok(match &self.columns {
            ValueColumns::None => Vec::new(),
            ValueColumns::One(_) => columns,
            ValueColumns::Fields(_) => {
                let structs = columns.iter().filter_map(|column| column.as_struct_opt());
                structs.flat_map(|column| column.columns().to_vec()).collect()
            }
        })
    }
}
