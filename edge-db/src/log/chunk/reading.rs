//! The records in a stored chunk.

use std::borrow::Cow;
use std::ops::ControlFlow;

use bytes::Bytes;

use super::front::{FRONT_BYTES, Front, Packing, front, malformed, take_array};
use super::{PACKED_BYTES, unzigzag};
use crate::codec::DecodeError;
use crate::log::RecordRef;
use crate::log::records::Found;
use crate::varint::{take_bytes, take_varint};
use crate::{Seq, Time};

/// The parts behind a front: those very bytes, or what they were before they were compressed.
fn parts<'a>(stored: &'a [u8], front: &Front) -> Result<Cow<'a, [u8]>, DecodeError> {
    let mut body = &stored[FRONT_BYTES..];
    let Packing::Packed(compression) = front.packing else { return Ok(body.into()) };
    let bytes = take_array(&mut body).map(u32::from_le_bytes);
    let bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok());
    let bytes = bytes.filter(|bytes| *bytes <= PACKED_BYTES).ok_or_else(|| malformed("length"))?;
    Ok(compression.unpack(body, bytes)?.into())
}

/// Appends to `out` the records of a stored chunk from `from` on, at most `most` of them; gives
/// how many bytes they lie in, decompressed.
pub(crate) fn read(
    stored: &Bytes,
    last: Seq,
    from: Seq,
    most: usize,
    out: &mut Found,
) -> Result<usize, DecodeError> {
    let front = front(stored)?;
    let body = match parts(stored, &front)? {
        Cow::Borrowed(parts) => stored.slice_ref(parts),
        Cow::Owned(parts) => parts.into(),
    };
    if most == 0 {
        return Ok(body.len());
    }
    if u32::try_from(body.len()).is_err() {
        return Err(malformed("length"));
    }
    // A record has a byte at least, whatever a damaged front says.
    out.begin(body.clone(), most.min(front.count as usize).min(body.len()));
    let end = out.len().saturating_add(most);
    walk(&body, &front, last, from, |record| {
        out.push(record);
        if out.len() == end { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(body.len())
}

/// Shows the records of a stored chunk from `from` on, until `show` breaks, without copying what
/// is not compressed.
#[cfg(feature = "arrow")]
pub(crate) fn visit(
    stored: &[u8],
    last: Seq,
    from: Seq,
    show: impl FnMut(RecordRef<'_>) -> ControlFlow<()>,
) -> Result<(), DecodeError> {
    let front = front(stored)?;
    walk(&parts(stored, &front)?, &front, last, from, show)
}

/// Shows the records in `body`, the parts of a chunk, from `from` on, until `show` breaks.
///
/// The whole of a record is checked before it is shown, headers included.
fn walk<'a>(
    body: &'a [u8],
    front: &Front,
    last: Seq,
    from: Seq,
    mut show: impl FnMut(RecordRef<'a>) -> ControlFlow<()>,
) -> Result<(), DecodeError> {
    let mut rest = body;
    let positions = front.positions(last).ok_or_else(|| malformed("front"))?;
    let mut seq = positions.start;
    let mut flow = ControlFlow::Continue(());
    while !rest.is_empty() {
        let (part, mut records) = take_part(&mut rest).ok_or_else(|| malformed("part"))?;
        let behind = seq.plus(u64::from(part.count));
        if behind <= from {
            seq = behind;
            continue;
        }
        while seq < behind {
            if flow.is_break() {
                return Ok(());
            }
            let record = take_record(&mut records, seq, part.base);
            let record = record.ok_or_else(|| malformed("record"))?;
            if seq >= from {
                flow = show(record);
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

fn take_record<'a>(rest: &mut &'a [u8], seq: Seq, base: i64) -> Option<RecordRef<'a>> {
    let time = Time::from_micros(base.wrapping_add(unzigzag(take_varint(rest)?)));
    let key = take_bytes(rest)?;
    let headers = take_bytes(rest)?;
    let mut unchecked = headers;
    while !unchecked.is_empty() {
        take_header(&mut unchecked)?;
    }
    let value = take_bytes(rest)?;
    Some(RecordRef { seq, time, key, headers, value })
}

/// Name and value.
pub(crate) fn take_header<'a>(rest: &mut &'a [u8]) -> Option<(&'a str, &'a [u8])> {
    let name = std::str::from_utf8(take_bytes(rest)?).ok()?;
    Some((name, take_bytes(rest)?))
}
