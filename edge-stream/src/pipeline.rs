//! A streaming query that the application itself feeds with rows.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;

use crate::error::{OperatorError, SqlError};
use crate::operator::{Chain, Changes, Stored};
use crate::plan::{self, JobPlan};
use crate::stream::{EventTimeColumn, StreamTable};
use crate::watermark::{EventTime, Watermark};
use crate::{session, sql};

/// Behind the keys of all operators.
const PROGRESS_KEY: &[u8] = &[0xFF];

/// A query over rows that never end, without task, thread or I/O: rows go in, and what they make
/// comes out. What [`Engine`](crate::Engine) runs as jobs is this, with durable positions.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// use std::{sync::Arc, time::Duration};
/// use arrow::array::{Float64Array, RecordBatch, TimestampMicrosecondArray};
/// use edge_stream::{EventTime, Pipeline};
///
/// let rows = RecordBatch::try_from_iter([
///     ("ts", Arc::new(TimestampMicrosecondArray::from(vec![1_000_000, 61_000_000])) as _),
///     ("temp", Arc::new(Float64Array::from(vec![20.0, 21.0])) as _),
/// ])?;
/// let mut query = Pipeline::builder("readings", rows.schema())
///     .watermark("ts", Duration::from_secs(0))
///     .query("SELECT window_start, avg(temp) FROM TUMBLE(readings, ts, INTERVAL '1 minute')
///             GROUP BY window_start")
///     .await?;
/// let closed = query.push(&rows)?;                  // the second row closes the first minute
/// assert_eq!(closed[0].num_rows(), 1);
/// let rest = query.advance(EventTime::from_micros(i64::MAX))?;
/// assert_eq!(rest[0].num_rows(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use]
pub struct Pipeline {
    stream: String,
    chain: Chain,
    columns: Vec<usize>,
    schema: SchemaRef,
    key: Option<Vec<usize>>,
    watermark: Option<Watermark>,
    late: u64,
}

/// What a [`Pipeline`] reads.
#[derive(Debug, Clone)]
#[must_use]
pub struct PipelineBuilder {
    stream: String,
    schema: SchemaRef,
    watermark: Option<(String, Duration)>,
}

impl PipelineBuilder {
    /// Windows are over this TIMESTAMP column, which is never null; a row may come so much later
    /// than others that are newer. Without this call there are no windows.
    pub fn watermark(mut self, column: impl Into<String>, delay: Duration) -> PipelineBuilder {
        self.watermark = Some((column.into(), delay));
        self
    }

    /// Plans the query.
    ///
    /// # Errors
    /// When it cannot run over rows that never end; the message says what would.
    pub async fn query(self, sql: &str) -> Result<Pipeline, SqlError> {
        // It plans, and runs nothing.
        let (context, schema) = (session::context(usize::MAX), self.schema);
        let state = context.state();
        let event_time = self.watermark.map(|(column, delay)| {
            let watermark = EventTimeColumn::delayed(&column, delay);
            EventTimeColumn::new(&state, &schema, &column, watermark)
        });
        let event_time = event_time.transpose()?;
        let stream = StreamTable {
            name: self.stream.clone(),
            schema,
            event_time: event_time.clone(),
            history: None,
        };
        let registered = context.register_table(self.stream.as_str(), Arc::new(stream));
        registered.map_err(|error| SqlError::planning(&error))?;
        let plan = plan::plan(&context.state(), sql::parse_query(sql)?).await?;
        Ok(Pipeline::new(plan, event_time))
    }
}

impl Pipeline {
    /// A query over a stream of this name and these columns.
    pub fn builder(stream: impl Into<String>, schema: SchemaRef) -> PipelineBuilder {
        PipelineBuilder { stream: stream.into(), schema, watermark: None }
    }

    pub(crate) fn new(plan: JobPlan, event_time: Option<EventTimeColumn>) -> Pipeline {
        let JobPlan { stream, columns, chain, schema, key } = plan;
        let watermark = event_time.map(Watermark::new);
        Pipeline { stream, chain, columns, schema, key, watermark, late: 0 }
    }

    /// The columns of what comes out.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The stream that the query reads.
    pub fn stream(&self) -> &str {
        &self.stream
    }

