//! Journal rules, as the user of a broker sets them.

use std::sync::Arc;

use super::Broker;
use crate::TopicFilter;
use crate::db::{JournalError, JournalRule};

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

    /// The rules in force, by filter and Log.
    pub fn journal_rules(&self) -> Vec<JournalRule> {
        self.inner.db.as_ref().map_or_else(Vec::new, |journal| journal.rules())
    }
}
