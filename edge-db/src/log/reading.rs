//! Reading a Log, from any position or time, in both directions.

use std::ops::{Bound, ControlFlow, Range};

use bytes::Bytes;

use super::records::Found;
use super::{Log, LogState, RecordRef, Records, chunk, chunk_last};
use crate::error::ReadError;
use crate::view::View;
use crate::{Seq, Snapshot, Time};

/// One read takes no more than about this much, so that a backlog costs no memory.
pub(super) const READ_BYTES: usize = 4 * 1024 * 1024;

impl Log {
    /// The records from `from` on, at most `max_records` and about 4 MiB of them. None at the end.
    ///
    /// # Errors
    /// When the file cannot be read, or a record in it is damaged.
    pub fn read(&self, from: Seq, max_records: usize) -> Result<Records, ReadError> {
        self.read_in(&self.db().view()?, from, max_records)
    }

    /// The records before `before`, newest first, at most `max_records` and about 4 MiB of them;
    /// [`Records::next`] is what to give to the next call. None when the oldest that is kept has
    /// been read; what is no longer kept is not called missing.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let db = edge_db::Db::open(dir.path())?;
    /// # let log = db.log("readings")?;
    /// for value in ["1", "2", "3"] {
    ///     log.append(edge_db::Entry::new(value))?;
    /// }
    /// let last = log.read_back(log.bounds()?.end, 2)?;
    /// assert_eq!(last.iter().map(|record| record.seq().get()).collect::<Vec<_>>(), [2, 1]);
    /// assert_eq!(log.read_back(last.next(), 2)?.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the file cannot be read, or a record in it is damaged.
    pub fn read_back(&self, before: Seq, max_records: usize) -> Result<Records, ReadError> {
        self.read_back_in(&self.db().view()?, before, max_records)
    }

    /// The position of the first record at or after a time: of those that are kept, the one with
    /// the lowest position whose time is not before `time`, however times are ordered; the end of
    /// the log if there is none. Records behind it may be earlier.
    ///
    /// Costs a search through the chunks by halves, some 15 of them in a log of 1 GiB. Where a
    /// record that was dropped had a time beyond `time`, the search begins at the oldest chunk and
    /// looks at each one.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let db = edge_db::Db::open(dir.path())?;
    /// # let log = db.log("readings")?;
    /// use edge_db::{Entry, Seq, Time};
    /// for second in [10, 20, 15, 30] {
    ///     log.append(Entry::new("x").at(Time::from_micros(second * 1_000_000)))?;
    /// }
    /// assert_eq!(log.position_at(Time::from_micros(12_000_000))?, Seq::new(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the file cannot be read, or a record in it is damaged.
    pub fn position_at(&self, time: Time) -> Result<Seq, ReadError> {
        self.position_at_in(&self.db().view()?, time)
    }

    fn read_in(&self, view: &View, from: Seq, max_records: usize) -> Result<Records, ReadError> {
        let state = self.state_in(view)?;
        let start = from.max(state.first);
        let mut found = Found::default();
        let mut first = start;
        if start < state.next && max_records > 0 {
            first = self.read_chunks(view, start..state.next, max_records, &mut found)?;
        }
        let next = found.last().map_or(first, Seq::next);
        let missing = (from < first).then_some(from..first);
        Ok(Records { found, next, missing })
    }

    /// Where the records begin: behind the front of the range only where a repair had to leave
    /// some out. So that these are told, reading ends in front of such a place.
    fn read_chunks(
        &self,
        view: &View,
        range: Range<Seq>,
        max_records: usize,
        found: &mut Found,
    ) -> Result<Seq, ReadError> {
        let (start, end) = (self.space().chunk_key(range.start), self.space().next().prefix());
        let mut bytes = 0;
        for entry in view.range(Bound::Included(&start), Bound::Excluded(&end))? {
            let (key, stored) = entry?;
            let before = found.last();
            let count = found.len();
            let more = max_records - count;
            bytes += self.read_chunk(&key, &stored, range.start, more, found)?;
            let follows = found
                .get(count)
                .is_none_or(|record| before.is_none_or(|before| record.seq() == before.next()));
            if !follows {
                found.truncate(count);
                break;
            }
            if found.len() >= max_records || bytes >= READ_BYTES {
                break;
            }
        }
        Ok(found.first().unwrap_or(range.end))
    }

