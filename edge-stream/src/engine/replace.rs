//! `CREATE OR REPLACE` of a view or sink: the new one is built beside the old one, which goes on
//! meanwhile, and takes its name in one commit.

use super::build::Prepared;
use super::{Engine, Object, Swaps};
use crate::db::build::Build;
use crate::db::catalog::Created;
use crate::db::job::JobSpec;
use crate::error::SqlError;
use crate::sql::statement::Definition;

/// A view or sink on its way to replace another one.
pub(super) struct Replacing {
    prepared: Prepared,
    created: Created,
    old: JobSpec,
    /// What looks rows up in the view.
    readers: Vec<String>,
    build: Build,
}

/// Says to queries that a name stands for other rows now, whatever becomes of it.
struct Swap<'a>(&'a Engine);

impl Engine {
    /// Opens what is needed for the new one, in the place that the old one has not.
    pub(super) async fn begin_replacing(
        &self,
        name: &str,
        sql: &str,
        what: Definition,
    ) -> Result<Replacing, SqlError> {
        let found = self.inner.objects.lock().by_name.get(name).map(Object::row);
        let (old_created, old) = found.ok_or(SqlError::Closed)?;
        self.check_successor(name, &what)?;
        // Its rows would all come once more, as those of another table.
        let by = self.streams_over(name);
        if !by.is_empty() {
            return Err(SqlError::in_use(name, &by));
        }
        let slot = old_created.slot ^ 1;
        let prepared = self.prepare(name, slot, what).await?;
        self.check_header(&old.output, &prepared.spec.output)?;
        let readers = self.reading(name);
        self.replanned(&prepared, &readers).await?;
        let order = self.order_of(&prepared, &readers, old_created.order)?;
        let planner = prepared.planner.as_ref().expect("a view or sink has a query");
        let pipeline = planner().await?;
        let (spec, sql) = (prepared.spec.clone(), sql.to_owned());
        let created = self.in_catalog(move |catalog| {
            let logs = spec.inputs.iter().map(|input| input.log.name().to_owned());
            let building = logs.collect();
            // From here on a crash leaves the old one, and what the next start takes away.
            catalog.change_without(&spec, &Created { building, ..old_created.clone() })?;
            let paused = old_created.paused;
            let next = catalog.next(&sql)?;
            Ok(Created { slot, paused, order: order.unwrap_or(next.order), ..next })
        });
        let created = created.await?;
        let closing = self.inner.closing.subscribe();
        let (catalog, spec) = (self.inner.catalog.clone(), prepared.spec.clone());
        match Build::open(catalog, spec, pipeline, old.clone(), closing).await {
            Ok(build) => Ok(Replacing { prepared, created, old, readers, build }),
            Err(error) => {
                self.give_up(prepared.spec).await;
                Err(error)
            }
        }
    }

    /// Where the new one has to stand among the statements: behind all that it reads, in front of
    /// all that reads it. `None` is behind all others.
    fn order_of(
        &self,
        prepared: &Prepared,
        readers: &[String],
        old: u64,
    ) -> Result<Option<u64>, SqlError> {
        let objects = self.inner.objects.lock();
        let later = prepared.reads.iter().find(|name| {
            objects.by_name.get(*name).is_some_and(|object| object.created.order >= old)
        });
        let name = &prepared.spec.name;
        match (later, readers.first()) {
            (None, _) => Ok(Some(old)),
            (Some(later), None) if later != name => Ok(None),
            (Some(later), _) => {
                let reason =
                    format!("`{name}` would read `{later}`, which is younger than what reads it");
                Err(SqlError::statement(None, reason)
                    .or("drop its readers first, or create another view"))
            }
        }
    }

    /// The swap, with all halted that looks rows up in a view.
    async fn swap(&self, replacing: Replacing) -> Result<(), SqlError> {
        let readers = replacing.readers.clone();
        for reader in &readers {
            self.halt(reader).await;
        }
        let swapped = self.swap_halted(replacing).await;
        readers.iter().for_each(|reader| self.start_job(reader));
        swapped
    }

    /// Halts the old one, brings the new one to where that stands, and swaps them.
    async fn swap_halted(&self, replacing: Replacing) -> Result<(), SqlError> {
        let Replacing { prepared, created, old, build, .. } = replacing;
        let name = prepared.spec.name.clone();
        self.halt(&name).await;
        if let Err(error) = build.arrive().await {
            self.start_job(&name);
            self.give_up(prepared.spec).await;
            return Err(error);
        }
        let _swap = Swap::begin(self);
        let row = created.clone();
        // A crash before this commit leaves the old one, and one behind it the new one.
        let stored = self.in_catalog(move |catalog| catalog.change_without(&old, &row)).await;
        if let Err(error) = stored {
            self.start_job(&name);
            self.give_up(prepared.spec).await;
            return Err(error);
        }
        // What a sink has in its Log is delivered by who does so already.
        let old = self.inner.objects.lock().by_name.remove(&name);
        let delivering = old.and_then(|mut old| old.delivering.take());
        self.put_in_force(created, prepared, delivering)
    }

    /// Takes away what was built. If that fails, the next start does it, or the next OR REPLACE.
    async fn give_up(&self, spec: JobSpec) {
        let found = self.inner.objects.lock().by_name.get(&spec.name).map(Object::row);
        if let Some((created, _)) = found {
            drop(self.in_catalog(move |catalog| catalog.change_without(&spec, &created)).await);
        }
    }
}

impl Replacing {
    /// Comes near the old one. The engine may go meanwhile: nobody waits for this then.
    pub(super) async fn build(
        mut self,
        engine: &std::sync::Weak<super::Inner>,
    ) -> Result<(), SqlError> {
        let spec = self.prepared.spec.clone();
        let chased = self.build.chase().await;
        let engine = engine.upgrade().map(|inner| Engine { inner }).ok_or(SqlError::Closed)?;
        match chased {
            Ok(build) => {
                self.build = build;
                engine.swap(self).await
            }
            Err(error) => {
                engine.give_up(spec).await;
                Err(error)
            }
        }
    }
}

impl Object {
    /// What the catalog says of it, and what its job is made of.
    pub(super) fn row(&self) -> (Created, JobSpec) {
        (self.created.clone(), self.spec.clone())
    }
}

impl Swap<'_> {
    fn begin(engine: &Engine) -> Swap<'_> {
        engine.inner.swaps.send_modify(|swaps| swaps.is_under_way = true);
        Swap(engine)
    }
}

impl Drop for Swap<'_> {
    fn drop(&mut self) {
        let done = |swaps: &mut Swaps| *swaps = Swaps { done: swaps.done + 1, is_under_way: false };
        self.0.inner.swaps.send_modify(done);
    }
}
