//! What can be read of a chunk without decompressing it.

use std::ops::Range;

use crate::codec::{self, Codec, DecodeError};
use crate::log::Compression;
use crate::{Seq, Time};

pub(super) const FRONT_BYTES: usize = codec::HEADER_BYTES + 4 + 4 * 8;

/// How the parts of a chunk lie behind its front. The settling thread knows no log's options, so
/// the chunk says what is wanted of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    /// As they are, until they settle.
    Plain(Compression),
    Packed(Compression),
}

impl Packing {
    const ALL: [(u8, Packing); 5] = [
        (1, Packing::Plain(Compression::None)),
        (2, Packing::Plain(Compression::Lz4)),
        (3, Packing::Plain(Compression::Zstd)),
        (4, Packing::Packed(Compression::Lz4)),
        (5, Packing::Packed(Compression::Zstd)),
    ];

    pub(super) fn byte(self) -> u8 {
        let found = Packing::ALL.iter().find(|(_, packing)| *packing == self);
        found.expect("chunks are not packed with compression none").0
    }

    fn from_byte(byte: u8) -> Result<Packing, DecodeError> {
        let found = Packing::ALL.iter().find(|(known, _)| *known == byte);
        let unknown = DecodeError::SchemaVersion { found: byte, expected: 1 };
        found.map(|(_, packing)| *packing).ok_or(unknown)
    }
}

/// What stands in front of a chunk; the same whether that is compressed or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Front {
    pub(crate) packing: Packing,
    pub(crate) count: u32,
    pub(crate) end_bytes: u64,
    pub(crate) earliest: Time,
    pub(crate) latest: Time,
    /// The latest time of all records that the log ever had, up to the end of this chunk.
    pub(crate) newest: Time,
}

impl Front {
    pub(super) fn put(&self, chunk: &mut [u8]) {
        chunk[1] = self.packing.byte();
        let front = &mut chunk[codec::HEADER_BYTES..FRONT_BYTES];
        front[..4].copy_from_slice(&self.count.to_le_bytes());
        front[4..12].copy_from_slice(&self.end_bytes.to_le_bytes());
        front[12..20].copy_from_slice(&self.earliest.micros().to_le_bytes());
        front[20..28].copy_from_slice(&self.latest.micros().to_le_bytes());
        front[28..].copy_from_slice(&self.newest.micros().to_le_bytes());
    }

    fn take(packing: Packing, body: &mut &[u8]) -> Option<Front> {
        Some(Front {
            packing,
            count: take_array(body).map(u32::from_le_bytes)?,
            end_bytes: take_array(body).map(u64::from_le_bytes)?,
            earliest: Time::from_micros(take_array(body).map(i64::from_le_bytes)?),
            latest: Time::from_micros(take_array(body).map(i64::from_le_bytes)?),
            newest: Time::from_micros(take_array(body).map(i64::from_le_bytes)?),
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
    let version = *stored.get(1).ok_or_else(|| malformed("front"))?;
    let mut body = codec::body(stored, Codec::Chunk, version)?;
    Front::take(Packing::from_byte(version)?, &mut body).ok_or_else(|| malformed("front"))
}

pub(super) fn malformed(part: &str) -> DecodeError {
    DecodeError::Malformed(format!("chunk of a log is damaged in its {part}"))
}

pub(super) fn take_array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}
