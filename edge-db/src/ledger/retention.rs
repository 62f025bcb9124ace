//! What a log drops, and when.

use std::time::Duration;

use super::account::{Account, OldestChunks};
use super::{Ledger, Space};
use crate::error::{StoreError, WriteError};
use crate::log::WhenFull;
use crate::log::gap::GapReason;
use crate::store::Write;
use crate::{Seq, Time};

impl Ledger {
    /// Begins a group: what is older than its log keeps it goes, in all logs.
    ///
    /// # Errors
    /// When the group must be given up, for some of it may be staged.
    pub(crate) fn begin(&mut self, now: Time, oldest: OldestChunks<'_>) -> Result<(), StoreError> {
        self.now = now;
        for log in self.logs.values_mut() {
            if let Some(age) = log.options.max_age {
                log.expire(now, age, oldest, &mut self.writes)?;
            }
        }
        Ok(())
    }

    /// Drops old records until `more` bytes fit, as the log's policy allows. A group that is
    /// larger than the log may overshoot its limit by itself.
    pub(super) fn make_room(
        &mut self,
        space: Space,
        more: u64,
        oldest: OldestChunks<'_>,
    ) -> Result<(), WriteError> {
        let log = self.logs.get_mut(&space).expect("registered, as its handle shows");
        log.make_room(more, self.now, oldest, &mut self.writes)
    }

    /// Gives up the records before `before`, whatever cursors say.
    pub(super) fn trim(
        &mut self,
        space: Space,
        before: Seq,
        oldest: OldestChunks<'_>,
    ) -> Result<(), StoreError> {
        let log = self.logs.get_mut(&space).expect("registered, as its handle shows");
        log.drop_chunks(oldest, self.now, GapReason::Trimmed, &mut self.writes, |_, chunk| {
            chunk.records.end <= before
        })
    }
}

impl Account {
    fn expire(
        &mut self,
        now: Time,
        age: Duration,
        oldest: OldestChunks<'_>,
        writes: &mut Vec<Write>,
    ) -> Result<(), StoreError> {
        let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
        let since = Time::from_micros(now.micros().saturating_sub(age));
        let keep_from = match self.options.when_full {
            WhenFull::DropOldest => None,
            WhenFull::Refuse => self.slowest(),
        };
        self.drop_chunks(oldest, now, GapReason::Age, writes, |_, chunk| {
            chunk.latest < since && keep_from.is_none_or(|slowest| chunk.records.end <= slowest)
        })
    }

    fn make_room(
        &mut self,
        more: u64,
        now: Time,
        oldest: OldestChunks<'_>,
        writes: &mut Vec<Write>,
    ) -> Result<(), WriteError> {
        let limit = self.options.max_bytes;
        if self.state.bytes + more <= limit {
            return Ok(());
        }
        let read_by_all = self.slowest().unwrap_or(Seq::ZERO);
        let drop_unread = self.options.when_full == WhenFull::DropOldest;
        self.drop_chunks(oldest, now, GapReason::Full, writes, |log, chunk| {
            log.state.bytes + more > limit && (drop_unread || chunk.records.end <= read_by_all)
        })?;
        if self.state.bytes + more > limit && !drop_unread {
            return Err(WriteError::LogFull {
                log: self.name.to_string(),
                used_bytes: self.state.bytes,
                limit_bytes: limit,
            });
        }
        Ok(())
    }
}
