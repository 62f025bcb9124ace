//! Records in memory alone.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::reading::READ_BYTES;
use super::records::Found;
use super::{CHUNK_BYTES, Entry, RecordRef, Records, chunk};
use crate::watch::{Signal, Watch};
use crate::{Seq, Time};

/// What a chunk takes beside its records: its entry in the queue, what is shared of it, and what the
/// allocator adds to each of its parts.
const CHUNK_COST_BYTES: usize = 256;

/// A chunk is no more than this part of what all of them may take, as it is dropped whole.
const LEAST_CHUNKS: usize = 16;

/// A sequence of records with dense positions that no disk ever sees: read as a [`Log`](super::Log),
/// and gone with its last handle. Clones are handles of the same one.
///
/// It holds what was appended last, up to a limit in bytes; what is older is dropped, whoever has read
/// it or not, and [`Records::missing`] says so. The newest records stay whatever they take, so one may
/// overshoot the limit by its own size. Appending copies the entry once and waits for nobody but
/// other threads in this same call, or in one that finds chunks: no reader holds it while it
/// looks at records.
///
/// ```
/// use edge_db::{Entry, MemoryLog, Seq};
/// let log = MemoryLog::new(1 << 20);
/// log.append(&Entry::new("21.5").key("lab"));
/// let records = log.read(Seq::ZERO, 100);
/// assert_eq!((records.len(), records.next().get()), (1, 1));
/// assert!(records.iter().all(|record| record.value() == b"21.5"));
/// ```
#[derive(Clone)]
pub struct MemoryLog {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    signal: Arc<Signal>,
}

#[derive(Default)]
struct State {
    limit_bytes: usize,
    /// From the oldest on, none of them empty.
    chunks: VecDeque<Arc<Chunk>>,
    /// Of these chunks.
    bytes: usize,
    /// What the next chunk begins with.
    open: Open,
    /// Behind the newest record.
    next: Seq,
}

struct Chunk {
    first: Seq,
    found: Found,
    bytes: usize,
}

/// Records that are no chunk yet.
#[derive(Default)]
struct Open {
    body: Vec<u8>,
    ends: Vec<Ends>,
}

/// Where a record begins in the body, and where its parts end.
struct Ends {
    time: Time,
    start: usize,
    key: usize,
    headers: usize,
    value: usize,
}

impl fmt::Debug for MemoryLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLog").field("bounds", &self.bounds()).finish_non_exhaustive()
    }
}

impl MemoryLog {
    /// One that holds about so many bytes, with all that they take beside what was appended.
    #[must_use]
    pub fn new(limit_bytes: usize) -> MemoryLog {
        let state = Mutex::new(State { limit_bytes, ..State::default() });
        MemoryLog { inner: Arc::new(Inner { state, signal: Arc::default() }) }
    }

    /// From the next entry on it holds about so many bytes.
    pub fn set_limit_bytes(&self, limit_bytes: usize) {
        self.inner.state.lock().limit_bytes = limit_bytes;
    }

    /// Appends an entry.
    pub fn append(&self, entry: &Entry) -> Seq {
        let time = entry.time.unwrap_or_else(Time::now);
        let seq = self.inner.state.lock().append(entry, time);
        self.inner.signal.wake();
        seq
    }

    /// The oldest record that is kept, and the position that the next one will get. The first one
    /// ever had position 0, so that of the oldest is how many were dropped.
    #[must_use]
    pub fn bounds(&self) -> Range<Seq> {
        let state = self.inner.state.lock();
        state.first()..state.next
    }

    /// What all of it takes in memory, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let state = self.inner.state.lock();
        state.bytes + state.open.bytes()
    }

    /// The records from `from` on, at most `max_records` and about 4 MiB of them. None at the end.
    #[must_use]
    pub fn read(&self, from: Seq, max_records: usize) -> Records {
        let (first, chunks) = self.inner.state.lock().chunks_from(from, max_records);
        let start = from.max(first);
        let mut found = Found::default();
        for chunk in chunks {
            let len = chunk.found.len();
            let skipped = usize::try_from(start.since(chunk.first)).map_or(len, |at| at.min(len));
            let end = len.min(skipped.saturating_add(max_records - found.len()));
            found.share(&chunk.found, skipped..end);
        }
        let next = found.last().map_or(start, Seq::next);
        let missing = (from < start).then_some(from..start);
        Records { found, next, missing }
    }

    /// Wakes when something was appended.
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch::new(&self.inner.signal)
    }
}

