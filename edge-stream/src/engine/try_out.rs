//! What a statement would give, before it is there.

mod run;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::execution::SessionState;
use datafusion::sql::sqlparser::ast::Ident;

use super::build::check_storable;
use super::changes::changes_log;
use super::planning::{self, decoder_for, planned};
use super::sink::encoder;
use super::{Engine, Inner};
use crate::db::input::InputSpec;
use crate::db::job::JobSpec;
use crate::db::live::RejectedRecord;
use crate::db::shared::Shared;
use crate::db::tables::Tables;
use crate::db::tape::Tape;
use crate::decode::Decoder;
use crate::error::SqlError;
use crate::pipeline::Pipeline;
use crate::sql::statement::{Action, Definition, Source, Statement};
use crate::sql::trial::{Asked, AskedBy, Trial, parse_trial};
use crate::stream::StreamTable;
use run::Run;

/// What [`Engine::try_out`] runs a statement over.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Sample {
    /// So many of the newest records of the Log of each stream.
    Newest(u64),
    /// Rows of streams, each with the name of its stream, in this order. Columns go by name, those
    /// that are not there are NULL; `_time` and the like may be there, too.
    Rows(Vec<(String, RecordBatch)>),
}

/// What a statement would give; from [`Engine::try_out`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TriedOut {
    /// What was tried, with the columns of streams that the text leaves out.
    pub script: String,
    /// The columns of the rows.
    pub schema: SchemaRef,
    /// The rows in the order in which a job would give them.
    pub rows: Vec<RecordBatch>,
    /// Records that are no rows of their streams, the first 1,000.
    pub rejected: Vec<RejectedRecord>,
    /// How many there are.
    pub undecodable: u64,
    /// Rows that came behind the watermark, when their window was closed.
    pub late: u64,
}

/// The streams that a statement can read, those of its own text among them.
struct Scope<'a> {
    engine: &'a Engine,
    tables: Arc<Tables>,
    state: SessionState,
    /// Streams that nobody has created, with their Logs, which need not be there either.
    own: BTreeMap<String, (Option<Tape>, Decoder)>,
}

/// A query, and what it reads.
struct Plan {
    pipeline: Pipeline,
    /// Streams whose Logs are there, with the job of each that has one.
    inputs: Vec<(InputSpec, Option<JobSpec>)>,
    /// How rows of each stream are made of batches.
    decoders: BTreeMap<String, Decoder>,
}

impl Engine {
    /// Shows what a statement would give, and stores nothing: `CREATE MATERIALIZED VIEW`, `CREATE SINK`
    /// or a query, over streams that are there or stand in front of it in the text; or `CREATE STREAM`
    /// alone, which gives the rows that it makes of its records. Windows that are open behind the last
    /// row are answered, too; with `EMIT`, or where late rows change windows, a group comes again and again. Names may be those of what is there, as at `CREATE OR REPLACE`.
    ///
    /// It counts as a subscription while it runs, with the limits of a job for its state, those of
    /// [`Engine::sql`] for time and the answer, and holds up nobody. Of a topic it knows what is in the
    /// Log of the stream.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use edge_stream::Sample;
    /// # let dir = tempfile::tempdir()?;
    /// let db = edge_db::Db::open(dir.path())?;
    /// let engine = edge_stream::Engine::builder().db(&db).start().await?;
    /// for text in [r#"{"room":"lab","temp":31.5}"#, r#"{"room":"lab","temp":9}"#, "31"] {
    ///     db.log("raw")?.append(edge_db::Entry::new(text))?;
    /// }
    /// let tried = engine.try_out("
    ///     CREATE STREAM readings WITH (log = 'raw', format = 'json');
    ///     CREATE MATERIALIZED VIEW hot AS SELECT room, temp FROM readings WHERE temp > 30;
    /// ", Sample::Newest(100)).await?;
    /// assert!(tried.script.contains(r#"("room" VARCHAR, "temp" DOUBLE)"#));
    /// assert_eq!((tried.rows[0].num_rows(), tried.undecodable), (1, 1));
    /// assert!(engine.sql("SELECT * FROM hot").await.is_err());            // it is not there
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the statement could not be created, fails on these rows, or as many subscriptions are open as
    /// may be.
    ///
    /// # Cancel safety
    /// Nothing is left behind when the future is dropped; it ends with the next 8,192 records.
    pub async fn try_out(&self, script: &str, over: Sample) -> Result<TriedOut, SqlError> {
        let trial = parse_trial(script)?;
        let permit = Arc::clone(&self.inner.subscriptions).try_acquire_owned();
        let _permit = permit.map_err(|_| SqlError::TooManySubscriptions)?;
        self.in_time(self.tried_out(trial, over)).await?
    }

