//! Runs what is tried out: records or rows, then the end of all windows.

use std::collections::VecDeque;

use arrow::array::RecordBatch;
use edge_db::{Db, Seq};

use super::{Plan, Sample, TriedOut};
use crate::db::blocking;
use crate::db::job::JobError;
use crate::db::live::{Live, LiveStep};
use crate::engine::subscribe::live_input;
use crate::error::{SqlError, chain};
use crate::sql::nearest;

/// Records without a row that are kept to be shown.
const MAX_REJECTED: usize = 1_000;

pub(super) struct Run {
    live: Live,
    /// Rows that wait, with their streams.
    given: VecDeque<(String, RecordBatch)>,
}

impl Run {
    pub(super) async fn open(db: Db, plan: Plan, over: Sample) -> Result<Run, SqlError> {
        match over {
            Sample::Newest(records) => {
                let live = blocking(move || newest(&db, plan, records));
                let live = live.await.map_err(JobError::Died).and_then(|live| live);
                Ok(Run { live: live.map_err(failed)?, given: VecDeque::new() })
            }
            Sample::Rows(given) => {
                let given = given.into_iter().map(|(stream, rows)| {
                    let rows = rows_of(&plan, &stream, &rows)?;
                    Ok((stream, rows))
                });
                let given = given.collect::<Result<_, SqlError>>()?;
                Ok(Run { live: Live::new(Vec::new(), plan.pipeline), given })
            }
        }
    }

    pub(super) async fn finish(
        mut self,
        script: String,
        limit_bytes: usize,
    ) -> Result<TriedOut, SqlError> {
        let schema = self.live.schema().clone();
        let (rows, rejected) = (Vec::new(), Vec::new());
        let mut tried = TriedOut { script, schema, rows, rejected, undecodable: 0, late: 0 };
        let (mut is_at_end, mut bytes) = (false, 0);
        while !is_at_end {
            // One step at a time, so that whoever gives up is waited for no longer.
            let stepped = blocking(move || {
                let step = self.step();
                (self, step)
            });
            let (run, step) = stepped.await.map_err(|reason| failed(JobError::Died(reason)))?;
            let step = step.map_err(failed)?;
            self = run;
            is_at_end = step.is_at_end;
            bytes += step.rows.as_ref().map_or(0, RecordBatch::get_array_memory_size);
            if bytes > limit_bytes {
                return Err(SqlError::AnswerTooLarge { limit_bytes });
            }
            tried.take(step);
        }
        tried.late = self.live.late();
        Ok(tried)
    }

    fn step(&mut self) -> Result<LiveStep, JobError> {
        if let Some((stream, rows)) = self.given.pop_front() {
            let rows = self.live.push(&stream, &rows)?;
            return Ok(LiveStep { is_at_end: false, missed: None, rows, rejected: Vec::new() });
        }
        let mut step = self.live.step()?;
        if step.is_at_end {
            step.rows = self.live.finish()?;
        }
        Ok(step)
    }
}

impl TriedOut {
    fn take(&mut self, step: LiveStep) {
        self.undecodable += step.rejected.len() as u64;
        let room = MAX_REJECTED - self.rejected.len();
        self.rejected.extend(step.rejected.into_iter().take(room));
        self.rows.extend(step.rows);
    }
}

/// The query over the newest records that there are now.
fn newest(db: &Db, plan: Plan, records: u64) -> Result<Live, JobError> {
    let inputs = plan.inputs.into_iter().map(|(input, job)| {
        let bounds = input.log.bounds()?;
        let from = Seq::new(bounds.end.get().saturating_sub(records)).max(bounds.start);
        Ok(live_input(db, input, from, job.as_ref())?.until(bounds.end))
    });
    Ok(Live::new(inputs.collect::<Result<_, JobError>>()?, plan.pipeline))
}

fn rows_of(plan: &Plan, stream: &str, rows: &RecordBatch) -> Result<RecordBatch, SqlError> {
    let Some(decoder) = plan.decoders.get(stream) else {
        let error =
            SqlError::statement(None, format!("there are rows of `{stream}`, which is not read"));
        let names = plan.decoders.keys().map(String::as_str);
        return Err(match nearest(stream, names) {
            Some(near) => error.or(format!("did you mean `{near}`?")),
            None => error.or("give rows of the streams in the FROM of the query"),
        });
    };
    let rows = decoder.rows_of_batch(rows);
    rows.map_err(|reason| {
        SqlError::statement(None, format!("stream `{stream}` does not take the rows: {reason}"))
    })
}

fn failed(error: JobError) -> SqlError {
    SqlError::TryOut { reason: chain(&error).into() }
}
