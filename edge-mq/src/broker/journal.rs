//! Messages into Logs and into memory, as the user of a broker wants it.

use std::sync::Arc;

use edge_db::MemoryLog;

use super::Broker;
use crate::db::{self, JournalError, JournalRule};
use crate::{Recording, SubscribeError, TopicFilter};

impl Broker {
    /// Stores every message that the filter matches in this Log, from now on and after each
    /// restart; the Log is created if it is not there. A message that several rules match is
    /// stored once in each of their Logs.
    ///
    /// # Errors
    /// When the rule is not in force.
    ///
    /// # Cancel safety
    /// When dropped, the rule may or may not be in force. Setting it again is harmless.
    pub async fn journal(
        &self,
        filter: TopicFilter,
        log: impl Into<String>,
    ) -> Result<(), JournalError> {
        let journal = Arc::clone(self.inner.db.as_ref().ok_or(JournalError::NoDb)?);
        let slot = journal.add(filter.clone(), log.into()).await?;
        self.inner.shared.hub(|hub| hub.add_rule(&filter, slot));
        Ok(())
    }

    /// Takes back a rule. The Log stays. Returns whether there was such a rule.
    ///
    /// # Errors
    /// When the rule is still in force.
    ///
    /// # Cancel safety
    /// When dropped, the rule may or may not be in force. Taking it back again is harmless.
    pub async fn unjournal(
        &self,
        filter: TopicFilter,
        log: impl Into<String>,
    ) -> Result<bool, JournalError> {
        let journal = Arc::clone(self.inner.db.as_ref().ok_or(JournalError::NoDb)?);
        let Some(slot) = journal.remove(filter.clone(), log.into()).await? else {
            return Ok(false);
        };
        self.inner.shared.hub(|hub| hub.remove_rule(&filter, slot));
        Ok(true)
    }

    /// Appends messages to a log in memory, with the key and the headers of a journaled one (without
    /// `client` if its session is gone, or the application published it), for as long as the recording
    /// is there. It needs no database and changes nothing for publishers: a message is in the log when
    /// it is routed, which for QoS 1 is before PUBACK. Nobody waits for who reads the log.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use edge_mq::{Broker, Message};
    /// let broker = Broker::builder().start().await?;
    /// let log = edge_db::MemoryLog::new(1 << 20);
    /// let recording = broker.record(&log)?;
    /// recording.add("press/+/vibration")?;
    /// broker.local().publish(Message::new("press/7/vibration".parse()?, "0.31")).await?;
    /// let records = log.read(edge_db::Seq::ZERO, 100);
    /// assert_eq!(records.get(0).map(|record| record.key()), Some(&b"press/7/vibration"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the broker is closed.
    pub fn record(&self, log: &MemoryLog) -> Result<Recording, SubscribeError> {
        let shared = Arc::clone(&self.inner.shared);
        let take = db::recorder(log.clone());
        let key = shared.hub(|hub| match hub.is_closed() {
            true => Err(SubscribeError::Closed),
            false => Ok(hub.record(take)),
        })?;
        Ok(Recording { shared, key })
    }

    /// The rules in force, by filter and Log.
    pub fn journal_rules(&self) -> Vec<JournalRule> {
        self.inner.db.as_ref().map_or_else(Vec::new, |journal| journal.rules())
    }
}
