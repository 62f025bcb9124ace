//! The engine: statements become streams, views and sinks that keep running; queries are answered.

mod answer;
mod build;
mod changes;
mod channel;
mod deliver;
mod error;
mod execute;
mod infer;
mod late;
mod options;
mod planning;
mod push;
mod query;
mod replace;
mod replace_stream;
mod replay;
mod sink;
mod standing;
mod subscribe;
mod system;
mod table;
mod try_out;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
pub use channel::{Channel, ChannelError};
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF};
use edge_db::Db;
pub use error::{CaughtUpError, Left, PushError, ReplayError, StartError};
use parking_lot::Mutex;
pub use replay::Speed;
pub use subscribe::{Begin, Subscription, SubscriptionError, Update};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};
pub use try_out::{Sample, TriedOut};

use crate::db::blocking;
use crate::db::catalog::{Catalog, Created};
use crate::db::deliver::Delivering;
use crate::db::deliver::callback::Callback;
use crate::db::job::JobSpec;
use crate::db::own::OwnTable;
use crate::db::status::InputStatus;
use crate::db::tables::Tables;
use crate::db::task::Running;
use crate::error::SqlError;
use crate::session::Functions;
use crate::sql::statement::{self, Definition, Kind};

/// How long the tasks of an engine before this one may take to end.
const CLAIM_WITHIN: Duration = Duration::from_secs(10);

/// How long a query may take, without `EngineBuilder::query_time`: longer than it takes a gateway to
/// read a Log of 1 GiB.
const QUERY_TIME: Duration = Duration::from_secs(300);

/// A streaming SQL engine over one database. Clones are handles of the same one.
///
/// Dropping the last handle ends its jobs where they are; what was not committed is computed
/// again after the next start.
///
/// ```
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// # use std::time::Duration;
/// # let dir = tempfile::tempdir()?;
/// let db = edge_db::Db::open(dir.path())?;
/// let engine = edge_stream::Engine::builder().db(&db).start().await?;
/// engine.execute("
///     CREATE STREAM readings (ts TIMESTAMP, temp DOUBLE, WATERMARK FOR ts AS ts)
///       WITH (log = 'readings', format = 'json');
///     CREATE MATERIALIZED VIEW heat AS
///       SELECT window_start, avg(temp) AS temp, count(*) AS n
///       FROM TUMBLE(readings, DESCRIPTOR(ts), INTERVAL '1 minute') GROUP BY window_start;
/// ").await?;
/// let log = db.log("readings")?;
/// log.append(edge_db::Entry::new(r#"{"ts":"2026-01-01T00:00:30","temp":20.5}"#))?;
/// log.append(edge_db::Entry::new(r#"{"ts":"2026-01-01T00:01:30","temp":21.5}"#))?;
/// engine.caught_up(Duration::from_secs(10)).await?;
/// let rows = engine.sql("SELECT temp FROM heat").await?;      // the first minute is closed
/// assert_eq!(rows.iter().map(|batch| batch.num_rows()).sum::<usize>(), 1);
/// engine.shutdown(Duration::from_secs(10)).await?;
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use = "dropping the last handle ends the jobs"]
pub struct Engine {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let objects = self.inner.objects.lock();
        f.debug_struct("Engine").field("objects", &objects.by_name.keys()).finish_non_exhaustive()
    }
}

struct Inner {
    catalog: Catalog,
    context: SessionContext,
    /// The most that queries may take together, and one answer may be.
    query_memory_bytes: usize,
    /// The longest that one query may take.
    query_time: Duration,
    /// The most that the state of one job may be.
    job_state_bytes: usize,
    tables: Arc<Tables>,
    /// Whether queries may call functions of the application.
    has_own_code: bool,
    /// The folder that sinks write files below.
    files: Option<PathBuf>,
    /// Functions that take the rows of sinks, by the name of the channel.
    callbacks: BTreeMap<String, Callback>,
    #[cfg(feature = "mq")]
    broker: Option<edge_mq::Broker>,
    objects: Arc<Mutex<Objects>>,
    /// One statement at a time: each reads what is there, waits for the disk, and adds to it.
    /// This is a queue of statements; no data is behind it.
    statements: Arc<tokio::sync::Mutex<()>>,
    /// How many subscriptions may still be opened.
    subscriptions: Arc<Semaphore>,
    /// Tells what is being built that the engine ends.
    closing: watch::Sender<bool>,
    /// How often a name has come to stand for other rows, and whether one is about to.
    swaps: watch::Sender<Swaps>,
}

/// What tells a query that it saw a name before, and rows behind, a swap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Swaps {
    done: u64,
    is_under_way: bool,
}

/// What was created, by name, and its jobs.
#[derive(Debug, Default)]
struct Objects {
    by_name: BTreeMap<String, Object>,
    is_closed: bool,
}

