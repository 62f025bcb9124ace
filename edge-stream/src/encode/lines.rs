//! Rows as lines with commas.

use std::io;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use csv::{Terminator, Writer, WriterBuilder};

/// A line for each row, without its end; behind the names, where each payload begins with them. A
/// NULL is an empty field.
pub(super) fn csv(
    rows: &RecordBatch,
    delimiter: u8,
    names: Option<&[String]>,
) -> Result<Vec<Vec<u8>>, ArrowError> {
    let options = FormatOptions::default();
    let columns = rows.columns().iter().map(|column| ArrayFormatter::try_new(column, &options));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let header = names.map(|names| line(names, delimiter)).transpose()?;
    let front = header.map_or_else(Vec::new, |header| [&header, &b"\n"[..]].concat());
    let lines = (0..rows.num_rows()).map(|row| {
        let fields = columns.iter().map(|column| column.value(row).try_to_string());
        let fields = fields.collect::<Result<Vec<_>, _>>()?;
        Ok([front.clone(), line(&fields, delimiter)?].concat())
    });
    lines.collect()
}

/// One line, without its end.
pub(super) fn line(fields: &[String], delimiter: u8) -> Result<Vec<u8>, ArrowError> {
    let mut line = Vec::new();
    let mut writer: Writer<&mut Vec<u8>> = WriterBuilder::new()
        .delimiter(delimiter)
        .terminator(Terminator::Any(b'\n'))
        .from_writer(&mut line);
    let written = writer.write_record(fields).map_err(io::Error::from);
    written.and_then(|()| writer.flush())?;
    drop(writer);
    line.truncate(line.len() - 1);
    Ok(line)
}
