//! A job between two checkpoints: reads, decodes, runs its query, and puts all that has changed
//! into one batch. It blocks for the disk and has no clock and no task.

use std::collections::BTreeMap;

use arrow::error::ArrowError;
use bytes::Bytes;
use edge_db::{Batch, Entry, Keyspace, OpenError, ReadError, Seq, Time, WriteError};
use serde::{Deserialize, Serialize};

use super::FEW_BYTES;
use super::backlog::{BACKLOG_KEY, Backlog};
use super::catalog::{self, Catalog, state_name};
use super::input::{self, Input, InputSpec, by_event_time};
use super::late::Late;
use super::output::{self, Output, OutputError, StreamOutput};
use super::shared::Part;
use super::tape::Tape;
use crate::decode::MEMORY_KEY;
use crate::error::OperatorError;
use crate::pipeline::Pipeline;
use crate::watermark::{EventTime, KeysStand};

/// What a job counts, stored with its position.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Records read.
    pub(crate) read: u64,
    /// Rows given out.
    pub(crate) out: u64,
    /// Records that were no rows of the stream.
    pub(crate) undecodable: u64,
    /// Records that a Log had dropped before they were read.
    pub(crate) missed: u64,
    /// Rows whose clock ran ahead.
    pub(crate) ahead: u64,
}

