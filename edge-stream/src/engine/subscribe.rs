//! Live answers: what a query gives from now on, to somebody who listens.

mod listener;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::sqlparser::ast::Statement;
use edge_db::Seq;
use futures::{Stream, StreamExt, stream};

use super::planning::{self, planned};
use super::{Engine, Object};
use crate::db::blocking;
use crate::db::input::InputSpec;
use crate::db::job::{JobError, JobSpec};
use crate::db::live::{Live, LiveInput, Standing};
use crate::decode::format::FormatKind;
use crate::error::{SqlError, chain};
use crate::pipeline::Pipeline;
use crate::sql::emit::JobQuery;
use crate::sql::statement::Kind;
use crate::stream::StreamTable;
use listener::{Alive, Listener};

/// Where a subscription begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Begin {
    /// Behind all records that are there.
    Now,
    /// At the oldest record that the Logs still have.
    Oldest,
    /// At the record with this `_seq`, in a query over one stream: [`Update::Rows::next`] of an
    /// earlier subscription to the same query. If the Log has dropped it, [`Update::Missed`] comes first.
    At(Seq),
}

/// What a subscriber is told.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Update {
    /// Rows of the answer.
    Rows {
        /// One at least.
        rows: RecordBatch,
        /// Where a new subscription to this query begins to go on behind these rows, without a
        /// gap and without repeating one. `None` where there is no such place: the query keeps a
        /// state, as windows do, or reads several streams, or a live topic.
        next: Option<Seq>,
    },
    /// A Log has dropped records before they were read, as the subscriber was so slow, or away for so
    /// long that those at its [`Begin::At`] are gone. What comes next comes behind them.
    Missed {
        /// The stream.
        stream: String,
        /// How many records.
        records: u64,
    },
}

/// Why a subscription ended.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SubscriptionError {
    /// What it reads is no longer what it was. Subscribe anew.
    #[error("`{name}` was dropped or replaced")]
    Changed {
        /// The stream or view.
        name: String,
    },
    /// The query failed on the rows, or holds more than it may.
    #[error("subscription failed: {reason}")]
    Failed {
        /// What went wrong.
        reason: String,
    },
}

/// A live answer; from [`Engine::subscribe`]. It is a [`Stream`], which ends after an error, and with
/// the engine; [`Subscription::next`] does without that trait. Dropping it ends it.
#[must_use = "a subscription does nothing until it is asked for rows"]
pub struct Subscription {
    schema: SchemaRef,
    updates: Pin<Box<dyn Stream<Item = Result<Update, SubscriptionError>> + Send>>,
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl Subscription {
    /// The columns of the rows.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The next rows, as soon as there are any. `None` once the engine is shut down or dropped, and
    /// after an error.
    ///
    /// # Errors
    /// When the query fails on the rows, or what it reads was dropped or replaced.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Result<Update, SubscriptionError>> {
        self.updates.next().await
    }
}

impl Stream for Subscription {
    type Item = Result<Update, SubscriptionError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.updates.as_mut().poll_next(context)
    }
}

/// A query, and what it is opened with.
struct Plan {
    pipeline: Pipeline,
    /// A query over the answer of that one.
    over: Option<Pipeline>,
    /// The view whose job it goes on from, or would be.
    view: Option<JobSpec>,
    inputs: Vec<InputSpec>,
    /// The job of each stream, which knows what its decoder has to remember.
    own: Vec<JobSpec>,
    /// What it reads, and what ends with that.
    alive: Alive,
}

