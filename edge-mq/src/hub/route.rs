//! The way of a message: into the journal if a rule says so, then to all who subscribed.

use std::sync::Arc;
use std::time::Instant;

use super::allow::may_receive;
use super::commit::{Deed, Delivery, Reply};
use super::share::Readiness;
use super::{Effects, Hub, Peer, Subscriber, Subscription};
use crate::TopicFilter;
use crate::arena::Key;
use crate::delayed::{self, Delayed};
use crate::limits::{Limits, WhenFull};
use crate::message::{Message, Routed};
use crate::packet::{self, QoS, ReasonCode, SubscribeOptions, SubscriptionId, Text};
use crate::session::{Queued, Receipt, Session};
use crate::stats::Stats;
use crate::store::LogSlot;
use crate::store::Write;

/// Who brings a message.
#[derive(Debug)]
pub(super) enum From {
    Client(Peer),
    /// A session, without a connection; this is stored with it.
    Will(Key, Vec<Write>),
    /// It may want to know how it came out. What it publishes goes past these Logs.
    Application(Option<Reply>, Arc<[LogSlot]>),
    /// Nobody any more: its time has come.
    Delayed(Arc<Delayed>),
}

impl From {
    /// The session that brings it.
    pub(super) fn publisher(&self) -> Option<Key> {
        match self {
            From::Client(peer) => Some(peer.session),
            From::Will(key, _) => Some(*key),
            From::Application(..) | From::Delayed(_) => None,
        }
    }
}

/// One subscription that wants the message at hand.
#[derive(Debug, Clone)]
pub(crate) struct Match {
    pub(super) subscriber: Key,
    qos: QoS,
    retain_as_published: bool,
    id: Option<SubscriptionId>,
    /// The name of the shared subscription; `None` of one's own.
    group: Option<Arc<TopicFilter>>,
}

impl Match {
    pub(super) fn of(subscription: &Subscription, group: Option<Arc<TopicFilter>>) -> Match {
        let Subscription { subscriber, options, id, .. } = *subscription;
        let SubscribeOptions { qos, retain_as_published, .. } = options;
        Match { subscriber, qos, retain_as_published, id, group }
    }

    /// Whether the subscriber gets one copy for both.
    fn is_one_with(&self, other: &Match) -> bool {
        self.subscriber == other.subscriber && self.group.is_none() && other.group.is_none()
    }
}

impl Hub {
    /// Takes in a message. One that is to be stored is only noted: it is routed, and its receipt
    /// settled, when its commit has ended.
    pub(super) fn publish(
        &mut self,
        message: Message,
        from: From,
        receipt: Option<Receipt>,
        now: Instant,
        fx: &mut Effects,
    ) {
        let (mut without, mut client) = (Arc::default(), None);
        let (publisher, origin, reply, mut writes) = match from {
            From::Client(peer) => (Some(peer.session), Some(peer), None, Vec::new()),
            From::Will(key, writes) => (Some(key), None, None, writes),
            From::Application(reply, past) => {
                without = past;
                (None, None, reply, Vec::new())
            }
            From::Delayed(delayed) => {
                let (publisher, writes) = self.origin_of(&delayed);
                client.clone_from(&delayed.client);
                (publisher, None, None, writes)
            }
        };
        let routed = Routed::new(message, now);
        let mut matches = std::mem::take(&mut self.matches);
        self.find(&routed.message, publisher, &mut matches);
        self.journal(&routed, publisher, client, &without, &mut writes);
        if self.is_kept {
            self.keep(&routed, &mut matches, receipt, publisher, &mut writes, fx);
        }
        // What the broker says of itself is true while it runs.
        let is_own = routed.message.topic().as_str().starts_with("$SYS/");
        if routed.message.is_retained() && (self.is_kept && !is_own || !writes.is_empty()) {
            writes.push(Write::Retain(Arc::clone(&routed)));
        }
        if writes.is_empty() {
            if routed.message.is_retained() {
                self.retain(&routed, now, fx);
            }
            self.route(routed, publisher, &mut matches, fx);
            self.settle(publisher, receipt, ReasonCode::SUCCESS, fx);
            fx.replies.extend(reply.map(|reply| (reply, Ok(()))));
            self.matches = matches;
        } else {
            let delivery = Delivery { routed, matches, publisher, receipt, reply };
            self.note(Deed::message(writes, delivery, origin), fx);
        }
    }

