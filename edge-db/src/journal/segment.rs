//! One file of the journal.
//!
//! ```text
//!  0  8  "EDGEJRNL"
//!  8  4  format, 1
//! 12  4  zero
//! 16  8  number of the segment: the order in which segments were begun
//! 24  8  length of the file
//! 32  8  XXH3-64 of the bytes before
//! 40     zeros up to 64, then records
//! ```

use std::io;
use std::sync::Arc;

use twox_hash::XxHash3_64;

use crate::disk::{Disk, DiskFile};
use crate::revision::Revision;

const MAGIC: &[u8; 8] = b"EDGEJRNL";
pub(crate) const FORMAT: u32 = 1;
pub(super) const HEADER_BYTES: u64 = 64;
/// What segments are called, before their number; one that is being created has another ending.
const PREFIX: &str = "journal-";
const UNBORN: &str = ".new";

/// A segment that is written to, or was.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    name: String,
    file: Arc<dyn DiskFile>,
    number: u64,
    len: u64,
    tail: u64,
    last: Revision,
}

/// What a segment's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) number: u64,
    pub(super) len: u64,
}

impl Segment {
    /// A new one, all zeros and durable, so that later only its content need be synced.
    /// Takes the next number once a file may have it: numbers without a file would look like
    /// segments that are gone.
    pub(super) fn create(disk: &dyn Disk, next: &mut u64, len: u64) -> io::Result<Segment> {
        let number = *next;
        let name = format!("{PREFIX}{number:08}");
        let unborn = format!("{name}{UNBORN}");
        let created = create_file(disk, &unborn, Header { number, len });
        let named = created.and_then(|file| {
            // Even if this fails.
            *next += 1;
            disk.rename(&unborn, &name).map(|()| file)
        });
        let file = match named {
            Ok(file) => file,
            Err(error) => {
                // Gives back what it took of a full disk; what stays is removed at the next open.
                drop(disk.remove(&unborn));
                return Err(error);
            }
        };
        // A crash before this leaves no name or a complete segment without records.
        disk.sync_names()?;
        Ok(Segment { name, file, number, len, tail: HEADER_BYTES, last: Revision::ZERO })
    }

    /// One that was found, with what it ends with.
    pub(super) fn found(
        name: String,
        file: Arc<dyn DiskFile>,
        header: Header,
        last: Revision,
    ) -> Segment {
        Segment { name, file, number: header.number, len: header.len, tail: header.len, last }
    }

    /// Begins from the front under the next number. Old records do not match its checksums. The new
    /// header becomes durable with the first record: a crash before leaves the old ones, which
    /// have settled.
    pub(super) fn recycle(mut self, next: &mut u64) -> io::Result<Segment> {
        // Even if this fails: the header may be on the disk then.
        let number = *next;
        *next += 1;
        self.file.write(0, &encode(Header { number, len: self.len }))?;
        self.number = number;
        self.tail = HEADER_BYTES;
        Ok(self)
    }

    pub(super) fn remove(self, disk: &dyn Disk) -> io::Result<()> {
        disk.remove(&self.name)
    }

    pub(super) fn file(&self) -> &dyn DiskFile {
        &*self.file
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn tail(&self) -> u64 {
        self.tail
    }

    /// The youngest revision in it.
    pub(super) fn last(&self) -> Revision {
        self.last
    }

    /// Bytes that a record may still have.
    pub(super) fn room(&self) -> u64 {
        self.len.saturating_sub(self.tail)
    }

    /// What the checksum of the next record begins with.
    pub(super) fn seed(&self) -> u64 {
        seed(self.number, self.tail)
    }

    pub(super) fn advance(&mut self, bytes: u64, revision: Revision) {
        self.tail += bytes;
        self.last = revision;
    }
}

/// A record counts at its own place only.
pub(super) fn seed(number: u64, offset: u64) -> u64 {
    number.rotate_left(32) ^ offset
}

/// Whether a file of this name is a complete segment.
pub(crate) fn is_segment(name: &str) -> bool {
    name.starts_with(PREFIX) && !name.ends_with(UNBORN)
}

/// Whether it is one that was being created.
pub(crate) fn is_unborn(name: &str) -> bool {
    name.starts_with(PREFIX) && name.ends_with(UNBORN)
}

fn create_file(disk: &dyn Disk, name: &str, header: Header) -> io::Result<Arc<dyn DiskFile>> {
    /// Zeros written at once.
    const STEP: usize = 256 * 1024;
    let file = disk.create(name)?;
    let zeros = vec![0; STEP.min(usize::try_from(header.len).unwrap_or(STEP))];
    let mut offset = 0;
    while offset < header.len {
        let left = usize::try_from(header.len - offset).unwrap_or(STEP);
        let count = left.min(zeros.len());
        file.write(offset, &zeros[..count])?;
        offset += count as u64;
    }
    file.write(0, &encode(header))?;
    file.sync()?;
    Ok(file)
}

fn encode(header: Header) -> [u8; 64] {
    let mut bytes = [0; 64];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    bytes[16..24].copy_from_slice(&header.number.to_le_bytes());
    bytes[24..32].copy_from_slice(&header.len.to_le_bytes());
    let checksum = XxHash3_64::oneshot(&bytes[..32]);
    bytes[32..40].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// What is wrong with a segment's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderError {
    Damaged,
    Format(u32),
}

pub(super) fn decode(bytes: &[u8; 64]) -> Result<Header, HeaderError> {
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
    let format = u32::from_le_bytes(bytes[8..12].try_into().expect("4 bytes"));
    if &bytes[..8] != MAGIC || XxHash3_64::oneshot(&bytes[..32]) != word(32) {
        return Err(HeaderError::Damaged);
    }
    if format != FORMAT {
        return Err(HeaderError::Format(format));
    }
    Ok(Header { number: word(16), len: word(24) })
}
