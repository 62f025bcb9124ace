//! From a definition to what runs: tables, Logs, jobs; and back at a DROP.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::DFSchema;
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, ExprWithAlias};
use edge_db::{Log, LogOptions, WhenFull};
use tokio::sync::watch;

use super::planning::{decoder_for, planned};
use super::{Engine, Object, changes};
use crate::db::blocking;
use crate::db::catalog::{Catalog, CatalogError, Created, place, view_name};
use crate::db::cells;
use crate::db::deliver::Delivering;
use crate::db::input::InputSpec;
use crate::db::job::JobSpec;
use crate::db::lookup::ViewLookup;
use crate::db::output::{Output, StreamOutput, ViewOutput};
use crate::db::shared::Shared;
use crate::db::stored::{Partition, StreamRows, ViewRows};
use crate::db::tables::{LATE, table_of};
use crate::db::tape::{LiveTape, Tape};
use crate::db::task::{Planner, Running};
use crate::decode::{Decoder, stream_schema};
use crate::error::SqlError;
use crate::lookup::LookupTable;
use crate::pipeline::Pipeline;
use crate::sql::emit::JobQuery;
use crate::sql::sink::SinkDefinition;
use crate::sql::statement::{Definition, Kind, Source, StreamDefinition};
use crate::stream::{EventTimeColumn, StreamTable};
use crate::topic::TopicPattern;

/// The end of the names of Logs of errors.
pub(super) const ERRORS: &str = "_errors";

/// What a stream could not read, and what a sink could not address, is kept up to this size.
const ERRORS_BYTES: u64 = 16 * 1024 * 1024;

/// Everything that a definition needs, opened, and nothing of it in force.
pub(super) struct Prepared {
    pub(super) what: Definition,
    pub(super) reads: Vec<String>,
    pub(super) schema: SchemaRef,
    pub(super) table: Option<Arc<dyn TableProvider>>,
    pub(super) spec: JobSpec,
    pub(super) planner: Option<Planner>,
    pub(super) topic: Option<TopicPattern>,
}

impl Engine {
    /// `slot` is where its job has its place.
    pub(super) async fn prepare(
        &self,
        name: &str,
        slot: u8,
        what: Definition,
    ) -> Result<Prepared, SqlError> {
        match what.clone() {
            Definition::Stream(stream) => self.prepare_stream(name, what, *stream).await,
            Definition::View(query) => self.prepare_query(name, slot, what, *query, None).await,
            Definition::Sink(sink, query) => {
                self.prepare_query(name, slot, what, *query, Some(*sink)).await
            }
            Definition::Table(table) => self.prepare_table(name, what, table).await,
        }
    }

    async fn prepare_stream(
        &self,
        name: &str,
        what: Definition,
        stream: StreamDefinition,
    ) -> Result<Prepared, SqlError> {
        let (decoder, event_time) = self.decoder(&stream)?;
        let schema = Arc::clone(decoder.schema());
        let reads = changes::table_of(&what).map(str::to_owned).into_iter().collect();
        let (topic, log_name) = match stream.source {
            Source::Topic(topic) => (Some(topic), name.to_owned()),
            Source::Log(log) => (None, log),
            Source::Table(table) => (None, changes::changes_log(&table)),
        };
        let log = match stream.live_bytes {
            Some(bytes) => Tape::Live(self.live_tape(name, bytes)),
            None => self.log(&log_name).await?.into(),
        };
        let errors = self.errors_log(name).await?;
        let rows = StreamRows { log: log.clone(), decoder: decoder.clone() };
        let history = Partition::new(&self.inner.catalog.db, Arc::new(rows));
        let history = Some(Arc::new(history) as _);
        let columns = Arc::clone(&schema);
        let late = match event_time.clone().filter(|_| stream.times.diverts_late) {
            Some(event_time) => Some(self.late(name, &schema, event_time).await?),
            None => None,
        };
        let (late, late_rows) = late.unzip();
        let table =
            StreamTable { name: name.to_owned(), schema, event_time, history, late: late_rows };
        // Whoever looks for late rows looks at all of them.
        let decoder = if late.is_some() { decoder } else { decoder.with_columns(&[]) };
        let output = Output::Errors(StreamOutput { errors, late });
        let idle_timeout = stream.times.idle_timeout;
        let (stream, shared) =
            (name.to_owned(), Arc::new(Shared::new(log.clone(), decoder.clone())));
        let inputs = vec![InputSpec { stream, log, decoder, idle_timeout, shared }];
        let name = name.to_owned();
        Ok(Prepared {
            what,
            reads,
            schema: columns,
            table: Some(Arc::new(table)),
            spec: JobSpec { name, slot: 0, inputs, output, has_own_code: false },
            planner: None,
            topic,
        })
    }

