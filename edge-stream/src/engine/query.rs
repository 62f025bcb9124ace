//! Bounded queries, and what of the application they can see.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::dataframe::DataFrame;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::sqlparser::ast::Statement;
use futures::{FutureExt, StreamExt};
use tokio::time::timeout;

use super::Engine;
use super::system::SYSTEM;
use crate::db::own::OwnTable;
use crate::db::panicked;
use crate::db::stored::Moment;
use crate::error::SqlError;
use crate::sql::question::{self, Question};
use crate::sql::window::RunBy;
use crate::{gaps, row_windows, sessions};

impl Engine {
    /// Makes a Table of the application known to [`Engine::sql`] under its name, for as long as
    /// this engine lives.
    ///
    /// Columns are `_key` (for tuples `_key_0`, `_key_1`, ..), and the fields of the value, or
    /// `value` if it is no struct. Their types come from the rows: each query reads the table
    /// once more to find them.
    ///
    /// # Errors
    /// When the name is that of a stream, view, sink or Log.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct Room { floor: u8, name: String }
    ///
    /// # let dir = tempfile::tempdir()?;
    /// let db = edge_db::Db::open(dir.path())?;
    /// let engine = edge_stream::Engine::builder().db(&db).start().await?;
    /// let rooms = db.table::<String, Room>("rooms")?;
    /// let mut batch = db.batch();
    /// batch.insert(&rooms, &"lab".to_owned(), &Room { floor: 2, name: "Laboratory".to_owned() })?;
    /// batch.commit()?;
    /// engine.register(&rooms)?;
    /// let answer = engine.sql("SELECT name FROM rooms WHERE _key = 'lab' AND floor = 2").await?;
    /// assert_eq!(answer[0].num_rows(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn register<K, V>(&self, table: &edge_db::Table<K, V>) -> Result<(), SqlError>
    where
        K: edge_db::Key + serde::Serialize + 'static,
        V: serde::Serialize + serde::de::DeserializeOwned + 'static,
    {
        let name = table.name();
        let is_object = self.inner.objects.lock().by_name.contains_key(name);
        if is_object || self.inner.catalog.db.find_log(name).is_some() {
            return Err(SqlError::Exists { position: None, name: name.to_owned() });
        }
        self.inner.tables.insert_own(name, OwnTable::new(table));
        Ok(())
    }

    /// Answers a query over streams (their history), views, Logs and registered Tables, all as they are at one
    /// moment. So are the tables `system.jobs`, `system.streams`, `system.views` and `system.sinks`, which
    /// `SHOW JOBS` and the like show whole. `DESCRIBE name` gives columns; `EXPLAIN` says how DataFusion
    /// answers a query, and `EXPLAIN STREAMING SELECT ..`, `EXPLAIN CREATE ..` and `EXPLAIN JOB name` how
    /// a job does, what each of its steps keeps, and until when.
    ///
    /// # Errors
    /// When the text is no query, it fails on the data, or it needs more memory or time than it may:
    /// [`EngineBuilder::query_memory_bytes`](crate::EngineBuilder::query_memory_bytes),
    /// [`EngineBuilder::query_time`](crate::EngineBuilder::query_time).
    ///
    /// # Cancel safety
    /// The query ends when the future is dropped: it reads two or three batches further at most, and
    /// leaves nothing behind.
    pub async fn sql(&self, query: &str) -> Result<Vec<RecordBatch>, SqlError> {
        // Apart, so that who holds this future need not have room for all that it is made of.
        self.guarded(Box::pin(self.answer(query))).await
    }

    /// Waits for an answer as long as a query may take. A function of the application may panic, and
    /// that is this query's matter alone.
    pub(super) async fn guarded<T>(
        &self,
        answer: impl Future<Output = Result<T, SqlError>>,
    ) -> Result<T, SqlError> {
        match self.in_time(AssertUnwindSafe(answer).catch_unwind()).await? {
            Ok(answer) => answer,
            Err(panic) => Err(SqlError::query(DataFusionError::Execution(panicked(&*panic)))),
        }
    }

