//! The database under test: what is opened in it, and how a whole state is read and compared.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use edge_db::disk::Disk;
use edge_db::{
    Cursor, Db, DbBuilder, Index, Keyspace, Log, LogOptions, ReadError, Seq, Snapshot, Table,
    WhenFull,
};

use crate::model::{CURSORS, MARKS, Model, State, Which};
use crate::model_log::{ModelLog, Rec};
use crate::rng::Rng;

pub(crate) const KEPT_BYTES: u64 = 6 * 1024;
pub(crate) const ROLLING_BYTES: u64 = 8 * 1024;

const CHANGES_BYTES: u64 = 16 * 1024;

/// An open database with everything in it.
pub(crate) struct Handles {
    pub(crate) db: Db,
    pub(crate) table: Table<u32, Vec<u8>>,
    pub(crate) cells: Keyspace,
    pub(crate) marks: Keyspace,
    pub(crate) logs: [Log; 2],
    pub(crate) cursors: Vec<Cursor>,
    /// By the first byte of a row.
    pub(crate) index: Index<u8, u32, Vec<u8>>,
    /// What changed in the table; drops its oldest records.
    pub(crate) changes: Log,
    /// Tables whose rows expire, once for each [`Life`](crate::model::Life).
    pub(crate) members: [Table<u32, u8>; 2],
    pub(crate) notes: [Table<u32, u64>; 2],
    /// No two members have one badge.
    pub(crate) by_badge: Index<u8, u32, u8>,
}

impl Drop for Handles {
    /// Ends the threads of a database that has lost its disk: an index holds a handle to it, so
    /// dropping all others does not.
    fn drop(&mut self) {
        let _is_over = self.db.shutdown(Duration::ZERO);
    }
}

/// Limits so small that everything happens often, and differently in each life.
pub(crate) fn options(rng: &mut Rng, is_encrypted: bool) -> DbBuilder {
    builder(is_encrypted)
        .memory_bytes(rng.pick(&[64 << 10, 64 << 10, 160 << 10]))
        .journal_bytes(rng.pick(&[64 << 10, 128 << 10, 512 << 10]))
        .keep_journal_bytes(rng.pick(&[0, 0, 64 << 10, 1 << 20]))
        .check_on_open(rng.chance(25))
}

#[cfg(feature = "encryption")]
pub(crate) fn builder(is_encrypted: bool) -> DbBuilder {
    let key = edge_db::EncryptionKey::from_bytes([7; 32]);
    if is_encrypted { Db::builder().encryption_key(key) } else { Db::builder() }
}

#[cfg(not(feature = "encryption"))]
pub(crate) fn builder(_: bool) -> DbBuilder {
    Db::builder()
}

impl Handles {
    pub(crate) fn open(disk: Arc<dyn Disk>, options: DbBuilder) -> Result<Handles, Box<dyn Error>> {
        let db = options.open_on(disk)?;
        let kept = LogOptions::new().max_bytes(KEPT_BYTES);
        let rolling = LogOptions::new().max_bytes(ROLLING_BYTES).when_full(WhenFull::DropOldest);
        let logs = [db.log_with("kept", kept)?, db.log_with("rolling", rolling)?];
        let cursors = CURSORS.iter().map(|(which, name)| logs[*which as usize].cursor(name));
        let table = db.table("table")?;
        let changes = db.log_with("changes", rolling.max_bytes(CHANGES_BYTES))?;
        table.capture_into(&changes)?;
        table.keep_count()?;
        let members = lives(db.table("members")?);
        Ok(Handles {
            by_badge: members[0].unique_index("badge", |badge: &u8| Some(*badge))?,
            members,
            notes: lives(db.table("notes")?),
            index: table.index("first", |row: &Vec<u8>| row.first().copied())?,
            changes,
            table,
            cells: db.keyspace("cells")?,
            marks: db.keyspace("marks")?,
            cursors: cursors.collect::<Result<_, _>>()?,
            logs,
            db,
        })
    }

    /// Lets the model take in which of the batches in doubt a snapshot shows.
    pub(crate) fn observe(&self, snapshot: &Snapshot, model: &mut Model) -> Result<(), ReadError> {
        let mut marks = BTreeMap::new();
        for issued in model.in_doubt() {
            let slot = issued.number % MARKS;
            if let Some(mark) = snapshot.get_bytes(&self.marks, slot.to_be_bytes())? {
                marks.insert(slot, number(&mark));
            }
        }
        model.observe(&marks, false);
        Ok(())
    }

