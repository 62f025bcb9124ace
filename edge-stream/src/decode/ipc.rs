//! Arrow IPC payloads: a stream of batches each, as `StreamWriter` writes it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow::buffer::Buffer;
use arrow::compute::{CastOptions, cast, cast_with_options, concat};
use arrow::datatypes::{DataType, FieldRef};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::StreamWriter;
use arrow::ipc::{MessageHeader, RecordBatch as BatchHeader, root_as_message};

use super::MAX_ROWS;
use super::objects::reason_of;
use super::time::TimeFormat;
use super::wire::{from_wire, shown};
use crate::sql::types::sql_type;

/// Values of one column, those in lists included, and bytes of a payload once it is unpacked.
const MAX_VALUES: i64 = 1 << 22;
const MAX_BYTES: usize = 64 << 20;

/// How batches become columns of a stream: by name; what is not there is null.
#[derive(Debug, Clone)]
pub(crate) struct Batches {
    pub(crate) fields: Vec<FieldRef>,
    pub(crate) times: TimeFormat,
}

impl Batches {
    /// The columns of a payload, and its rows.
    pub(crate) fn read(&self, payload: &[u8]) -> Result<(Vec<ArrayRef>, usize), String> {
        // Aligned, as the reader wants it.
        let buffer = Buffer::from_slice_ref(payload);
        check(&buffer)?;
        // The reader is made for what Arrow has written, and we read what anybody has.
        let batches = catch_unwind(AssertUnwindSafe(|| batches_of(buffer)));
        let batches = batches.map_err(|_panic| "payload is damaged".to_owned())??;
        let rows = batches.iter().map(RecordBatch::num_rows).sum();
        if rows > MAX_ROWS {
            return Err(format!("payload has more than {MAX_ROWS} rows"));
        }
        let parts = batches.iter().map(|batch| self.columns_of(batch));
        let parts = parts.collect::<Result<Vec<_>, _>>()?;
        let columns = self.fields.iter().enumerate().map(|(place, field)| {
            let parts: Vec<&dyn Array> = parts.iter().map(|part| part[place].as_ref()).collect();
            match parts.as_slice() {
                [] => Ok(new_null_array(field.data_type(), 0)),
                parts => concat(parts).map_err(|error| reason_of(&error)),
            }
        });
        Ok((columns.collect::<Result<_, _>>()?, rows))
    }

    /// The columns of the stream out of a batch.
    pub(crate) fn columns_of(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>, String> {
        let columns = self.fields.iter().map(|field| match batch.column_by_name(field.name()) {
            None => Ok(new_null_array(field.data_type(), batch.num_rows())),
            Some(values) => {
                let cast = || typed(values, field.data_type(), self.times);
                let column = catch_unwind(AssertUnwindSafe(cast));
                let column = column.unwrap_or_else(|_panic| Err("payload is damaged".to_owned()));
                column.map_err(|reason| {
                    let (name, kind) = (field.name(), sql_type(field.data_type()));
                    format!("column `{name}` is {kind}, and the record has {reason}")
                })
            }
        });
        columns.collect()
    }
}

/// A batch as the payload of one record.
pub(crate) fn payload_of(batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref())?;
    writer.write(batch)?;
    writer.into_inner()
}

/// The rows of what [`payload_of`] wrote.
pub(crate) fn batch_of_payload(payload: &[u8]) -> Result<RecordBatch, String> {
    let buffer = Buffer::from_slice_ref(payload);
    check(&buffer)?;
    let mut batches = batches_of(buffer)?;
    batches.pop().ok_or_else(|| "payload has no rows".to_owned())
}