    fn read_back_in(
        &self,
        view: &View,
        before: Seq,
        max_records: usize,
    ) -> Result<Records, ReadError> {
        let LogState { first, next, .. } = self.state_in(view)?;
        let before = before.min(next);
        let mut records = Records { found: Found::default(), next: before, missing: None };
        if before <= first || max_records == 0 {
            return Ok(records);
        }
        // The chunk that holds the newest record wanted is stored under that one or a later one.
        let newest = self.space().chunk_key(Seq::new(before.get() - 1));
        let end = self.space().next().prefix();
        let newest_chunk = view.range(Bound::Included(&newest), Bound::Excluded(&end))?.next();
        let oldest = self.space().chunk_key(first);
        let older = view.range(Bound::Included(&oldest), Bound::Excluded(&newest))?;
        let mut bytes = 0;
        for entry in newest_chunk.into_iter().chain(older.rev()) {
            let (key, stored) = entry?;
            bytes += self.read_chunk_back(&key, &stored, first, max_records, &mut records)?;
            if records.len() >= max_records || bytes >= READ_BYTES {
                break;
            }
        }
        Ok(records)
    }

    /// Appends a chunk's records before `out.next`, newest first.
    fn read_chunk_back(
        &self,
        key: &Bytes,
        stored: &Bytes,
        first: Seq,
        max_records: usize,
        out: &mut Records,
    ) -> Result<usize, ReadError> {
        let wanted = (max_records - out.len()) as u64;
        let from = Seq::new(out.next.get().saturating_sub(wanted)).max(first);
        let count = out.len();
        let bytes = self.read_chunk(key, stored, from, usize::MAX, &mut out.found)?;
        let before = out.next;
        let is_wanted = |record: &RecordRef<'_>| record.seq() < before;
        let wanted = out.iter().skip(count).take_while(is_wanted).count();
        out.found.truncate(count + wanted);
        out.found.reverse_from(count);
        out.next = out.found.last().unwrap_or(before);
        Ok(bytes)
    }

    fn position_at_in(&self, view: &View, time: Time) -> Result<Seq, ReadError> {
        let state = self.state_in(view)?;
        if state.newest.is_none_or(|newest| newest < time) {
            return Ok(state.next);
        }
        // What a log has reached by a chunk never falls from one chunk to the next, as the times
        // in them may.
        let (mut low, mut high) = (state.first, state.next);
        while low < high {
            let middle = Seq::new(low.get().midpoint(high.get()));
            let Some((front, positions)) = self.front_at(view, middle)? else { break };
            if front.newest < time {
                low = positions.end;
            } else {
                high = middle.min(positions.start);
            }
        }
        self.first_from(view, low.max(state.first)..state.next, time)
    }

    /// The front of the chunk that holds a position, and its positions.
    fn front_at(
        &self,
        view: &View,
        seq: Seq,
    ) -> Result<Option<(chunk::Front, Range<Seq>)>, ReadError> {
        let (start, end) = (self.space().chunk_key(seq), self.space().next().prefix());
        let mut found = None;
        view.visit(Bound::Included(&start), Bound::Excluded(&end), |key, stored| {
            found = Some((chunk_last(key), chunk::front(stored)));
            ControlFlow::Break(())
        })?;
        let Some((last, front)) = found else { return Ok(None) };
        let front = front.map_err(|source| self.value_error(source))?;
        let positions = last.and_then(|last| front.positions(last));
        let positions = positions.ok_or_else(|| self.key_error())?;
        Ok(Some((front, positions)))
    }

