//! Decides what a group of batches writes: positions in logs, chunks, retention, cursors.
//!
//! No clock, no file, no thread: [`Ledger::admit`] takes a batch and either refuses it whole or
//! stages its writes; [`Ledger::take_writes`] gives what the group writes in one transaction. If
//! that fails the ledger is ahead of the disk and must not be used again.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use crate::batch::{Op, Receipt};
use crate::catalog::{Catalog, Kind, entries_below, system_error};
use crate::codec;
use crate::error::{ReadError, StoreError, WriteError};
use crate::log::CHUNK_BYTES;
use crate::log::chunk::ChunkBuilder;
use crate::log::{LogOptions, LogState, WhenFull};
use crate::space::Space;
use crate::store::Write;
use crate::view::View;
use crate::{Entry, Seq, Time};

/// A chunk as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredChunk {
    pub(crate) records: Range<Seq>,
    /// Bytes of all records that the log ever had, up to the end of this chunk.
    pub(crate) end_bytes: u64,
}

/// Reads a log's oldest chunks that are on disk, from the given position on; not all of them.
pub(crate) type OldestChunks<'a> =
    &'a mut dyn FnMut(Space, Seq) -> Result<Vec<StoredChunk>, StoreError>;

/// The state of all logs, and what the current group writes.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    logs: HashMap<Space, LogLedger>,
    writes: Vec<Write>,
}

#[derive(Debug)]
struct LogLedger {
    name: Arc<str>,
    options: LogOptions,
    state: LogState,
    cursors: BTreeMap<Arc<str>, Seq>,
    /// Records of this group that no finished chunk holds yet.
    staged: Option<ChunkBuilder>,
    changed: bool,
}

impl Ledger {
    /// The state of all logs as it is stored.
    pub(crate) fn read(view: &View, catalog: &Catalog) -> Result<Ledger, ReadError> {
        let mut ledger = Ledger::default();
        for (name, named) in catalog.iter() {
            let Kind::Log(options) = named.kind else { continue };
            let state = view.get(&named.space.log_state_key())?;
            let state = state.map(|stored| codec::decode::<LogState>(&stored, 0)).transpose();
            let state = state.map_err(system_error)?.unwrap_or_default();
            let cursors = read_cursors(view, named.space)?;
            ledger.restore(named.space, name.into(), options, state, cursors);
        }
        Ok(ledger)
    }

    /// Takes over a log as it was found.
    fn restore(
        &mut self,
        log: Space,
        name: Arc<str>,
        options: LogOptions,
        state: LogState,
        cursors: BTreeMap<Arc<str>, Seq>,
    ) {
        let ledger = LogLedger { name, options, state, cursors, staged: None, changed: false };
        self.logs.insert(log, ledger);
    }

    /// Stages a batch, or refuses it and stages nothing of it but the dropping of records that
    /// all cursors have passed.
    ///
    /// # Errors
    /// After [`WriteError::Store`] the group must be given up, for the batch may be staged in part.
    pub(crate) fn admit(
        &mut self,
        ops: Vec<Op>,
        oldest: OldestChunks<'_>,
    ) -> Result<Receipt, WriteError> {
        let appends = appends_of(&ops);
        self.check_cursors(&ops, &appends)?;
        // Those that may refuse come first: a refused batch must not have dropped anything unread.
        for policy in [WhenFull::Refuse, WhenFull::DropOldest] {
            for (log, append) in &appends {
                if self.log(*log).options.when_full == policy {
                    self.make_room(*log, append.bytes, oldest)?;
                }
            }
        }
        let appended = appends
            .iter()
            .map(|(log, append)| {
                let first = self.log(*log).state.next;
                (*log, first..first.plus(append.records))
            })
            .collect();
        for op in ops {
            self.stage(op, oldest)?;
        }
        Ok(Receipt { appended })
    }

