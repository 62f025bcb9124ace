//! One life of the database, from opening to its end: commits in flight, readers, jobs, snapshots,
//! checkpoints, and whatever they find compared with the model.

use std::collections::VecDeque;
use std::error::Error;
use std::time::Duration;

use edge_db::{Commit, ReadError, WriteError};

use crate::handles::Handles;
use crate::look::Held;
use crate::model::{Change, MARKS, Model, Which};
use crate::rng::Rng;
use crate::sim_disk::SimDisk;
use crate::tally::Tally;
use crate::workload::{self, Trouble};

/// The power is off, or the process killed: nothing more can be asked.
#[derive(Debug)]
pub(crate) struct Ended;

pub(crate) struct Life<'a> {
    pub(crate) disk: &'a SimDisk,
    pub(crate) handles: Handles,
    pub(crate) model: &'a mut Model,
    pub(crate) rng: &'a mut Rng,
    pub(crate) tally: &'a mut Tally,
    /// Commits whose outcome was not asked for yet, in the order of their issue.
    flying: VecDeque<(u64, Commit)>,
    /// How many may fly.
    depth: usize,
    pub(crate) held: Vec<Held>,
    /// How many batches of a hundred may be durable later.
    early: u64,
    /// Whether the disk may fill up.
    pub(crate) may_fill: bool,
}

