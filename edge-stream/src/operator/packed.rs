//! Values of several columns as bytes: the same bytes for the same values, and back.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use datafusion::error::DataFusionError;

/// Packs rows of columns of these types.
#[derive(Debug)]
pub(super) struct Packed {
    /// `None` where there are no columns.
    converter: Option<RowConverter>,
    columns: usize,
}

impl Packed {
    pub(super) fn new<'a>(
        types: impl IntoIterator<Item = &'a DataType>,
    ) -> Result<Packed, DataFusionError> {
        let fields: Vec<_> = types.into_iter().cloned().map(SortField::new).collect();
        let columns = fields.len();
        let converter = if fields.is_empty() { None } else { Some(RowConverter::new(fields)?) };
        Ok(Packed { converter, columns })
    }

    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    pub(super) fn pack(
        &self,
        columns: &[ArrayRef],
        rows: usize,
    ) -> Result<Vec<Box<[u8]>>, DataFusionError> {
        let Some(converter) = &self.converter else { return Ok(vec![Box::default(); rows]) };
        let packed = converter.convert_columns(columns)?;
        Ok(packed.iter().map(|row| row.as_ref().into()).collect())
    }

    pub(super) fn unpack<'a>(
        &self,
        rows: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Vec<ArrayRef>, DataFusionError> {
        let Some(converter) = &self.converter else { return Ok(Vec::new()) };
        let parser = converter.parser();
        Ok(converter.convert_rows(rows.map(|bytes| parser.parse(bytes)))?)
    }
}
