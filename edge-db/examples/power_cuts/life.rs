//! One life of the database, from opening to its end: commits in flight, readers, jobs, snapshots,
//! checkpoints, and whatever they find compared with the model.

use std::collections::VecDeque;
use std::error::Error;
use std::time::Duration;

use edge_db::{Commit, ReadError, Snapshot, WriteError};

use crate::handles::{Handles, compare, compare_record};
use crate::model::{CURSORS, Change, Model, State, Which};
use crate::rng::Rng;
use crate::sim_disk::SimDisk;
use crate::tally::Tally;
use crate::workload;

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
    held: Vec<Held>,
    /// Whether the disk may fill up.
    pub(crate) may_fill: bool,
}

/// A snapshot, and what it showed at first.
struct Held {
    snapshot: Snapshot,
    state: State,
    firsts: [u64; 2],
}

impl<'a> Life<'a> {
    pub(crate) fn new(
        disk: &'a SimDisk,
        handles: Handles,
        model: &'a mut Model,
        rng: &'a mut Rng,
        tally: &'a mut Tally,
    ) -> Life<'a> {
        let depth = rng.index(9);
        let (flying, held) = (VecDeque::new(), Vec::new());
        Life { disk, handles, model, rng, tally, flying, depth, held, may_fill: false }
    }

    /// Does one thing or another.
    pub(crate) fn step(&mut self) -> Result<(), Ended> {
        match self.rng.below(100) {
            0..60 => {
                let changes = workload::changes(self.rng, self.model);
                self.issue(changes)
            }
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

    fn issue(&mut self, changes: Vec<Change>) -> Result<(), Ended> {
        let number = self.model.issue(changes);
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
        match commit.wait() {
            Ok(receipt) => {
                let end = |log| receipt.seqs(log).map(|seqs| seqs.end.get());
                let [kept, rolling] = &self.handles.logs;
                self.model.acknowledge(number, [end(kept), end(rolling)]);
            }
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

    /// A reader goes on where its cursor stands, and moves it with what it makes of the records.
    fn work(&mut self, cursor: usize) -> Result<(), Ended> {
        let which = CURSORS[cursor].0;
        let snapshot = self.snapshot()?;
        let from = self.position(cursor);
        let records = snapshot.read(self.handles.log(which), edge_db::Seq::new(from), 20);
        let records = self.read(records)?;
        let log = &self.model.logs[which as usize];
        records.iter().for_each(|record| compare_record(record, which, log));
        let mut changes = Vec::new();
        if self.rng.chance(30) {
            changes = workload::changes(self.rng, self.model);
        }
        let to = if self.rng.chance(4) {
            // To the end that the log will have if nothing is refused.
            let appends =
                |change: &&Change| matches!(change, Change::Append(log, _) if *log == which);
            let open = self.model.in_doubt().flat_map(|issued| &issued.changes);
            let more = open.chain(&changes).filter(appends).count();
            self.model.state.ends[which as usize] + more as u64
        } else if records.is_empty() {
            return Ok(());
        } else {
            records.next().get()
        };
        changes.push(Change::Advance(cursor, to));
        self.issue(changes)
    }

    /// Where a cursor stands if no batch in doubt fails.
    fn position(&self, cursor: usize) -> u64 {
        let moves = self.model.in_doubt().flat_map(|issued| &issued.changes);
        let to = moves.filter_map(|change| match change {
            Change::Advance(moved, to) if *moved == cursor => Some(*to),
            _ => None,
        });
        to.last().unwrap_or(self.model.state.cursors[cursor])
    }

    /// A snapshot whose batches the model has taken in.
    fn snapshot(&mut self) -> Result<Snapshot, Ended> {
        let snapshot = self.read(self.handles.db.snapshot())?;
        let observed = self.handles.observe(&snapshot, self.model);
        self.read(observed)?;
        Ok(snapshot)
    }

    /// One value beside the commits: it is the last one known, or one in flight.
    fn get(&mut self) -> Result<(), Ended> {
        let (row, cell) = (workload::table_key(self.rng), workload::cell_key(self.rng));
        let found = self.read(self.handles.table.get(&row))?;
        let mut expected = vec![self.model.state.table.get(&row)];
        let open = || self.model.in_doubt().flat_map(|issued| &issued.changes);
        expected.extend(open().filter_map(|change| match change {
            Change::Insert(key, value) if *key == row => Some(Some(value)),
            Change::Remove(key) if *key == row => Some(None),
            Change::ClearTable => Some(None),
            _ => None,
        }));
        assert!(
            expected.contains(&found.as_ref()),
            "row {row} is {found:?}, not one of {expected:?}"
        );
        let found = self.read(self.handles.cells.get(&cell))?.map(|found| found.to_vec());
        let mut expected = vec![self.model.state.cells.get(&cell)];
        expected.extend(open().filter_map(|change| match change {
            Change::Put(key, value) if *key == cell => Some(Some(value)),
            Change::Delete(key) if *key == cell => Some(None),
            Change::Clear => Some(None),
            _ => None,
        }));
        assert!(expected.contains(&found.as_ref()), "cell {cell:?} is {found:?}, not {expected:?}");
        Ok(())
    }

    fn hold_snapshot(&mut self) -> Result<(), Ended> {
        let snapshot = self.snapshot()?;
        let state = self.read(self.handles.read(&snapshot))?;
        compare(&state, &self.model.state);
        let firsts = self.firsts(&snapshot)?;
        self.tally.snapshots += 1;
        self.held.push(Held { snapshot, state, firsts });
        Ok(())
    }

    /// A snapshot shows what it showed at first, whatever was committed and settled meanwhile.
    fn look_at_held(&mut self) -> Result<(), Ended> {
        if self.held.is_empty() {
            return Ok(());
        }
        let held = self.held.swap_remove(self.rng.index(self.held.len()));
        let state = self.read(self.handles.read(&held.snapshot))?;
        compare(&state, &held.state);
        assert_eq!(self.firsts(&held.snapshot)?, held.firsts, "a snapshot's logs have changed");
        for which in [Which::Kept, Which::Rolling] {
            let end = edge_db::Seq::new(state.ends[which as usize]);
            let log = &self.model.logs[which as usize];
            self.read(self.handles.verify_log(&held.snapshot, which, log, end))?;
        }
        if self.rng.chance(50) {
            self.held.push(held);
        }
        Ok(())
    }

    fn firsts(&self, snapshot: &Snapshot) -> Result<[u64; 2], Ended> {
        let [kept, rolling] = &self.handles.logs;
        let first = |log| self.read(snapshot.bounds(log)).map(|bounds| bounds.start.get());
        Ok([first(kept)?, first(rolling)?])
    }

    fn verify(&mut self) -> Result<(), Ended> {
        let snapshot = self.read(self.handles.db.snapshot())?;
        let verified = self.handles.verify(&snapshot, self.model, false);
        self.read(verified)
    }

    /// Reads in all the ways there are, while nothing is in flight.
    fn look_around(&mut self) -> Result<(), Ended> {
        self.land_all()?;
        self.verify()?;
        let found = crate::reads::look(&self.handles, self.model, self.rng);
        self.read(found)
    }

    fn checkpoint(&mut self) -> Result<(), Ended> {
        self.tally.checkpoints += 1;
        match self.handles.db.checkpoint() {
            Ok(()) => Ok(()),
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
    fn read<T>(&self, result: Result<T, ReadError>) -> Result<T, Ended> {
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
    matches!(error, WriteError::LogFull { .. } | WriteError::CursorBeyondEnd { .. })
}

/// An error with all its causes.
pub(crate) fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