    async fn tried_out(&self, trial: Trial, over: Sample) -> Result<TriedOut, SqlError> {
        let mut scope = Scope::new(self);
        let (mut texts, mut last) = (Vec::new(), None);
        for stream in trial.streams {
            let position = stream.position;
            let (name, text) = scope.add(stream).await.map_err(|error| error.at(position))?;
            last = Some((name, position));
            texts.push(text);
        }
        let asked = match (trial.asked, last) {
            (Some(asked), _) => {
                texts.push(asked.text.clone());
                asked
            }
            (None, Some((name, position))) => {
                let text = format!("SELECT * FROM {}", Ident::with_quote('"', &name));
                let query = crate::sql::parse_query(&text)?;
                Asked { text, position, query, of: AskedBy::Nothing }
            }
            (None, None) => return Err(SqlError::Closed),
        };
        let (position, script) = (asked.position, texts.join(";\n"));
        let plan = scope.plan(asked).await.map_err(|error| error.at(position))?;
        let run = Run::open(self.inner.catalog.db.clone(), plan, over).await?;
        run.finish(script, self.inner.query_memory_bytes).await
    }
}

impl Scope<'_> {
    fn new(engine: &Engine) -> Scope<'_> {
        let Inner { tables, context, .. } = &*engine.inner;
        let tables = Arc::new(tables.snapshot());
        let state = planning::state_over(&context.state(), &tables);
        Scope { engine, tables, state, own: BTreeMap::new() }
    }

    /// Takes in a stream; returns its name and its text with all columns.
    async fn add(&mut self, statement: Statement) -> Result<(String, String), SqlError> {
        let statement = self.engine.with_columns(statement).await?;
        let Action::Create { name, what: Definition::Stream(stream), .. } = statement.action else {
            return Err(SqlError::Closed);
        };
        let (decoder, event_time) = self.engine.decoder(&stream)?;
        let log = match &stream.source {
            Source::Topic(_) => name.clone(),
            Source::Log(log) => log.clone(),
            Source::Table(table) => changes_log(table),
        };
        let log = self.engine.inner.catalog.db.find_log(&log);
        // Of a live topic there is no Log, whatever has its name.
        let log = log.filter(|_| stream.live_bytes.is_none()).map(Tape::from);
        let schema = Arc::clone(decoder.schema());
        let table =
            StreamTable { name: name.clone(), schema, event_time, history: None, late: None };
        self.tables.insert(&name, Arc::new(table));
        self.own.insert(name.clone(), (log, decoder));
        Ok((name, statement.text))
    }

    async fn plan(&self, asked: Asked) -> Result<Plan, SqlError> {
        let pipeline = planned(&self.state, &self.tables, asked.query).await?;
        match &asked.of {
            AskedBy::Nothing => {}
            AskedBy::View => check_storable(pipeline.schema(), pipeline.key())?,
            AskedBy::Sink(sink) => drop(encoder(pipeline.schema(), sink)?),
        }
        let (mut inputs, mut decoders) = (Vec::new(), BTreeMap::new());
        for stream in pipeline.streams() {
            let (log, decoder, job) = self.source(stream)?;
            if let Some(log) = log {
                let decoder = decoder_for(&decoder, &pipeline, stream, &self.tables);
                let shared = Arc::new(Shared::new(log.clone(), decoder.clone()));
                let (stream, idle_timeout) = (stream.to_owned(), None);
                let input = InputSpec { stream, log, decoder, idle_timeout, shared };
                inputs.push((input, job));
            }
            decoders.insert(stream.to_owned(), decoder);
        }
        Ok(Plan { pipeline, inputs, decoders })
    }

    fn source(&self, stream: &str) -> Result<(Option<Tape>, Decoder, Option<JobSpec>), SqlError> {
        if let Some((log, decoder)) = self.own.get(stream) {
            return Ok((log.clone(), decoder.clone(), None));
        }
        let job = self.engine.stream_job(stream)?;
        let InputSpec { log, decoder, .. } = job.inputs[0].clone();
        Ok((Some(log), decoder, Some(job)))
    }
}