/// Why a job goes back to its last checkpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum JobError {
    #[error("could not open what the job needs")]
    Open(#[from] OpenError),
    #[error("could not read")]
    Read(#[from] ReadError),
    #[error("could not store a checkpoint")]
    Write(#[from] WriteError),
    #[error("could not decode")]
    Decode(#[from] ArrowError),
    #[error(transparent)]
    Operator(#[from] OperatorError),
    #[error(transparent)]
    Output(#[from] OutputError),
    #[error(transparent)]
    Plan(#[from] crate::SqlError),
    #[error("{0}")]
    Died(String),
}

impl From<input::OpenError> for JobError {
    fn from(error: input::OpenError) -> JobError {
        match error {
            input::OpenError::Write(error) => error.into(),
            input::OpenError::Read(error) => error.into(),
        }
    }
}

/// What a job is made of, as it is made again at each restart.
#[derive(Debug, Clone)]
pub(crate) struct JobSpec {
    pub(crate) name: String,
    /// Which of two places it has in the store.
    pub(crate) slot: u8,
    /// The streams that it reads, each once; at least one.
    pub(crate) inputs: Vec<InputSpec>,
    pub(crate) output: Output,
    /// Whether functions of the application may run in it, which take as long as they like.
    pub(crate) has_own_code: bool,
}

impl JobSpec {
    /// The name of its place in the store.
    pub(crate) fn place(&self) -> String {
        catalog::place(&self.name, self.slot)
    }

    /// Where the records of a stream lie, which its own job alone reads; of another job those of its
    /// first input.
    pub(crate) fn log(&self) -> &Tape {
        &self.inputs[0].log
    }
}

/// One life of a job, from a checkpoint to an error or the end.
#[derive(Debug)]
pub(crate) struct Job {
    spec: JobSpec,
    catalog: Catalog,
    inputs: Vec<Input>,
    /// Steps that have read something.
    turns: u64,
    state: Keyspace,
    /// `None` for a stream's own job, which only looks for what is no row.
    pipeline: Option<Pipeline>,
    progress: Progress,
    /// What came out.
    rows: Backlog,
    /// What was rejected since the last checkpoint.
    rejected: Vec<Entry>,
    /// Of a stream's own job, if late rows are diverted.
    late: Option<Late>,
    /// From when on somebody has waited for what its inputs say.
    since: Time,
    /// When the newest record came of those that came before that.
    heard: Option<Time>,
    /// Whether an input became idle since the last checkpoint.
    has_gone_idle: bool,
}

/// What a step has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) is_at_end: bool,
    /// Whether somebody waits for what came out.
    pub(crate) has_output: bool,
}

impl Job {
    /// Takes up the job at its last checkpoint. `since` is from when on somebody has waited for what
    /// its inputs say, in this life or in one before.
    pub(crate) fn open(
        catalog: Catalog,
        spec: JobSpec,
        mut pipeline: Option<Pipeline>,
        since: Time,
    ) -> Result<Job, JobError> {
        let place = spec.place();
        let state = catalog.db.keyspace(&state_name(&place))?;
        let stored = state.iter()?.map(|entry| entry.map(|(key, value)| (key.to_vec(), value)));
        let mut stored = stored.collect::<Result<BTreeMap<Vec<u8>, Bytes>, _>>()?;
        let remembered = stored.extract_if(vec![MEMORY_KEY]..vec![MEMORY_KEY + 1], |_, _| true);
        let remembered: Vec<_> = remembered.collect();
        let mut rows = Backlog::default();
        rows.restore(stored.extract_if(vec![BACKLOG_KEY]..vec![BACKLOG_KEY + 1], |_, _| true))?;
        let late = match &spec.output {
            Output::Errors(StreamOutput { late: Some(late), .. }) => {
                Some(Late::open(late.clone(), &stored)?)
            }
            _ => None,
        };
        if let Some(pipeline) = &mut pipeline {
            pipeline.restore(&stored)?;
        }
        let progress = catalog.progress.get(&place)?.unwrap_or_default();
        let inputs = spec.inputs.iter().cloned().enumerate();
        let inputs = inputs.map(|(number, input)| Input::open(&place, number, input));
        let inputs = inputs.collect::<Result<_, _>>()?;
        let mut job = Job {
            spec,
            catalog,
            inputs,
            turns: 0,
            state,
            pipeline,
            progress,
            rows,
            rejected: Vec::new(),
            late,
            since,
            heard: None,
            has_gone_idle: false,
        };
        job.remember(&remembered)?;
        for input in &mut job.inputs {
            let pipeline = job.pipeline.as_ref();
            input.is_idle = pipeline.is_some_and(|query| query.is_idle(&input.spec.stream));
            job.heard = job.heard.max(input.last.filter(|last| *last < since));
        }
        (0..job.inputs.len()).for_each(|number| job.note_event_time(number));
        Ok(job)
    }

    /// Reads on, and runs the query over what is there. `now` is the time by which records that come
    /// now are stored.
    pub(crate) fn step(&mut self, now: Time) -> Result<Step, JobError> {
        let (mut is_at_end, mut quiet) = (true, Vec::new());
        for number in by_event_time(&self.inputs) {
            if let Some(part) = self.inputs[number].read()? {
                self.take(number, &part)?;
                // Of several, one that has nothing more may be idle now.
                is_at_end = self.inputs.len() == 1 && self.inputs[number].has_nothing_more()?;
                break;
            }
            quiet.push(number);
        }
        self.note_idle(&quiet, now)?;
        let has_late = self.late.as_ref().is_some_and(Late::is_waiting);
        let has_output = !self.rows.is_empty() || !self.rejected.is_empty() || has_late;
        Ok(Step { is_at_end, has_output })
    }

    /// Whether the next step has so little to do that nobody has to wait for it: of an operator with
    /// state, of a table that rows are looked up in, and of a record of many rows nobody knows.
    pub(crate) fn is_brief(&self) -> bool {
        let is_simple = |query: &Pipeline| query.is_stateless() && query.tables().is_empty();
        let is_one_each = self.inputs.iter().all(|input| input.spec.decoder.is_one_each());
        let unread = self.inputs.iter().map(Input::unread_bytes).sum::<Option<u64>>();
        unread.is_some_and(|bytes| bytes <= FEW_BYTES)
            && is_one_each
            && !self.spec.has_own_code
            && self.late.is_none()
            && self.pipeline.as_ref().is_none_or(is_simple)
    }

    /// Says to the query which of these inputs, that have nothing more, are idle.
    fn note_idle(&mut self, quiet: &[usize], now: Time) -> Result<(), JobError> {
        let several = self.inputs.len() > 1;
        let Some(pipeline) = self.pipeline.as_mut().filter(|_| several) else { return Ok(()) };
        for number in quiet {
            let input = &mut self.inputs[*number];
            let is_due = input.idle_at(self.since, now).is_some_and(|at| at <= now)
                || self.heard.is_some_and(|heard| input.was_idle_at(heard));
            if !input.is_idle && is_due && input.is_at_end()? {
                input.is_idle = true;
                self.has_gone_idle = true;
                self.rows.extend(pipeline.set_idle_deltas(&input.spec.stream)?);
            }
        }
        Ok(())
    }

    /// When the next of its inputs becomes idle, if nothing more comes.
    pub(crate) fn idle_at(&self, now: Time) -> Option<Time> {
        let inputs = self.inputs.iter().filter(|_| self.inputs.len() > 1);
        inputs.filter_map(|input| input.idle_at(self.since, now)).min()
    }

    /// For each input whether nobody waits for it.
    pub(crate) fn idle_inputs(&self) -> impl Iterator<Item = bool> {
        self.inputs.iter().map(|input| input.is_idle)
    }

    /// How many jobs read the stream that most do of those that it reads.
    pub(crate) fn readers(&self) -> usize {
        self.inputs.iter().map(|input| input.spec.shared.readers()).max().unwrap_or(0)
    }

    /// Runs the query over what was read of one input.
    fn take(&mut self, number: usize, part: &Part) -> Result<(), JobError> {
        self.turns += 1;
        let input = &mut self.inputs[number];
        input.turn = self.turns;
        if let Some(last) = part.records().next_back().map(|last| last.time()) {
            (input.last, input.is_idle) = (Some(last), false);
            input.reached = Some(EventTime::from_micros(last.micros()));
        }
        let mut times = part.records().rev().map(|record| record.time());
        self.heard = self.heard.max(times.find(|time| *time < self.since));
        self.progress.read += part.len() as u64;
        self.progress.missed += part.missed;
        for one in &part.rejected {
            self.progress.undecodable += u64::from(one.rows_ahead == 0);
            self.progress.ahead += one.rows_ahead;
        }
        if let Output::Errors(_) = self.spec.output {
            let rejected = part.rejected.iter();
            let entries =
                rejected.filter_map(|one| Some(output::rejection(part.record(one.place)?, one)));
            self.rejected.extend(entries);
        }
        if let Some(late) = &mut self.late {
            late.observe(&part.rows, part.records())?;
        }
        if let Some(pipeline) = &mut self.pipeline {
            self.rows.extend(pipeline.push_deltas(&input.spec.stream, &part.rows)?);
        }
        self.note_event_time(number);
        Ok(())
    }

    /// Gives each input what its decoder knew of the records in front of the position.
    fn remember(&mut self, stored: &[(Vec<u8>, Bytes)]) -> Result<(), JobError> {
        for (key, value) in stored {
            let damaged = |reason: String| OperatorError::State { reason };
            let Some((number, key)) = key.get(1..).and_then(<[u8]>::split_first) else {
                return Err(
                    damaged("a key of what a decoder remembers is damaged".to_owned()).into()
                );
            };
            if let Some(input) = self.inputs.get_mut(usize::from(*number)) {
                input.memory.restore(key, value).map_err(damaged)?;
            }
        }
        Ok(())
    }

    fn note_event_time(&mut self, number: usize) {
        let input = &mut self.inputs[number];
        let pipeline = self.pipeline.as_ref();
        if let Some(reached) = pipeline.and_then(|query| query.event_time(&input.spec.stream)) {
            input.reached = reached;
        }
    }

    /// Reads no further than this in each input; it has not come further yet.
    pub(crate) fn stop_at(&mut self, until: &[Seq]) {
        for (input, until) in self.inputs.iter_mut().zip(until) {
            input.until = Some(*until);
        }
    }

    /// Whether it has come so far in all inputs.
    pub(crate) fn is_at(&self, goal: &[Seq]) -> bool {
        self.inputs.iter().zip(goal).all(|(input, goal)| input.position >= *goal)
    }

    /// What came out since the last checkpoint goes nowhere.
    pub(crate) fn forget_rows(&mut self) {
        self.rows.forget();
    }

    /// Bytes of its state, as they were stored last.
    pub(crate) fn state_bytes(&self) -> usize {
        self.pipeline.as_ref().map_or(0, Pipeline::state_bytes)
    }

    /// Whether anything would be lost, to be computed again, if the job ended here.
    pub(crate) fn is_dirty(&self) -> bool {
        self.has_gone_idle || self.inputs.iter().any(|input| input.position != input.committed)
    }

    /// Whether rows of the last checkpoint are still to come out: the job does not step before it has
    /// committed more checkpoints.
    pub(crate) fn owes_rows(&self) -> bool {
        self.rows.is_stored()
    }

    /// All that has changed since the last checkpoint, as one batch: state, rows, position. If it
    /// [owes rows](Job::owes_rows), some of these.
    pub(crate) fn checkpoint(&mut self) -> Result<Batch, JobError> {
        let mut batch = self.catalog.db.batch();
        if !self.owes_rows() {
            self.add_changes(&mut batch)?;
        }
        let (output, state) = (&self.spec.output, &self.state);
        self.rows.put(&mut batch, output, &mut self.progress.out, state)?;
        batch
            .insert(&self.catalog.progress, &self.spec.place(), &self.progress)
            .map_err(OutputError::from)?;
        Ok(batch)
    }

    fn add_changes(&mut self, batch: &mut Batch) -> Result<(), JobError> {
        let of_query = self.pipeline.as_mut().map(Pipeline::checkpoint).transpose()?;
        let of_late = self.late.as_mut().map(|late| late.store(batch));
        for (key, change) in of_query.into_iter().chain(of_late).flatten() {
            match change {
                Some(value) => batch.put(&self.state, key, value),
                None => batch.delete(&self.state, key),
            }
        }
        for (number, input) in (0u8..).zip(&mut self.inputs) {
            for (key, value) in input.memory.changes() {
                batch.put(&self.state, [&[MEMORY_KEY, number], &key[..]].concat(), value);
            }
        }
        if let Output::Errors(StreamOutput { errors, .. }) = &self.spec.output {
            self.rejected.drain(..).for_each(|entry| batch.append(errors, entry));
        }
        for input in &self.inputs {
            input.cursor.advance(batch, input.position);
        }
        Ok(())
    }

    /// The batch of the last checkpoint is on disk.
    pub(crate) fn committed(&mut self) {
        self.has_gone_idle = false;
        self.inputs.iter_mut().for_each(|input| input.committed = input.position);
    }

    /// The position of the last checkpoint in each input.
    pub(crate) fn committed_positions(&self) -> impl Iterator<Item = Seq> {
        self.inputs.iter().map(|input| input.committed)
    }

    pub(crate) fn progress(&self) -> Progress {
        self.progress
    }

    pub(crate) fn watermark(&self) -> Option<EventTime> {
        let late = self.late.as_ref().and_then(Late::watermark);
        self.pipeline.as_ref().map_or(late, Pipeline::watermark)
    }

    /// For each input how its keys stand, if they have watermarks of their own.
    pub(crate) fn keys(&self) -> impl Iterator<Item = Option<KeysStand>> {
        let late = self.late.as_ref();
        self.inputs.iter().map(move |input| match &self.pipeline {
            Some(pipeline) => pipeline.keys(&input.spec.stream),
            None => late?.keys(),
        })
    }

    pub(crate) fn late(&self) -> u64 {
        let diverted = self.late.as_ref().map_or(0, Late::count);
        self.pipeline.as_ref().map_or(diverted, Pipeline::late)
    }
}
