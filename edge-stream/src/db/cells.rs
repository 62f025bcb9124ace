//! Rows of a view as they are stored, and the keys that they are stored under.
//!
//! Part of the file format: variants of [`Cell`] keep their place and meaning.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Decimal128Array, Float64Array, Int64Array,
    ListArray, PrimitiveArray, RecordBatch, StringArray, StructArray, UInt64Array, new_empty_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{cast, concat};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, FieldRef, Float64Type, Int64Type, Schema,
    SchemaRef, UInt64Type,
};
use arrow::error::ArrowError;
use edge_db::Key;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Longer keys are cut, and told apart by a digest. edge-db takes keys of 64 KiB, and writes a
/// zero byte as two.
const MAX_KEY_BYTES: usize = 16 * 1024;

/// One value of one row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Cell {
    Null,
    Bool(bool),
    /// Also dates, times, timestamps and durations, in their unit.
    Int(i64),
    UInt(u64),
    Float(f64),
    Decimal(i128),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Cell>),
    Struct(Vec<Cell>),
}

/// How cells of a type lie in memory on their way in and out.
#[derive(Debug, Clone, Copy)]
enum Form {
    Bool,
    /// Through this type, where there is one between.
    Int(Option<&'static DataType>),
    UInt,
    Float,
    Decimal,
    Text,
    Bytes,
    List,
    Struct,
}

fn form(kind: &DataType) -> Option<Form> {
    Some(match kind {
        DataType::Boolean => Form::Bool,
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => Form::Int(None),
        DataType::Timestamp(..) | DataType::Time64(_) | DataType::Duration(_) => Form::Int(None),
        DataType::Date32 | DataType::Time32(_) => Form::Int(Some(&DataType::Int32)),
        DataType::Date64 => Form::Int(None),
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => Form::UInt,
        DataType::Float16 | DataType::Float32 | DataType::Float64 => Form::Float,
        DataType::Decimal128(..) => Form::Decimal,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Form::Text,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Form::Bytes,
        DataType::List(item) if form(item.data_type()).is_some() => Form::List,
        DataType::Struct(fields)
            if fields.iter().all(|field| form(field.data_type()).is_some()) =>
        {
            Form::Struct
        }
        _ => return None,
    })
}

/// The first column whose type cannot be stored.
pub(crate) fn not_storable(schema: &Schema) -> Option<&FieldRef> {
    schema.fields().iter().find(|field| form(field.data_type()).is_none())
}

/// The first of these columns that rows cannot be told apart by.
pub(crate) fn not_a_key<'a>(schema: &'a Schema, columns: &[usize]) -> Option<&'a FieldRef> {
    let is_key = |field: &FieldRef| {
        form(field.data_type()).is_some_and(|form| !matches!(form, Form::List | Form::Struct))
    };
    columns.iter().map(|column| &schema.fields()[*column]).find(|field| !is_key(field))
}

/// The rows of a batch. Its schema has passed [`not_storable`].
pub(crate) fn rows_of(batch: &RecordBatch) -> Result<Vec<Vec<Cell>>, ArrowError> {
    let columns = batch.columns().iter().map(cells_of).collect::<Result<Vec<_>, _>>()?;
    let mut columns: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
    let rows = 0..batch.num_rows();
    Ok(rows.map(|_| columns.iter_mut().filter_map(Iterator::next).collect()).collect())
}

/// Rows that [`rows_of`] gave, as a batch.
pub(crate) fn batch_of(
    schema: &SchemaRef,
    rows: Vec<Vec<Cell>>,
) -> Result<RecordBatch, ArrowError> {
    let width = schema.fields().len();
    let mut columns: Vec<Vec<Cell>> = (0..width).map(|_| Vec::with_capacity(rows.len())).collect();
    for row in rows {
        if row.len() != width {
            return Err(mismatch("a stored row has another number of columns than its view"));
        }
        columns.iter_mut().zip(row).for_each(|(column, cell)| column.push(cell));
    }
    let arrays = schema.fields().iter().zip(columns);
    let arrays = arrays.map(|(field, cells)| array_of(cells, field.data_type()));
    RecordBatch::try_new(Arc::clone(schema), arrays.collect::<Result<_, _>>()?)
}

