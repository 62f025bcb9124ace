//! A table, and all that changed in it, on plain collections.

use std::collections::BTreeMap;

use edge_db::ChangeKind;

/// Badge (unique, if any) and room.
pub(crate) type Person = (Option<u8>, u8);

#[derive(Debug, Clone)]
pub(crate) enum Step {
    Insert(u8, Person),
    Remove(u8),
    Move(u8, u8),
    CompareAndSet(u8, Option<Person>, Option<Person>),
    RemoveRange(u8, u8),
    Clear,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    pub(crate) rows: BTreeMap<u8, Person>,
    /// Every change of a row in its order, with the row that came or went.
    pub(crate) changes: Vec<(u8, ChangeKind, Person)>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Conflict,
    NotUnique,
}

impl Model {
    /// Applies a batch; nothing of it if it must be refused.
    pub(crate) fn commit(&mut self, steps: &[Step]) -> Result<(), Refusal> {
        let mut next = self.clone();
        steps.iter().try_for_each(|step| next.step(step))?;
        *self = next;
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), Refusal> {
        match step {
            Step::Insert(key, person) => self.put(*key, *person)?,
            Step::Remove(key) => self.remove(*key),
            Step::Move(key, room) => {
                if let Some((badge, _)) = self.rows.get(key).copied() {
                    self.put(*key, (badge, *room))?;
                }
            }
            Step::CompareAndSet(key, old, _) if self.rows.get(key) != old.as_ref() => {
                return Err(Refusal::Conflict);
            }
            Step::CompareAndSet(key, _, Some(new)) => self.put(*key, *new)?,
            Step::CompareAndSet(key, _, None) => self.remove(*key),
            Step::RemoveRange(from, to) => (*from..*to).for_each(|key| self.remove(key)),
            Step::Clear => (0..12).for_each(|key| self.remove(key)),
        }
        Ok(())
    }

    fn put(&mut self, key: u8, person: Person) -> Result<(), Refusal> {
        let is_taken = |(other, row): (&u8, &Person)| *other != key && row.0 == person.0;
        if person.0.is_some() && self.rows.iter().any(is_taken) {
            return Err(Refusal::NotUnique);
        }
        let kind = match self.rows.insert(key, person) {
            None => ChangeKind::Insert,
            Some(_) => ChangeKind::Update,
        };
        self.changes.push((key, kind, person));
        Ok(())
    }

    fn remove(&mut self, key: u8) {
        // Removing what is not there is no change.
        if let Some(person) = self.rows.remove(&key) {
            self.changes.push((key, ChangeKind::Delete, person));
        }
    }
}