fn typed(values: &ArrayRef, kind: &DataType, times: TimeFormat) -> Result<ArrayRef, String> {
    let found = values.data_type();
    let is_time = matches!(found, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64);
    let by_text = match kind {
        DataType::Timestamp(..) => !is_time,
        DataType::Boolean => *found != DataType::Boolean,
        _ => false,
    };
    let refused = |error: &ArrowError| shown(&reason_of(error));
    if by_text {
        let texts = cast(values, &DataType::Utf8).map_err(|error| refused(&error))?;
        return from_wire(&texts, kind, times);
    }
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let values = cast_with_options(values, kind, &strict).map_err(|error| refused(&error))?;
    match kind {
        DataType::Timestamp(..) => super::wire::check_years(&values).map(|()| values),
        DataType::Date32 => from_wire(&values, kind, times),
        _ => Ok(values),
    }
}

fn batches_of(mut buffer: Buffer) -> Result<Vec<RecordBatch>, String> {
    let (mut decoder, mut batches) = (StreamDecoder::new(), Vec::new());
    while !buffer.is_empty() {
        let batch = decoder.decode(&mut buffer).map_err(|error| reason_of(&error))?;
        batches.extend(batch);
    }
    decoder.finish().map_err(|error| reason_of(&error))?;
    match decoder.schema() {
        Some(_) => Ok(batches),
        None => Err("payload is no Arrow IPC stream".to_owned()),
    }
}

/// Looks at what the payload claims before the reader believes it: where things lie, how many
/// there are, and how large they become.
fn check(payload: &[u8]) -> Result<(), String> {
    let damaged = || "payload is no Arrow IPC stream".to_owned();
    let (mut rest, mut unpacked) = (payload, 0);
    while !rest.is_empty() {
        let (word, behind) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
        let mut size = u32::from_le_bytes(*word);
        rest = behind;
        if size == u32::MAX {
            let (word, behind) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
            size = u32::from_le_bytes(*word);
            rest = behind;
        }
        if size == 0 {
            return if rest.is_empty() { Ok(()) } else { Err(damaged()) };
        }
        let size = usize::try_from(size).map_err(|_| damaged())?;
        let (header, behind) = rest.split_at_checked(size).ok_or_else(damaged)?;
        let message = root_as_message(header).map_err(|_| damaged())?;
        let body = usize::try_from(message.bodyLength()).map_err(|_| damaged())?;
        let (body, behind) = behind.split_at_checked(body).ok_or_else(damaged)?;
        rest = behind;
        let batch = match message.header_type() {
            MessageHeader::RecordBatch => message.header_as_record_batch(),
            MessageHeader::DictionaryBatch => {
                message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data())
            }
            _ => None,
        };
        if let Some(batch) = batch {
            unpacked += check_batch(batch, body).ok_or_else(damaged)?;
            if unpacked > MAX_BYTES {
                return Err(format!("payload unpacks to more than {MAX_BYTES} bytes"));
            }
        }
    }
    Ok(())
}

/// The bytes that a batch becomes; `None` if it claims what cannot be.
fn check_batch(batch: BatchHeader<'_>, body: &[u8]) -> Option<usize> {
    let rows = usize::try_from(batch.length()).ok()?;
    let nodes = batch.nodes()?;
    let fits = nodes.iter().all(|node| {
        (0..=MAX_VALUES).contains(&node.length())
            && (0..=node.length()).contains(&node.null_count())
    });
    if rows > MAX_ROWS || !fits {
        return None;
    }
    let mut unpacked = 0usize;
    for place in batch.buffers()? {
        let (from, length) =
            (usize::try_from(place.offset()).ok()?, usize::try_from(place.length()).ok()?);
        let bytes = body.get(from..from.checked_add(length)?)?;
        let size = match (batch.compression(), bytes.split_first_chunk::<8>()) {
            (None, _) => length,
            (Some(_), None) => bytes.is_empty().then_some(0)?,
            (Some(_), Some((word, rest))) => match i64::from_le_bytes(*word) {
                -1 => rest.len(),
                claimed => usize::try_from(claimed).ok()?,
            },
        };
        unpacked = unpacked.checked_add(size)?;
    }
    Some(unpacked)
}
