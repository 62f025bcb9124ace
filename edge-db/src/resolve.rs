//! Turns what a batch asks for into plain writes, in the commit's order: conditions, updates,
//! indexes, counts, change logs.
//!
//! Everything here sees the batches before this one, those of the same group too. A batch is
//! resolved whole before any of it is staged, so a refusal leaves nothing to undo.

use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use twox_hash::XxHash3_64;

use crate::batch::Op;
use crate::codec;
use crate::error::{ReadError, StoreError, WriteError};
use crate::memory::{Found, MemoryTable};
use crate::revision::Revision;
use crate::space::{Space, end_of_prefix, without_space};
use crate::store::{Store, Write};
use crate::upkeep::{IndexUpkeep, Upkeep, Upkeeps};
use crate::view::Range;
use crate::{Entry, Time};

/// In what hangs on a table, its own writes all have one revision.
const NOW: Revision = Revision::new(1);

/// Resolves one batch.
#[derive(Debug)]
pub(crate) struct Resolver<'a> {
    store: &'a Arc<Store>,
    upkeeps: &'a Upkeeps,
    /// What earlier batches of the group write.
    group: &'a Arc<MemoryTable>,
    /// What this batch writes, as far as it is resolved.
    batch: Arc<MemoryTable>,
    now: Time,
    resolved: Vec<Op>,
}

/// Whether these operations need resolving, or go on as they are.
pub(crate) fn is_plain(ops: &[Op], upkeeps: &Upkeeps) -> bool {
    let is_plain = |op: &Op| match op {
        Op::Check { .. } | Op::CheckRange { .. } | Op::Update { .. } => false,
        Op::IndexRow { .. } | Op::Recount { .. } => false,
        Op::Put { key, .. } | Op::Delete { key } | Op::DeleteRange { from: key, .. } => {
            upkeeps.is_empty() || Space::of(key).is_none_or(|space| upkeeps.get(space).is_none())
        }
        Op::Clear { space } => upkeeps.get(*space).is_none(),
        _ => true,
    };
    ops.iter().all(is_plain)
}