    /// The memory of a live topic. One that is there goes on, as whoever reads it stands somewhere in it.
    fn live_tape(&self, name: &str, bytes: usize) -> Arc<LiveTape> {
        let objects = self.inner.objects.lock();
        let found = objects.by_name.get(name).filter(|object| object.kind == Kind::Stream);
        if let Some(live) = found.and_then(|object| object.spec.log().live()) {
            return Arc::clone(live);
        }
        Arc::new(LiveTape::new(name, bytes, &self.inner.catalog))
    }

    /// How the records of a stream are read, and which column is its event time.
    pub(super) fn decoder(
        &self,
        stream: &StreamDefinition,
    ) -> Result<(Decoder, Option<EventTimeColumn>), SqlError> {
        let (schema, changes) = match &stream.source {
            Source::Table(table) => {
                let (schema, changes) = self.changes(table)?;
                (schema, Some(changes))
            }
            Source::Topic(_) | Source::Log(_) => (stream_schema(&stream.columns), None),
        };
        let watermark = stream.watermark.clone();
        let event_time = watermark.map(|(column, expr)| self.event_time(&schema, &column, expr));
        let lateness_micros = stream.lateness_micros;
        let event_time = event_time.transpose()?;
        let event_time = event_time.map(|time| EventTimeColumn { lateness_micros, ..time });
        let event_time = event_time.map(|time| match &stream.times.watermark_by {
            Some(column) => time.by(&schema, column, stream.times.idle_micros()),
            None => Ok(time),
        });
        let event_time = event_time.transpose()?;
        let topic = match &stream.source {
            Source::Topic(topic) => Some(topic),
            Source::Log(_) | Source::Table(_) => None,
        };
        let time = event_time.as_ref().map(|column| column.index);
        let decoder = match changes {
            Some(changes) => Decoder::of_changes(&schema, time, changes),
            None => Decoder::new(&schema, topic, time, &stream.format),
        };
        let decoder = decoder.map_err(|reason| SqlError::statement(None, reason))?;
        let decoder = decoder.with_max_ahead(stream.times.max_ahead.clone());
        Ok((decoder, event_time))
    }

    fn event_time(
        &self,
        schema: &SchemaRef,
        column: &str,
        expr: SqlExpr,
    ) -> Result<EventTimeColumn, SqlError> {
        let state = self.inner.context.state();
        let columns = DFSchema::try_from(Arc::clone(schema));
        let expr = ExprWithAlias { expr, alias: None };
        let expr =
            columns.and_then(|columns| state.create_logical_expr_from_sql_expr(expr, &columns));
        let expr = expr.map_err(|error| SqlError::planning(&error))?;
        EventTimeColumn::new(&state, schema, column, expr)
    }

    async fn prepare_query(
        &self,
        name: &str,
        slot: u8,
        what: Definition,
        query: JobQuery,
        sink: Option<SinkDefinition>,
    ) -> Result<Prepared, SqlError> {
        let planner = self.planner(query);
        let pipeline = planner().await?;
        let inputs = pipeline.streams().map(|stream| self.input(&pipeline, stream));
        let inputs = inputs.collect::<Result<Vec<_>, SqlError>>()?;
        let reads = inputs.iter().map(|input| input.stream.clone());
        let reads = reads.chain(pipeline.tables().iter().cloned()).collect();
        let schema = Arc::clone(pipeline.schema());
        let (output, table) = match &sink {
            None => {
                let key = pipeline.key().map(<[usize]>::to_vec);
                let (view, table) = self.view((name, slot), &schema, key).await?;
                (Output::View(view), Some(table))
            }
            Some(sink) => {
                let sink = self.sink(name, &schema, sink).await?;
                self.check_loop(name, &sink, &inputs)?;
                (Output::Sink(sink), None)
            }
        };
        let topic = sink.and_then(|sink| sink.to.topic().cloned());
        let has_own_code = self.inner.has_own_code;
        let spec = JobSpec { name: name.to_owned(), slot, inputs, output, has_own_code };
        Ok(Prepared { what, reads, schema, table, spec, planner: Some(planner), topic })
    }

    /// Plans a query again and again: each life of a job begins with a new pipeline.
    pub(super) fn planner(&self, query: JobQuery) -> Planner {
        let (context, tables) = (self.inner.context.clone(), Arc::clone(&self.inner.tables));
        let limit_bytes = self.inner.job_state_bytes;
        Arc::new(move || {
            let (state, tables, query) = (context.state(), Arc::clone(&tables), query.clone());
            Box::pin(async move {
                let mut pipeline = planned(&state, &tables, query).await?;
                pipeline.limit_state(limit_bytes);
                Ok(pipeline)
            })
        })
    }

