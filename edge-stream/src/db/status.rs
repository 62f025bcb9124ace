//! How jobs stand.

use std::time::Duration;

use edge_db::{Seq, Time};

use super::input::InputSpec;
use super::job::JobSpec;
use crate::sql::statement::Kind as JobKind;
use crate::watermark::KeysStand;

/// Whether a job runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum JobState {
    /// It reads on as its Log grows.
    Running,
    /// It stands still, over restarts, until RESUME.
    Paused,
    /// It has stopped for an error, and tries again from its last checkpoint after a pause.
    Failed,
}

impl JobState {
    pub(crate) fn word(self) -> &'static str {
        match self {
            JobState::Running => "running",
            JobState::Paused => "paused",
            JobState::Failed => "failed",
        }
    }
}

/// How a job stands. Counts are of the job's whole life, over restarts, but for `retries`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobStatus {
    /// The stream, view or sink that the job belongs to.
    pub name: String,
    /// Which of them it is.
    pub kind: JobKind,
    /// Whether it runs.
    pub state: JobState,
    /// Everything in front of this position of the stream's Log is in the state and the output,
    /// and that is on disk. Of a job that reads several streams, it is that of the first.
    pub position: Seq,
    /// The streams that it reads, and how far it has come in each.
    pub inputs: Vec<InputStatus>,
    /// Records of all Logs from there on.
    pub lag: u64,
    /// How far event time has come; `None` before the first row, or without a watermark.
    pub watermark: Option<Time>,
    /// Records read from all Logs.
    pub read: u64,
    /// Rows that went into the view or sink.
    pub out: u64,
    /// Rows that came when their window was closed.
    pub late: u64,
    /// Records that were no rows of the stream: see the Log `<stream>_errors`.
    pub undecodable: u64,
    /// Rows that were left out as their clock ran ahead of the arrival of their record by more
    /// than `max_ahead`: the records are in the Log `<stream>_errors`.
    pub ahead: u64,
    /// Records that the Log dropped at its limit before the job read them.
    pub missed: u64,
    /// Bytes of state, as the last checkpoint has stored them.
    pub state_bytes: usize,
    /// When the last checkpoint was on disk; `None` if there was none since the start.
    pub checkpoint_at: Option<Time>,
    /// How long that one took, from the state to the disk.
    pub checkpoint_took: Option<Duration>,
    /// Why the job has stopped, until it tries again from its last checkpoint.
    pub error: Option<String>,
    /// When it first stopped so without a checkpoint since.
    pub failed_since: Option<Time>,
    /// Attempts since then.
    pub retries: u64,
}

/// How far a job has come in one of its streams.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InputStatus {
    /// The stream.
    pub stream: String,
    /// Everything in front of this position of the stream's Log is in the state and the output,
    /// and that is on disk.
    pub position: Seq,
    /// Whether the others do not wait for it, as it was quiet for its `idle_timeout`.
    pub is_idle: bool,
    /// With `watermark_by`, how its keys stand.
    pub keys: Option<KeyStatus>,
}

/// The keys of a stream, each with a watermark of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyStatus {
    /// Those that are waited for.
    pub count: usize,
    /// The one whose watermark is the least, and which holds up event time; of several one of them.
    pub slowest: Option<String>,
    /// That watermark. It may lie behind that of the stream, which never goes back.
    pub watermark: Option<Time>,
    /// How often a key was forgotten as there were more than 10,000.
    pub crowded_out: u64,
}

impl KeyStatus {
    pub(crate) fn new(of: KeysStand) -> KeyStatus {
        let KeysStand { count, slowest, crowded_out } = of;
        let (slowest, watermark) = slowest.unzip();
        let watermark = watermark.map(|time| Time::from_micros(time.micros()));
        KeyStatus { count, slowest, watermark, crowded_out }
    }
}

impl InputStatus {
    fn new(of: &InputSpec) -> InputStatus {
        InputStatus { stream: of.stream.clone(), position: Seq::ZERO, is_idle: false, keys: None }
    }
}

impl JobStatus {
    /// How a job stands that has not begun.
    pub(crate) fn new(spec: &JobSpec, kind: JobKind) -> JobStatus {
        JobStatus {
            name: spec.name.clone(),
            kind,
            state: JobState::Running,
            position: Seq::ZERO,
            inputs: spec.inputs.iter().map(InputStatus::new).collect(),
            lag: 0,
            watermark: None,
            read: 0,
            out: 0,
            late: 0,
            undecodable: 0,
            ahead: 0,
            missed: 0,
            state_bytes: 0,
            checkpoint_at: None,
            checkpoint_took: None,
            error: None,
            failed_since: None,
            retries: 0,
        }
    }

    /// The job has stopped at `now`.
    pub(crate) fn fail(&mut self, error: String, now: Time) {
        self.state = JobState::Failed;
        self.retries += u64::from(self.failed_since.is_some());
        self.failed_since.get_or_insert(now);
        self.error = Some(error);
    }

    /// A checkpoint was on disk at `now`.
    pub(crate) fn stored(&mut self, now: Time, took: Duration) {
        self.checkpoint_at = Some(now);
        self.checkpoint_took = Some(took);
        self.failed_since = None;
        self.retries = 0;
    }
}
