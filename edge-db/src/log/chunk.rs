//! How entries of one Log lie on disk, neighbours together.
//!
//! ```text
//! 2 bytes   header (codec "chunk", version 0)
//! 4         number of records, little-endian, as all numbers here
//! 8         bytes of all records that the log ever had, up to the end of this chunk
//! 8 8       earliest and latest time, microseconds
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
//! was dropped in front of them: the last one's key and count of bytes hold for all.

use std::ops::Range;

use bytes::Bytes;

use super::record::{Entry, Record};
use crate::codec::{self, Codec, DecodeError};
use crate::varint::{put_bytes, put_varint, take_bytes, take_varint};
use crate::{Seq, Time};

const VERSION: u8 = 0;
const FRONT_BYTES: usize = codec::HEADER_BYTES + 4 + 3 * 8;
const PART_BYTES: usize = 4 + 4 + 8;

/// A chunk with one part that is being filled.
#[derive(Debug)]
pub(crate) struct ChunkBuilder {
    bytes: Vec<u8>,
    headers: Vec<u8>,
    count: u32,
    base: i64,
    earliest: i64,
    latest: i64,
}

impl ChunkBuilder {
    pub(crate) fn new() -> ChunkBuilder {
        let mut bytes = codec::header(Codec::Chunk, VERSION, 1024);
        bytes.resize(FRONT_BYTES + PART_BYTES, 0);
        ChunkBuilder {
            bytes,
            headers: Vec::new(),
            count: 0,
            base: 0,
            earliest: i64::MAX,
            latest: i64::MIN,
        }
    }

    /// Appends an entry; `time` stands in where it has none.
    pub(crate) fn push(&mut self, entry: &Entry, time: Time) {
        let time = entry.time.unwrap_or(time).micros();
        if self.count == 0 {
            self.base = time;
        }
        self.count += 1;
        self.earliest = self.earliest.min(time);
        self.latest = self.latest.max(time);
        put_varint(&mut self.bytes, zigzag(time.wrapping_sub(self.base)));
        put_bytes(&mut self.bytes, &entry.key);
        self.headers.clear();
        for (name, value) in &entry.headers {
            put_bytes(&mut self.headers, name.as_bytes());
            put_bytes(&mut self.headers, value);
        }
        put_bytes(&mut self.bytes, &self.headers);
        put_bytes(&mut self.bytes, &entry.value);
    }

