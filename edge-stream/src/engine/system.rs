//! What the engine says of itself, as tables that SQL can query: `system.jobs` and the like.

use std::sync::{Arc, Weak};
use std::time::Duration;

use arrow::array::{
    ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array,
};
use async_trait::async_trait;
use datafusion::catalog::{MemTable, SchemaProvider, TableProvider};
use datafusion::error::Result;
use edge_db::Time;
use parking_lot::Mutex;

use super::{Object, Objects};
use crate::db::deliver::Delivering;
use crate::db::output::Output;
use crate::db::status::JobStatus;
use crate::sql::question::Listing;
use crate::sql::statement::Kind;

/// The schema that they are in.
pub(super) const SYSTEM: &str = "system";

/// The tables of one engine, as long as there is one: jobs hold their plans, and plans this.
#[derive(Debug)]
pub(super) struct System {
    objects: Weak<Mutex<Objects>>,
}

impl System {
    pub(super) fn new(objects: &Arc<Mutex<Objects>>) -> System {
        System { objects: Arc::downgrade(objects) }
    }

    fn rows(&self, listing: Listing) -> Result<RecordBatch> {
        let objects = self.objects.upgrade().unwrap_or_default();
        let objects = objects.lock();
        let kind = match listing {
            Listing::Jobs => {
                let jobs: Vec<_> = objects.by_name.values().filter_map(Object::status).collect();
                return jobs_batch(&jobs);
            }
            Listing::Streams => Kind::Stream,
            Listing::Views => Kind::View,
            Listing::Sinks => Kind::Sink,
        };
        let objects: Vec<_> =
            objects.by_name.iter().filter(|(_, object)| object.kind == kind).collect();
        let statuses = objects.iter().map(|(_, object)| object.status());
        let state = text(statuses.map(|status| status.map(|status| status.state.word())));
        let of = |value: &dyn Fn(&Object) -> Option<String>| {
            text(objects.iter().map(|(_, object)| value(object)))
        };
        let mut columns =
            vec![("name", text(objects.iter().map(|(name, _)| Some(name)))), ("state", state)];
        match kind {
            Kind::Stream | Kind::Table => {}
            Kind::View | Kind::Sink => {
                columns.push(("reads", of(&|object| Some(object.reads.join(", ")))))
            }
        }
        if kind != Kind::View {
            columns.push(("log", of(&Object::log)));
        }
        if kind == Kind::Sink {
            let count = |object: &Object| object.delivering.as_ref().map(Delivering::waiting);
            let waiting = objects.iter().map(|(_, object)| count(object));
            columns.push(("waiting", Arc::new(waiting.collect::<UInt64Array>())));
            let error = |object: &Object| object.delivering.as_ref()?.error();
            columns.push(("error", of(&error)));
        }
        if kind != Kind::View {
            columns.push(("topic", of(&|object| object.topic.as_ref().map(ToString::to_string))));
        }
        if kind == Kind::Stream {
            let live = |object: &Object| object.spec.log().live().cloned();
            let promise = |object: &Object| match live(object) {
                Some(_) => "at most once",
                None => "exactly once",
            };
            columns.push(("promise", of(&|object| Some(promise(object).to_owned()))));
            // The first one had position 0.
            let dropped = |object: &Object| Some(live(object)?.records.bounds().start.get());
            let dropped = objects.iter().map(|(_, object)| dropped(object));
            columns.push(("dropped", Arc::new(dropped.collect::<UInt64Array>())));
        }
        columns.push(("sql", of(&|object| Some(object.created.sql.clone()))));
        Ok(RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, column)| (name, column, name != "name")),
        )?)
    }
}

