//! The changes of a table as a log, in the commits of the changes.

use serde::de::DeserializeOwned;

use crate::catalog::Kind;
use crate::error::{OpenError, ReadError};
use crate::key::{Key, decode_whole};
use crate::upkeep::Hang;
use crate::{Log, RecordRef, Table};

/// What has become of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChangeKind {
    /// It is there, and none of its key was.
    Insert,
    /// It is in the place of the one that was there.
    Update,
    /// It is gone.
    Delete,
}

/// A change of a row; from [`Table::change_of`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Change<K, V> {
    /// What has become of the row.
    pub kind: ChangeKind,
    /// Its key.
    pub key: K,
    /// The row that was put, or, of a delete, the one that was there. `None` for one that has
    /// expired since, and for a delete that was written without its row, as it once was.
    pub value: Option<V>,
}

impl<K, V> Table<K, V> {
    /// Writes every later change of this table into a Log, in the commit of the change.
    /// [`Table::change_of`] reads its records.
    ///
    /// The record's key is the row's, encoded as [`Key`] does; its header `change` is `put` or
    /// `delete`, and a put in the place of a row has the header `update` besides; its value is the
    /// row's as it is stored, behind codec and schema version, of a delete the one that was there. A
    /// row that expires is no change.
    ///
    /// A table has one such log: a second call puts another one in its place. If that log is full
    /// and refuses, so are the changes: see [`WhenFull`](crate::WhenFull).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// use edge_db::ChangeKind;
    /// let db = edge_db::Db::open(dir.path())?;
    /// let (limits, changes) = (db.table::<String, f64>("limits")?, db.log("changes")?);
    /// limits.capture_into(&changes)?;
    /// let mut batch = db.batch();
    /// batch.insert(&limits, &"press".to_owned(), &80.0)?;
    /// batch.remove(&limits, &"press".to_owned());
    /// batch.commit()?;
    /// let records = changes.read(edge_db::Seq::new(1), 1)?;
    /// let gone = limits.change_of(records.iter().next().expect("the second change"))?;
    /// assert_eq!((gone.kind, gone.value), (ChangeKind::Delete, Some(80.0)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When it could not be stored.
    pub fn capture_into(&self, log: &Log) -> Result<(), OpenError> {
        let db = self.keyspace().db();
        let kind = Kind::Capture { table: self.keyspace().space(), log: log.space() };
        let stored_name = capture_name(self.name());
        let named = db.named(&stored_name, kind.clone())?;
        if named.kind != kind {
            db.rename_kind(&stored_name, named.space, kind)?;
        }
        Ok(self.hang(Hang::Capture(log.space()))?)
    }

    /// Ends what [`Table::capture_into`] began. The log keeps its records.
    ///
    /// # Errors
    /// When it could not be stored.
    pub fn end_capture(&self) -> Result<(), OpenError> {
        self.hang(Hang::NoCapture)?;
        Ok(self.keyspace().db().remove_name(&capture_name(self.name()))?)
    }
}

impl<K: Key, V: DeserializeOwned> Table<K, V> {
    /// What a record says of a row, in a log that [`Table::capture_into`] fills.
    ///
    /// # Errors
    /// When the record is no change of a row of this table.
    pub fn change_of(&self, record: RecordRef<'_>) -> Result<Change<K, V>, ReadError> {
        let kind = match record.header("change") {
            Some(b"put") if record.header("update").is_some() => ChangeKind::Update,
            Some(b"put") => ChangeKind::Insert,
            Some(b"delete") => ChangeKind::Delete,
            _ => return Err(self.keyspace().key_error()),
        };
        let key = decode_whole(record.key()).ok_or_else(|| self.keyspace().key_error())?;
        // Deletes had no value once.
        let value = match (kind, record.value()) {
            (ChangeKind::Delete, []) => None,
            (_, stored) => self.value(stored)?,
        };
        Ok(Change { kind, key, value })
    }
}

fn capture_name(table: &str) -> String {
    format!("{table}\0capture")
}
