//! A column on its way from JSON values.

use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanBuilder, Float32Builder, Float64Builder, Int64Array, Int64Builder,
    PrimitiveArray, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::compute::kernels::cast_utils::Parser;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    TimeUnit,
};

use super::scan::Scan;
use crate::decode::time::TimeFormat;
use crate::decode::wire::{check_year, truth};

/// What a column holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Text,
    Double,
    Real,
    /// Whole numbers of so many bits.
    Whole(u32),
    Time,
    Truth,
}

impl Kind {
    pub(super) fn of(kind: &DataType) -> Option<Kind> {
        Some(match kind {
            DataType::Utf8 => Kind::Text,
            DataType::Float64 => Kind::Double,
            DataType::Float32 => Kind::Real,
            DataType::Int8 => Kind::Whole(8),
            DataType::Int16 => Kind::Whole(16),
            DataType::Int32 => Kind::Whole(32),
            DataType::Int64 => Kind::Whole(64),
            DataType::Timestamp(TimeUnit::Microsecond, None) => Kind::Time,
            DataType::Boolean => Kind::Truth,
            _ => return None,
        })
    }
}

/// The values so far.
#[derive(Debug)]
pub(super) enum Column {
    Text(StringBuilder),
    Double(Float64Builder),
    Real(Float32Builder),
    Whole(u32, Int64Builder),
    Time(TimestampMicrosecondBuilder),
    Truth(BooleanBuilder),
}

impl Column {
    pub(super) fn new(kind: Kind, rows: usize) -> Column {
        match kind {
            Kind::Text => Column::Text(StringBuilder::with_capacity(rows, rows * 16)),
            Kind::Double => Column::Double(Float64Builder::with_capacity(rows)),
            Kind::Real => Column::Real(Float32Builder::with_capacity(rows)),
            Kind::Whole(bits) => Column::Whole(bits, Int64Builder::with_capacity(rows)),
            Kind::Time => Column::Time(TimestampMicrosecondBuilder::with_capacity(rows)),
            Kind::Truth => Column::Truth(BooleanBuilder::with_capacity(rows)),
        }
    }

    pub(super) fn null(&mut self) {
        match self {
            Column::Text(values) => values.append_null(),
            Column::Double(values) => values.append_null(),
            Column::Real(values) => values.append_null(),
            Column::Whole(_, values) => values.append_null(),
            Column::Time(values) => values.append_null(),
            Column::Truth(values) => values.append_null(),
        }
    }

    /// Takes the value that comes next.
    pub(super) fn read(&mut self, scan: &mut Scan<'_>, times: TimeFormat) -> Option<()> {
        match scan.first()? {
            b'"' => {
                scan.expect(b'"')?;
                self.text(scan, times)
            }
            b'-' | b'0'..=b'9' => self.number(scan, times),
            b'n' => {
                scan.expect_all(b"null")?;
                self.null();
                Some(())
            }
            b't' => {
                scan.expect_all(b"true")?;
                self.truth(true)
            }
            b'f' => {
                scan.expect_all(b"false")?;
                self.truth(false)
            }
            _ => None,
        }
    }

    fn text(&mut self, scan: &mut Scan<'_>, times: TimeFormat) -> Option<()> {
        let text = scan.string()?;
        match self {
            Column::Text(values) => values.append_value(text),
            Column::Double(values) => values.append_value(Float64Type::parse(&text)?),
            Column::Real(values) => values.append_value(Float32Type::parse(&text)?),
            Column::Time(values) => values.append_value(check_year(times.parse(&text)?).ok()?),
            Column::Truth(values) => values.append_value(truth(&text)?),
            // 3.0 in a text may be a whole number, too.
            Column::Whole(..) => return None,
        }
        Some(())
    }

    fn number(&mut self, scan: &mut Scan<'_>, times: TimeFormat) -> Option<()> {
        let number = scan.number()?;
        match self {
            Column::Text(values) => values.append_value(number.text),
            Column::Double(values) => values.append_value(number.double()?),
            Column::Real(values) => values.append_value(number.text.parse().ok()?),
            Column::Whole(bits, values) => {
                let whole = number.whole().filter(|whole| range(*bits).contains(whole));
                values.append_value(whole?);
            }
            Column::Time(values) => {
                let time = match number.whole() {
                    Some(whole) => times.number(whole),
                    None => times.parse(number.text),
                };
                values.append_value(check_year(time?).ok()?);
            }
            Column::Truth(values) => values.append_value(truth(number.text)?),
        }
        Some(())
    }

    fn truth(&mut self, truth: bool) -> Option<()> {
        match self {
            Column::Text(values) => values.append_value(if truth { "true" } else { "false" }),
            Column::Truth(values) => values.append_value(truth),
            _ => return None,
        }
        Some(())
    }

    pub(super) fn finish(self) -> ArrayRef {
        match self {
            Column::Text(mut values) => Arc::new(values.finish()),
            Column::Double(mut values) => Arc::new(values.finish()),
            Column::Real(mut values) => Arc::new(values.finish()),
            Column::Whole(8, mut values) => narrowed::<Int8Type>(&values.finish()),
            Column::Whole(16, mut values) => narrowed::<Int16Type>(&values.finish()),
            Column::Whole(32, mut values) => narrowed::<Int32Type>(&values.finish()),
            Column::Whole(_, mut values) => Arc::new(values.finish()),
            Column::Time(mut values) => Arc::new(values.finish()),
            Column::Truth(mut values) => Arc::new(values.finish()),
        }
    }
}

/// Whole numbers of so many bits.
fn range(bits: u32) -> RangeInclusive<i64> {
    let most = i64::MAX >> (64 - bits);
    -most - 1..=most
}

/// Numbers that were looked at one by one, in fewer bits.
fn narrowed<T: ArrowPrimitiveType<Native: TryFrom<i64>>>(wide: &Int64Array) -> ArrayRef {
    let narrow: PrimitiveArray<T> = wide.unary_opt(|number| T::Native::try_from(number).ok());
    debug_assert_eq!(narrow.null_count(), wide.null_count());
    Arc::new(narrow)
}