    /// Takes in a message of the application itself, which goes past some Logs; or says why not.
    pub(crate) fn publish_local(
        &mut self,
        message: Message,
        reply: Option<Reply>,
        without: &Arc<[LogSlot]>,
        now: Instant,
        fx: &mut Effects,
    ) -> Result<(), ReasonCode> {
        self.stats.received += 1;
        self.stats.received_bytes += message.payload().len() as u64;
        let from = From::Application(reply, Arc::clone(without));
        if delayed::is_for_later(message.topic()) {
            return self.publish_later(message, from, None, now, fx);
        }
        self.publish(message, from, None, now, fx);
        Ok(())
    }

    /// Messages that the filter matches go into this Log from now on.
    pub(crate) fn add_rule(&mut self, filter: &crate::TopicFilter, log: LogSlot) {
        self.rules.insert(filter, log, |old| *old == log);
    }

    /// The Log gets them no more.
    pub(crate) fn remove_rule(&mut self, filter: &crate::TopicFilter, log: LogSlot) {
        self.rules.remove(filter, |old| *old == log);
    }

    /// Notes the Logs that a message is to be stored in.
    fn journal(
        &mut self,
        routed: &Arc<Routed>,
        publisher: Option<Key>,
        client: Option<Text>,
        without: &[LogSlot],
        writes: &mut Vec<Write>,
    ) {
        if self.rules.is_empty() {
            return;
        }
        let session = publisher.and_then(|key| self.session(key));
        let client = client.or_else(|| session.map(|session| session.client_id.clone()));
        let left_out = &mut self.left_out;
        self.rules.each_match(routed.message.topic(), |log| {
            // Two rules may lead to the same Log; it gets the message once.
            let is_same =
                |write: &Write| matches!(write, Write::Append { log: old, .. } if old == log);
            let is_wanted = !writes.iter().any(is_same) && !without.contains(log);
            if is_wanted && !left_out.takes(*log) {
                let (log, routed, client) = (*log, Arc::clone(routed), client.clone());
                writes.push(Write::Append { log, routed, client });
            }
        });
    }

    /// Notes what of a message stored sessions are to have: that it came from one, and its places in
    /// the queues of those that it goes to, whose matches are taken out.
    fn keep(
        &mut self,
        routed: &Arc<Routed>,
        matches: &mut Vec<Match>,
        receipt: Option<Receipt>,
        publisher: Option<Key>,
        writes: &mut Vec<Write>,
        fx: &mut Effects,
    ) {
        let message = &routed.message;
        writes.extend(self.received(publisher, receipt));
        if message.published_qos() == QoS::AtMostOnce {
            return;
        }
        let mut rest = Vec::new();
        for found in matches.chunk_by(Match::is_one_with) {
            let queued = queued(routed, found);
            let is_kept = queued.qos > QoS::AtMostOnce;
            if !is_kept || !self.place(found[0].subscriber, queued, writes, fx) {
                rest.extend_from_slice(found);
            }
        }
        *matches = rest;
    }

    /// That a message came from a stored session which may send it again.
    pub(super) fn received(
        &mut self,
        publisher: Option<Key>,
        receipt: Option<Receipt>,
    ) -> Option<Write> {
        let packet::Delivery::ExactlyOnce(id) = receipt?.delivery else { return None };
        let session = self.session(publisher?).filter(|session| session.is_kept())?;
        Some(Write::Received(session.number?, id))
    }

