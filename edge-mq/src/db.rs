//! The store in edge-db: sessions with their queues, retained messages, and journal rules, which say
//! what messages have to be in a Log before they are acknowledged.
//!
//! Rules are rows of the Table `mq.journal`. The one place of this crate that crosses from async
//! to blocking code is `blocking` below; commits have a thread of their own.

mod clock;
mod message;
mod queue;
mod rows;

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clock::Clock;
use edge_db::{Batch, Db, Entry, Log, MemoryLog, OpenError, ReadError, Table, WriteError};
use parking_lot::Mutex;
use queue::Chunks;
use rows::Rows;

use crate::hub::{Deed, Effects, Hub, Take, Urgency};
use crate::message::{Message, Routed};
use crate::packet::{DecodeError, Property, ReasonCode, Text};
use crate::store::{LogSlot, PageFuture, PageRequest, Refused, Store, Write};
use crate::{InvalidFilter, TopicFilter};

/// Where the rules are kept: (filter, name of the Log) to nothing.
type JournalRules = Table<(String, String), ()>;

/// The largest message that is stored. edge-db takes twice as much in one batch, and a PUBLISH of MQTT
/// could not say more than eight times as much.
const MESSAGE_BYTES: usize = 32 * 1024 * 1024;

/// How long what nobody waits for may take to be on disk.
const LAZY: Duration = Duration::from_secs(1);

/// Messages that a filter matches are stored in a Log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct JournalRule {
    /// Which messages.
    pub filter: TopicFilter,
    /// The name of the Log.
    pub log: String,
}

