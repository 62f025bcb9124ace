//! SUBSCRIBE and UNSUBSCRIBE of sessions.

use std::time::Instant;

use super::{Hub, Subscriber};
use crate::TopicFilter;
use crate::arena::Key;
use crate::packet::{
    Packet, Properties, Property, ReasonCode, RetainHandling, SubAck, Subscribe, SubscribeOptions,
    SubscriptionId, Unsubscribe,
};
use crate::session::Queued;
use crate::topic::Share;

/// Who gets the messages of a filter, and how.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) subscriber: Key,
    pub(super) options: SubscribeOptions,
    pub(super) id: Option<SubscriptionId>,
}

impl Hub {
    pub(super) fn subscribe(&mut self, key: Key, subscribe: Subscribe, now: Instant) {
        let id = subscribe.properties.find(|property| match property {
            Property::SubscriptionId(id) => Some(*id),
            _ => None,
        });
        let filters = subscribe.filters.iter();
        let codes = filters.map(|(f, options)| self.subscribe_one(key, f, *options, id, now));
        let codes = codes.collect();
        let (id, properties) = (subscribe.id, Properties::new());
        self.answer(key, Packet::SubAck(SubAck { id, codes, properties }));
    }

    fn subscribe_one(
        &mut self,
        key: Key,
        filter: &TopicFilter,
        options: SubscribeOptions,
        id: Option<SubscriptionId>,
        now: Instant,
    ) -> ReasonCode {
        let share = filter.share();
        if matches!(share, Share::Invalid) {
            return ReasonCode::TOPIC_FILTER_INVALID;
        }
        if !self.may_subscribe(key, filter) {
            self.stats.denied += 1;
            return ReasonCode::NOT_AUTHORIZED;
        }
        let limit = self.limits.subscriptions;
        let Some(session) = self.session(key) else { return ReasonCode::UNSPECIFIED_ERROR };
        let is_new = !session.subscriptions.contains(filter);
        if is_new && session.subscriptions.len() >= limit {
            return ReasonCode::QUOTA_EXCEEDED;
        }
        let filter = filter.detached();
        session.subscriptions.insert(filter.clone());
        let subscription = Subscription { subscriber: key, options, id };
        if let Share::Of(shared) = share {
            // Retained messages are for no group (section 4.8.2).
            self.join(&filter, &shared, subscription);
        } else {
            self.router.insert(&filter, subscription, |old| old.subscriber == key);
            match options.retain_handling {
                RetainHandling::SendIfNew if !is_new => {}
                RetainHandling::Skip => {}
                _ => self.send_retained(key, &filter, options, id, now),
            }
        }
        match options.qos.get() {
            0 => ReasonCode::SUCCESS,
            1 => ReasonCode::GRANTED_QOS_1,
            _ => ReasonCode::GRANTED_QOS_2,
        }
    }

    fn send_retained(
        &mut self,
        key: Key,
        filter: &TopicFilter,
        options: SubscribeOptions,
        id: Option<SubscriptionId>,
        now: Instant,
    ) {
        let Some(Subscriber::Session(session)) = self.subscribers.get_mut(key) else { return };
        let acl = self.acl.as_ref();
        self.retained.each_match(filter, now, |routed| {
            let topic = routed.message.topic();
            if acl.is_some_and(|acl| !acl.may_receive(session.client(), topic)) {
                return;
            }
            let queued = Queued {
                routed: routed.clone(),
                qos: routed.message.published_qos().min(options.qos),
                retain: true,
                subscription_ids: id.into_iter().collect(),
                group: None,
            };
            session.outgoing.push(queued, &self.limits, &mut self.stats);
        });
    }

    pub(super) fn unsubscribe(&mut self, key: Key, unsubscribe: Unsubscribe) {
        let mut codes = Vec::new();
        for filter in &unsubscribe.filters {
            let Some(session) = self.session(key) else { return };
            let existed = session.subscriptions.remove(filter);
            self.forget_subscription(filter, key);
            codes.push(match existed {
                true => ReasonCode::SUCCESS,
                false => ReasonCode::NO_SUBSCRIPTION_EXISTED,
            });
        }
        let (id, properties) = (unsubscribe.id, Properties::new());
        self.answer(key, Packet::UnsubAck(SubAck { id, codes, properties }));
    }

    /// Lets no more messages of a filter reach a subscriber.
    pub(super) fn forget_subscription(&mut self, filter: &TopicFilter, subscriber: Key) {
        if filter.is_shared() {
            self.leave_share(filter, subscriber);
        } else {
            self.router.remove(filter, |found| found.subscriber == subscriber);
        }
    }

    /// Queues the answer to the packet that is being handled.
    fn answer(&mut self, key: Key, packet: Packet) {
        if let Some(link) = self.session(key).and_then(|session| session.link.as_mut()) {
            link.control.push_back(packet);
        }
    }
}
