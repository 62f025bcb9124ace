//! What operators keep over a restart: bytes under ordered keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Int64Type};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;

use crate::error::OperatorError;
use crate::watermark::EventTime;

/// What a checkpoint has changed: under each key the new bytes, or `None` where it has gone.
pub type Changes = BTreeMap<Vec<u8>, Option<Bytes>>;

/// All keys as the checkpoints so far have left them.
pub type Stored = BTreeMap<Vec<u8>, Bytes>;

/// Takes the changes of one operator.
#[derive(Debug)]
pub(crate) struct StateWriter<'a> {
    place: u8,
    changes: &'a mut Changes,
}

impl StateWriter<'_> {
    pub(crate) fn new(place: u8, changes: &mut Changes) -> StateWriter<'_> {
        StateWriter { place, changes }
    }

    /// Stores columns under a key; returns their bytes.
    pub(crate) fn put(&mut self, key: i64, columns: &RecordBatch) -> Result<usize, OperatorError> {
        self.put_at(stored_key(self.place, key), columns)
    }

    /// Stores columns that belong behind those under the key.
    pub(crate) fn put_part(
        &mut self,
        key: i64,
        part: u32,
        columns: &RecordBatch,
    ) -> Result<usize, OperatorError> {
        self.put_at(part_key(self.place, key, part), columns)
    }

    fn put_at(&mut self, key: Vec<u8>, columns: &RecordBatch) -> Result<usize, OperatorError> {
        let bytes = to_bytes(columns)?;
        let len = bytes.len();
        self.changes.insert(key, Some(bytes));
        Ok(len)
    }

    /// Stores rows, or takes away what is stored; returns the bytes that are there then.
    pub(crate) fn put_or_remove(
        &mut self,
        key: i64,
        rows: Option<&RecordBatch>,
    ) -> Result<usize, OperatorError> {
        match rows {
            Some(rows) => self.put(key, rows),
            None => {
                self.remove(key);
                Ok(0)
            }
        }
    }

    pub(crate) fn remove(&mut self, key: i64) {
        self.changes.insert(stored_key(self.place, key), None);
    }

    /// Takes away the first so many parts of a key.
    pub(crate) fn remove_parts(&mut self, key: i64, parts: u32) {
        let keys = (0..parts).map(|part| (part_key(self.place, key, part), None));
        self.changes.extend(keys);
    }
}

/// Gives one operator what it has stored.
#[derive(Debug)]
pub(crate) struct StateReader<'a> {
    place: u8,
    stored: &'a Stored,
}

impl<'a> StateReader<'a> {
    pub(crate) fn new(place: u8, stored: &'a Stored) -> StateReader<'a> {
        StateReader { place, stored }
    }

    /// All keys in order, with their columns and the bytes that these take in the store.
    pub(crate) fn entries(
        &self,
    ) -> impl Iterator<Item = Result<(i64, RecordBatch, usize), OperatorError>> + use<'a> {
        self.parts().map(|entry| match entry? {
            (key, None, columns, bytes) => Ok((key, columns, bytes)),
            (_, Some(_), ..) => Err(odd_key()),
        })
    }

    /// The same where there may be parts: these, with their numbers, behind what is stored under the
    /// key itself.
    pub(crate) fn parts(&self) -> impl Iterator<Item = Result<Part, OperatorError>> + use<'a> {
        let place = self.place;
        let range = self.stored.range(vec![place]..);
        range.take_while(move |(key, _)| key.first() == Some(&place)).map(|(key, bytes)| {
            let (key, part) = key[1..].split_first_chunk().ok_or_else(odd_key)?;
            let part = match part {
                [] => None,
                part => Some(u32::from_be_bytes(part.try_into().map_err(|_| odd_key())?)),
            };
            Ok((from_ordered(*key), part, from_bytes(bytes)?, bytes.len()))
        })
    }
}

/// Key and number of a part, its columns, and the bytes that these take in the store.
type Part = (i64, Option<u32>, RecordBatch, usize);

/// The key of an entry by its kind, of which there are at most 128, and its number among those of
/// the kind.
pub(super) fn numbered(kind: u8, number: u64) -> i64 {
    (i64::from(kind) << 56) | number.cast_signed()
}

/// Kind and number of an entry.
pub(super) fn number_of(key: i64) -> (u8, u64) {
    let [kind, ..] = key.to_be_bytes();
    (kind, (key & ((1 << 56) - 1)).cast_unsigned())
}

/// The watermark that an operator has worked off, which is stored when it has moved.
#[derive(Debug, Default)]
pub(super) struct Passed {
    pub(super) at: Option<EventTime>,
    stored: Option<EventTime>,
}

impl Passed {
    pub(super) fn store(
        &mut self,
        state: &mut StateWriter<'_>,
        key: i64,
    ) -> Result<(), OperatorError> {
        let Some(at) = self.at.filter(|_| self.at != self.stored) else { return Ok(()) };
        state.put(key, &columns_as(vec![Arc::new(Int64Array::from(vec![at.micros()]))])?)?;
        self.stored = self.at;
        Ok(())
    }

    pub(super) fn restore(&mut self, stored: &RecordBatch) -> Result<(), OperatorError> {
        expect(stored, &[DataType::Int64])?;
        let micros = stored.column(0).as_primitive::<Int64Type>();
        let micros = micros.iter().next().flatten();
        let micros = micros.ok_or_else(|| damaged("its watermark is damaged"))?;
        self.at = Some(EventTime::from_micros(micros));
        self.stored = self.at;
        Ok(())
    }
}

/// Columns without names, as they are stored.
pub(super) fn columns_as(columns: Vec<ArrayRef>) -> Result<RecordBatch, ArrowError> {
    let named = columns.into_iter().enumerate();
    RecordBatch::try_from_iter_with_nullable(
        named.map(|(number, column)| (number.to_string(), column, true)),
    )
}

/// That stored columns are what this query writes.
pub(super) fn expect(batch: &RecordBatch, types: &[DataType]) -> Result<(), OperatorError> {
    let schema = batch.schema_ref();
    let found = schema.fields().iter().map(|field| field.data_type());
    if found.eq(types) { Ok(()) } else { Err(damaged("its columns are others")) }
}

/// Columns as they are stored: in Arrow IPC, which later versions read.
pub(crate) fn to_bytes(columns: &RecordBatch) -> Result<Bytes, ArrowError> {
    let mut writer = StreamWriter::try_new(Vec::new(), columns.schema_ref())?;
    writer.write(columns)?;
    Ok(writer.into_inner()?.into())
}

pub(crate) fn from_bytes(bytes: &[u8]) -> Result<RecordBatch, OperatorError> {
    let mut reader = StreamReader::try_new(bytes, None)?;
    Ok(reader.next().ok_or_else(|| damaged("it holds no columns"))??)
}

fn odd_key() -> OperatorError {
    damaged("its key has another length")
}

pub(super) fn damaged(reason: &str) -> OperatorError {
    OperatorError::State { reason: reason.to_owned() }
}

fn stored_key(place: u8, key: i64) -> Vec<u8> {
    let mut stored = vec![place];
    stored.extend_from_slice(&(key.cast_unsigned() ^ (1 << 63)).to_be_bytes());
    stored
}

fn part_key(place: u8, key: i64, part: u32) -> Vec<u8> {
    [&stored_key(place, key)[..], &part.to_be_bytes()].concat()
}

fn from_ordered(bytes: [u8; 8]) -> i64 {
    (u64::from_be_bytes(bytes) ^ (1 << 63)).cast_signed()
}
