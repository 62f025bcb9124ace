//! What a killed process left to the system's cache becomes durable before anybody sees it.
//!
//! A sync alone would not do: after one that failed the system takes what it could not write for
//! clean, and says yes to the next. So records that nothing proves to be durable, the last few, are
//! written again where they are; torn, that leaves them as they were.

use std::collections::VecDeque;

use super::found::Found;
use super::{Damage, segment};
use crate::revision::Revision;

/// Records that were read, and that the disk may not have.
pub(super) struct Doubtful {
    /// Up to here it has them.
    proven: Revision,
    /// Oldest first.
    records: VecDeque<Place>,
}

/// Where a record is.
pub(super) struct Place {
    pub(super) revision: Revision,
    pub(super) segment: usize,
    pub(super) offset: u64,
    pub(super) bytes: usize,
}

impl Doubtful {
    pub(super) fn new(proven: Revision) -> Doubtful {
        Doubtful { proven, records: VecDeque::new() }
    }

    /// Takes a record, which says what was durable when it was written.
    pub(super) fn push(&mut self, record: Place, durable: Revision) {
        self.proven = self.proven.max(durable);
        self.records.push_back(record);
        let is_proven = |record: &mut Place| record.revision <= self.proven;
        while self.records.pop_front_if(is_proven).is_some() {}
    }

    pub(super) fn make_durable(self, segments: &[Found]) -> Result<(), Damage> {
        let mut files: Vec<&Found> = Vec::new();
        for mut record in self.records {
            let segment = &segments[record.segment];
            if record.offset == segment::HEADER_BYTES {
                // A segment that was used again has a header that is as old as its first record.
                record.bytes += usize::try_from(record.offset).expect("small");
                record.offset = 0;
            }
            let mut bytes = vec![0; record.bytes];
            segment
                .file
                .read(record.offset, &mut bytes)
                .map_err(|source| segment.failed(source))?;
            segment
                .file
                .write(record.offset, &bytes)
                .map_err(|source| Damage::Write { file: segment.name.clone(), source })?;
            files.push(segment);
        }
        files.dedup_by_key(|found| found.header.number);
        files.iter().try_for_each(|found| found.file.sync().map_err(|source| found.failed(source)))
    }
}
