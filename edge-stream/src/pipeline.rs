//! A streaming query that the application itself feeds with rows.

mod builder;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;

pub use builder::PipelineBuilder;

use crate::delta::{self, Delta};
use crate::error::OperatorError;
use crate::operator::{Changes, Flow, Stored};
#[cfg(feature = "db")]
use crate::operator::{Explain, Origin};
use crate::plan::{JobPlan, Scan};
use crate::stream::EventTimeColumn;
use crate::watermark::{EventTime, Watermark, below};
#[cfg(feature = "db")]
use crate::watermark::{Keys, KeysStand};

/// Behind the keys of all operators.
const PROGRESS_KEY: &[u8] = &[0xFF];

/// Where a query of several sources stores the watermarks of its operators.
const WATERMARKS_KEY: &[u8] = &[0xFF, 1];

/// Where each source stores the watermarks of its keys, behind its number.
const KEYS_KEY: &[u8] = &[0xFF, 2];

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
    sources: Vec<Source>,
    flow: Flow,
    schema: SchemaRef,
    key: Option<Vec<usize>>,
    #[cfg_attr(not(feature = "db"), allow(dead_code, reason = "tables lie in a database"))]
    tables: Vec<String>,
    late: u64,
    /// What is stored of keys that no source has.
    unwanted: Vec<Vec<u8>>,
}

/// A stream in the `FROM` of the query.
#[derive(Debug)]
struct Source {
    scan: Scan,
    watermark: Option<Watermark>,
}

impl Pipeline {
    /// A query over a stream of this name and these columns.
    pub fn builder(stream: impl Into<String>, schema: SchemaRef) -> PipelineBuilder {
        PipelineBuilder::default().stream(stream, schema)
    }

    /// `event_time` knows the event time of each stream that has one.
    pub(crate) fn new(
        plan: JobPlan,
        event_time: impl Fn(&str) -> Option<EventTimeColumn>,
    ) -> Pipeline {
        let JobPlan { sources, flow, schema, key, tables } = plan;
        let sources = sources.into_iter().map(|scan| {
            let watermark = event_time(&scan.stream).map(Watermark::new);
            Source { scan, watermark }
        });
        Pipeline {
            sources: sources.collect(),
            flow,
            schema,
            key,
            tables,
            late: 0,
            unwanted: Vec::new(),
        }
    }

    /// The columns of what comes out.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The streams that the query reads, each once.
    pub fn streams(&self) -> impl Iterator<Item = &str> {
        let names = self.sources.iter().map(|source| source.scan.stream.as_str());
        names
            .enumerate()
            .filter(|(at, name)| self.first_of(name) == Some(*at))
            .map(|(_, name)| name)
    }

    fn first_of(&self, stream: &str) -> Option<usize> {
        self.sources.iter().position(|source| source.scan.stream == stream)
    }

    /// The columns of what comes out that tell its rows apart: the window and the keys of a
    /// `GROUP BY`. `None` if each row stands for itself.
    pub fn key(&self) -> Option<&[usize]> {
        self.key.as_deref()
    }

    /// The columns of a stream that the query looks at.
    #[cfg(feature = "db")]
    pub(crate) fn columns(&self, stream: &str) -> Vec<usize> {
        let sources = self.sources.iter().filter(|source| source.scan.stream == stream);
        sources.flat_map(|source| source.scan.columns.iter().copied()).collect()
    }

    /// Whether what it gives for a row does not depend on those in front of it.
    #[cfg(feature = "db")]
    pub(crate) fn is_stateless(&self) -> bool {
        self.flow.is_stateless()
    }

    /// The tables and views that it looks rows up in.
    #[cfg(feature = "db")]
    pub(crate) fn tables(&self) -> &[String] {
        &self.tables
    }

    /// How far event time has come in all streams that are not idle; in the one that is furthest, if
    /// all are.
    pub fn watermark(&self) -> Option<EventTime> {
        let sources = self.sources.iter().enumerate();
        let watermarks = sources.filter_map(|(number, source)| {
            Some((self.flow.is_idle(number), source.watermark.as_ref()?.current()))
        });
        let all: Vec<_> = watermarks.collect();
        let awake = all.iter().filter(|(is_idle, _)| !is_idle).map(|(_, watermark)| *watermark);
        awake.min().unwrap_or_else(|| all.iter().map(|(_, watermark)| *watermark).max().flatten())
    }

