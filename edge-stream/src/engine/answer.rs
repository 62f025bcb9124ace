//! Answers that are not DataFusion's: how a query runs as a job, and what columns something has.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::error::DataFusionError;

use super::{Engine, Object};
use crate::db::output::Output;
use crate::error::SqlError;
use crate::sql::emit::JobQuery;
use crate::sql::statement::Kind;

impl Engine {
    /// The operators of a query in order.
    pub(super) async fn explain(&self, query: JobQuery) -> Result<Vec<RecordBatch>, SqlError> {
        let steps = self.planner(query)().await?.explain(|stream| self.is_live(stream));
        let text = |value: &dyn Fn(usize) -> String| -> ArrayRef {
            Arc::new(StringArray::from_iter_values((0..steps.len()).map(value)))
        };
        let numbers = UInt64Array::from_iter_values(1..=steps.len() as u64);
        answer(vec![
            ("step", Arc::new(numbers)),
            ("operator", text(&|step| steps[step].1.what.clone())),
            ("takes_from", text(&|step| steps[step].0.clone())),
            ("keeps", text(&|step| steps[step].1.keeps.clone())),
            ("until", text(&|step| steps[step].1.until.clone())),
        ])
    }

    pub(super) async fn explain_job(&self, name: &str) -> Result<Vec<RecordBatch>, SqlError> {
        let query = {
            let objects = self.inner.objects.lock();
            objects.by_name.get(name).map(|object| (object.kind, object.what.query().cloned()))
        };
        match query {
            Some((_, Some(query))) => self.explain(query).await,
            Some((kind, None)) => {
                let kind = if kind == Kind::Table { "table" } else { "stream" };
                let reason = format!("`{name}` is a {kind}, and has no operators");
                Err(SqlError::statement(None, reason).or("name a view or sink"))
            }
            None => Err(self.no_such(None, name, None, "EXPLAIN")),
        }
    }

    /// Whether the records of a stream are in memory alone.
    fn is_live(&self, stream: &str) -> bool {
        let objects = self.inner.objects.lock();
        let object = objects.by_name.get(stream).filter(|object| object.kind == Kind::Stream);
        object.is_some_and(|object| object.spec.log().live().is_some())
    }

    /// The columns of a stream, view or sink; `None` if it is none of them.
    pub(super) fn describe(&self, name: &str) -> Result<Option<Vec<RecordBatch>>, SqlError> {
        let objects = self.inner.objects.lock();
        let Some(object) = objects.by_name.get(name) else { return Ok(None) };
        let time = self.inner.tables.event_time(name).map(|time| time.index);
        let fields = || object.schema.fields().iter();
        let names = StringArray::from_iter_values(fields().map(|field| field.name()));
        let types =
            StringArray::from_iter_values(fields().map(|field| sql_type(field.data_type())));
        let about = (0..fields().len()).map(|place| match Some(place) == time {
            true => "event time",
            false => object.about(place),
        });
        let about = StringArray::from_iter_values(about);
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("column_name", Arc::new(names)),
            ("data_type", Arc::new(types)),
            ("about", Arc::new(about)),
        ];
        drop(objects);
        answer(columns).map(Some)
    }
}

impl Object {
    /// What a column is beside its type.
    fn about(&self, place: usize) -> &'static str {
        let name = self.schema.field(place).name();
        if self.topic.as_ref().is_some_and(|topic| topic.names().any(|level| level == name)) {
            return "level of the topic";
        }
        match &self.spec.output {
            Output::View(view) if view.key.as_ref().is_some_and(|key| key.contains(&place)) => {
                "key"
            }
            _ if self.kind != Kind::Stream || !name.starts_with('_') => "",
            _ if self.spec.log().live().is_none() => "of every record",
            _ if name == "_seq" => "of every record; live, at most once: from 0 at each start",
            _ => "of every record; live, at most once",
        }
    }
}

fn answer(columns: Vec<(&str, ArrayRef)>) -> Result<Vec<RecordBatch>, SqlError> {
    let batch = RecordBatch::try_from_iter(columns);
    Ok(vec![batch.map_err(|error| SqlError::query(DataFusionError::from(error)))?])
}

/// The word that declares a column of this type, where there is one.
fn sql_type(kind: &DataType) -> String {
    let word = match kind {
        DataType::Utf8 => "VARCHAR",
        DataType::Boolean => "BOOLEAN",
        DataType::Int8 => "TINYINT",
        DataType::Int16 => "SMALLINT",
        DataType::Int32 => "INT",
        DataType::Int64 => "BIGINT",
        DataType::Float32 => "REAL",
        DataType::Float64 => "DOUBLE",
        DataType::Date32 => "DATE",
        DataType::Timestamp(TimeUnit::Microsecond, None) => "TIMESTAMP",
        DataType::Decimal128(precision, scale) => return format!("DECIMAL({precision}, {scale})"),
        other => return other.to_string(),
    };
    word.to_owned()
}
