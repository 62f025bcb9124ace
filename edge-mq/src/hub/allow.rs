//! What access control says of clients, and what becomes of them when it changes.

use std::sync::Arc;

use super::{Effects, Hub, Peer, Subscriber};
use crate::access::{Acl, GuardId, User};
use crate::arena::{Arena, Key};
use crate::delayed;
use crate::packet::{Packet, ReasonCode};
use crate::store::Write;
use crate::{TopicFilter, TopicName};

impl Hub {
    pub(super) fn may_publish(&self, key: Key, topic: &TopicName) -> bool {
        if topic.is_reserved()
            && (topic.as_str().starts_with("$SYS/") || delayed::is_for_later(topic))
        {
            // The broker alone speaks for itself (section 4.7.2). Later is what a client says, no hook.
            return false;
        }
        let (Some(acl), Some(Subscriber::Session(session))) =
            (&self.acl, self.subscribers.get(key))
        else {
            return true;
        };
        acl.may_publish(session.client(), topic)
    }

    /// Whether a session may have this subscription.
    pub(super) fn may_subscribe(&self, key: Key, filter: &TopicFilter) -> bool {
        let (Some(acl), Some(Subscriber::Session(session))) =
            (&self.acl, self.subscribers.get(key))
        else {
            return true;
        };
        let share = filter.share();
        acl.may_subscribe(session.client(), share.filter().unwrap_or(filter))
    }

    /// From here on this one decides. Subscriptions that it does not allow end; everybody stays
    /// connected.
    pub(crate) fn set_acl(&mut self, acl: Option<Arc<dyn Acl>>, fx: &mut Effects) {
        self.acl = acl;
        for key in self.subscribers.keys() {
            let Some(session) = self.session(key) else { continue };
            let mut filters: Vec<TopicFilter> = session.subscriptions.keys().cloned().collect();
            let number = session.number.filter(|_| session.is_kept());
            filters.retain(|filter| !self.may_subscribe(key, filter));
            let mut writes = Vec::new();
            for filter in filters {
                if let Some(session) = self.session(key) {
                    session.subscriptions.remove(&filter);
                }
                self.forget_subscription(&filter, key);
                writes.extend(number.map(|number| Write::Unsubscribe(number, filter)));
            }
            self.note_lazily(writes, fx);
        }
    }

    /// A client goes through an authentication again, and its user is known at the end of it: the
    /// one who it was, perhaps in other groups. What waits in a session is for its user alone.
    pub(crate) fn reauthenticate(
        &mut self,
        peer: Peer,
        packet: Packet,
        user: Option<User>,
    ) -> Result<(), ReasonCode> {
        let Some(session) = self.session(peer.session) else { return Ok(()) };
        if user.as_ref().is_some_and(|user| user.name() != session.user.name()) {
            return Err(ReasonCode::NOT_AUTHORIZED);
        }
        let Some(link) = session.link_mut(peer.link) else { return Ok(()) };
        link.answer(packet);
        session.user = user.unwrap_or_else(|| session.user.clone());
        Ok(())
    }

    /// Ends the connections of those who came in past this guard and may not stay.
    pub(crate) fn dismiss(
        &mut self,
        guard: GuardId,
        may_stay: impl Fn(&User) -> bool,
        fx: &mut Effects,
    ) {
        for subscriber in self.subscribers.values_mut() {
            let Subscriber::Session(session) = subscriber else { continue };
            if let Some(link) = session.link.as_mut().filter(|link| link.guard == guard)
                && !may_stay(&session.user)
            {
                link.end = Some(ReasonCode::NOT_AUTHORIZED);
                fx.wakes.push(link.call());
            }
        }
    }
}

/// Whether a subscriber gets a message of this topic.
pub(super) fn may_receive(
    acl: Option<&Arc<dyn Acl>>,
    subscribers: &Arena<Subscriber>,
    key: Key,
    topic: &TopicName,
) -> bool {
    match (acl, subscribers.get(key)) {
        (Some(acl), Some(Subscriber::Session(session))) => acl.may_receive(session.client(), topic),
        // The application itself.
        _ => true,
    }
}