    /// How far event time has come in a stream; the outer `None` if it has no event time.
    #[cfg(feature = "db")]
    pub(crate) fn event_time(&self, stream: &str) -> Option<Option<EventTime>> {
        let watermark = self.sources[self.first_of(stream)?].watermark.as_ref()?;
        Some(watermark.current())
    }

    /// How the keys of a stream stand, if they have watermarks of their own.
    #[cfg(feature = "db")]
    pub(crate) fn keys(&self, stream: &str) -> Option<KeysStand> {
        let watermark = self.sources[self.first_of(stream)?].watermark.as_ref()?;
        Some(watermark.keys()?.stand())
    }

    /// Rows that came behind the watermark, when their window was closed. They are in no answer.
    pub fn late(&self) -> u64 {
        self.late
    }

    /// What it reads, and each operator behind that, with the numbers of those that it takes from.
    #[cfg(feature = "db")]
    pub(crate) fn explain(&self, is_live: impl Fn(&str) -> bool) -> Vec<(String, Explain)> {
        let sources = self.sources.iter().map(|source| {
            let keys = source.watermark.as_ref().map(|watermark| watermark.keys().map(Keys::name));
            let keeps = match keys {
                Some(Some(key)) => format!("the position, and the watermark of each {key}"),
                Some(None) => "the position, and the watermark".to_owned(),
                None => "the position".to_owned(),
            };
            let until = match keys.flatten() {
                Some(_) => "it moves on, or the key is idle".to_owned(),
                None => "it moves on".to_owned(),
            };
            let live = if is_live(&source.scan.stream) { ", live: at most once" } else { "" };
            let what = format!("read {}{live}", source.scan.stream);
            (String::new(), Explain { what, keeps, until })
        });
        let operators = self.flow.explain().map(|(inputs, explain)| {
            let inputs = inputs.iter().map(|from| match from {
                Origin::Source(number) => number + 1,
                Origin::Operator(number) => self.sources.len() + number + 1,
            });
            let inputs: Vec<_> = inputs.map(|number| number.to_string()).collect();
            (inputs.join(", "), explain)
        });
        sources.chain(operators).collect()
    }

    /// Bytes of its state, as the last checkpoint has stored them.
    #[cfg(feature = "db")]
    pub(crate) fn state_bytes(&self) -> usize {
        let keys = self.sources.iter().filter_map(|source| source.watermark.as_ref()?.keys());
        self.flow.state_bytes() + keys.map(Keys::state_bytes).sum::<usize>()
    }

    /// The most that its state may take in a checkpoint, in bytes; 64 MiB without this call. Each step
    /// has a limit of its own besides.
    pub fn limit_state(&mut self, bytes: usize) {
        self.flow.limit_state(bytes);
    }

    /// Takes rows with all columns of the first stream; returns what they complete. With `EMIT` or
    /// [late rows](PipelineBuilder::allowed_lateness) that are rows in the place of others with the
    /// same [key](Pipeline::key), and [`Pipeline::push_deltas`] also tells which have gone.
    ///
    /// # Errors
    /// When an expression fails on a row, or an event time is null. The pipeline may have taken
    /// some of the rows then, and should not be used further.
    pub fn push(&mut self, rows: &RecordBatch) -> Result<Vec<RecordBatch>, OperatorError> {
        let Some(first) = self.sources.first() else { return Ok(Vec::new()) };
        let stream = first.scan.stream.clone();
        self.push_to(&stream, rows)
    }

    /// Takes rows with all columns of a stream; returns what they complete. A stream that the query
    /// does not read has no effect.
    ///
    /// # Errors
    /// As those of [`Pipeline::push`].
    pub fn push_to(
        &mut self,
        stream: &str,
        rows: &RecordBatch,
    ) -> Result<Vec<RecordBatch>, OperatorError> {
        Ok(rows_of(self.push_deltas(stream, rows)?))
    }

