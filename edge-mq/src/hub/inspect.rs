//! What the application sees of clients, and how it sends one away.

use std::time::{Duration, Instant};

use super::{Effects, Hub, Peer, Subscriber};
use crate::TopicFilter;
use crate::events::Caller;
use crate::message::{Message, Routed};
use crate::packet::{QoS, ReasonCode, Text, Version};
use crate::session::Session;
use crate::sys::Sys;

/// A client that has a session, connected or not.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientInfo {
    /// The client identifier.
    pub client_id: Text,
    /// The user name, if it has one.
    pub user: Option<Text>,
    /// What is so while it is connected.
    pub connection: Option<ConnectionInfo>,
    /// How long its session outlives its connection.
    pub session_expiry: Duration,
    /// Its subscriptions, each with the QoS that was granted.
    pub subscriptions: Vec<(TopicFilter, QoS)>,
    /// Messages for it in memory that it has not got, or not acknowledged.
    pub queued_messages: usize,
    /// Messages for it on disk that it has not acknowledged.
    pub stored_messages: u64,
    /// Messages that came from it since the broker started.
    pub received: u64,
    /// Messages that were sent to it since the broker started.
    pub sent: u64,
}

/// A connection of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// The version that it speaks.
    pub version: Version,
    /// How long it may be silent, half of that again as grace; `None` for ever.
    pub keep_alive: Option<Duration>,
    /// How long it has been silent.
    pub silent: Duration,
    /// How long it has been there.
    pub connected: Duration,
}

impl Hub {
    /// All clients, in the order of their identifiers.
    pub(crate) fn clients(&self, now: Instant) -> Vec<ClientInfo> {
        let mut clients: Vec<_> = self
            .subscribers
            .values()
            .filter_map(|subscriber| {
                let Subscriber::Session(session) = subscriber else { return None };
                Some(self.info(session, now))
            })
            .collect();
        clients.sort_by(|one, other| one.client_id.cmp(&other.client_id));
        clients
    }

    pub(crate) fn client(&self, client_id: &str, now: Instant) -> Option<ClientInfo> {
        let key = self.clients.get(client_id)?;
        match self.subscribers.get(*key)? {
            Subscriber::Session(session) => Some(self.info(session, now)),
            Subscriber::Tap(_) | Subscriber::Counter(_) | Subscriber::Recorder(_) => None,
        }
    }

    /// Whom the log names as long as the client has this session.
    pub(crate) fn caller(&mut self, peer: Peer) -> Option<Caller> {
        let session = self.session(peer.session)?;
        let (client_id, username) = (session.client_id.clone(), session.user.name().cloned());
        Some(Caller { client_id, username, address: None })
    }

    fn info(&self, session: &Session, now: Instant) -> ClientInfo {
        let connection = session.link.as_ref().map(|link| ConnectionInfo {
            version: link.version,
            keep_alive: link.keep_alive(),
            silent: now.saturating_duration_since(link.last_heard()),
            connected: now.saturating_duration_since(link.since()),
        });
        let granted = session.subscriptions.iter().map(|(filter, qos)| (filter.clone(), *qos));
        ClientInfo {
            client_id: session.client_id.clone(),
            user: session.user.name().cloned(),
            connection,
            session_expiry: session.expiry,
            subscriptions: granted.collect(),
            queued_messages: session.outgoing.len(),
            stored_messages: session.outgoing.kept().map_or(0, |kept| kept.waiting()),
            received: session.received_messages,
            sent: session.outgoing.sent_messages(),
        }
    }

    /// From here on the broker says something of itself this often.
    pub(crate) fn set_sys(&mut self, interval: Duration, now: Instant) {
        self.sys = Some(Sys::new(interval, now));
    }

    /// Says what is new about the broker. It is retained, but in memory only.
    pub(super) fn tell_sys(&mut self, now: Instant, fx: &mut Effects) {
        if !self.sys.as_ref().is_some_and(|sys| sys.is_due(now)) {
            return;
        }
        let stats = self.stats();
        let Some(sys) = &mut self.sys else { return };
        for (topic, value) in sys.tell(&stats, now) {
            let topic = format!("$SYS/broker/{topic}").parse().expect("names of ours are topics");
            let routed = Routed::new(Message::new(topic, value).retain(true), now);
            let mut matches = Vec::new();
            self.find(&routed.message, None, &mut matches);
            // It comes again soon, if there is no room.
            drop(self.retained.store(&routed, now));
            self.route(routed, None, &mut matches, fx);
        }
    }

    /// Ends the connection of a client, and its session with it if that is wanted. Returns whether
    /// there was what was to end.
    pub(crate) fn send_away(
        &mut self,
        client_id: &str,
        reason: ReasonCode,
        with_session: bool,
        now: Instant,
        fx: &mut Effects,
    ) -> bool {
        let Some(&key) = self.clients.get(client_id) else { return false };
        let Some(session) = self.session(key) else { return false };
        if with_session {
            session.expiry = Duration::ZERO;
        }
        match &mut session.link {
            Some(link) => {
                let peer = Peer { session: key, link: link.id };
                self.dismiss_one(peer, reason, fx);
                true
            }
            None if with_session => {
                self.end(key, now, fx);
                true
            }
            None => false,
        }
    }
}
