//! Which topics are busy.

use std::sync::Arc;

use crate::TopicName;
use crate::arena::Key;
use crate::shared::Shared;

/// Counts messages by topic until it is dropped, see
/// [`Broker::count_topics`](crate::Broker::count_topics).
#[derive(Debug)]
#[must_use = "counting ends when this is dropped"]
pub struct TopicCounter {
    pub(crate) shared: Arc<Shared>,
    pub(crate) key: Key,
}

/// What came on one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicCount {
    /// The topic.
    pub topic: TopicName,
    /// Messages since the counting began.
    pub messages: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
}

impl TopicCounter {
    /// The topics, those with the most messages first.
    pub fn counts(&self) -> Vec<TopicCount> {
        let (mut counts, _) = self.shared.hub(|hub| hub.counts(self.key));
        counts.sort_by(|a, b| b.messages.cmp(&a.messages).then_with(|| a.topic.cmp(&b.topic)));
        counts
    }

    /// Messages, and bytes of their payloads, on topics that are not told apart, because so many
    /// others were there before them.
    pub fn others(&self) -> (u64, u64) {
        let (_, others) = self.shared.hub(|hub| hub.counts(self.key));
        (others.messages, others.bytes)
    }
}

impl Drop for TopicCounter {
    fn drop(&mut self) {
        self.shared.hub(|hub| hub.end_count(self.key));
    }
}