    pub(crate) fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The chunk as it is stored; the log has had `end_bytes` with it.
    pub(crate) fn finish(mut self, end_bytes: u64) -> Vec<u8> {
        let front = Front {
            count: self.count,
            end_bytes,
            earliest: Time::from_micros(self.earliest),
            latest: Time::from_micros(self.latest),
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

/// What stands in front of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Front {
    pub(crate) count: u32,
    pub(crate) end_bytes: u64,
    pub(crate) earliest: Time,
    pub(crate) latest: Time,
}

impl Front {
    fn put(&self, chunk: &mut [u8]) {
        let front = &mut chunk[codec::HEADER_BYTES..FRONT_BYTES];
        front[..4].copy_from_slice(&self.count.to_le_bytes());
        front[4..12].copy_from_slice(&self.end_bytes.to_le_bytes());
        front[12..20].copy_from_slice(&self.earliest.micros().to_le_bytes());
        front[20..].copy_from_slice(&self.latest.micros().to_le_bytes());
    }

    fn take(body: &mut &[u8]) -> Option<Front> {
        Some(Front {
            count: take_array(body).map(u32::from_le_bytes)?,
            end_bytes: take_array(body).map(u64::from_le_bytes)?,
            earliest: Time::from_micros(take_array(body).map(i64::from_le_bytes)?),
            latest: Time::from_micros(take_array(body).map(i64::from_le_bytes)?),
        })
    }

    /// The positions of the chunk's records, the last of which it is stored under.
    pub(crate) fn positions(&self, last: Seq) -> Option<Range<Seq>> {
        let end = last.get().checked_add(1)?;
        let first = end.checked_sub(u64::from(self.count))?;
        Some(Seq::new(first)..Seq::new(end))
    }
}

/// What a stored chunk's front says.
pub(crate) fn front(stored: &[u8]) -> Result<Front, DecodeError> {
    let mut body = codec::body(stored, Codec::Chunk, VERSION)?;
    Front::take(&mut body).ok_or_else(|| malformed("front"))
}

/// One chunk in place of several that follow one another; none of them may be empty-handed.
pub(crate) fn join(chunks: &[Bytes]) -> Result<Vec<u8>, DecodeError> {
    let bytes = chunks.iter().map(Bytes::len).sum();
    let mut joined = codec::header(Codec::Chunk, VERSION, bytes);
    joined.resize(FRONT_BYTES, 0);
    let mut whole: Option<Front> = None;
    for chunk in chunks {
        let front = front(chunk)?;
        whole = Some(whole.map_or(front, |whole| Front {
            count: whole.count + front.count,
            end_bytes: front.end_bytes,
            earliest: whole.earliest.min(front.earliest),
            latest: whole.latest.max(front.latest),
        }));
        joined.extend_from_slice(&chunk[FRONT_BYTES..]);
    }
    whole.ok_or_else(|| malformed("front"))?.put(&mut joined);
    Ok(joined)
}

/// Appends to `out` the records of a stored chunk from `from` on, at most `most` of them.
///
/// The whole of a record is checked before it is handed out, headers included.
pub(crate) fn read(
    stored: &Bytes,
    last: Seq,
    from: Seq,
    most: usize,
    out: &mut Vec<Record>,
) -> Result<(), DecodeError> {
    let body = codec::shared_body(stored, Codec::Chunk, VERSION)?;
    let mut rest = body.as_ref();
    let front = Front::take(&mut rest).ok_or_else(|| malformed("front"))?;
    let positions = front.positions(last).ok_or_else(|| malformed("front"))?;
    let end = out.len().saturating_add(most);
    let mut seq = positions.start;
    while !rest.is_empty() {
        let (part, mut records) = take_part(&mut rest).ok_or_else(|| malformed("part"))?;
        let behind = seq.plus(u64::from(part.count));
        if behind <= from {
            seq = behind;
            continue;
        }
        while seq < behind {
            if out.len() == end {
                return Ok(());
            }
            let parts = take_record(&mut records).ok_or_else(|| malformed("record"))?;
            if seq >= from {
                out.push(Record {
                    seq,
                    time: Time::from_micros(part.base.wrapping_add(parts.time)),
                    key: body.slice_ref(parts.key),
                    headers: body.slice_ref(parts.headers),
                    value: body.slice_ref(parts.value),
                });
            }
            seq = seq.next();
        }
        if !records.is_empty() {
            return Err(malformed("part"));
        }
    }
    if seq == positions.end { Ok(()) } else { Err(malformed("end")) }
}

struct Part {
    count: u32,
    base: i64,
}

fn take_part<'a>(rest: &mut &'a [u8]) -> Option<(Part, &'a [u8])> {
    let count = take_array(rest).map(u32::from_le_bytes)?;
    let bytes = take_array(rest).map(u32::from_le_bytes)?;
    let base = take_array(rest).map(i64::from_le_bytes)?;
    let (records, tail) = rest.split_at_checked(usize::try_from(bytes).ok()?)?;
    *rest = tail;
    Some((Part { count, base }, records))
}

struct Parts<'a> {
    time: i64,
    key: &'a [u8],
    headers: &'a [u8],
    value: &'a [u8],
}

