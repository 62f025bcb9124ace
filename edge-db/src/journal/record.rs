//! One record of the journal: a header, and the writes of one group.
//!
//! ```text
//!  0  8  checksum: XXH3-64 of everything behind it, seeded by segment and offset
//!  8  4  length of the payload, before padding
//! 12  4  1, or 2 if the payload is encrypted
//! 16  8  revision
//! 24  8  the last revision that was durable when this was written
//! 32     payload, then zeros up to a multiple of 8
//! ```
//! All numbers are little-endian. The payload is one operation after the other: a byte
//! (1 put, 2 delete, 3 delete range), then key and value, or key, or both keys, each behind its
//! length as a LEB128 varint.
//!
//! Encrypted, nonce and tag follow behind. What is encrypted belongs to its revision, and not to its
//! place in the journal: a record that must be written again elsewhere is the same bytes again, but
//! for its header. Nobody gains by moving one, for two records of one revision hold the same, unless
//! a failed write left the other.

use std::io;

use bytes::Bytes;
use twox_hash::XxHash3_64;

use crate::encryption::{Cipher, Place};
use crate::revision::Revision;
use crate::store::Write;
use crate::varint::{put_bytes, take_bytes};

/// Bytes in front of the payload.
pub(crate) const HEADER_BYTES: usize = 32;
/// Records begin at multiples of this.
pub(super) const ALIGN: usize = 8;

/// What stands for a group of batches, so that zeros are never a record.
const GROUP: u32 = 1;
/// The same, encrypted.
const ENCRYPTED_GROUP: u32 = 2;

/// What the header of a record says, but for its length and checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) revision: Revision,
    pub(crate) durable: Revision,
    pub(crate) is_encrypted: bool,
}

/// An empty record, to which writes are put.
pub(crate) fn begin(capacity: usize) -> Vec<u8> {
    let mut record = Vec::with_capacity(HEADER_BYTES + capacity + ALIGN);
    record.resize(HEADER_BYTES, 0);
    record
}

/// Appends one write to a record.
pub(crate) fn put_write(record: &mut Vec<u8>, write: &Write) {
    match write {
        Write::Put(key, value) => {
            record.push(1);
            put_bytes(record, key);
            put_bytes(record, value);
        }
        Write::Delete(key) => {
            record.push(2);
            put_bytes(record, key);
        }
        Write::DeleteRange(from, to) => {
            record.push(3);
            put_bytes(record, from);
            put_bytes(record, to);
        }
    }
}

/// The writes of a record's payload, sharing its bytes; `None` if it is not well-formed.
pub(crate) fn writes(payload: &Bytes) -> Option<Vec<Write>> {
    let mut rest = payload.as_ref();
    let mut writes = Vec::new();
    while let Some((&op, tail)) = rest.split_first() {
        rest = tail;
        let first = payload.slice_ref(take_bytes(&mut rest)?);
        writes.push(match op {
            1 => Write::Put(first, payload.slice_ref(take_bytes(&mut rest)?)),
            2 => Write::Delete(first),
            3 => Write::DeleteRange(first, payload.slice_ref(take_bytes(&mut rest)?)),
            _ => return None,
        });
    }
    Some(writes)
}

/// The payload of a record, decrypted; `None` if it is not what was written for the revision, or
/// was not encrypted and should be.
pub(super) fn payload(record: &[u8], head: Record, cipher: Option<&Cipher>) -> Option<Bytes> {
    // Copied, so that memory holds no more of the segment than what is still needed.
    let payload = record[HEADER_BYTES..].to_vec();
    let payload = match cipher {
        Some(cipher) if head.is_encrypted => cipher.decrypt_all(place(head.revision), payload)?,
        None if !head.is_encrypted => payload,
        _ => return None,
    };
    Some(Bytes::from(payload))
}

fn place(revision: Revision) -> Place {
    Place::Record(revision.get())
}

/// Encrypts the payload if there is a cipher, notes its kind and length, and fills up with zeros.
pub(super) fn finish(
    record: &mut Vec<u8>,
    revision: Revision,
    cipher: Option<&Cipher>,
) -> io::Result<()> {
    if let Some(cipher) = cipher {
        cipher.encrypt_behind(HEADER_BYTES, place(revision), record)?;
    }
    let kind = if cipher.is_some() { ENCRYPTED_GROUP } else { GROUP };
    record[12..16].copy_from_slice(&kind.to_le_bytes());
    let payload = u32::try_from(record.len() - HEADER_BYTES).expect("a group is far below 4 GiB");
    record[8..12].copy_from_slice(&payload.to_le_bytes());
    record.resize(record.len().next_multiple_of(ALIGN), 0);
    Ok(())
}

