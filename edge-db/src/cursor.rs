//! Where a reader of a Log goes on.

use std::sync::Arc;

use bytes::Bytes;

use crate::codec;
use crate::error::ReadError;
use crate::view::View;
use crate::watch::{Signal, Watch};
use crate::{Log, Seq, Snapshot};

/// A named, durable position in a [`Log`]: the next record that its reader wants.
///
/// It is moved by [`Batch::advance`](crate::Batch::advance), in the batch that stores what the
/// reader made of the records before it. What a cursor has not passed is not dropped silently.
#[derive(Debug, Clone)]
pub struct Cursor {
    log: Log,
    name: Arc<str>,
    signal: Arc<Signal>,
}

impl Cursor {
    pub(crate) fn new(log: Log, name: Arc<str>) -> Cursor {
        let signal = log.db().signal(log.space().cursor_key(&name));
        Cursor { log, name, signal }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The log that it points into.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The next record that its reader wants.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn position(&self) -> Result<Seq, ReadError> {
        self.decode(self.log.db().shared().store.get(&self.key())?)
    }

    /// Wakes when it was moved.
    pub fn watch(&self) -> Watch {
        Watch::new(&self.signal)
    }

    pub(crate) fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    fn position_in(&self, view: &View) -> Result<Seq, ReadError> {
        self.decode(view.get(&self.key())?)
    }

    fn key(&self) -> Vec<u8> {
        self.log.space().cursor_key(&self.name)
    }

    fn decode(&self, stored: Option<Bytes>) -> Result<Seq, ReadError> {
        let position = stored.map(|stored| codec::decode(&stored, 0)).transpose();
        let position = position
            .map_err(|source| ReadError::Value { name: self.log.name().to_owned(), source })?;
        Ok(position.unwrap_or(Seq::ZERO))
    }
}

impl Snapshot {
    /// Where the cursor stood at this moment.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn position(&self, cursor: &Cursor) -> Result<Seq, ReadError> {
        cursor.position_in(self.view())
    }
}