    /// What the admitted batches write, in order; the ledger is ready for the next group.
    pub(crate) fn take_writes(&mut self) -> Vec<Write> {
        for (space, log) in &mut self.logs {
            log.finish_chunk(*space, &mut self.writes);
            if std::mem::take(&mut log.changed) {
                self.writes
                    .push(Write::Put(space.log_state_key().into(), log.state.encode().into()));
            }
        }
        std::mem::take(&mut self.writes)
    }

    /// What was staged in this group, but for chunks that are still being filled.
    pub(crate) fn staged(&self) -> &[Write] {
        &self.writes
    }

    fn log(&mut self, log: Space) -> &mut LogLedger {
        self.logs.get_mut(&log).expect("a log is registered before its handle is given out")
    }

    fn check_cursors(
        &mut self,
        ops: &[Op],
        appends: &BTreeMap<Space, Append>,
    ) -> Result<(), WriteError> {
        for op in ops {
            let Op::Advance { log, cursor, to } = op else { continue };
            let more = appends.get(log).map_or(0, |append| append.records);
            let log = self.log(*log);
            let end = log.state.next.plus(more);
            if *to > end {
                let (log, cursor) = (log.name.to_string(), cursor.to_string());
                return Err(WriteError::CursorBeyondEnd { log, cursor, to: *to, end });
            }
        }
        Ok(())
    }

    /// Drops old records until `more` bytes fit, as the log's policy allows. A group that is
    /// larger than the log may overshoot its limit by itself.
    fn make_room(
        &mut self,
        space: Space,
        more: u64,
        oldest: OldestChunks<'_>,
    ) -> Result<(), WriteError> {
        let log = self.log(space);
        let limit = log.options.max_bytes;
        if log.state.bytes + more <= limit {
            return Ok(());
        }
        let read_by_all = log.cursors.values().min().copied().unwrap_or(Seq::ZERO);
        let drop_unread = log.options.when_full == WhenFull::DropOldest;
        self.drop_chunks(space, oldest, |log, chunk| {
            log.state.bytes + more > limit && (drop_unread || chunk.records.end <= read_by_all)
        })?;
        let log = self.log(space);
        if log.state.bytes + more > limit && !drop_unread {
            return Err(WriteError::LogFull {
                log: log.name.to_string(),
                used_bytes: log.state.bytes,
                limit_bytes: limit,
            });
        }
        Ok(())
    }

    /// Drops the oldest chunks for as long as `wanted` says so.
    fn drop_chunks(
        &mut self,
        space: Space,
        oldest: OldestChunks<'_>,
        wanted: impl Fn(&LogLedger, &StoredChunk) -> bool,
    ) -> Result<(), WriteError> {
        let log = self.log(space);
        let before = log.state.first;
        'drop: loop {
            let chunks = oldest(space, log.state.first)?;
            if chunks.is_empty() {
                break;
            }
            for chunk in &chunks {
                if !wanted(log, chunk) {
                    break 'drop;
                }
                log.drop_chunk(chunk);
            }
        }
        let after = log.state.first;
        if after > before {
            // Chunks lie under their last record: what holds `after` stays.
            let (from, to) = (space.chunk_key(before), space.chunk_key(after));
            self.writes.push(Write::DeleteRange(from.into(), to.into()));
        }
        Ok(())
    }

    fn stage(&mut self, op: Op, oldest: OldestChunks<'_>) -> Result<(), WriteError> {
        match op {
            Op::Put { key, value } => self.writes.push(Write::Put(key.into(), value.into())),
            Op::Delete { key } => self.writes.push(Write::Delete(key.into())),
            Op::Append { log: space, entry, time } => {
                let log = self.logs.get_mut(&space).expect("registered, as its handle shows");
                log.append(space, &entry, time, &mut self.writes);
            }
            Op::Advance { log, cursor, to } => self.move_cursor(log, cursor, to),
            Op::OpenCursor { log, cursor } => {
                if !self.log(log).cursors.contains_key(&cursor) {
                    let first = self.log(log).state.first;
                    self.move_cursor(log, cursor, first);
                }
            }
            Op::RemoveCursor { log, cursor } => {
                self.writes.push(Write::Delete(log.cursor_key(&cursor).into()));
                self.log(log).cursors.remove(&cursor);
            }
            Op::DeleteRange { from, to } => {
                self.writes.push(Write::DeleteRange(from.into(), to.into()));
            }
            Op::Check { .. }
            | Op::CheckRange { .. }
            | Op::Update { .. }
            | Op::IndexRow { .. }
            | Op::Recount { .. }
            | Op::Hang { .. } => unreachable!("resolved before"),
            Op::Clear { space } => {
                let (from, to) = (space.prefix().to_vec(), space.next().prefix().to_vec());
                self.writes.push(Write::DeleteRange(from.into(), to.into()));
            }
            Op::Trim { log, before } => {
                self.drop_chunks(log, oldest, |_, chunk| chunk.records.end <= before)?;
            }
            Op::OpenLog { log, name, options } => match self.logs.get_mut(&log) {
                Some(log) => log.options = options,
                None => {
                    self.restore(log, name, options, LogState::default(), BTreeMap::new());
                    self.log(log).changed = true;
                }
            },
        }
        Ok(())
    }

    fn move_cursor(&mut self, log: Space, cursor: Arc<str>, to: Seq) {
        let value = codec::encode(&to, 0).expect("a number always encodes");
        self.writes.push(Write::Put(log.cursor_key(&cursor).into(), value.into()));
        self.log(log).cursors.insert(cursor, to);
    }
}

