//! The way through one segment, and what its end means.

use super::Damage;
use super::doubtful::{Doubtful, Place};
use super::found::Found;
use crate::encryption::Cipher;
use crate::journal::record::{self, ALIGN};
use crate::journal::segment::{self, seed};
use crate::revision::Revision;
use crate::store::Write;

/// The way through one segment.
pub(super) struct Walk<'a> {
    pub(super) place: usize,
    pub(super) segment: &'a mut Found,
    pub(super) cipher: Option<&'a Cipher>,
    pub(super) settled: Revision,
    /// Where a later segment goes on.
    pub(super) end: Option<Revision>,
    /// The segments after it.
    pub(super) later: &'a [Found],
    /// What the mark says.
    pub(super) durable: Revision,
    pub(super) doubtful: &'a mut Doubtful,
}

impl Walk<'_> {
    /// The commit that is missing before the first one of this segment, if any is. It was not
    /// durable then, and neither was anything behind it: what a power cut left of that is lost.
    pub(super) fn gap_before(
        &self,
        expected: Option<Revision>,
    ) -> Result<Option<Revision>, Damage> {
        let next = expected.unwrap_or(self.settled.next());
        let first = self.segment.first.filter(|first| self.is_before_end(*first));
        if first.is_none_or(|first| first <= next) {
            return Ok(None);
        }
        let here = segment::HEADER_BYTES;
        if self.was_durable(next, &self.segment.read()?, here)? {
            return Err(self.damaged(here, next));
        }
        Ok(Some(next))
    }

    /// Moves on the revision that is expected next.
    pub(super) fn run(
        &mut self,
        expected: &mut Option<Revision>,
        apply: &mut impl FnMut(Revision, Vec<Write>),
        note: &mut dyn FnMut(Damage) -> Result<(), Damage>,
    ) -> Result<(), Damage> {
        let bytes = match self.segment.read() {
            Ok(bytes) => bytes,
            Err(damage) => {
                note(damage)?;
                self.segment.read_any()
            }
        };
        let number = self.segment.header.number;
        let mut offset = segment::HEADER_BYTES;
        loop {
            let at = usize::try_from(offset).expect("the segment is in memory");
            let next = expected.unwrap_or(self.settled.next());
            let group = bytes.get(at..).and_then(|rest| record::open(rest, seed(number, offset)));
            let Some((head, end)) = group.filter(|(head, _)| self.is_before_end(head.revision))
            else {
                if next <= self.settled {
                    // Used again and written over, perhaps: nothing in it is needed.
                    *expected = None;
                    return Ok(());
                }
                return self.ended(&bytes, offset, next);
            };
            if head.revision > next || expected.is_some_and(|next| head.revision != next) {
                return Err(self.damaged(offset, next));
            }
            let whole = at + end.next_multiple_of(ALIGN);
            if head.revision > self.settled {
                let payload = record::payload(&bytes[at..at + end], head, self.cipher);
                let writes = payload.and_then(|payload| record::writes(&payload));
                let writes = writes.ok_or_else(|| self.damaged(offset, next))?;
                apply(head.revision, writes);
                let (revision, segment) = (head.revision, self.place);
                let record = Place { revision, segment, offset, bytes: whole - at };
                self.doubtful.push(record, head.durable);
            }
            self.segment.last = head.revision;
            *expected = Some(head.revision.next());
            offset = whole as u64;
        }
    }

    fn is_before_end(&self, revision: Revision) -> bool {
        self.end.is_none_or(|end| revision < end)
    }

    /// At `at` is no record that counts: fine if `next` was never durable.
    fn ended(&self, bytes: &[u8], at: u64, next: Revision) -> Result<(), Damage> {
        if self.end.is_some_and(|end| end <= next) || !self.was_durable(next, bytes, at)? {
            return Ok(());
        }
        match self.later.first() {
            // That one was begun because this one was full.
            Some(later) if self.end.is_none() && !self.segment.tells_durable(next, bytes, at) => {
                Err(Damage::Record {
                    file: later.name.clone(),
                    offset: segment::HEADER_BYTES,
                    revision: next,
                })
            }
            _ => Err(self.damaged(at, next)),
        }
    }

    /// Whether the mark, the segment from here on, or a later one says that a commit was durable.
    fn was_durable(&self, revision: Revision, bytes: &[u8], from: u64) -> Result<bool, Damage> {
        if self.durable >= revision || self.segment.tells_durable(revision, bytes, from) {
            return Ok(true);
        }
        for later in self.later {
            if later.tells_durable(revision, &later.read()?, segment::HEADER_BYTES) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn damaged(&self, offset: u64, revision: Revision) -> Damage {
        Damage::Record { file: self.segment.name.clone(), offset, revision }
    }
}
