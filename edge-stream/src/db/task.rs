//! The task of each job: when to read, when to commit, when to try again.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use edge_db::{Batch, Seq, Time, Watch};
use futures::future::select_all;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::catalog::Catalog;
use super::job::{Job, JobError, JobSpec, Step};
use super::output::Output;
use super::status::{JobState, JobStatus, KeyStatus};
use super::{blocking, here_if};
use crate::error::{SqlError, chain};
use crate::pipeline::Pipeline;
use crate::sql::statement::Kind as JobKind;

/// State and position are committed this long after the first row that changed them, and at once
/// when something comes out: a gateway with little to say need not write its state for each row.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);

/// Jobs over one stream that work off each commit as it comes. Where there are more, rows gather for
/// each of them, as a step costs what hundreds of rows in it do.
const AT_ONCE: usize = 4;

/// How much longer rows gather for each job more, and how long at most.
const GATHER_EACH: Duration = Duration::from_micros(500);
const GATHER_MOST: Duration = Duration::from_millis(100);

/// How long they gather for a stream's own job, as nobody waits for what is no row as for an answer. What
/// others have decoded meanwhile is still there.
const GATHER_OWN: Duration = Duration::from_millis(10);

/// Pauses between attempts of a job that fails.
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MOST: Duration = Duration::from_secs(30);

/// Plans the query of a job anew.
pub(crate) type Planner =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<Pipeline, SqlError>> + Send>> + Send + Sync>;

/// What is asked of a running job.
#[derive(Debug, Clone, Copy, Default)]
struct Wish {
    /// Commit what is there; counts the calls.
    flushes: u64,
    /// End at the end of all Logs.
    drain: bool,
    /// End as soon as what was read is committed.
    halt: bool,
}

impl Wish {
    fn is_end(self) -> bool {
        self.drain || self.halt
    }
}

/// A job that runs. Dropping this ends it where it is.
#[derive(Debug)]
pub(crate) struct Running {
    wish: watch::Sender<Wish>,
    status: watch::Receiver<JobStatus>,
    /// `None` once somebody waits for its end.
    task: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Running {
    /// Starts the job. One that is paused only finds out how it stands.
    pub(crate) fn start(
        catalog: Catalog,
        spec: JobSpec,
        kind: JobKind,
        planner: Option<Planner>,
        is_paused: bool,
    ) -> Running {
        let (status, status_seen) = watch::channel(JobStatus::new(&spec, kind));
        let (wish, wishes) = watch::channel(Wish { halt: is_paused, ..Wish::default() });
        let since = Time::now();
        let task = Task { catalog, spec, planner, status, wishes, since };
        Running { wish, status: status_seen, task: Some(tokio::spawn(task.run())) }
    }

    pub(crate) fn status(&self) -> JobStatus {
        self.status.borrow().clone()
    }

    /// Asks for a commit of all up to these positions, one for each input.
    pub(crate) fn reach(&self, positions: Vec<Seq>) -> Reach {
        self.wish.send_modify(|wish| wish.flushes += 1);
        Reach { status: self.status.clone(), positions }
    }

    /// Lets the job read to the end and stop; `None` if it was told so before. Its status stays.
    pub(crate) fn drain(&mut self) -> Option<Draining> {
        self.wish.send_modify(|wish| wish.drain = true);
        self.task.take().map(Draining)
    }

    /// Lets the job commit what it has read and stop; `None` if it was told to end before. Its
    /// status stays.
    pub(crate) fn halt(&mut self) -> Option<Draining> {
        self.wish.send_modify(|wish| wish.halt = true);
        self.task.take().map(Draining)
    }

    /// Ends the job where it is: what is not committed will be computed again.
    pub(crate) async fn stop(mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            // Aborted is what it shall be.
            drop(task.await);
        }
    }
}

/// A job that is on its way to its end.
#[derive(Debug)]
pub(crate) struct Draining(JoinHandle<()>);

