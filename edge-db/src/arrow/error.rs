//! What can go wrong on the way into columns.

use std::fmt;

use arrow_schema::{ArrowError, DataType};

/// Why the columns of a table cannot be told, or not as they were asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// The type of the values does not tell its fields, or one of them has no column: the type
    /// contains itself, has integers of 128 bits, has enums with data that may be null, or refuses
    /// the zeros and empty texts that it is given to decode while its fields are looked for, as
    /// addresses and dates do. Map the rows to a type that tells its fields and hand them to
    /// [`RowSchema::record_batches`](super::RowSchema::record_batches).
    #[error("type `{value}` does not tell its columns")]
    Value {
        /// The type of the values.
        value: &'static str,
        /// What stands in the way, and in which field.
        source: ColumnError,
    },
    /// Key and value both have a column of this name. Name the columns of the key by
    /// [`RowSchema::with_keys`](super::RowSchema::with_keys).
    #[error("two columns are called `{column}`")]
    Duplicate {
        /// The name.
        column: String,
    },
    /// The key has more columns than names, or fewer.
    #[error("key has {expected} columns, named were {found}")]
    KeyNames {
        /// How many columns the key has.
        expected: usize,
        /// How many names there were.
        found: usize,
    },
    /// No column of the value has this name.
    #[error("value has no column `{column}`")]
    NoColumn {
        /// The name.
        column: String,
    },
    /// Values cannot become columns of this type.
    #[error("column `{column}` cannot be of type {wanted}")]
    Type {
        /// The column.
        column: String,
        /// The type that it was to have.
        wanted: DataType,
        /// What stands in the way.
        source: ColumnError,
    },
}

/// A row that does not fit its columns, in [`ArrowError::ExternalError`]. Give the column that the
/// source names a type that holds the value, by [`RowSchema::column`](super::RowSchema::column).
#[derive(Debug, thiserror::Error)]
#[error("row of key {key} does not fit its columns")]
#[non_exhaustive]
pub struct RowError {
    /// The key of the row, as `Debug` shows it.
    pub key: String,
    /// Which field does not fit, and what its column holds.
    pub source: ColumnError,
}

/// What does not fit into a column: reason, field and type.
#[derive(Debug, Clone)]
pub struct ColumnError {
    reason: String,
}

impl ColumnError {
    pub(super) fn new(reason: String) -> ColumnError {
        ColumnError { reason }
    }

    pub(super) fn of(error: &serde_arrow::Error) -> ColumnError {
        let whole = error.to_string();
        let (_, place) = whole.split_once(error.message()).unwrap_or_default();
        // What the user cannot act on: advice on functions that are not in reach, and how
        // serde_arrow calls its own parts. The value is the one field of what that is shown.
        let reason = error.message().split(" It seems that `from_type`").next().unwrap_or_default();
        let place = match place.split_once(", tracer_type:") {
            Some((place, _)) => format!("{place})"),
            None => place.to_owned(),
        };
        ColumnError::new(reason.to_owned() + &place.replace("$.value", "value"))
    }
}

impl fmt::Display for ColumnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for ColumnError {}

pub(super) fn external(error: impl std::error::Error + Send + Sync + 'static) -> ArrowError {
    ArrowError::ExternalError(Box::new(error))
}
