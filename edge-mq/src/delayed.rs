//! Messages that are published later: those to `$delayed/SECONDS/topic`, as EMQX has it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::TopicName;
use crate::message::Message;
use crate::packet::Text;

/// How the topic of one begins.
const PREFIX: &str = "$delayed/";

/// After a commit was refused, from one attempt to the next: twice as long each time, up to a minute
/// or so. Each has the message take a new place in the queues on disk, which count it until they have
/// moved on.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(64)];

/// A message that waits for its time.
#[derive(Debug)]
pub(crate) struct Delayed {
    /// Under which it is stored.
    pub(crate) number: u64,
    /// Which comes first of those that are due at the same moment.
    pub(crate) order: u64,
    pub(crate) due: Instant,
    /// What its publisher asked for.
    pub(crate) delay: Duration,
    /// Who published it; `None` of the application.
    pub(crate) client: Option<Text>,
    /// As it will be published.
    pub(crate) message: Message,
}

/// All that wait, within limits.
#[derive(Debug)]
pub(crate) struct Delays {
    /// By when they are to be published, or to be tried again.
    waiting: BTreeMap<(Instant, u64), Arc<Delayed>>,
    /// Of these, of those on their way to the disk, and of those that are published and whose commit
    /// has not ended.
    messages: usize,
    bytes: usize,
    limit_messages: usize,
    limit_bytes: usize,
    next_number: u64,
    /// While the store refuses everything.
    pause: Option<Pause>,
}

#[derive(Debug)]
struct Pause {
    until: Instant,
    length: Duration,
    /// Whether one is on its way to the disk, to find out whether the store takes it.
    is_trying: bool,
}

/// Whether a topic asks for a delay.
pub(crate) fn is_for_later(topic: &TopicName) -> bool {
    topic.as_str().starts_with(PREFIX)
}

/// The delay that a topic asks for, and the topic behind it; `None` if it has none, or the delay is
/// longer than that.
pub(crate) fn parse(topic: &TopicName, longest: Duration) -> Option<(Duration, TopicName)> {
    let (seconds, topic) = topic.as_str().strip_prefix(PREFIX)?.split_once('/')?;
    // Digits alone: a sign would be a wildcard, which no topic has.
    let delay = Duration::from_secs(seconds.parse().ok()?);
    let topic = topic.parse().ok().filter(|topic| !is_for_later(topic))?;
    (delay <= longest).then_some((delay, topic))
}

impl Delays {
    pub(crate) fn new(limit_messages: usize, limit_bytes: usize) -> Delays {
        let (waiting, messages, bytes, next_number) = (BTreeMap::new(), 0, 0, 0);
        let pause = None;
        Delays { waiting, messages, bytes, limit_messages, limit_bytes, next_number, pause }
    }

    pub(crate) fn len(&self) -> usize {
        self.messages
    }

    pub(crate) fn has_room(&self, message: &Message) -> bool {
        let bytes = self.bytes + message.cost_bytes();
        self.messages < self.limit_messages && bytes <= self.limit_bytes
    }

    /// Takes in a message, which counts from here on. It waits once it is [added](Delays::add).
    pub(crate) fn admit(
        &mut self,
        message: &Message,
        delay: Duration,
        client: Option<Text>,
        now: Instant,
    ) -> Arc<Delayed> {
        let number = self.next_number;
        self.next_number += 1;
        // It may wait long.
        let message = message.detached();
        self.messages += 1;
        self.bytes += message.cost_bytes();
        Arc::new(Delayed { number, order: number, due: now + delay, delay, client, message })
    }

    /// Takes in those that a store has, in the order in which they are due.
    pub(crate) fn restore(&mut self, stored: Vec<Delayed>, next_number: u64) {
        self.next_number = next_number;
        for (order, delayed) in (0..).zip(stored) {
            self.messages += 1;
            self.bytes += delayed.message.cost_bytes();
            // What is overdue has kept its place, but not its moment. None of these is above a number.
            self.add(Arc::new(Delayed { order, ..delayed }));
        }
    }

    pub(crate) fn add(&mut self, delayed: Arc<Delayed>) {
        self.waiting.insert((delayed.due, delayed.order), delayed);
    }

    /// The next one that is due. While the store refuses everything, one alone finds out whether it
    /// still does.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<Arc<Delayed>> {
        if self.pause.as_ref().is_some_and(|pause| pause.is_trying || now < pause.until) {
            return None;
        }
        let first = self.waiting.first_entry().filter(|first| first.key().0 <= now)?;
        self.pause.iter_mut().for_each(|pause| pause.is_trying = true);
        Some(first.remove())
    }

    /// One could not be stored where it was to go, and neither could anything else: it keeps its place.
    pub(crate) fn put_back(&mut self, delayed: Arc<Delayed>, now: Instant) {
        let length = match &self.pause {
            None => PAUSES[0],
            Some(pause) if pause.is_trying => PAUSES[1].min(pause.length * 2),
            // By another one of the same commit.
            Some(pause) => pause.length,
        };
        self.pause = Some(Pause { until: now + length, length, is_trying: false });
        self.add(delayed);
    }

    /// One could not be stored where it was to go, which is nobody else's matter: it is tried again
    /// when it has waited about twice as long.
    pub(crate) fn put_off(&mut self, delayed: Arc<Delayed>, now: Instant) {
        self.pause = None;
        let pause = now.saturating_duration_since(delayed.due).clamp(PAUSES[0], PAUSES[1]);
        self.waiting.insert((now + pause, delayed.order), delayed);
    }

    /// The store has taken one where it was to go.
    pub(crate) fn end(&mut self, delayed: &Delayed) {
        self.pause = None;
        self.forget(delayed);
    }

    /// One counts no more.
    pub(crate) fn forget(&mut self, delayed: &Delayed) {
        self.messages -= 1;
        self.bytes -= delayed.message.cost_bytes();
    }
}

#[cfg(test)]
mod tests;
