//! How jobs stand; and those that stand still because somebody said so.

use std::time::Duration;

use tokio::time::Instant;

use super::{Engine, Object};
use crate::db::status::{JobState, JobStatus};
use crate::db::task::{Planner, Running};
use crate::error::SqlError;

/// How long a job may take to commit what it has read, before it is ended where it is.
const HALT_WITHIN: Duration = Duration::from_secs(60);

impl Object {
    /// How its job stands; `None` while there is none.
    pub(super) fn status(&self) -> Option<JobStatus> {
        let mut status = self.job.as_ref()?.status();
        if self.created.paused {
            status.state = JobState::Paused;
        }
        let inputs = self.spec.inputs.iter().zip(&status.inputs);
        let lags = inputs.map(|(input, status)| {
            let end = input.log.bounds().map_or(status.position, |bounds| bounds.end);
            end.since(status.position)
        });
        status.lag = lags.sum();
        Some(status)
    }
}

impl Engine {
    /// How each job stands, by name: one for each stream, which looks for what is no row, and one
    /// for each view and sink.
    pub fn jobs(&self) -> Vec<JobStatus> {
        let objects = self.inner.objects.lock();
        objects.by_name.values().filter_map(Object::status).collect()
    }

    /// All that was created, as a script: [`Engine::execute`] makes the same of it in an engine
    /// that has nothing yet. A statement stands behind those that it needs; jobs that are paused
    /// are so afterwards.
    pub fn export(&self) -> String {
        let objects = self.inner.objects.lock();
        let mut objects: Vec<_> = objects.by_name.iter().collect();
        objects.sort_by_key(|(_, object)| object.created.order);
        let mut script = String::new();
        for (name, object) in objects {
            let sql = object.created.sql.as_str();
            // The last line may be, or end with, a comment.
            let end =
                if sql.lines().last().is_some_and(|line| line.contains("--")) { "\n" } else { "" };
            script.push_str(&format!("{sql}{end};\n"));
            if object.created.paused {
                script.push_str(&format!("PAUSE JOB \"{name}\";\n"));
            }
            script.push('\n');
        }
        script
    }

    /// Halts a job and says so in the catalog, or starts it again.
    pub(super) async fn set_paused(&self, name: &str, paused: bool) -> Result<(), SqlError> {
        let created = self.inner.objects.lock().by_name.get(name).map(|one| one.created.clone());
        let Some(mut created) = created.filter(|created| created.paused != paused) else {
            return Ok(());
        };
        if paused {
            self.halt(name).await;
        }
        created.paused = paused;
        let (row, of) = (created.clone(), name.to_owned());
        // A crash before this leaves it running, or paused, as it was.
        let stored = self.in_catalog(move |catalog| catalog.change(&of, &row)).await;
        if stored.is_ok()
            && let Some(object) = self.inner.objects.lock().by_name.get_mut(name)
        {
            object.created = created;
        }
        if !paused || stored.is_err() {
            self.start_job(name);
        }
        stored
    }

    /// Lets a job commit what it has read, and end. Its status stays.
    pub(super) async fn halt(&self, name: &str) {
        let halting = {
            let mut objects = self.inner.objects.lock();
            let job = objects.by_name.get_mut(name).and_then(|object| object.job.as_mut());
            job.and_then(Running::halt)
        };
        if let Some(halting) = halting {
            halting.wait(Instant::now() + HALT_WITHIN).await;
        }
    }

    /// Starts the job of an object anew, from its last checkpoint.
    pub(super) fn start_job(&self, name: &str) {
        let mut objects = self.inner.objects.lock();
        if objects.is_closed {
            return;
        }
        let Some(object) = objects.by_name.get_mut(name) else { return };
        let planner: Option<Planner> = object.what.query().map(|query| self.planner(query.clone()));
        let (catalog, spec) = (self.inner.catalog.clone(), object.spec.clone());
        let (kind, paused) = (object.kind, object.created.paused);
        object.job = Some(Running::start(catalog, spec, kind, planner, paused));
    }
}