impl<'a> Resolver<'a> {
    pub(crate) fn new(
        store: &'a Arc<Store>,
        upkeeps: &'a Upkeeps,
        group: &'a Arc<MemoryTable>,
        now: Time,
    ) -> Resolver<'a> {
        let batch = Arc::new(MemoryTable::default());
        Resolver { store, upkeeps, group, batch, now, resolved: Vec::new() }
    }

    /// The batch as plain operations.
    pub(crate) fn resolve(mut self, ops: Vec<Op>) -> Result<Vec<Op>, WriteError> {
        for op in ops {
            self.op(op)?;
        }
        Ok(self.resolved)
    }

    fn op(&mut self, op: Op) -> Result<(), WriteError> {
        match op {
            Op::Put { key, value } => self.change(key, Some(value)),
            Op::Delete { key } => self.change(key, None),
            Op::Clear { space } => {
                let (from, to) = (space.prefix().to_vec(), space.next().prefix().to_vec());
                self.delete_range(from, to)
            }
            Op::DeleteRange { from, to } => self.delete_range(from, to),
            Op::Check { table, key, test } => {
                let stored = self.get(&key)?;
                let holds = call(&table, || test.0(stored))?;
                let holds = holds.map_err(|source| value_error(&table, source))?;
                if holds { Ok(()) } else { Err(WriteError::Conflict { table: table.to_string() }) }
            }
            Op::CheckRange { table, from, to, digest } => {
                if range_digest(self.range(&from, &to)?, self.now)? == digest {
                    Ok(())
                } else {
                    Err(WriteError::Conflict { table: table.to_string() })
                }
            }
            Op::Update { table, key, change } => {
                let stored = self.get(&key)?;
                let value = call(&table, || change.0(stored))??;
                self.change(key, value)
            }
            Op::Recount { space } => self.recount(space),
            Op::IndexRow { key, index } => self.index_row(&key, &index),
            other => {
                self.resolved.push(other);
                Ok(())
            }
        }
    }

    /// Puts or deletes a row, and sees to what hangs on its table.
    fn change(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) -> Result<(), WriteError> {
        let upkeep = Space::of(&key).and_then(|space| self.upkeeps.get(space));
        if let Some(upkeep) = upkeep {
            let before = self.get(&key)?;
            for index in &upkeep.indexes {
                self.index(upkeep, index, &key, before.as_deref(), value.as_deref())?;
            }
            let expires = value.as_deref().is_some_and(codec::expires);
            if upkeep.is_counted && expires {
                return Err(WriteError::CountedExpires { table: upkeep.table.to_string() });
            }
            if upkeep.is_counted && before.is_some() != value.is_some() {
                self.count(&key, value.is_some())?;
            }
            // Deleting what is not there changes nothing.
            if let Some(log) = upkeep.captured.filter(|_| before.is_some() || value.is_some()) {
                let entry = change_entry(&key, before, value.as_deref());
                self.resolved.push(Op::Append { log, entry, time: self.now });
            }
        }
        self.write(key, value);
        Ok(())
    }

    fn write(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        let shared = Bytes::from(key.clone());
        let (op, write) = match value {
            Some(value) => {
                let write = Write::Put(shared, value.clone().into());
                (Op::Put { key, value }, write)
            }
            None => (Op::Delete { key }, Write::Delete(shared)),
        };
        self.batch.apply(vec![write], NOW, NOW);
        self.resolved.push(op);
    }

    fn index(
        &mut self,
        upkeep: &Upkeep,
        index: &IndexUpkeep,
        key: &[u8],
        before: Option<&[u8]>,
        after: Option<&[u8]>,
    ) -> Result<(), WriteError> {
        let Some(extract) = &index.extract else {
            let (table, index) = (upkeep.table.to_string(), index.name.to_string());
            return Err(WriteError::IndexNotOpen { table, index });
        };
        let entry = |value: Option<&[u8]>| -> Result<Option<Vec<u8>>, WriteError> {
            let Some(value) = value else { return Ok(None) };
            let found = call(&upkeep.table, || extract(value))?;
            let found = found.map_err(|source| value_error(&upkeep.table, source))?;
            Ok(found.map(|found| index.space.key(&found)))
        };
        let (old, new) = (entry(before)?, entry(after)?);
        let row = without_space(key);
        if old != new
            && let Some(old) = &old
        {
            self.write([old, row].concat(), None);
        }
        let Some(new) = new else { return Ok(()) };
        if index.is_unique && self.is_taken(&new, row)? {
            let (table, index) = (upkeep.table.to_string(), index.name.to_string());
            return Err(WriteError::NotUnique { table, index });
        }
        // With the row's time of expiry, so that both go together; without, if the row stays now.
        let expires = after.and_then(|value| codec::Stored::parse(value).ok()?.expires);
        let did_expire = before.is_some_and(codec::expires);
        if old.as_ref() != Some(&new) || expires.is_some() || did_expire {
            let value = codec::header_until(codec::Codec::Raw, 0, expires);
            self.write([&new, row].concat(), Some(value));
        }
        Ok(())
    }

    /// Whether an index entry belongs to another row that is still there.
    fn is_taken(&self, entry: &[u8], row: &[u8]) -> Result<bool, WriteError> {
        let end = end_of_prefix(entry).unwrap_or_else(|| vec![0xFF; 8]);
        for other in self.range(entry, &end)? {
            let (key, value) = other?;
            if &key[entry.len()..] != row && !codec::is_expired(&value, self.now) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Gives a row that was there before its index the entry that it lacks.
    fn index_row(&mut self, key: &[u8], index: &str) -> Result<(), WriteError> {
        let Some(upkeep) = Space::of(key).and_then(|space| self.upkeeps.get(space)) else {
            return Ok(());
        };
        let Some(index) = upkeep.indexes.iter().find(|other| &*other.name == index) else {
            return Ok(());
        };
        let stored = self.get(key)?;
        self.index(upkeep, index, key, None, stored.as_deref())
    }

    fn count(&mut self, key: &[u8], more: bool) -> Result<(), WriteError> {
        let Some(space) = Space::of(key) else { return Ok(()) };
        let counter = space.count_key();
        // Not counted for the first time yet.
        let Some(stored) = self.get(&counter)? else { return Ok(()) };
        let count = codec::decode::<u64>(&stored, 0);
        let count = count.map_err(|source| value_error("a count", source))?;
        let count = if more { count + 1 } else { count.saturating_sub(1) };
        self.write(counter, Some(codec::number(count)));
        Ok(())
    }

    /// Counts a table anew.
    fn recount(&mut self, space: Space) -> Result<(), WriteError> {
        let mut count = 0;
        for row in self.range(&space.prefix(), &space.next().prefix())? {
            let (_, stored) = row?;
            if codec::expires(&stored) {
                let table = self.upkeeps.get(space).map_or("", |upkeep| &*upkeep.table);
                return Err(WriteError::CountedExpires { table: table.to_owned() });
            }
            count += 1;
        }
        self.write(space.count_key(), Some(codec::number(count)));
        Ok(())
    }

    fn delete_range(&mut self, from: Vec<u8>, to: Vec<u8>) -> Result<(), WriteError> {
        let has_upkeep = Space::of(&from).is_some_and(|space| self.upkeeps.get(space).is_some());
        if has_upkeep {
            // Each row may hang on something else: one by one.
            let rows = self.range(&from, &to)?;
            let keys = rows.map(|row| row.map(|(key, _)| key)).collect::<Result<Vec<_>, _>>()?;
            return keys.into_iter().try_for_each(|key| self.change(key.into(), None));
        }
        let (first, end) = (from.clone().into(), to.clone().into());
        self.batch.apply(vec![Write::DeleteRange(first, end)], NOW, NOW);
        self.resolved.push(Op::DeleteRange { from, to });
        Ok(())
    }

    /// What is stored and has not expired.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, WriteError> {
        let mut stored = None;
        for table in [&self.batch, self.group] {
            match table.get(key, || NOW) {
                Found::Value(value) => stored = Some(Some(value)),
                Found::Deleted => stored = Some(None),
                Found::Below => continue,
            }
            break;
        }
        let stored = match stored {
            Some(stored) => stored,
            None => self.store.get(key).map_err(store_error)?,
        };
        Ok(stored.filter(|stored| !codec::is_expired(stored, self.now)))
    }

    fn range(&self, from: &[u8], to: &[u8]) -> Result<Range, WriteError> {
        let view = self.store.view().map_err(store_error)?;
        let above = [Arc::clone(&self.batch), Arc::clone(self.group)];
        Ok(view.range_below(&above, NOW, Bound::Included(from), Bound::Excluded(to))?)
    }
}

