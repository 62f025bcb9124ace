//! What the application's hooks make of clients' packets.

use std::sync::Arc;
use std::time::Instant;

use super::route::From;
use super::{Effects, Hub, Peer, Subscriber};
use crate::TopicFilter;
use crate::access::Client;
use crate::arena::Key;
use crate::delayed;
use crate::hooks::Hooks;
use crate::message::Message;
use crate::packet::{ReasonCode, RetainHandling, SubscribeOptions};
use crate::session::Receipt;
use crate::store::{StoredSubscription, Write};

impl Hub {
    /// From here on these are called.
    pub(crate) fn set_hooks(&mut self, hooks: Option<Arc<dyn Hooks>>) {
        self.hooks = hooks;
    }

    /// Who is to be called, and about whom, if there is somebody.
    fn hooked(&self, key: Key) -> Option<(&dyn Hooks, Client<'_>)> {
        match (self.hooks.as_deref()?, self.subscribers.get(key)?) {
            (hooks, Subscriber::Session(session)) => Some((hooks, session.client())),
            _ => None,
        }
    }

    /// Takes in a message of a client, if nobody objects.
    pub(super) fn take_in(
        &mut self,
        peer: Peer,
        message: Message,
        receipt: Option<Receipt>,
        now: Instant,
        fx: &mut Effects,
    ) {
        if delayed::is_for_later(message.topic()) {
            // If it is refused, its client is told.
            self.publish_later(message, From::Client(peer), receipt, now, fx).ok();
            return;
        }
        match self.screen(peer.session, message) {
            Ok(Some(message)) => self.publish(message, From::Client(peer), receipt, now, fx),
            Ok(None) => self.settle(Some(peer.session), receipt, ReasonCode::SUCCESS, fx),
            Err(code) => self.settle(Some(peer.session), receipt, code, fx),
        }
    }

    /// What becomes of a message of a client: it goes on, it goes nowhere, or it is refused.
    pub(super) fn screen(
        &mut self,
        key: Key,
        message: Message,
    ) -> Result<Option<Message>, ReasonCode> {
        let screened = match self.hooked(key) {
            Some((hooks, client)) => hooks.publish(client, message),
            None => Ok(Some(message)),
        };
        let Some(message) = screened.inspect_err(|_| self.stats.denied += 1)? else {
            self.stats.withheld += 1;
            return Ok(None);
        };
        if !self.limits.allow_topic(message.topic().as_str()) {
            self.stats.refused_topics += 1;
            return Err(ReasonCode::TOPIC_NAME_INVALID);
        }
        if !self.may_publish(key, message.topic()) {
            self.stats.denied += 1;
            return Err(ReasonCode::NOT_AUTHORIZED);
        }
        Ok(Some(message))
    }

    /// The filter that a client gets for the one that it asks for.
    pub(super) fn hooked_filter(
        &self,
        key: Key,
        filter: &TopicFilter,
    ) -> Result<TopicFilter, ReasonCode> {
        match self.hooked(key) {
            Some((hooks, client)) => hooks.subscribe(client, filter.clone()),
            None => Ok(filter.clone()),
        }
    }

    /// A client is connected: subscribes it to what it does not have to ask for.
    pub(super) fn welcome(
        &mut self,
        key: Key,
        now: Instant,
        writes: &mut Vec<Write>,
        fx: &mut Effects,
    ) {
        let Some((hooks, client)) = self.hooked(key) else { return };
        for (filter, qos) in hooks.connected(client) {
            let retain_handling = RetainHandling::SendIfNew;
            let options = SubscribeOptions { qos, retain_handling, ..SubscribeOptions::default() };
            let wanted = StoredSubscription { filter, options, id: None };
            // Whether it may is counted; there is nobody to be told.
            self.subscribe_one(key, &wanted, now, writes, fx);
        }
    }

    pub(super) fn see_off(&self, key: Key) {
        if let Some((hooks, client)) = self.hooked(key) {
            hooks.disconnected(client);
        }
    }
}
