//! `watermark_by`: the column whose values have clocks of their own.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, Schema, TimestampMicrosecondType};
use arrow::error::ArrowError;

use crate::sql::nearest;

/// Of a longer text its first bytes tell keys apart.
const KEY_BYTES: usize = 256;

/// The key of rows without a value. No text has this byte, and no number one byte.
const NULL: &[u8] = &[0xFF];

/// The column that tells the keys of a stream apart, and what says when each of them spoke.
#[derive(Debug, Clone)]
pub(crate) struct KeyColumn {
    index: usize,
    name: String,
    kind: DataType,
    /// How long a key says nothing until others do not wait for it.
    pub(super) idle_micros: Option<i64>,
    /// Which rows are of one record; without it each is one.
    seq: Option<usize>,
    /// When records arrived.
    time: Option<usize>,
}

/// The keys of rows.
pub(super) enum Cells {
    Text(StringArray),
    Numbers(Int64Array),
}

/// Records of rows, and when these arrived.
pub(super) struct Arrivals {
    seqs: Option<Int64Array>,
    times: Option<ArrayRef>,
}

impl KeyColumn {
    /// `idle_micros` is how long a key says nothing until others do not wait for it.
    ///
    /// # Errors
    /// When there is no such column of text or whole numbers: what is wrong, and what would work.
    pub(crate) fn new(
        schema: &Schema,
        name: &str,
        idle_micros: Option<i64>,
    ) -> Result<KeyColumn, (String, String)> {
        let like = "name a column of text or whole numbers, such as a named level of the topic";
        let Ok(index) = schema.index_of(name) else {
            let names = schema.fields().iter().map(|field| field.name().as_str());
            let near = nearest(name, names).map(|near| format!("did you mean `{near}`?"));
            let reason = format!("watermark_by: there is no column `{name}`");
            return Err((reason, near.unwrap_or_else(|| like.to_owned())));
        };
        let kind = schema.field(index).data_type().clone();
        if kind != DataType::Utf8 && (!kind.is_integer() || kind == DataType::UInt64) {
            return Err((format!("watermark_by: column `{name}` is {kind}"), like.to_owned()));
        }
        let place = |name: &str, fits: fn(&DataType) -> bool| {
            let (place, field) = schema.column_with_name(name)?;
            fits(field.data_type()).then_some(place)
        };
        let seq = place("_seq", |kind| *kind == DataType::Int64);
        let time = place("_time", |kind| matches!(kind, DataType::Timestamp(..)));
        if idle_micros.is_some() && time.is_none() {
            let reason = "watermark_by: no column says when rows arrive, which tells idle keys";
            return Err((reason.to_owned(), "add a TIMESTAMP `_time`".to_owned()));
        }
        let name = name.to_owned();
        Ok(KeyColumn { index, name, kind, idle_micros, seq, time })
    }

    /// The columns that it needs.
    pub(crate) fn columns(&self) -> impl Iterator<Item = usize> {
        [Some(self.index), self.seq, self.time].into_iter().flatten()
    }

    #[cfg(feature = "db")]
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What tells keys of this column from those of another.
    pub(super) fn title(&self) -> String {
        format!("{} {}", self.name, self.kind)
    }

    pub(super) fn cells(&self, rows: &RecordBatch) -> Result<Cells, ArrowError> {
        let column = rows.column(self.index);
        Ok(match self.kind {
            DataType::Utf8 => Cells::Text(column.as_string::<i32>().clone()),
            _ => Cells::Numbers(cast(column, &DataType::Int64)?.as_primitive().clone()),
        })
    }

    pub(super) fn arrivals(&self, rows: &RecordBatch) -> Result<Arrivals, ArrowError> {
        let seqs = self.seq.map(|seq| rows.column(seq).as_primitive::<Int64Type>().clone());
        let times = self.idle_micros.and(self.time);
        let times = times.map(|time| super::micros_of(rows.column(time))).transpose()?;
        Ok(Arrivals { seqs, times })
    }

    /// A key as it is shown.
    #[cfg(feature = "db")]
    pub(super) fn text(&self, key: &[u8]) -> String {
        match (key, <[u8; 8]>::try_from(key)) {
            (NULL, _) => "NULL".to_owned(),
            (_, Ok(number)) if self.kind != DataType::Utf8 => {
                i64::from_le_bytes(number).to_string()
            }
            _ => String::from_utf8_lossy(key).into_owned(),
        }
    }
}

impl Cells {
    /// The key of a row; a number is written to `number` for it.
    pub(super) fn key<'a>(&'a self, row: usize, number: &'a mut [u8; 8]) -> &'a [u8] {
        match self {
            Cells::Text(texts) if texts.is_valid(row) => {
                let text = texts.value(row).as_bytes();
                &text[..text.len().min(KEY_BYTES)]
            }
            Cells::Numbers(numbers) if numbers.is_valid(row) => {
                *number = numbers.value(row).to_le_bytes();
                number
            }
            _ => NULL,
        }
    }
}

impl Arrivals {
    /// Whether a row is of another record than the one in front of it.
    pub(super) fn begins_record(&self, row: usize) -> bool {
        self.seqs.as_ref().is_none_or(|seqs| row == 0 || seqs.value(row) != seqs.value(row - 1))
    }

    /// When the record of a row arrived, if that counts.
    pub(super) fn time(&self, row: usize) -> Option<i64> {
        let times = self.times.as_ref()?.as_primitive::<TimestampMicrosecondType>();
        times.is_valid(row).then(|| times.value(row))
    }
}
