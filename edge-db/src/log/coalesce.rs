//! Small neighbouring chunks of a Log become one on their way into the tree, and are compressed
//! where the log wants that.

use bytes::Bytes;

use super::chunk::{Front, Packing};
use super::{CHUNK_BYTES, chunk, chunk_last};
use crate::Seq;
use crate::codec::{self, Codec};

/// So much of what is to be compressed is joined: it may shrink to a chunk, and who reads one
/// record of it decompresses no more.
const PACKED_RUN_BYTES: usize = 4 * CHUNK_BYTES;

/// Takes the entries of a memory table in the order of their keys, and gives them on.
#[derive(Debug, Default)]
pub(crate) struct Coalescer {
    /// Chunks of one log that follow one another and want the same packing.
    run: Vec<(Bytes, Bytes)>,
    bytes: usize,
    packing: Option<Packing>,
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
        let chunk = value.and_then(|value| Some((value, front(value)?, chunk_last(key)?)));
        let positions = chunk.and_then(|(_, front, last)| front.positions(last));
        let Some(((value, front, _), positions)) = chunk.zip(positions) else {
            self.flush(&mut write)?;
            return write(key, value.map(Bytes::as_ref));
        };
        let follows = self.run.last().is_some_and(|(last, _)| last.get(..4) == key.get(..4))
            && positions.start == self.next
            && self.packing == Some(front.packing);
        if !follows || self.bytes + value.len() > longest_run(front.packing) {
            self.flush(&mut write)?;
        }
        self.bytes += value.len();
        self.packing = Some(front.packing);
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
        write_run(&self.run, &mut |key, chunk| write(key, Some(chunk)))?;
        self.run.clear();
        Ok(())
    }
}

/// Writes a run as one chunk if that fits, else as two, and so on. What its chunks were stored
/// under in memory the tree never sees.
fn write_run<E>(
    run: &[(Bytes, Bytes)],
    write: &mut impl FnMut(&[u8], &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let (key, joined) = match run {
        [] => return Ok(()),
        [(key, chunk)] => (key, Ok(chunk.clone())),
        [.., (key, _)] => (key, chunk::join(run.iter().map(|(_, chunk)| chunk))),
    };
    let Ok(joined) = joined else {
        return run.iter().try_for_each(|(key, chunk)| write(key, chunk));
    };
    let packed = chunk::pack(&joined);
    let smallest = packed.as_deref().unwrap_or(&joined);
    if run.len() == 1 || smallest.len() <= CHUNK_BYTES {
        return write(key, smallest);
    }
    let half = joined.len() / 2;
    let sums = run.iter().scan(0, |sum, (_, chunk)| {
        *sum += chunk.len();
        Some(*sum)
    });
    let (front, back) = run.split_at(sums.take_while(|sum| *sum <= half).count().max(1));
    write_run(front, write)?;
    write_run(back, write)
}

fn longest_run(packing: Packing) -> usize {
    match packing {
        Packing::Plain(wanted) if wanted.is_packing() => PACKED_RUN_BYTES,
        Packing::Plain(_) => CHUNK_BYTES,
        // What is compressed already is not joined.
        Packing::Packed(_) => 0,
    }
}

/// What a chunk's front says; `None` if it is none.
fn front(stored: &[u8]) -> Option<Front> {
    if stored.first() != Some(&(Codec::Chunk as u8)) || stored.len() < codec::HEADER_BYTES {
        return None;
    }
    chunk::front(stored).ok()
}

#[cfg(test)]
mod tests;
