//! How far the journal was durable when somebody last looked: tells a tail that was damaged later
//! from one that a power cut tore.
//!
//! ```text
//! 0  8  the last durable revision
//! 8  8  XXH3-64 of it
//! ```
//!
//! Written after each sync and never synced itself, so it costs the device next to nothing. It may
//! be older than the journal, never younger. Without it, or when it is damaged, the journal is
//! taken as it is.

use std::sync::Arc;

use twox_hash::XxHash3_64;

use crate::disk::{Disk, DiskFile};
use crate::revision::Revision;

pub(crate) const FILE: &str = "durable";
const BYTES: usize = 16;

#[derive(Debug)]
pub(super) struct Mark {
    /// `None` if the disk refused: the journal does without.
    file: Option<Arc<dyn DiskFile>>,
}

impl Mark {
    pub(super) fn open(disk: &dyn Disk) -> Mark {
        Mark { file: disk.open(FILE).or_else(|_| disk.create(FILE)).ok() }
    }

    pub(super) fn write(&self, durable: Revision) {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(&durable.get().to_le_bytes());
        let checksum = XxHash3_64::oneshot(&bytes[..8]);
        bytes[8..].copy_from_slice(&checksum.to_le_bytes());
        if let Some(file) = &self.file {
            // No commit depends on it.
            drop(file.write(0, &bytes));
        }
    }

    /// What was last written; nothing if that is not known.
    pub(super) fn read(disk: &dyn Disk) -> Revision {
        let Ok(bytes) = stored(disk) else { return Revision::ZERO };
        decode(bytes).unwrap_or(Revision::ZERO)
    }
}

/// Whether the mark was altered. That there is none yet, or nothing in it, is no damage.
pub(crate) fn is_damaged(disk: &dyn Disk) -> bool {
    stored(disk).is_ok_and(|bytes| bytes != [0; BYTES] && decode(bytes).is_none())
}

fn stored(disk: &dyn Disk) -> std::io::Result<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    disk.open(FILE)?.read(0, &mut bytes)?;
    Ok(bytes)
}

fn decode(bytes: [u8; BYTES]) -> Option<Revision> {
    let [number, checksum] =
        [&bytes[..8], &bytes[8..]].map(|half| half.try_into().map_or(0, u64::from_le_bytes));
    (XxHash3_64::oneshot(&bytes[..8]) == checksum).then_some(Revision::new(number))
}
