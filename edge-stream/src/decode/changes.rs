//! Records of the change log of a table or view as rows: the columns of its rows, and what has become of
//! each.

use std::sync::Arc;

use arrow::array::StringArray;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use edge_db::{ChangeKind, RecordRef};

use super::metadata::{METADATA, stream_schema};
use super::objects::reason_of;
use super::payload::Rows;
use crate::db::cells;
use crate::db::stored::ViewTable;
use crate::error::chain;

/// The column that says what has become of a row.
const OP: &str = "_op";

/// What a change has of the columns that every stream has: it came by no topic.
const KEPT: [&str; 2] = ["_time", "_seq"];

/// What reads the changes of a table.
#[derive(Debug, Clone)]
pub(crate) struct ChangeReader {
    table: ViewTable,
    /// The columns of its rows.
    rows: SchemaRef,
}

/// The columns of a stream of changes: those of the rows, then what every change has.
///
/// # Errors
/// With the column of the rows that has the name of one of those.
pub(crate) fn changes_schema(rows: &Schema) -> Result<SchemaRef, String> {
    let is_of_engine = |name: &str| METADATA.contains(&name);
    let taken = rows.fields().iter().find(|field| field.name() == OP || is_of_engine(field.name()));
    if let Some(taken) = taken {
        return Err(taken.name().clone());
    }
    let own = rows.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    let every =
        stream_schema(&own.chain([Field::new(OP, DataType::Utf8, true)]).collect::<Vec<_>>());
    let is_kept = |name: &str| KEPT.contains(&name) || !is_of_engine(name);
    let kept = every.fields().iter().filter(|field| is_kept(field.name())).cloned();
    Ok(Arc::new(Schema::new(kept.collect::<Vec<_>>())))
}

impl ChangeReader {
    /// Of a table whose rows have these columns.
    pub(crate) fn new(table: ViewTable, rows: &Schema) -> ChangeReader {
        let fields = rows.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        ChangeReader { table, rows: Arc::new(Schema::new(fields.collect::<Vec<_>>())) }
    }

    /// The rows that were put, and of deletes those that went, with what has become of each.
    ///
    /// # Errors
    /// When any of the records is no change of the table.
    pub(super) fn read<'a>(
        &self,
        records: impl Iterator<Item = RecordRef<'a>>,
    ) -> Result<Rows, String> {
        let (mut rows, mut ops) = (Vec::new(), Vec::new());
        for record in records {
            let change = self.table.change_of(record).map_err(|error| chain(&error))?;
            let op = match change.kind {
                ChangeKind::Insert => "insert",
                ChangeKind::Update => "update",
                ChangeKind::Delete => "delete",
                _ => return Err("this version does not know such a change".to_owned()),
            };
            ops.push(op);
            rows.push(change.value.ok_or("the change has no row")?);
        }
        let rows = cells::batch_of(&self.rows, rows).map_err(|error| reason_of(&error))?;
        let mut columns = rows.columns().to_vec();
        columns.push(Arc::new(StringArray::from(ops)));
        Ok(Rows { columns, counts: None })
    }
}