impl LogLedger {
    fn append(&mut self, space: Space, entry: &Entry, time: Time, writes: &mut Vec<Write>) {
        let chunk = self.staged.get_or_insert_with(ChunkBuilder::new);
        chunk.push(entry, time);
        self.state.next = self.state.next.next();
        self.state.bytes += stored_bytes(entry);
        self.state.appended_bytes += stored_bytes(entry);
        self.changed = true;
        if chunk.len_bytes() >= CHUNK_BYTES {
            self.finish_chunk(space, writes);
        }
    }

    fn finish_chunk(&mut self, space: Space, writes: &mut Vec<Write>) {
        if let Some(chunk) = self.staged.take() {
            let last = Seq::new(self.state.next.get() - 1);
            let chunk = chunk.finish(self.state.appended_bytes);
            writes.push(Write::Put(space.chunk_key(last).into(), chunk.into()));
        }
    }

    fn drop_chunk(&mut self, chunk: &StoredChunk) {
        let unread_from = self.cursors.values().min().copied().unwrap_or(chunk.records.end);
        let unread_from = unread_from.max(self.state.first);
        self.state.first = chunk.records.end;
        self.state.bytes = self.state.appended_bytes.saturating_sub(chunk.end_bytes);
        self.state.dropped += chunk.records.end.since(unread_from);
        self.changed = true;
    }
}

#[derive(Debug, Default, Clone, Copy)]
struct Append {
    records: u64,
    bytes: u64,
}

fn read_cursors(view: &View, log: Space) -> Result<BTreeMap<Arc<str>, Seq>, ReadError> {
    let prefix = log.cursor_key("");
    let mut cursors = BTreeMap::new();
    for entry in entries_below(view, &prefix)? {
        let (key, stored) = entry?;
        let name = String::from_utf8_lossy(&key[prefix.len()..]);
        cursors.insert(name.into(), codec::decode(&stored, 0).map_err(system_error)?);
    }
    Ok(cursors)
}

/// What a batch appends to each log.
fn appends_of(ops: &[Op]) -> BTreeMap<Space, Append> {
    let mut appends = BTreeMap::<Space, Append>::new();
    for op in ops {
        if let Op::Append { log, entry, .. } = op {
            let append = appends.entry(*log).or_default();
            append.records += 1;
            append.bytes += stored_bytes(entry);
        }
    }
    appends
}

/// What an entry counts for in its log, however it comes to lie on disk.
fn stored_bytes(entry: &Entry) -> u64 {
    /// About what the lengths, the time and the chunk's front take.
    const RECORD_BYTES: u64 = 8;
    entry.payload_bytes() as u64 + RECORD_BYTES
}
