//! Objects with named fields, in whatever syntax, as columns.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, new_null_array};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow_json::reader::{Decoder as JsonDecoder, ReaderBuilder};
use serde_json::Value;

use super::flat::Flat;
use super::time::TimeFormat;
use super::wire::{from_wire, shown, wire_type};
use crate::sql::types::sql_type;

/// Characters of a reason.
const REASON_CHARS: usize = 300;

/// Where in the objects each column lies, and how it is read.
#[derive(Debug, Clone)]
pub(crate) struct Objects {
    fields: Vec<FieldRef>,
    /// The path of each column, and the places of its parts in the schema.
    paths: Vec<(Vec<String>, Vec<usize>)>,
    wire: SchemaRef,
    times: TimeFormat,
    /// Reads JSON objects faster, if all columns are plain.
    flat: Option<Flat>,
}

/// The objects that the paths of all columns lead through.
#[derive(Default)]
struct Tree(Vec<(String, Branch)>);

enum Branch {
    Value(DataType),
    Object(Tree),
}

impl Tree {
    /// The places of the parts of this path; they are made where there are none.
    fn insert(&mut self, path: &[String], kind: &DataType) -> Result<Vec<usize>, String> {
        let Some((name, rest)) = path.split_first() else { return Ok(Vec::new()) };
        let known = self.0.iter().position(|(known, _)| known == name);
        let place = known.unwrap_or(self.0.len());
        if known.is_none() {
            let branch = match rest {
                [] => Branch::Value(kind.clone()),
                _ => Branch::Object(Tree::default()),
            };
            self.0.push((name.clone(), branch));
        }
        let mut places = vec![place];
        match &mut self.0[place].1 {
            Branch::Object(tree) if !rest.is_empty() => places.extend(tree.insert(rest, kind)?),
            Branch::Value(known) if rest.is_empty() && known == kind => {}
            _ => {
                return Err(format!(
                    "field `{name}` is one thing in one column's path, and another in another's"
                ));
            }
        }
        Ok(places)
    }

    fn fields(&self) -> Fields {
        let fields = self.0.iter().map(|(name, branch)| {
            let kind = match branch {
                Branch::Value(kind) => kind.clone(),
                Branch::Object(tree) => DataType::Struct(tree.fields()),
            };
            Field::new(name, kind, true)
        });
        fields.collect()
    }
}

impl Objects {
    /// Columns without a path of their own are fields by their names.
    ///
    /// # Errors
    /// When two paths do not fit together; says where.
    pub(crate) fn new(
        fields: &[FieldRef],
        paths: &BTreeMap<String, Vec<String>>,
        times: TimeFormat,
    ) -> Result<Objects, String> {
        let flat = Flat::new(fields, paths, times);
        let mut tree = Tree::default();
        let placed = fields.iter().map(|field| {
            let path = paths.get(field.name()).cloned();
            let path = path.unwrap_or_else(|| vec![field.name().clone()]);
            let places = tree.insert(&path, &wire_type(field.data_type()))?;
            Ok((path, places))
        });
        let paths = placed.collect::<Result<_, String>>()?;
        Ok(Objects {
            fields: fields.to_vec(),
            paths,
            wire: Arc::new(Schema::new(tree.fields())),
            times,
            flat,
        })
    }