    /// The same for a query whose rows may leave its answer again: with what is gone from it.
    ///
    /// # Errors
    /// As those of [`Pipeline::push`].
    pub fn push_deltas(
        &mut self,
        stream: &str,
        rows: &RecordBatch,
    ) -> Result<Vec<Delta>, OperatorError> {
        let mut answer = Vec::new();
        for number in 0..self.sources.len() {
            let source = &mut self.sources[number];
            if source.scan.stream != stream {
                continue;
            }
            let moved = match &mut source.watermark {
                Some(watermark) => watermark.observe(rows)?,
                None => None,
            };
            self.flow.set_idle(number, false);
            let rows = rows.project(&source.scan.columns)?;
            answer.extend(self.run(number, Some(rows), moved)?);
        }
        Ok(answer)
    }

    /// Says that no row in front of `to` will come any more, in any stream; returns what that
    /// completes.
    ///
    /// # Errors
    /// When an expression fails on an answer.
    pub fn advance(&mut self, to: EventTime) -> Result<Vec<RecordBatch>, OperatorError> {
        Ok(rows_of(self.advance_deltas(to)?))
    }

    /// The same with what is gone from the answer.
    ///
    /// # Errors
    /// As those of [`Pipeline::advance`].
    pub fn advance_deltas(&mut self, to: EventTime) -> Result<Vec<Delta>, OperatorError> {
        let mut answer = Vec::new();
        for number in 0..self.sources.len() {
            let Some(watermark) = &mut self.sources[number].watermark else { continue };
            let reached = watermark.current().max(Some(to));
            watermark.restore(reached);
            answer.extend(self.run(number, None, reached)?);
        }
        Ok(answer)
    }

    /// Says that no row of a stream is to be expected for now: until one comes, the others do not
    /// wait for it in joins and `UNION ALL`. Returns what that completes; rows of it that come behind
    /// what the others have reached meanwhile are late. It has no effect on a query over this stream
    /// alone, or over a stream without event time.
    ///
    /// # Errors
    /// When an expression fails on an answer.
    pub fn set_idle(&mut self, stream: &str) -> Result<Vec<RecordBatch>, OperatorError> {
        Ok(rows_of(self.set_idle_deltas(stream)?))
    }

    /// The same, telling which rows are in the answer no longer.
    ///
    /// # Errors
    /// As those of [`Pipeline::set_idle`].
    pub fn set_idle_deltas(&mut self, stream: &str) -> Result<Vec<Delta>, OperatorError> {
        let mut answer = Vec::new();
        for number in 0..self.sources.len() {
            let source = &self.sources[number];
            if source.scan.stream == stream && source.watermark.is_some() {
                self.flow.set_idle(number, true);
                answer.extend(self.run(number, None, None)?);
            }
        }
        Ok(answer)
    }

    /// Whether nobody waits for a stream.
    #[cfg(feature = "db")]
    pub(crate) fn is_idle(&self, stream: &str) -> bool {
        self.first_of(stream).is_some_and(|number| self.flow.is_idle(number))
    }

