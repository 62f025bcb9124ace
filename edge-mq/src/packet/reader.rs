//! Reads the fields of one packet, each with its length checked.

use bytes::{Buf, Bytes};

use super::{DecodeError, PacketId, Text};

/// The rest of a packet.
pub(super) struct Reader(Bytes);

const SHORT: DecodeError = DecodeError::Malformed("packet ends inside a field");

impl Reader {
    pub(super) fn new(bytes: Bytes) -> Reader {
        Reader(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.0.try_get_u8().map_err(|_| SHORT)
    }

    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.0.try_get_u16().map_err(|_| SHORT)
    }

    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.0.try_get_u32().map_err(|_| SHORT)
    }

    pub(super) fn varint(&mut self) -> Result<u32, DecodeError> {
        match varint(&self.0)? {
            Some((value, width)) => {
                self.0.advance(width);
                Ok(value)
            }
            None => Err(SHORT),
        }
    }

    /// Bytes behind a length of two bytes.
    pub(super) fn binary(&mut self) -> Result<Bytes, DecodeError> {
        let len = usize::from(self.u16()?);
        self.take(len)
    }

    pub(super) fn text(&mut self) -> Result<Text, DecodeError> {
        Text::from_bytes(self.binary()?)
            .map_err(|_| DecodeError::Malformed("string is not UTF-8 or has U+0000"))
    }

    pub(super) fn packet_id(&mut self) -> Result<PacketId, DecodeError> {
        PacketId::new(self.u16()?).ok_or(DecodeError::Protocol("packet identifier is 0"))
    }

    pub(super) fn take(&mut self, len: usize) -> Result<Bytes, DecodeError> {
        if len > self.0.len() {
            return Err(SHORT);
        }
        Ok(self.0.split_to(len))
    }

    pub(super) fn rest(self) -> Bytes {
        self.0
    }

    pub(super) fn end(&self) -> Result<(), DecodeError> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::Malformed("packet goes on behind its last field"))
        }
    }
}

/// A variable byte integer (MQTT 5.0 section 1.5.5) and its width; `None` while it is incomplete.
pub(super) fn varint(bytes: &[u8]) -> Result<Option<(u32, usize)>, DecodeError> {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            if at > 0 && *byte == 0 {
                return Err(DecodeError::Malformed("length is longer than it needs to be"));
            }
            return Ok(Some((value, at + 1)));
        }
    }
    if bytes.len() < 4 { Ok(None) } else { Err(DecodeError::Malformed("length has over 4 bytes")) }
}
