//! A query that answers somebody who listens: a job without a place in the store, which nothing
//! waits for.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use edge_db::{Db, RecordSlice, Seq};

use super::catalog::{cursor_name, state_name};
use super::input::InputSpec;
use super::job::{JobError, JobSpec};
use crate::decode::{MEMORY_KEY, Memory};
use crate::error::OperatorError;
use crate::operator::Stored;
use crate::pipeline::Pipeline;
use crate::watermark::EventTime;

/// Records in one step.
const STEP_RECORDS: usize = 8192;

/// Steps between two looks at how much the operators hold.
const LOOK_STEPS: usize = 16;

/// What a job had stored at one moment.
#[derive(Debug)]
pub(crate) struct Standing {
    state: Stored,
    inputs: Vec<(Seq, Memory)>,
}

/// A query over streams, from somewhere in their Logs on.
#[derive(Debug)]
pub(crate) struct Live {
    inputs: Vec<LiveInput>,
    turns: u64,
    pipeline: Pipeline,
    /// A query over the answer of that one.
    over: Option<Pipeline>,
    steps: usize,
}

#[derive(Debug)]
pub(crate) struct LiveInput {
    spec: InputSpec,
    position: Seq,
    memory: Memory,
    /// Records in front of this are read for what they say of later ones alone.
    from: Seq,
    /// It is read no further than this.
    until: Seq,
    reached: Option<EventTime>,
    turn: u64,
}

/// What a step has brought.
#[derive(Debug)]
pub(crate) struct LiveStep {
    pub(crate) is_at_end: bool,
    /// The stream, and how many of its records were dropped before they were read.
    pub(crate) missed: Option<(String, u64)>,
    pub(crate) rows: Option<RecordBatch>,
    pub(crate) rejected: Vec<RejectedRecord>,
}

/// A record that is no row of its stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RejectedRecord {
    /// The stream.
    pub stream: String,
    /// Its position in the Log of the stream.
    pub seq: Seq,
    /// Why, as the Log of errors has it in the header `reason`.
    pub reason: String,
}

impl Standing {
    /// Positions and state belong together, as they come from one commit.
    pub(crate) fn of(db: &Db, spec: &JobSpec) -> Result<Standing, JobError> {
        let place = spec.place();
        let keyspace = db.keyspace(&state_name(&place))?;
        let cursors = spec.inputs.iter().enumerate();
        let cursors = cursors.map(|(number, input)| input.log.mark(&cursor_name(&place, number)));
        let cursors = cursors.collect::<Result<Vec<_>, _>>()?;
        let at = db.snapshot()?;
        let entries = at.prefix(&keyspace, b"")?.map(|entry| {
            let (key, value) = entry?;
            Ok((key.to_vec(), value))
        });
        let mut state = entries.collect::<Result<Stored, edge_db::ReadError>>()?;
        let positions =
            cursors.iter().map(|cursor| Ok((cursor.position_at(&at)?, Memory::default())));
        let mut inputs = positions.collect::<Result<Vec<_>, edge_db::ReadError>>()?;
        for (key, value) in state.extract_if(vec![MEMORY_KEY]..vec![MEMORY_KEY + 1], |_, _| true) {
            let input = key.get(1).and_then(|number| inputs.get_mut(usize::from(*number)));
            if let (Some((_, memory)), Some(key)) = (input, key.get(2..)) {
                let restored = memory.restore(key, &value);
                restored.map_err(|reason| OperatorError::State { reason })?;
            }
        }
        Ok(Standing { state, inputs })
    }
}

impl LiveInput {
    /// Reads from this position on. `own` is how the stream's own job stands, if what it remembers
    /// of the records in front is needed.
    pub(crate) fn new(
        spec: InputSpec,
        from: Seq,
        own: Option<Standing>,
    ) -> Result<LiveInput, JobError> {
        let own = own.and_then(|mut own| own.inputs.pop());
        let (position, memory) = match own {
            None => (from, Memory::default()),
            Some((position, memory)) if position <= from => (position, memory),
            // It remembers what came later, so what came before is read once more.
            Some(_) => (spec.log.bounds()?.start.min(from), Memory::default()),
        };
        let until = Seq::new(u64::MAX);
        Ok(LiveInput { spec, position, memory, from, until, reached: None, turn: 0 })
    }

    /// The same, but no further than this.
    pub(crate) fn until(mut self, until: Seq) -> LiveInput {
        self.until = until;
        self
    }

    /// The rows of the records that count.
    fn decode(
        &mut self,
        records: RecordSlice<'_>,
        rejected: &mut Vec<RejectedRecord>,
    ) -> Result<RecordBatch, JobError> {
        let (before, records) = records.split_at(records.place_of(self.from));
        if !before.is_empty() {
            self.spec.decoder.decode(before, &mut self.memory)?;
        }
        let decoded = self.spec.decoder.decode(records, &mut self.memory)?;
        rejected.extend(decoded.rejected.into_iter().filter_map(|one| {
            let (stream, seq) = (self.spec.stream.clone(), records.get(one.place)?.seq());
            Some(RejectedRecord { stream, seq, reason: one.reason })
        }));
        Ok(decoded.rows)
    }
}

