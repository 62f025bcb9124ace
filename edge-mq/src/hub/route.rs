//! The way of a message: into the journal if a rule says so, then to all who subscribed.

use std::sync::Arc;
use std::time::Instant;

use super::{Effects, Hub, Journaled, LogSlot, Subscriber};
use crate::arena::Key;
use crate::limits::Limits;
use crate::message::{Message, Routed};
use crate::packet::{QoS, ReasonCode, SubscriptionId};
use crate::session::{Queued, Receipt, Session};
use crate::stats::Stats;

/// One subscription that wants the message at hand.
#[derive(Debug)]
pub(crate) struct Match {
    subscriber: Key,
    qos: QoS,
    retain_as_published: bool,
    id: Option<SubscriptionId>,
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

    fn settle(
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
        self.router.each_match(routed.message.topic(), |subscription| {
            let options = subscription.options;
            if !(options.no_local && publisher == Some(subscription.subscriber)) {
                matches.push(Match {
                    subscriber: subscription.subscriber,
                    qos: options.qos,
                    retain_as_published: options.retain_as_published,
                    id: subscription.id,
                });
            }
        });
        // One subscriber gets one copy, however many of its filters match (section 3.3.4).
        if matches.len() > 1 {
            matches.sort_by_key(|found| found.subscriber);
        }
        let mut shared = Shared { routed, detached: None };
        for found in matches.chunk_by(|a, b| a.subscriber == b.subscriber) {
            match self.subscribers.get_mut(found[0].subscriber) {
                Some(Subscriber::Session(session)) => {
                    deliver(session, &mut shared, found, &self.limits, &mut self.stats, fx);
                }
                Some(Subscriber::Tap(tap)) => {
                    tap.push(Arc::clone(&shared.routed), false, &mut self.stats);
                    fx.wakes.extend(tap.wake());
                }
                None => {}
            }
        }
        matches.clear();
        self.matches = matches;
    }
}

/// The message at hand, twice: as it came, and in memory of its own for those who keep it long.
struct Shared {
    routed: Arc<Routed>,
    detached: Option<Arc<Routed>>,
}

impl Shared {
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
    shared: &mut Shared,
    found: &[Match],
    limits: &Limits,
    stats: &mut Stats,
    fx: &mut Effects,
) {
    let message = &shared.routed.message;
    let granted = found.iter().map(|found| found.qos).max().unwrap_or_default();
    let qos = granted.min(message.published_qos());
    let retain = message.is_retained() && found.iter().any(|found| found.retain_as_published);
    let subscription_ids = found.iter().filter_map(|found| found.id).collect();
    let routed = match session.link {
        Some(_) => Arc::clone(&shared.routed),
        None if qos == QoS::AtMostOnce => {
            stats.dropped_qos0 += 1;
            return;
        }
        None => shared.detached(),
    };
    session.outgoing.push(Queued { routed, qos, retain, subscription_ids }, limits, stats);
    if let Some(link) = &mut session.link {
        fx.wakes.extend(link.wake());
        fx.congested |= session.outgoing.is_congested(limits);
    }
}
