//! A run of chunks settles as few chunks that hold the same records, none longer than a chunk
//! may be, whatever is in it.

use std::convert::Infallible;

use super::*;
use crate::log::Compression;
use crate::log::chunk::ChunkBuilder;
use crate::log::records::Found;
use crate::space::Space;
use crate::{Entry, Time};

const LOG: Space = Space::FIRST;

/// Chunks of one record each, their values as given.
fn chunks(values: &[Vec<u8>], wanted: Compression) -> Vec<(Bytes, Bytes)> {
    let chunk = |(seq, value): (u64, &Vec<u8>)| {
        let mut builder = ChunkBuilder::new(wanted);
        builder.push(&Entry::new(value.clone()), Time::from_micros(0));
        let chunk = builder.finish(seq + 1, Time::from_micros(0));
        (LOG.chunk_key(Seq::new(seq)).into(), chunk.into())
    };
    (0..).zip(values).map(chunk).collect()
}

fn settle(chunks: &[(Bytes, Bytes)]) -> Vec<(Bytes, Bytes)> {
    let mut settled = Vec::new();
    let mut write = |key: &[u8], value: Option<&[u8]>| {
        let value = value.map(Bytes::copy_from_slice).expect("nothing was deleted");
        settled.push((Bytes::copy_from_slice(key), value));
        Ok::<_, Infallible>(())
    };
    let mut coalescer = Coalescer::default();
    chunks.iter().for_each(|(key, value)| coalescer.push(key, Some(value), &mut write).unwrap());
    coalescer.flush(&mut write).unwrap();
    settled
}

fn values_of(settled: &[(Bytes, Bytes)]) -> Vec<Vec<u8>> {
    let mut records = Found::default();
    for (key, chunk) in settled {
        let last = chunk_last(key).unwrap();
        chunk::read(chunk, last, Seq::ZERO, usize::MAX, &mut records).unwrap();
    }
    records.iter().map(|record| record.value().to_vec()).collect()
}

/// Bytes that do not compress, from a xorshift generator.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed * 2 + 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[4]
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

#[test]
fn chunks_that_shrink_settle_many_together() {
    let values = vec![vec![7; 1000]; 1000];
    for wanted in [Compression::None, Compression::Lz4, Compression::Zstd] {
        let settled = settle(&chunks(&values, wanted));
        assert_eq!(values_of(&settled), values);
        let expected = if wanted.is_packing() { 5 } else { 18 };
        assert_eq!(settled.len(), expected, "{wanted:?}");
    }
}

#[test]
fn chunks_that_do_not_shrink_settle_as_long_as_others() {
    let values: Vec<_> = (0..1000).map(|seed| noise(seed, 1000)).collect();
    for wanted in [Compression::None, Compression::Lz4, Compression::Zstd] {
        let settled = settle(&chunks(&values, wanted));
        assert_eq!(values_of(&settled), values);
        assert!(settled.iter().all(|(_, chunk)| chunk.len() <= CHUNK_BYTES), "{wanted:?}");
        assert!(settled.len() <= 24, "{wanted:?}: {} chunks", settled.len());
    }
}

#[test]
fn half_of_what_shrinks_by_half_fits_into_a_chunk() {
    let half = |seed| [noise(seed, 450), vec![7; 550]].concat();
    let values: Vec<_> = (0..1000).map(half).collect();
    for wanted in [Compression::Lz4, Compression::Zstd].into_iter().filter(|w| w.is_packing()) {
        let settled = settle(&chunks(&values, wanted));
        assert_eq!(values_of(&settled), values);
        assert!(settled.iter().all(|(_, chunk)| chunk.len() <= CHUNK_BYTES));
        assert!(settled.len() <= 10, "{wanted:?}: {} chunks", settled.len());
    }
}

#[test]
fn chunks_that_want_different_compression_are_not_joined() {
    let values = vec![vec![7; 1000]; 4];
    let mut mixed = chunks(&values, Compression::None);
    mixed.splice(2.., chunks(&values, Compression::Zstd).split_off(2));
    let settled = settle(&mixed);
    assert_eq!(settled.len(), 2);
    assert_eq!(values_of(&settled), values);
}

#[test]
fn record_longer_than_a_chunk_settles_alone() {
    let values = vec![vec![7; 10], vec![8; 500_000], vec![9; 10]];
    for wanted in [Compression::None, Compression::Lz4, Compression::Zstd] {
        let settled = settle(&chunks(&values, wanted));
        assert_eq!(settled.len(), 3);
        assert_eq!(values_of(&settled), values);
    }
}
