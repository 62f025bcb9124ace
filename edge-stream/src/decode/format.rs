//! What `WITH (format = '..', ..)` says of the records of a stream.

use std::collections::BTreeMap;
use std::str::FromStr;

use arrow::datatypes::{DataType, Field, FieldRef};

use super::ipc::Batches;
use super::lines::Csv;
use super::objects::Objects;
use super::payload::{Payload, Syntax};
use super::sparkplug;
use super::time::TimeFormat;
use crate::sql::types::sql_type;

/// The names of all formats.
pub(crate) const FORMATS: [&str; 6] = ["json", "csv", "raw", "cbor", "arrow_ipc", "sparkplug_b"];

/// The syntax of a payload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum FormatKind {
    /// One object.
    #[default]
    Json,
    /// Lines; each is a row.
    Csv,
    /// The payload is the one column.
    Raw,
    /// One map.
    Cbor,
    /// An Arrow IPC stream; each row of its batches is one.
    ArrowIpc,
    /// A Sparkplug B payload; each metric is a row.
    SparkplugB,
}

/// How the records of a stream are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Format {
    pub(crate) kind: FormatKind,
    pub(crate) times: TimeFormat,
    /// For CSV: whether each payload begins with the names of its columns.
    pub(crate) has_header: bool,
    pub(crate) delimiter: u8,
    /// For JSON and CBOR: where columns lie that are no fields by their own names.
    pub(crate) paths: BTreeMap<String, Vec<String>>,
}

impl Default for Format {
    fn default() -> Format {
        Format {
            kind: FormatKind::default(),
            times: TimeFormat::default(),
            has_header: false,
            delimiter: b',',
            paths: BTreeMap::new(),
        }
    }
}

impl FormatKind {
    /// Its name in SQL.
    pub(crate) fn word(self) -> &'static str {
        match self {
            FormatKind::Json => "json",
            FormatKind::Csv => "csv",
            FormatKind::Raw => "raw",
            FormatKind::Cbor => "cbor",
            FormatKind::ArrowIpc => "arrow_ipc",
            FormatKind::SparkplugB => "sparkplug_b",
        }
    }
}

impl FromStr for FormatKind {
    type Err = ();

    fn from_str(name: &str) -> Result<FormatKind, ()> {
        Ok(match name.to_ascii_lowercase().as_str() {
            "json" => FormatKind::Json,
            "csv" => FormatKind::Csv,
            "raw" => FormatKind::Raw,
            "cbor" => FormatKind::Cbor,
            "arrow_ipc" => FormatKind::ArrowIpc,
            "sparkplug_b" => FormatKind::SparkplugB,
            _ => return Err(()),
        })
    }
}

impl Format {
    /// What reads these columns, those of the topic's levels left out.
    ///
    /// # Errors
    /// When the format has no such columns; says what would do.
    pub(crate) fn payload(&self, fields: &[FieldRef]) -> Result<Payload, String> {
        if let Some(name) = self.paths.keys().next().filter(|_| !self.has_paths()) {
            return Err(format!("column `{name}`: a PATH leads into json and cbor only"));
        }
        let objects = || Objects::new(fields, &self.paths, self.times);
        Ok(match self.kind {
            FormatKind::Json => Payload::Objects(objects()?, Syntax::Json),
            FormatKind::Cbor => Payload::Objects(objects()?, Syntax::Cbor),
            FormatKind::Csv => {
                refuse_nested(fields, "csv")?;
                let names = fields.iter().map(|field| field.name().clone()).collect();
                let (has_header, delimiter) = (self.has_header, self.delimiter);
                Payload::Objects(objects()?, Syntax::Csv(Csv { names, has_header, delimiter }))
            }
            FormatKind::Raw => match fields {
                [field] if matches!(field.data_type(), DataType::Utf8 | DataType::Binary) => {
                    Payload::Whole(field.clone())
                }
                [field] => {
                    refuse_nested(fields, "raw")?;
                    Payload::Objects(objects()?, Syntax::Value(field.name().clone()))
                }
                _ => {
                    let count = fields.len();
                    return Err(format!(
                        "format 'raw' has one column, the payload, and not {count}"
                    ));
                }
            },
            FormatKind::ArrowIpc => {
                Payload::Batches(Batches { fields: fields.to_vec(), times: self.times })
            }
            FormatKind::SparkplugB => {
                fields.iter().try_for_each(|field| check_sparkplug(field))?;
                Payload::Sparkplug(fields.to_vec())
            }
        })
    }

    fn has_paths(&self) -> bool {
        matches!(self.kind, FormatKind::Json | FormatKind::Cbor)
    }
}

fn refuse_nested(fields: &[FieldRef], format: &str) -> Result<(), String> {
    match fields.iter().find(|field| field.data_type().is_nested()) {
        Some(field) => {
            let (name, kind) = (field.name(), sql_type(field.data_type()));
            Err(format!("column `{name}` of type {kind} cannot come from {format}"))
        }
        None => Ok(()),
    }
}

fn check_sparkplug(field: &Field) -> Result<(), String> {
    let name = field.name();
    let Some((_, kind)) = sparkplug::COLUMNS.iter().find(|(known, _)| known == name) else {
        let known =
            sparkplug::COLUMNS.iter().map(|(name, kind)| format!("{name} {}", sql_type(kind)));
        let known = known.collect::<Vec<_>>().join(", ");
        return Err(format!("format 'sparkplug_b' has no column `{name}`, but {known}"));
    };
    match field.data_type() == kind {
        true => Ok(()),
        false => Err(format!("column `{name}` of format 'sparkplug_b' is {}", sql_type(kind))),
    }
}
