//! Columns for a stream whose statement has none, from what its records hold.

use std::collections::BTreeSet;

use edge_db::RecordSlice;
use serde_json::Value;

use super::json::{MAX_DEPTH, depth};
use super::time::TimeFormat;
use crate::sql::types::quoted;

/// Different fields of all objects, those in each other included.
const MAX_FIELDS: usize = 1_000;

/// Levels of lists and objects that become types; what lies deeper is left out.
const MAX_LEVELS: usize = 8;

/// What the values of a field have been so far.
#[derive(Debug, Clone, PartialEq)]
enum Shape {
    Null,
    Bool,
    Int,
    Float,
    Time,
    Text,
    List(Box<Shape>),
    Object(Vec<(String, Shape)>),
    /// Values that no one type holds.
    Mixed,
}

/// The columns of JSON records as SQL declares them, separated by commas. `levels` are columns of
/// the topic, and the column `time` is a TIMESTAMP if it is a number.
///
/// # Errors
/// When there is nothing to learn from, or too much.
pub(crate) fn columns(
    records: RecordSlice<'_>,
    levels: &[&str],
    time: Option<&str>,
) -> Result<String, String> {
    let mut shape = Shape::Object(Vec::new());
    let mut objects = 0;
    for record in records {
        if depth(record.value()) <= MAX_DEPTH
            && let Ok(value @ Value::Object(_)) = serde_json::from_slice(record.value())
        {
            shape = merge(shape, shape_of(&value, 0));
            objects += 1;
            if shape.fields() > MAX_FIELDS {
                return Err(format!("its records have more than {MAX_FIELDS} different fields"));
            }
        }
    }
    let Shape::Object(fields) = shape else { return Err("its records differ".to_owned()) };
    let mut columns: Vec<_> =
        levels.iter().map(|level| format!("{} VARCHAR", quoted(level))).collect();
    let lower: Vec<_> = fields.iter().map(|(name, _)| name.to_lowercase()).collect();
    for (name, shape) in &fields {
        let column = column_name(name, &lower);
        if levels.contains(&column.as_str()) || is_reserved(&column) {
            continue;
        }
        let kind = match shape {
            Shape::Int | Shape::Float if time == Some(column.as_str()) => {
                Some("TIMESTAMP".to_owned())
            }
            shape => shape.sql(),
        };
        let Some(kind) = kind else { continue };
        let path = match column == *name {
            true => String::new(),
            false => format!(" PATH '$.{}'", name.replace('\'', "''")),
        };
        columns.push(format!("{} {kind}{path}", quoted(&column)));
    }
    if columns.len() == levels.len() {
        let count = records.len();
        return Err(format!(
            "{objects} of its newest {count} records are JSON objects, and none has a usable field"
        ));
    }
    Ok(columns.join(", "))
}

/// In lower case, so that it can be written without quotes; as it is where that would be another
/// field, or a PATH could not say it.
fn column_name(name: &str, lower: &[String]) -> String {
    let wanted = name.to_lowercase();
    let is_taken = lower.iter().filter(|other| **other == wanted).count() > 1;
    if is_taken || name.contains('.') { name.to_owned() } else { wanted }
}

fn is_reserved(name: &str) -> bool {
    name.is_empty() || name.starts_with('_') || name == "window_start" || name == "window_end"
}

fn shape_of(value: &Value, level: usize) -> Shape {
    match value {
        Value::Null => Shape::Null,
        Value::Bool(_) => Shape::Bool,
        Value::Number(number) if number.is_i64() => Shape::Int,
        Value::Number(_) => Shape::Float,
        Value::String(text) if is_time(text) => Shape::Time,
        Value::String(_) => Shape::Text,
        Value::Array(_) | Value::Object(_) if level > MAX_LEVELS => Shape::Mixed,
        Value::Array(items) => {
            let items = items.iter().map(|item| shape_of(item, level + 1));
            Shape::List(Box::new(items.fold(Shape::Null, merge)))
        }
        Value::Object(fields) => {
            let fields = fields.iter();
            Shape::Object(
                fields.map(|(name, value)| (name.clone(), shape_of(value, level + 1))).collect(),
            )
        }
    }
}

/// A day with a time, not just a number or a day.
fn is_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 16
        && bytes[4] == b'-'
        && bytes[7] == b'-'
        && TimeFormat::Auto.parse(text).is_some()
}

fn merge(one: Shape, other: Shape) -> Shape {
    match (one, other) {
        (Shape::Null, shape) | (shape, Shape::Null) => shape,
        (one, other) if one == other => one,
        (Shape::Int, Shape::Float) | (Shape::Float, Shape::Int) => Shape::Float,
        (Shape::List(one), Shape::List(other)) => Shape::List(Box::new(merge(*one, *other))),
        (Shape::Object(mut fields), Shape::Object(others)) => {
            for (name, shape) in others {
                match fields.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, known)) => *known = merge(known.clone(), shape),
                    None => fields.push((name, shape)),
                }
            }
            Shape::Object(fields)
        }
        (one, other) if one.is_scalar() && other.is_scalar() => Shape::Text,
        _ => Shape::Mixed,
    }
}

impl Shape {
    fn is_scalar(&self) -> bool {
        !matches!(self, Shape::List(_) | Shape::Object(_) | Shape::Mixed)
    }

    fn fields(&self) -> usize {
        match self {
            Shape::Object(fields) => fields.iter().map(|(_, shape)| 1 + shape.fields()).sum(),
            Shape::List(item) => item.fields(),
            _ => 0,
        }
    }

    /// `None` for what is no column.
    fn sql(&self) -> Option<String> {
        Some(match self {
            Shape::Null | Shape::Mixed => return None,
            Shape::Bool => "BOOLEAN".to_owned(),
            Shape::Int => "BIGINT".to_owned(),
            Shape::Float => "DOUBLE".to_owned(),
            Shape::Time => "TIMESTAMP".to_owned(),
            Shape::Text => "VARCHAR".to_owned(),
            Shape::List(item) => format!("{}[]", item.sql()?),
            Shape::Object(fields) => {
                let mut names = BTreeSet::new();
                let fields = fields.iter().filter_map(|(name, shape)| {
                    let is_new = !name.is_empty() && names.insert(name);
                    Some(format!("{} {}", quoted(name), shape.sql()?)).filter(|_| is_new)
                });
                let fields: Vec<_> = fields.collect();
                if fields.is_empty() {
                    return None;
                }
                format!("STRUCT<{}>", fields.join(", "))
            }
        })
    }
}
