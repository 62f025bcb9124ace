//! Rows as CBOR maps (RFC 8949), by the names of their columns. What CBOR has no type for, as
//! times and decimals, is its text; what is NULL is left out.

use std::convert::Infallible;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Fields, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use minicbor::Encoder;
use minicbor::encode::Error;

type Written = Result<(), Error<Infallible>>;

pub(super) fn maps(rows: &RecordBatch) -> Result<Vec<Vec<u8>>, ArrowError> {
    let (schema, columns) = (rows.schema(), rows.columns());
    let columns: Vec<&dyn Array> = columns.iter().map(AsRef::as_ref).collect();
    let maps = (0..rows.num_rows()).map(|row| {
        let mut bytes = Vec::new();
        let written = map(&mut Encoder::new(&mut bytes), schema.fields(), &columns, row);
        written.map_err(|error| ArrowError::ExternalError(error.to_string().into()))?;
        Ok(bytes)
    });
    maps.collect()
}

fn map(
    to: &mut Encoder<&mut Vec<u8>>,
    fields: &Fields,
    columns: &[&dyn Array],
    row: usize,
) -> Written {
    let there = || fields.iter().zip(columns).filter(|(_, column)| column.is_valid(row));
    to.map(there().count() as u64)?;
    for (field, column) in there() {
        to.str(field.name())?;
        value(to, *column, row)?;
    }
    Ok(())
}

fn value(to: &mut Encoder<&mut Vec<u8>>, from: &dyn Array, row: usize) -> Written {
    if from.is_null(row) {
        return to.null().map(drop);
    }
    macro_rules! number {
        ($put:ident: $kind:ty) => {
            to.$put(from.as_primitive::<$kind>().value(row)).map(drop)
        };
    }
    match from.data_type() {
        DataType::Boolean => to.bool(from.as_boolean().value(row)).map(drop),
        DataType::Int8 => number!(i8: Int8Type),
        DataType::Int16 => number!(i16: Int16Type),
        DataType::Int32 => number!(i32: Int32Type),
        DataType::Int64 => number!(i64: Int64Type),
        DataType::UInt8 => number!(u8: UInt8Type),
        DataType::UInt16 => number!(u16: UInt16Type),
        DataType::UInt32 => number!(u32: UInt32Type),
        DataType::UInt64 => number!(u64: UInt64Type),
        DataType::Float32 => number!(f32: Float32Type),
        DataType::Float64 => number!(f64: Float64Type),
        DataType::Utf8 => to.str(from.as_string::<i32>().value(row)).map(drop),
        DataType::Binary => to.bytes(from.as_binary::<i32>().value(row)).map(drop),
        DataType::List(_) => {
            let items = from.as_list::<i32>().value(row);
            to.array(items.len() as u64)?;
            (0..items.len()).try_for_each(|item| value(to, &items, item))
        }
        DataType::Struct(fields) => {
            let columns = from.as_struct().columns();
            let columns: Vec<&dyn Array> = columns.iter().map(AsRef::as_ref).collect();
            map(to, fields, &columns, row)
        }
        _ => to.str(&text(from, row).map_err(Error::message)?).map(drop),
    }
}

fn text(from: &dyn Array, row: usize) -> Result<String, ArrowError> {
    ArrayFormatter::try_new(from, &FormatOptions::default())?.value(row).try_to_string()
}
