//! Look-ups of jobs in views and in Tables of the application.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::datatypes::{DataType, Field};
use datafusion::error::Result;
use edge_db::{Db, Key, Snapshot};

use super::cells::{self, Cell};
use super::own::{OwnRows, external};
use super::stored::ViewRows;
use crate::lookup::{Found, Lookup};

/// Looks up rows of a view.
#[derive(Debug)]
pub(crate) struct ViewLookup {
    pub(crate) db: Db,
    pub(crate) rows: Arc<ViewRows>,
    pub(crate) key: Vec<usize>,
}

/// Looks up rows of a Table of the application.
#[derive(Debug)]
pub(crate) struct OwnLookup {
    pub(crate) db: Db,
    pub(crate) rows: Arc<OwnRows>,
    pub(crate) key: Vec<usize>,
}

impl Lookup for ViewLookup {
    fn key(&self) -> &[usize] {
        &self.key
    }

    fn find(&self, keys: &[ArrayRef]) -> Result<Found> {
        let get = |at: &Snapshot, key: &[Cell]| {
            at.get(&self.rows.table, &cells::key_of(key)).map_err(external)
        };
        let (rows, places) = find(&self.db, keys, get)?;
        Ok(Found { rows: cells::batch_of(&self.rows.schema, rows)?, places })
    }
}

impl Lookup for OwnLookup {
    fn key(&self) -> &[usize] {
        &self.key
    }

    fn find(&self, keys: &[ArrayRef]) -> Result<Found> {
        let (rows, places) = find(&self.db, keys, |at, key| self.rows.get(at, key))?;
        Ok(Found { rows: self.rows.batch_of(&rows)?, places })
    }
}

/// Rows by their keys, each key looked up once; all at one moment. A null equals nothing.
fn find<R>(
    db: &Db,
    keys: &[ArrayRef],
    get: impl Fn(&Snapshot, &[Cell]) -> Result<Option<R>>,
) -> Result<(Vec<R>, UInt32Array)> {
    let named = keys.iter().enumerate().map(|(place, key)| (place.to_string(), Arc::clone(key)));
    let keys = cells::rows_of(&RecordBatch::try_from_iter(named)?)?;
    let at = db.snapshot().map_err(external)?;
    let (mut rows, mut known) = (Vec::new(), HashMap::<Vec<u8>, Option<u32>>::new());
    let places = keys.iter().map(|key| {
        if key.contains(&Cell::Null) {
            return Ok(None);
        }
        let bytes = cells::key_of(key);
        if let Some(place) = known.get(&bytes) {
            return Ok(*place);
        }
        let place = get(&at, key)?.map(|row| {
            rows.push(row);
            u32::try_from(rows.len() - 1).expect("a batch has at most some thousand rows")
        });
        known.insert(bytes, place);
        Ok(place)
    });
    let places = places.collect::<Result<UInt32Array>>()?;
    Ok((rows, places))
}

/// The parts of a key, by the name of its encoding.
pub(crate) fn parts(kind: &str) -> Vec<&str> {
    match kind.strip_prefix('(').and_then(|kind| kind.strip_suffix(')')) {
        Some(parts) => parts.split(',').collect(),
        None => vec![kind],
    }
}

/// The column that a part of a key is, as far as it can be looked up.
pub(crate) fn key_field(name: &str, part: &str) -> Option<Field> {
    let kind = match part {
        "text" => DataType::Utf8,
        "bool" => DataType::Boolean,
        "f32" | "f64" => DataType::Float64,
        "u8" | "u16" | "u32" | "u64" | "i8" | "i16" | "i32" | "i64" | "seq" | "time" => {
            DataType::Int64
        }
        _ => return None,
    };
    Some(Field::new(name, kind, true))
}

/// The bytes of a key; `None` where no key has such a value.
pub(crate) fn encode(parts: &[&str], cells: &[Cell]) -> Option<Vec<u8>> {
    let mut key = Vec::new();
    for (part, cell) in parts.iter().zip(cells) {
        let number = match cell {
            Cell::Int(number) => Some(i128::from(*number)),
            Cell::UInt(number) => Some(i128::from(*number)),
            _ => None,
        };
        macro_rules! number {
            ($($name:literal: $kind:ty),*) => {
                match (*part, cell) {
                    $(($name, _) => <$kind>::try_from(number?).ok()?.encode(&mut key),)*
                    ("text", Cell::Text(text)) => text.encode(&mut key),
                    ("bool", Cell::Bool(value)) => value.encode(&mut key),
                    ("f64", Cell::Float(value)) => value.encode(&mut key),
                    #[expect(clippy::cast_possible_truncation, reason = "a wider one finds none")]
                    ("f32", Cell::Float(value)) if f64::from(*value as f32) == *value => {
                        (*value as f32).encode(&mut key);
                    }
                    _ => return None,
                }
            };
        }
        number!("u8": u8, "u16": u16, "u32": u32, "u64": u64, "seq": u64,
                "i8": i8, "i16": i16, "i32": i32, "i64": i64, "time": i64);
    }
    Some(key)
}
