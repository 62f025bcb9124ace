//! Retained messages: the last one of each topic that asked for it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

use crate::message::Routed;
use crate::packet::Text;
use crate::{TopicFilter, TopicName};

/// Retained messages by topic, in the order of topics, so that a filter looks only at those that
/// begin as it does.
#[derive(Debug)]
pub(crate) struct Retained {
    messages: BTreeMap<Text, Arc<Routed>>,
    bytes: usize,
    limit_messages: usize,
    limit_bytes: usize,
}

/// A limit is reached: the message was not kept, an older one of its topic is gone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RetainedFull;

impl Retained {
    pub(crate) fn new(limit_messages: usize, limit_bytes: usize) -> Retained {
        Retained { messages: BTreeMap::new(), bytes: 0, limit_messages, limit_bytes }
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Keeps a message in place of the one before; an empty payload only removes that one.
    ///
    /// When it does not fit, the older message goes all the same: no answer is better than one
    /// that the publisher has replaced.
    pub(crate) fn store(&mut self, routed: &Routed, now: Instant) -> Result<(), RetainedFull> {
        let message = &routed.message;
        self.remove(message.topic());
        if message.payload().is_empty() {
            return Ok(());
        }
        if self.is_full_for(message.cost_bytes()) {
            self.remove_expired(now);
        }
        if self.is_full_for(message.cost_bytes()) {
            return Err(RetainedFull);
        }
        let kept = Routed { message: message.detached(), deadline: routed.deadline };
        self.bytes += kept.message.cost_bytes();
        self.messages.insert(kept.message.topic().as_text().clone(), Arc::new(kept));
        Ok(())
    }

    /// Calls `found` with each message that the filter matches and that has not expired.
    pub(crate) fn each_match(
        &self,
        filter: &TopicFilter,
        now: Instant,
        mut found: impl FnMut(&Arc<Routed>),
    ) {
        let prefix = filter.literal_prefix();
        let from = (Bound::Included(prefix), Bound::Unbounded);
        for (topic, routed) in self.messages.range::<str, _>(from) {
            if !topic.as_str().starts_with(prefix) {
                return;
            }
            if filter.matches(routed.message.topic()) && !routed.is_expired(now) {
                found(routed);
            }
        }
    }

    fn is_full_for(&self, bytes: usize) -> bool {
        self.messages.len() >= self.limit_messages || self.bytes + bytes > self.limit_bytes
    }

    fn remove(&mut self, topic: &TopicName) {
        if let Some(old) = self.messages.remove(topic.as_str()) {
            self.bytes -= old.message.cost_bytes();
        }
    }

    fn remove_expired(&mut self, now: Instant) {
        self.messages.retain(|_, routed| !routed.is_expired(now));
        self.bytes = self.messages.values().map(|routed| routed.message.cost_bytes()).sum();
    }
}

#[cfg(test)]
mod tests;