/// The key of a row, from the cells that tell it apart: bytes that sort as the cells do, nulls
/// first.
pub(crate) fn key_of<'a>(cells: impl IntoIterator<Item = &'a Cell>) -> Vec<u8> {
    let mut key = Vec::new();
    for cell in cells {
        key.push(u8::from(*cell != Cell::Null));
        match cell {
            Cell::Null => {}
            Cell::Bool(value) => value.encode(&mut key),
            Cell::Int(value) => value.encode(&mut key),
            Cell::UInt(value) => value.encode(&mut key),
            Cell::Float(value) => ordered(*value).encode(&mut key),
            Cell::Decimal(value) => value.encode(&mut key),
            Cell::Text(value) => value.encode(&mut key),
            Cell::Bytes(value) => value.encode(&mut key),
            Cell::List(_) | Cell::Struct(_) => unreachable!("`not_a_key` refuses such views"),
        }
    }
    if key.len() > MAX_KEY_BYTES {
        let digest = Sha256::digest(&key);
        key.truncate(MAX_KEY_BYTES);
        key.extend_from_slice(&digest);
    }
    key
}

/// The bits of a float, so that they sort as floats do: negative ones turned around.
fn ordered(value: f64) -> u64 {
    let bits = value.to_bits();
    if value.is_sign_negative() { !bits } else { bits | (1 << 63) }
}

fn cells_of(column: &ArrayRef) -> Result<Vec<Cell>, ArrowError> {
    let form = form(column.data_type()).ok_or_else(|| mismatch("type cannot be stored"))?;
    let via = |kind: &DataType| cast(column, kind);
    Ok(match form {
        Form::Bool => {
            column.as_boolean().iter().map(|one| one.map_or(Cell::Null, Cell::Bool)).collect()
        }
        Form::Int(None) => numbers::<Int64Type>(&via(&DataType::Int64)?, Cell::Int),
        Form::Int(Some(between)) => {
            let column = cast(&via(between)?, &DataType::Int64)?;
            numbers::<Int64Type>(&column, Cell::Int)
        }
        Form::UInt => numbers::<UInt64Type>(&via(&DataType::UInt64)?, Cell::UInt),
        Form::Float => numbers::<Float64Type>(&via(&DataType::Float64)?, Cell::Float),
        Form::Decimal => numbers::<Decimal128Type>(column, Cell::Decimal),
        Form::Text => {
            let column = via(&DataType::Utf8)?;
            let text = column.as_string::<i32>().iter();
            text.map(|one| one.map_or(Cell::Null, |text| Cell::Text(text.to_owned()))).collect()
        }
        Form::Bytes => {
            let column = via(&DataType::Binary)?;
            let bytes = column.as_binary::<i32>().iter();
            bytes.map(|one| one.map_or(Cell::Null, |bytes| Cell::Bytes(bytes.to_owned()))).collect()
        }
        Form::List => {
            let lists = column.as_list::<i32>().iter();
            let cells = lists
                .map(|list| list.map_or(Ok(Cell::Null), |list| cells_of(&list).map(Cell::List)));
            cells.collect::<Result<_, _>>()?
        }
        Form::Struct => struct_cells(column.as_struct())?,
    })
}

fn struct_cells(column: &StructArray) -> Result<Vec<Cell>, ArrowError> {
    let fields = column.columns().iter().map(cells_of).collect::<Result<Vec<_>, _>>()?;
    let mut fields: Vec<_> = fields.into_iter().map(Vec::into_iter).collect();
    let rows = (0..column.len()).map(|row| {
        let cells = fields.iter_mut().filter_map(Iterator::next).collect();
        if column.is_null(row) { Cell::Null } else { Cell::Struct(cells) }
    });
    Ok(rows.collect())
}