    /// The first record at or after a time, looking at each chunk; else the end of the range.
    fn first_from(&self, view: &View, range: Range<Seq>, time: Time) -> Result<Seq, ReadError> {
        let (start, end) = (self.space().chunk_key(range.start), self.space().next().prefix());
        let mut found = Ok(range.end);
        view.visit(Bound::Included(&start), Bound::Excluded(&end), |key, stored| {
            if chunk::front(stored).is_ok_and(|front| front.latest < time) {
                return ControlFlow::Continue(());
            }
            let mut records = Found::default();
            let stored = Bytes::copy_from_slice(stored);
            let read = self.read_chunk(key, &stored, range.start, usize::MAX, &mut records);
            // None, if it is one of those in the chunk that were dropped.
            match (read, records.iter().find(|record| record.time() >= time)) {
                (Err(error), _) => found = Err(error),
                (Ok(_), Some(record)) => found = Ok(record.seq()),
                (Ok(_), None) => return ControlFlow::Continue(()),
            }
            ControlFlow::Break(())
        })?;
        found
    }

    fn read_chunk(
        &self,
        key: &[u8],
        stored: &Bytes,
        from: Seq,
        max_records: usize,
        found: &mut Found,
    ) -> Result<usize, ReadError> {
        let last = chunk_last(key).ok_or_else(|| self.key_error())?;
        chunk::read(stored, last, from, max_records, found)
            .map_err(|source| self.value_error(source))
    }

    pub(super) fn key_error(&self) -> ReadError {
        ReadError::Key { name: self.name().to_owned() }
    }
}

impl Snapshot {
    /// The records from `from` on at this moment, at most `max_records` and about 4 MiB of them.
    ///
    /// # Errors
    /// When the file cannot be read, or a record in it is damaged.
    pub fn read(&self, log: &Log, from: Seq, max_records: usize) -> Result<Records, ReadError> {
        log.read_in(self.view(), from, max_records)
    }

    /// The records before `before` at this moment, newest first: [`Log::read_back`].
    ///
    /// # Errors
    /// When the file cannot be read, or a record in it is damaged.
    pub fn read_back(
        &self,
        log: &Log,
        before: Seq,
        max_records: usize,
    ) -> Result<Records, ReadError> {
        log.read_back_in(self.view(), before, max_records)
    }

    /// The first record at or after a time at this moment: [`Log::position_at`].
    ///
    /// # Errors
    /// When the file cannot be read, or a record in it is damaged.
    pub fn position_at(&self, log: &Log, time: Time) -> Result<Seq, ReadError> {
        log.position_at_in(self.view(), time)
    }

    /// The oldest record kept at this moment, and the position of the next one.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn bounds(&self, log: &Log) -> Result<Range<Seq>, ReadError> {
        log.state_in(self.view()).map(|state| state.first..state.next)
    }
}

#[cfg(test)]
mod tests {
    use crate::batch::Op;
    use crate::{Db, Entry, Seq};

    /// Takes the chunks of these records out, as a repair does that cannot read them.
    fn without(lost: std::ops::Range<u64>) -> (tempfile::TempDir, Db) {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path()).unwrap();
        let log = db.log("log").unwrap();
        for n in 0..10 {
            log.append(Entry::new(n.to_string())).unwrap();
        }
        let mut batch = db.batch();
        lost.for_each(|n| {
            batch.push_system(Op::Delete { key: log.space().chunk_key(Seq::new(n)) })
        });
        batch.commit().unwrap();
        (dir, db)
    }

    #[test]
    fn reading_ends_in_front_of_missing_records_and_then_tells_them() {
        for lost in [0..2, 4..6, 8..10] {
            let (_dir, db) = without(lost.clone());
            let log = db.log("log").unwrap();
            let (mut at, mut found, mut missing) = (Seq::ZERO, Vec::new(), Vec::new());
            while at < Seq::new(10) {
                let records = log.read(at, 100).unwrap();
                missing.extend(records.missing());
                at = records.next();
                found.extend(records.into_iter().map(|record| record.seq().get()));
            }
            assert_eq!(missing, [Seq::new(lost.start)..Seq::new(lost.end)]);
            assert!(found.into_iter().eq((0..10).filter(|n| !lost.contains(n))), "{lost:?}");
            let back = log.read_back(Seq::new(10), 100).unwrap();
            assert_eq!(back.len(), 8, "{lost:?}");
        }
    }
}
