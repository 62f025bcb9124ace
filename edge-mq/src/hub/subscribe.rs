//! SUBSCRIBE and UNSUBSCRIBE of sessions.

use std::time::Instant;

use super::commit::{Deed, Then};
use super::{Effects, Hub, Peer, Subscriber};
use crate::TopicFilter;
use crate::arena::Key;
use crate::packet::{
    Packet, Properties, Property, QoS, ReasonCode, RetainHandling, SubAck, Subscribe,
    SubscribeOptions, SubscriptionId, Unsubscribe,
};
use crate::session::Queued;
use crate::store::{StoredSubscription, Write};
use crate::topic::Share;

/// Who gets the messages of a filter, and how.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) subscriber: Key,
    pub(super) options: SubscribeOptions,
    pub(super) id: Option<SubscriptionId>,
    /// Whether nobody else may have its filter as such.
    pub(super) is_exclusive: bool,
}

impl Subscription {
    /// Of the application itself, which wants all there is.
    pub(super) fn whole(subscriber: Key) -> Subscription {
        let options = SubscribeOptions { qos: QoS::ExactlyOnce, ..SubscribeOptions::default() };
        Subscription { subscriber, options, id: None, is_exclusive: false }
    }
}

impl Hub {
    pub(super) fn subscribe(
        &mut self,
        peer: Peer,
        subscribe: Subscribe,
        now: Instant,
        fx: &mut Effects,
    ) {
        let id = subscribe.properties.find(|property| match property {
            Property::SubscriptionId(id) => Some(*id),
            _ => None,
        });
        let (mut codes, mut writes, mut undo) = (Vec::new(), Vec::new(), Vec::new());
        for (filter, options) in &subscribe.filters {
            let filter = match self.hooked_filter(peer.session, filter) {
                Ok(filter) => filter.detached(),
                Err(code) => {
                    self.stats.denied += 1;
                    codes.push(code);
                    continue;
                }
            };
            let wanted = StoredSubscription { filter, options: *options, id };
            let is_new = self.is_new(peer.session, &wanted.filter);
            let code = self.subscribe_one(peer.session, &wanted, now, &mut writes, fx);
            codes.push(code);
            if is_new && !code.is_error() {
                undo.push(wanted.filter);
            }
        }
        let refused = codes.iter().position(|code| code.is_error());
        let reason = refused.map(|at| {
            let (filter, _) = &subscribe.filters[at];
            format!("filter {}: {}", at + 1, self.why_not(filter, codes[at]))
        });
        let (id, properties) = (subscribe.id, Properties::new());
        let mut answer = SubAck { id, codes, properties };
        if let (Some(reason), Some(link)) = (reason, self.link(peer)) {
            answer = link.explain(answer, &reason);
        }
        self.answer_stored(peer, Packet::SubAck(answer), writes, undo, fx);
    }

    /// Why there is no subscription, for people.
    fn why_not(&self, filter: &TopicFilter, code: ReasonCode) -> String {
        match code {
            ReasonCode::TOPIC_FILTER_INVALID => {
                "it has no share name, or no filter behind it".into()
            }
            ReasonCode::NOT_AUTHORIZED => "you may not subscribe to it".into(),
            ReasonCode::QUOTA_EXCEEDED if matches!(filter.share(), Share::Exclusive(_)) => {
                "another client has it for itself, or you have too many".into()
            }
            _ => format!("a session has at most {} subscriptions", self.limits.subscriptions),
        }
    }

    /// Answers at once, or when these are stored.
    fn answer_stored(
        &mut self,
        peer: Peer,
        answer: Packet,
        writes: Vec<Write>,
        undo: Vec<TopicFilter>,
        fx: &mut Effects,
    ) {
        if writes.is_empty() {
            return self.answer(Some(peer), answer, undo, None, fx);
        }
        self.note(Deed::new(writes, Then::Answer(Box::new(answer), undo), peer), fx);
    }

    fn is_new(&mut self, key: Key, filter: &TopicFilter) -> bool {
        self.session(key).is_some_and(|session| !session.subscriptions.contains_key(filter))
    }

