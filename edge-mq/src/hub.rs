//! Where sessions and router meet: everything the broker knows and decides.
//!
//! A hub is one plain struct behind one lock. Its callers, the shells in `net`, `local` and
//! `broker`, bring packets and the time, and carry out the [`Effects`] after they have given the
//! lock back. All packets of one read are handled under one lock acquisition.

mod allow;
mod connect;
mod route;
mod share;
mod subscribe;
mod tap;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use route::Match;
use share::Group;
pub(crate) use subscribe::Subscription;
pub(crate) use tap::{Tap, TapRefused};

use crate::access::Acl;
use crate::arena::{Arena, Key};
use crate::limits::Limits;
use crate::message::Message;
use crate::packet::{Packet, ReasonCode, Text};
use crate::retain::Retained;
use crate::router::FilterTree;
use crate::session::{Closing, LinkId, Outbound, Receipt, Session, Step};
use crate::stats::Stats;

/// Names a Log that journal rules write to; the journal gives it out.
pub(crate) type LogSlot = u32;

/// All sessions, subscriptions, retained messages and journal rules.
#[derive(Debug)]
pub(crate) struct Hub {
    limits: Limits,
    /// Without one, everybody may do everything.
    acl: Option<Arc<dyn Acl>>,
    subscribers: Arena<Subscriber>,
    clients: HashMap<Text, Key>,
    router: FilterTree<Subscription>,
    /// Under the filters that they share.
    shares: FilterTree<Group>,
    rules: FilterTree<LogSlot>,
    retained: Retained,
    /// When sessions without a connection have something due: a will, or their end.
    deadlines: BTreeSet<(Instant, Key)>,
    /// Used again for each message.
    matches: Vec<Match>,
    stats: Stats,
    next_link: u64,
    closed: bool,
}

/// Who gets messages.
#[derive(Debug)]
enum Subscriber {
    Session(Box<Session>),
    Tap(Tap),
}

/// What the caller does once it has given the lock back.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// Connections and in-process readers that have something to do.
    pub(crate) wakes: Vec<Waker>,
    /// Messages to be committed; then they go to [`Hub::committed`].
    pub(crate) journal: Vec<Journaled>,
    /// Whether some reader's queue fills: give the readers a turn before you bring more.
    pub(crate) congested: bool,
}

/// A message that a journal rule matches, on its way to the disk and back.
#[derive(Debug)]
pub(crate) struct Journaled {
    pub(crate) logs: Vec<LogSlot>,
    pub(crate) message: Message,
    /// `None` for a message of the application itself.
    #[cfg_attr(not(feature = "db"), allow(dead_code, reason = "only a journal reads it"))]
    pub(crate) client: Option<Text>,
    pub(super) publisher: Option<Key>,
    receipt: Option<Receipt>,
}

/// Who a connection is to the hub.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) session: Key,
    pub(crate) link: LinkId,
}

/// The answer to whoever is not, or no longer, the connection of its session.
const LOST: Closing = Closing::Ended(ReasonCode::SESSION_TAKEN_OVER);

impl Hub {
    pub(crate) fn new(limits: Limits) -> Hub {
        Hub {
            acl: None,
            subscribers: Arena::new(),
            clients: HashMap::new(),
            router: FilterTree::default(),
            shares: FilterTree::default(),
            rules: FilterTree::default(),
            retained: Retained::new(limits.retained_messages, limits.retained_bytes),
            deadlines: BTreeSet::new(),
            matches: Vec::new(),
            stats: Stats::default(),
            next_link: 0,
            closed: false,
            limits,
        }
    }

    /// Handles what one read of a connection brought, in order. After an error, ask [`Hub::poll`]
    /// for what is owed up to it, then [`Hub::leave`].
    pub(crate) fn handle(
        &mut self,
        peer: Peer,
        packets: impl IntoIterator<Item = Packet>,
        now: Instant,
        fx: &mut Effects,
    ) -> Result<(), Closing> {
        let link = self.session(peer.session).and_then(|session| session.link_mut(peer.link));
        let link = link.ok_or(LOST)?;
        link.heard(now);
        // The caller polls anyway when it is through.
        link.set_awake(true);
        packets.into_iter().try_for_each(|packet| self.handle_one(peer, packet, now, fx))
    }