    /// Gives a message its place in the queue of a session, as far as there is room. Returns whether
    /// it is a session with a queue on disk.
    pub(super) fn place(
        &mut self,
        owner: Key,
        queued: Queued,
        writes: &mut Vec<Write>,
        fx: &mut Effects,
    ) -> bool {
        let (limits, stats) = (&self.limits, &mut self.stats);
        let Some(Subscriber::Session(session)) = self.subscribers.get_mut(owner) else {
            return false;
        };
        let Some(kept) = session.outgoing.kept_mut() else { return false };
        let (number, bytes) = (kept.number(), queued.routed.message.cost_bytes() as u64);
        let is_full = kept.waiting() >= limits.stored_queue_messages
            || kept.waiting_bytes() + bytes > limits.stored_queue_bytes;
        let total_is_full = self.stored_bytes + bytes > limits.stored_queue_bytes_total;
        if is_full && !total_is_full && limits.queue_when_full == WhenFull::DropOldest {
            let count = kept.waiting() / 16 + 1;
            let gone = session.outgoing.drop_oldest(count, stats);
            writes.extend(gone.map(|serials| Write::Drop(number, serials)));
            self.untold.insert(owner);
        } else if is_full || total_is_full {
            stats.dropped_full += 1;
            if limits.queue_when_full == WhenFull::Disconnect
                && let Some(link) = &mut session.link
            {
                link.end = Some(ReasonCode::QUOTA_EXCEEDED);
                fx.wakes.push(link.call());
            }
            return true;
        }
        self.append_to(owner, queued, writes)
    }

    /// Gives a message its place in the queue of a session, if that is on disk.
    pub(super) fn append_to(
        &mut self,
        owner: Key,
        mut queued: Queued,
        writes: &mut Vec<Write>,
    ) -> bool {
        let Some(kept) = self.session(owner).and_then(|session| session.outgoing.kept_mut()) else {
            return false;
        };
        let (session, bytes) = (kept.number(), queued.routed.message.cost_bytes() as u64);
        let (serial, bytes_before) = kept.admit(bytes);
        self.stored_bytes += bytes;
        queued.serial = Some(serial);
        writes.push(Write::Queue { session, owner, bytes_before, queued });
        true
    }

    /// Keeps a message for those who come later.
    pub(super) fn retain(&mut self, routed: &Routed, now: Instant, fx: &mut Effects) {
        if self.retained.store(routed, now).is_err() {
            self.stats.retained_refused += 1;
            if self.is_kept {
                let topic = routed.message.topic().clone();
                self.note(Deed::lazy(vec![Write::Unretain(topic)]), fx);
            }
        }
    }

    pub(super) fn settle(
        &mut self,
        publisher: Option<Key>,
        receipt: Option<Receipt>,
        code: ReasonCode,
        fx: &mut Effects,
    ) {
        let session = publisher.and_then(|key| self.session(key));
        let (Some(session), Some(receipt)) = (session, receipt) else { return };
        let must_close = session.settle(receipt, code);
        if let Some(link) = &mut session.link {
            if must_close {
                link.end = Some(code);
                fx.wakes.push(link.call());
            } else {
                fx.wakes.extend(link.wake());
            }
        }
    }

    /// Finds out who wants a message, each subscriber's matches beside each other.
    pub(super) fn find(&self, message: &Message, publisher: Option<Key>, matches: &mut Vec<Match>) {
        let topic = message.topic();
        let (acl, subscribers) = (self.acl.as_ref(), &self.subscribers);
        let may_receive = |key| may_receive(acl, subscribers, key, topic);
        self.router.each_match(topic, |subscription| {
            let is_own = publisher == Some(subscription.subscriber);
            if !(subscription.options.no_local && is_own) && may_receive(subscription.subscriber) {
                matches.push(Match::of(subscription, None));
            }
        });
        if !self.shares.is_empty() {
            self.shares.each_match(topic, |group| {
                let readiness = |key| Readiness::of(subscribers.get(key));
                let member = group.choose(|key| may_receive(key).then(|| readiness(key)));
                let name = || Some(Arc::clone(&group.name));
                matches.extend(member.map(|member| Match::of(member, name())));
            });
        }
        // One subscriber gets one copy, however many of its own filters match (section 3.3.4).
        if matches.len() > 1 {
            matches.sort_by_key(|found| (found.subscriber, found.group.is_some()));
        }
    }

