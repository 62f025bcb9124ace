//! What a remote broker of MQTT 3.1.1 sends back because it was sent to it: such a broker cannot be
//! asked not to.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::window::Place;
use crate::TopicName;

/// So many messages are remembered, in about 64 bytes each.
const REMEMBERED: usize = 10_000;

/// For so long. What comes back later, because the link was cut in between, is taken for a new
/// message: to have one twice is better than to lose one that only looks the same.
const REMEMBERED_FOR: Duration = Duration::from_secs(30);

/// Messages that were sent and that the remote broker will send back, by digest.
#[derive(Debug, Default)]
pub(super) struct Echoes {
    hasher: RandomState,
    /// How many of each are still to come.
    expected: HashMap<u64, u32>,
    order: VecDeque<(Instant, u64)>,
    /// The newest of each queue: what is sent again after a cut comes back once, as far as anybody
    /// can tell.
    newest: HashMap<usize, Place>,
}

impl Echoes {
    /// This was sent, and will come back.
    pub(super) fn remember(
        &mut self,
        place: Place,
        topic: &TopicName,
        payload: &Bytes,
        now: Instant,
    ) {
        if self.newest.get(&place.lane).is_some_and(|newest| newest.seq >= place.seq) {
            return;
        }
        self.newest.insert(place.lane, place);
        self.forget_old(now);
        let digest = self.digest(topic, payload);
        *self.expected.entry(digest).or_default() += 1;
        self.order.push_back((now, digest));
        if self.order.len() > REMEMBERED {
            self.forget_oldest();
        }
    }

    /// Whether this is what was sent. It comes back once.
    pub(super) fn take(&mut self, topic: &TopicName, payload: &Bytes, now: Instant) -> bool {
        self.forget_old(now);
        let digest = self.digest(topic, payload);
        self.forget(digest)
    }

    fn digest(&self, topic: &TopicName, payload: &Bytes) -> u64 {
        self.hasher.hash_one((topic.as_str(), payload))
    }

    fn forget_old(&mut self, now: Instant) {
        let is_old = |since: Instant| now.saturating_duration_since(since) > REMEMBERED_FOR;
        while self.order.front().is_some_and(|(since, _)| is_old(*since)) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, digest)) = self.order.pop_front() {
            // It may have come back already, and then counts for nothing.
            self.forget(digest);
        }
    }

    fn forget(&mut self, digest: u64) -> bool {
        let Some(count) = self.expected.get_mut(&digest) else { return false };
        *count -= 1;
        if *count == 0 {
            self.expected.remove(&digest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use edge_db::Seq;

    use super::*;

    struct Fixture {
        echoes: Echoes,
        now: Instant,
    }

    impl Fixture {
        #[allow(clippy::disallowed_methods, reason = "any time will do")]
        fn new() -> Fixture {
            Fixture { echoes: Echoes::default(), now: Instant::now() }
        }

        fn sent(&mut self, seq: u64, payload: &'static str) {
            let place = Place { lane: 0, seq: Seq::new(seq) };
            self.echoes.remember(place, &"a".parse().unwrap(), &payload.into(), self.now);
        }

        fn comes(&mut self, payload: &'static str) -> bool {
            self.echoes.take(&"a".parse().unwrap(), &payload.into(), self.now)
        }
    }

    #[test]
    fn what_was_sent_comes_back_once_and_the_same_of_others_is_news() {
        let mut fixture = Fixture::new();
        fixture.sent(0, "on");
        fixture.sent(1, "on");
        assert!(!fixture.comes("off"));
        assert!(fixture.comes("on") && fixture.comes("on"));
        assert!(!fixture.comes("on"));
    }

    #[test]
    fn what_is_sent_again_is_remembered_once() {
        let mut fixture = Fixture::new();
        (0..3).chain(0..3).for_each(|seq| fixture.sent(seq, "on"));
        assert!((0..3).all(|_| fixture.comes("on")));
        assert!(!fixture.comes("on"));
    }

    #[test]
    fn what_is_remembered_is_limited_in_number_and_time() {
        let mut fixture = Fixture::new();
        fixture.sent(0, "first");
        for seq in 1..=REMEMBERED as u64 {
            fixture.sent(seq, "on");
        }
        assert!(!fixture.comes("first"));
        assert!(fixture.comes("on"));
        fixture.now += REMEMBERED_FOR + Duration::from_secs(1);
        assert!(!fixture.comes("on"));
        assert!(fixture.echoes.expected.is_empty() && fixture.echoes.order.is_empty());
    }
}
