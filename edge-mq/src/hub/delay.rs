//! The way of a message that is published later: judged and noted when it comes, published when it is
//! due as if it came then.
//!
//! One deed ends the delay and puts the message where it goes, so that a crash neither loses nor
//! doubles it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::commit::{Deed, Delivery};
use super::route::From;
use super::{Effects, Hub};
use crate::TopicName;
use crate::arena::Key;
use crate::delayed::{self, Delayed};
use crate::message::{Message, Routed};
use crate::packet::ReasonCode;
use crate::session::Receipt;
use crate::store::{Refused, Write};

impl Hub {
    /// Takes in a message to `$delayed/..`; or has its publisher, if that is a client, told why not.
    pub(super) fn publish_later(
        &mut self,
        message: Message,
        from: From,
        receipt: Option<Receipt>,
        now: Instant,
        fx: &mut Effects,
    ) -> Result<(), ReasonCode> {
        match self.judge(message, from.publisher()) {
            Ok(Some((Duration::ZERO, message))) => self.publish(message, from, receipt, now, fx),
            Ok(Some((delay, message))) => self.delay(delay, message, from, receipt, now, fx),
            Ok(None) => self.turn_away(from, receipt, ReasonCode::SUCCESS, fx),
            Err(code) => {
                self.turn_away(from, receipt, code, fx);
                return Err(code);
            }
        }
        Ok(())
    }

    /// What a topic says of a delay, and the topic behind it; the topic itself, if it says nothing.
    pub(super) fn real_topic(
        &mut self,
        topic: &TopicName,
    ) -> Result<(Duration, TopicName), ReasonCode> {
        if !delayed::is_for_later(topic) {
            return Ok((Duration::ZERO, topic.clone()));
        }
        delayed::parse(topic, self.limits.max_delay).ok_or_else(|| {
            self.stats.refused_topics += 1;
            ReasonCode::TOPIC_NAME_INVALID
        })
    }

    /// For how long a message is to wait, and the message to its real topic. What is said of it, is
    /// said of that, and now.
    fn judge(
        &mut self,
        message: Message,
        publisher: Option<Key>,
    ) -> Result<Option<(Duration, Message)>, ReasonCode> {
        let (delay, topic) = self.real_topic(message.topic())?;
        let message = message.with_topic(topic);
        let screened = match publisher {
            Some(key) => self.screen(key, message)?,
            None => Some(message),
        };
        let Some(message) = screened else { return Ok(None) };
        if !delay.is_zero() && !self.delays.has_room(&message) {
            self.stats.delayed_refused += 1;
            return Err(ReasonCode::QUOTA_EXCEEDED);
        }
        Ok(Some((delay, message)))
    }

    fn delay(
        &mut self,
        delay: Duration,
        message: Message,
        from: From,
        receipt: Option<Receipt>,
        now: Instant,
        fx: &mut Effects,
    ) {
        let publisher = from.publisher();
        let client = publisher.and_then(|key| self.session(key)).map(|s| s.client_id.clone());
        let delayed = self.delays.admit(&message, delay, client, now);
        let (origin, reply, mut writes) = match from {
            From::Client(peer) => (Some(peer), None, Vec::new()),
            From::Will(_, writes) => (None, None, writes),
            From::Application(reply, _) => (None, reply, Vec::new()),
            From::Delayed(_) => (None, None, Vec::new()),
        };
        if self.is_kept {
            writes.push(Write::Delay(Arc::clone(&delayed)));
            writes.extend(self.received(publisher, receipt));
            // Nobody gets it yet, but its publisher waits for the same commit.
            let routed = Arc::new(Routed { message: delayed.message.clone(), deadline: None });
            let delivery = Delivery { routed, matches: Vec::new(), publisher, receipt, reply };
            self.note(Deed::message(writes, delivery, origin), fx);
        } else {
            self.delays.add(delayed);
            self.settle(publisher, receipt, ReasonCode::SUCCESS, fx);
            fx.replies.extend(reply.map(|reply| (reply, Ok(()))));
        }
    }

    /// A message goes nowhere.
    fn turn_away(
        &mut self,
        from: From,
        receipt: Option<Receipt>,
        code: ReasonCode,
        fx: &mut Effects,
    ) {
        match from {
            From::Client(peer) => self.settle(Some(peer.session), receipt, code, fx),
            From::Will(_, writes) => self.note_lazily(writes, fx),
            // Whoever called is told.
            From::Application(..) | From::Delayed(_) => {}
        }
    }

    /// Publishes what is due, as far as the disk keeps up.
    pub(super) fn publish_due(&mut self, now: Instant, fx: &mut Effects) {
        while self.is_committing_little()
            && let Some(delayed) = self.delays.take_due(now)
        {
            let message = delayed.message.clone();
            self.publish(message, From::Delayed(Arc::clone(&delayed)), None, now, fx);
            if !self.is_kept {
                self.delays.end(&delayed);
            }
        }
    }

    /// Who published a message, if its client has a session, and what is to be stored when it is
    /// published.
    pub(super) fn origin_of(&self, delayed: &Arc<Delayed>) -> (Option<Key>, Vec<Write>) {
        let client = delayed.client.as_ref();
        let publisher = client.and_then(|client| self.clients.get(client)).copied();
        let end = self.is_kept.then(|| Write::EndDelay(Arc::clone(delayed)));
        (publisher, end.into_iter().collect())
    }

    /// A message could not be stored where it was to go: it goes there later, unless it is too large
    /// for that.
    pub(super) fn put_back(
        &mut self,
        delayed: Arc<Delayed>,
        refused: &Refused,
        now: Instant,
        fx: &mut Effects,
    ) {
        if refused.code == ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR {
            self.stats.journal_refused += 1;
            self.note_lazily(vec![Write::EndDelay(delayed)], fx);
        } else if refused.is_selective && !refused.is_full {
            self.delays.put_off(delayed, now);
        } else {
            self.delays.put_back(delayed, now);
        }
    }
}