    fn handle_one(
        &mut self,
        peer: Peer,
        packet: Packet,
        now: Instant,
        fx: &mut Effects,
    ) -> Result<(), Closing> {
        let Some(Subscriber::Session(session)) = self.subscribers.get_mut(peer.session) else {
            return Err(LOST);
        };
        match session.handle(packet, &mut self.stats)? {
            Step::Done => {}
            Step::Publish(message, receipt) => {
                if self.may_publish(peer.session, message.topic()) {
                    self.publish(message, Some(peer.session), receipt, now, fx);
                } else {
                    self.stats.denied += 1;
                    self.settle(Some(peer.session), receipt, ReasonCode::NOT_AUTHORIZED, fx);
                }
            }
            Step::Subscribe(subscribe) => self.subscribe(peer.session, subscribe, now),
            Step::Unsubscribe(unsubscribe) => self.unsubscribe(peer.session, unsubscribe),
        }
        Ok(())
    }

    /// Gives out what may be sent to a connection now, until about `budget` bytes. Returns
    /// whether there is more.
    pub(crate) fn poll(
        &mut self,
        peer: Peer,
        now: Instant,
        budget: usize,
        out: &mut Vec<Outbound>,
    ) -> Result<bool, Closing> {
        let end = self.ended(peer);
        let Some(Subscriber::Session(session)) = self.subscribers.get_mut(peer.session) else {
            return Err(LOST);
        };
        session.link_mut(peer.link).ok_or(LOST)?.set_awake(false);
        let more = session.poll(now, budget, out, &mut self.stats);
        end.map(|()| more)
    }

    /// An error if the broker wants the connection to end.
    pub(crate) fn ended(&mut self, peer: Peer) -> Result<(), Closing> {
        let closed = self.closed.then_some(ReasonCode::SERVER_SHUTTING_DOWN);
        let link = self.session(peer.session).and_then(|session| session.link_mut(peer.link));
        let end = link.ok_or(LOST)?.end.or(closed);
        end.map_or(Ok(()), |reason| Err(Closing::Ended(reason)))
    }

    /// When the connection is to ask again; an error if its client has been silent too long.
    pub(crate) fn keep_alive(
        &mut self,
        peer: Peer,
        now: Instant,
    ) -> Result<Option<Instant>, Closing> {
        let link = self.session(peer.session).and_then(|session| session.link_mut(peer.link));
        match link.ok_or(LOST)?.deadline() {
            Some(deadline) if deadline <= now => {
                self.stats.keep_alive_timeouts += 1;
                Err(Closing::Ended(ReasonCode::KEEP_ALIVE_TIMEOUT))
            }
            deadline => Ok(deadline),
        }
    }

    /// Counts what no session can count.
    pub(crate) fn stats_mut(&mut self) -> &mut Stats {
        &mut self.stats
    }

    pub(crate) fn stats(&self) -> Stats {
        let (mut connections, mut sessions, mut subscriptions) = (0, 0, 0);
        for subscriber in self.subscribers.values() {
            match subscriber {
                Subscriber::Session(session) => {
                    sessions += 1;
                    connections += usize::from(session.link.is_some());
                    subscriptions += session.subscriptions.len();
                }
                Subscriber::Tap(_) => subscriptions += 1,
            }
        }
        let retained = self.retained.len();
        Stats { connections, sessions, subscriptions, retained, ..self.stats }
    }

    /// Messages that wait for clients, in queues or unacknowledged.
    pub(crate) fn undelivered(&self) -> usize {
        let sessions = self.subscribers.values().map(|subscriber| match subscriber {
            Subscriber::Session(session) => session.outgoing.len(),
            Subscriber::Tap(_) => 0,
        });
        sessions.sum()
    }

    /// The broker stops: nobody connects any more, and who is connected is sent away.
    pub(crate) fn close(&mut self, fx: &mut Effects) {
        self.closed = true;
        for subscriber in self.subscribers.values_mut() {
            fx.wakes.extend(match subscriber {
                Subscriber::Session(session) => session.link.as_mut().map(|link| link.call()),
                Subscriber::Tap(tap) => tap.wake(),
            });
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    fn session(&mut self, key: Key) -> Option<&mut Session> {
        match self.subscribers.get_mut(key)? {
            Subscriber::Session(session) => Some(session),
            Subscriber::Tap(_) => None,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
