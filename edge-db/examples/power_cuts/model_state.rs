//! What a batch asks for, and what it makes of plain collections.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::model_log::{ModelLog, Rec};

/// Marks of so many batches are kept.
pub(crate) const MARKS: u64 = 64;

/// The two logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// Refuses when full.
    Kept = 0,
    /// Drops its oldest records when full.
    Rolling = 1,
}

/// The cursors, by log and name.
pub(crate) const CURSORS: [(Which, &str); 3] =
    [(Which::Kept, "job"), (Which::Kept, "slow"), (Which::Rolling, "job")];

/// The row that the job behind a cursor stores together with its position.
pub(crate) fn job_row(cursor: usize) -> u32 {
    1_000_000 + u32::try_from(cursor).expect("there are three")
}

/// How long a row of a table lives whose rows expire. No clock has to pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// It has expired when it comes.
    None = 0,
    /// It outlives every run.
    Longest = 1,
}

/// One operation of a batch.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// A row must be this when the batch's turn comes.
    Expect(u32, Option<Vec<u8>>),
    Insert(u32, Vec<u8>),
    Remove(u32),
    RemoveRange(Range<u32>),
    ClearTable,
    /// A row becomes what [`next_row`] makes of it.
    Update(u32),
    /// A row becomes what [`derived`] makes of others; in transactions only.
    Derive {
        from: u32,
        to: u32,
    },
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    Clear,
    /// A member gets this badge, which no other one may have.
    Join(Life, u32, u8),
    Leave(u32),
    Note(Life, u32, u64),
    DropNotes(Range<u32>),
    Append(Which, Rec),
    /// Moves a cursor, and stores the position in the job's row.
    Advance(usize, u64),
    Trim(Which, u64),
}

/// Everything at one moment, but for the content of the logs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) table: BTreeMap<u32, Vec<u8>>,
    pub(crate) cells: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Badges of members; those that have not expired.
    pub(crate) members: BTreeMap<u32, u8>,
    pub(crate) notes: BTreeMap<u32, u64>,
    /// The last batch of each slot.
    pub(crate) marks: BTreeMap<u64, u64>,
    pub(crate) cursors: [u64; 3],
    /// The ends of the logs.
    pub(crate) ends: [u64; 2],
}

impl State {
    /// Applies the batch of this number.
    pub(crate) fn apply(&mut self, number: u64, changes: &[Change], logs: &mut [ModelLog; 2]) {
        self.marks.insert(number % MARKS, number);
        for change in changes {
            match change {
                Change::Expect(..) => {}
                Change::Insert(key, value) => drop(self.table.insert(*key, value.clone())),
                Change::Remove(key) => drop(self.table.remove(key)),
                Change::RemoveRange(range) => self.table.retain(|key, _| !range.contains(key)),
                Change::ClearTable => self.table.clear(),
                Change::Update(key) => {
                    let row = next_row(self.table.get(key).map(Vec::as_slice));
                    self.table.insert(*key, row);
                }
                Change::Derive { from, to } => {
                    let near = self.table.range(near(*from)).count();
                    let row = derived(self.table.get(from).map(Vec::as_slice), near);
                    self.table.insert(*to, row);
                }
                Change::Put(key, value) => drop(self.cells.insert(key.clone(), value.clone())),
                Change::Delete(key) => drop(self.cells.remove(key)),
                Change::Clear => self.cells.clear(),
                Change::Join(..) | Change::Leave(_) => change_members(&mut self.members, change),
                Change::Note(Life::Longest, key, note) => drop(self.notes.insert(*key, *note)),
                Change::Note(Life::None, key, _) => drop(self.notes.remove(key)),
                Change::DropNotes(range) => self.notes.retain(|key, _| !range.contains(key)),
                Change::Append(which, rec) => {
                    logs[*which as usize].append(rec.clone(), number);
                    self.ends[*which as usize] += 1;
                }
                Change::Advance(cursor, to) => {
                    self.cursors[*cursor] = *to;
                    self.table.insert(job_row(*cursor), to.to_be_bytes().to_vec());
                }
                Change::Trim(which, before) => logs[*which as usize].may_drop(*before),
            }
        }
        for (cursor, (which, _)) in CURSORS.into_iter().enumerate() {
            assert!(
                self.cursors[cursor] <= self.ends[which as usize],
                "batch {number} moved cursor {cursor} behind the end of its log"
            );
        }
        logs[Which::Kept as usize].may_drop(self.cursors[0].min(self.cursors[1]));
        logs[Which::Rolling as usize].may_drop(u64::MAX);
    }

    /// Whether a batch has to be refused for a row that is another one than it expects.
    pub(crate) fn conflicts(&self, changes: &[Change]) -> bool {
        changes.iter().any(|change| match change {
            // They come before all other changes.
            Change::Expect(key, row) => self.table.get(key) != row.as_ref(),
            _ => false,
        })
    }

    /// Whether a batch has to be refused for a badge that another member has.
    pub(crate) fn has_taken_badge(&self, changes: &[Change]) -> bool {
        let mut members = self.members.clone();
        changes.iter().any(|change| {
            let is_taken = match change {
                Change::Join(Life::Longest, key, badge) => {
                    members.iter().any(|(other, taken)| other != key && taken == badge)
                }
                _ => false,
            };
            change_members(&mut members, change);
            is_taken
        })
    }
}

fn change_members(members: &mut BTreeMap<u32, u8>, change: &Change) {
    match change {
        Change::Join(Life::Longest, key, badge) => drop(members.insert(*key, *badge)),
        Change::Join(Life::None, key, _) | Change::Leave(key) => drop(members.remove(key)),
        _ => {}
    }
}

/// What an update makes of a row: another one for every other one.
pub(crate) fn next_row(row: Option<&[u8]>) -> Vec<u8> {
    let start = row.map_or(7, |row| row.len() as u64);
    let mix = |sum: u64, byte: &u8| sum.wrapping_mul(1_000_003).wrapping_add(u64::from(*byte));
    row.unwrap_or_default().iter().fold(start, mix).to_be_bytes().to_vec()
}

/// What a transaction makes of a row and of the number of [rows that are near](near).
pub(crate) fn derived(row: Option<&[u8]>, near: usize) -> Vec<u8> {
    let mut derived = next_row(row);
    derived.push(u8::try_from(near).expect("few"));
    derived
}

/// Those behind it.
pub(crate) fn near(row: u32) -> Range<u32> {
    row + 1..row + 7
}
