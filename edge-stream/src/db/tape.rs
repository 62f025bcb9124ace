//! Where the records of a stream lie: in a Log, or in memory alone.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::ops::Range;
use std::sync::Arc;

use edge_db::{
    Batch, Cursor, Db, Log, MemoryLog, ReadError, Records, Seq, Snapshot, Table, Time, Watch,
    WriteError,
};
use serde::{Deserialize, Serialize};

use super::catalog::Catalog;
use super::input::OpenError;

/// In front of the name of a stream that lies in memory. No name of a statement has a dot.
const LIVE: &str = "stream.live.";

/// How far jobs have come in memory, by the names of their cursors.
pub(crate) type LivePositions = Table<String, LivePosition>;

/// A place in the memory of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LivePosition {
    /// Positions of another life mean nothing in this one.
    life: u64,
    position: Seq,
}

/// The records of a stream.
#[derive(Debug, Clone)]
pub(crate) enum Tape {
    Log(Log),
    Live(Arc<LiveTape>),
}

/// Records of a live topic: from the broker into memory, and gone with the process.
#[derive(Debug)]
pub(crate) struct LiveTape {
    name: String,
    life: u64,
    pub(crate) records: MemoryLog,
    db: Db,
    positions: LivePositions,
    /// What brings the records, once the broker does.
    #[cfg(feature = "mq")]
    pub(crate) recording: parking_lot::Mutex<Option<edge_mq::Recording>>,
}

/// How far a job has come, stored with what it made of the records in front.
#[derive(Debug, Clone)]
pub(crate) enum Mark {
    Log(Cursor),
    Live(Arc<LiveTape>, String),
}

impl From<Log> for Tape {
    fn from(log: Log) -> Tape {
        Tape::Log(log)
    }
}

impl LiveTape {
    /// For a stream of this name, of about so many bytes.
    pub(crate) fn new(stream: &str, bytes: usize, catalog: &Catalog) -> LiveTape {
        LiveTape {
            name: format!("{LIVE}{stream}"),
            // The keys of each are random.
            life: RandomState::new().build_hasher().finish(),
            records: MemoryLog::new(bytes),
            db: catalog.db.clone(),
            positions: catalog.live.clone(),
            #[cfg(feature = "mq")]
            recording: parking_lot::Mutex::default(),
        }
    }
}

impl Tape {
    /// The name of its Log, or one that no Log has.
    pub(crate) fn name(&self) -> &str {
        match self {
            Tape::Log(log) => log.name(),
            Tape::Live(live) => &live.name,
        }
    }

    /// The Log, if it is one.
    pub(crate) fn log(&self) -> Option<&Log> {
        match self {
            Tape::Log(log) => Some(log),
            Tape::Live(_) => None,
        }
    }

    /// What lies in memory, if it does.
    pub(crate) fn live(&self) -> Option<&Arc<LiveTape>> {
        match self {
            Tape::Log(_) => None,
            Tape::Live(live) => Some(live),
        }
    }

    /// Whether positions of the one are such of the other.
    pub(crate) fn is_same(&self, other: &Tape) -> bool {
        match (self, other) {
            (Tape::Live(one), Tape::Live(other)) => one.life == other.life,
            (one, other) => one.name() == other.name(),
        }
    }

    /// The oldest record that is kept, and the position that the next one will get.
    pub(crate) fn bounds(&self) -> Result<Range<Seq>, ReadError> {
        match self {
            Tape::Log(log) => log.bounds(),
            Tape::Live(live) => Ok(live.records.bounds()),
        }
    }

    /// The position behind the newest record, and the bytes of all that were ever appended, which memory
    /// does not count.
    pub(crate) fn end(&self) -> Result<(Seq, Option<u64>), ReadError> {
        match self {
            Tape::Log(log) => log.state().map(|state| (state.next, Some(state.appended_bytes))),
            Tape::Live(live) => Ok((live.records.bounds().end, None)),
        }
    }

    pub(crate) fn read(&self, from: Seq, max_records: usize) -> Result<Records, ReadError> {
        match self {
            Tape::Log(log) => log.read(from, max_records),
            Tape::Live(live) => Ok(live.records.read(from, max_records)),
        }
    }

    /// The same at a moment, which memory does not know: that is read as it is.
    pub(crate) fn read_at(
        &self,
        at: &Snapshot,
        from: Seq,
        max_records: usize,
    ) -> Result<Records, ReadError> {
        match self {
            Tape::Log(log) => at.read(log, from, max_records),
            Tape::Live(live) => Ok(live.records.read(from, max_records)),
        }
    }

