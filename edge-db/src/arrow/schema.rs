//! Which columns the rows of a table have.

use std::collections::HashSet;
use std::marker::PhantomData;
use std::sync::Arc;

use arrow_schema::{Field, FieldRef, Schema, SchemaRef};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::SchemaError;
use super::key::KeyColumns;
use super::rows::RowBatches;
use super::value::ValueColumns;
use crate::error::ReadError;

/// The columns of a [`Table`](crate::Table)'s rows: those of the key, then those of the value.
///
/// A key has the column `key`, a tuple `key_0`, `key_1` and so on; their types are those of
/// [`KeyColumns`]. A struct has one column for each field, of the field's name, a tuple `value_0`,
/// `value_1` and so on, anything else `value`, and `()` none.
///
/// | value | column |
/// |---|---|
/// | integers of up to 64 bits, floats, `bool` | of that very type |
/// | `char` | `UInt32` |
/// | `String` | `Utf8` |
/// | `Vec<u8>`, and what serde calls bytes | `Binary` |
/// | `Option` | nullable |
/// | `Vec`, set | `List` |
/// | map | `Map` |
/// | struct, tuple, array | `Struct` |
/// | enum without data | `Utf8`, the name of the variant |
/// | enum with data | dense `Union`, which is never null |
/// | newtype | as what it holds: a [`Time`](crate::Time) is an `Int64` |
///
/// No value changes on the way, and what does not fit is an error. [`RowSchema::column`] gives a
/// column another type.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let db = edge_db::Db::open(dir.path())?;
/// use arrow_schema::{DataType, Field, TimeUnit};
/// use edge_db::Time;
/// use edge_db::arrow::RowSchema;
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Reading {
///     at: Time,
///     celsius: Option<f64>,
/// }
/// let latest = db.table::<(String, u32), Reading>("latest")?;
/// let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
/// let schema = RowSchema::<(String, u32), Reading>::with_keys(["room", "sensor"])?
///     .column(Field::new("at", time, false))?;
///
/// let mut batch = db.batch();
/// let reading = Reading { at: Time::from_micros(0), celsius: Some(21.5) };
/// batch.insert(&latest, &("lab".into(), 1), &reading)?;
/// batch.commit()?;
/// for batch in schema.record_batches(latest.iter()?, 8192)? {
///     let batch = batch?;
///     assert_eq!((batch.num_rows(), batch.num_columns()), (1, 4));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub struct RowSchema<K, V> {
    schema: SchemaRef,
    value: ValueColumns,
    types: PhantomData<fn(K, V)>,
}

impl<K, V> Clone for RowSchema<K, V> {
    fn clone(&self) -> Self {
        let (schema, value) = (Arc::clone(&self.schema), self.value.clone());
        RowSchema { schema, value, types: PhantomData }
    }
}

impl<K, V> std::fmt::Debug for RowSchema<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowSchema").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl<K: KeyColumns, V: DeserializeOwned> RowSchema<K, V> {
    /// The columns that the types tell. Looks through the types each time: keep it where rows are
    /// read often.
    ///
    /// # Errors
    /// When `V` does not tell them, or both key and value have one of the same name.
    pub fn new() -> Result<RowSchema<K, V>, SchemaError> {
        match K::data_types().len() {
            1 => RowSchema::with_keys(["key"]),
            count => RowSchema::with_keys((0..count).map(|place| format!("key_{place}"))),
        }
    }

    /// [`RowSchema::new`] with these names for the columns of the key, in the order of its parts.
    ///
    /// # Errors
    /// The same, or when there are more names than columns, or fewer.
    pub fn with_keys<N: Into<String>>(
        names: impl IntoIterator<Item = N>,
    ) -> Result<RowSchema<K, V>, SchemaError> {
        let value = ValueColumns::of::<V>().map_err(|source| {
            let value = std::any::type_name::<V>();
            SchemaError::Value { value, source }
        })?;
        let (types, names) = (K::data_types(), Vec::from_iter(names));
        if types.len() != names.len() {
            return Err(SchemaError::KeyNames { expected: types.len(), found: names.len() });
        }
        let keys = names.into_iter().zip(types);
        let keys = keys.map(|(name, kind)| Arc::new(Field::new(name, kind, false)));
        RowSchema::of(keys.collect(), value)
    }

    /// Gives the column of this field's name its type instead of the one it had: a
    /// `Timestamp(Microsecond, "UTC")` for a number of microseconds, a `FixedSizeBinary` for an
    /// array of bytes, a `Dictionary` for repeated text.
    ///
    /// # Errors
    /// When the value has no such column, or no value can become that type.
    pub fn column(self, field: Field) -> Result<RowSchema<K, V>, SchemaError> {
        let field = Arc::new(field);
        let column = field.name().clone();
        let value = self.value.replace(&field);
        let value = value.ok_or_else(|| SchemaError::NoColumn { column: column.clone() })?;
        if let Err(source) = value.builder() {
            return Err(SchemaError::Type { column, wanted: field.data_type().clone(), source });
        }
        let keys = self.schema.fields().len() - value.fields().len();
        RowSchema::of(self.schema.fields()[..keys].to_vec(), value)
    }

    fn of(keys: Vec<FieldRef>, value: ValueColumns) -> Result<RowSchema<K, V>, SchemaError> {
        let columns: Vec<_> = keys.iter().chain(value.fields()).cloned().collect();
        let mut names = HashSet::new();
        if let Some(twice) = columns.iter().find(|column| !names.insert(column.name())) {
            return Err(SchemaError::Duplicate { column: twice.name().clone() });
        }
        Ok(RowSchema { schema: Arc::new(Schema::new(columns)), value, types: PhantomData })
    }

    /// The columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}

impl<K: KeyColumns, V: Serialize> RowSchema<K, V> {
    /// The rows as record batches of at most `max_rows` rows, one at least and 32,768 at most,
    /// all of which are in memory at once.
    ///
    /// The rows come from a table, an index or a snapshot, over all keys or a range of them, as
    /// they are or mapped to another type.
    ///
    /// # Errors
    /// When `V` cannot become these columns.
    pub fn record_batches<I>(
        &self,
        rows: I,
        max_rows: usize,
    ) -> Result<RowBatches<K, I::IntoIter>, SchemaError>
    where
        I: IntoIterator<Item = Result<(K, V), ReadError>>,
    {
        let values = self.value.builder().map_err(|source| {
            let value = std::any::type_name::<V>();
            SchemaError::Value { value, source }
        })?;
        Ok(RowBatches::new(rows.into_iter(), Arc::clone(&self.schema), values, max_rows))
    }
}
