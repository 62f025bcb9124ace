//! The records in a stored chunk.

use bytes::Bytes;

use super::front::{FRONT_BYTES, Front, Packing, front, malformed, take_array};
use super::{PACKED_BYTES, unzigzag};
use crate::codec::DecodeError;
use crate::log::Record;
use crate::varint::{take_bytes, take_varint};
use crate::{Seq, Time};

/// The parts behind a front: those very bytes, or what they were before they were compressed.
fn parts(stored: &Bytes, front: &Front) -> Result<Bytes, DecodeError> {
    let body = stored.slice(FRONT_BYTES..);
    let Packing::Packed(compression) = front.packing else { return Ok(body) };
    let mut packed = body.as_ref();
    let bytes = take_array(&mut packed).map(u32::from_le_bytes);
    let bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok());
    let bytes = bytes.filter(|bytes| *bytes <= PACKED_BYTES).ok_or_else(|| malformed("length"))?;
    Ok(compression.unpack(packed, bytes)?.into())
}

/// Appends to `out` the records of a stored chunk from `from` on, at most `most` of them; gives
/// how many bytes they lie in, decompressed.
///
/// The whole of a record is checked before it is handed out, headers included.
pub(crate) fn read(
    stored: &Bytes,
    last: Seq,
    from: Seq,
    most: usize,
    out: &mut Vec<Record>,
) -> Result<usize, DecodeError> {
    let front = front(stored)?;
    let body = parts(stored, &front)?;
    let mut rest = body.as_ref();
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
                return Ok(body.len());
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
    if seq == positions.end { Ok(body.len()) } else { Err(malformed("end")) }
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

pub(crate) fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(take_bytes(rest)?).ok()
}
