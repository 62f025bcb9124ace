//! A job between two checkpoints: reads, decodes, runs its query, and puts all that has changed
//! into one batch. It blocks for the disk and has no clock and no task.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use bytes::Bytes;
use edge_db::{Batch, Cursor, Entry, Keyspace, Log, OpenError, ReadError, Seq, WriteError};
use serde::{Deserialize, Serialize};

use super::catalog::{Catalog, cursor_name, state_name};
use super::output::{self, Output, OutputError};
use crate::decode::Decoder;
use crate::error::OperatorError;
use crate::pipeline::Pipeline;
use crate::watermark::EventTime;

/// Records in one step: more cost latency and memory, fewer cost speed.
const STEP_RECORDS: usize = 8192;

/// What a job counts, stored with its position.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Records read.
    pub(crate) read: u64,
    /// Rows given out.
    pub(crate) out: u64,
    /// Records that were no rows of the stream.
    pub(crate) undecodable: u64,
    /// Records that the Log had dropped before they were read.
    pub(crate) missed: u64,
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

/// What a job is made of, as it is made again at each restart.
#[derive(Debug, Clone)]
pub(crate) struct JobSpec {
    pub(crate) name: String,
    pub(crate) log: Log,
    pub(crate) decoder: Decoder,
    pub(crate) output: Output,
}

/// One life of a job, from a checkpoint to an error or the end.
#[derive(Debug)]
pub(crate) struct Job {
    spec: JobSpec,
    catalog: Catalog,
    cursor: Cursor,
    state: Keyspace,
    /// `None` for a stream's own job, which only looks for what is no row.
    pipeline: Option<Pipeline>,
    position: Seq,
    committed: Seq,
    progress: Progress,
    /// What came out, and was rejected, since the last checkpoint.
    rows: Vec<RecordBatch>,
    rejected: Vec<Entry>,
}

/// What a step has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) is_at_end: bool,
    /// Whether somebody waits for what came out.
    pub(crate) has_output: bool,
}

impl Job {
    /// Takes up the job at its last checkpoint.
    pub(crate) fn open(
        catalog: Catalog,
        spec: JobSpec,
        mut pipeline: Option<Pipeline>,
    ) -> Result<Job, JobError> {
        let cursor = spec.log.cursor(&cursor_name(&spec.name))?;
        let state = catalog.db.keyspace(&state_name(&spec.name))?;
        if let Some(pipeline) = &mut pipeline {
            let stored = state.iter()?.map(|entry| entry.map(|(key, value)| (key.to_vec(), value)));
            pipeline.restore(&stored.collect::<Result<BTreeMap<Vec<u8>, Bytes>, _>>()?)?;
        }
        let progress = catalog.progress.get(&spec.name)?.unwrap_or_default();
        let position = cursor.position()?;
        Ok(Job {
            spec,
            catalog,
            cursor,
            state,
            pipeline,
            position,
            committed: position,
            progress,
            rows: Vec::new(),
            rejected: Vec::new(),
        })
    }

    /// Reads on, and runs the query over what is there.
    pub(crate) fn step(&mut self) -> Result<Step, JobError> {
        let records = self.spec.log.read(self.position, STEP_RECORDS)?;
        if let Some(missing) = records.missing() {
            self.progress.missed += missing.end.since(missing.start);
        }
        self.position = records.next();
        let is_at_end = records.is_empty();
        if !is_at_end {
            let records: Vec<_> = records.into_iter().collect();
            self.progress.read += records.len() as u64;
            let decoded = self.spec.decoder.decode(&records)?;
            self.progress.undecodable += decoded.rejected.len() as u64;
            if let Output::Errors(_) = self.spec.output {
                let rejected = decoded.rejected.iter();
                let entries = rejected.map(|one| output::rejection(&records[one.place], one));
                self.rejected.extend(entries);
            }
            if let Some(pipeline) = &mut self.pipeline {
                self.rows.extend(pipeline.push(&decoded.rows)?);
            }
        }
        let has_output = !self.rows.is_empty() || !self.rejected.is_empty();
        Ok(Step { is_at_end, has_output })
    }

    /// Whether anything would be lost, to be computed again, if the job ended here.
    pub(crate) fn is_dirty(&self) -> bool {
        self.position != self.committed
    }

    /// All that has changed since the last checkpoint, as one batch: state, rows, position.
    pub(crate) fn checkpoint(&mut self) -> Result<Batch, JobError> {
        let mut batch = self.catalog.db.batch();
        if let Some(pipeline) = &mut self.pipeline {
            for (key, change) in pipeline.checkpoint()? {
                match change {
                    Some(value) => batch.put(&self.state, key, value),
                    None => batch.delete(&self.state, key),
                }
            }
        }
        for rows in self.rows.drain(..) {
            self.spec.output.add(&mut batch, &rows, self.progress.out)?;
            self.progress.out += rows.num_rows() as u64;
        }
        if let Output::Errors(log) = &self.spec.output {
            self.rejected.drain(..).for_each(|entry| batch.append(log, entry));
        }
        batch
            .insert(&self.catalog.progress, &self.spec.name, &self.progress)
            .map_err(OutputError::from)?;
        batch.advance(&self.cursor, self.position);
        Ok(batch)
    }

    /// The batch of the last checkpoint is on disk.
    pub(crate) fn committed(&mut self) {
        self.committed = self.position;
    }

    /// The position of the last checkpoint.
    pub(crate) fn committed_position(&self) -> Seq {
        self.committed
    }

    pub(crate) fn progress(&self) -> Progress {
        self.progress
    }

    pub(crate) fn watermark(&self) -> Option<EventTime> {
        self.pipeline.as_ref().and_then(Pipeline::watermark)
    }

    pub(crate) fn late(&self) -> u64 {
        self.pipeline.as_ref().map_or(0, Pipeline::late)
    }
}