impl Engine {
    /// Subscribes to the answer of a query, as a job would give it: over streams, or over a view,
    /// whose changes come as the rows that the view takes in, those of a key that is there in place
    /// of the old one. Rows come as soon as there are any.
    ///
    /// A subscription reads the Logs at its own pace, and holds up nobody: no job waits for it, and no
    /// Log keeps a record for it. Whoever asks seldom reads what is there then; what a Log has dropped
    /// meanwhile is counted by [`Update::Missed`]. Nothing but the rows of one step, of up to 8,192
    /// records, waits in memory, and the state of the query, with the limits of a job.
    ///
    /// Who was away goes on at the last [`Update::Rows::next`]. Where that is `None`:
    /// - Windows and other queries with a state begin empty: the first of them has the rows from
    ///   [`Begin`] on. Create a view, which has all rows, and subscribe to that.
    /// - A view with windows can be subscribed to from now on. Subscribe, then `SELECT` what it has, and
    ///   put what comes in place by its key: so nothing is missed.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use edge_stream::{Begin, Update};
    /// # let dir = tempfile::tempdir()?;
    /// let db = edge_db::Db::open(dir.path())?;
    /// let engine = edge_stream::Engine::builder().db(&db).start().await?;
    /// engine.execute("CREATE STREAM r (temp DOUBLE) WITH (log = 'raw', format = 'json')").await?;
    /// let hot = "SELECT temp FROM r WHERE temp > 30";
    /// let mut live = engine.subscribe(hot, Begin::Now).await?;
    /// db.log("raw")?.append(edge_db::Entry::new(r#"{"temp":31.5}"#))?;
    /// let Some(Update::Rows { rows, next }) = live.next().await.transpose()? else { panic!() };
    /// assert_eq!(rows.num_rows(), 1);
    /// drop(live);
    /// db.log("raw")?.append(edge_db::Entry::new(r#"{"temp":32.5}"#))?;
    /// let mut live = engine.subscribe(hot, Begin::At(next.expect("it keeps no state"))).await?;
    /// assert!(matches!(live.next().await, Some(Ok(Update::Rows { .. }))));
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the query could not be a job, cannot begin there, or as many subscriptions are open as may be
    /// ([`EngineBuilder::subscriptions`](crate::EngineBuilder::subscriptions)).
    ///
    /// # Cancel safety
    /// Nothing is left behind when the future is dropped.
    pub async fn subscribe(&self, query: &str, begin: Begin) -> Result<Subscription, SqlError> {
        let (query, at) = crate::sql::parse_placed_query(query)?;
        self.subscribed(query, begin).await.map_err(|error| error.at(at))
    }

    async fn subscribed(&self, query: JobQuery, begin: Begin) -> Result<Subscription, SqlError> {
        let inner = &self.inner;
        let permit = Arc::clone(&inner.subscriptions).try_acquire_owned();
        let permit = permit.map_err(|_| SqlError::TooManySubscriptions)?;
        let mut plan = self.live_plan(query).await?;
        check_begin(&mut plan, begin)?;
        let is_resumable = plan.is_resumable();
        let alive = std::mem::take(&mut plan.alive);
        // Before the ends of the Logs are looked at, so that nothing appended after them is missed.
        let appended = plan.inputs.iter().map(|input| input.log.watch()).collect();
        let (db, closing) = (inner.catalog.db.clone(), inner.closing.subscribe());
        let opened = blocking(move || plan.open(&db, begin)).await.map_err(|_| SqlError::Closed)?;
        let live = opened.map_err(|error| SqlError::statement(None, chain(&error)))?;
        let schema = Arc::clone(live.schema());
        let listener = Listener::new(live, is_resumable, appended, alive, closing, permit);
        let updates = stream::unfold(listener, |mut listener| async {
            let update = listener.next().await?;
            Some((update, listener))
        });
        Ok(Subscription { schema, updates: Box::pin(updates) })
    }

    async fn live_plan(&self, query: JobQuery) -> Result<Plan, SqlError> {
        match self.the_view(&query)? {
            Some(view) => self.plan_over_view(&view, query).await,
            None => {
                let pipeline = self.planner(query)().await?;
                let inputs = pipeline.streams().map(|stream| self.input(&pipeline, stream));
                let inputs = inputs.collect::<Result<Vec<_>, SqlError>>()?;
                let names = inputs.iter().map(|input| input.stream.clone());
                let names: Vec<_> = names.chain(pipeline.tables().iter().cloned()).collect();
                let (own, alive) = self.own_and_alive(&inputs, &names)?;
                Ok(Plan { pipeline, over: None, view: None, inputs, own, alive })
            }
        }
    }

    /// The view that a query reads, if it reads that and nothing else.
    fn the_view(&self, query: &JobQuery) -> Result<Option<String>, SqlError> {
        let statement = Statement::Query(Box::new(query.query.clone()));
        let statement = DataFusionStatement::Statement(Box::new(statement));
        let state = self.inner.context.state();
        let names = state.resolve_table_references(&statement);
        let names = names.map_err(|error| SqlError::planning(&error))?;
        let [name] = names.as_slice() else { return Ok(None) };
        let name = name.table().to_owned();
        Ok((self.kind_of(&name) == Some(Kind::View)).then_some(name))
    }

