//! A table whose rows expire, on a plain map.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Area and number.
pub(crate) type Key = (u8, u8);
/// Badge (unique, if any) and room.
pub(crate) type Row = (Option<u8>, u8);
pub(crate) type Rows = BTreeMap<Key, Row>;

/// How long rows live that a handle inserts. Nothing between, so that no clock has to pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// They have expired when they come.
    None = 0,
    /// They expire when the clock ends.
    Longest = 1,
    /// They do not expire.
    Forever = 2,
}

#[derive(Debug, Clone)]
pub(crate) enum Step {
    Insert(Life, Key, Row),
    Remove(Key),
    RemoveRange(Range<Key>),
    Clear,
    /// A row gets another room; a new row if there is none and one is wanted.
    Move {
        life: Life,
        key: Key,
        room: u8,
        or_insert: bool,
    },
    Expect(Key, Option<Row>),
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    pub(crate) rows: Rows,
    /// Keys with a row that has expired, and may still lie in the file.
    pub(crate) expired: BTreeSet<Key>,
    /// Every change in its order, as a change log must tell it.
    pub(crate) changes: Vec<(Key, Option<Row>)>,
}

/// Why a batch must be refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Conflict,
    NotUnique,
}

impl Model {
    /// The model after a batch.
    pub(crate) fn after(&self, steps: &[Step]) -> Result<Model, Refusal> {
        let mut next = self.clone();
        steps.iter().try_for_each(|step| next.step(step))?;
        Ok(next)
    }

    fn step(&mut self, step: &Step) -> Result<(), Refusal> {
        match step {
            Step::Insert(life, key, row) => self.insert(*life, *key, *row)?,
            Step::Remove(key) => self.remove(key),
            Step::RemoveRange(range) => self.remove_all(|key| range.contains(key)),
            Step::Clear => self.remove_all(|_| true),
            Step::Move { life, key, room, or_insert } => match self.rows.get(key) {
                Some((badge, _)) => self.insert(*life, *key, (*badge, *room))?,
                None if *or_insert => self.insert(*life, *key, (None, *room))?,
                None => self.remove(key),
            },
            Step::Expect(key, row) if self.rows.get(key) != row.as_ref() => {
                return Err(Refusal::Conflict);
            }
            Step::Expect(..) => {}
        }
        Ok(())
    }

    fn insert(&mut self, life: Life, key: Key, row: Row) -> Result<(), Refusal> {
        self.changes.push((key, Some(row)));
        if life == Life::None {
            self.rows.remove(&key);
            self.expired.insert(key);
            return Ok(());
        }
        let is_taken = |(other, (badge, _)): (&Key, &Row)| *other != key && *badge == row.0;
        if row.0.is_some() && self.rows.iter().any(is_taken) {
            return Err(Refusal::NotUnique);
        }
        self.rows.insert(key, row);
        self.expired.remove(&key);
        Ok(())
    }

    fn remove(&mut self, key: &Key) {
        // Who removes what has expired changes nothing.
        if self.rows.remove(key).is_some() {
            self.changes.push((*key, None));
        }
        self.expired.remove(key);
    }

    fn remove_all(&mut self, is_meant: impl Fn(&Key) -> bool) {
        let keys: Vec<Key> = self.rows.keys().chain(&self.expired).copied().collect();
        keys.iter().filter(|key| is_meant(key)).for_each(|key| self.remove(key));
    }
}
