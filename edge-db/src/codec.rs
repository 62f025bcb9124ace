//! The first two bytes of every stored value, and the codec they name.
//!
//! ```text
//! byte 0   codec: 0 raw bytes, 1 bincode 2 (standard configuration), 2 chunk of a Log,
//!          3 postcard; plus 128 if the value expires
//! byte 1   schema version, chosen by the owner of the value
//! 8 bytes  when it expires, if it does: microseconds since 1970, little-endian
//! then     the value
//! ```
//!
//! They are there from the first day so that a later codec, a migrated schema or a compressed
//! chunk can be told from what is on disk already.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Time;
use crate::error::EncodeError;

/// Bytes in front of every stored value.
pub(crate) const HEADER_BYTES: usize = 2;

/// How the bytes behind the header are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Codec {
    Raw = 0,
    Bincode = 1,
    Chunk = 2,
    /// Needs the feature of its name.
    Postcard = 3,
}

/// Set in the codec byte of a value that expires.
const EXPIRES: u8 = 0x80;

/// A stored value, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stored<'a> {
    pub(crate) codec: u8,
    pub(crate) version: u8,
    pub(crate) expires: Option<Time>,
    pub(crate) body: &'a [u8],
}

impl<'a> Stored<'a> {
    pub(crate) fn parse(stored: &'a [u8]) -> Result<Stored<'a>, DecodeError> {
        let short = || DecodeError::Malformed("shorter than its header".to_owned());
        let (&[codec, version], rest) =
            stored.split_first_chunk::<HEADER_BYTES>().ok_or_else(short)?;
        let (expires, body) = if codec & EXPIRES == 0 {
            (None, rest)
        } else {
            let (time, body) = rest.split_first_chunk::<8>().ok_or_else(short)?;
            (Some(Time::from_micros(i64::from_le_bytes(*time))), body)
        };
        Ok(Stored { codec: codec & !EXPIRES, version, expires, body })
    }

    /// Whether it counts as gone.
    pub(crate) fn is_expired(&self, now: Time) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// The value in the body.
    pub(crate) fn decode<V: DeserializeOwned>(&self) -> Result<V, DecodeError> {
        match self.codec {
            codec if codec == Codec::Bincode as u8 => decode_bincode(self.body),
            #[cfg(feature = "postcard")]
            codec if codec == Codec::Postcard as u8 => postcard::from_bytes(self.body)
                .map_err(|error| DecodeError::Malformed(error.to_string())),
            found => Err(DecodeError::Codec { found, expected: Codec::Bincode as u8 }),
        }
    }
}

/// Whether stored bytes are a value that expires at some time.
pub(crate) fn expires(stored: &[u8]) -> bool {
    stored.first().is_some_and(|codec| codec & EXPIRES != 0)
}

/// Whether stored bytes are a value that has expired.
pub(crate) fn is_expired(stored: &[u8], now: Time) -> bool {
    Stored::parse(stored).is_ok_and(|stored| stored.is_expired(now))
}

/// A header, with the time of expiry if there is one.
pub(crate) fn header_until(codec: Codec, schema_version: u8, expires: Option<Time>) -> Vec<u8> {
    let mut out = header(codec, schema_version, 62);
    if let Some(expires) = expires {
        out[0] |= EXPIRES;
        out.extend_from_slice(&expires.micros().to_le_bytes());
    }
    out
}

/// Appends `value` to its header.
pub(crate) fn encode_into<V: Serialize>(
    value: &V,
    codec: Codec,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    match codec {
        #[cfg(feature = "postcard")]
        Codec::Postcard => {
            let bytes = postcard::to_allocvec(value).map_err(EncodeError::new)?;
            out.extend_from_slice(&bytes);
        }
        _ => {
            bincode::serde::encode_into_std_write(value, out, bincode::config::standard())
                .map_err(EncodeError::new)?;
        }
    }
    Ok(())
}

fn decode_bincode<V: DeserializeOwned>(body: &[u8]) -> Result<V, DecodeError> {
    let (value, used) = bincode::serde::decode_from_slice(body, bincode::config::standard())
        .map_err(|error| DecodeError::Malformed(error.to_string()))?;
    if used != body.len() {
        return Err(DecodeError::Malformed(format!("{} bytes left over", body.len() - used)));
    }
    Ok(value)
}

/// Why stored bytes are no value of the expected type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The value ends before it is complete, or holds what its type cannot be.
    #[error("stored bytes are no such value: {0}")]
    Malformed(String),
    /// The value was written by a codec that this build does not have.
    #[error("value is stored with codec {found}, expected {expected}")]
    Codec {
        /// The codec byte in front of the value.
        found: u8,
        /// The codec byte that was looked for.
        expected: u8,
    },
    /// The value was written under another schema version than the table was opened with.
    #[error("value is stored with schema version {found}, table was opened with {expected}")]
    SchemaVersion {
        /// The version in front of the value.
        found: u8,
        /// The version that the table was opened with.
        expected: u8,
    },
    /// A chunk of a Log is compressed, and this build cannot decompress it. Build edge-db with
    /// that cargo feature.
    #[error("chunk of a log is compressed, which this build leaves out: cargo feature `{feature}`")]
    Compression {
        /// The cargo feature that has it.
        feature: &'static str,
    },
}

