//! How entries of one Log lie on disk, neighbours together.
//!
//! ```text
//! 1 byte    codec "chunk"
//! 1         packing: 1 parts as they are; 2, 3 the same, to be compressed by LZ4, zstd when they
//!           settle; 4, 5 compressed by LZ4, zstd
//! 4         number of records, little-endian, as all numbers here
//! 8         bytes of all records that the log ever had, up to the end of this chunk
//! 8 8       earliest and latest time, microseconds
//! 8         latest time of all records that the log ever had, up to the end of this chunk
//! 4         if compressed: length of the parts before
//! then one part for each commit:
//!   4       number of records in it
//!   4       bytes of them
//!   8       time of the first one, microseconds
//!   then for each record:
//!     varint  time minus the part's, zigzag
//!     varint  length of the key, then the key
//!     varint  length of the headers, then for each header: length, name, length, value
//!     varint  length of the value, then the value
//! ```
//!
//! A chunk is stored under the position of its last record. So chunks can become one whatever
//! was dropped in front of them: the last one's key and its sums up to its end hold for all.

mod front;
mod reading;

use bytes::Bytes;

use super::compression::Compression;
use super::record::Entry;
use crate::Time;
use crate::codec::{self, Codec, DecodeError};
use crate::varint::{put_bytes, put_varint};
use front::{FRONT_BYTES, malformed};
pub(crate) use front::{Front, Packing, front};
#[cfg(feature = "arrow")]
pub(crate) use reading::visit;
pub(crate) use reading::{read, take_header};

const PART_BYTES: usize = 4 + 4 + 8;

/// Longer parts are not compressed, so that a damaged length is told before it costs memory.
const PACKED_BYTES: usize = 1024 * 1024;

/// A chunk with one part that is being filled.
#[derive(Debug)]
pub(crate) struct ChunkBuilder {
    bytes: Vec<u8>,
    headers: Vec<u8>,
    count: u32,
    base: i64,
    earliest: i64,
    latest: i64,
    packing: Packing,
}

impl ChunkBuilder {
    /// A chunk to be compressed like this once it settles.
    pub(crate) fn new(wanted: Compression) -> ChunkBuilder {
        let packing = Packing::Plain(wanted);
        let mut bytes = codec::header(Codec::Chunk, packing.byte(), 1024);
        bytes.resize(FRONT_BYTES + PART_BYTES, 0);
        ChunkBuilder {
            bytes,
            packing,
            headers: Vec::new(),
            count: 0,
            base: 0,
            earliest: i64::MAX,
            latest: i64::MIN,
        }
    }

    /// Appends an entry, of this time.
    pub(crate) fn push(&mut self, entry: &Entry, time: Time) {
        let time = time.micros();
        if self.count == 0 {
            self.base = time;
        }
        self.count += 1;
        self.earliest = self.earliest.min(time);
        self.latest = self.latest.max(time);
        put_varint(&mut self.bytes, zigzag(time.wrapping_sub(self.base)));
        put_bytes(&mut self.bytes, &entry.key);
        self.headers.clear();
        put_headers(&mut self.headers, entry);
        put_bytes(&mut self.bytes, &self.headers);
        put_bytes(&mut self.bytes, &entry.value);
    }

    pub(crate) fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The chunk as it is stored; the log has had `end_bytes` with it, and times up to `newest`.
    pub(crate) fn finish(mut self, end_bytes: u64, newest: Time) -> Vec<u8> {
        let front = Front {
            packing: self.packing,
            count: self.count,
            end_bytes,
            earliest: Time::from_micros(self.earliest),
            latest: Time::from_micros(self.latest),
            newest,
        };
        front.put(&mut self.bytes);
        let records = self.bytes.len() - FRONT_BYTES - PART_BYTES;
        let records = u32::try_from(records).expect("a batch is far below 4 GiB");
        let part = &mut self.bytes[FRONT_BYTES..];
        part[..4].copy_from_slice(&self.count.to_le_bytes());
        part[4..8].copy_from_slice(&records.to_le_bytes());
        part[8..16].copy_from_slice(&self.base.to_le_bytes());
        self.bytes
    }
}

/// The headers of an entry, as a record has them.
pub(crate) fn put_headers(bytes: &mut Vec<u8>, entry: &Entry) {
    for (name, value) in &entry.headers {
        put_bytes(bytes, name.as_bytes());
        put_bytes(bytes, value);
    }
}

/// One chunk in place of several that follow one another and are not compressed, nor empty.
pub(crate) fn join<'a>(chunks: impl IntoIterator<Item = &'a Bytes>) -> Result<Bytes, DecodeError> {
    let mut whole: Option<Front> = None;
    let mut joined = Vec::new();
    for chunk in chunks {
        let front = front(chunk)?;
        if whole.is_none() {
            joined.extend_from_slice(&chunk[..FRONT_BYTES]);
        }
        whole = Some(whole.map_or(front, |whole| Front {
            count: whole.count + front.count,
            earliest: whole.earliest.min(front.earliest),
            latest: whole.latest.max(front.latest),
            ..front
        }));
        joined.extend_from_slice(&chunk[FRONT_BYTES..]);
    }
    whole.ok_or_else(|| malformed("front"))?.put(&mut joined);
    Ok(joined.into())
}

/// The chunk compressed as it wants to be; `None` if that does not make it smaller.
pub(crate) fn pack(stored: &[u8]) -> Option<Vec<u8>> {
    let front = front(stored).ok()?;
    let Packing::Plain(wanted) = front.packing else { return None };
    let parts = stored.get(FRONT_BYTES..).filter(|parts| parts.len() <= PACKED_BYTES)?;
    let packed = wanted.pack(parts)?;
    let mut chunk = Vec::with_capacity(FRONT_BYTES + 4 + packed.len());
    chunk.extend_from_slice(&stored[..FRONT_BYTES]);
    Front { packing: Packing::Packed(wanted), ..front }.put(&mut chunk);
    chunk.extend_from_slice(&u32::try_from(parts.len()).ok()?.to_le_bytes());
    chunk.extend_from_slice(&packed);
    (chunk.len() < stored.len()).then_some(chunk)
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}

#[cfg(test)]
mod tests;
