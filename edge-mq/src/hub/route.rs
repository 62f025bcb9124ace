//! The way of a message: into the journal if a rule says so, then to all who subscribed.

use std::sync::Arc;
use std::time::Instant;

use super::allow::may_receive;
use super::share::Readiness;
use super::{Effects, Hub, Journaled, LogSlot, Subscriber, Subscription};
use crate::TopicFilter;
use crate::arena::Key;
use crate::limits::Limits;
use crate::message::{Message, Routed};
use crate::packet::{QoS, ReasonCode, SubscribeOptions, SubscriptionId};
use crate::session::{Queued, Receipt, Session};
use crate::stats::Stats;

/// One subscription that wants the message at hand.
#[derive(Debug)]
pub(crate) struct Match {
    subscriber: Key,
    qos: QoS,
    retain_as_published: bool,
    id: Option<SubscriptionId>,
    /// The name of the shared subscription; `None` of one's own.
    group: Option<Arc<TopicFilter>>,
}

impl Match {
    pub(super) fn of(subscription: &Subscription, group: Option<Arc<TopicFilter>>) -> Match {
        let Subscription { subscriber, options, id } = *subscription;
        let SubscribeOptions { qos, retain_as_published, .. } = options;
        Match { subscriber, qos, retain_as_published, id, group }
    }

    /// Whether the subscriber gets one copy for both.
    fn is_one_with(&self, other: &Match) -> bool {
        self.subscriber == other.subscriber && self.group.is_none() && other.group.is_none()
    }
}

impl Hub {
    /// Takes in a message. A journaled one is only noted in the effects: it is routed, and its
    /// receipt settled, when its commit is on disk and the caller tells [`Hub::committed`].
    pub(super) fn publish(
        &mut self,
        message: Message,
        publisher: Option<Key>,
        receipt: Option<Receipt>,
        now: Instant,
        fx: &mut Effects,
    ) {
        let logs = self.logs_of(&message);
        if logs.is_empty() {
            self.route(message, publisher, now, fx);
            return self.settle(publisher, receipt, ReasonCode::SUCCESS, fx);
        }
        let client = publisher.and_then(|key| self.session(key)).map(|s| s.client_id.clone());
        fx.journal.push(Journaled { logs, message, client, publisher, receipt });
    }

    /// Takes in a message of the application itself.
    pub(crate) fn publish_local(&mut self, message: Message, now: Instant, fx: &mut Effects) {
        self.stats.received += 1;
        self.publish(message, None, None, now, fx);
    }

    /// The commit of these messages has ended: they are on disk, or were refused for a reason.
    pub(crate) fn committed(
        &mut self,
        messages: Vec<Journaled>,
        outcome: Result<(), ReasonCode>,
        now: Instant,
        fx: &mut Effects,
    ) {
        for Journaled { logs, message, publisher, receipt, .. } in messages {
            let code = match outcome {
                Ok(()) => {
                    self.stats.journaled += logs.len() as u64;
                    self.route(message, publisher, now, fx);
                    ReasonCode::SUCCESS
                }
                Err(code) => {
                    self.stats.journal_refused += 1;
                    code
                }
            };
            self.settle(publisher, receipt, code, fx);
        }
    }

    /// Messages that the filter matches go into this Log from now on.
    #[cfg(any(feature = "db", test))]
    pub(crate) fn add_rule(&mut self, filter: &crate::TopicFilter, log: LogSlot) {
        self.rules.insert(filter, log, |old| *old == log);
    }

    /// The Log gets them no more.
    #[cfg(any(feature = "db", test))]
    pub(crate) fn remove_rule(&mut self, filter: &crate::TopicFilter, log: LogSlot) {
        self.rules.remove(filter, |old| *old == log);
    }

    fn logs_of(&self, message: &Message) -> Vec<LogSlot> {
        let mut logs = Vec::new();
        if !self.rules.is_empty() {
            self.rules.each_match(message.topic(), |log| {
                // Two rules may lead to the same Log; it gets the message once.
                if !logs.contains(log) {
                    logs.push(*log);
                }
            });
        }
        logs
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

    fn route(&mut self, message: Message, publisher: Option<Key>, now: Instant, fx: &mut Effects) {
        let routed = Routed::new(message, now);
        if routed.message.is_retained() && self.retained.store(&routed, now).is_err() {
            self.stats.retained_refused += 1;
        }
        let mut matches = std::mem::take(&mut self.matches);
        let topic = routed.message.topic();
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
        let mut routing = Routing::new(routed);
        for found in matches.chunk_by(Match::is_one_with) {
            self.deliver(&mut routing, found, fx);
        }
        matches.clear();
        self.matches = matches;
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
            None => {}
        }
    }
}

/// The message at hand, twice: as it came, and in memory of its own for those who keep it long.
pub(super) struct Routing {
    routed: Arc<Routed>,
    detached: Option<Arc<Routed>>,
}

impl Routing {
    pub(super) fn new(routed: Arc<Routed>) -> Routing {
        Routing { routed, detached: None }
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

fn deliver(
    session: &mut Session,
    routing: &mut Routing,
    found: &[Match],
    limits: &Limits,
    stats: &mut Stats,
    fx: &mut Effects,
) {
    let message = &routing.routed.message;
    let granted = found.iter().map(|found| found.qos).max().unwrap_or_default();
    let qos = granted.min(message.published_qos());
    let retain = message.is_retained() && found.iter().any(|found| found.retain_as_published);
    let subscription_ids = found.iter().filter_map(|found| found.id).collect();
    let routed = match session.link {
        Some(_) => Arc::clone(&routing.routed),
        None if qos == QoS::AtMostOnce => {
            stats.dropped_qos0 += 1;
            return;
        }
        None => routing.detached(),
    };
    let group = found[0].group.clone();
    session.outgoing.push(Queued { routed, qos, retain, subscription_ids, group }, limits, stats);
    if let Some(link) = &mut session.link {
        fx.wakes.extend(link.wake());
        fx.congested |= session.outgoing.is_congested(limits);
    }
}