#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) kind: Kind,
    /// The streams and views that it reads; none for a stream.
    reads: Vec<String>,
    /// As it was written, and as it was understood.
    created: Created,
    what: Definition,
    /// The columns of a stream, or of what a query gives.
    schema: SchemaRef,
    pub(crate) spec: JobSpec,
    job: Option<Running>,
    pub(crate) topic: Option<crate::topic::TopicPattern>,
    /// What carries the rows of a sink away from its Log.
    delivering: Option<Delivering>,
    /// Ends when the name comes to stand for something else.
    alive: watch::Sender<()>,
}

/// What an [`Engine`] is made of.
#[derive(Debug)]
#[must_use = "a builder does nothing until it is started"]
pub struct EngineBuilder {
    db: Option<Db>,
    query_memory_bytes: usize,
    query_time: Duration,
    subscriptions: usize,
    job_state_bytes: usize,
    functions: Functions,
    own: Vec<(String, OwnTable)>,
    files: Option<PathBuf>,
    callbacks: BTreeMap<String, Callback>,
    #[cfg(feature = "mq")]
    broker: Option<edge_mq::Broker>,
}

impl EngineBuilder {
    /// Where streams, views and the state of jobs lie.
    pub fn db(mut self, db: &Db) -> EngineBuilder {
        self.db = Some(db.clone());
        self
    }

    /// A Table of the application that jobs look rows up in, as
    /// [`Engine::register`] makes it known to queries. Jobs that were created in an earlier life
    /// are taken up by [`EngineBuilder::start`], and need theirs then.
    pub fn table<K, V>(mut self, table: &edge_db::Table<K, V>) -> EngineBuilder
    where
        K: edge_db::Key + serde::Serialize + 'static,
        V: serde::Serialize + serde::de::DeserializeOwned + 'static,
    {
        self.own.push((table.name().to_owned(), OwnTable::new(table)));
        self
    }

    /// Where streams over topics come from and sinks publish. Let it listen once the streams are
    /// created, so that no device is acknowledged before its topic is stored. Without a broker an engine does
    /// all the rest: its sinks wait with their rows in their Logs.
    #[cfg(feature = "mq")]
    pub fn broker(mut self, broker: &edge_mq::Broker) -> EngineBuilder {
        self.broker = Some(broker.clone());
        self
    }

    /// What the state of one job may take; 64 MiB without this call. Each of its steps has a limit of
    /// its own besides. A job that needs more stops, says which step has how much in how many groups,
    /// and tries again from its last checkpoint; no other job is touched.
    pub fn job_state_bytes(mut self, bytes: usize) -> EngineBuilder {
        self.job_state_bytes = bytes;
        self
    }

    /// A function of your own, for queries and jobs: one value from those of a row. It takes the
    /// place of one of DataFusion's with this name. Jobs use it if it is `Volatility::Immutable`,
    /// as they compute rows again after a crash. Give it to each start: the catalog has statements
    /// only. A panic in it stops the job that called it, and no other.
    pub fn function(mut self, function: ScalarUDF) -> EngineBuilder {
        self.functions.scalars.push(Arc::new(function));
        self
    }

    /// An aggregate of your own, as [`EngineBuilder::function`]. In jobs its accumulator gives its
    /// state away and takes it back at each checkpoint: `state` and `merge_batch` have to be exact.
    pub fn aggregate(mut self, function: AggregateUDF) -> EngineBuilder {
        self.functions.aggregates.push(Arc::new(function));
        self
    }

    /// Takes up all that was created in this database, on the current tokio runtime.
    ///
    /// # Errors
    /// See [`StartError`]; no job runs then.
    ///
    /// # Cancel safety
    /// When dropped, no job runs.
    pub async fn start(self) -> Result<Engine, StartError> {
        let db = self.db.ok_or(StartError::NoDb)?;
        let claim = timeout(CLAIM_WITHIN, db.claim("stream.engine")).await;
        let claim = claim.map_err(|_| StartError::InUse)?;
        let opened = blocking(move || {
            let catalog = Catalog::open(db, claim)?;
            let statements = catalog.statements()?;
            Ok::<_, StartError>((catalog, statements))
        });
        let (catalog, statements) = opened.await.map_err(|_| StartError::Runtime)??;
        let objects = Arc::<Mutex<Objects>>::default();
        let (context, tables) = planning::context(&catalog.db, &objects, self.query_memory_bytes);
        self.functions.register(&context);
        self.own.into_iter().for_each(|(name, table)| tables.insert_own(&name, table));
        let inner = Inner {
            catalog,
            context,
            query_memory_bytes: self.query_memory_bytes,
            query_time: self.query_time,
            job_state_bytes: self.job_state_bytes,
            tables,
            has_own_code: !self.functions.is_empty(),
            files: self.files,
            callbacks: self.callbacks,
            #[cfg(feature = "mq")]
            broker: self.broker,
            objects,
            statements: Arc::default(),
            subscriptions: Arc::new(Semaphore::new(self.subscriptions)),
            closing: watch::Sender::new(false),
            swaps: watch::Sender::new(Swaps::default()),
        };
        let engine = Engine { inner: Arc::new(inner) };
        for created in statements {
            let sql = created.sql.clone();
            let taken_up = engine.take_up(created).await;
            taken_up.map_err(|source| StartError::Statement { sql, source })?;
        }
        Ok(engine)
    }
}