impl<'a> Life<'a> {
    pub(crate) fn new(
        disk: &'a SimDisk,
        handles: Handles,
        model: &'a mut Model,
        rng: &'a mut Rng,
        tally: &'a mut Tally,
    ) -> Life<'a> {
        let (depth, early) = (rng.index(9), rng.pick(&[0, 0, 40, 95]));
        let (flying, held) = (VecDeque::new(), Vec::new());
        Life { disk, handles, model, rng, tally, flying, depth, held, early, may_fill: false }
    }

    /// Does one thing or another.
    pub(crate) fn step(&mut self) -> Result<(), Ended> {
        match self.rng.below(100) {
            0..56 => {
                let changes = workload::changes(self.rng, self.model);
                self.issue(changes)
            }
            56..60 => self.transact(),
            60..66 => self.land(),
            66..78 => {
                let cursor = self.rng.pick(&[0, 0, 0, 1, 2, 2]);
                self.work(cursor)
            }
            78..86 => self.get(),
            86..89 => self.hold_snapshot(),
            89..92 => self.look_at_held(),
            92..94 => self.verify(),
            94..96 => self.look_around(),
            96 | 97 if self.rng.chance(15) => self.compact(),
            96..98 => self.checkpoint(),
            _ => self.fill_disk(),
        }
    }

    pub(crate) fn issue(&mut self, changes: Vec<Change>) -> Result<(), Ended> {
        // Of what a power cut may take, each batch has a mark of its own.
        let may_be_early = self.model.at_risk() < MARKS / 2;
        let within = (may_be_early && self.rng.chance(self.early)).then(|| {
            self.rng.pick(&[Duration::ZERO, Duration::from_millis(1), Duration::from_secs(3600)])
        });
        let number = self.model.issue(changes, within);
        let issued = self.model.in_doubt().last().expect("issued above");
        let commit = workload::batch(&self.handles, issued).commit_async();
        assert!(commit.is_queued(), "the queue has room for all that flies");
        self.flying.push_back((number, commit));
        while self.flying.len() > self.depth {
            self.land()?;
        }
        Ok(())
    }

    /// Waits for the oldest commit.
    fn land(&mut self) -> Result<(), Ended> {
        let Some((number, commit)) = self.flying.pop_front() else { return Ok(()) };
        let outcome = commit.wait();
        let [kept, rolling] = &self.handles.logs;
        let ends = outcome
            .as_ref()
            .map(|receipt| [kept, rolling].map(|log| receipt.seqs(log).map(|seqs| seqs.end.get())));
        let ends = ends.ok();
        self.take_outcome(number, outcome.map(drop))?;
        if let Some(ends) = ends {
            self.model.check_positions(number, ends);
        }
        Ok(())
    }

    /// Reads, decides and writes as one, beside what flies.
    fn transact(&mut self) -> Result<(), Ended> {
        let changes = workload::transaction(self.rng, self.model);
        let number = self.model.issue(changes, None);
        let issued = self.model.in_doubt().last().expect("issued above");
        let handles = &self.handles;
        let mut attempts = 0;
        let outcome = handles.db.transact(|tx| {
            attempts += 1;
            workload::attempt(tx, handles, issued)
        });
        self.tally.transactions += 1;
        self.tally.attempts += attempts;
        // What flew had its outcome before.
        self.land_all()?;
        match outcome {
            Ok(()) => self.take_outcome(number, Ok(())),
            Err(Trouble::Write(error)) => self.take_outcome(number, Err(error)),
            Err(Trouble::Read(error)) => self.read(Err(error)),
            Err(Trouble::Encode(error)) => panic!("{error}"),
        }
    }

    fn take_outcome(&mut self, number: u64, outcome: Result<(), WriteError>) -> Result<(), Ended> {
        match outcome {
            Ok(()) => self.model.acknowledge(number),
            Err(error) if is_refusal(&error) => {
                self.check_refusal(number, &error);
                self.model.refuse(number);
            }
            Err(error) => {
                if self.model.is_faulty {
                    self.tally.failed += 1;
                    self.model.fail(number);
                }
                return self.excuse(&error);
            }
        }
        Ok(())
    }

    fn check_refusal(&self, number: u64, error: &WriteError) {
        // A state that was read may have told already; and those before it may have failed in the
        // group that it was refused in.
        let Some(issued) = self.model.in_doubt().next().filter(|issued| issued.number == number)
        else {
            return;
        };
        let appends = |change: &Change| matches!(change, Change::Append(Which::Kept, _));
        match error {
            WriteError::CursorBeyondEnd { log, to, end, .. } => {
                let which = if log == "kept" { Which::Kept } else { Which::Rolling };
                assert_eq!(end.get(), self.model.end_with(issued, which), "end of log {which:?}");
                assert!(to > end, "cursor may go to {to}, the log ends at {end}");
            }
            WriteError::Conflict { .. } => {
                assert!(self.model.state.conflicts(&issued.changes), "batch {number}: {error}");
            }
            WriteError::NotUnique { .. } => {
                let is_taken = self.model.state.has_taken_badge(&issued.changes);
                assert!(is_taken, "batch {number}: {error}");
            }
            _ => assert!(issued.changes.iter().any(appends), "batch {number}: {error}"),
        }
    }

    /// Lands all that flies.
    pub(crate) fn land_all(&mut self) -> Result<(), Ended> {
        while !self.flying.is_empty() {
            self.land()?;
        }
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<(), Ended> {
        self.tally.checkpoints += 1;
        match self.handles.db.checkpoint() {
            Ok(()) => {
                // What had been committed early is in the data file now.
                self.model.is_durable();
                Ok(())
            }
            Err(error) => self.excuse(&error),
        }
    }

    fn compact(&mut self) -> Result<(), Ended> {
        match self.handles.db.compact() {
            Ok(_) => self.tally.compactions += 1,
            Err(error) => self.excuse(&error)?,
        }
        Ok(())
    }

    /// Takes the space away, or gives it back.
    fn fill_disk(&mut self) -> Result<(), Ended> {
        if self.model.is_faulty {
            self.disk.set_space(None);
        } else if self.may_fill && self.rng.chance(20) {
            self.model.is_faulty = true;
            let more = usize::try_from(self.rng.below(40_000)).expect("small");
            self.disk.set_space(Some(self.disk.used_bytes() + more));
        }
        Ok(())
    }

    /// Ends in order: all that flies lands before.
    pub(crate) fn shut_down(mut self) -> Result<(), Ended> {
        self.land_all()?;
        let done = self.handles.db.shutdown(Duration::from_secs(600));
        if self.disk.has_ended().is_some() {
            return Err(Ended);
        }
        done.expect("nothing was in the queue, and the disk answers");
        self.model.is_durable();
        Ok(())
    }

    /// After the end: what flew has an outcome all the same.
    pub(crate) fn mourn(&mut self) {
        while !self.flying.is_empty() {
            // It has ended already.
            drop(self.land());
        }
        let stats = self.handles.db.stats();
        self.tally.groups += stats.commits;
        self.tally.stalls += stats.stalls;
    }

    /// Reads never fail while the power is on, whatever else does.
    #[track_caller]
    pub(crate) fn read<T>(&self, result: Result<T, ReadError>) -> Result<T, Ended> {
        match (result, self.disk.has_ended()) {
            (Ok(value), _) => Ok(value),
            (Err(_), Some(_)) => Err(Ended),
            (Err(error), None) => panic!("could not read: {}", chain(&error)),
        }
    }

    /// Writes may fail when the power is off, and when the disk fails on purpose.
    #[track_caller]
    fn excuse(&self, error: &WriteError) -> Result<(), Ended> {
        match self.disk.has_ended() {
            Some(_) => Err(Ended),
            None if self.model.is_faulty && matches!(error, WriteError::Store(_)) => Ok(()),
            None => panic!("could not write: {}", chain(error)),
        }
    }
}

fn is_refusal(error: &WriteError) -> bool {
    matches!(
        error,
        WriteError::LogFull { .. }
            | WriteError::CursorBeyondEnd { .. }
            | WriteError::Conflict { .. }
            | WriteError::NotUnique { .. }
    )
}

/// An error with all its causes.
pub(crate) fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
