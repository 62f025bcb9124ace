//! Rows as payloads: what a sink writes, in the formats that streams read.

mod cbor;
mod lines;
mod pieces;

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow_json::LineDelimitedWriter;

use crate::db::cells;
use crate::decode::format::{Format, FormatKind};
pub(crate) use pieces::pieces;

/// Makes payloads of the rows of one sink.
#[derive(Debug, Clone)]
pub(crate) struct Encoder {
    format: Format,
    /// For `raw`: the column that is the payload.
    whole: usize,
    /// For `csv`: the names of the columns.
    names: Arc<[String]>,
}

impl Encoder {
    /// `levels` are the columns that are levels of the topic.
    ///
    /// # Errors
    /// When the format cannot say such rows; says what can.
    pub(crate) fn new(
        format: &Format,
        schema: &SchemaRef,
        levels: &[usize],
    ) -> Result<Encoder, String> {
        let name = format.kind.word();
        let mut whole = 0;
        match format.kind {
            FormatKind::Csv => refuse(name, schema.fields().iter().find(|field| is_nested(field)))?,
            FormatKind::Cbor => refuse(name, cells::not_storable(schema))?,
            FormatKind::ArrowIpc if !levels.is_empty() => {
                return Err(
                    "format 'arrow_ipc' has many rows in one message, so the topic cannot \
                            have a level of each row"
                        .to_owned(),
                );
            }
            FormatKind::Raw => whole = payload_column(schema, levels)?,
            FormatKind::Json | FormatKind::ArrowIpc | FormatKind::SparkplugB => {}
        }
        let names = schema.fields().iter().map(|field| field.name().clone()).collect();
        Ok(Encoder { format: format.clone(), whole, names })
    }

    /// Leaves the names of the columns, which `csv` may have in front of each payload, to whoever
    /// writes the payloads behind each other.
    ///
    /// # Errors
    /// When they are no line.
    pub(crate) fn take_header(&mut self) -> Result<Option<Vec<u8>>, ArrowError> {
        let is_said = std::mem::take(&mut self.format.has_header);
        let is_said = is_said && self.format.kind == FormatKind::Csv;
        is_said.then(|| lines::line(&self.names, self.format.delimiter)).transpose()
    }

    /// The payloads of these rows in order: of `arrow_ipc` one for each few thousand, of all others
    /// one for each.
    pub(crate) fn payloads(&self, rows: &RecordBatch) -> Result<Vec<Vec<u8>>, ArrowError> {
        match self.format.kind {
            FormatKind::Csv => {
                let names = self.format.has_header.then_some(&*self.names);
                lines::csv(rows, self.format.delimiter, names)
            }
            FormatKind::Cbor => cbor::maps(rows),
            FormatKind::Raw => wholes(rows, self.whole),
            FormatKind::ArrowIpc => pieces(rows),
            FormatKind::Json | FormatKind::SparkplugB => json(rows),
        }
    }
}

fn is_nested(field: &FieldRef) -> bool {
    field.data_type().is_nested()
}

fn refuse(format: &str, field: Option<&FieldRef>) -> Result<(), String> {
    match field {
        None => Ok(()),
        Some(field) => Err(format!(
            "column `{}` of type {} cannot be written as {format}",
            field.name(),
            field.data_type()
        )),
    }
}

/// The one column that is no level of the topic.
fn payload_column(schema: &SchemaRef, levels: &[usize]) -> Result<usize, String> {
    let mut rest = (0..schema.fields().len()).filter(|column| !levels.contains(column));
    match (rest.next(), rest.count()) {
        (Some(column), 0) => {
            let field = &schema.fields()[column];
            refuse("raw", is_nested(field).then_some(field)).map(|()| column)
        }
        (first, more) => {
            let count = more + usize::from(first.is_some());
            Err(format!("format 'raw' has one column beside the levels of the topic, not {count}"))
        }
    }
}

fn json(rows: &RecordBatch) -> Result<Vec<Vec<u8>>, ArrowError> {
    let mut writer = LineDelimitedWriter::new(Vec::new());
    writer.write(rows)?;
    writer.finish()?;
    let lines = writer.into_inner();
    let lines = lines.split(|byte| *byte == b'\n').take(rows.num_rows());
    Ok(lines.map(<[u8]>::to_vec).collect())
}

/// Each value of a column as it is, or as text; a NULL is empty.
fn wholes(rows: &RecordBatch, column: usize) -> Result<Vec<Vec<u8>>, ArrowError> {
    let column = rows.column(column);
    if let DataType::Binary = column.data_type() {
        let values = column.as_binary::<i32>().iter();
        return Ok(values.map(|value| value.unwrap_or_default().to_vec()).collect());
    }
    let options = FormatOptions::default();
    let texts = ArrayFormatter::try_new(column, &options)?;
    let texts = (0..column.len()).map(|row| texts.value(row).try_to_string());
    texts.map(|text| text.map(String::into_bytes)).collect()
}

#[cfg(test)]
mod tests;
