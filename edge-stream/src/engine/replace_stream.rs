//! `CREATE OR REPLACE STREAM`: what reads it goes on from where it stands, with the new columns.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::execution::SessionState;
use edge_db::Time;
use tokio::sync::watch;

use super::build::Prepared;
use super::planning::{self, decoder_for, planned};
use super::{Engine, Object};
use crate::db::blocking;
use crate::db::catalog::Created;
use crate::db::input::InputSpec;
use crate::db::job::{Job, JobError, JobSpec};
use crate::db::output::Output;
use crate::db::tables::Tables;
use crate::db::tape::Tape;
use crate::error::{SqlError, chain};
use crate::pipeline::Pipeline;
use crate::sql::statement::Definition;
use crate::topic::TopicPattern;

/// What reads something, as it was planned over the new columns.
pub(super) struct Reader {
    name: String,
    spec: JobSpec,
    pipeline: Pipeline,
}

impl Engine {
    pub(super) async fn replace_stream(
        &self,
        name: &str,
        sql: &str,
        what: Definition,
    ) -> Result<(), SqlError> {
        let found = self.inner.objects.lock().by_name.get(name).map(Object::row);
        let (old_created, old) = found.ok_or(SqlError::Closed)?;
        let prepared = self.prepare(name, old.slot, what).await?;
        let names = self.reading(name);
        if !prepared.spec.log().is_same(old.log()) {
            return self.replace_source(sql, prepared, old_created.paused, names).await;
        }
        let readers = self.replanned(&prepared, &names).await?;
        let halted: Vec<_> = names.iter().chain([&prepared.spec.name]).cloned().collect();
        for name in &halted {
            self.halt(name).await;
        }
        let created = Created { sql: sql.to_owned(), ..old_created };
        let replaced = self.put_in_place(prepared, created, readers).await;
        halted.iter().for_each(|name| self.start_job(name));
        replaced
    }

    /// A stream over another Log is another stream: positions in the old one mean nothing in it.
    async fn replace_source(
        &self,
        sql: &str,
        prepared: Prepared,
        paused: bool,
        readers: Vec<String>,
    ) -> Result<(), SqlError> {
        let name = prepared.spec.name.clone();
        if !readers.is_empty() {
            let from = match prepared.spec.log() {
                Tape::Log(_) => "another log",
                Tape::Live(_) => "a live topic, and no log",
            };
            let reason = format!("`{name}` would read {from}, and {} read it", listed(&readers));
            return Err(SqlError::statement(None, reason)
                .or("drop them first, or create a stream of another name"));
        }
        self.drop_object(&name).await?;
        self.create(name.clone(), sql, prepared.what).await?;
        if paused { self.set_paused(&name, true).await } else { Ok(()) }
    }

    /// The names of all that reads a stream or view.
    pub(super) fn reading(&self, stream: &str) -> Vec<String> {
        let objects = self.inner.objects.lock();
        let readers = objects.by_name.iter();
        let readers = readers.filter(|(_, object)| object.reads.iter().any(|read| read == stream));
        readers.map(|(name, _)| name.clone()).collect()
    }

    /// Plans each reader over the new columns, or says which of them cannot be.
    pub(super) async fn replanned(
        &self,
        stream: &Prepared,
        names: &[String],
    ) -> Result<Vec<Reader>, SqlError> {
        let (state, tables) = self.as_if(stream);
        let (mut readers, mut refused) = (Vec::new(), Vec::new());
        for name in names {
            let found = self.inner.objects.lock().by_name.get(name).map(|object| {
                (object.what.query().cloned(), object.spec.clone(), Arc::clone(&object.schema))
            });
            let Some((Some(query), mut spec, schema)) = found else { continue };
            let pipeline = planned(&state, &tables, query).await;
            let pipeline = pipeline.map_err(reason_of);
            match pipeline.and_then(|pipeline| same_rows(pipeline, &spec, &schema)) {
                Ok(pipeline) => {
                    let (of, stream) = (&stream.spec.inputs[0], &stream.spec.name);
                    for input in spec.inputs.iter_mut().filter(|input| input.stream == *stream) {
                        let decoder = decoder_for(&of.decoder, &pipeline, stream, &tables);
                        *input = InputSpec { decoder, ..of.clone() };
                    }
                    readers.push(Reader { name: name.clone(), spec, pipeline });
                }
                Err(reason) => refused.push(format!("`{name}` ({reason})")),
            }
        }
        if refused.is_empty() { Ok(readers) } else { Err(cannot_go_on(&refused)) }
    }