/// What tells one content of a range from another; what has expired is none of it.
pub(crate) fn range_digest(range: Range, now: Time) -> Result<u64, StoreError> {
    let mut digest = 0;
    for entry in range {
        let (key, value) = entry?;
        if codec::is_expired(&value, now) {
            continue;
        }
        for part in [&key, &value] {
            digest = XxHash3_64::oneshot_with_seed(digest, part);
        }
    }
    Ok(digest)
}

/// The record of a change log, which [`Table::change_of`](crate::Table::change_of) reads: its key is
/// the row's, encoded; its value the row's as it is stored, of a delete the one that goes.
fn change_entry(key: &[u8], before: Option<Bytes>, value: Option<&[u8]>) -> Entry {
    let (kind, is_update): (&'static [u8], _) = match value {
        Some(_) => (b"put", before.is_some()),
        None => (b"delete", false),
    };
    let entry = Entry::new(value.map(Bytes::copy_from_slice).or(before).unwrap_or_default());
    let entry = entry.key(Bytes::copy_from_slice(without_space(key)));
    let entry = entry.header("change", Bytes::from_static(kind));
    if is_update { entry.header("update", Bytes::new()) } else { entry }
}

/// Runs a function that the application gave, which must not end the committer.
fn call<T>(table: &str, work: impl FnOnce() -> T) -> Result<T, WriteError> {
    catch_unwind(AssertUnwindSafe(work))
        .map_err(|_panic| WriteError::Panicked { table: table.to_owned() })
}

fn value_error(table: &str, source: codec::DecodeError) -> WriteError {
    WriteError::Value { table: table.to_owned(), source }
}

fn store_error(error: ReadError) -> WriteError {
    match error {
        ReadError::Store(error) => WriteError::Store(error),
        ReadError::Closed => WriteError::Closed,
        other => WriteError::Store(StoreError::new("read", other)),
    }
}
