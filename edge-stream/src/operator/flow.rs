//! How the operators of a job hang together: each takes in what sources or other operators give.

use std::collections::BTreeSet;

use arrow::array::RecordBatch;

use super::{Changes, Operator, Out, StateReader, StateWriter, Stored};
use crate::error::OperatorError;
use crate::watermark::EventTime;

/// Where rows come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A source, by its number.
    Source(usize),
    /// What [`Flow::push`] returned it for.
    Operator(usize),
}

/// Operators in an order in which each stands behind those that it takes from.
#[derive(Debug)]
pub(crate) struct Flow {
    nodes: Vec<Node>,
    /// Where the answer comes from.
    answer: Origin,
    /// The operator whose rows may leave the answer again, as HAVING holds no longer, and the
    /// columns of its rows that make up the key of the answer.
    retracts: Option<(usize, Vec<usize>)>,
    /// Sources that nobody waits for.
    idle: BTreeSet<usize>,
    limit_bytes: usize,
}

/// What the state of a job may take unless somebody says otherwise: one batch of edge-db takes it.
const STATE_BYTES: usize = 64 * 1024 * 1024;

#[derive(Debug)]
struct Node {
    operator: Box<dyn Operator>,
    inputs: Vec<Input>,
    watermark: Option<EventTime>,
}

#[derive(Debug)]
struct Input {
    from: Origin,
    watermark: Option<EventTime>,
    /// Whether all sources behind it are idle.
    is_idle: bool,
}

/// How far event time has come, if it has moved, and whether it is expected to.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    watermark: Option<EventTime>,
    is_idle: bool,
}

/// What a source or an operator gives out in one run.
#[derive(Debug, Default)]
struct Given {
    batches: Vec<RecordBatch>,
    /// Behind the rows, so that none of them is late for a watermark of its own batch.
    progress: Progress,
}

impl Given {
    /// By a source that gives nothing, and from which nothing is expected.
    fn idle() -> Given {
        Given { batches: Vec::new(), progress: Progress { watermark: None, is_idle: true } }
    }
}

impl Default for Flow {
    fn default() -> Flow {
        Flow {
            nodes: Vec::new(),
            answer: Origin::Source(0),
            retracts: None,
            idle: BTreeSet::new(),
            limit_bytes: STATE_BYTES,
        }
    }
}

impl Node {
    /// Takes one input's rows and watermark.
    fn take(&mut self, input: usize, given: &Given, out: &mut Out) -> Result<(), OperatorError> {
        for batch in &given.batches {
            self.operator.on_batch(input, batch.clone(), out)?;
        }
        Ok(())
    }

    /// How far event time has come at all inputs that it waits for, if that has moved.
    fn advance(&mut self, given: impl Fn(Origin) -> Progress) -> Option<EventTime> {
        for input in &mut self.inputs {
            let Progress { watermark, is_idle } = given(input.from);
            input.watermark = watermark.or(input.watermark);
            input.is_idle = is_idle;
        }
        let reached = match self.is_idle() {
            // Where nobody speaks nobody waits either.
            true => self.inputs.iter().map(|input| input.watermark).max(),
            false => {
                let awake = self.inputs.iter().filter(|input| !input.is_idle);
                awake.map(|input| input.watermark).min()
            }
        };
        let reached = reached.flatten();
        let has_moved = reached > self.watermark;
        self.watermark = reached.max(self.watermark);
        reached.filter(|_| has_moved)
    }

    fn is_idle(&self) -> bool {
        self.inputs.iter().all(|input| input.is_idle)
    }

    /// Whether its watermark cannot be told from those of the sources as they stand: one of them may
    /// have been idle when it moved.
    fn keeps_watermark(&self) -> bool {
        self.operator.has_state() || self.inputs.len() > 1
    }
}

impl Flow {
    /// Adds an operator that takes from these. The last one gives the answer.
    pub(crate) fn push(&mut self, inputs: &[Origin], operator: impl Operator + 'static) -> Origin {
        let input = |from: &Origin| Input { from: *from, watermark: None, is_idle: false };
        let inputs = inputs.iter().map(input);
        let (operator, inputs) = (Box::new(operator), inputs.collect());
        self.answer = Origin::Operator(self.nodes.len());
        self.nodes.push(Node { operator, inputs, watermark: None });
        self.answer
    }

    /// Rows that this operator gives out, and that do not come through to the answer, take those
    /// with the same key out of it.
    pub(crate) fn retract(&mut self, of: Origin, key: Vec<usize>) {
        if let Origin::Operator(number) = of {
            self.retracts = Some((number, key));
        }
    }

    /// Nobody waits for this source any more, or they do again.
    pub(crate) fn set_idle(&mut self, source: usize, is_idle: bool) {
        match is_idle {
            true => self.idle.insert(source),
            false => self.idle.remove(&source),
        };
    }

    pub(crate) fn is_idle(&self, source: usize) -> bool {
        self.idle.contains(&source)
    }