    /// All that a snapshot shows but for the content of the logs.
    pub(crate) fn read(&self, snapshot: &Snapshot) -> Result<State, ReadError> {
        let mut state = State::default();
        for mark in snapshot.prefix(&self.marks, [])? {
            let (slot, batch) = mark?;
            state.marks.insert(number(&slot), number(&batch));
        }
        state.table = snapshot.iter(&self.table)?.collect::<Result<_, _>>()?;
        for entry in snapshot.prefix(&self.cells, [])? {
            let (key, value) = entry?;
            state.cells.insert(key.to_vec(), value.to_vec());
        }
        state.members = snapshot.iter(&self.members[0])?.collect::<Result<_, _>>()?;
        state.notes = snapshot.iter(&self.notes[0])?.collect::<Result<_, _>>()?;
        for (place, cursor) in self.cursors.iter().enumerate() {
            state.cursors[place] = snapshot.position(cursor)?.get();
        }
        for (place, log) in self.logs.iter().enumerate() {
            state.ends[place] = snapshot.bounds(log)?.end.get();
        }
        Ok(state)
    }

    /// Compares all that a snapshot shows with the model, after the model has taken in which
    /// batches it shows.
    pub(crate) fn verify(
        &self,
        snapshot: &Snapshot,
        model: &mut Model,
        is_reopened: bool,
    ) -> Result<(), ReadError> {
        let found = self.read(snapshot)?;
        model.observe(&found.marks, is_reopened);
        compare(&found, &model.state);
        for which in [Which::Kept, Which::Rolling] {
            let bounds = snapshot.bounds(self.log(which))?;
            let log = &mut model.logs[which as usize];
            log.see_first(bounds.start.get(), bounds.end.get());
            self.verify_log(snapshot, which, log, bounds.end)?;
        }
        Ok(())
    }

    /// Reads a log from its front, in pieces, and compares every record.
    pub(crate) fn verify_log(
        &self,
        snapshot: &Snapshot,
        which: Which,
        log: &ModelLog,
        end: Seq,
    ) -> Result<(), ReadError> {
        let mut position = Seq::ZERO;
        loop {
            let records = snapshot.read(self.log(which), position, 40)?;
            if let Some(missing) = records.missing() {
                assert_eq!(missing.start, position, "a gap in the middle of log {which:?}");
                position = missing.end;
            }
            if records.is_empty() {
                assert_eq!(position, end, "log {which:?} reads to another end than it tells");
                return Ok(());
            }
            for record in &records {
                assert_eq!(record.seq(), position, "positions of log {which:?} have a gap");
                compare_record(record, which, log);
                position = position.next();
            }
            assert_eq!(records.next(), position);
        }
    }

    pub(crate) fn log(&self, which: Which) -> &Log {
        &self.logs[which as usize]
    }
}

/// A table whose rows have expired when they come, and the same with rows that outlive every run.
fn lives<V>(table: Table<u32, V>) -> [Table<u32, V>; 2] {
    [table.clone().expire_after(Duration::ZERO), table.expire_after(Duration::MAX)]
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes.try_into().expect("8 bytes of ours"))
}

pub(crate) fn compare_record(record: edge_db::RecordRef<'_>, which: Which, log: &ModelLog) {
    let found = Rec {
        micros: record.time().micros(),
        key: record.key().to_vec(),
        value: record.value().to_vec(),
    };
    let expected = log.get(record.seq().get());
    assert_eq!(Some(&found), expected, "record {} of log {which:?} is another", record.seq());
}

/// Like `assert_eq`, but tells only what differs.
pub(crate) fn compare(found: &State, expected: &State) {
    if found == expected {
        return;
    }
    let mut report = Vec::new();
    differ(&mut report, "mark", &found.marks, &expected.marks);
    differ(&mut report, "row", &found.table, &expected.table);
    differ(&mut report, "cell", &found.cells, &expected.cells);
    differ(&mut report, "member", &found.members, &expected.members);
    differ(&mut report, "note", &found.notes, &expected.notes);
    let others = [("cursors", found.cursors.to_vec(), expected.cursors.to_vec())];
    let others = others.into_iter().chain([("ends", found.ends.to_vec(), expected.ends.to_vec())]);
    for (what, found, expected) in others.filter(|(_, found, expected)| found != expected) {
        report.push(format!("{what} are {found:?}, should be {expected:?}"));
    }
    panic!("the state is not what the acknowledged batches made:\n  {}", report.join("\n  "));
}

fn differ<K: Ord + std::fmt::Debug, V: Eq + std::fmt::Debug>(
    report: &mut Vec<String>,
    what: &str,
    found: &BTreeMap<K, V>,
    expected: &BTreeMap<K, V>,
) {
    let short = |value: Option<&V>| {
        let text = value.map_or("missing".to_owned(), |value| format!("{value:?}"));
        text.chars().take(40).collect::<String>()
    };
    for key in found.keys().chain(expected.keys()).collect::<std::collections::BTreeSet<_>>() {
        let (is, should) = (found.get(key), expected.get(key));
        if is != should {
            report.push(format!("{what} {key:?} is {}, should be {}", short(is), short(should)));
        }
    }
    report.truncate(12);
}
