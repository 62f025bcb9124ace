//! What a life of the database reads beside its commits, and what it makes of that.

use edge_db::{Seq, Snapshot};

use crate::handles::{compare, compare_record};
use crate::life::{Ended, Life};
use crate::model::{CURSORS, Change, State, Which};
use crate::workload;

/// A snapshot, and what it showed at first.
pub(crate) struct Held {
    snapshot: Snapshot,
    state: State,
    firsts: [u64; 2],
}

impl Life<'_> {
    /// A reader goes on where its cursor stands, and moves it with what it makes of the records.
    pub(crate) fn work(&mut self, cursor: usize) -> Result<(), Ended> {
        let which = CURSORS[cursor].0;
        let snapshot = self.snapshot()?;
        let from = self.position(cursor);
        let records = snapshot.read(self.handles.log(which), Seq::new(from), 20);
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
    pub(crate) fn get(&mut self) -> Result<(), Ended> {
        let (row, cell) = (workload::table_key(self.rng), workload::cell_key(self.rng));
        let is_made = |change: &Change| match change {
            Change::Update(to) | Change::Derive { to, .. } => *to == row,
            _ => false,
        };
        if self.model.in_doubt().any(|issued| issued.changes.iter().any(is_made)) {
            // It may be what is made of many.
            self.land_all()?;
        }
        let found = self.read(self.handles.table.get(&row))?;
        let mut expected = vec![self.model.state.table.get(&row)];
        let open = || self.model.in_doubt().flat_map(|issued| &issued.changes);
        expected.extend(open().filter_map(|change| match change {
            Change::Insert(key, value) if *key == row => Some(Some(value)),
            Change::Remove(key) if *key == row => Some(None),
            Change::RemoveRange(range) if range.contains(&row) => Some(None),
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

    pub(crate) fn hold_snapshot(&mut self) -> Result<(), Ended> {
        let snapshot = self.snapshot()?;
        let state = self.read(self.handles.read(&snapshot))?;
        compare(&state, &self.model.state);
        let firsts = self.firsts(&snapshot)?;
        self.tally.snapshots += 1;
        self.held.push(Held { snapshot, state, firsts });
        Ok(())
    }

    /// A snapshot shows what it showed at first, whatever was committed and settled meanwhile.
    pub(crate) fn look_at_held(&mut self) -> Result<(), Ended> {
        if self.held.is_empty() {
            return Ok(());
        }
        let held = self.held.swap_remove(self.rng.index(self.held.len()));
        let state = self.read(self.handles.read(&held.snapshot))?;
        compare(&state, &held.state);
        assert_eq!(self.firsts(&held.snapshot)?, held.firsts, "a snapshot's logs have changed");
        for which in [Which::Kept, Which::Rolling] {
            let end = Seq::new(state.ends[which as usize]);
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

    pub(crate) fn verify(&mut self) -> Result<(), Ended> {
        let snapshot = self.read(self.handles.db.snapshot())?;
        let verified = self.handles.verify(&snapshot, self.model, false);
        self.read(verified)
    }

    /// Reads in all the ways there are, while nothing is in flight.
    pub(crate) fn look_around(&mut self) -> Result<(), Ended> {
        self.land_all()?;
        self.verify()?;
        let found = crate::reads::look(&self.handles, self.model, self.rng);
        self.read(found)
    }
}