impl Drop for Draining {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Draining {
    /// Waits for its end, and ends it where it is at the deadline.
    pub(crate) async fn wait(mut self, deadline: Instant) {
        if timeout_at(deadline, &mut self.0).await.is_err() {
            self.0.abort();
            drop((&mut self.0).await);
        }
    }
}

/// Positions that a job is on its way to.
#[derive(Debug)]
pub(crate) struct Reach {
    status: watch::Receiver<JobStatus>,
    positions: Vec<Seq>,
}

impl Reach {
    /// Waits until all are reached; else how the job stands, the number of an input that is
    /// behind, and where it should be.
    pub(crate) async fn wait(
        mut self,
        deadline: Instant,
    ) -> Result<(), (Box<JobStatus>, usize, Seq)> {
        let positions = self.positions;
        let behind = |status: &JobStatus| {
            let pairs = status.inputs.iter().zip(&positions).enumerate();
            let mut behind = pairs.filter(|(_, (input, end))| input.position < **end);
            behind.next().map(|(number, (_, end))| (number, *end))
        };
        let reached = self.status.wait_for(|status| behind(status).is_none());
        drop(timeout_at(deadline, reached).await);
        let status = self.status.borrow();
        match behind(&status) {
            None => Ok(()),
            Some((number, end)) => Err((Box::new(status.clone()), number, end)),
        }
    }
}

struct Task {
    catalog: Catalog,
    spec: JobSpec,
    planner: Option<Planner>,
    status: watch::Sender<JobStatus>,
    wishes: watch::Receiver<Wish>,
    /// When it began, over all attempts: an input may be idle from then on.
    since: Time,
}

impl Task {
    async fn run(mut self) {
        let mut pause = RETRY_FIRST;
        loop {
            let before = self.status.borrow().inputs.clone();
            let Err(error) = self.live().await else { return };
            // A job that came on before it failed is given its short pause again.
            if self.status.borrow().inputs != before {
                pause = RETRY_FIRST;
            }
            self.status.send_modify(|status| status.fail(chain(&error), Time::now()));
            if self.wishes.borrow().is_end() {
                return;
            }
            let ended = self.wishes.wait_for(|wish| wish.is_end());
            // What ends the pause early, the loop sees by itself.
            drop(timeout(pause, ended).await);
            if self.wishes.borrow().halt {
                return;
            }
            pause = (pause * 2).min(RETRY_MOST);
        }
    }

    /// Runs from the last checkpoint until it is told to end.
    async fn live(&mut self) -> Result<(), JobError> {
        let pipeline = match &self.planner {
            Some(planner) => Some(planner().await?),
            None => None,
        };
        // Before the first read, so that nothing appended after it is missed.
        let inputs = self.spec.inputs.iter();
        let mut appended: Vec<_> = inputs.map(|input| input.log.watch()).collect();
        let (catalog, spec) = (self.catalog.clone(), self.spec.clone());
        let since = self.since;
        let opened = blocking(move || Job::open(catalog, spec, pipeline, since)).await;
        let mut job = opened.map_err(JobError::Died)??;
        // Who waits for its position waits for these rows, too.
        if job.owes_rows() {
            job = self.checkpoint(job).await?;
        } else {
            self.publish(&job);
        }
        let (mut due, mut served) = (None, 0);
        loop {
            let wish = *self.wishes.borrow_and_update();
            if wish.halt {
                if job.is_dirty() {
                    self.checkpoint(job).await?;
                }
                return Ok(());
            }
            let begun = Instant::now();
            let is_asked = wish.drain || wish.flushes > served;
            let (stepped, turn) = turn(job, due, is_asked).await?;
            job = stepped;
            let Turn { step, due: until, staged } = turn?;
            due = until;
            if let Some(staged) = staged {
                job = self.commit(job, staged).await?;
                due = None;
                // Who asked wants what is at the end; rows on the way there do not serve it.
                if step.is_at_end {
                    served = wish.flushes;
                }
            }
            if step.is_at_end && !job.is_dirty() && wish.drain {
                return Ok(());
            }
            if step.is_at_end {
                let idle = idle_in(&job).map(|idle| Instant::now() + idle);
                let due = due.into_iter().chain(idle).min();
                self.wait(&mut appended, begun + self.gather(&job), due).await;
            }
        }
    }

    /// How long rows gather for a job.
    fn gather(&self, job: &Job) -> Duration {
        let least = match self.spec.output {
            Output::Errors(_) => GATHER_OWN,
            _ => Duration::ZERO,
        };
        let more = u32::try_from(job.readers().saturating_sub(AT_ONCE)).unwrap_or(u32::MAX);
        GATHER_EACH.saturating_mul(more).clamp(least, GATHER_MOST)
    }