#[async_trait]
impl SchemaProvider for System {
    fn table_names(&self) -> Vec<String> {
        Listing::ALL.iter().map(|listing| listing.table().to_owned()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some(listing) = Listing::ALL.into_iter().find(|listing| listing.table() == name) else {
            return Ok(None);
        };
        let rows = self.rows(listing)?;
        let table = MemTable::try_new(rows.schema(), vec![vec![rows]])?;
        Ok(Some(Arc::new(table)))
    }

    fn table_exist(&self, name: &str) -> bool {
        Listing::ALL.iter().any(|listing| listing.table() == name)
    }
}

fn jobs_batch(jobs: &[JobStatus]) -> Result<RecordBatch> {
    let count = |value: &dyn Fn(&JobStatus) -> u64| -> ArrayRef {
        Arc::new(jobs.iter().map(|job| Some(value(job))).collect::<UInt64Array>())
    };
    let time = |value: &dyn Fn(&JobStatus) -> Option<Time>| -> ArrayRef {
        let times = jobs.iter().map(|job| value(job).map(Time::micros));
        Arc::new(times.collect::<TimestampMicrosecondArray>())
    };
    let micros = |took: Duration| i64::try_from(took.as_micros()).unwrap_or(i64::MAX);
    let took = jobs.iter().map(|job| job.checkpoint_took.map(micros)).collect::<Int64Array>();
    let columns = [
        ("name", text(jobs.iter().map(|job| Some(&job.name)))),
        ("kind", text(jobs.iter().map(|job| Some(job.kind.word())))),
        ("state", text(jobs.iter().map(|job| Some(job.state.word())))),
        ("rows_in", count(&|job| job.read)),
        ("rows_out", count(&|job| job.out)),
        ("late", count(&|job| job.late)),
        ("undecodable", count(&|job| job.undecodable)),
        ("ahead", count(&|job| job.ahead)),
        ("missed", count(&|job| job.missed)),
        ("watermark", time(&|job| job.watermark)),
        ("idle", text(jobs.iter().map(idle))),
        ("keys", Arc::new(jobs.iter().map(key_count).collect::<UInt64Array>())),
        ("slowest_key", text(jobs.iter().map(slowest_key))),
        ("keys_crowded_out", count(&crowded_out)),
        ("position", count(&|job| job.position.get())),
        ("lag", count(&|job| job.lag)),
        ("state_bytes", count(&|job| job.state_bytes as u64)),
        ("checkpoint_at", time(&|job| job.checkpoint_at)),
        ("checkpoint_micros", Arc::new(took) as ArrayRef),
        ("error", text(jobs.iter().map(|job| job.error.as_ref()))),
        ("failed_since", time(&|job| job.failed_since)),
        ("retries", count(&|job| job.retries)),
    ];
    let nullable = [
        "watermark",
        "idle",
        "keys",
        "slowest_key",
        "checkpoint_at",
        "checkpoint_micros",
        "error",
        "failed_since",
    ];
    let columns =
        columns.into_iter().map(|(name, column)| (name, column, nullable.contains(&name)));
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

impl Object {
    /// The Log that a stream reads, or that the rows of a sink lie in.
    fn log(&self) -> Option<String> {
        let log = match &self.spec.output {
            Output::Errors(_) => self.spec.log().log()?,
            Output::Sink(sink) => &sink.log,
            Output::View(_) => return None,
        };
        Some(log.name().to_owned())
    }
}

/// The streams that the others do not wait for.
fn idle(job: &JobStatus) -> Option<String> {
    let idle = job.inputs.iter().filter(|input| input.is_idle);
    let names: Vec<_> = idle.map(|input| input.stream.as_str()).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// Keys of streams that are waited for; `None` if no stream has any.
fn key_count(job: &JobStatus) -> Option<u64> {
    let counts = job.inputs.iter().filter_map(|input| input.keys.as_ref());
    counts.map(|keys| keys.count as u64).reduce(|a, b| a + b)
}

/// The one of each stream that holds it up.
fn slowest_key(job: &JobStatus) -> Option<String> {
    let keys = job.inputs.iter().filter_map(|input| input.keys.as_ref()?.slowest.as_deref());
    let keys: Vec<_> = keys.collect();
    (!keys.is_empty()).then(|| keys.join(", "))
}

fn crowded_out(job: &JobStatus) -> u64 {
    let keys = job.inputs.iter().filter_map(|input| input.keys.as_ref());
    keys.map(|keys| keys.crowded_out).sum()
}

fn text(values: impl Iterator<Item = Option<impl AsRef<str>>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}
