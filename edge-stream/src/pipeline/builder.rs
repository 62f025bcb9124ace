//! What a query reads, until it is planned.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF};

use super::Pipeline;
use crate::error::SqlError;
use crate::plan;
use crate::session::{self, Functions};
use crate::sql;
use crate::stream::{EventTimeColumn, StreamTable};

/// What a [`Pipeline`] reads; from [`Pipeline::builder`].
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct PipelineBuilder {
    streams: Vec<Declared>,
    functions: Functions,
}

#[derive(Debug, Clone)]
struct Declared {
    name: String,
    schema: SchemaRef,
    watermark: Option<(String, Duration)>,
    /// A column, and when its values are idle.
    keys: Option<(String, Option<Duration>)>,
    lateness: Duration,
}

impl PipelineBuilder {
    /// One more stream that the query may read; [`Pipeline::push_to`] brings its rows.
    pub fn stream(mut self, name: impl Into<String>, schema: SchemaRef) -> PipelineBuilder {
        let (name, watermark, keys, lateness) = (name.into(), None, None, Duration::ZERO);
        self.streams.push(Declared { name, schema, watermark, keys, lateness });
        self
    }

    /// Windows over the stream that was named last are over this TIMESTAMP column, which is never
    /// null; a row may come so much later than others that are newer. Without this call there are
    /// no windows.
    pub fn watermark(mut self, column: impl Into<String>, delay: Duration) -> PipelineBuilder {
        if let Some(stream) = self.streams.last_mut() {
            stream.watermark = Some((column.into(), delay));
        }
        self
    }

    /// The stream that was named last has a watermark for each value of this column, of text or whole
    /// numbers, and its own is the least of them. One that has said nothing for `idle_timeout` holds up no
    /// others until it speaks again: that goes by the arrivals of rows in a TIMESTAMP column `_time`.
    pub fn watermark_by(
        mut self,
        column: impl Into<String>,
        idle_timeout: Option<Duration>,
    ) -> PipelineBuilder {
        if let Some(stream) = self.streams.last_mut() {
            stream.keys = Some((column.into(), idle_timeout));
        }
        self
    }

    /// Rows of the stream that was named last may also come so much behind its watermark: they
    /// change windows that are closed, which come out again. Where rows of an answer come out once,
    /// as with windows over the result of windows, they do so much later instead.
    pub fn allowed_lateness(mut self, lateness: Duration) -> PipelineBuilder {
        if let Some(stream) = self.streams.last_mut() {
            stream.lateness = lateness;
        }
        self
    }

    /// A function of your own: one value from those of a row. It is to be `Volatility::Immutable`.
    pub fn function(mut self, function: ScalarUDF) -> PipelineBuilder {
        self.functions.scalars.push(Arc::new(function));
        self
    }

    /// An aggregate of your own. Its accumulator gives its state away and takes it back at each
    /// checkpoint: `state` and `merge_batch` have to be exact.
    pub fn aggregate(mut self, function: AggregateUDF) -> PipelineBuilder {
        self.functions.aggregates.push(Arc::new(function));
        self
    }

    /// Plans the query.
    ///
    /// # Errors
    /// When it cannot run over rows that never end; the message says what would.
    pub async fn query(self, sql: &str) -> Result<Pipeline, SqlError> {
        // It plans, and runs nothing.
        let context = session::context(usize::MAX);
        self.functions.register(&context);
        let state = context.state();
        let mut event_times = HashMap::new();
        let micros_of = |length: Duration| i64::try_from(length.as_micros()).unwrap_or(i64::MAX);
        for Declared { name, schema, watermark, keys, lateness } in self.streams {
            let lateness_micros = micros_of(lateness);
            let event_time = watermark.map(|(column, delay)| {
                let watermark = EventTimeColumn::delayed(&column, delay);
                EventTimeColumn::new(&state, &schema, &column, watermark)
            });
            let event_time = event_time.transpose()?;
            let event_time = event_time.map(|time| EventTimeColumn { lateness_micros, ..time });
            let event_time = match (event_time, keys) {
                (Some(time), Some((column, timeout))) => {
                    Some(time.by(&schema, &column, timeout.map(micros_of))?)
                }
                (None, Some(_)) => {
                    let reason = format!("`{name}` has watermark_by, and no watermark");
                    return Err(SqlError::statement(None, reason).or("call watermark, too"));
                }
                (event_time, None) => event_time,
            };
            event_times.insert(name.clone(), event_time.clone());
            let stream = StreamTable {
                name: name.clone(),
                schema,
                event_time,
                history: None,
                #[cfg(feature = "db")]
                late: None,
            };
            let registered = context.register_table(name, Arc::new(stream));
            registered.map_err(|error| SqlError::planning(&error))?;
        }
        let plan = plan::plan(&context.state(), sql::parse_query(sql)?).await?;
        Ok(Pipeline::new(plan, |stream| event_times.get(stream).cloned().flatten()))
    }
}
