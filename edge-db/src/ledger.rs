//! Decides what a group of batches writes: positions in logs, chunks, retention, cursors.
//!
//! No clock, no file, no thread: [`Ledger::begin`] is told the time; [`Ledger::admit`] takes a
//! batch and either refuses it whole or stages its writes; [`Ledger::take_writes`] gives what the
//! group writes in one transaction. If that fails the ledger is ahead of the disk and must not be
//! used again.

mod account;
mod retention;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::batch::{Op, Receipt};
use crate::catalog::{Catalog, Kind, entries_below, system_error};
use crate::codec;
use crate::error::{ReadError, WriteError};
use crate::log::gap::Gaps;
use crate::log::{LogState, WhenFull};
use crate::space::Space;
use crate::store::{Fullness, Write};
use crate::view::View;
use crate::{Seq, Time};
use account::{Account, stored_bytes};
pub(crate) use account::{OldestChunks, StoredChunk};

/// The state of all logs, and what the current group writes.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    logs: HashMap<Space, Account>,
    /// When the current group was begun.
    now: Time,
    /// What the current group may not add to.
    full: Option<Fullness>,
    writes: Vec<Write>,
}

impl Ledger {
    /// The state of all logs as it is stored.
    pub(crate) fn read(view: &View, catalog: &Catalog) -> Result<Ledger, ReadError> {
        let mut ledger = Ledger::default();
        for (name, named) in catalog.iter() {
            let Kind::Log(options) = named.kind else { continue };
            let state = view.get(&named.space.log_state_key())?;
            let state = state.map(|stored| codec::decode::<LogState>(&stored, 0)).transpose();
            let mut log = Account::new(named.space, name.into(), options);
            log.state = state.map_err(system_error)?.unwrap_or_default();
            log.cursors = read_cursors(view, named.space)?;
            log.gaps = Gaps::read(view, named.space)?;
            ledger.logs.insert(named.space, log);
        }
        Ok(ledger)
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
        if let Some(full) = self.full
            && self.grows(&ops, &appends)
        {
            return Err(full.into());
        }
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
        Ok(Receipt { appended, ..Receipt::default() })
    }

    /// What the admitted batches write, in order; the ledger is ready for the next group.
    pub(crate) fn take_writes(&mut self) -> Vec<Write> {
        for (space, log) in &mut self.logs {
            log.finish_chunk(&mut self.writes);
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

    fn log(&mut self, log: Space) -> &mut Account {
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

    /// Whether a batch takes space that it does not free itself.
    fn grows(&mut self, ops: &[Op], appends: &BTreeMap<Space, Append>) -> bool {
        let puts = |op: &Op| matches!(op, Op::Put { key, .. } if Space::is_users(key));
        ops.iter().any(puts)
            || appends.iter().any(|(log, append)| {
                let log = self.log(*log);
                log.options.when_full == WhenFull::Refuse || log.state.bytes < append.bytes
            })
    }

    fn stage(&mut self, op: Op, oldest: OldestChunks<'_>) -> Result<(), WriteError> {
        match op {
            Op::Put { key, value } => self.writes.push(Write::Put(key.into(), value.into())),
            Op::Delete { key } => self.writes.push(Write::Delete(key.into())),
            Op::Append { log: space, entry, time } => {
                let log = self.logs.get_mut(&space).expect("registered, as its handle shows");
                log.append(&entry, time, &mut self.writes);
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
            Op::Trim { log, before } => self.trim(log, before, oldest)?,
            Op::OpenLog { log, name, options } => match self.logs.get_mut(&log) {
                Some(log) => log.change(options, &mut self.writes),
                None => {
                    let mut account = Account::new(log, name, options);
                    account.changed = true;
                    self.logs.insert(log, account);
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

#[cfg(test)]
mod tests;