fn numbers<T: ArrowPrimitiveType>(column: &ArrayRef, cell: fn(T::Native) -> Cell) -> Vec<Cell> {
    column.as_primitive::<T>().iter().map(|one| one.map_or(Cell::Null, cell)).collect()
}

fn array_of(cells: Vec<Cell>, kind: &DataType) -> Result<ArrayRef, ArrowError> {
    let form = form(kind).ok_or_else(|| mismatch("type cannot be stored"))?;
    /// The values of one variant; any other but null does not belong to the column.
    macro_rules! values {
        ($variant:ident) => {
            cells
                .into_iter()
                .map(|cell| match cell {
                    Cell::$variant(value) => Ok(Some(value)),
                    Cell::Null => Ok(None),
                    _ => Err(mismatch("a stored value has another type than its column")),
                })
                .collect::<Result<Vec<_>, _>>()?
        };
    }
    let array: ArrayRef = match form {
        Form::Bool => Arc::new(BooleanArray::from(values!(Bool))),
        Form::Int(None) => Arc::new(Int64Array::from(values!(Int))),
        Form::Int(Some(between)) => cast(&Int64Array::from(values!(Int)), between)?,
        Form::UInt => Arc::new(UInt64Array::from(values!(UInt))),
        Form::Float => Arc::new(Float64Array::from(values!(Float))),
        Form::Decimal => {
            let values: Decimal128Array = values!(Decimal).into();
            Arc::new(PrimitiveArray::with_data_type(values, kind.clone()))
        }
        Form::Text => Arc::new(StringArray::from(values!(Text))),
        Form::Bytes => {
            let values = values!(Bytes);
            Arc::new(values.iter().map(Option::as_deref).collect::<BinaryArray>())
        }
        Form::List => return lists_of(values!(List), kind),
        Form::Struct => return structs_of(values!(Struct), kind),
    };
    cast(&array, kind)
}

fn lists_of(lists: Vec<Option<Vec<Cell>>>, kind: &DataType) -> Result<ArrayRef, ArrowError> {
    let DataType::List(item) = kind else { return Err(mismatch("not a list")) };
    let nulls: NullBuffer = lists.iter().map(Option::is_some).collect();
    let lengths = lists.iter().map(|list| list.as_ref().map_or(0, Vec::len));
    let offsets = OffsetBuffer::from_lengths(lengths);
    let parts = lists.into_iter().flatten().map(|list| array_of(list, item.data_type()));
    let parts = parts.collect::<Result<Vec<_>, _>>()?;
    let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
    let values = if parts.is_empty() { new_empty_array(item.data_type()) } else { concat(&parts)? };
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, values, Some(nulls))?))
}

fn structs_of(rows: Vec<Option<Vec<Cell>>>, kind: &DataType) -> Result<ArrayRef, ArrowError> {
    let DataType::Struct(fields) = kind else { return Err(mismatch("not a struct")) };
    let nulls: NullBuffer = rows.iter().map(Option::is_some).collect();
    let mut columns: Vec<Vec<Cell>> = fields.iter().map(|_| Vec::new()).collect();
    for row in rows {
        let mut row = row.unwrap_or_default().into_iter();
        columns.iter_mut().for_each(|column| column.push(row.next().unwrap_or(Cell::Null)));
    }
    let arrays =
        fields.iter().zip(columns).map(|(field, cells)| array_of(cells, field.data_type()));
    let arrays = arrays.collect::<Result<_, _>>()?;
    Ok(Arc::new(StructArray::try_new(fields.clone(), arrays, Some(nulls))?))
}

fn mismatch(reason: &str) -> ArrowError {
    ArrowError::SchemaError(reason.to_owned())
}

#[cfg(test)]
mod tests;
