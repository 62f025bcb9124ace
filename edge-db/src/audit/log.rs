//! One log: its chunks, what is said of it, who reads it.

use std::ops::Range;

use bytes::Bytes;

use super::findings::Findings;
use crate::codec::{self, DecodeError};
use crate::log::chunk::{self, Front};
use crate::log::gap::{Gap, GapReason};
use crate::log::records::Found;
use crate::log::{LogState, chunk_last};
use crate::space::{Space, without_space};
use crate::verify::Place;
use crate::{RecordRef, Seq, Time};

/// The way through one log.
pub(super) struct LogAudit {
    space: Space,
    name: String,
    /// As it is stored.
    state: Option<LogState>,
    cursors: Vec<(String, Seq)>,
    gaps: Vec<Gap>,
    /// Where the first chunk begins.
    start: Option<Seq>,
    last: Option<Chunk>,
    /// Before the first record that is kept: bytes that the log ever had.
    bytes_before: u64,
    /// Of the records that are kept and were read.
    bytes: u64,
    /// Whether all chunks could be looked into.
    is_exact: bool,
    /// Records without a chunk, in front of the last one.
    holes: Vec<Range<Seq>>,
}

/// A chunk that counts.
struct Chunk {
    positions: Range<Seq>,
    front: Front,
}

impl LogAudit {
    pub(super) fn new(space: Space, name: &str) -> LogAudit {
        LogAudit {
            space,
            name: name.to_owned(),
            state: None,
            cursors: Vec::new(),
            gaps: Vec::new(),
            start: None,
            last: None,
            bytes_before: 0,
            bytes: 0,
            is_exact: true,
            holes: Vec::new(),
        }
    }

    pub(super) fn stored_state(&mut self, value: &[u8]) -> bool {
        self.state =
            codec::decode::<LogState>(value, 0).ok().filter(|state| state.first <= state.next);
        self.state.is_some()
    }

    pub(super) fn stored_gap(&mut self, key: &[u8], value: &[u8]) -> bool {
        let Ok(gap) = codec::decode::<Gap>(value, 0) else { return false };
        let is_good =
            self.space.gap_key(gap.records.start) == key && gap.records.start < gap.records.end;
        if is_good {
            self.gaps.push(gap);
        }
        is_good
    }

    pub(super) fn cursor(&mut self, name: &str, position: Seq) {
        self.cursors.push((name.to_owned(), position));
    }

    fn first(&self) -> Seq {
        self.state.map_or(Seq::ZERO, |state| state.first)
    }

    /// One chunk.
    pub(super) fn chunk(&mut self, key: &[u8], value: &[u8], found: &mut Findings) {
        let mut records = Found::default();
        let read = self.read(key, value, &mut records);
        let (positions, front, is_readable) = match read {
            Ok(read) => read,
            Err(error) => return self.drop_chunk(key, &error.to_string(), found),
        };
        self.is_exact &= is_readable;
        if positions.end <= self.first() {
            return self.drop_chunk(key, "the chunk lies before the log's first record", found);
        }
        if self.last.as_ref().is_some_and(|last| positions.start < last.positions.end) {
            return self.drop_chunk(key, "the chunk overlaps the one before it", found);
        }
        let before = self.last.take();
        self.start = self.start.or(Some(positions.start));
        self.note_hole(before.as_ref().map(|before| before.positions.end), positions.start);
        let all: u64 = records.iter().map(bytes_of).sum();
        let kept: u64 =
            records.iter().filter(|record| record.seq() >= self.first()).map(bytes_of).sum();
        self.bytes += kept;
        match before {
            None => self.bytes_before = front.end_bytes.saturating_sub(kept),
            Some(before) if before.positions.end == positions.start && is_readable => {
                let expected = before.front.end_bytes.saturating_add(all);
                if front.end_bytes != expected {
                    let what = format!(
                        "the chunk says that the log had {} bytes, it had {expected}",
                        front.end_bytes
                    );
                    found.note(self.place(key), what, "it stays: only the log's limit goes by it");
                }
            }
            Some(_) => {}
        }
        self.last = Some(Chunk { positions, front });
    }

    /// Positions, front, and whether this build can look into the chunk.
    fn read(
        &self,
        key: &[u8],
        value: &[u8],
        records: &mut Found,
    ) -> Result<(Range<Seq>, Front, bool), DecodeError> {
        let malformed = || DecodeError::Malformed("the key is none of a chunk".to_owned());
        let last = chunk_last(key).ok_or_else(malformed)?;
        let front = chunk::front(value)?;
        let positions = front.positions(last).filter(|positions| positions.start < positions.end);
        let positions = positions.ok_or_else(malformed)?;
        let stored = Bytes::copy_from_slice(value);
        match chunk::read(&stored, last, Seq::ZERO, usize::MAX, records) {
            Ok(_) => Ok((positions, front, true)),
            Err(DecodeError::Compression { .. }) => Ok((positions, front, false)),
            Err(error) => Err(error),
        }
    }

