//! Payloads of records as columns, whatever their format.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, StringArray};
use arrow::compute::concat;
use arrow::datatypes::{DataType, FieldRef};
use arrow_json::reader::Decoder as JsonDecoder;
use serde_json::{Value, json};

use super::changes::ChangeReader;
use super::ipc::Batches;
use super::lines::Csv;
use super::objects::{Objects, reason_of};
use super::{cbor, json};

/// What reads the payloads of a stream.
#[derive(Debug, Clone)]
pub(crate) enum Payload {
    /// Objects with named fields.
    Objects(Objects, Syntax),
    /// The payload itself, as text or bytes.
    Whole(FieldRef),
    Batches(Batches),
    /// Of the change log of a table: what a record says is in its headers, too.
    Changes(ChangeReader),
    /// These columns of metrics. They need a memory and are read one by one.
    Sparkplug(Vec<FieldRef>),
}

#[derive(Debug, Clone)]
pub(crate) enum Syntax {
    Json,
    Cbor,
    Csv(Csv),
    /// One value, for the column of this name.
    Value(String),
}

/// The columns of some payloads.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) columns: Vec<ArrayRef>,
    /// How many rows each payload has made; `None` if that was one each.
    pub(crate) counts: Option<Vec<usize>>,
}

impl Payload {
    /// All payloads at once; an error if any of them is no row as it stands.
    pub(crate) fn read<'a>(
        &self,
        payloads: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
    ) -> Result<Rows, String> {
        match self {
            Payload::Objects(objects, syntax) => {
                if let Syntax::Json = syntax
                    && let Some(columns) = objects.read_flat(payloads.clone())
                {
                    return Ok(Rows { columns, counts: None });
                }
                let mut decoder = objects.decoder(payloads.len())?;
                let mut counts = Vec::new();
                for payload in payloads {
                    let before = decoder.len();
                    syntax.read(&mut decoder, payload)?;
                    counts.push(decoder.len() - before);
                }
                let columns = objects.columns(decoder)?;
                let counts = matches!(syntax, Syntax::Csv(_)).then_some(counts);
                Ok(Rows { columns, counts })
            }
            Payload::Whole(field) => whole(field.data_type(), payloads),
            Payload::Batches(batches) => {
                let (mut parts, mut counts) = (Vec::new(), Vec::new());
                for payload in payloads {
                    let (columns, rows) = batches.read(payload)?;
                    parts.push(columns);
                    counts.push(rows);
                }
                let columns = (0..batches.fields.len()).map(|place| {
                    let parts: Vec<_> = parts.iter().map(|part| part[place].as_ref()).collect();
                    concat(&parts).map_err(|error| reason_of(&error))
                });
                Ok(Rows { columns: columns.collect::<Result<_, _>>()?, counts: Some(counts) })
            }
            Payload::Changes(_) => Err("changes are read with their headers".to_owned()),
            Payload::Sparkplug(_) => Err("metrics are read one by one".to_owned()),
        }
    }

    /// One payload, with all the patience there is, or the reason why it is no row.
    pub(crate) fn read_one(&self, payload: &[u8]) -> Result<Rows, String> {
        let Payload::Objects(objects, syntax) = self else {
            return self.read(std::iter::once(payload));
        };
        let mut decoder = objects.decoder(1)?;
        syntax.read(&mut decoder, payload)?;
        let rows = decoder.len();
        let columns = match objects.columns(decoder) {
            Ok(columns) => columns,
            Err(_) => objects.loosely(syntax.values(payload)?)?,
        };
        Ok(Rows { columns, counts: Some(vec![rows]) })
    }
}

impl Syntax {
    /// Puts the objects of a payload into the decoder.
    fn read(&self, decoder: &mut JsonDecoder, payload: &[u8]) -> Result<(), String> {
        match self {
            Syntax::Json => json::read(decoder, payload, decoder.len()),
            Syntax::Cbor => {
                let value = cbor::value(payload)?;
                decoder.serialize(&[value]).map_err(|error| reason_of(&error))
            }
            Syntax::Csv(csv) => csv
                .read(payload, |line| decoder.serialize(&[line]).map_err(|error| reason_of(&error)))
                .map(drop),
            Syntax::Value(name) => {
                let value = json!({ name: text(payload)?.trim() });
                decoder.serialize(&[value]).map_err(|error| reason_of(&error))
            }
        }
    }

    fn values(&self, payload: &[u8]) -> Result<Vec<Value>, String> {
        match self {
            Syntax::Json => json::value(payload).map(|value| vec![value]),
            Syntax::Cbor => cbor::value(payload).map(|value| vec![value]),
            Syntax::Csv(csv) => {
                let mut values = Vec::new();
                csv.read(payload, |line| {
                    values.push(line.value());
                    Ok(())
                })?;
                Ok(values)
            }
            Syntax::Value(name) => Ok(vec![json!({ name: text(payload)?.trim() })]),
        }
    }
}

fn text(payload: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(payload).map_err(|_| "payload is no text in UTF-8".to_owned())
}

fn whole<'a>(kind: &DataType, payloads: impl Iterator<Item = &'a [u8]>) -> Result<Rows, String> {
    let column: ArrayRef = match kind {
        DataType::Binary => Arc::new(BinaryArray::from_iter_values(payloads)),
        _ => {
            let texts = payloads.map(text);
            Arc::new(StringArray::from_iter_values(texts.collect::<Result<Vec<_>, _>>()?))
        }
    };
    Ok(Rows { columns: vec![column], counts: None })
}
