//! Tables that statements fill: made as views are, and looked up by the same key.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::ast::Statement;

use super::Engine;
use super::build::Prepared;
use crate::db::output::{Output, OutputError};
use crate::db::{blocking, cells, job::JobSpec};
use crate::error::SqlError;
use crate::sql::nearest;
use crate::sql::statement::{Definition, Kind};
use crate::sql::table::{Insert, TableDefinition};
use crate::sql::types::sql_type;

impl Engine {
    pub(super) async fn prepare_table(
        &self,
        name: &str,
        what: Definition,
        table: TableDefinition,
    ) -> Result<Prepared, SqlError> {
        let TableDefinition { columns, key } = table;
        let schema = Arc::new(Schema::new(columns));
        if let Some(field) = cells::not_a_key(&schema, &key) {
            let kind = sql_type(field.data_type());
            let reason = format!("column `{}` of type {kind} is no key", field.name());
            return Err(SqlError::statement(None, reason).or("use a number, a text or a time"));
        }
        let (output, table) = self.view((name, 0), &schema, Some(key)).await?;
        let (output, inputs) = (Output::View(output), Vec::new());
        let spec = JobSpec { name: name.to_owned(), slot: 0, inputs, output, has_own_code: false };
        let (reads, table, planner, topic) = (Vec::new(), Some(table), None, None);
        Ok(Prepared { what, reads, schema, table, spec, planner, topic })
    }

    /// Puts rows into a table, all in one commit: in place of those with the same key, and of two
    /// with one key the last.
    pub(super) async fn insert(&self, insert: Insert) -> Result<(), SqlError> {
        let Insert { table: (name, at), columns, query } = insert;
        let (schema, output, key) = self.table_named(&name).map_err(|error| error.at(at))?;
        let columns = columns
            .iter()
            .map(|(column, at)| place_of(&schema, &name, column).map_err(|error| error.at(*at)));
        let mut columns = columns.collect::<Result<Vec<_>, _>>()?;
        if columns.is_empty() {
            columns = (0..schema.fields().len()).collect();
        }
        let rows = self.guarded(Box::pin(self.rows(Statement::Query(Box::new(query))))).await?;
        let rows = rows.iter().map(|rows| arranged(&name, &schema, &columns, &key, rows));
        let rows = rows.collect::<Result<Vec<_>, _>>()?;
        let db = self.inner.catalog.db.clone();
        let stored = blocking(move || {
            let mut batch = db.batch();
            for rows in &rows {
                // The rows have a key each, and need no number.
                output.add(&mut batch, rows, 0).map_err(unstorable)?;
            }
            batch.commit().map_err(SqlError::from).map(drop)
        });
        stored.await.map_err(|_| SqlError::Closed)?
    }

    /// The columns of a table, where its rows go, and the places of its key.
    fn table_named(&self, name: &str) -> Result<(SchemaRef, Output, Vec<usize>), SqlError> {
        let objects = self.inner.objects.lock();
        let refuse = |help: &str| {
            let error = SqlError::statement(None, format!("there is no table `{name}`"));
            Err(error.or(help))
        };
        let would_work = match objects.by_name.get(name) {
            Some(object) => match (object.kind, &object.what) {
                (_, Definition::Table(table)) => {
                    let (schema, output) = (Arc::clone(&object.schema), object.spec.output.clone());
                    return Ok((schema, output, table.key.clone()));
                }
                (Kind::Stream, _) => {
                    "it is a stream: append to its Log, publish to its topic, or `Engine::push`"
                }
                _ => "it has the rows of its query: CREATE TABLE for rows of your own",
            },
            None if self.inner.tables.has_own(name) => {
                "it is a Table of the application, which puts rows into it"
            }
            None => {
                let tables = objects.by_name.iter();
                let tables = tables.filter(|(_, object)| object.kind == Kind::Table);
                return match nearest(name, tables.map(|(name, _)| name.as_str())) {
                    Some(near) => refuse(&format!("did you mean `{near}`?")),
                    None => refuse("CREATE TABLE makes one"),
                };
            }
        };
        refuse(would_work)
    }
}

fn place_of(schema: &Schema, table: &str, column: &str) -> Result<usize, SqlError> {
    schema.index_of(column).map_err(|_| {
        let names = || schema.fields().iter().map(|field| field.name().as_str());
        let reason = format!("table `{table}` has no column `{column}`");
        SqlError::statement(None, reason).or(match nearest(column, names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are {}", names().collect::<Vec<_>>().join(", ")),
        })
    })
}

/// Rows as the table has them: in its columns and their types, NULL where nothing is said.
fn arranged(
    table: &str,
    schema: &SchemaRef,
    columns: &[usize],
    key: &[usize],
    rows: &RecordBatch,
) -> Result<RecordBatch, SqlError> {
    if rows.num_columns() != columns.len() {
        let names = columns.iter().map(|column| schema.field(*column).name().as_str());
        let names = names.collect::<Vec<_>>().join(", ");
        let reason = format!(
            "INSERT gives {} columns, and `{table}` takes {}: {names}",
            rows.num_columns(),
            columns.len()
        );
        return Err(SqlError::statement(None, reason)
            .or(format!("name those that it gives: INSERT INTO {table} (..)")));
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let column =
        |(place, field): (usize, &arrow::datatypes::FieldRef)| -> Result<ArrayRef, SqlError> {
            let given = columns.iter().position(|column| *column == place);
            let Some(given) = given else {
                return Ok(new_null_array(field.data_type(), rows.num_rows()));
            };
            let cast = cast_with_options(rows.column(given), field.data_type(), &options);
            cast.map_err(|error| {
                let (name, kind) = (field.name(), sql_type(field.data_type()));
                SqlError::statement(None, format!("column `{name}` is {kind}: {}", text_of(&error)))
            })
        };
    let arranged = schema.fields().iter().enumerate().map(column).collect::<Result<Vec<_>, _>>()?;
    if let Some(column) = key.iter().find(|column| arranged[**column].null_count() > 0) {
        let reason = format!("`{}` is NULL, and tells rows apart", schema.field(*column).name());
        return Err(SqlError::statement(None, reason).or("give each row a key"));
    }
    RecordBatch::try_new(Arc::clone(schema), arranged)
        .map_err(|error| SqlError::query(DataFusionError::from(error)))
}

/// What arrow says, without its prefix.
fn text_of(error: &arrow::error::ArrowError) -> String {
    let text = error.to_string();
    text.strip_prefix("Cast error: ").map_or(text.clone(), str::to_owned)
}

fn unstorable(error: OutputError) -> SqlError {
    SqlError::query(DataFusionError::External(Box::new(error)))
}