fn take_record<'a>(rest: &mut &'a [u8]) -> Option<Parts<'a>> {
    let time = unzigzag(take_varint(rest)?);
    let key = take_bytes(rest)?;
    let headers = take_bytes(rest)?;
    let mut unchecked = headers;
    while !unchecked.is_empty() {
        take_text(&mut unchecked)?;
        take_bytes(&mut unchecked)?;
    }
    let value = take_bytes(rest)?;
    Some(Parts { time, key, headers, value })
}

fn malformed(part: &str) -> DecodeError {
    DecodeError::Malformed(format!("chunk of a log is damaged in its {part}"))
}

fn take_array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

pub(super) fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(take_bytes(rest)?).ok()
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Time, key, headers, value.
    type Row = (i64, Vec<u8>, Vec<(String, Vec<u8>)>, Vec<u8>);

    fn entries() -> impl Strategy<Value = Vec<Row>> {
        let headers = vec((".{0,5}", vec(any::<u8>(), 0..4)), 0..3);
        vec((any::<i64>(), vec(any::<u8>(), 0..9), headers, vec(any::<u8>(), 0..200)), 1..20)
    }

    fn chunk_of(rows: &[Row]) -> Bytes {
        let mut builder = ChunkBuilder::new();
        for (time, key, headers, value) in rows {
            let mut entry = Entry::new(value.clone()).key(key.clone()).at(Time::from_micros(*time));
            for (name, value) in headers {
                entry = entry.header(name.clone(), value.clone());
            }
            builder.push(&entry, Time::from_micros(0));
        }
        builder.finish(7).into()
    }

    fn last_of(rows: &[Row]) -> Seq {
        Seq::new(rows.len() as u64 - 1)
    }

    proptest! {
        /// Chunks of commits, each alone and all joined.
        #[test]
        fn records_come_back_from_any_position(
            commits in vec(entries(), 1..4),
            from in 0usize..60,
            most in 0usize..60,
        ) {
            let rows = commits.concat();
            let chunks: Vec<Bytes> = commits.iter().map(|rows| chunk_of(rows)).collect();
            let stored = Bytes::from(join(&chunks).unwrap());
            let first = Seq::new(100);
            let last = Seq::new(99 + rows.len() as u64);
            let mut records = Vec::new();
            read(&stored, last, first.plus(from as u64), most, &mut records).unwrap();
            let expected: Vec<_> = (100..).zip(&rows).skip(from).take(most).collect();
            prop_assert_eq!(records.len(), expected.len());
            for (record, (seq, (time, key, headers, value))) in records.iter().zip(expected) {
                prop_assert_eq!(record.seq().get(), seq);
                prop_assert_eq!(record.time().micros(), *time);
                prop_assert_eq!(record.key(), key);
                prop_assert_eq!(record.value(), value);
                let found: Vec<_> =
                    record.headers().map(|(n, v)| (n.to_owned(), v.to_vec())).collect();
                prop_assert_eq!(&found, headers);
            }
            let front = front(&stored).unwrap();
            prop_assert_eq!(front.positions(last), Some(first..last.next()));
            prop_assert_eq!(front.end_bytes, 7);
            let times = rows.iter().map(|row| Time::from_micros(row.0));
            prop_assert_eq!(Some(front.earliest), times.clone().min());
            prop_assert_eq!(Some(front.latest), times.max());
        }

        #[test]
        fn damaged_chunks_never_panic(rows in entries(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let mut bytes = chunk_of(&rows).to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let mut out = Vec::new();
            let result = read(&bytes.into(), last_of(&rows), Seq::ZERO, usize::MAX, &mut out);
            // A flipped bit may make another valid chunk; what counts is that it returns.
            prop_assert!(result.is_err() || !out.is_empty());
        }

        #[test]
        fn a_chunk_cut_short_is_an_error(rows in entries(), cut in any::<prop::sample::Index>()) {
            let whole = chunk_of(&rows);
            let cut = whole.slice(..cut.index(whole.len()));
            prop_assert!(read(&cut, last_of(&rows), Seq::ZERO, usize::MAX, &mut Vec::new()).is_err());
        }
    }
}