    /// A stream as the job of this query reads it.
    pub(super) fn input(&self, query: &Pipeline, stream: &str) -> Result<InputSpec, SqlError> {
        let own = self.stream_job(stream)?.inputs.swap_remove(0);
        let decoder = decoder_for(&own.decoder, query, stream, &self.inner.tables);
        Ok(InputSpec { decoder, ..own })
    }

    /// The job of a stream: its input is the Log, and says how the records are read.
    pub(super) fn stream_job(&self, stream: &str) -> Result<JobSpec, SqlError> {
        let objects = self.inner.objects.lock();
        let object = objects.by_name.get(stream).filter(|object| object.kind == Kind::Stream);
        let spec = object.map(|object| object.spec.clone());
        spec.ok_or_else(|| SqlError::statement(None, format!("there is no stream `{stream}`")))
    }

    /// The rows of a view or table, and how queries and jobs see them.
    pub(super) async fn view(
        &self,
        (name, slot): (&str, u8),
        schema: &SchemaRef,
        key: Option<Vec<usize>>,
    ) -> Result<(ViewOutput, Arc<dyn TableProvider>), SqlError> {
        check_storable(schema, key.as_deref())?;
        let (db, wanted) = (self.inner.catalog.db.clone(), view_name(&place(name, slot)));
        let table = blocking(move || db.table(&wanted)).await.map_err(|_| SqlError::Closed)??;
        // Stored values may be null whatever the query says of its own.
        let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let (db, rows) = (self.inner.catalog.db.clone(), Arc::new(ViewRows { table, schema }));
        let view = ViewOutput { table: rows.table.clone(), key: key.clone() };
        let table = table_of(&db, Arc::clone(&rows));
        let table = table.map_err(|error| SqlError::planning(&error))?;
        let lookup = Arc::new(ViewLookup { db, rows, key: key.unwrap_or_default() });
        Ok((view, Arc::new(LookupTable { name: name.to_owned(), rows: table, lookup })))
    }

    pub(super) async fn log(&self, name: &str) -> Result<Log, SqlError> {
        let (db, name) = (self.inner.catalog.db.clone(), name.to_owned());
        Ok(blocking(move || db.log(&name)).await.map_err(|_| SqlError::Closed)??)
    }

    pub(super) async fn errors_log(&self, name: &str) -> Result<Log, SqlError> {
        self.bounded_log(errors_name(name), ERRORS_BYTES).await
    }

    /// A new one has a limit of its own; one that is there keeps what it has.
    pub(super) async fn bounded_log(&self, name: String, bytes: u64) -> Result<Log, SqlError> {
        let db = self.inner.catalog.db.clone();
        let opened = blocking(move || match db.find_log(&name) {
            Some(log) => Ok(log),
            None => {
                let options = LogOptions::new().max_bytes(bytes);
                db.log_with(&name, options.when_full(WhenFull::DropOldest))
            }
        });
        Ok(opened.await.map_err(|_| SqlError::Closed)??)
    }

    /// Refuses names under which something lies that is not this statement's.
    pub(super) fn check_name(&self, name: &str, what: &Definition) -> Result<(), SqlError> {
        let refuse = |reason: String| Err(SqlError::statement(None, reason).or("use another name"));
        if name.ends_with(ERRORS) {
            return refuse(format!("`{name}`: names with {ERRORS} are those of what is no row"));
        }
        if name.ends_with(LATE) {
            return refuse(format!("`{name}`: names with {LATE} are those of late rows"));
        }
        if self.inner.tables.has_own(name) {
            return refuse(format!("`{name}` is a table of the application"));
        }
        let log = self.inner.catalog.db.find_log(name);
        match what {
            Definition::Stream(stream) => match &stream.source {
                Source::Log(log) if *log == errors_name(name) => {
                    refuse(format!("stream `{name}` would read what it cannot read itself"))
                }
                Source::Log(log) if *log == format!("{name}{LATE}") => {
                    refuse(format!("stream `{name}` would read its own late rows"))
                }
                Source::Log(log) if changes::is_changes_log(log) => {
                    let table = log.strip_prefix(changes::CHANGES).unwrap_or(log);
                    refuse(format!("`{log}` has the changes of a table; write table = '{table}'"))
                }
                _ => Ok(()),
            },
            Definition::View(_) | Definition::Table(_) => match log {
                Some(_) => refuse(format!("`{name}` is a log")),
                None => Ok(()),
            },
            Definition::Sink(sink, _) => self.check_sink(name, sink),
        }
    }

