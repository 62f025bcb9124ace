//! Columns of a table's keys.

use std::fmt::Debug;
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{
    BinaryBuilder, BooleanBuilder, Decimal256Builder, Float32Builder, Float64Builder, Int8Builder,
    Int16Builder, Int32Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder,
    UInt8Builder, UInt16Builder, UInt32Builder, UInt64Builder,
};
use arrow_buffer::i256;
use arrow_schema::{DataType, TimeUnit};

use super::UTC;
use crate::{Key, Seq, Time};

/// What the 128 bits of an integer take: Arrow has none that are wider than 64, but decimals.
const DIGITS: u8 = 39;

/// A [`Key`] whose parts become columns, none of which is ever null.
///
/// | key | column |
/// |---|---|
/// | `u8` to `u64`, `i8` to `i64` | `UInt8` to `UInt64`, `Int8` to `Int64` |
/// | `u128`, `i128` | `Decimal256(39, 0)` |
/// | `f32`, `f64` | `Float32`, `Float64` |
/// | `bool` | `Boolean` |
/// | `String` | `Utf8` |
/// | `Vec<u8>` | `Binary` |
/// | [`Seq`] | `UInt64` |
/// | [`Time`] | `Timestamp(Microsecond, "UTC")` |
/// | a tuple | those of its parts, in their order |
///
/// A key type of your own that is stored as one of these hands all three calls on to it.
pub trait KeyColumns: Key + Debug {
    /// Keys on their way into columns.
    type Builder: Debug + Default + Send;

    /// The types of the columns.
    fn data_types() -> Vec<DataType>;

    /// Appends this key as a row.
    fn append(&self, columns: &mut Self::Builder);

    /// The columns of the rows appended, one for each data type; none are left.
    fn finish(columns: &mut Self::Builder) -> Vec<ArrayRef>;
}

macro_rules! key_columns {
    ($($key:ty => $builder:ty, $kind:expr, $value:expr;)*) => {$(
        impl KeyColumns for $key {
            type Builder = $builder;

            fn data_types() -> Vec<DataType> {
                vec![$kind]
            }
            fn append(&self, columns: &mut Self::Builder) {
                columns.append_value($value(self));
            }
            fn finish(columns: &mut Self::Builder) -> Vec<ArrayRef> {
                vec![Arc::new(columns.finish())]
            }
        }
    )*};
}

key_columns! {
    u8 => UInt8Builder, DataType::UInt8, u8::clone;
    u16 => UInt16Builder, DataType::UInt16, u16::clone;
    u32 => UInt32Builder, DataType::UInt32, u32::clone;
    u64 => UInt64Builder, DataType::UInt64, u64::clone;
    i8 => Int8Builder, DataType::Int8, i8::clone;
    i16 => Int16Builder, DataType::Int16, i16::clone;
    i32 => Int32Builder, DataType::Int32, i32::clone;
    i64 => Int64Builder, DataType::Int64, i64::clone;
    f32 => Float32Builder, DataType::Float32, f32::clone;
    f64 => Float64Builder, DataType::Float64, f64::clone;
    bool => BooleanBuilder, DataType::Boolean, bool::clone;
    String => StringBuilder, DataType::Utf8, String::as_str;
    Vec<u8> => BinaryBuilder, DataType::Binary, Vec::as_slice;
    Seq => UInt64Builder, DataType::UInt64, |seq: &Seq| seq.get();
}

/// As decimals without a fraction.
macro_rules! wide_columns {
    ($($key:ty, $wide:expr;)*) => {$(
        impl KeyColumns for $key {
            type Builder = Decimal256Builder;

            fn data_types() -> Vec<DataType> {
                vec![DataType::Decimal256(DIGITS, 0)]
            }
            fn append(&self, columns: &mut Decimal256Builder) {
                columns.append_value($wide(*self));
            }
            fn finish(columns: &mut Decimal256Builder) -> Vec<ArrayRef> {
                let column = columns.finish().with_precision_and_scale(DIGITS, 0);
                vec![Arc::new(column.expect("decimals have up to 76 digits"))]
            }
        }
    )*};
}

wide_columns! {
    u128, |number| i256::from_parts(number, 0);
    i128, i256::from_i128;
}

impl KeyColumns for Time {
    type Builder = TimestampMicrosecondBuilder;

    fn data_types() -> Vec<DataType> {
        vec![DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into()))]
    }
    fn append(&self, columns: &mut TimestampMicrosecondBuilder) {
        columns.append_value(self.micros());
    }
    fn finish(columns: &mut TimestampMicrosecondBuilder) -> Vec<ArrayRef> {
        vec![Arc::new(columns.finish().with_timezone(UTC))]
    }
}

macro_rules! tuple_columns {
    ($($part:ident $at:tt),*) => {
        impl<$($part: KeyColumns),*> KeyColumns for ($($part,)*) {
            type Builder = ($($part::Builder,)*);

            fn data_types() -> Vec<DataType> {
                [$($part::data_types()),*].concat()
            }
            fn append(&self, columns: &mut Self::Builder) {
                $(self.$at.append(&mut columns.$at);)*
            }
            fn finish(columns: &mut Self::Builder) -> Vec<ArrayRef> {
                [$($part::finish(&mut columns.$at)),*].concat()
            }
        }
    };
}

tuple_columns!(A 0, B 1);
tuple_columns!(A 0, B 1, C 2);
tuple_columns!(A 0, B 1, C 2, D 3);
