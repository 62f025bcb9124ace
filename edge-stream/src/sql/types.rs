//! SQL's types of columns, and Arrow's.

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, DataType as SqlType, ExactNumberInfo, TimezoneInfo,
};

/// Levels of arrays and structs in one type.
const MAX_DEPTH: usize = 16;

/// What a column of this type is in Arrow; `None` if streams have no such columns.
pub(crate) fn column_type(kind: &SqlType) -> Option<DataType> {
    type_at(kind, 0)
}

fn type_at(kind: &SqlType, depth: usize) -> Option<DataType> {
    if depth > MAX_DEPTH {
        return None;
    }
    Some(match kind {
        SqlType::Varchar(_) | SqlType::Text | SqlType::String(_) | SqlType::CharacterVarying(_) => {
            DataType::Utf8
        }
        SqlType::Boolean | SqlType::Bool => DataType::Boolean,
        SqlType::TinyInt(_) => DataType::Int8,
        SqlType::SmallInt(_) | SqlType::Int2(_) => DataType::Int16,
        SqlType::Int(_) | SqlType::Integer(_) | SqlType::Int4(_) => DataType::Int32,
        SqlType::BigInt(_) | SqlType::Int8(_) => DataType::Int64,
        SqlType::Real | SqlType::Float4 => DataType::Float32,
        SqlType::Double(_) | SqlType::DoublePrecision | SqlType::Float8 | SqlType::Float(_) => {
            DataType::Float64
        }
        SqlType::Decimal(info) | SqlType::Numeric(info) => decimal(*info)?,
        SqlType::Bytea | SqlType::Blob(_) | SqlType::Varbinary(_) | SqlType::Binary(_) => {
            DataType::Binary
        }
        SqlType::Array(
            ArrayElemTypeDef::AngleBracket(item) | ArrayElemTypeDef::SquareBracket(item, _),
        ) => DataType::new_list(type_at(item, depth + 1)?, true),
        SqlType::Struct(fields, _) => {
            let fields = fields.iter().map(|field| {
                let name = super::names::normalized(field.field_name.clone()?);
                Some(Field::new(name, type_at(&field.field_type, depth + 1)?, true))
            });
            DataType::Struct(fields.collect::<Option<_>>()?)
        }
        SqlType::Date => DataType::Date32,
        SqlType::Timestamp(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            DataType::Timestamp(TimeUnit::Microsecond, None)
        }
        _ => return None,
    })
}

fn decimal(info: ExactNumberInfo) -> Option<DataType> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => (38, 10),
        ExactNumberInfo::Precision(precision) => (precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (precision, scale),
    };
    let (precision, scale) = (u8::try_from(precision).ok()?, i8::try_from(scale).ok()?);
    let fits = (1..=38).contains(&precision) && (0..=38).contains(&scale);
    fits.then_some(DataType::Decimal128(precision, scale))
}

/// How SQL writes the type of a stream's column.
pub(crate) fn sql_type(kind: &DataType) -> String {
    let word = match kind {
        DataType::Boolean => "BOOLEAN",
        DataType::Int8 => "TINYINT",
        DataType::Int16 => "SMALLINT",
        DataType::Int32 => "INTEGER",
        DataType::Int64 => "BIGINT",
        DataType::Float32 => "REAL",
        DataType::Float64 => "DOUBLE",
        DataType::Binary => "VARBINARY",
        DataType::Date32 => "DATE",
        DataType::Timestamp(..) => "TIMESTAMP",
        DataType::Decimal128(precision, scale) => return format!("DECIMAL({precision}, {scale})"),
        DataType::List(item) => return format!("{}[]", sql_type(item.data_type())),
        DataType::Struct(fields) => {
            let fields = fields.iter();
            let fields = fields
                .map(|field| format!("{} {}", quoted(field.name()), sql_type(field.data_type())));
            return format!("STRUCT<{}>", fields.collect::<Vec<_>>().join(", "));
        }
        _ => "VARCHAR",
    };
    word.to_owned()
}

/// A name as SQL reads it back, with quotes.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
