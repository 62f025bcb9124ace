//! One stream that a job reads: its Log, how its records become rows, and how far it was read.

use edge_db::{Cursor, Log, ReadError, Record, Seq, WriteError};

use super::catalog::cursor_name;
use crate::decode::{Decoder, Memory};
use crate::watermark::EventTime;

/// Records in one step: more cost latency and memory, fewer cost speed.
const STEP_RECORDS: usize = 8192;

/// A stream that a job reads, as it is opened again at each restart.
#[derive(Debug, Clone)]
pub(crate) struct InputSpec {
    pub(crate) stream: String,
    pub(crate) log: Log,
    pub(crate) decoder: Decoder,
}

/// The same while the job runs.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) spec: InputSpec,
    pub(crate) cursor: Cursor,
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
}

/// What was read of an input at once.
pub(crate) struct ReadOn {
    pub(crate) records: Vec<Record>,
    /// Records that the Log had dropped before.
    pub(crate) missed: u64,
}

impl Input {
    /// Opens the input of this number among those of the job in this place, where its last checkpoint left it.
    pub(crate) fn open(place: &str, number: usize, spec: InputSpec) -> Result<Input, OpenError> {
        let cursor = spec.log.cursor(&cursor_name(place, number))?;
        let position = cursor.position()?;
        let (committed, memory) = (position, Memory::default());
        let (until, reached, turn) = (None, None, 0);
        Ok(Input { spec, cursor, position, committed, memory, until, reached, turn })
    }

    pub(crate) fn read(&mut self) -> Result<ReadOn, ReadError> {
        let records = self.spec.log.read(self.position, STEP_RECORDS)?;
        let until = self.until.unwrap_or(Seq::new(u64::MAX));
        let missing = records.missing();
        let missed = missing.map_or(0, |missing| missing.end.min(until).since(missing.start));
        self.position = records.next().min(until);
        let records = records.into_iter().filter(|record| record.seq() < until).collect();
        Ok(ReadOn { records, missed })
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
            let (log, schema) = (db.log("l").unwrap(), Arc::new(Schema::empty()));
            let decoder = Decoder::new(&schema, None, None, &Format::default()).unwrap();
            let spec = InputSpec { stream: "s".to_owned(), log, decoder };
            let input = Input::open("job", number, spec).unwrap();
            Input { reached: reached.map(EventTime::from_micros), turn, ..input }
        };
        let inputs =
            [input(0, Some(7), 1), input(1, Some(5), 4), input(2, Some(5), 3), input(3, None, 9)];
        assert_eq!(by_event_time(&inputs), [3, 2, 1, 0]);
    }
}
