//! Small neighbouring chunks of a Log become one on their way into the tree.

use std::ops::Range;

use bytes::Bytes;

use super::{CHUNK_BYTES, chunk, chunk_last};
use crate::Seq;
use crate::codec::{self, Codec};

/// Takes the entries of a memory table in the order of their keys, and gives them on.
#[derive(Debug, Default)]
pub(crate) struct Coalescer {
    /// Chunks of one log that follow one another.
    run: Vec<(Bytes, Bytes)>,
    bytes: usize,
    /// The position behind them.
    next: Seq,
}

impl Coalescer {
    /// Takes one entry; hands `write` what need not wait for the next one. `None` is a deleted
    /// value.
    pub(crate) fn push<E>(
        &mut self,
        key: &Bytes,
        value: Option<&Bytes>,
        mut write: impl FnMut(&[u8], Option<&[u8]>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some((value, positions)) = value.and_then(|value| Some((value, records(key, value)?)))
        else {
            self.flush(&mut write)?;
            return write(key, value.map(Bytes::as_ref));
        };
        let follows = self.run.last().is_some_and(|(last, _)| last.get(..4) == key.get(..4))
            && positions.start == self.next;
        if !follows || self.bytes + value.len() > CHUNK_BYTES {
            self.flush(&mut write)?;
        }
        self.bytes += value.len();
        self.next = positions.end;
        self.run.push((key.clone(), value.clone()));
        Ok(())
    }

    /// Hands on what still waits.
    pub(crate) fn flush<E>(
        &mut self,
        mut write: impl FnMut(&[u8], Option<&[u8]>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.bytes = 0;
        let chunks: Vec<Bytes> = self.run.iter().map(|(_, chunk)| chunk.clone()).collect();
        let joined = (chunks.len() > 1).then(|| chunk::join(&chunks).ok()).flatten();
        let Some((joined, (key, _))) = joined.zip(self.run.last()) else {
            return self.run.drain(..).try_for_each(|(key, chunk)| write(&key, Some(&chunk)));
        };
        // What they were stored under in memory the tree never sees.
        write(key, Some(&joined))?;
        self.run.clear();
        Ok(())
    }
}

/// The positions of a chunk's records; `None` if it is none.
fn records(key: &[u8], stored: &[u8]) -> Option<Range<Seq>> {
    if stored.first() != Some(&(Codec::Chunk as u8)) || stored.len() < codec::HEADER_BYTES {
        return None;
    }
    chunk::front(stored).ok()?.positions(chunk_last(key)?)
}