/// A buffer that begins with the header.
pub(crate) fn header(codec: Codec, schema_version: u8, capacity: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + capacity);
    out.push(codec as u8);
    out.push(schema_version);
    out
}

/// `value` behind a header of its own.
pub(crate) fn encode<V: Serialize>(
    value: &V,
    schema_version: u8,
) -> Result<Vec<u8>, bincode::error::EncodeError> {
    let mut out = header(Codec::Bincode, schema_version, 62);
    bincode::serde::encode_into_std_write(value, &mut out, bincode::config::standard())?;
    Ok(out)
}

/// A number behind its header.
pub(crate) fn number(number: u64) -> Vec<u8> {
    encode(&number, 0).expect("a number always encodes")
}

/// The value behind the header.
pub(crate) fn decode<V: DeserializeOwned>(
    stored: &[u8],
    schema_version: u8,
) -> Result<V, DecodeError> {
    decode_bincode(body(stored, Codec::Bincode, schema_version)?)
}

/// What stands behind the header, if it is the expected one.
pub(crate) fn body(stored: &[u8], codec: Codec, schema_version: u8) -> Result<&[u8], DecodeError> {
    let (&[found, version], body) = stored
        .split_first_chunk::<HEADER_BYTES>()
        .ok_or_else(|| DecodeError::Malformed("shorter than its header".to_owned()))?;
    let expected = codec as u8;
    if found != expected {
        return Err(DecodeError::Codec { found, expected });
    }
    if version != schema_version {
        return Err(DecodeError::SchemaVersion { found: version, expected: schema_version });
    }
    Ok(body)
}

/// [`body`] of shared bytes, without a copy.
pub(crate) fn shared_body(
    stored: &Bytes,
    codec: Codec,
    schema_version: u8,
) -> Result<Bytes, DecodeError> {
    body(stored, codec, schema_version).map(|body| stored.slice_ref(body))
}

/// `bytes` as they are, behind a header.
pub(crate) fn raw(bytes: &[u8]) -> Vec<u8> {
    let mut out = header(Codec::Raw, 0, bytes.len());
    out.extend_from_slice(bytes);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_comes_back_under_its_version_only() {
        let stored = encode(&(7u32, "seven".to_owned()), 3).unwrap();
        assert_eq!(&stored[..2], &[1, 3]);
        assert_eq!(decode::<(u32, String)>(&stored, 3), Ok((7, "seven".to_owned())));
        assert_eq!(
            decode::<(u32, String)>(&stored, 4),
            Err(DecodeError::SchemaVersion { found: 3, expected: 4 })
        );
    }

    #[test]
    fn foreign_and_damaged_bytes_are_errors() {
        assert!(matches!(decode::<u32>(&[], 0), Err(DecodeError::Malformed(_))));
        assert_eq!(decode::<u32>(&raw(b"x"), 0), Err(DecodeError::Codec { found: 0, expected: 1 }));
        assert!(matches!(decode::<u32>(&[1, 0, 5, 6], 0), Err(DecodeError::Malformed(_))));
        assert!(matches!(decode::<String>(&[1, 0, 200, 1], 0), Err(DecodeError::Malformed(_))));
    }
}