impl Live {
    pub(crate) fn new(inputs: Vec<LiveInput>, pipeline: Pipeline) -> Live {
        Live { inputs, turns: 0, pipeline, over: None, steps: 0 }
    }

    /// Goes on from where a job stands.
    pub(crate) fn from_job(
        spec: &JobSpec,
        mut pipeline: Pipeline,
        standing: Standing,
    ) -> Result<Live, JobError> {
        pipeline.restore(&standing.state)?;
        let inputs = spec.inputs.iter().zip(standing.inputs);
        let inputs = inputs.map(|(spec, (position, memory))| {
            let reached = pipeline.event_time(&spec.stream).flatten();
            let (spec, from, until) = (spec.clone(), position, Seq::new(u64::MAX));
            LiveInput { spec, position, memory, from, until, reached, turn: 0 }
        });
        let inputs = inputs.collect();
        Ok(Live { inputs, turns: 0, pipeline, over: None, steps: 0 })
    }

    /// The same with a query over its answer.
    pub(crate) fn through(mut self, over: Option<Pipeline>) -> Live {
        self.over = over;
        self
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        self.over.as_ref().unwrap_or(&self.pipeline).schema()
    }

    /// Where it has come to, if it reads one Log.
    pub(crate) fn position(&self) -> Option<Seq> {
        match self.inputs.as_slice() {
            [input] => Some(input.position),
            _ => None,
        }
    }

    /// Reads on, what lies behind in event time first.
    pub(crate) fn step(&mut self) -> Result<LiveStep, JobError> {
        let mut order: Vec<_> = (0..self.inputs.len()).collect();
        order.sort_by_key(|number| (self.inputs[*number].reached, self.inputs[*number].turn));
        for number in order {
            let input = &mut self.inputs[number];
            let wanted = input.until.since(input.position);
            let most = usize::try_from(wanted).map_or(STEP_RECORDS, |most| most.min(STEP_RECORDS));
            let records = input.spec.log.read(input.position, most)?;
            let missing = records.missing();
            let missed =
                missing.map_or(0, |missing| missing.end.since(missing.start.max(input.from)));
            input.position = records.next();
            if records.is_empty() && missed == 0 {
                continue;
            }
            let missed = (missed > 0).then(|| (input.spec.stream.clone(), missed));
            let mut rejected = Vec::new();
            let rows = self.take(number, records.as_slice(), &mut rejected)?;
            return Ok(LiveStep { is_at_end: false, missed, rows, rejected });
        }
        Ok(LiveStep { is_at_end: true, missed: None, rows: None, rejected: Vec::new() })
    }

    fn take(
        &mut self,
        number: usize,
        records: RecordSlice<'_>,
        rejected: &mut Vec<RejectedRecord>,
    ) -> Result<Option<RecordBatch>, JobError> {
        self.turns += 1;
        let input = &mut self.inputs[number];
        input.turn = self.turns;
        let rows = input.decode(records, rejected)?;
        let stream = input.spec.stream.clone();
        let answer = self.push(&stream, &rows)?;
        let arrived = records.last().map(|last| EventTime::from_micros(last.time().micros()));
        self.inputs[number].reached = self.pipeline.event_time(&stream).unwrap_or(arrived);
        Ok(answer)
    }

    /// Takes in rows with all columns of a stream, wherever they come from.
    pub(crate) fn push(
        &mut self,
        stream: &str,
        rows: &RecordBatch,
    ) -> Result<Option<RecordBatch>, JobError> {
        self.steps += 1;
        let mut answer = self.pipeline.push_to(stream, rows)?;
        if let Some(over) = &mut self.over {
            let mut through = Vec::new();
            for rows in &answer {
                through.extend(over.push(rows)?);
            }
            answer = through;
        }
        if self.steps.is_multiple_of(LOOK_STEPS) {
            // Nothing of it is stored: it is how operators find out that they hold too much.
            drop(self.pipeline.checkpoint()?);
            self.over.as_mut().map(Pipeline::checkpoint).transpose()?;
        }
        self.joined(&answer)
    }

    /// What is open is answered, as if no row were to come any more.
    pub(crate) fn finish(&mut self) -> Result<Option<RecordBatch>, JobError> {
        let answer = self.pipeline.advance(EventTime::from_micros(i64::MAX))?;
        self.joined(&answer)
    }

    /// Rows that came too late for their window.
    pub(crate) fn late(&self) -> u64 {
        self.pipeline.late()
    }

    fn joined(&self, answer: &[RecordBatch]) -> Result<Option<RecordBatch>, JobError> {
        match answer {
            [] => Ok(None),
            answer => Ok(Some(concat_batches(self.schema(), answer)?)),
        }
    }
}
