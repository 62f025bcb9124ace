//! A query that answers somebody who listens: a job without a place in the store, which nothing
//! waits for.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use edge_db::{Db, Record, Seq};

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
}

impl Standing {
    /// Positions and state belong together, as they come from one commit.
    pub(crate) fn of(db: &Db, spec: &JobSpec) -> Result<Standing, JobError> {
        let place = spec.place();
        let keyspace = db.keyspace(&state_name(&place))?;
        let cursors = spec.inputs.iter().enumerate();
        let cursors = cursors.map(|(number, input)| input.log.cursor(&cursor_name(&place, number)));
        let cursors = cursors.collect::<Result<Vec<_>, _>>()?;
        let at = db.snapshot()?;
        let entries = at.prefix(&keyspace, b"")?.map(|entry| {
            let (key, value) = entry?;
            Ok((key.to_vec(), value))
        });
        let mut state = entries.collect::<Result<Stored, edge_db::ReadError>>()?;
        let positions = cursors.iter().map(|cursor| Ok((at.position(cursor)?, Memory::default())));
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
        Ok(LiveInput { spec, position, memory, from, reached: None, turn: 0 })
    }

    /// The rows of the records that count.
    fn decode(&mut self, records: &[Record]) -> Result<RecordBatch, JobError> {
        let behind = records.partition_point(|record| record.seq() < self.from);
        let (before, records) = records.split_at(behind);
        if !before.is_empty() {
            self.spec.decoder.decode(before, &mut self.memory)?;
        }
        Ok(self.spec.decoder.decode(records, &mut self.memory)?.rows)
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
            LiveInput { spec: spec.clone(), position, memory, from: position, reached, turn: 0 }
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
            let records = input.spec.log.read(input.position, STEP_RECORDS)?;
            let missing = records.missing();
            let missed =
                missing.map_or(0, |missing| missing.end.since(missing.start.max(input.from)));
            input.position = records.next();
            let records: Vec<_> = records.into_iter().collect();
            if records.is_empty() && missed == 0 {
                continue;
            }
            let missed = (missed > 0).then(|| (input.spec.stream.clone(), missed));
            let rows = self.take(number, &records)?;
            return Ok(LiveStep { is_at_end: false, missed, rows });
        }
        Ok(LiveStep { is_at_end: true, missed: None, rows: None })
    }

    fn take(&mut self, number: usize, records: &[Record]) -> Result<Option<RecordBatch>, JobError> {
        self.turns += 1;
        self.steps += 1;
        let input = &mut self.inputs[number];
        input.turn = self.turns;
        let rows = input.decode(records)?;
        let stream = input.spec.stream.clone();
        let mut answer = self.pipeline.push_to(&stream, &rows)?;
        let arrived = records.last().map(|last| EventTime::from_micros(last.time().micros()));
        self.inputs[number].reached = self.pipeline.event_time(&stream).unwrap_or(arrived);
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
        match answer.is_empty() {
            true => Ok(None),
            false => Ok(Some(concat_batches(self.schema(), &answer)?)),
        }
    }
}
