//! How the entries that one commit appends to one Log lie on disk.
//!
//! ```text
//! 2 bytes   header (codec "chunk", version 0)
//! 4         number of records, little-endian
//! 8 8 8     time of the first record, earliest and latest time, little-endian microseconds
//! then for each record:
//!   varint  time minus the first record's time, zigzag
//!   varint  length of the key, then the key
//!   varint  length of the headers, then for each header: length, name, length, value
//!   varint  length of the value, then the value
//! ```
//!
//! The position of the first record is the key that the chunk is stored under.

use bytes::Bytes;

use super::record::{Entry, Record};
use crate::codec::{self, Codec, DecodeError};
use crate::{Seq, Time};

const VERSION: u8 = 0;
const FRONT_BYTES: usize = codec::HEADER_BYTES + 4 + 3 * 8;

/// A chunk that is being filled.
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
        bytes.resize(FRONT_BYTES, 0);
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

    /// The chunk as it is stored.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        let mut front = Vec::with_capacity(FRONT_BYTES);
        front.extend_from_slice(&self.count.to_le_bytes());
        for time in [self.base, self.earliest, self.latest] {
            front.extend_from_slice(&time.to_le_bytes());
        }
        self.bytes[codec::HEADER_BYTES..FRONT_BYTES].copy_from_slice(&front);
        self.bytes
    }
}

/// How many records a stored chunk holds, read from its front alone.
pub(crate) fn count(stored: &[u8]) -> Result<u64, DecodeError> {
    let mut body = codec::body(stored, Codec::Chunk, VERSION)?;
    let count = take_array(&mut body).map(u32::from_le_bytes);
    count.map(u64::from).ok_or_else(|| malformed("front"))
}

/// Appends to `out` the records of a stored chunk from `from` on, at most `most` of them.
///
/// The whole of a record is checked before it is handed out, headers included.
pub(crate) fn read(
    stored: &Bytes,
    first: Seq,
    from: Seq,
    most: usize,
    out: &mut Vec<Record>,
) -> Result<(), DecodeError> {
    let body = codec::shared_body(stored, Codec::Chunk, VERSION)?;
    let mut rest = body.as_ref();
    let count = take_array(&mut rest).map(u32::from_le_bytes).ok_or_else(|| malformed("front"))?;
    let [base, _earliest, _latest] =
        [(); 3].map(|()| take_array(&mut rest).map(i64::from_le_bytes));
    let base = base.ok_or_else(|| malformed("front"))?;
    let end = out.len().saturating_add(most);
    for position in 0..u64::from(count) {
        if out.len() == end {
            return Ok(());
        }
        let parts = take_record(&mut rest).ok_or_else(|| malformed("record"))?;
        let seq = first.plus(position);
        if seq >= from {
            out.push(Record {
                seq,
                time: Time::from_micros(base.wrapping_add(parts.time)),
                key: body.slice_ref(parts.key),
                headers: body.slice_ref(parts.headers),
                value: body.slice_ref(parts.value),
            });
        }
    }
    if rest.is_empty() { Ok(()) } else { Err(malformed("end")) }
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

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7F) as u8 | 0x80);
        number >>= 7;
    }
    out.push((number & 0x7F) as u8);
}

fn take_array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

pub(super) fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_varint(rest)?).ok()?;
    let (head, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(head)
}

pub(super) fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(take_bytes(rest)?).ok()
}

fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, tail) = rest.split_first()?;
        *rest = tail;
        number |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
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
        builder.finish().into()
    }

    proptest! {
        #[test]
        fn records_come_back_from_any_position(rows in entries(), from in 0usize..25, most in 0usize..25) {
            let stored = chunk_of(&rows);
            let first = Seq::new(100);
            let mut records = Vec::new();
            read(&stored, first, first.plus(from as u64), most, &mut records).unwrap();
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
            prop_assert_eq!(count(&stored), Ok(rows.len() as u64));
        }

        #[test]
        fn damaged_chunks_never_panic(rows in entries(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let mut bytes = chunk_of(&rows).to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let mut out = Vec::new();
            let result = read(&bytes.into(), Seq::ZERO, Seq::ZERO, usize::MAX, &mut out);
            // A flipped bit may make another valid chunk; what counts is that it returns.
            prop_assert!(result.is_err() || !out.is_empty());
        }

        #[test]
        fn a_chunk_cut_short_is_an_error(rows in entries(), cut in any::<prop::sample::Index>()) {
            let whole = chunk_of(&rows);
            let cut = whole.slice(..cut.index(whole.len()));
            prop_assert!(read(&cut, Seq::ZERO, Seq::ZERO, usize::MAX, &mut Vec::new()).is_err());
        }
    }
}
