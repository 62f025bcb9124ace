//! Messages for the application that are kept nowhere here: each is handed over when it is routed.

use std::fmt;
use std::sync::Arc;

use super::{Hub, Subscriber, Subscription};
use crate::TopicFilter;
use crate::arena::Key;
use crate::message::Routed;
use crate::packet::Text;

/// Takes a message, and the client that it came from. It is called under the lock of the hub, so
/// that messages come in their order, and must not wait.
pub(crate) type Take = dyn Fn(&Routed, Option<&Text>) + Send + Sync;

/// Takes the messages of some topics.
pub(crate) struct Recorder {
    filters: Vec<TopicFilter>,
    take: Arc<Take>,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("filters", &self.filters).finish_non_exhaustive()
    }
}

impl Recorder {
    pub(super) fn take(&self) -> Arc<Take> {
        Arc::clone(&self.take)
    }
}

impl Hub {
    /// A recorder without topics. As with journal rules, the application knows how many it wants, and is
    /// not kept from them by sessions of others.
    pub(crate) fn record(&mut self, take: Arc<Take>) -> Key {
        let recorder = Recorder { filters: Vec::new(), take };
        self.subscribers.insert(Subscriber::Recorder(Box::new(recorder)))
    }

    /// From here on it takes the messages that this filter matches, too. One that several of its
    /// filters match it takes once.
    pub(crate) fn add_recorded(&mut self, key: Key, filter: TopicFilter) {
        let Some(Subscriber::Recorder(recorder)) = self.subscribers.get_mut(key) else { return };
        if !recorder.filters.contains(&filter) {
            recorder.filters.push(filter.clone());
            self.router.insert(&filter, Subscription::whole(key), |_| false);
        }
    }

    /// Those of this filter it takes no more.
    pub(crate) fn remove_recorded(&mut self, key: Key, filter: &TopicFilter) {
        if let Some(Subscriber::Recorder(recorder)) = self.subscribers.get_mut(key) {
            recorder.filters.retain(|own| own != filter);
            self.router.remove(filter, |subscription| subscription.subscriber == key);
        }
    }

    pub(crate) fn end_recorder(&mut self, key: Key) {
        if let Some(Subscriber::Recorder(recorder)) = self.subscribers.remove(key) {
            for filter in &recorder.filters {
                self.router.remove(filter, |subscription| subscription.subscriber == key);
            }
        }
    }
}
