//! What a Log dropped before it was read.

use std::collections::VecDeque;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::catalog::entries_below;
use crate::codec;
use crate::error::ReadError;
use crate::space::Space;
use crate::store::Write;
use crate::view::View;
use crate::{Log, Seq, Snapshot, Time};

/// So many gaps are told apart; when there are more, the two oldest become one.
const GAPS: usize = 64;

/// Why records were dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum GapReason {
    /// The log had reached its limit, and drops the oldest.
    Full,
    /// They were older than the log keeps them.
    Age,
    /// The application gave them up: [`Batch::trim`](crate::Batch::trim).
    Trimmed,
    /// They were damaged, and a [repair](crate::plan_repair) could not read them. Such a gap counts
    /// all of its records, read or not, and may lie between records that are kept.
    Damaged,
}

/// Records of a [`Log`] that were dropped before its slowest cursor had passed them.
///
/// They are what [`LogState::dropped`](crate::LogState::dropped) counts: where a log has no
/// cursor, there are no gaps. Neighbours that were dropped for the same reason are one gap. The
/// last 64 are told apart; of older ones the reason and time of the last is kept, and one gap may
/// then span records in between that were read.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let db = edge_db::Db::open(dir.path())?;
/// # let log = db.log("readings")?;
/// for gap in log.gaps()? {
///     let (from, to) = (gap.records.start, gap.records.end);
///     println!("{} records from {from} to {to} were lost: {:?}", gap.dropped, gap.reason);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Gap {
    /// From the first to behind the last one.
    pub records: Range<Seq>,
    /// How many of them were dropped unread.
    pub dropped: u64,
    /// When the last of them was dropped, by the machine's clock.
    pub at: Time,
    /// Why that was.
    pub reason: GapReason,
}

/// The gaps of one log, oldest first. Each is stored by itself, under its first position, so that
/// a log that drops with each commit writes few bytes for it.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    gaps: VecDeque<Gap>,
}

impl Gaps {
    pub(crate) fn read(view: &View, log: Space) -> Result<Gaps, ReadError> {
        let mut gaps = VecDeque::new();
        for entry in entries_below(view, &log.gaps_key())? {
            let (_, stored) = entry?;
            let gap = codec::decode(&stored, 0).map_err(|source| ReadError::Value {
                name: "the gaps of a log".to_owned(),
                source,
            })?;
            gaps.push_back(gap);
        }
        Ok(Gaps { gaps })
    }

    /// All of them.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Gap> {
        self.gaps.iter()
    }

    /// Notes that these records were dropped, behind all that were dropped before.
    pub(crate) fn add(
        &mut self,
        log: Space,
        records: Range<Seq>,
        at: Time,
        reason: GapReason,
        writes: &mut Vec<Write>,
    ) {
        let dropped = records.end.since(records.start);
        if dropped == 0 {
            return;
        }
        let added = Gap { records, dropped, at, reason };
        match self.gaps.back_mut() {
            Some(last) if last.records.end == added.records.start && last.reason == reason => {
                last.absorb(added);
            }
            _ => self.gaps.push_back(added),
        }
        writes.extend(self.gaps.back().map(|gap| gap.put(log)));
        if self.gaps.len() > GAPS
            && let (Some(mut oldest), Some(next)) = (self.gaps.pop_front(), self.gaps.pop_front())
        {
            writes.push(Write::Delete(log.gap_key(next.records.start).into()));
            oldest.absorb(next);
            writes.push(oldest.put(log));
            self.gaps.push_front(oldest);
        }
    }
}

impl Gap {
    fn absorb(&mut self, later: Gap) {
        // Those of damaged records do not lie in the order in which they were noted.
        self.records.end = self.records.end.max(later.records.end);
        self.dropped += later.dropped;
        self.at = later.at;
        self.reason = later.reason;
    }

    pub(crate) fn put(&self, log: Space) -> Write {
        let value = codec::encode(self, 0).expect("numbers always encode");
        Write::Put(log.gap_key(self.records.start).into(), value.into())
    }
}

impl Log {
    /// What was dropped before its slowest cursor had passed it, oldest first; 64 gaps at most.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn gaps(&self) -> Result<Vec<Gap>, ReadError> {
        Ok(Gaps::read(&self.db().view()?, self.space())?.gaps.into())
    }
}

impl Snapshot {
    /// [`Log::gaps`] as they were at this moment.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn gaps(&self, log: &Log) -> Result<Vec<Gap>, ReadError> {
        Ok(Gaps::read(self.view(), log.space())?.gaps.into())
    }
}
