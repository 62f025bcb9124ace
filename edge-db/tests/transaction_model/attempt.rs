//! The rows after a batch or a transaction, on a plain map and its copies.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::asks::{Answer, Ask, Step};

pub(crate) type Rows = BTreeMap<u8, u8>;

/// The rows after a plain batch; `None` if it must be refused.
pub(crate) fn apply(rows: &Rows, steps: &[Step]) -> Option<Rows> {
    let mut rows = rows.clone();
    for step in steps {
        match step {
            Step::Insert(key, value) => drop(rows.insert(*key, *value)),
            Step::Remove(key) => drop(rows.remove(key)),
            Step::RemoveRange(range) => rows.retain(|key, _| !range.contains(key)),
            Step::Add(key, more) => *rows.entry(*key).or_insert(0) += more,
            Step::Expect(key, old) if rows.get(key) != old.as_ref() => return None,
            Step::Expect(..) => {}
        }
    }
    Some(rows)
}

/// What an open transaction must see, and what it has read and written.
pub(crate) struct Attempt {
    began: Rows,
    /// Those rows with its own writes.
    seen: Rows,
    own: BTreeMap<u8, Option<u8>>,
    keys: Vec<u8>,
    ranges: Vec<Range<u8>>,
    appended: u64,
}

impl Attempt {
    pub(crate) fn begin(rows: &Rows) -> Attempt {
        let (began, seen) = (rows.clone(), rows.clone());
        let (own, keys, ranges) = (BTreeMap::new(), Vec::new(), Vec::new());
        Attempt { began, seen, own, keys, ranges, appended: 0 }
    }

    pub(crate) fn step(&mut self, ask: &Ask) -> Answer {
        match ask {
            Ask::Get(key) => {
                if !self.own.contains_key(key) {
                    self.keys.push(*key);
                }
                return Answer::Row(self.seen.get(key).copied());
            }
            Ask::Range(range) => {
                self.ranges.push(range.clone());
                let rows = self.seen.range(range.clone()).map(|(key, value)| (*key, *value));
                return Answer::Rows(rows.collect());
            }
            Ask::Insert(key, value) => {
                self.own.insert(*key, Some(*value));
                self.seen.insert(*key, *value);
            }
            Ask::Remove(key) => {
                self.own.insert(*key, None);
                self.seen.remove(key);
            }
            Ask::Append | Ask::Commit | Ask::GiveUp => self.appended += 1,
        }
        Answer::Written
    }

    /// Whether it may be stored behind these rows. What wrote nothing may always.
    pub(crate) fn holds(&self, rows: &Rows) -> bool {
        let key_holds = |key| self.began.get(key) == rows.get(key);
        let range_holds =
            |range: &Range<u8>| self.began.range(range.clone()).eq(rows.range(range.clone()));
        self.own.is_empty() && self.appended == 0
            || self.keys.iter().all(key_holds) && self.ranges.iter().all(range_holds)
    }

    pub(crate) fn store(self, rows: &mut Rows) -> u64 {
        for (key, value) in self.own {
            match value {
                Some(value) => rows.insert(key, value),
                None => rows.remove(&key),
            };
        }
        self.appended
    }
}