    /// The columns of what comes out that tell its rows apart: the window and the keys of a
    /// `GROUP BY`. `None` if each row stands for itself.
    pub fn key(&self) -> Option<&[usize]> {
        self.key.as_deref()
    }

    /// The columns of the stream that the query looks at.
    #[cfg(feature = "db")]
    pub(crate) fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// How far event time has come.
    pub fn watermark(&self) -> Option<EventTime> {
        self.watermark.as_ref().and_then(Watermark::current)
    }

    /// Rows that came behind the watermark, when their window was closed. They are in no answer.
    pub fn late(&self) -> u64 {
        self.late
    }

    /// Takes rows with all columns of the stream; returns what they complete.
    ///
    /// # Errors
    /// When an expression fails on a row, or an event time is null. The pipeline may have taken
    /// some of the rows then, and should not be used further.
    pub fn push(&mut self, rows: &RecordBatch) -> Result<Vec<RecordBatch>, OperatorError> {
        let moved = match &mut self.watermark {
            Some(watermark) => watermark.observe(rows)?,
            None => None,
        };
        let rows = rows.project(&self.columns)?;
        self.run(Some(rows), moved)
    }

    /// Says that no row in front of `to` will come any more; returns what that completes.
    ///
    /// # Errors
    /// When an expression fails on an answer.
    pub fn advance(&mut self, to: EventTime) -> Result<Vec<RecordBatch>, OperatorError> {
        let Some(watermark) = &mut self.watermark else { return Ok(Vec::new()) };
        let reached = watermark.current().max(Some(to));
        watermark.restore(reached);
        self.run(None, reached)
    }

    /// What has changed since the last checkpoint. Stored together with the position up to which
    /// rows were pushed, all of them make a pipeline that goes on from there.
    ///
    /// Costs the size of the windows that have changed.
    ///
    /// # Errors
    /// When the open windows hold more than 64 MiB.
    pub fn checkpoint(&mut self) -> Result<Changes, OperatorError> {
        let mut changes = Changes::new();
        self.chain.snapshot(&mut changes)?;
        changes.insert(PROGRESS_KEY.to_vec(), Some(self.progress()));
        Ok(changes)
    }

    /// Goes on from what the checkpoints of the same query have left. Call it before the first
    /// row.
    ///
    /// # Errors
    /// When the state was written by another query, or is damaged.
    pub fn restore(&mut self, stored: &Stored) -> Result<(), OperatorError> {
        let Some(progress) = stored.get(PROGRESS_KEY) else { return Ok(()) };
        self.restore_progress(progress)?;
        self.chain.restore(stored)?;
        let Some(watermark) = self.watermark() else { return Ok(()) };
        // No window that is open ends in front of the watermark, so nothing comes out.
        self.run(None, Some(watermark)).map(drop)
    }

    /// One byte 1 and the watermark, or a 0 and eight zero bytes; then the count of late rows.
    fn progress(&self) -> Bytes {
        let watermark = self.watermark();
        let mut bytes = vec![u8::from(watermark.is_some())];
        bytes.extend_from_slice(&watermark.map_or(0, EventTime::micros).to_le_bytes());
        bytes.extend_from_slice(&self.late.to_le_bytes());
        bytes.into()
    }

    fn restore_progress(&mut self, bytes: &[u8]) -> Result<(), OperatorError> {
        let parts = || {
            let (has_watermark, rest) = bytes.split_first()?;
            let (watermark, late) = rest.split_first_chunk::<8>()?;
            let watermark = EventTime::from_micros(i64::from_le_bytes(*watermark));
            let late = u64::from_le_bytes(late.try_into().ok()?);
            Some(((*has_watermark == 1).then_some(watermark), late))
        };
        let damaged = || OperatorError::State { reason: "its progress is damaged".to_owned() };
        let (watermark, late) = parts().ok_or_else(damaged)?;
        self.late = late;
        if let Some(own) = &mut self.watermark {
            own.restore(watermark);
        }
        Ok(())
    }

    fn run(
        &mut self,
        rows: Option<RecordBatch>,
        watermark: Option<EventTime>,
    ) -> Result<Vec<RecordBatch>, OperatorError> {
        let out = self.chain.run(rows, watermark)?;
        self.late += out.late;
        Ok(out.batches)
    }
}
