//! The application's end of a sink: it comes for the rows when it likes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use edge_db::{Cursor, Record, Seq, Watch};
use tokio::sync::watch;

use super::Engine;
use crate::db::blocking;
use crate::db::catalog::Catalog;
use crate::db::deliver::callback::{Delivery, delivery};
use crate::sql::sink::SinkTo;
use crate::sql::statement::Definition;

/// Records that are read at once.
const READ_RECORDS: usize = 16;

/// A power cut may bring back what was taken so long before it.
const TAKEN_WITHIN: Duration = Duration::from_secs(1);

/// The application's end of a sink `WITH (channel = 'name')`; from [`Engine::channel`].
///
/// The sink's Log is the queue between the two, and outlives both: what is not taken waits there, over
/// restarts, and when it is full, at 1 GiB, the sink's job waits. What [`Channel::recv`] gave is taken when
/// it is called again. Whoever was cut off in between gets the same again, with the same
/// [`Delivery::seq`]; a power cut may bring back a second of them. Store that number with what you make of the
/// rows, and each of them counts once.
///
/// Drop it before another engine is started over the same database.
#[derive(Debug)]
#[must_use = "rows wait until they are received"]
pub struct Channel {
    catalog: Catalog,
    sink: Arc<str>,
    cursor: Cursor,
    appended: Watch,
    /// Read, and not given out.
    ready: VecDeque<Record>,
    read_to: Seq,
    /// Behind what was given out last.
    given: Seq,
    taken: Seq,
    /// Ends with the sink, and with the engine.
    open: watch::Receiver<()>,
}

/// Why there is nothing to receive.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// No sink has this channel. Create one.
    #[error("no sink has the channel `{channel}`")]
    NoSink {
        /// The name.
        channel: String,
    },
    /// Somebody receives from it: a callback, or another [`Channel`]. Drop that one first.
    #[error("somebody receives from the channel `{channel}` already")]
    InUse {
        /// The name.
        channel: String,
    },
    /// The Log of the sink could not be read. Try again.
    #[error("could not read what a sink has")]
    Read(#[from] edge_db::ReadError),
    /// What was given out could not be noted as taken. Try again.
    #[error("could not note what was received")]
    Write(#[from] edge_db::WriteError),
    /// What lies in the Log of the sink is no batch of rows.
    #[error("record {seq} of sink `{sink}` is damaged: {reason}")]
    Damaged {
        /// The sink.
        sink: String,
        /// Its place.
        seq: Seq,
        /// What is wrong.
        reason: String,
    },
    /// The engine was shut down, or its runtime.
    #[error("engine is closed")]
    Closed,
}

impl Engine {
    /// Takes the application's end of the sink `WITH (channel = '..')`. One at a time has it.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// # let dir = tempfile::tempdir()?;
    /// let db = edge_db::Db::open(dir.path())?;
    /// let engine = edge_stream::Engine::builder().db(&db).start().await?;
    /// engine.execute("
    ///     CREATE STREAM readings (temp DOUBLE) WITH (log = 'raw', format = 'json');
    ///     CREATE SINK hot WITH (channel = 'hot') AS SELECT temp FROM readings WHERE temp > 30;
    /// ").await?;
    /// let mut hot = engine.channel("hot")?;
    /// db.log("raw")?.append(edge_db::Entry::new(r#"{"temp":31.5}"#))?;
    /// let delivery = hot.recv().await?.expect("the engine goes on");
    /// assert_eq!((delivery.seq.get(), delivery.rows.num_rows()), (0, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When no sink has this channel, or somebody has it already.
    pub fn channel(&self, name: &str) -> Result<Channel, ChannelError> {
        let objects = self.inner.objects.lock();
        if objects.is_closed {
            return Err(ChannelError::Closed);
        }
        let is_it = |what: &Definition| {
            matches!(what, Definition::Sink(sink, _)
                if matches!(&sink.to, SinkTo::Channel(channel) if channel == name))
        };
        let channel = || name.to_owned();
        let found = objects.by_name.iter().find(|(_, object)| is_it(&object.what));
        let (sink, object) = found.ok_or_else(|| ChannelError::NoSink { channel: channel() })?;
        let taken = object.delivering.as_ref().and_then(|delivering| delivering.take_channel());
        let (cursor, open) = taken.ok_or_else(|| ChannelError::InUse { channel: channel() })?;
        let position = cursor.position()?;
        Ok(Channel {
            catalog: self.inner.catalog.clone(),
            sink: sink.as_str().into(),
            appended: cursor.log().watch(),
            cursor,
            ready: VecDeque::new(),
            read_to: position,
            given: position,
            taken: position,
            open,
        })
    }
}

impl Channel {
    /// The next rows, as soon as there are any; what was given out before is taken. `None` once the
    /// sink is dropped or the engine is shut down: what was not received then waits for the next.
    ///
    /// # Errors
    /// When the database cannot be read or written, or a record is damaged: then the call after
    /// this one gives the next.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn recv(&mut self) -> Result<Option<Delivery>, ChannelError> {
        self.note_taken().await?;
        loop {
            if self.open.has_changed().is_err() {
                return Ok(None);
            }
            if !self.ready.is_empty() || self.read().await? {
                break;
            }
            self.wait().await;
        }
        let Some(record) = self.ready.pop_front() else { return Ok(None) };
        self.given = record.seq().next();
        let delivery = delivery(&self.sink, &record).map_err(|reason| ChannelError::Damaged {
            sink: self.sink.to_string(),
            seq: record.seq(),
            reason,
        });
        delivery.map(Some)
    }

    async fn note_taken(&mut self) -> Result<(), ChannelError> {
        // A cursor that stands elsewhere went with its sink.
        if self.taken < self.given && self.cursor.position()? == self.taken {
            let mut batch = self.catalog.db.batch().within(TAKEN_WITHIN);
            batch.advance(&self.cursor, self.given);
            batch.commit_async().await?;
            self.taken = self.given;
        }
        Ok(())
    }

    /// Whether there was something.
    async fn read(&mut self) -> Result<bool, ChannelError> {
        let (log, from) = (self.cursor.log().clone(), self.read_to);
        let records = blocking(move || log.read(from, READ_RECORDS)).await;
        let records = records.map_err(|_| ChannelError::Closed)??;
        self.read_to = records.next();
        self.ready.extend(records);
        Ok(!self.ready.is_empty())
    }

    /// Waits for more, or for the end.
    async fn wait(&mut self) {
        tokio::select! {
            () = self.appended.changed() => {}
            // An error means that the sink is gone, which is looked at next.
            _ = self.open.changed() => {}
        }
    }
}
