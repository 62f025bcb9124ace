//! What one read of a Log gives.

use std::ops::Range;

use super::Record;
use crate::Seq;

/// Records of one read, in the order that was asked for.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let db = edge_db::Db::open(dir.path())?;
/// # let log = db.log("readings")?;
/// log.append(edge_db::Entry::new("21.5"))?;
/// let records = log.read(edge_db::Seq::ZERO, 100)?;
/// assert_eq!((records.len(), records.next().get()), (1, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Records {
    pub(super) records: Vec<Record>,
    pub(super) next: Seq,
    pub(super) missing: Option<Range<Seq>>,
}

impl Records {
    /// Where to read on: the position behind the last record, or, read backwards, that of the
    /// last one.
    pub fn next(&self) -> Seq {
        self.next
    }

    /// What was asked for and is no longer kept.
    pub fn missing(&self) -> Option<Range<Seq>> {
        self.missing.clone()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether the end of the log was reached before.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The records in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Record> {
        self.records.iter()
    }
}

impl IntoIterator for Records {
    type Item = Record;
    type IntoIter = std::vec::IntoIter<Record>;

    fn into_iter(self) -> Self::IntoIter {
        self.records.into_iter()
    }
}

impl<'a> IntoIterator for &'a Records {
    type Item = &'a Record;
    type IntoIter = std::slice::Iter<'a, Record>;

    fn into_iter(self) -> Self::IntoIter {
        self.records.iter()
    }
}
