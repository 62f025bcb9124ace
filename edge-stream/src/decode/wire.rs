//! Columns on their way from a payload to the types that were declared: what JSON has no type for
//! comes as text, and is read here.

use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanBuilder, ListArray, StringArray, StructArray,
    TimestampMicrosecondBuilder,
};
use arrow::compute::{max, min};
use arrow::datatypes::{DataType, Date32Type, Field, FieldRef, TimeUnit, TimestampMicrosecondType};

use super::time::TimeFormat;

/// The years 1 to 9999, in microseconds and in days.
const YEARS_MICROS: RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_300_799_999_999;
const YEARS_DAYS: RangeInclusive<i32> = -719_162..=2_932_896;

/// What a value is read as at first: times and truth come as text, number or word.
pub(crate) fn wire_type(kind: &DataType) -> DataType {
    let wire_field = |field: &FieldRef| {
        Arc::new(Field::new(field.name(), wire_type(field.data_type()), field.is_nullable()))
    };
    match kind {
        DataType::Boolean | DataType::Timestamp(..) => DataType::Utf8,
        DataType::List(field) => DataType::List(wire_field(field)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(wire_field).collect()),
        other => other.clone(),
    }
}

/// The values as their declared type; else why one of them is none.
pub(crate) fn from_wire(
    values: &ArrayRef,
    kind: &DataType,
    times: TimeFormat,
) -> Result<ArrayRef, String> {
    match kind {
        DataType::Boolean => truths(values.as_string()),
        DataType::Timestamp(TimeUnit::Microsecond, _) => micros(values.as_string(), times),
        DataType::Date32 => {
            let days = values.as_primitive::<Date32Type>();
            let fits = |day: Option<i32>| day.is_none_or(|day| YEARS_DAYS.contains(&day));
            match fits(min(days)) && fits(max(days)) {
                true => Ok(Arc::clone(values)),
                false => Err("a day outside the years 1 to 9999".to_owned()),
            }
        }
        DataType::List(field) => {
            let list = values.as_list::<i32>();
            let items = from_wire(list.values(), field.data_type(), times)?;
            let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
            let list = ListArray::try_new(Arc::clone(field), offsets, items, nulls);
            Ok(Arc::new(list.map_err(|error| error.to_string())?))
        }
        DataType::Struct(fields) => {
            let parts = values.as_struct();
            let columns = fields.iter().zip(parts.columns());
            let columns = columns.map(|(field, part)| {
                let part = from_wire(part, field.data_type(), times);
                part.map_err(|reason| format!("`{}`: {reason}", field.name()))
            });
            let columns = columns.collect::<Result<_, _>>()?;
            let parts = StructArray::try_new(fields.clone(), columns, parts.nulls().cloned());
            Ok(Arc::new(parts.map_err(|error| error.to_string())?))
        }
        _ => Ok(Arc::clone(values)),
    }
}

fn truths(texts: &StringArray) -> Result<ArrayRef, String> {
    let mut truths = BooleanBuilder::with_capacity(texts.len());
    for text in texts {
        let truth = text.map(|text| truth(text).ok_or_else(|| shown(text)));
        truths.append_option(truth.transpose()?);
    }
    Ok(Arc::new(truths.finish()))
}

pub(super) fn truth(text: &str) -> Option<bool> {
    match text.trim() {
        "true" | "1" | "1.0" => Some(true),
        "false" | "0" | "0.0" => Some(false),
        word if word.eq_ignore_ascii_case("true") || word.eq_ignore_ascii_case("on") => Some(true),
        word if word.eq_ignore_ascii_case("false") || word.eq_ignore_ascii_case("off") => {
            Some(false)
        }
        _ => None,
    }
}

fn micros(texts: &StringArray, times: TimeFormat) -> Result<ArrayRef, String> {
    let mut micros = TimestampMicrosecondBuilder::with_capacity(texts.len());
    for text in texts {
        let time = text.map(|text| {
            let time = times.parse(text).ok_or_else(|| shown(text))?;
            check_year(time).map_err(|reason| format!("{}, {reason}", shown(text)))
        });
        micros.append_option(time.transpose()?);
    }
    Ok(Arc::new(micros.finish()))
}

/// Times that neither SQL nor calendars can handle are refused.
pub(crate) fn check_year(micros: i64) -> Result<i64, &'static str> {
    match YEARS_MICROS.contains(&micros) {
        true => Ok(micros),
        false => Err("which is no time between the years 1 and 9999"),
    }
}

/// As [`check_year`], for all of a column of microseconds.
pub(crate) fn check_years(micros: &ArrayRef) -> Result<(), String> {
    let micros = micros.as_primitive::<TimestampMicrosecondType>();
    for end in [min(micros), max(micros)].into_iter().flatten() {
        check_year(end).map_err(|reason| format!("{end} microseconds, {reason}"))?;
    }
    Ok(())
}

/// A value in a reason.
pub(crate) fn shown(value: &str) -> String {
    const CHARS: usize = 60;
    match value.char_indices().nth(CHARS) {
        Some((end, _)) => format!("`{} ..`", &value[..end]),
        None => format!("`{value}`"),
    }
}