/// Why a journal rule was not set, taken back, or loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The broker was built without [`BrokerBuilder::db`](crate::BrokerBuilder::db).
    #[error("broker has no database to keep journal rules in")]
    NoDb,
    /// The Log, or the Table of rules, cannot be opened.
    #[error("cannot open what the journal is kept in")]
    Open(#[from] OpenError),
    /// The Table of rules cannot be read.
    #[error("cannot read journal rules")]
    Read(#[from] ReadError),
    /// The rule could not be stored.
    #[error("cannot store journal rule")]
    Write(#[from] WriteError),
    /// The Table of rules has a row that this version cannot read.
    #[error("stored journal rule `{filter}` is no topic filter")]
    Filter {
        /// What stands there.
        filter: String,
        /// What is wrong with it.
        source: InvalidFilter,
    },
    /// Sessions or retained messages cannot be read.
    #[error("cannot read what is stored of sessions and retained messages")]
    Stored(#[from] StoredError),
    /// The runtime is shutting down, so that the database was not asked.
    #[error("runtime is shutting down")]
    Stopped,
}

/// Why something that was stored cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoredError {
    /// The database cannot be read.
    #[error("cannot read the database")]
    Read(#[from] ReadError),
    /// Some bytes are not what this version writes: they are damaged.
    #[error("stored bytes are damaged: {0}")]
    Malformed(&'static str),
    /// Some bytes are no MQTT: they are damaged.
    #[error("stored bytes are damaged")]
    Packet(#[from] DecodeError),
    /// A newer edge-mq wrote it. Start that version.
    #[error("stored in format {0}, this build knows format 1")]
    Version(u8),
}

impl From<bytes::TryGetError> for StoredError {
    fn from(_: bytes::TryGetError) -> StoredError {
        StoredError::Malformed("a field is cut short")
    }
}

/// What one broker has in edge-db.
#[derive(Debug)]
pub(crate) struct DbStore {
    db: Db,
    rules: JournalRules,
    rows: Rows,
    queue_age: Duration,
    /// How long what its publisher was told may take to be on disk.
    durable_within: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<JournalRule>,
    /// At its slot each Log that a rule names or has named.
    logs: Vec<Log>,
}

impl State {
    fn slot(&self, log: &str) -> Option<LogSlot> {
        let at = self.logs.iter().position(|known| known.name() == log)?;
        LogSlot::try_from(at).ok()
    }

    fn add(&mut self, rule: JournalRule, log: Log) -> LogSlot {
        if !self.rules.contains(&rule) {
            self.rules.push(rule);
            self.rules.sort();
        }
        self.slot_of(log)
    }

    fn slot_of(&mut self, log: Log) -> LogSlot {
        self.slot(log.name()).unwrap_or_else(|| {
            self.logs.push(log);
            LogSlot::try_from(self.logs.len() - 1).expect("far fewer logs than that")
        })
    }
}

impl DbStore {
    /// Loads the rules and puts them in force, then what is stored of sessions and retained messages.
    pub(crate) async fn open(
        db: Db,
        durable_within: Duration,
        hub: &mut Hub,
    ) -> Result<DbStore, JournalError> {
        let queue_age = hub.limits().stored_queue_age;
        let (journal, in_force, stored) = blocking(move || {
            let rules: JournalRules = db.table("mq.journal")?;
            let mut state = State::default();
            let mut in_force = Vec::new();
            for row in rules.iter()? {
                let ((filter, log), ()) = row?;
                let filter: TopicFilter =
                    filter.parse().map_err(|source| JournalError::Filter { filter, source })?;
                let (rule, log) = (JournalRule { filter, log: log.clone() }, db.log(&log)?);
                in_force.push((rule.filter.clone(), state.add(rule, log)));
            }
            let rows = Rows::open(&db)?;
            let stored = rows.load()?;
            let state = Mutex::new(state);
            Ok((DbStore { db, rules, rows, queue_age, durable_within, state }, in_force, stored))
        })
        .await?;
        in_force.iter().for_each(|(filter, slot)| hub.add_rule(filter, *slot));
        // What this makes to be committed waits for the thread that commits; nobody is to be told yet.
        hub.restore(stored, Clock::now().instant(), &mut Effects::default());
        Ok(journal)
    }

    /// Stores a rule. It is in force when the hub knows of it.
    pub(crate) async fn add(
        self: Arc<DbStore>,
        filter: TopicFilter,
        log: String,
    ) -> Result<LogSlot, JournalError> {
        blocking(move || {
            let handle = self.db.log(&log)?;
            // A crash here leaves an empty Log and no rule.
            let mut batch = self.db.batch();
            let key = (filter.as_str().to_owned(), log.clone());
            batch
                .insert(&self.rules, &key, &())
                .expect("a unit is no value that cannot be encoded");
            batch.commit()?;
            Ok(self.state.lock().add(JournalRule { filter, log }, handle))
        })
        .await
    }

    /// Removes a rule. It is out of force when the hub has forgotten it.
    pub(crate) async fn remove(
        self: Arc<DbStore>,
        filter: TopicFilter,
        log: String,
    ) -> Result<Option<LogSlot>, JournalError> {
        blocking(move || {
            let mut batch = self.db.batch();
            batch.remove(&self.rules, &(filter.as_str().to_owned(), log.clone()));
            batch.commit()?;
            let mut state = self.state.lock();
            let slot = state.slot(&log);
            let rule = JournalRule { filter, log };
            let existed = state.rules.contains(&rule);
            state.rules.retain(|known| *known != rule);
            Ok(slot.filter(|_| existed))
        })
        .await
    }

    #[cfg(feature = "bridge")]
    pub(crate) fn db(&self) -> &Db {
        &self.db
    }

    /// The slot of a Log that rules of a bridge lead to. They are not kept, and not shown.
    #[cfg(feature = "bridge")]
    pub(crate) fn slot_of(&self, log: &Log) -> LogSlot {
        self.state.lock().slot_of(log.clone())
    }

    pub(crate) fn rules(&self) -> Vec<JournalRule> {
        self.state.lock().rules.clone()
    }
}

impl Store for DbStore {
    fn commit(&self, group: &[Deed]) -> Result<(), Refused> {
        let messages = group.iter().flat_map(|deed| &deed.writes).filter_map(Write::message);
        if let Some(message) = messages.into_iter().find(|m| m.encoded_bytes() > MESSAGE_BYTES) {
            return Err(too_large(message.encoded_bytes()));
        }
        let batch = self.batch(group).map_err(|error| unreadable(error.into()))?;
        batch.commit().map(|_| ()).map_err(refused)
    }

    fn read(self: Arc<Self>, request: PageRequest) -> PageFuture {
        Box::pin(async move {
            let read = move || queue::read(&request, self.queue_age, &self.rows.queue);
            let page = blocking(move || Ok(read()?)).await;
            page.map_err(unreadable)
        })
    }
}

impl DbStore {
    fn batch(&self, group: &[Deed]) -> Result<Batch, StoredError> {
        let clock = Clock::now();
        let mut batch = self.db.batch();
        let mut chunks = Chunks::new(clock);
        for write in group.iter().flat_map(|deed| &deed.writes) {
            self.write(write, clock, &mut chunks, &mut batch)?;
        }
        chunks.finish(&self.rows.queue, &mut batch);
        let delay = group.iter().map(|deed| self.delay(deed.urgency)).min();
        Ok(match delay.unwrap_or_default() {
            Duration::ZERO => batch,
            delay => batch.within(delay),
        })
    }

    /// How long something may take to be on disk once it is visible.
    fn delay(&self, urgency: Urgency) -> Duration {
        match urgency {
            Urgency::Now => Duration::ZERO,
            Urgency::Acknowledged => self.durable_within,
            Urgency::Lazy => LAZY,
        }
    }

    fn write(
        &self,
        write: &Write,
        clock: Clock,
        chunks: &mut Chunks,
        batch: &mut Batch,
    ) -> Result<(), StoredError> {
        let rows = &self.rows;
        match write {
            Write::Append { log, routed, client } => {
                let entry = entry(routed, client.as_ref(), clock);
                batch.append(&self.state.lock().logs[*log as usize], entry);
            }
            Write::Queue { session, bytes_before, queued, .. } => {
                chunks.add(*session, *bytes_before, queued, &rows.queue, batch);
            }
            Write::Retain(routed) => rows.retain(routed, clock, batch),
            Write::Unretain(topic) => rows.unretain(topic, batch),
            Write::Delay(delayed) => rows.delay(delayed, clock, batch),
            Write::EndDelay(delayed) => rows.end_delay(delayed, batch),
            Write::Session(row) => rows.put_session(row, clock, batch),
            Write::EndSession(session) => {
                chunks.forget(*session);
                rows.end_session(*session, batch);
            }
            Write::Subscribe(session, subscription) => {
                rows.subscribe(*session, subscription, batch);
            }
            Write::Unsubscribe(session, filter) => rows.unsubscribe(*session, filter, batch),
            Write::Progress { progress, .. } => rows.progress(progress, batch),
            Write::Drop(session, serials) => {
                queue::remove(*session, serials.start, serials.end, &rows.queue, batch);
            }
            Write::Take(session, serials) => {
                queue::take(*session, serials, &rows.queue, batch)?;
            }
            Write::Received(session, id) => rows.received(*session, *id, batch),
            Write::Released(session, id) => rows.released(*session, *id, batch),
        }
        Ok(())
    }
}

fn refused(error: WriteError) -> Refused {
    let (code, is_selective, is_full) = match error {
        _ if is_out_of_space(&error) => (ReasonCode::QUOTA_EXCEEDED, false, true),
        WriteError::Full { .. } => (ReasonCode::QUOTA_EXCEEDED, true, true),
        WriteError::LogFull { .. } => (ReasonCode::QUOTA_EXCEEDED, true, false),
        WriteError::TooLarge { .. } => (ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR, true, false),
        _ => (ReasonCode::UNSPECIFIED_ERROR, false, false),
    };
    Refused { code, cause: Arc::new(error), is_selective, is_full }
}

/// A message is not for this store, however often it comes.
fn too_large(bytes: usize) -> Refused {
    let (code, limit_bytes) = (ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR, MESSAGE_BYTES);
    let cause = WriteError::TooLarge { what: "message", bytes, limit_bytes };
    Refused { code, cause: Arc::new(cause), is_selective: true, is_full: false }
}

/// Whether there is no space on the disk.
fn is_out_of_space(error: &WriteError) -> bool {
    let causes = std::iter::successors(Some(error as &dyn Error), |error| (*error).source());
    causes.filter_map(|cause| cause.downcast_ref::<io::Error>()).any(|error| {
        matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    })
}

fn unreadable(error: JournalError) -> Refused {
    let code = ReasonCode::UNSPECIFIED_ERROR;
    Refused { code, cause: Arc::new(error), is_selective: false, is_full: false }
}

/// Appends messages to a log in memory, as they would stand in a Log.
pub(crate) fn recorder(log: MemoryLog) -> Arc<Take> {
    Arc::new(move |routed, client| {
        log.append(&entry(routed, client, Clock::now()));
    })
}

/// A message as it stands in a Log; the crate's README has the table of headers.
fn entry(routed: &Routed, client: Option<&Text>, clock: Clock) -> Entry {
    let message = &routed.message;
    let mut entry = Entry::new(message.payload().clone()).key(message.topic().as_text().to_bytes());
    if let Some(client) = client {
        entry = entry.header("client", client.to_bytes());
    }
    entry = entry.header("qos", Bytes::copy_from_slice(&[message.published_qos().get()]));
    if message.is_retained() {
        entry = entry.header("retain", Bytes::from_static(&[1]));
    }
    if let Some(Property::MessageExpiry(seconds)) = routed.expiry_left(clock.instant()) {
        entry = entry.header("expiry", Bytes::copy_from_slice(&seconds.to_be_bytes()));
    }
    properties(entry, message)
}

fn properties(entry: Entry, message: &Message) -> Entry {
    message.properties().iter().fold(entry, |entry, property| match property {
        Property::PayloadIsUtf8(yes) => {
            entry.header("utf8", Bytes::copy_from_slice(&[u8::from(*yes)]))
        }
        Property::ContentType(text) => entry.header("content-type", text.to_bytes()),
        Property::ResponseTopic(topic) => entry.header("response-topic", topic.to_bytes()),
        Property::CorrelationData(data) => entry.header("correlation-data", data.clone()),
        Property::User(name, value) => entry.header(format!("user.{name}"), value.to_bytes()),
        _ => entry,
    })
}

/// Runs what waits for the disk on a thread that may wait.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, JournalError> + Send + 'static,
) -> Result<T, JournalError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| JournalError::Stopped)?
}

#[cfg(test)]
mod tests;