    fn place(&self, key: &[u8]) -> Place {
        Place::Entry { name: self.name.clone(), key: without_space(key).to_vec() }
    }

    fn drop_chunk(&mut self, key: &[u8], what: &str, found: &mut Findings) {
        self.is_exact = false;
        found.note(self.place(key), what, "it is dropped");
        found.delete(key);
    }

    /// Between the end of what was there and the next chunk.
    fn note_hole(&mut self, end: Option<Seq>, start: Seq) {
        // Without a state the log begins where its chunks do.
        let from = end.or_else(|| self.state.map(|state| state.first)).unwrap_or(start);
        if from < start {
            self.holes.push(from..start);
        }
    }

    /// What the log says of itself, against what is there.
    pub(super) fn finish(mut self, now: Time, found: &mut Findings) {
        let mut state = self.told();
        let end = self.last.as_ref().map_or(state.first, |chunk| chunk.positions.end);
        self.note_hole(Some(end), state.next);
        let holes = std::mem::take(&mut self.holes);
        let is_whole = holes.is_empty();
        let slowest = self.cursors.iter().map(|(_, at)| *at).min();
        for hole in holes.into_iter().flat_map(|hole| uncovered(hole, &self.gaps)) {
            let count = hole.end.since(hole.start);
            let what = format!("records {} to {} are not there", hole.start, hole.end.get() - 1);
            found.note(Place::Name(self.name.clone()), what, "they become a gap of the log");
            let unread = slowest.map_or(0, |slowest| hole.end.since(slowest.max(hole.start)));
            state.dropped = state.dropped.saturating_add(unread);
            let gap = Gap { records: hole, dropped: count, at: now, reason: GapReason::Damaged };
            found.edits.push(gap.put(self.space));
        }
        if is_whole && self.is_exact {
            state.bytes = self.bytes;
        }
        self.check_state(state, found);
        for (name, at) in &self.cursors {
            if *at > state.next {
                let what = format!("cursor `{name}` is at {at}, the log ends at {}", state.next);
                let place = Place::Name(self.name.clone());
                found.note(place, what, format!("it goes to {}", state.next));
                let value = codec::encode(&state.next, 0).expect("a number always encodes");
                found.put(self.space.cursor_key(name), value);
            }
        }
    }

    /// The state as it is stored, not behind what the chunks say; what can be known without one.
    fn told(&self) -> LogState {
        let last = self.last.as_ref();
        let (end, bytes, newest) = last.map_or((Seq::ZERO, 0, None), |last| {
            (last.positions.end, last.front.end_bytes, Some(last.front.newest))
        });
        let Some(stored) = self.state else {
            let cursors = self.cursors.iter().map(|(_, at)| *at);
            let gaps = self.gaps.iter().map(|gap| gap.records.end);
            let next = cursors.chain(gaps).max().unwrap_or_default().max(end);
            return LogState {
                first: self.start.unwrap_or(next),
                next,
                bytes: bytes.saturating_sub(self.bytes_before),
                appended_bytes: bytes,
                dropped: 0,
                newest,
            };
        };
        LogState {
            next: stored.next.max(end),
            appended_bytes: stored.appended_bytes.max(bytes),
            newest: stored.newest.max(newest),
            ..stored
        }
    }

    fn check_state(&self, state: LogState, found: &mut Findings) {
        if self.state == Some(state) {
            return;
        }
        let is_dropped_only =
            self.state.is_some_and(|stored| LogState { dropped: state.dropped, ..stored } == state);
        if !is_dropped_only {
            let what = match &self.state {
                Some(stored) => format!(
                    "its state says records {} to {} and {} bytes, its chunks {} to {} and {}",
                    stored.first, stored.next, stored.bytes, state.first, state.next, state.bytes
                ),
                None => "its state is not there".to_owned(),
            };
            let repair = format!("its chunks say: it goes from {} to {}", state.first, state.next);
            found.note(Place::Name(self.name.clone()), what, repair);
        }
        found.put(self.space.log_state_key(), state.encode());
    }
}

/// What a record counts for in its log.
fn bytes_of(record: RecordRef<'_>) -> u64 {
    let headers: usize = record.headers().map(|(name, value)| name.len() + value.len()).sum();
    (record.key().len() + record.value().len() + headers) as u64 + 8
}

/// The parts of a hole that no gap tells of.
fn uncovered(hole: Range<Seq>, gaps: &[Gap]) -> Vec<Range<Seq>> {
    let mut left = vec![hole];
    for gap in gaps {
        left = left
            .into_iter()
            .flat_map(|part| {
                let front = part.start..part.end.min(gap.records.start);
                let back = part.start.max(gap.records.end)..part.end;
                [front, back]
            })
            .filter(|part| part.start < part.end)
            .collect();
    }
    left
}