    /// Waits for it as long as a query may take.
    pub(super) async fn in_time<T>(&self, answer: impl Future<Output = T>) -> Result<T, SqlError> {
        let limit = self.inner.query_time;
        timeout(limit, answer).await.map_err(|_| SqlError::QueryTime { limit })
    }

    /// Why a query failed while it ran.
    fn failed(&self, error: DataFusionError) -> SqlError {
        match error.find_root() {
            DataFusionError::ResourcesExhausted(_) => {
                let limit_bytes = self.inner.query_memory_bytes;
                SqlError::QueryMemory { limit_bytes, source: Arc::new(error) }
            }
            _ => SqlError::query(error),
        }
    }

    async fn answer(&self, query: &str) -> Result<Vec<RecordBatch>, SqlError> {
        let question = match question::parse_question(query)? {
            Question::Query(statement) => statement,
            Question::Explain(query) => return self.explain(*query).await,
            Question::ExplainJob(name) => return self.explain_job(&name).await,
            Question::Describe(name, statement) => match self.describe(&name)? {
                Some(answer) => return Ok(answer),
                None => statement,
            },
            Question::Show(listing) => {
                let select = format!("SELECT * FROM {SYSTEM}.{} ORDER BY name", listing.table());
                Statement::Query(Box::new(crate::sql::parse_query(&select)?.query))
            }
        };
        self.rows(question).await
    }

    /// The rows of a question that DataFusion answers, over one moment.
    pub(super) async fn rows(&self, question: Statement) -> Result<Vec<RecordBatch>, SqlError> {
        let (state, plan) = self.planned(question).await?;
        let plan = gaps::resolve(plan)?;
        sessions::check(&plan)?;
        let plan = row_windows::resolve::resolve(plan, RunBy::Query)?;
        let plan = sessions::bounded::resolve(plan).map_err(|error| SqlError::planning(&error))?;
        let read_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false);
        if read_only.with_allow_statements(false).verify_plan(&plan).is_err() {
            return Err(SqlError::statement(None, "this is no query")
                .or("use SELECT here, and `execute` for CREATE, DROP, PAUSE and RESUME"));
        }
        let answer = DataFrame::new(state, plan);
        let schema = Arc::clone(answer.schema().inner());
        let stream = answer.execute_stream().await;
        let mut stream = stream.map_err(|error| self.failed(error))?;
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(|error| self.failed(error))?;
            bytes += batch.get_array_memory_size();
            let limit_bytes = self.inner.query_memory_bytes;
            if bytes > limit_bytes {
                return Err(SqlError::AnswerTooLarge { limit_bytes });
            }
            rows.push(batch);
        }
        if rows.is_empty() {
            // So that whoever shows the answer has its columns.
            rows.push(RecordBatch::new_empty(schema));
        }
        Ok(rows)
    }

    /// Plans a query over one moment. What a name stands for was so at that moment: if it has come
    /// to stand for other rows meanwhile, it is planned anew.
    async fn planned(&self, question: Statement) -> Result<(SessionState, LogicalPlan), SqlError> {
        let mut swaps = self.inner.swaps.subscribe();
        loop {
            let before = swaps.wait_for(|swaps| !swaps.is_under_way).await;
            let before = *before.map_err(|_| SqlError::Closed)?;
            let snapshot = self.inner.catalog.db.snapshot()?;
            let mut state = self.inner.context.state();
            state.config_mut().set_extension(Arc::new(Moment(snapshot)));
            let question = DataFusionStatement::Statement(Box::new(question.clone()));
            let plan = state.statement_to_plan(question).await;
            if *self.inner.swaps.borrow() == before {
                let plan = plan.map_err(|error| crate::plan::planning_error(&state, &error))?;
                return Ok((state, plan));
            }
        }
    }
}