/// Fills in the rest of a finished record's header.
pub(super) fn seal(record: &mut [u8], revision: Revision, durable: Revision, seed: u64) {
    record[16..24].copy_from_slice(&revision.get().to_le_bytes());
    record[24..32].copy_from_slice(&durable.get().to_le_bytes());
    let checksum = XxHash3_64::oneshot_with_seed(seed, &record[8..]);
    record[..8].copy_from_slice(&checksum.to_le_bytes());
}

/// The record at the front of `bytes` and where its payload ends, if there is a whole one.
pub(super) fn open(bytes: &[u8], seed: u64) -> Option<(Record, usize)> {
    let header = bytes.get(..HEADER_BYTES)?;
    let word = |at: usize| header[at..].first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    let half = |at: usize| header[at..].first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
    let is_encrypted = half(12)? == ENCRYPTED_GROUP;
    if !is_encrypted && half(12)? != GROUP {
        return None;
    }
    let end = HEADER_BYTES.checked_add(usize::try_from(half(8)?).ok()?)?;
    let whole = bytes.get(8..end.checked_next_multiple_of(ALIGN)?)?;
    if XxHash3_64::oneshot_with_seed(seed, whole) != word(0)? {
        return None;
    }
    let [revision, durable] = [word(16)?, word(24)?].map(Revision::new);
    Some((Record { revision, durable, is_encrypted }, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(writes: &[Write], seed: u64) -> Vec<u8> {
        let mut record = begin(0);
        writes.iter().for_each(|write| put_write(&mut record, write));
        let [revision, durable] = [Revision::new(7), Revision::new(6)];
        finish(&mut record, revision, None).unwrap();
        seal(&mut record, revision, durable, seed);
        record
    }

    fn sample() -> Vec<Write> {
        let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
        vec![
            Write::Put(bytes("key"), bytes("value")),
            Write::Delete(bytes("gone")),
            Write::DeleteRange(bytes("a"), bytes("b")),
        ]
    }

    #[test]
    fn record_gives_its_writes_back() {
        let record = sealed(&sample(), 3);
        let (head, end) = open(&record, 3).unwrap();
        assert_eq!((head.revision.get(), head.durable.get()), (7, 6));
        let payload = payload(&record[..end], head, None).unwrap();
        assert_eq!(writes(&payload), Some(sample()));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let record = sealed(&sample(), 3);
        for bit in 0..record.len() * 8 {
            let mut flipped = record.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&flipped, 3), None, "bit {bit}");
        }
    }

    #[test]
    fn record_of_another_place_or_cut_short_is_none() {
        let record = sealed(&sample(), 3);
        assert_eq!(open(&record, 4), None);
        for len in 0..record.len() {
            assert_eq!(open(&record[..len], 3), None, "length {len}");
        }
    }

    /// Whoever writes to the disk without the key cannot put a record into the journal.
    #[cfg(feature = "encryption")]
    #[test]
    fn record_counts_only_as_it_was_encrypted_and_for_its_revision() {
        let [cipher, other] = [7, 8].map(|byte| Cipher::new(&[byte; 32]));
        let [revision, durable] = [Revision::new(7), Revision::new(6)];
        let mut record = begin(0);
        sample().iter().for_each(|write| put_write(&mut record, write));
        finish(&mut record, revision, Some(&cipher)).unwrap();
        seal(&mut record, revision, durable, 3);
        let (head, end) = open(&record, 3).unwrap();
        let read = |head, cipher| payload(&record[..end], head, cipher);
        assert_eq!(writes(&read(head, Some(&cipher)).unwrap()), Some(sample()));
        assert_eq!(read(Record { revision: Revision::new(8), ..head }, Some(&cipher)), None);
        assert_eq!(read(head, Some(&other)), None);
        assert_eq!(read(head, None), None);

        let plain = sealed(&sample(), 3);
        let (head, end) = open(&plain, 3).unwrap();
        assert_eq!(payload(&plain[..end], head, Some(&cipher)), None);
    }
}