impl State {
    fn append(&mut self, entry: &Entry, time: Time) -> Seq {
        let seq = self.next;
        self.next = seq.next();
        self.open.push(entry, time);
        if self.open.bytes() >= CHUNK_BYTES.min(self.limit_bytes / LEAST_CHUNKS) {
            self.close();
        }
        // The newest chunk stays.
        let kept = usize::from(self.open.ends.is_empty());
        while self.chunks.len() > kept && self.bytes + self.open.bytes() > self.limit_bytes {
            self.bytes -= self.chunks.pop_front().map_or(0, |chunk| chunk.bytes);
        }
        seq
    }

    fn first(&self) -> Seq {
        self.chunks.front().map_or_else(|| self.first_open(), |chunk| chunk.first)
    }

    fn first_open(&self) -> Seq {
        Seq::new(self.next.get() - self.open.ends.len() as u64)
    }

    /// What was appended since the last chunk becomes one.
    fn close(&mut self) {
        let first = self.first_open();
        let Open { body, ends } = std::mem::take(&mut self.open);
        // Of its own size, as it may be kept for long.
        let chunk = Chunk::new(first, body.into_boxed_slice().into(), &ends);
        self.bytes += chunk.bytes;
        self.chunks.push_back(Arc::new(chunk));
    }

    /// The oldest record that is kept, and the chunks of a read.
    fn chunks_from(&self, from: Seq, max_records: usize) -> (Seq, Vec<Arc<Chunk>>) {
        let start = from.max(self.first());
        let end = start.get().saturating_add(max_records as u64);
        let (mut wanted, mut bytes) = (Vec::new(), 0);
        let at = self.chunks.partition_point(|chunk| chunk.end() <= start);
        let is_enough = |first: Seq, bytes: usize| bytes >= READ_BYTES || first.get() >= end;
        for chunk in self.chunks.range(at..) {
            if is_enough(chunk.first, bytes) {
                return (self.first(), wanted);
            }
            bytes += chunk.bytes;
            wanted.push(Arc::clone(chunk));
        }
        let open = start.max(self.first_open());
        if open < self.next && !is_enough(open, bytes) {
            wanted.push(Arc::new(self.open.copy(self.first_open(), open)));
        }
        (self.first(), wanted)
    }
}

impl Chunk {
    /// Records whose parts end there in the body.
    fn new(first: Seq, body: Bytes, ends: &[Ends]) -> Chunk {
        let mut found = Found::default();
        found.begin(body.clone(), ends.len());
        let base = ends.first().map_or(0, |record| record.start);
        let part = |from: usize, to: usize| &body[from - base..to - base];
        for (seq, record) in (first.get()..).zip(ends) {
            let Ends { time, start, key, headers, value } = *record;
            let (seq, key_part) = (Seq::new(seq), part(start, key));
            let (headers, value) = (part(key, headers), part(headers, value));
            found.push(RecordRef { seq, time, key: key_part, headers, value });
        }
        let bytes = body.len() + ends.len() * Found::PLACE_BYTES + CHUNK_COST_BYTES;
        Chunk { first, found, bytes }
    }

    fn end(&self) -> Seq {
        self.first.plus(self.found.len() as u64)
    }
}

impl Open {
    fn bytes(&self) -> usize {
        self.body.len() + self.ends.len() * Found::PLACE_BYTES
    }

    fn push(&mut self, entry: &Entry, time: Time) {
        let start = self.body.len();
        self.body.extend_from_slice(&entry.key);
        let key = self.body.len();
        chunk::put_headers(&mut self.body, entry);
        let headers = self.body.len();
        self.body.extend_from_slice(&entry.value);
        self.ends.push(Ends { time, start, key, headers, value: self.body.len() });
    }

    /// Those from a position on, which is one of them. Were they taken instead, a reader who keeps up
    /// would make a chunk of each record.
    fn copy(&self, first: Seq, from: Seq) -> Chunk {
        let skipped = usize::try_from(from.since(first)).unwrap_or(usize::MAX);
        let ends = self.ends.get(skipped..).unwrap_or_default();
        let start = ends.first().map_or(0, |record| record.start);
        Chunk::new(from, Bytes::copy_from_slice(&self.body[start..]), ends)
    }
}
