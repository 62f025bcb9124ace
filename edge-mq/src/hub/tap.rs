//! Subscriptions of the application itself: a bounded queue without a session.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Instant;

use super::{Hub, Subscriber, Subscription};
use crate::TopicFilter;
use crate::arena::Key;
use crate::message::{Message, Routed};
use crate::stats::Stats;

/// Messages for one in-process reader.
#[derive(Debug)]
pub(crate) struct Tap {
    filter: TopicFilter,
    /// Each with whether it was retained when the tap was made.
    queue: VecDeque<(Arc<Routed>, bool)>,
    limit: usize,
    dropped: u64,
    waker: Option<Waker>,
}

/// Why there is no tap.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TapRefused {
    Closed,
    Full,
}

impl Tap {
    /// A full queue gives up what has waited longest: a live reader wants the newest.
    pub(super) fn push(&mut self, routed: Arc<Routed>, retained: bool, stats: &mut Stats) {
        if self.queue.len() == self.limit {
            self.queue.pop_front();
            self.dropped += 1;
            stats.dropped_full += 1;
        }
        self.queue.push_back((routed, retained));
    }

    pub(super) fn wake(&mut self) -> Option<Waker> {
        self.waker.take()
    }
}

impl Hub {
    /// A queue of at most `limit` messages, which begins with the retained ones.
    pub(crate) fn tap(
        &mut self,
        filter: TopicFilter,
        limit: usize,
        now: Instant,
    ) -> Result<Key, TapRefused> {
        if self.closed {
            return Err(TapRefused::Closed);
        }
        if self.is_full() {
            return Err(TapRefused::Full);
        }
        let (queue, limit) = (VecDeque::new(), limit.max(1));
        let mut tap = Tap { filter: filter.clone(), queue, limit, dropped: 0, waker: None };
        self.retained.each_match(&filter, now, |routed| {
            tap.push(Arc::clone(routed), true, &mut self.stats);
        });
        let key = self.subscribers.insert(Subscriber::Tap(Box::new(tap)));
        self.router.insert(&filter, Subscription::whole(key), |_| false);
        Ok(key)
    }

    /// The next message of a tap; `None` when the broker is closed and nothing is left.
    pub(crate) fn poll_tap(
        &mut self,
        key: Key,
        waker: &Waker,
        now: Instant,
    ) -> Poll<Option<Message>> {
        let closed = self.closed;
        let Some(Subscriber::Tap(tap)) = self.subscribers.get_mut(key) else {
            return Poll::Ready(None);
        };
        while let Some((routed, retained)) = tap.queue.pop_front() {
            if routed.is_expired(now) {
                self.stats.dropped_expired += 1;
                continue;
            }
            self.stats.sent += 1;
            self.stats.sent_bytes += routed.message.payload().len() as u64;
            let message = routed.message.clone().retain(retained);
            return Poll::Ready(Some(message.with_all(routed.expiry_left(now))));
        }
        if closed {
            return Poll::Ready(None);
        }
        tap.waker = Some(waker.clone());
        Poll::Pending
    }

    /// Messages that this tap's full queue gave up.
    pub(crate) fn tap_dropped(&self, key: Key) -> u64 {
        match self.subscribers.get(key) {
            Some(Subscriber::Tap(tap)) => tap.dropped,
            _ => 0,
        }
    }

    pub(crate) fn end_tap(&mut self, key: Key) {
        if let Some(Subscriber::Tap(tap)) = self.subscribers.remove(key) {
            self.router.remove(&tap.filter, |subscription| subscription.subscriber == key);
        }
    }
}
