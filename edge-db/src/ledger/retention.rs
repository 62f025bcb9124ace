//! What a log drops, and when.

use std::time::Duration;

use super::account::{Account, OldestChunks};
use super::{Ledger, Space};
use crate::error::{StoreError, WriteError};
use crate::log::WhenFull;
use crate::log::gap::GapReason;
use crate::store::{Fullness, Write};
use crate::{Seq, Time};

impl Ledger {
    /// Begins a group, on a disk that may be `full`: what is older than its log keeps it goes, in
    /// all logs.
    ///
    /// # Errors
    /// When the group must be given up, for some of it may be staged.
    pub(crate) fn begin(
        &mut self,
        now: Time,
        full: Option<Fullness>,
        oldest: OldestChunks<'_>,
    ) -> Result<(), StoreError> {
        self.now = now;
        self.full = full;
        for log in self.logs.values_mut() {
            if let Some(age) = log.options.max_age {
                log.expire(now, age, oldest, &mut self.writes)?;
            }
        }
        Ok(())
    }

    /// Drops old records until `more` bytes fit, as the log's policy allows. A batch may overshoot
    /// the limit of a log that drops its oldest records by itself.
    pub(super) fn make_room(
        &mut self,
        space: Space,
        more: u64,
        oldest: OldestChunks<'_>,
    ) -> Result<(), WriteError> {
        let log = self.logs.get_mut(&space).expect("registered, as its handle shows");
        let limit = match self.full {
            // What comes must push out as much.
            Some(_) => log.state.bytes.min(log.options.max_bytes),
            None => log.options.max_bytes,
        };
        let has_room = log.make_room(more, limit, self.now, oldest, &mut self.writes)?;
        if !has_room && log.options.when_full == WhenFull::Refuse {
            return Err(WriteError::LogFull {
                log: log.name.to_string(),
                used_bytes: log.state.bytes,
                limit_bytes: limit,
                slowest: log.slowest_name(),
            });
        }
        Ok(())
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

    /// Whether `more` bytes fit within the limit, after all has gone that may.
    fn make_room(
        &mut self,
        more: u64,
        limit: u64,
        now: Time,
        oldest: OldestChunks<'_>,
        writes: &mut Vec<Write>,
    ) -> Result<bool, StoreError> {
        if self.state.bytes + more > limit {
            let read_by_all = self.slowest().unwrap_or(Seq::ZERO);
            let drop_unread = self.options.when_full == WhenFull::DropOldest;
            self.drop_chunks(oldest, now, GapReason::Full, writes, |log, chunk| {
                log.state.bytes + more > limit && (drop_unread || chunk.records.end <= read_by_all)
            })?;
        }
        Ok(self.state.bytes + more <= limit)
    }
}