    /// The streams over this Log.
    pub(super) fn readers_of(&self, log: &str) -> Vec<String> {
        let objects = self.inner.objects.lock();
        let streams = objects.by_name.iter().filter(|(_, object)| object.kind == Kind::Stream);
        let readers = streams.filter(|(_, object)| object.spec.log().name() == log);
        readers.map(|(name, _)| name.clone()).collect()
    }

    /// From here on the definition is in force.
    pub(super) fn put_in_force(
        &self,
        created: Created,
        prepared: Prepared,
        delivering: Option<Delivering>,
    ) -> Result<(), SqlError> {
        let Prepared { what, reads, schema, table, spec, planner, topic } = prepared;
        let (kind, name) = (what.kind(), spec.name.clone());
        let mut objects = self.inner.objects.lock();
        if objects.is_closed {
            return Err(SqlError::Closed);
        }
        if let Some(table) = table {
            self.inner.tables.insert(&name, table);
        }
        let catalog = self.inner.catalog.clone();
        let start = || Running::start(catalog, spec.clone(), kind, planner, created.paused);
        let job = (kind != Kind::Table).then(start);
        let alive = watch::Sender::new(());
        let object =
            Object { kind, reads, created, what, schema, spec, job, topic, delivering, alive };
        objects.by_name.insert(name, object);
        Ok(())
    }

    /// Stores the statement. If that fails, nothing is left of it.
    pub(super) async fn store(&self, prepared: &Prepared, sql: &str) -> Result<Created, SqlError> {
        let (spec, sql) = (prepared.spec.clone(), sql.to_owned());
        let stored = self.in_catalog(move |catalog| {
            let created = catalog.next(&sql)?;
            catalog.store(&spec, &created).map(|()| created)
        });
        let stored = stored.await;
        if stored.is_err() {
            self.disconnect(prepared.topic.as_ref(), &prepared.spec).await?;
        }
        stored
    }

    /// Changes the catalog, on a thread that may block.
    pub(super) async fn in_catalog<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Catalog) -> Result<T, CatalogError> + Send + 'static,
    ) -> Result<T, SqlError> {
        let catalog = self.inner.catalog.clone();
        let changed = blocking(move || change(&catalog)).await;
        Ok(changed.map_err(|_| SqlError::Closed)??)
    }

    /// Ends what has this name, and forgets it: a view with its rows, a sink with what it has not
    /// published. The Log of a stream stays, with its records.
    pub(super) async fn drop_object(&self, name: &str) -> Result<(), SqlError> {
        // A stream may read the Log of a sink, which goes with the sink.
        if self.owner_of(name).is_some() {
            let by = self.readers_of(name);
            if !by.is_empty() {
                return Err(SqlError::in_use(name, &by));
            }
        }
        let (job, spec, topic, what) = {
            let mut objects = self.inner.objects.lock();
            let readers = objects.by_name.iter();
            let by = readers.filter(|(_, object)| object.reads.iter().any(|read| read == name));
            let by: Vec<_> = by.map(|(name, _)| name.clone()).collect();
            if !by.is_empty() {
                return Err(SqlError::in_use(name, &by));
            }
            let Some(object) = objects.by_name.get_mut(name) else { return Ok(()) };
            object.delivering = None;
            let (spec, topic) = (object.spec.clone(), object.topic.clone());
            (object.job.take(), spec, topic, object.what.clone())
        };
        if let Some(job) = job {
            job.stop().await;
        }
        self.disconnect(topic.as_ref(), &spec).await?;
        self.end_capture(name, &what, &spec).await?;
        // A crash before this leaves the object as it was, and the next start takes it up. After
        // an error its job stands still, and it can be dropped once more.
        self.in_catalog(move |catalog| catalog.remove(&spec)).await?;
        self.inner.tables.remove(name);
        self.inner.objects.lock().by_name.remove(name);
        Ok(())
    }
}

fn errors_name(name: &str) -> String {
    format!("{name}{ERRORS}")
}

/// Refuses columns that no view can have.
pub(super) fn check_storable(schema: &SchemaRef, key: Option<&[usize]>) -> Result<(), SqlError> {
    if let Some(field) = cells::not_storable(schema) {
        let reason =
            format!("column `{}` of type {} cannot be stored", field.name(), field.data_type());
        return Err(SqlError::statement(None, reason).or("CAST it, for example to VARCHAR"));
    }
    if let Some(field) = key.and_then(|key| cells::not_a_key(schema, key)) {
        let reason = format!(
            "rows cannot be told apart by `{}` of type {}",
            field.name(),
            field.data_type()
        );
        return Err(SqlError::statement(None, reason).or("group by a number or a text"));
    }
    Ok(())
}
