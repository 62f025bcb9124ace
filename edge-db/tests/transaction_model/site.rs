//! The database under test, and a transaction on it that takes one step when it is told to.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender};

use edge_db::{
    Commit, Db, EncodeError, Entry, Index, Log, ReadError, Table, Transaction, WriteError,
};

use crate::asks::{Answer, Ask, Step};
use crate::attempt::Rows;

/// Why a transaction ended without being stored.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("told to give up")]
    GivenUp,
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// A database with a table, which an index and a count may hang on, and a log.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) db: Db,
    table: Table<u8, u8>,
    index: Option<Index<u8, u8, u8>>,
    pub(crate) log: Log,
}

impl Site {
    pub(crate) fn open(dir: &Path, has_index: bool) -> Site {
        let db = Db::builder().memory_bytes(0).journal_bytes(0).open(dir).unwrap();
        let table = db.table::<u8, u8>("rows").unwrap();
        let index = has_index.then(|| {
            table.keep_count().unwrap();
            table.index("value", |value: &u8| Some(*value)).unwrap()
        });
        Site { log: db.log("log").unwrap(), db, table, index }
    }

    pub(crate) fn issue(&self, steps: &[Step]) -> Commit {
        let mut batch = self.db.batch();
        for step in steps.iter().cloned() {
            match step {
                Step::Insert(key, value) => batch.insert(&self.table, &key, &value).unwrap(),
                Step::Remove(key) => batch.remove(&self.table, &key),
                Step::RemoveRange(range) => batch.remove_range(&self.table, range),
                Step::Add(key, more) => {
                    batch.update(&self.table, &key, move |old| Some(old.unwrap_or(0) + more))
                }
                Step::Expect(key, old) => batch.expect(&self.table, &key, old.as_ref()).unwrap(),
            }
        }
        batch.commit_async()
    }

    /// Runs one transaction to its end, a step for each that is asked.
    pub(crate) fn transact(&self, asks: &Receiver<Ask>, answers: &SyncSender<Answer>) {
        // Nobody listens once the test has failed.
        let answer = |answer| drop(answers.send(answer));
        let done = self.db.transact(|tx| {
            answer(Answer::Began);
            while let Ok(ask) = asks.recv() {
                match ask {
                    Ask::Commit => return Ok(()),
                    Ask::GiveUp => return Err(Trouble::GivenUp),
                    ask => answer(self.step(tx, ask)?),
                }
            }
            Err(Trouble::GivenUp)
        });
        answer(match done {
            Ok(()) => Answer::Stored,
            Err(Trouble::GivenUp) => Answer::GivenUp,
            Err(error) => Answer::Failed(error.to_string()),
        });
    }

    fn step(&self, tx: &mut Transaction, ask: Ask) -> Result<Answer, Trouble> {
        match ask {
            Ask::Get(key) => return Ok(Answer::Row(tx.get(&self.table, &key)?)),
            Ask::Range(range) => {
                let rows = tx.range(&self.table, range)?;
                return Ok(Answer::Rows(rows.collect::<Result<_, _>>()?));
            }
            Ask::Insert(key, value) => tx.insert(&self.table, &key, &value)?,
            Ask::Remove(key) => tx.remove(&self.table, &key),
            Ask::Append | Ask::Commit | Ask::GiveUp => {
                tx.batch().append(&self.log, Entry::new("appended"));
            }
        }
        Ok(Answer::Written)
    }

    pub(crate) fn check(&self, rows: &Rows, appended: u64) {
        let found: Rows = self.table.iter().unwrap().map(Result::unwrap).collect();
        assert_eq!(&found, rows);
        assert_eq!(self.log.bounds().unwrap().end.get(), appended);
        let Some(index) = &self.index else { return };
        assert_eq!(self.table.count().unwrap(), rows.len() as u64);
        let found = index.range(..).unwrap().map(|row| row.unwrap());
        let mut expected: Vec<_> = rows.iter().map(|(key, value)| (*key, *value)).collect();
        expected.sort_by_key(|(key, value)| (*value, *key));
        assert_eq!(found.collect::<Vec<_>>(), expected);
    }
}