    /// The view's own query, and this one over its answer.
    async fn plan_over_view(&self, view: &str, query: JobQuery) -> Result<Plan, SqlError> {
        let found = self.inner.objects.lock().by_name.get(view).map(|object| {
            (object.what.query().cloned(), object.spec.clone(), Arc::clone(&object.schema))
        });
        let Some((Some(own), spec, schema)) = found else { return Err(SqlError::Closed) };
        let pipeline = self.planner(own)().await?;
        let tables = Arc::new(self.inner.tables.snapshot());
        let (name, event_time, history, late) = (view.to_owned(), None, None, None);
        let table = StreamTable { name, schema, event_time, history, late };
        tables.insert(view, Arc::new(table));
        let state = planning::state_over(&self.inner.context.state(), &tables);
        let over = Some(planned(&state, &tables, query).await?);
        let inputs = spec.inputs.clone();
        let names: Vec<_> = inputs.iter().map(|input| input.stream.clone()).collect();
        let names: Vec<_> = std::iter::once(view.to_owned()).chain(names).collect();
        let (own, alive) = self.own_and_alive(&inputs, &names)?;
        Ok(Plan { pipeline, over, view: Some(spec), inputs, own, alive })
    }

    fn own_and_alive(
        &self,
        inputs: &[InputSpec],
        names: &[String],
    ) -> Result<(Vec<JobSpec>, Alive), SqlError> {
        let objects = self.inner.objects.lock();
        let object = |name: &String| -> Result<&Object, SqlError> {
            objects.by_name.get(name).ok_or(SqlError::Closed)
        };
        let own = inputs.iter().map(|input| Ok(object(&input.stream)?.spec.clone()));
        // Tables of the application are not the engine's to end.
        let objects = names.iter().filter_map(|name| Some((name, object(name).ok()?)));
        let alive = objects.map(|(name, object)| (name.clone(), object.alive.subscribe()));
        let alive = alive.collect();
        Ok((own.collect::<Result<_, SqlError>>()?, alive))
    }
}

/// Refuses a beginning where the answer would not be what was asked for.
fn check_begin(plan: &mut Plan, begin: Begin) -> Result<(), SqlError> {
    let Begin::At(position) = begin else { return Ok(()) };
    let refuse = |reason: &str, help: &str| Err(SqlError::statement(None, reason).or(help));
    let [input] = plan.inputs.as_slice() else {
        return refuse(
            "the query reads several streams, and a position is one of a single Log",
            "begin now, or write the answer into a Log by CREATE SINK and subscribe to a stream over it",
        );
    };
    if input.log.live().is_some() {
        let reason =
            format!("`{}` is a live topic, whose positions end with the process", input.stream);
        return refuse(&reason, "begin now, or at the oldest record that memory has");
    }
    if plan.view.is_some() && !plan.pipeline.is_stateless() {
        return refuse(
            "what the view held at that position is gone",
            "begin now, and then SELECT what the view has; rows that come replace those of their key",
        );
    }
    let end = input.log.bounds()?.end;
    if position > end {
        let reason = format!("the Log of `{}` ends at {end}, in front of {position}", input.stream);
        return refuse(&reason, "begin at the oldest record, or now");
    }
    Ok(())
}

impl Plan {
    /// Whether a position says all that has to be known to go on.
    fn is_resumable(&self) -> bool {
        let pipelines = std::iter::once(&self.pipeline).chain(&self.over);
        let is_stored = self.inputs.iter().all(|input| input.log.live().is_none());
        is_stored && self.inputs.len() == 1 && pipelines.into_iter().all(Pipeline::is_stateless)
    }

    fn open(self, db: &edge_db::Db, begin: Begin) -> Result<Live, JobError> {
        if let (Begin::Now, Some(view)) = (begin, &self.view) {
            let live = Live::from_job(view, self.pipeline, Standing::of(db, view)?)?;
            return Ok(live.through(self.over));
        }
        let inputs = self.inputs.into_iter().zip(self.own).map(|(input, own)| {
            let bounds = input.log.bounds()?;
            let from = match begin {
                Begin::Now => bounds.end,
                Begin::Oldest => bounds.start,
                Begin::At(position) => position,
            };
            live_input(db, input, from, Some(&own))
        });
        let inputs = inputs.collect::<Result<_, JobError>>()?;
        Ok(Live::new(inputs, self.pipeline).through(self.over))
    }
}

/// `own` is the job of the stream, if there is one.
pub(super) fn live_input(
    db: &edge_db::Db,
    input: InputSpec,
    from: Seq,
    own: Option<&JobSpec>,
) -> Result<LiveInput, JobError> {
    let remembers = input.decoder.format().kind == FormatKind::SparkplugB;
    let own = own.filter(|_| remembers).map(|own| Standing::of(db, own)).transpose()?;
    LiveInput::new(input, from, own)
}