    /// When the record in front of this position came, if it is there.
    pub(crate) fn time_before(&self, position: Seq) -> Result<Option<Time>, ReadError> {
        let records = match self {
            Tape::Log(log) => log.read_back(position, 1)?,
            Tape::Live(live) => match position.get().checked_sub(1) {
                Some(last) => live.records.read(Seq::new(last), 1),
                None => return Ok(None),
            },
        };
        Ok(records.get(0).filter(|last| last.seq() < position).map(|last| last.time()))
    }

    pub(crate) fn watch(&self) -> Watch {
        match self {
            Tape::Log(log) => log.watch(),
            Tape::Live(live) => live.records.watch(),
        }
    }

    /// Where the job with a cursor of this name stands. A new one stands at the oldest record that is
    /// kept, and this is stored, so that what is dropped from then on is missed.
    pub(crate) fn mark(&self, cursor: &str) -> Result<Mark, OpenError> {
        Ok(match self {
            Tape::Log(log) => Mark::Log(log.cursor(cursor)?),
            Tape::Live(live) => {
                let (mark, cursor) =
                    (Mark::Live(Arc::clone(live), cursor.to_owned()), cursor.to_owned());
                if live.positions.get(&cursor)?.is_none() {
                    let mut batch = live.db.batch();
                    batch.expect(&live.positions, &cursor, None).expect("nothing always encodes");
                    mark.advance(&mut batch, live.records.bounds().start);
                    match batch.commit() {
                        // Somebody else was first, and may be further.
                        Ok(_) | Err(WriteError::Conflict { .. }) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                mark
            }
        })
    }
}

impl Mark {
    pub(crate) fn position(&self) -> Result<Seq, ReadError> {
        match self {
            Mark::Log(cursor) => cursor.position(),
            Mark::Live(live, cursor) => Ok(live.known(live.positions.get(cursor)?)),
        }
    }

    pub(crate) fn position_at(&self, at: &Snapshot) -> Result<Seq, ReadError> {
        match self {
            Mark::Log(cursor) => at.position(cursor),
            Mark::Live(live, cursor) => Ok(live.known(at.get(&live.positions, cursor)?)),
        }
    }

    pub(crate) fn advance(&self, batch: &mut Batch, position: Seq) {
        match self {
            Mark::Log(cursor) => batch.advance(cursor, position),
            Mark::Live(live, cursor) => {
                let position = LivePosition { life: live.life, position };
                batch.insert(&live.positions, cursor, &position).expect("numbers always encode");
            }
        }
    }
}

impl LiveTape {
    /// Whoever was here in an earlier life has everything of this one in front; who was not, what is there.
    fn known(&self, stored: Option<LivePosition>) -> Seq {
        match stored {
            Some(LivePosition { life, position }) if life == self.life => position,
            Some(_) => Seq::ZERO,
            None => self.records.bounds().start,
        }
    }
}

#[cfg(test)]
mod tests {
    use edge_db::Entry;

    use super::*;

    #[tokio::test]
    async fn positions_of_another_life_mean_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path()).unwrap();
        let catalog = Catalog::open(db.clone(), db.claim("x").await).unwrap();
        let tape = || {
            let live = LiveTape::new("s", 1 << 10, &catalog);
            for _ in 0..50 {
                live.records.append(&Entry::new("x"));
            }
            Tape::Live(Arc::new(live))
        };
        let (first, second) = (tape(), tape());
        let mark = first.mark("stream.job").unwrap();
        let start = first.bounds().unwrap().start;
        assert!(start > Seq::ZERO && mark.position().unwrap() == start);
        let mut batch = db.batch();
        mark.advance(&mut batch, Seq::new(3));
        batch.commit().unwrap();
        let at = db.snapshot().unwrap();
        for (tape, position) in [(&first, 3), (&second, 0)] {
            let mark = tape.mark("stream.job").unwrap();
            assert_eq!(mark.position().unwrap().get(), position);
            assert_eq!(mark.position_at(&at).unwrap().get(), position);
            assert_eq!(first.is_same(tape), position == 3);
        }
        assert_eq!(first.time_before(Seq::ZERO).unwrap(), None);
        let end = first.bounds().unwrap().end;
        assert!(first.time_before(end).unwrap().is_some());
    }
}