    /// The columns of JSON payloads of one object each, if all are of the usual kind; if not, that
    /// says nothing about them.
    pub(crate) fn read_flat<'a>(
        &self,
        payloads: impl ExactSizeIterator<Item = &'a [u8]>,
    ) -> Option<Vec<ArrayRef>> {
        self.flat.as_ref()?.read(payloads)
    }

    /// What takes in so many objects; their columns are [`Objects::columns`] then.
    pub(crate) fn decoder(&self, rows: usize) -> Result<JsonDecoder, String> {
        let builder = ReaderBuilder::new(Arc::clone(&self.wire)).with_batch_size(rows.max(1));
        let decoder = builder.with_coerce_primitive(true).build_decoder();
        decoder.map_err(|error| reason_of(&error))
    }

    /// The columns of all objects in there; a stream may have none of them.
    pub(crate) fn columns(&self, mut decoder: JsonDecoder) -> Result<Vec<ArrayRef>, String> {
        let Some(batch) = decoder.flush().map_err(|error| reason_of(&error))? else {
            let columns = self.fields.iter();
            return Ok(columns.map(|field| new_null_array(field.data_type(), 0)).collect());
        };
        let columns = self.fields.iter().zip(&self.paths).map(|(field, (_, places))| {
            let (first, rest) = places.split_first().expect("a path has a first part");
            let mut values = batch.column(*first);
            for place in rest {
                // What lies in an object that is null is null itself.
                values = values.as_struct().column(*place);
            }
            from_wire(values, field.data_type(), self.times)
                .map_err(|reason| self.refusal(field, &reason))
        });
        columns.collect()
    }

    /// The columns of objects that [`Objects::columns`] has refused, once more with values as
    /// people write them: spaces around numbers, 3.0 for 3, true for 1. Else the reason, with the
    /// column and its value.
    pub(crate) fn loosely(&self, mut objects: Vec<Value>) -> Result<Vec<ArrayRef>, String> {
        for object in &mut objects {
            if !object.is_object() {
                return Err(format!("expected one object, found {}", shown(&object.to_string())));
            }
            for (field, (path, _)) in self.fields.iter().zip(&self.paths) {
                if let Some(value) = at_mut(object, path) {
                    loosen(value, field.data_type());
                }
            }
        }
        let columns = self.serialized(&objects);
        columns.map_err(|reason| self.culprit(&objects).unwrap_or(reason))
    }

    fn serialized(&self, objects: &[Value]) -> Result<Vec<ArrayRef>, String> {
        let mut decoder = self.decoder(objects.len())?;
        decoder.serialize(objects).map_err(|error| reason_of(&error))?;
        self.columns(decoder)
    }

    /// The first column that cannot be read, and what stands there.
    fn culprit(&self, objects: &[Value]) -> Option<String> {
        for (place, field) in self.fields.iter().enumerate() {
            let path = &self.paths[place].0;
            let only = BTreeMap::from([(field.name().clone(), path.clone())]);
            let only = Objects::new(std::slice::from_ref(field), &only, self.times).ok()?;
            for object in objects {
                if only.serialized(std::slice::from_ref(object)).is_err() {
                    let value =
                        at(object, path).map_or_else(|| object.to_string(), Value::to_string);
                    return Some(self.refusal(field, &shown(&value)));
                }
            }
        }
        None
    }

    fn refusal(&self, field: &Field, reason: &str) -> String {
        format!(
            "column `{}` is {}, and the record has {reason}",
            field.name(),
            sql_type(field.data_type())
        )
    }
}

fn at<'a>(object: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(object, |value, name| value.get(name))
}

fn at_mut<'a>(object: &'a mut Value, path: &[String]) -> Option<&'a mut Value> {
    path.iter().try_fold(object, |value, name| value.get_mut(name))
}

/// A number or truth in another dress is one.
fn loosen(value: &mut Value, kind: &DataType) {
    if !kind.is_numeric() {
        return;
    }
    match value {
        Value::Bool(truth) => *value = Value::from(u8::from(*truth)),
        Value::String(text) => {
            let number = text.trim();
            let number = match number.parse::<i64>() {
                Ok(whole) => Some(Value::from(whole)),
                Err(_) => number.parse::<f64>().ok().map(Value::from),
            };
            // What is no finite number has become null, and stays text.
            if let Some(number) = number.filter(Value::is_number) {
                *value = number;
            }
        }
        _ => {}
    }
}

/// The reason, without all of a long payload that the message may repeat.
pub(crate) fn reason_of(error: &ArrowError) -> String {
    let mut reason = match error {
        ArrowError::JsonError(reason) | ArrowError::ParseError(reason) => reason.clone(),
        other => other.to_string(),
    };
    if let Some((end, _)) = reason.char_indices().nth(REASON_CHARS) {
        reason.truncate(end);
        reason.push_str(" ..");
    }
    reason
}