    /// The tables as they would be with the new stream.
    fn as_if(&self, stream: &Prepared) -> (SessionState, Arc<Tables>) {
        let tables = self.inner.tables.snapshot();
        if let Some(table) = &stream.table {
            tables.insert(&stream.spec.name, Arc::clone(table));
        }
        let tables = Arc::new(tables);
        (planning::state_over(&self.inner.context.state(), &tables), tables)
    }

    /// With all its readers halted: whether their state fits, and then the commit.
    async fn put_in_place(
        &self,
        prepared: Prepared,
        created: Created,
        readers: Vec<Reader>,
    ) -> Result<(), SqlError> {
        let (name, live_bytes) = (prepared.spec.name.clone(), prepared.what.live_bytes());
        let readers = self.rehearsed(readers).await?;
        self.connect(prepared.topic.as_ref(), &prepared.spec).await?;
        let (row, of) = (created.clone(), name.clone());
        // A crash before this commit leaves the old columns, and one behind it the new ones.
        let stored = self.in_catalog(move |catalog| catalog.change(&of, &row)).await;
        let old_topic = {
            let mut objects = self.inner.objects.lock();
            let Some(object) = objects.by_name.get_mut(&name) else { return Err(SqlError::Closed) };
            if stored.is_ok() {
                object.created = created;
                object.what = prepared.what;
                object.schema = prepared.schema;
                object.spec = prepared.spec.clone();
                object.alive = watch::Sender::new(());
                std::mem::replace(&mut object.topic, prepared.topic.clone())
            } else {
                object.topic.clone()
            }
        };
        let (unwanted, kept) = match &stored {
            Ok(()) => (old_topic, prepared.topic),
            Err(_) => (prepared.topic, old_topic),
        };
        // Patterns that differ in the names of their levels alone are one filter of the broker.
        let filter = |topic: &Option<TopicPattern>| topic.as_ref().map(TopicPattern::filter);
        if filter(&unwanted) != filter(&kept) {
            self.disconnect(unwanted.as_ref(), &prepared.spec).await?;
        }
        stored?;
        if let (Some(live), Some(bytes)) = (prepared.spec.log().live(), live_bytes) {
            live.records.set_limit_bytes(bytes);
        }
        if let Some(table) = prepared.table {
            self.inner.tables.insert(&name, table);
        }
        let mut objects = self.inner.objects.lock();
        for (name, spec) in readers {
            if let Some(object) = objects.by_name.get_mut(&name) {
                object.spec = spec;
            }
        }
        Ok(())
    }

    /// Opens each reader once as it will be, so that a state that it cannot take over is found.
    async fn rehearsed(&self, readers: Vec<Reader>) -> Result<Vec<(String, JobSpec)>, SqlError> {
        let (mut fit, mut refused) = (Vec::new(), Vec::new());
        for Reader { name, spec, pipeline } in readers {
            let (catalog, own) = (self.inner.catalog.clone(), spec.clone());
            let open = move || Job::open(catalog, own, Some(pipeline), Time::now()).map(drop);
            let opened = blocking(open).await;
            match opened.map_err(JobError::Died).and_then(|opened| opened) {
                Ok(()) => fit.push((name, spec)),
                Err(error) => refused.push(format!("`{name}` ({})", chain(&error))),
            }
        }
        if refused.is_empty() { Ok(fit) } else { Err(cannot_go_on(&refused)) }
    }
}

/// Places in the text of the reader mean nothing in the statement that is carried out.
fn reason_of(error: SqlError) -> String {
    match error {
        SqlError::Statement { reason, .. } => reason,
        other => other.to_string(),
    }
}

/// Whether what comes out is what is stored already.
fn same_rows(pipeline: Pipeline, spec: &JobSpec, schema: &SchemaRef) -> Result<Pipeline, String> {
    let is_same_key = match &spec.output {
        Output::View(view) => view.key.as_deref() == pipeline.key(),
        _ => true,
    };
    let types = |schema: &SchemaRef| {
        let fields = schema.fields().iter();
        fields.map(|field| (field.name().clone(), field.data_type().clone())).collect::<Vec<_>>()
    };
    if is_same_key && types(pipeline.schema()) == types(schema) {
        return Ok(pipeline);
    }
    Err("its rows would have other columns".to_owned())
}

fn cannot_go_on(refused: &[String]) -> SqlError {
    let reason = format!("what reads it cannot go on: {}", refused.join(", "));
    SqlError::statement(None, reason).or("drop it first, or keep the columns that it reads")
}

fn listed(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
