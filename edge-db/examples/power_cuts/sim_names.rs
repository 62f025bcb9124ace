//! Which names a folder has for who looks, and which of them are on the disk.

use std::collections::{BTreeMap, BTreeSet};

use crate::rng::Rng;

/// A file, whatever it is called.
pub(crate) type Number = u64;

#[derive(Debug, Default)]
pub(crate) struct SimNames {
    current: BTreeMap<String, Number>,
    durable: BTreeMap<String, Number>,
    unsynced: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Create(String, Number),
    Rename { from: String, to: String, file: Number },
    Remove(String),
}

impl Change {
    fn apply(self, names: &mut BTreeMap<String, Number>) {
        match self {
            Change::Create(name, file) => drop(names.insert(name, file)),
            Change::Rename { from, to, file } => {
                // The old name may be lost already, or never have got there.
                if names.get(&from) == Some(&file) {
                    names.remove(&from);
                }
                names.insert(to, file);
            }
            Change::Remove(name) => drop(names.remove(&name)),
        }
    }
}

impl SimNames {
    pub(crate) fn get(&self, name: &str) -> Option<Number> {
        self.current.get(name).copied()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, Number)> {
        self.current.iter().map(|(name, file)| (name.as_str(), *file))
    }

    /// Files that have a name, or may have one after a power cut.
    pub(crate) fn referred(&self) -> BTreeSet<Number> {
        let unsynced = self.unsynced.iter().filter_map(|change| match change {
            Change::Create(_, file) | Change::Rename { file, .. } => Some(*file),
            Change::Remove(_) => None,
        });
        self.current.values().chain(self.durable.values()).copied().chain(unsynced).collect()
    }

    pub(crate) fn create(&mut self, name: &str, file: Number) {
        self.current.insert(name.to_owned(), file);
        self.unsynced.push(Change::Create(name.to_owned(), file));
    }

    /// False if there is no such file.
    pub(crate) fn rename(&mut self, from: &str, to: &str) -> bool {
        let Some(file) = self.current.remove(from) else { return false };
        self.current.insert(to.to_owned(), file);
        self.unsynced.push(Change::Rename { from: from.to_owned(), to: to.to_owned(), file });
        true
    }

    /// False if there is no such file.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        if self.current.remove(name).is_none() {
            return false;
        }
        self.unsynced.push(Change::Remove(name.to_owned()));
        true
    }

    pub(crate) fn sync(&mut self) {
        self.unsynced.clear();
        self.durable.clone_from(&self.current);
    }

    /// The power is gone: each change that was not synced is there or is not.
    pub(crate) fn lose_power(&mut self, rng: &mut Rng) {
        let survive = rng.pick(&[0, 50, 50, 100]);
        for change in std::mem::take(&mut self.unsynced) {
            if rng.chance(survive) {
                change.apply(&mut self.durable);
            }
        }
        self.current.clone_from(&self.durable);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(change: impl Fn(&mut SimNames)) -> Vec<String> {
        let lose = |seed| {
            let mut names = SimNames::default();
            names.create("a", 1);
            names.sync();
            change(&mut names);
            names.lose_power(&mut Rng::new(seed));
            names.all().map(|(name, file)| format!("{name}{file}")).collect::<String>()
        };
        let mut found: Vec<_> = (0..100).map(lose).collect();
        found.sort();
        found.dedup();
        found
    }

    #[test]
    fn unsynced_names_may_be_lost_each_on_its_own() {
        let two = outcomes(|names| {
            names.create("b", 2);
            names.create("c", 3);
        });
        assert_eq!(two, ["a1", "a1b2", "a1b2c3", "a1c3"]);
        assert_eq!(outcomes(|names| assert!(names.remove("a"))), ["", "a1"]);
    }

    #[test]
    fn rename_leaves_the_old_name_or_the_new_one() {
        assert_eq!(outcomes(|names| assert!(names.rename("a", "b"))), ["a1", "b1"]);
    }

    #[test]
    fn synced_names_survive() {
        let synced = outcomes(|names| {
            assert!(names.rename("a", "b"));
            names.sync();
        });
        assert_eq!(synced, ["b1"]);
    }
}
