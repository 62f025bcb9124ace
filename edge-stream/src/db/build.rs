//! The successor of a job, on its way from the beginning of the Log to where the job stands.

use std::sync::Arc;

use edge_db::{ReadError, Seq, Time};
use tokio::sync::watch;

use super::blocking;
use super::catalog::{Catalog, cursor_name};
use super::input::{InputSpec, OpenError};
use super::job::{Job, JobError, JobSpec};
use super::output::Output;
use super::tape::Mark;
use crate::error::{SqlError, chain};
use crate::pipeline::Pipeline;

/// Steps between two commits of what is built. Nobody waits for them, and after a crash it is built
/// from the beginning.
const COMMIT_STEPS: usize = 16;

/// How often it runs after a job that goes on meanwhile, before that one is halted.
const CHASES: usize = 64;

/// A job that is built beside the one that it will replace.
#[derive(Debug)]
pub(crate) struct Build {
    job: Job,
    spec: JobSpec,
    /// For each input the position of the old one, if that reads the same Log.
    old: Vec<Option<Mark>>,
    closing: watch::Receiver<bool>,
}

impl Build {
    /// Opens what [`Catalog::change_without`] has emptied.
    pub(crate) async fn open(
        catalog: Catalog,
        spec: JobSpec,
        pipeline: Pipeline,
        old: JobSpec,
        closing: watch::Receiver<bool>,
    ) -> Result<Build, SqlError> {
        let own = spec.clone();
        let opened = blocking(move || {
            let cursors = own.inputs.iter().map(|input| cursor_of(&old, input));
            let cursors = cursors.collect::<Result<_, OpenError>>()?;
            Ok::<_, JobError>((Job::open(catalog, own, Some(pipeline), Time::now())?, cursors))
        });
        let opened = opened.await.map_err(JobError::Died).and_then(|opened| opened);
        let (job, old) = opened.map_err(|error| failed(&spec, &error))?;
        Ok(Build { job, spec, old, closing })
    }

    /// Comes near the job that goes on meanwhile.
    pub(crate) async fn chase(mut self) -> Result<Build, SqlError> {
        for _ in 0..CHASES {
            let goal = self.goal()?;
            if self.job.is_at(&goal) {
                break;
            }
            self = self.run_to(&goal).await?;
        }
        Ok(self)
    }

    /// Comes to where the job was halted: from here on the successor speaks.
    pub(crate) async fn arrive(self) -> Result<(), SqlError> {
        let goal = self.goal()?;
        self.run_to(&goal).await.map(drop)
    }

    /// Where the old one stands in each input; the end of a Log that it does not read.
    fn goal(&self) -> Result<Vec<Seq>, ReadError> {
        let inputs = self.spec.inputs.iter().zip(&self.old);
        let goal = inputs.map(|(input, old)| match old {
            Some(old) => old.position(),
            None => Ok(input.log.bounds()?.end),
        });
        goal.collect()
    }

    async fn run_to(mut self, goal: &[Seq]) -> Result<Build, SqlError> {
        self.job.stop_at(goal);
        // What the old sink has said of these records is not said once more.
        let is_mute = matches!(self.spec.output, Output::Sink(_));
        let mut is_at_end = false;
        while !is_at_end {
            // An error means that the engine is gone.
            if *self.closing.borrow() || self.closing.has_changed().is_err() {
                return Err(SqlError::Closed);
            }
            let mut job = self.job;
            let worked = blocking(move || {
                let outcome = steps(&mut job, is_mute);
                (job, outcome)
            });
            let worked = worked.await.map_err(JobError::Died);
            let (job, outcome) = worked.map_err(|error| failed(&self.spec, &error))?;
            self.job = job;
            let (is_last, batch) = outcome.map_err(|error| failed(&self.spec, &error))?;
            batch.commit_async().await?;
            self.job.committed();
            is_at_end = is_last && !self.job.owes_rows();
        }
        Ok(self)
    }
}

/// Where the old job stands in what an input of the new one reads: by its stream, or by its Log.
fn cursor_of(old: &JobSpec, input: &InputSpec) -> Result<Option<Mark>, OpenError> {
    let same_log = |one: &InputSpec| one.log.is_same(&input.log);
    let same = |one: &InputSpec| one.stream == input.stream && same_log(one);
    let number = old.inputs.iter().position(same);
    let number = number.or_else(|| old.inputs.iter().position(same_log));
    number.map(|number| input.log.mark(&cursor_name(&old.place(), number))).transpose()
}

fn steps(job: &mut Job, is_mute: bool) -> Result<(bool, edge_db::Batch), JobError> {
    let mut is_at_end = false;
    if job.owes_rows() {
        return Ok((is_at_end, job.checkpoint()?));
    }
    for _ in 0..COMMIT_STEPS {
        let step = job.step(Time::now())?;
        if is_mute {
            job.forget_rows();
        }
        is_at_end = step.is_at_end;
        // Rows of a view may be many, and a batch has a limit.
        if is_at_end || (step.has_output && !is_mute) {
            break;
        }
    }
    Ok((is_at_end, job.checkpoint()?))
}

fn failed(spec: &JobSpec, error: &JobError) -> SqlError {
    SqlError::Build { name: spec.name.clone(), reason: Arc::from(chain(error)) }
}