    pub(super) fn subscribe_one(
        &mut self,
        key: Key,
        wanted: &StoredSubscription,
        now: Instant,
        writes: &mut Vec<Write>,
        fx: &mut Effects,
    ) -> ReasonCode {
        let StoredSubscription { filter, options, .. } = wanted;
        let share = filter.share();
        if matches!(share, Share::Invalid) {
            return ReasonCode::TOPIC_FILTER_INVALID;
        }
        if !self.limits.allow_topic(filter.as_str()) {
            self.stats.refused_topics += 1;
            return ReasonCode::TOPIC_FILTER_INVALID;
        }
        if !self.may_subscribe(key, filter) {
            self.stats.denied += 1;
            return ReasonCode::NOT_AUTHORIZED;
        }
        let limit = self.limits.subscriptions;
        let Some(session) = self.session(key) else { return ReasonCode::UNSPECIFIED_ERROR };
        let is_new = !session.subscriptions.contains_key(filter);
        if is_new && session.subscriptions.len() >= limit {
            return ReasonCode::QUOTA_EXCEEDED;
        }
        if let Share::Exclusive(filter) = &share
            && self
                .router
                .get(filter, |found| found.is_exclusive && found.subscriber != key)
                .is_some()
        {
            return ReasonCode::QUOTA_EXCEEDED;
        }
        let Some(session) = self.session(key) else { return ReasonCode::UNSPECIFIED_ERROR };
        if session.is_kept() {
            let number = session.number.expect("what is kept has a number");
            writes.push(Write::Subscribe(number, wanted.clone()));
        }
        self.add_subscription(key, wanted);
        // Retained messages are for no group (section 4.8.2).
        if !matches!(share, Share::Of(_)) {
            match options.retain_handling {
                RetainHandling::SendIfNew if !is_new => {}
                RetainHandling::Skip => {}
                _ => self.send_retained(key, wanted, now, writes, fx),
            }
        }
        match options.qos.get() {
            0 => ReasonCode::SUCCESS,
            1 => ReasonCode::GRANTED_QOS_1,
            _ => ReasonCode::GRANTED_QOS_2,
        }
    }

    /// Lets the messages of a filter reach a session.
    pub(super) fn add_subscription(&mut self, key: Key, wanted: &StoredSubscription) {
        let StoredSubscription { filter, options, id } = wanted;
        self.session(key).map(|session| session.subscriptions.insert(filter.clone(), options.qos));
        let share = filter.share();
        let is_exclusive = matches!(share, Share::Exclusive(_));
        let subscription =
            Subscription { subscriber: key, options: *options, id: *id, is_exclusive };
        if let Share::Of(shared) = &share {
            return self.join(filter, shared, subscription);
        }
        let is_old = |old: &Subscription| old.subscriber == key && old.is_exclusive == is_exclusive;
        self.router.insert(share.filter().unwrap_or(filter), subscription, is_old);
    }

    fn send_retained(
        &mut self,
        key: Key,
        wanted: &StoredSubscription,
        now: Instant,
        writes: &mut Vec<Write>,
        fx: &mut Effects,
    ) {
        let Some(Subscriber::Session(session)) = self.subscribers.get_mut(key) else { return };
        let acl = self.acl.as_ref();
        let mut to_be_stored = Vec::new();
        let share = wanted.filter.share();
        self.retained.each_match(share.filter().unwrap_or(&wanted.filter), now, |routed| {
            let topic = routed.message.topic();
            if acl.is_some_and(|acl| !acl.may_receive(session.client(), topic)) {
                return;
            }
            let queued = Queued {
                routed: routed.clone(),
                qos: routed.message.published_qos().min(wanted.options.qos),
                retain: true,
                subscription_ids: wanted.id.into_iter().collect(),
                group: None,
                serial: None,
            };
            if session.is_kept() && queued.qos > QoS::AtMostOnce {
                to_be_stored.push(queued);
            } else {
                session.outgoing.push(queued, &self.limits, &mut self.stats);
            }
        });
        for queued in to_be_stored {
            self.place(key, queued, writes, fx);
        }
    }

    pub(super) fn unsubscribe(&mut self, peer: Peer, unsubscribe: Unsubscribe, fx: &mut Effects) {
        let key = peer.session;
        let (mut codes, mut writes) = (Vec::new(), Vec::new());
        for filter in &unsubscribe.filters {
            // What it may not subscribe to, it may still have.
            let filter = &self.hooked_filter(key, filter).unwrap_or_else(|_| filter.clone());
            let Some(session) = self.session(key) else { return };
            let existed = session.subscriptions.remove(filter).is_some();
            if let Some(number) = session.number.filter(|_| existed && session.is_kept()) {
                writes.push(Write::Unsubscribe(number, filter.detached()));
            }
            self.forget_subscription(filter, key);
            codes.push(match existed {
                true => ReasonCode::SUCCESS,
                false => ReasonCode::NO_SUBSCRIPTION_EXISTED,
            });
        }
        let (id, properties) = (unsubscribe.id, Properties::new());
        let answer = Packet::UnsubAck(SubAck { id, codes, properties });
        self.answer_stored(peer, answer, writes, Vec::new(), fx);
    }

    /// Lets no more messages of a filter reach a subscriber.
    pub(super) fn forget_subscription(&mut self, filter: &TopicFilter, subscriber: Key) {
        let share = filter.share();
        let is_exclusive = matches!(share, Share::Exclusive(_));
        match &share {
            Share::Of(_) => self.leave_share(filter, subscriber),
            share => drop(self.router.remove(share.filter().unwrap_or(filter), |found| {
                found.subscriber == subscriber && found.is_exclusive == is_exclusive
            })),
        }
    }
}
