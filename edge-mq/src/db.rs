//! Journal rules: which messages have to be in an edge-db Log before they are acknowledged.
//!
//! Rules are rows of the Table `mq.journal`. The one place of this crate that crosses from async
//! to blocking code is `blocking` below.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use edge_db::{Db, Entry, Log, OpenError, ReadError, Table, WriteError};
use parking_lot::Mutex;

use crate::hub::{Hub, Journaled, LogSlot};
use crate::journal::{Commit, Committing, Journal, Refused};
use crate::message::Message;
use crate::packet::{Property, ReasonCode};
use crate::{InvalidFilter, TopicFilter};

/// Where the rules are kept: (filter, name of the Log) to nothing.
type Rules = Table<(String, String), ()>;

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
    /// The runtime is shutting down, so that the database was not asked.
    #[error("runtime is shutting down")]
    Stopped,
}

/// Rules and Logs of one broker.
#[derive(Debug)]
pub(crate) struct DbJournal {
    db: Db,
    rules: Rules,
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
        self.slot(log.name()).unwrap_or_else(|| {
            self.logs.push(log);
            LogSlot::try_from(self.logs.len() - 1).expect("far fewer logs than that")
        })
    }
}

impl DbJournal {
    /// Loads the rules and puts them in force.
    pub(crate) async fn open(db: Db, hub: &mut Hub) -> Result<DbJournal, JournalError> {
        let (journal, in_force) = blocking(move || {
            let rules: Rules = db.table("mq.journal")?;
            let mut state = State::default();
            let mut in_force = Vec::new();
            for row in rules.iter()? {
                let ((filter, log), ()) = row?;
                let filter: TopicFilter =
                    filter.parse().map_err(|source| JournalError::Filter { filter, source })?;
                let (rule, log) = (JournalRule { filter, log: log.clone() }, db.log(&log)?);
                in_force.push((rule.filter.clone(), state.add(rule, log)));
            }
            Ok((DbJournal { db, rules, state: Mutex::new(state) }, in_force))
        })
        .await?;
        in_force.iter().for_each(|(filter, slot)| hub.add_rule(filter, *slot));
        Ok(journal)
    }

    /// Stores a rule. It is in force when the hub knows of it.
    pub(crate) async fn add(
        self: Arc<DbJournal>,
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
        self: Arc<DbJournal>,
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

    pub(crate) fn rules(&self) -> Vec<JournalRule> {
        self.state.lock().rules.clone()
    }
}

impl Journal for DbJournal {
    fn commit(&self, messages: &[Journaled]) -> Committing {
        let mut batch = self.db.batch();
        let state = self.state.lock();
        for journaled in messages {
            for slot in &journaled.logs {
                batch.append(&state.logs[*slot as usize], entry(journaled));
            }
        }
        drop(state);
        Box::pin(DbCommit(batch.commit_async()))
    }
}

struct DbCommit(edge_db::Commit);

impl Future for DbCommit {
    type Output = Result<(), Refused>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|outcome| outcome.map(|_| ()).map_err(refused))
    }
}

impl Commit for DbCommit {
    fn has_place(&self) -> bool {
        self.0.is_queued()
    }
}

fn refused(error: WriteError) -> Refused {
    let code = match error {
        WriteError::LogFull { .. } | WriteError::Full { .. } => ReasonCode::QUOTA_EXCEEDED,
        WriteError::TooLarge { .. } => ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR,
        _ => ReasonCode::UNSPECIFIED_ERROR,
    };
    Refused { code, cause: Arc::new(error) }
}

/// A message as it stands in a Log; the crate's README has the table of headers.
fn entry(journaled: &Journaled) -> Entry {
    let message = &journaled.message;
    let mut entry = Entry::new(message.payload().clone()).key(message.topic().as_text().to_bytes());
    if let Some(client) = &journaled.client {
        entry = entry.header("client", client.to_bytes());
    }
    entry = entry.header("qos", Bytes::copy_from_slice(&[message.published_qos().get()]));
    if message.is_retained() {
        entry = entry.header("retain", Bytes::from_static(&[1]));
    }
    properties(entry, message)
}

fn properties(entry: Entry, message: &Message) -> Entry {
    message.properties().iter().fold(entry, |entry, property| match property {
        Property::ContentType(text) => entry.header("content-type", text.to_bytes()),
        Property::ResponseTopic(topic) => entry.header("response-topic", topic.to_bytes()),
        Property::CorrelationData(data) => entry.header("correlation-data", data.clone()),
        Property::User(name, value) => entry.header(format!("user.{name}"), value.to_bytes()),
        _ => entry,
    })
}

/// Runs what waits for the disk on a thread that may wait.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, JournalError> + Send + 'static,
) -> Result<T, JournalError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| JournalError::Stopped)?
}
