//! The rows of one side of a join that wait for partners.

use std::collections::{BTreeMap, HashMap};

use arrow::array::RecordBatch;
use arrow::compute::{concat_batches, interleave_record_batch};
use arrow::datatypes::SchemaRef;

use super::chunk::Chunk;
use crate::error::OperatorError;

/// So many neighbours of one level become one chunk of the next. Rows are written again at most
/// once for each level.
const MERGED: usize = 8;

/// Chunks of 512 rows and more stay as they are: few enough of them hold all that may wait.
const TOP_LEVEL: u32 = 3;

/// What an entry of the index takes besides its key, with what the tables leave free.
const ENTRY_BYTES: usize = 48;

/// A row that waits: its time, and its number among all rows of its side.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub(super) time: i64,
    pub(super) number: u64,
}

#[derive(Debug)]
pub(super) struct Side {
    pub(super) schema: SchemaRef,
    /// By the number of their first row.
    pub(super) chunks: BTreeMap<u64, Chunk>,
    /// Chunks that are in the store and shall go from it.
    pub(super) gone: Vec<u64>,
    /// For each key the rows that wait, in the order of their times.
    by_key: HashMap<Box<[u8]>, Vec<Held>>,
    indexed: usize,
    key_bytes: usize,
    /// Rows whose chunk has gone, and that may still be in the index.
    dropped: usize,
}

impl Side {
    pub(super) fn new(schema: &SchemaRef) -> Side {
        Side {
            schema: SchemaRef::clone(schema),
            chunks: BTreeMap::new(),
            gone: Vec::new(),
            by_key: HashMap::new(),
            indexed: 0,
            key_bytes: 0,
            dropped: 0,
        }
    }

    /// Rows that are kept.
    pub(super) fn len(&self) -> usize {
        self.chunks.values().map(Chunk::len).sum()
    }

    pub(super) fn bytes(&self) -> usize {
        let chunks: usize = self.chunks.values().map(Chunk::bytes).sum();
        chunks + self.key_bytes + self.indexed * ENTRY_BYTES
    }

    /// The rows of a key whose times lie between these two, bounds included.
    pub(super) fn between(&self, key: &[u8], from: i64, to: i64) -> &[Held] {
        let Some(held) = self.by_key.get(key) else { return &[] };
        let start = held.partition_point(|held| held.time < from);
        let end = held.partition_point(|held| held.time <= to);
        held.get(start..end).unwrap_or_default()
    }

    /// These rows, by their numbers.
    pub(super) fn rows(
        &self,
        numbers: impl Iterator<Item = u64>,
    ) -> Result<RecordBatch, OperatorError> {
        let (mut batches, mut places, mut found) = (Vec::new(), Vec::new(), BTreeMap::new());
        for number in numbers {
            let chunk = self.chunks.range(..=number).next_back();
            let (first, chunk) = chunk.expect("rows that wait lie in a chunk");
            let batch = *found.entry(*first).or_insert_with(|| {
                batches.push(&chunk.rows);
                batches.len() - 1
            });
            let row = usize::try_from(number - first).expect("chunks have some thousand rows");
            places.push((batch, row));
        }
        match batches.is_empty() {
            true => Ok(RecordBatch::new_empty(SchemaRef::clone(&self.schema))),
            false => Ok(interleave_record_batch(&batches, &places)?),
        }
    }

    /// Adds rows; returns the number of the first of them.
    pub(super) fn add(
        &mut self,
        rows: RecordBatch,
        keys: &[Option<Box<[u8]>>],
        times: &[i64],
    ) -> Result<u64, OperatorError> {
        let last = self.chunks.last_key_value();
        let first = last.map_or(0, |(first, chunk)| first + chunk.len() as u64);
        if times.is_empty() {
            return Ok(first);
        }
        self.insert(first, Chunk::new(rows, times.to_vec()), keys);
        self.merge()?;
        Ok(first)
    }

    /// Takes in a chunk under the number of its first row.
    pub(super) fn insert(&mut self, first: u64, chunk: Chunk, keys: &[Option<Box<[u8]>>]) {
        for ((number, time), key) in (first..).zip(&chunk.times).zip(keys) {
            let Some(key) = key else { continue };
            let held = self.by_key.entry(key.clone()).or_insert_with(|| {
                self.key_bytes += key.len() + ENTRY_BYTES;
                Vec::new()
            });
            let place = held.partition_point(|other| other.time <= *time);
            held.insert(place, Held { time: *time, number });
            self.indexed += 1;
        }
        self.chunks.insert(first, chunk);
    }

    /// Says that it has changed whether this row has a partner.
    pub(super) fn touch(&mut self, number: u64) {
        if let Some((_, chunk)) = self.chunks.range_mut(..=number).next_back() {
            chunk.is_touched = true;
        }
    }

    /// Drops chunks whose rows all lie in front of `expired`. Single rows that do so and stay are
    /// in no answer any more, as no partner comes that would look for them.
    pub(super) fn forget(&mut self, expired: i64) {
        let (gone, mut dropped) = (&mut self.gone, 0);
        self.chunks.retain(|first, chunk| {
            let is_kept = chunk.latest() >= expired;
            if !is_kept {
                dropped += chunk.len();
                gone.extend((chunk.is_stored).then_some(*first));
            }
            is_kept
        });
        self.dropped += dropped;
        // The index is swept when half of it may go, so that each row pays for few looks at it.
        if self.dropped * 2 < self.indexed || self.dropped == 0 {
            return;
        }
        self.dropped = 0;
        self.by_key.retain(|key, held| {
            let count = held.len();
            held.drain(..held.partition_point(|held| held.time < expired));
            self.indexed -= count - held.len();
            self.key_bytes -= if held.is_empty() { key.len() + ENTRY_BYTES } else { 0 };
            !held.is_empty()
        });
    }

    /// Makes few chunks of many, so that rows which come one by one do not take a batch each.
    fn merge(&mut self) -> Result<(), OperatorError> {
        loop {
            let mut tail: Vec<u64> = Vec::with_capacity(MERGED);
            let mut next: Option<(u64, u32)> = None;
            for (first, chunk) in self.chunks.iter().rev().take(MERGED) {
                let end = first + chunk.len() as u64;
                if next.is_some_and(|next| next != (end, chunk.level())) {
                    break;
                }
                next = Some((*first, chunk.level()));
                tail.push(*first);
            }
            if tail.len() < MERGED || next.is_none_or(|(_, level)| level >= TOP_LEVEL) {
                return Ok(());
            }
            let chunks: Vec<_> =
                tail.iter().rev().filter_map(|first| self.chunks.remove(first)).collect();
            let rows = concat_batches(&self.schema, chunks.iter().map(|chunk| &chunk.rows))?;
            let times = chunks.iter().flat_map(|chunk| chunk.times.iter().copied()).collect();
            let mut merged = Chunk::new(rows, times);
            merged.is_touched =
                chunks.iter().any(|chunk| chunk.is_touched || chunk.has_stored_flags);
            let stored = tail.iter().rev().zip(&chunks).filter(|(_, chunk)| chunk.is_stored);
            self.gone.extend(stored.map(|(first, _)| *first));
            let first = tail.last().copied().unwrap_or_default();
            self.chunks.insert(first, merged);
        }
    }
}