    /// Commits all that has changed.
    async fn checkpoint(&self, job: Job) -> Result<Job, JobError> {
        let (job, staged) = stage(job).await?;
        self.commit(job, staged?).await
    }

    /// Commits what is staged, in as many batches as the rows need that came out.
    async fn commit(&self, mut job: Job, mut staged: Staged) -> Result<Job, JobError> {
        loop {
            staged.batch.commit_async().await?;
            self.status.send_modify(|status| status.stored(Time::now(), staged.begun.elapsed()));
            if !job.owes_rows() {
                break;
            }
            let (more, next) = stage(job).await?;
            (job, staged) = (more, next?);
        }
        job.committed();
        self.publish(&job);
        Ok(job)
    }

    /// Until there is something to do. What is appended is nothing to do before `gathered`.
    async fn wait(&mut self, appended: &mut [Watch], gathered: Instant, due: Option<Instant>) {
        let due = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        let appended = select_all(appended.iter_mut().map(|log| Box::pin(log.changed())));
        let appended = async {
            appended.await;
            sleep_until(gathered).await;
        };
        tokio::select! {
            () = appended => {}
            () = due => {}
            // An error means that the engine is gone, and this task with it.
            _ = self.wishes.changed() => {}
        }
    }

    fn publish(&self, job: &Job) {
        let progress = job.progress();
        self.status.send_modify(|status| {
            let of = job.committed_positions().zip(job.idle_inputs()).zip(job.keys());
            for (input, ((position, is_idle), keys)) in status.inputs.iter_mut().zip(of) {
                (input.position, input.is_idle) = (position, is_idle);
                input.keys = keys.map(KeyStatus::new);
            }
            status.position = status.inputs[0].position;
            status.watermark = job.watermark().map(|time| Time::from_micros(time.micros()));
            status.read = progress.read;
            status.out = progress.out;
            status.undecodable = progress.undecodable;
            status.missed = progress.missed;
            status.ahead = progress.ahead;
            status.late = job.late();
            status.state_bytes = job.state_bytes();
            status.error = None;
            status.state = JobState::Running;
        });
    }
}

/// A checkpoint on its way.
struct Staged {
    begun: Instant,
    batch: Batch,
}

impl Staged {
    fn new(job: &mut Job) -> Result<Staged, JobError> {
        let begun = Instant::now();
        Ok(Staged { begun, batch: job.checkpoint()? })
    }
}

async fn stage(mut job: Job) -> Result<(Job, Result<Staged, JobError>), JobError> {
    let staged = blocking(move || {
        let staged = Staged::new(&mut job);
        (job, staged)
    });
    staged.await.map_err(JobError::Died)
}

/// What a job has done in one go.
struct Turn {
    step: Step,
    /// When what has changed is to be committed.
    due: Option<Instant>,
    /// What is to be committed now.
    staged: Option<Staged>,
}

/// Reads on, and stages a checkpoint if one is due.
async fn turn(
    mut job: Job,
    due: Option<Instant>,
    is_asked: bool,
) -> Result<(Job, Result<Turn, JobError>), JobError> {
    let is_brief = job.is_brief();
    let turned = here_if(is_brief, move || {
        let turn = job.step(Time::now()).and_then(|step| {
            let now = Instant::now();
            let due = job.is_dirty().then(|| due.unwrap_or(now + CHECKPOINT_EVERY));
            let is_due = due.is_some_and(|due| is_due(due, now, step, is_asked));
            let staged = is_due.then(|| Staged::new(&mut job)).transpose()?;
            Ok(Turn { step, due, staged })
        });
        (job, turn)
    });
    turned.await.map_err(JobError::Died)
}

/// How long to wait for the next input that becomes idle.
fn idle_in(job: &Job) -> Option<Duration> {
    let now = Time::now();
    Some(job.idle_at(now)?.since(now))
}

/// Whether to commit now: somebody waits for it, or it has waited long enough.
fn is_due(due: Instant, now: Instant, step: Step, is_asked: bool) -> bool {
    step.has_output || (step.is_at_end && is_asked) || now >= due
}
