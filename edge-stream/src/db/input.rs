//! One stream that a job reads: where its records lie, how its records become rows, and how far it was read.

use std::sync::Arc;

use edge_db::{ReadError, Seq, Time, WriteError};

use super::catalog::cursor_name;
use super::job::JobError;
use super::shared::{Part, Reader, Shared};
use super::tape::{Mark, Tape};
use crate::decode::{Decoder, Memory};
use crate::sql::times::Span;
use crate::watermark::EventTime;

/// A stream that a job reads, as it is opened again at each restart.
#[derive(Debug, Clone)]
pub(crate) struct InputSpec {
    pub(crate) stream: String,
    pub(crate) log: Tape,
    pub(crate) decoder: Decoder,
    /// How long it says nothing until others do not wait for it.
    pub(crate) idle_timeout: Option<Span>,
    /// What all jobs have in common that read the stream.
    pub(crate) shared: Arc<Shared>,
}

/// The same while the job runs.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) spec: InputSpec,
    /// `None` if the decoder has to remember what it saw before: then the job decodes by itself.
    reader: Option<Reader>,
    pub(crate) cursor: Mark,
    pub(crate) position: Seq,
    pub(crate) committed: Seq,
    /// What the decoder remembers of the records in front of the position.
    pub(crate) memory: Memory,
    /// It is read no further than this.
    pub(crate) until: Option<Seq>,
    /// How far event time has come in it; without event time, when its last record arrived.
    pub(crate) reached: Option<EventTime>,
    /// Greater than that of all inputs that were read before it.
    pub(crate) turn: u64,
    /// When its last record came.
    pub(crate) last: Option<Time>,
    pub(crate) is_idle: bool,
    /// What its Log had ever been given when it was last read to the end.
    at_end_bytes: Option<u64>,
}

impl Input {
    /// Opens the input of this number among those of the job in this place, where its last checkpoint left it.
    pub(crate) fn open(place: &str, number: usize, spec: InputSpec) -> Result<Input, OpenError> {
        let cursor = spec.log.mark(&cursor_name(place, number))?;
        let position = cursor.position()?;
        let (committed, memory) = (position, Memory::default());
        let (until, reached, turn) = (None, None, 0);
        let last = spec.log.time_before(position)?;
        let is_idle = false;
        let is_shared = !spec.decoder.has_memory();
        let reader = is_shared.then(|| spec.shared.reader(&spec.decoder, position));
        Ok(Input {
            spec,
            reader,
            cursor,
            position,
            committed,
            memory,
            until,
            reached,
            turn,
            last,
            is_idle,
            at_end_bytes: None,
        })
    }

    /// What follows the position, which goes past it; `None` at the end.
    pub(crate) fn read(&mut self) -> Result<Option<Part>, JobError> {
        let (from, until) = (self.position, self.until.unwrap_or(Seq::new(u64::MAX)));
        let part = match &self.reader {
            Some(reader) => reader.read(from, until)?,
            None => Part::read(&self.spec.log, &self.spec.decoder, &mut self.memory, from, until)?,
        };
        if let Some(part) = &part {
            self.position = part.next;
        }
        Ok(part)
    }

    /// Whether there is nothing more in its Log. One that stands where it is to be read to may have
    /// more behind that.
    pub(crate) fn is_at_end(&self) -> Result<bool, ReadError> {
        Ok(self.until.is_none() || self.spec.log.bounds()?.end <= self.position)
    }

    /// Whether there is nothing to read now.
    pub(crate) fn has_nothing_more(&mut self) -> Result<bool, ReadError> {
        let (end, appended_bytes) = self.spec.log.end()?;
        self.at_end_bytes = appended_bytes.filter(|_| end <= self.position);
        Ok(self.until.map_or(end, |until| end.min(until)) <= self.position)
    }

    /// How many bytes of records there are to read; `None` if it is behind, so that nobody has counted.
    pub(crate) fn unread_bytes(&self) -> Option<u64> {
        let (_, appended_bytes) = self.spec.log.end().ok()?;
        appended_bytes?.checked_sub(self.at_end_bytes?)
    }

    /// When it becomes idle, if nothing more comes. Its records say when it spoke last; while nobody
    /// listened, before `since`, it may have had something to say.
    pub(crate) fn idle_at(&self, since: Time, now: Time) -> Option<Time> {
        let timeout = self.spec.idle_timeout.as_ref().filter(|_| !self.is_idle)?.micros;
        // A clock that was wrong once may have said that it speaks in years.
        let last = self.last.filter(|last| *last <= now).map_or(since, |last| last.max(since));
        Some(Time::from_micros(last.micros().saturating_add(timeout)))
    }

    /// Whether it was idle already when another one said this.
    pub(crate) fn was_idle_at(&self, heard: Time) -> bool {
        // Of what came to a live topic before, nobody knows.
        if self.last.is_none() && self.spec.log.live().is_some() {
            return false;
        }
        let last = self.last.map_or(i64::MIN, Time::micros);
        let quiet = heard.micros().saturating_sub(last);
        self.spec.idle_timeout.as_ref().is_some_and(|timeout| quiet >= timeout.micros)
    }
}

/// In which order a job shall look for something to read.
///
/// What lies behind in event time comes first: a replay that read one stream to its end, and then
/// the other, would hold all rows of the first in the state of a join, as the watermark of the
/// join is the least of its inputs. Streams that are equally far take turns. None is held up for
/// ever by this: one that waits is read as soon as the others have nothing more, or have come as
/// far as it has.
pub(crate) fn by_event_time(inputs: &[Input]) -> Vec<usize> {
    let mut order: Vec<_> = (0..inputs.len()).collect();
    order.sort_by_key(|number| (inputs[*number].reached, inputs[*number].turn));
    order
}

/// Why an input could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Read(#[from] ReadError),
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::Schema;

    use super::*;
    use crate::decode::format::Format;

    #[test]
    fn what_lies_behind_is_read_first_and_equals_take_turns() {
        let dir = tempfile::tempdir().unwrap();
        let db = edge_db::Db::open(dir.path()).unwrap();
        let input = |number, reached: Option<i64>, turn| {
            let (log, schema) = (Tape::from(db.log("l").unwrap()), Arc::new(Schema::empty()));
            let decoder = Decoder::new(&schema, None, None, &Format::default()).unwrap();
            let shared = Arc::new(Shared::new(log.clone(), decoder.clone()));
            let (stream, idle_timeout) = ("s".to_owned(), None);
            let spec = InputSpec { stream, log, decoder, idle_timeout, shared };
            let input = Input::open("job", number, spec).unwrap();
            Input { reached: reached.map(EventTime::from_micros), turn, ..input }
        };
        let inputs =
            [input(0, Some(7), 1), input(1, Some(5), 4), input(2, Some(5), 3), input(3, None, 9)];
        assert_eq!(by_event_time(&inputs), [3, 2, 1, 0]);
    }
}
