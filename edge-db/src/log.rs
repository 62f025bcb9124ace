//! Append-only records under a name: what crosses from one part to the next.

pub(crate) mod chunk;
pub(crate) mod coalesce;
mod compression;
pub(crate) mod gap;
mod in_memory;
pub(crate) mod oldest;
mod options;
mod reading;
mod record;
pub(crate) mod records;
mod tail;
#[cfg(feature = "arrow")]
mod visiting;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

pub use compression::Compression;
pub use gap::{Gap, GapReason};
pub use in_memory::MemoryLog;
pub use options::{LogOptions, LogState, WhenFull};
pub use record::{Entry, Headers, Record, RecordRef};
pub use records::{IntoRecords, RecordRefs, RecordSlice, Records};
pub use tail::Tail;

use crate::catalog::Kind;
use crate::codec;
use crate::error::{ReadError, WriteError};
use crate::space::{Space, without_space};
use crate::view::View;
use crate::watch::{Signal, Watch};
use crate::{Cursor, Db, Seq};

/// A chunk grows no further than this: reading one record reads no more, and with its key it just
/// fits into 64 KiB of the tree, which pages in powers of two.
pub(crate) const CHUNK_BYTES: usize = 60 * 1024;

/// An append-only sequence of records with dense positions.
///
/// Entries are appended through a [`Batch`](crate::Batch), together with whatever else belongs to
/// them. A reader reads from a position on, and keeps that position in a [`Cursor`], which it
/// moves in the batch that stores what it made of the records. So it loses none and doubles none.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let db = edge_db::Db::open(dir.path())?;
/// let log = db.log("readings")?;
/// log.append(edge_db::Entry::new("21.5").key("lab"))?;
/// let mut position = log.bounds()?.start;
/// loop {
///     let records = log.read(position, 1000)?;
///     if records.is_empty() {
///         break;                              // at the end; log.tail() waits for more
///     }
///     position = records.next();
///     for record in records {
///         println!("{} {:?}", record.seq(), record.value());
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Log {
    db: Db,
    space: Space,
    name: Arc<str>,
    signal: Arc<Signal>,
}

impl Log {
    pub(crate) fn new(db: Db, space: Space, name: Arc<str>) -> Log {
        let signal = db.signal(space.prefix().to_vec());
        Log { db, space, name, signal }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How much it holds and for how long, and what happens then.
    pub fn options(&self) -> LogOptions {
        self.db.with_catalog(|catalog| {
            let named = catalog.iter().find(|(name, _)| *name == &*self.name);
            match named.map(|(_, named)| &named.kind) {
                Some(Kind::Log(options)) => *options,
                _ => LogOptions::new(),
            }
        })
    }

    /// Appends one entry; blocks until it is on disk.
    ///
    /// # Errors
    /// When it was not stored.
    pub fn append(&self, entry: Entry) -> Result<Seq, WriteError> {
        let mut batch = self.db.batch();
        batch.append(self, entry);
        let seqs = batch.commit()?.seqs(self).expect("one entry was appended");
        Ok(seqs.start)
    }

    /// The oldest record that is kept, and the position that the next one will get.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn bounds(&self) -> Result<Range<Seq>, ReadError> {
        self.state().map(|state| state.first..state.next)
    }

    /// What it holds, in numbers.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn state(&self) -> Result<LogState, ReadError> {
        self.decode_state(self.db.shared().store.get(&self.space.log_state_key())?)
    }

    /// The cursor of this name. A new one stands at the oldest record that is kept, and is
    /// stored when this returns.
    ///
    /// # Errors
    /// When a new one could not be stored.
    pub fn cursor(&self, name: &str) -> Result<Cursor, WriteError> {
        let name: Arc<str> = name.into();
        let mut batch = self.db.batch();
        batch.open_cursor(self.space, Arc::clone(&name));
        batch.commit()?;
        Ok(Cursor::new(self.clone(), name))
    }

    /// Wakes when something was appended.
    pub fn watch(&self) -> Watch {
        Watch::new(&self.signal)
    }

    pub(crate) fn db(&self) -> &Db {
        &self.db
    }

    pub(crate) fn space(&self) -> Space {
        self.space
    }

    pub(crate) fn state_in(&self, view: &View) -> Result<LogState, ReadError> {
        self.decode_state(view.get(&self.space.log_state_key())?)
    }

    fn decode_state(&self, stored: Option<Bytes>) -> Result<LogState, ReadError> {
        let state = stored.map(|stored| codec::decode(&stored, 0)).transpose();
        Ok(state.map_err(|source| self.value_error(source))?.unwrap_or_default())
    }

    fn value_error(&self, source: codec::DecodeError) -> ReadError {
        ReadError::Value { name: self.name.to_string(), source }
    }
}

/// The position that a chunk is stored under.
pub(crate) fn chunk_last(key: &[u8]) -> Option<Seq> {
    let last = <[u8; 8]>::try_from(without_space(key)).ok()?;
    Some(Seq::new(u64::from_be_bytes(last)))
}
