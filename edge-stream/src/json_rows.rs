//! JSON payloads as rows, for a pipeline that the application feeds.

use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, SchemaRef};

use crate::decode::format::Format;
use crate::decode::{Payload, reason_of};
use crate::error::SqlError;

/// Reads JSON objects as rows for [`Pipeline::push`](crate::Pipeline::push), as a stream of format
/// `json` does: fields go by the names of the columns, what is missing is null, what nobody declared
/// is passed over.
///
/// ```
/// use arrow::array::AsArray;
/// use arrow::datatypes::{DataType, Field, Float64Type, Schema};
///
/// let columns = [Field::new("room", DataType::Utf8, true), Field::new("temp", DataType::Float64, true)];
/// let json = edge_stream::JsonRows::new(Schema::new(columns.to_vec()).into())?;
/// let rows = json.read(&[br#"{"room":"lab","temp":20.5}"#, br#"{"temp":"21","more":1}"#])?;
/// assert_eq!(rows.column(1).as_primitive::<Float64Type>().values(), &[20.5, 21.0]);
/// let error = json.read(&[br#"{"temp":"warm"}"#]).unwrap_err();
/// assert_eq!(error.to_string(), "payload 0: column `temp` is DOUBLE, and the record has `\"warm\"`");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct JsonRows {
    schema: SchemaRef,
    payload: Payload,
}

/// A payload that is no row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("payload {place}: {reason}")]
#[non_exhaustive]
pub struct JsonRowError {
    /// Its place among the payloads.
    pub place: usize,
    /// What was wrong with it.
    pub reason: String,
}

impl JsonRows {
    /// For rows of these columns, of the types that a stream may have; all of them may be null.
    ///
    /// # Errors
    /// When JSON cannot be read as one of the types.
    pub fn new(schema: SchemaRef) -> Result<JsonRows, SqlError> {
        let fields: Vec<FieldRef> = schema.fields().iter().cloned().collect();
        let payload = Format::default().payload(&fields);
        let payload = payload.map_err(|reason| SqlError::statement(None, reason))?;
        Ok(JsonRows { schema, payload })
    }

    /// One row for each payload, in their order.
    ///
    /// # Errors
    /// When one is no row: which, and why.
    pub fn read(&self, payloads: &[&[u8]]) -> Result<RecordBatch, JsonRowError> {
        if let Ok(rows) = self.payload.read(payloads.iter().copied())
            && let Ok(batch) = RecordBatch::try_new(SchemaRef::clone(&self.schema), rows.columns)
        {
            return Ok(batch);
        }
        self.read_patiently(payloads)
    }

    /// One by one: rows that are unusual are read, and what is none is found.
    fn read_patiently(&self, payloads: &[&[u8]]) -> Result<RecordBatch, JsonRowError> {
        let rows = payloads.iter().enumerate().map(|(place, payload)| {
            let row = self.payload.read_one(payload).and_then(|row| {
                let batch = RecordBatch::try_new(SchemaRef::clone(&self.schema), row.columns);
                batch.map_err(|error| reason_of(&error))
            });
            row.map_err(|reason| JsonRowError { place, reason })
        });
        let rows = rows.collect::<Result<Vec<_>, _>>()?;
        arrow::compute::concat_batches(&self.schema, &rows)
            .map_err(|error| JsonRowError { place: 0, reason: error.to_string() })
    }
}