impl Engine {
    /// An engine without a database, to be given one.
    pub fn builder() -> EngineBuilder {
        EngineBuilder {
            db: None,
            query_memory_bytes: 128 * 1024 * 1024,
            query_time: QUERY_TIME,
            subscriptions: 64,
            job_state_bytes: 64 * 1024 * 1024,
            functions: Functions::default(),
            own: Vec::new(),
            files: None,
            callbacks: BTreeMap::new(),
            #[cfg(feature = "mq")]
            broker: None,
        }
    }

    /// Carries out a script of statements, one after the other, and keeps them: `CREATE [OR REPLACE]
    /// STREAM`, `MATERIALIZED VIEW`, `SINK` and `TABLE`, `DROP`, `INSERT`, `PAUSE` and `RESUME`. They are in force, over
    /// restarts, when this returns. `OR REPLACE` of a view or sink takes as long as its query takes
    /// over the Log; other statements wait so long, jobs and queries go on.
    ///
    /// # Errors
    /// At the first statement that cannot be carried out; a script that cannot be read does
    /// nothing at all.
    ///
    /// # Cancel safety
    /// When dropped, some of the statements have been carried out, each of them whole. One that
    /// has begun goes on.
    pub async fn execute(&self, script: &str) -> Result<(), SqlError> {
        for statement in statement::parse_script(script)? {
            let (inner, turn) = (Arc::downgrade(&self.inner), Arc::clone(&self.inner.statements));
            // A task of its own, so that it is carried out whole even if nobody waits any more.
            let done = tokio::spawn(async move {
                let _turn = turn.lock_owned().await;
                execute::carry_out(&inner, statement).await
            });
            done.await.map_err(|_| SqlError::Closed)??;
        }
        Ok(())
    }

    /// Waits until everything that is in the Logs now is in views and sinks, on disk, and, if
    /// there is a broker, published. Jobs that are paused are left out.
    ///
    /// # Errors
    /// When that is not so at the deadline; says who is behind, and why.
    ///
    /// # Cancel safety
    /// Jobs go on when the future is dropped.
    pub async fn caught_up(&self, deadline: Duration) -> Result<(), CaughtUpError> {
        let deadline = Instant::now() + deadline;
        let mut reaches = Vec::new();
        for object in self.inner.objects.lock().by_name.values() {
            if let Some(job) = object.job.as_ref().filter(|_| !object.created.paused) {
                let ends = object.spec.inputs.iter().map(|input| Ok(input.log.bounds()?.end));
                reaches.push(job.reach(ends.collect::<Result<_, edge_db::ReadError>>()?));
            }
        }
        for reach in reaches {
            reach.wait(deadline).await.map_err(|(mut job, number, end)| {
                let InputStatus { stream, position, .. } = job.inputs[number].clone();
                job.lag = end.since(position);
                CaughtUpError::Behind { job, stream, position, end }
            })?;
        }
        self.delivered(deadline).await
    }

    /// Lets jobs read to the end of their Logs and commit, until the deadline; then ends them. Those
    /// that are paused stay where they are, and what is in front of them does not count as left.
    /// What `OR REPLACE` is building is given up.
    /// Queries are still answered. Calling it again does nothing.
    ///
    /// # Errors
    /// When the database cannot be read.
    ///
    /// # Cancel safety
    /// Jobs have been told to drain; those that this call waited for are ended.
    pub async fn shutdown(&self, deadline: Duration) -> Result<Left, edge_db::ReadError> {
        let deadline = Instant::now() + deadline;
        let mut ending = Vec::new();
        {
            let mut objects = self.inner.objects.lock();
            objects.is_closed = true;
            self.inner.closing.send_replace(true);
            for (name, object) in &mut objects.by_name {
                if object.created.paused {
                    continue;
                }
                if let Some(job) = object.job.as_mut().and_then(Running::drain) {
                    ending.push((name.clone(), object.spec.inputs.clone(), job));
                }
            }
        }
        let mut left = Left::default();
        for (name, inputs, job) in ending {
            job.wait(deadline).await;
            for (input, status) in inputs.iter().zip(self.inputs(&name)) {
                left.records += input.log.bounds()?.end.since(status.position);
            }
        }
        // What sinks have not delivered stays in their Logs.
        drop(self.delivered(deadline).await);
        let mut objects = self.inner.objects.lock();
        objects.by_name.values_mut().for_each(|object| object.delivering = None);
        Ok(left)
    }

    /// What the job of this name has committed.
    fn inputs(&self, name: &str) -> Vec<InputStatus> {
        let objects = self.inner.objects.lock();
        let job = objects.by_name.get(name).and_then(|object| object.job.as_ref());
        job.map_or_else(Vec::new, |job| job.status().inputs)
    }
}

#[cfg(feature = "mq")]
impl Engine {
    pub(crate) fn broker(&self) -> Option<&edge_mq::Broker> {
        self.inner.broker.as_ref()
    }
}
