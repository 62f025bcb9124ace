//! Messages counted by topic, for as long as somebody wants to know.

use foldhash::HashMap;

use super::{Hub, Subscriber, Subscription};
use crate::arena::Key;
use crate::counter::TopicCount;
use crate::message::Message;
use crate::{TopicFilter, TopicName};

/// What came on the topics of one filter.
#[derive(Debug)]
pub(crate) struct Counter {
    filter: TopicFilter,
    /// How many topics are told apart.
    limit: usize,
    counts: HashMap<TopicName, Count>,
    /// Of all topics beyond those.
    others: Count,
}

/// Messages, and bytes of their payloads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

impl Counter {
    pub(super) fn count(&mut self, message: &Message) {
        let is_full = self.counts.len() >= self.limit;
        let count = match self.counts.get_mut(message.topic()) {
            Some(count) => count,
            None if is_full => &mut self.others,
            // Its topic must not hold on to the read buffer that it came in.
            None => self.counts.entry(message.topic().detached()).or_default(),
        };
        count.messages += 1;
        count.bytes += message.payload().len() as u64;
    }
}

impl Hub {
    /// Counts from here on; `None` if there are too many sessions and readers.
    pub(crate) fn count(&mut self, filter: TopicFilter, limit: usize) -> Option<Key> {
        if self.is_full() {
            return None;
        }
        let (counts, others) = (HashMap::default(), Count::default());
        let counter = Counter { filter: filter.clone(), limit, counts, others };
        let key = self.subscribers.insert(Subscriber::Counter(Box::new(counter)));
        self.router.insert(&filter, Subscription::whole(key), |_| false);
        Some(key)
    }

    /// What was counted by topic, and of all other topics together.
    pub(crate) fn counts(&self, key: Key) -> (Vec<TopicCount>, Count) {
        let Some(Subscriber::Counter(counter)) = self.subscribers.get(key) else {
            return Default::default();
        };
        let counts = counter.counts.iter().map(|(topic, Count { messages, bytes })| TopicCount {
            topic: topic.clone(),
            messages: *messages,
            bytes: *bytes,
        });
        (counts.collect(), counter.others)
    }

    pub(crate) fn end_count(&mut self, key: Key) {
        if let Some(Subscriber::Counter(counter)) = self.subscribers.remove(key) {
            self.router.remove(&counter.filter, |subscription| subscription.subscriber == key);
        }
    }
}