    /// What has changed since the last checkpoint. Stored together with the position up to which
    /// rows were pushed, all of them make a pipeline that goes on from there.
    ///
    /// Costs the size of the windows that have changed.
    ///
    /// # Errors
    /// When the state takes more than its limit.
    pub fn checkpoint(&mut self) -> Result<Changes, OperatorError> {
        let mut changes = Changes::new();
        self.flow.snapshot(&mut changes)?;
        changes.insert(PROGRESS_KEY.to_vec(), Some(self.progress()));
        if self.sources.len() > 1 {
            let mut bytes = Vec::new();
            self.flow.watermarks().for_each(|watermark| write_watermark(&mut bytes, watermark, 0));
            changes.insert(WATERMARKS_KEY.to_vec(), Some(bytes.into()));
        }
        changes.extend(self.unwanted.drain(..).map(|key| (key, None)));
        for (number, source) in (0u8..).zip(&mut self.sources) {
            if let Some(keys) = source.watermark.as_mut().and_then(Watermark::keys_mut) {
                keys.store(&keys_key(number), &mut changes);
            }
        }
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
        for (number, source) in (0u8..).zip(&mut self.sources) {
            let (own, keys) = (keys_key(number), source.watermark.as_mut());
            let keys = keys.and_then(Watermark::keys_mut);
            if !keys.map_or(Ok(false), |keys| keys.restore(&own, stored))? {
                let unwanted = below(stored, &own).map(|(key, _)| [&own, key].concat());
                self.unwanted.extend(unwanted);
            }
        }
        self.flow.restore(stored)?;
        let sources = self.sources.iter();
        let sources = sources.map(|source| source.watermark.as_ref().and_then(Watermark::current));
        let sources: Vec<_> = sources.collect();
        let watermarks = stored.get(WATERMARKS_KEY).map(|bytes| {
            let (watermarks, rest) = bytes.as_chunks::<9>();
            let watermarks = watermarks.iter().map(|bytes| read_watermark(bytes).0);
            rest.is_empty().then(|| watermarks.collect::<Vec<_>>()).ok_or_else(damaged)
        });
        self.flow.resume(&sources, watermarks.transpose()?.as_deref())
    }

    /// The watermark of each source, then the count of late rows.
    fn progress(&self) -> Bytes {
        let mut bytes = Vec::new();
        for (number, source) in self.sources.iter().enumerate() {
            let watermark = source.watermark.as_ref().and_then(Watermark::current);
            write_watermark(&mut bytes, watermark, u8::from(self.flow.is_idle(number)) << 1);
        }
        bytes.extend_from_slice(&self.late.to_le_bytes());
        bytes.into()
    }

    fn restore_progress(&mut self, bytes: &[u8]) -> Result<(), OperatorError> {
        let (watermarks, late) = bytes.split_last_chunk::<8>().ok_or_else(damaged)?;
        let (watermarks, rest) = watermarks.as_chunks::<9>();
        if watermarks.len() != self.sources.len() || !rest.is_empty() {
            return Err(damaged());
        }
        self.late = u64::from_le_bytes(*late);
        for (number, (source, bytes)) in self.sources.iter_mut().zip(watermarks).enumerate() {
            let (watermark, flags) = read_watermark(bytes);
            self.flow.set_idle(number, flags >> 1 == 1);
            if let Some(own) = &mut source.watermark {
                own.restore(watermark);
            }
        }
        Ok(())
    }

    fn run(
        &mut self,
        source: usize,
        rows: Option<RecordBatch>,
        watermark: Option<EventTime>,
    ) -> Result<Vec<Delta>, OperatorError> {
        let out = self.flow.run(source, rows, watermark)?;
        self.late += out.late;
        let key = self.key.as_deref().unwrap_or_default();
        let gone = delta::gone(&out.spoken_of, &out.batches, key)?.map(Delta::Gone);
        Ok(gone.into_iter().chain(out.batches.into_iter().map(Delta::Rows)).collect())
    }
}

fn rows_of(deltas: Vec<Delta>) -> Vec<RecordBatch> {
    deltas.into_iter().filter_map(Delta::into_rows).collect()
}

fn keys_key(source: u8) -> Vec<u8> {
    [KEYS_KEY, &[source]].concat()
}

fn damaged() -> OperatorError {
    OperatorError::State { reason: "its progress is damaged".to_owned() }
}

/// A byte whose lowest bit says whether there is a watermark, and others something else; then the
/// watermark, or eight zero bytes.
fn write_watermark(bytes: &mut Vec<u8>, watermark: Option<EventTime>, flags: u8) {
    bytes.push(u8::from(watermark.is_some()) | flags);
    bytes.extend_from_slice(&watermark.map_or(0, EventTime::micros).to_le_bytes());
}

fn read_watermark([flags, micros @ ..]: &[u8; 9]) -> (Option<EventTime>, u8) {
    let watermark = EventTime::from_micros(i64::from_le_bytes(*micros));
    ((flags & 1 == 1).then_some(watermark), *flags)
}
