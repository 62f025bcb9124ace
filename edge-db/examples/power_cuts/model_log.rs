//! A log on a plain vector.

use std::collections::BTreeMap;

/// What was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rec {
    pub(crate) micros: i64,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

impl Rec {
    /// What it counts for in its log, as `LogOptions::max_bytes` has it.
    fn bytes(&self) -> u64 {
        (self.key.len() + self.value.len() + 8) as u64
    }
}

/// All records that a log ever had. Which of them are still there is up to the database, within
/// what its policy allows: it drops whole chunks, and decides what makes a chunk.
#[derive(Debug, Default)]
pub(crate) struct ModelLog {
    records: Vec<Rec>,
    /// Where the log ended after each batch that appended, the last few of them.
    ends: BTreeMap<u64, u64>,
    /// Records before this one may be dropped.
    droppable: u64,
    /// The oldest record that was there when last looked at.
    first: u64,
    pub(crate) dropped: u64,
}

/// A log at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogMark {
    end: usize,
    droppable: u64,
    first: u64,
    dropped: u64,
}

impl ModelLog {
    pub(crate) fn mark(&self) -> LogMark {
        let ModelLog { droppable, first, dropped, .. } = *self;
        LogMark { end: self.records.len(), droppable, first, dropped }
    }

    /// Makes it what it was.
    pub(crate) fn take_back(&mut self, mark: LogMark) {
        self.records.truncate(mark.end);
        self.ends.retain(|_, end| *end <= mark.end as u64);
        (self.droppable, self.first, self.dropped) = (mark.droppable, mark.first, mark.dropped);
    }

    pub(crate) fn append(&mut self, rec: Rec, batch: u64) {
        self.records.push(rec);
        self.ends.insert(batch, self.records.len() as u64);
        if self.ends.len() > 64 {
            self.ends.pop_first();
        }
    }

    pub(crate) fn may_drop(&mut self, before: u64) {
        self.droppable = self.droppable.max(before);
    }

    /// Where it ended after this batch, if that appended.
    pub(crate) fn end_of(&self, batch: u64) -> Option<u64> {
        self.ends.get(&batch).copied()
    }

    pub(crate) fn get(&self, position: u64) -> Option<&Rec> {
        self.records.get(usize::try_from(position).ok()?)
    }

    /// Looks at what is there now.
    pub(crate) fn see_first(&mut self, first: u64, end: u64) {
        assert!(first <= end, "the log begins at {first}, and ends at {end}");
        assert!(first <= self.droppable, "records before {first} are gone, and still needed");
        assert!(first >= self.first, "record {first}, which was dropped, is back");
        self.dropped += first - self.first;
        self.first = first;
    }

    /// Bytes of the records from `first` to `end`.
    pub(crate) fn bytes(&self, first: u64, end: u64) -> u64 {
        (first..end).filter_map(|position| self.get(position)).map(Rec::bytes).sum()
    }
}