    /// Carries rows of a source, and then its watermark, if it has moved, through all operators.
    pub(crate) fn run(
        &mut self,
        source: usize,
        rows: Option<RecordBatch>,
        watermark: Option<EventTime>,
    ) -> Result<Out, OperatorError> {
        let batches = rows.into_iter().filter(|rows| rows.num_rows() > 0).collect();
        let is_idle = self.is_idle(source);
        let brought = Given { batches, progress: Progress { watermark, is_idle } };
        let (nothing, idle) = (Given::default(), Given::idle());
        let (mut given, mut late): (Vec<Given>, u64) = (Vec::with_capacity(self.nodes.len()), 0);
        for node in &mut self.nodes {
            let of = |from: Origin| match from {
                Origin::Source(number) if number == source => &brought,
                Origin::Source(number) if self.idle.contains(&number) => &idle,
                Origin::Source(_) => &nothing,
                Origin::Operator(number) => &given[number],
            };
            let mut out = Out::default();
            for input in 0..node.inputs.len() {
                node.take(input, of(node.inputs[input].from), &mut out)?;
            }
            let watermark = node.advance(|from| of(from).progress);
            if let Some(watermark) = watermark {
                node.operator.on_watermark(watermark, &mut out)?;
            }
            node.operator.on_step_end(&mut out)?;
            late += out.late;
            let watermark = watermark.map(|reached| node.operator.watermark_out(reached));
            let progress = Progress { watermark, is_idle: node.is_idle() };
            given.push(Given { batches: out.batches, progress });
        }
        let spoken_of = match &self.retracts {
            None => Vec::new(),
            Some((number, key)) => {
                let keys = given[*number].batches.iter().map(|batch| batch.project(key));
                keys.collect::<Result<_, _>>()?
            }
        };
        let batches = match self.answer {
            Origin::Source(_) => brought.batches,
            Origin::Operator(number) => given.swap_remove(number).batches,
        };
        Ok(Out { batches, late, spoken_of })
    }

    /// Event time of the sources stands where it stood at the last snapshot, and that of operators
    /// where [`Flow::watermarks`] found it, if that was stored.
    ///
    /// # Errors
    /// When an operator does not take it, or other operators were stored.
    pub(crate) fn resume(
        &mut self,
        sources: &[Option<EventTime>],
        stored: Option<&[Option<EventTime>]>,
    ) -> Result<(), OperatorError> {
        let keeping = self.nodes.iter().filter(|node| node.keeps_watermark()).count();
        if stored.is_some_and(|stored| stored.len() != keeping) {
            let reason = "it has watermarks of other operators".to_owned();
            return Err(OperatorError::State { reason });
        }
        let mut stored = stored.into_iter().flatten();
        let mut given: Vec<Progress> = Vec::with_capacity(self.nodes.len());
        for node in &mut self.nodes {
            node.advance(|from| match from {
                Origin::Source(number) => {
                    let is_idle = self.idle.contains(&number);
                    Progress { watermark: sources[number], is_idle }
                }
                Origin::Operator(number) => given[number],
            });
            if node.keeps_watermark() {
                node.watermark = node.watermark.max(stored.next().copied().flatten());
            }
            if let Some(reached) = node.watermark {
                node.operator.resume(reached)?;
            }
            let watermark = node.watermark.map(|reached| node.operator.watermark_out(reached));
            given.push(Progress { watermark, is_idle: node.is_idle() });
        }
        Ok(())
    }

    /// How far event time has come in each operator, of those where sources do not say it.
    pub(crate) fn watermarks(&self) -> impl Iterator<Item = Option<EventTime>> {
        let nodes = self.nodes.iter().filter(|node| node.keeps_watermark());
        nodes.map(|node| node.watermark)
    }

    /// Each operator, in order, with where it takes from.
    #[cfg(feature = "db")]
    pub(crate) fn explain(&self) -> impl Iterator<Item = (Vec<Origin>, super::Explain)> {
        self.nodes.iter().map(|node| {
            let inputs = node.inputs.iter().map(|input| input.from).collect();
            (inputs, node.operator.explain())
        })
    }

    #[cfg(feature = "db")]
    pub(crate) fn is_stateless(&self) -> bool {
        self.nodes.iter().all(|node| !node.operator.has_state())
    }

    /// The most that the state of all operators may take.
    pub(crate) fn limit_state(&mut self, bytes: usize) {
        self.limit_bytes = bytes;
    }

    /// Bytes that the state of all operators takes in the store.
    pub(crate) fn state_bytes(&self) -> usize {
        self.nodes.iter().map(|node| node.operator.state_bytes()).sum()
    }

    /// What has changed since the last snapshot, under keys of this flow's own.
    pub(crate) fn snapshot(&mut self, changes: &mut Changes) -> Result<(), OperatorError> {
        for (place, operator) in self.with_state() {
            operator.snapshot(&mut StateWriter::new(place, changes))?;
        }
        self.check_size()
    }

    fn check_size(&self) -> Result<(), OperatorError> {
        let (used_bytes, limit_bytes) = (self.state_bytes(), self.limit_bytes);
        let operators = self.nodes.iter().map(|node| &node.operator);
        let most = operators.max_by_key(|operator| operator.state_bytes());
        match most.filter(|_| used_bytes > limit_bytes) {
            None => Ok(()),
            Some(most) => Err(OperatorError::JobFull {
                used_bytes,
                limit_bytes,
                operator: most.explain().what,
                operator_bytes: most.state_bytes(),
                holds: most.holds(),
            }),
        }
    }

    /// Takes over what the snapshots of such a flow have written.
    pub(crate) fn restore(&mut self, stored: &Stored) -> Result<(), OperatorError> {
        let mut places = 0;
        for (place, operator) in self.with_state() {
            operator.restore(&StateReader::new(place, stored))?;
            places = place + 1;
        }
        match stored.range(vec![places]..vec![u8::MAX]).next() {
            None => Ok(()),
            Some(_) => {
                let reason = "it has parts that this query has not".to_owned();
                Err(OperatorError::State { reason })
            }
        }
    }

    /// Those with state, numbered among themselves: where a plan puts a filter or a projection
    /// does not change what belongs to whom.
    fn with_state(&mut self) -> impl Iterator<Item = (u8, &mut Box<dyn Operator>)> {
        let operators = self.nodes.iter_mut().map(|node| &mut node.operator);
        (0u8..).zip(operators.filter(|operator| operator.has_state()))
    }
}