    /// Gives a message to all who want it.
    pub(super) fn route(
        &mut self,
        routed: Arc<Routed>,
        publisher: Option<Key>,
        matches: &mut Vec<Match>,
        fx: &mut Effects,
    ) {
        let mut routing = Routing::new(routed, publisher);
        for found in matches.chunk_by(Match::is_one_with) {
            self.deliver(&mut routing, found, fx);
        }
        matches.clear();
    }

    /// Gives the message to the subscriber of these matches.
    pub(super) fn deliver(&mut self, routing: &mut Routing, found: &[Match], fx: &mut Effects) {
        match self.subscribers.get_mut(found[0].subscriber) {
            Some(Subscriber::Session(session)) => {
                deliver(session, routing, found, &self.limits, &mut self.stats, fx);
            }
            Some(Subscriber::Tap(tap)) => {
                tap.push(Arc::clone(&routing.routed), false, &mut self.stats);
                fx.wakes.extend(tap.wake());
            }
            Some(Subscriber::Counter(counter)) => counter.count(&routing.routed.message),
            Some(Subscriber::Recorder(recorder)) => {
                let take = recorder.take();
                let session = routing.publisher.and_then(|key| self.session(key));
                take(&routing.routed, session.map(|session| &session.client_id));
            }
            // It is gone since the message came; others of its group are there.
            None => {
                let name = found[0].group.as_ref();
                let heir = name.and_then(|name| self.heir(name, routing.routed.message.topic()));
                if let Some(heir) = heir {
                    self.deliver(routing, &[heir], fx);
                }
            }
        }
    }
}

/// The message at hand, twice: as it came, and in memory of its own for those who keep it long.
pub(super) struct Routing {
    routed: Arc<Routed>,
    /// The session that it came from, as far as that is known.
    publisher: Option<Key>,
    detached: Option<Arc<Routed>>,
}

impl Routing {
    pub(super) fn new(routed: Arc<Routed>, publisher: Option<Key>) -> Routing {
        Routing { routed, publisher, detached: None }
    }

    fn detached(&mut self) -> Arc<Routed> {
        let routed = &self.routed;
        let detached = self.detached.get_or_insert_with(|| {
            let message = routed.message.detached();
            Arc::new(Routed { message, deadline: routed.deadline })
        });
        Arc::clone(detached)
    }
}

/// A message for the subscriber of these matches.
pub(super) fn queued(routed: &Arc<Routed>, found: &[Match]) -> Queued {
    let message = &routed.message;
    let granted = found.iter().map(|found| found.qos).max().unwrap_or_default();
    let qos = granted.min(message.published_qos());
    let retain = message.is_retained() && found.iter().any(|found| found.retain_as_published);
    let subscription_ids = found.iter().filter_map(|found| found.id).collect();
    let (routed, group) = (Arc::clone(routed), found[0].group.clone());
    Queued { routed, qos, retain, subscription_ids, group, serial: None }
}

fn deliver(
    session: &mut Session,
    routing: &mut Routing,
    found: &[Match],
    limits: &Limits,
    stats: &mut Stats,
    fx: &mut Effects,
) {
    let mut queued = queued(&routing.routed, found);
    if session.link.is_none() {
        if queued.qos == QoS::AtMostOnce {
            stats.dropped_qos0 += 1;
            return;
        }
        queued.routed = routing.detached();
    }
    session.outgoing.push(queued, limits, stats);
    if let Some(link) = &mut session.link {
        fx.wakes.extend(link.wake());
        fx.congested |= session.outgoing.is_congested(limits);
    }
}
