//! One log as the ledger keeps it.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use crate::error::StoreError;
use crate::log::CHUNK_BYTES;
use crate::log::chunk::ChunkBuilder;
use crate::log::gap::{GapReason, Gaps};
use crate::log::{LogOptions, LogState};
use crate::space::Space;
use crate::store::Write;
use crate::{Entry, Seq, Time};

/// A chunk as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredChunk {
    pub(crate) records: Range<Seq>,
    /// Bytes of all records that the log ever had, up to the end of this chunk.
    pub(crate) end_bytes: u64,
    /// The latest time in it.
    pub(crate) latest: Time,
}

/// Reads a log's oldest chunks that are on disk, from the given position on; not all of them.
pub(crate) type OldestChunks<'a> =
    &'a mut dyn FnMut(Space, Seq) -> Result<Vec<StoredChunk>, StoreError>;

/// What a log holds, who reads it, and what the current group appends to it.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) space: Space,
    pub(super) name: Arc<str>,
    pub(super) options: LogOptions,
    pub(super) state: LogState,
    pub(super) cursors: BTreeMap<Arc<str>, Seq>,
    pub(super) gaps: Gaps,
    /// The oldest chunks as they were when they were last looked at: dropping with each commit
    /// must not read with each. That they may be joined since does no harm, for what was counted
    /// up to the end of each of them stays true, and the joined one goes with the last of them.
    oldest: VecDeque<StoredChunk>,
    /// Records of this group that no finished chunk holds yet.
    staged: Option<ChunkBuilder>,
    pub(super) changed: bool,
}

impl Account {
    pub(super) fn new(space: Space, name: Arc<str>, options: LogOptions) -> Account {
        Account {
            space,
            name,
            options,
            state: LogState::default(),
            cursors: BTreeMap::new(),
            gaps: Gaps::default(),
            oldest: VecDeque::new(),
            staged: None,
            changed: false,
        }
    }

    /// From here on it has these options; what is staged was begun as the ones before wanted it.
    pub(super) fn change(&mut self, options: LogOptions, writes: &mut Vec<Write>) {
        self.finish_chunk(writes);
        self.options = options;
    }

    pub(super) fn append(&mut self, entry: &Entry, time: Time, writes: &mut Vec<Write>) {
        let wanted = self.options.compression;
        let chunk = self.staged.get_or_insert_with(|| ChunkBuilder::new(wanted));
        chunk.push(entry, time);
        self.state.next = self.state.next.next();
        self.state.bytes += stored_bytes(entry);
        self.state.appended_bytes += stored_bytes(entry);
        self.state.newest = self.state.newest.max(Some(time));
        self.changed = true;
        if chunk.len_bytes() >= CHUNK_BYTES {
            self.finish_chunk(writes);
        }
    }

    pub(super) fn finish_chunk(&mut self, writes: &mut Vec<Write>) {
        if let Some(chunk) = self.staged.take() {
            let last = Seq::new(self.state.next.get() - 1);
            let newest = self.state.newest.unwrap_or_default();
            let chunk = chunk.finish(self.state.appended_bytes, newest);
            writes.push(Write::Put(self.space.chunk_key(last).into(), chunk.into()));
        }
    }

    #[cfg(test)]
    pub(super) fn forget_chunks(&mut self) {
        self.oldest.clear();
    }

    /// Where the slowest cursor stands, if there is one.
    pub(super) fn slowest(&self) -> Option<Seq> {
        self.cursors.values().min().copied()
    }

    /// The name of the slowest cursor.
    pub(super) fn slowest_name(&self) -> Option<Box<str>> {
        let slowest = self.cursors.iter().min_by_key(|(_, position)| **position);
        slowest.map(|(name, _)| Box::from(&**name))
    }

    /// Drops the oldest chunks for as long as `wanted` says so.
    pub(super) fn drop_chunks(
        &mut self,
        oldest: OldestChunks<'_>,
        at: Time,
        reason: GapReason,
        writes: &mut Vec<Write>,
        wanted: impl Fn(&Account, &StoredChunk) -> bool,
    ) -> Result<(), StoreError> {
        let before = self.state.first;
        let slowest = self.slowest();
        while self.state.first < self.state.next {
            if self.oldest.is_empty() {
                self.oldest.extend(oldest(self.space, self.state.first)?);
            }
            // What this group appends is not on disk yet, and stays.
            let Some(chunk) = self.oldest.pop_front() else { break };
            if !wanted(self, &chunk) {
                self.oldest.push_front(chunk);
                break;
            }
            self.state.first = chunk.records.end;
            self.state.bytes = self.state.appended_bytes.saturating_sub(chunk.end_bytes);
        }
        let after = self.state.first;
        if after > before {
            self.changed = true;
            // Chunks lie under their last record: what holds `after` stays.
            let (from, to) = (self.space.chunk_key(before), self.space.chunk_key(after));
            writes.push(Write::DeleteRange(from.into(), to.into()));
            let unread = slowest.unwrap_or(after).clamp(before, after)..after;
            self.state.dropped += unread.end.since(unread.start);
            self.gaps.add(self.space, unread, at, reason, writes);
        }
        Ok(())
    }
}

/// What an entry counts for in its log, however it comes to lie on disk.
pub(super) fn stored_bytes(entry: &Entry) -> u64 {
    /// About what the lengths, the time and the chunk's front take.
    const RECORD_BYTES: u64 = 8;
    entry.payload_bytes() as u64 + RECORD_BYTES
}
