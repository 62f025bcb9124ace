//! Where sessions and router meet: everything the broker knows and decides.
//!
//! A hub is one plain struct behind one lock. Its callers, the shells in `net`, `local` and
//! `broker`, bring packets and the time, and carry out the [`Effects`] after they have given the
//! lock back. All packets of one read are handled under one lock acquisition.

mod allow;
mod commit;
mod connect;
mod count;
mod delay;
mod estate;
mod hook;
mod inspect;
mod leave_out;
mod record;
mod route;
mod share;
mod subscribe;
mod tap;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

#[cfg(any(feature = "db", test))]
pub(crate) use commit::Urgency;
pub(crate) use commit::{Deed, Reply};
use commit::{Pending, Then};
pub(crate) use connect::{Accepted, Entrance};
use count::Counter;
use estate::Estates;
use foldhash::HashMap;
pub use inspect::{ClientInfo, ConnectionInfo};
use leave_out::LeftOut;
use record::Recorder;
#[cfg(feature = "db")]
pub(crate) use record::Take;
use route::Match;
use share::Group;
pub(crate) use subscribe::Subscription;
pub(crate) use tap::{Tap, TapRefused};

use crate::access::Acl;
use crate::arena::{Arena, Key};
use crate::delayed::Delays;
use crate::hooks::Hooks;
use crate::limits::Limits;
use crate::packet::{Packet, ReasonCode, Text};
use crate::retain::Retained;
use crate::router::FilterTree;
use crate::session::{Closing, Link, LinkId, Outbound, Session, Step};
use crate::stats::Stats;
use crate::store::{LogSlot, Page, PageRequest, Refused, Write};
use crate::sys::Sys;

/// All sessions, subscriptions, retained messages and journal rules.
#[derive(Debug)]
pub(crate) struct Hub {
    limits: Limits,
    /// Without one, everybody may do everything.
    acl: Option<Arc<dyn Acl>>,
    hooks: Option<Arc<dyn Hooks>>,
    subscribers: Arena<Subscriber>,
    clients: HashMap<Text, Key>,
    router: FilterTree<Subscription>,
    /// Under the filters that they share.
    shares: FilterTree<Group>,
    rules: FilterTree<LogSlot>,
    estates: Estates,
    left_out: LeftOut,
    retained: Retained,
    delays: Delays,
    /// What waits for its commit.
    pending: Pending,
    /// Whether sessions and retained messages are stored.
    is_kept: bool,
    next_session: u64,
    /// Sessions of whose clients the store does not know how far they have come.
    untold: BTreeSet<Key>,
    /// Bytes in all queues on disk at the last tick, and of what came since.
    stored_bytes: u64,
    /// When sessions without a connection have something due: a will, or their end.
    deadlines: BTreeSet<(Instant, Key)>,
    /// Used again for each message.
    matches: Vec<Match>,
    stats: Stats,
    next_link: u64,
    closed: bool,
    /// What the broker says of itself; `None` if it says nothing.
    sys: Option<Sys>,
}

/// Who gets messages.
#[derive(Debug)]
enum Subscriber {
    Session(Box<Session>),
    Tap(Box<Tap>),
    Counter(Box<Counter>),
    Recorder(Box<Recorder>),
}

/// What the caller does once it has given the lock back.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// Connections and in-process readers that have something to do.
    pub(crate) wakes: Vec<Waker>,
    /// Whether something waits to be committed: [`Hub::take_group`], then [`Hub::committed`].
    pub(crate) commit: bool,
    /// What the caller commits itself, and brings to [`Hub::end_lone`].
    pub(crate) lone: Vec<Deed>,
    /// What the application waits for, and how it came out.
    pub(crate) replies: Vec<(Reply, Result<(), Refused>)>,
    /// Whether some reader's queue fills.
    pub(crate) congested: bool,
}

/// Who a connection is to the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Peer {
    pub(crate) session: Key,
    pub(crate) link: LinkId,
}

/// How it stands with a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Polled {
    /// Whether more is to be sent than the budget allowed.
    pub(crate) more: bool,
    /// Whether it may be read from; it is woken when it may again.
    pub(crate) may_read: bool,
    /// What is to be read from disk for it; then it goes to [`Hub::load`].
    pub(crate) read: Option<PageRequest>,
}

/// So much that was acknowledged is told to the store at once, the rest within a second: until then,
/// a power cut has it sent again. More often would cost more than it saves on disk.
const TELL_BYTES: u64 = 64 * 1024;

/// The answer to whoever is not, or no longer, the connection of its session.
const LOST: Closing = Closing::Ended(ReasonCode::SESSION_TAKEN_OVER);

impl Hub {
    pub(crate) fn new(limits: Limits) -> Hub {
        Hub {
            acl: None,
            hooks: None,
            subscribers: Arena::new(),
            clients: HashMap::default(),
            router: FilterTree::default(),
            shares: FilterTree::default(),
            rules: FilterTree::default(),
            estates: Estates::default(),
            left_out: LeftOut::default(),
            retained: Retained::new(limits.retained_messages, limits.retained_bytes),
            delays: Delays::new(limits.delayed_messages, limits.delayed_bytes),
            pending: Pending::default(),
            is_kept: false,
            next_session: 0,
            untold: BTreeSet::new(),
            stored_bytes: 0,
            deadlines: BTreeSet::new(),
            matches: Vec::new(),
            stats: Stats::default(),
            next_link: 0,
            closed: false,
            sys: None,
            limits,
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
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
        let link = self.link(peer).ok_or(LOST)?;
        link.heard(now);
        // The caller polls anyway when it is through.
        link.set_awake(true);
        let mut packets = packets.into_iter();
        let handled = packets.try_for_each(|packet| self.handle_one(peer, packet, now, fx));
        self.tell(peer, fx);
        handled
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
                let (limits, bytes) = (&self.limits, message.payload().len());
                if !session.is_within_rates(bytes, limits, now) {
                    self.stats.rate_exceeded += 1;
                    return Err(Closing::Ended(ReasonCode::MESSAGE_RATE_TOO_HIGH));
                }
                self.take_in(peer, message, receipt, now, fx);
            }
            Step::Subscribe(subscribe) => self.subscribe(peer, subscribe, now, fx),
            Step::Unsubscribe(unsubscribe) => self.unsubscribe(peer, unsubscribe, fx),
        }
        Ok(())
    }

    /// Gives out what may be sent to a connection now, until about `budget` bytes.
    pub(crate) fn poll(
        &mut self,
        peer: Peer,
        now: Instant,
        budget: usize,
        out: &mut Vec<Outbound>,
    ) -> Result<Polled, Closing> {
        let end = self.ended(peer);
        let Some(Subscriber::Session(session)) = self.subscribers.get_mut(peer.session) else {
            return Err(LOST);
        };
        session.link_mut(peer.link).ok_or(LOST)?.set_awake(false);
        let more = session.poll(now, budget, out, &mut self.stats);
        let mut read = None;
        // One thing at a time.
        if !self.estates.is_read_by(peer) {
            read = session.outgoing.request(&self.limits, &self.stats);
        }
        if session.outgoing.kept().is_some_and(|kept| kept.is_untold()) {
            self.untold.insert(peer.session);
        }
        let may_read = self.may_read(peer);
        let read = read.or_else(|| self.read_estate(peer));
        end.map(|()| Polled { more, may_read, read })
    }

    /// Takes in what was read from disk for a connection.
    pub(crate) fn load(&mut self, peer: Peer, page: Page, now: Instant, fx: &mut Effects) {
        if let Some(Subscriber::Session(session)) = self.subscribers.get_mut(peer.session)
            && session.link_mut(peer.link).is_some()
        {
            match session.number == Some(page.session) {
                true => session.outgoing.load(page, &mut self.stats),
                false => self.divide(peer, page, now, fx),
            }
        }
    }

    /// Has the store know what it has to know before we say more, or of so much that it can let go
    /// of.
    fn tell(&mut self, peer: Peer, fx: &mut Effects) {
        let owner = peer.session;
        let Some(session) = self.session(owner) else { return };
        let (Some(number), Some(kept)) = (session.number, session.outgoing.kept()) else { return };
        let (is_untold, bytes) = (kept.is_untold(), kept.untold_bytes());
        if let Some(promised) = session.take_promised() {
            let progress = (!promised.release.is_empty()).then(|| session.outgoing.tell());
            let progress = progress.flatten().map(|progress| Write::Progress { owner, progress });
            let completed = promised.complete.iter().map(|id| Write::Released(number, *id));
            let writes = progress.into_iter().chain(completed).collect();
            self.note(Deed::new(writes, Then::Keep(promised), peer), fx);
        } else if bytes > TELL_BYTES {
            let progress = session.outgoing.tell();
            let write = progress.map(|progress| Write::Progress { owner, progress });
            self.note_lazily(write.into_iter().collect(), fx);
        } else if is_untold {
            self.untold.insert(peer.session);
        }
    }

    /// Has the store know how far clients have come.
    fn tell_all(&mut self, fx: &mut Effects) {
        let mut writes = Vec::new();
        for owner in std::mem::take(&mut self.untold) {
            let Some(session) = self.session(owner) else { continue };
            if session.outgoing.kept().is_some_and(|kept| kept.is_untold()) {
                let progress = session.outgoing.tell();
                writes.extend(progress.map(|progress| Write::Progress { owner, progress }));
            }
        }
        self.note_lazily(writes, fx);
    }

    /// An error if the broker wants the connection to end.
    pub(crate) fn ended(&mut self, peer: Peer) -> Result<(), Closing> {
        let closed = self.closed.then_some(ReasonCode::SERVER_SHUTTING_DOWN);
        let end = self.link(peer).ok_or(LOST)?.end.or(closed);
        end.map_or(Ok(()), |reason| Err(Closing::Ended(reason)))
    }

    /// When the connection is to ask again; an error if its client has been silent too long.
    pub(crate) fn keep_alive(
        &mut self,
        peer: Peer,
        now: Instant,
    ) -> Result<Option<Instant>, Closing> {
        match self.link(peer).ok_or(LOST)?.deadline() {
            Some(deadline) if deadline <= now => {
                self.stats.keep_alive_timeouts += 1;
                Err(Closing::Ended(ReasonCode::KEEP_ALIVE_TIMEOUT))
            }
            deadline => Ok(deadline),
        }
    }

    /// The Logs that messages go past.
    #[cfg(feature = "bridge")]
    pub(crate) fn left_out(&mut self) -> &mut LeftOut {
        &mut self.left_out
    }

    /// Counts what no session can count.
    pub(crate) fn stats_mut(&mut self) -> &mut Stats {
        &mut self.stats
    }

    pub(crate) fn stats(&self) -> Stats {
        let (mut connections, mut sessions, mut subscriptions) = (0, 0, 0);
        let (mut stored_messages, mut stored_bytes) = (0, 0);
        for subscriber in self.subscribers.values() {
            match subscriber {
                Subscriber::Session(session) => {
                    sessions += 1;
                    connections += usize::from(session.link.is_some());
                    subscriptions += session.subscriptions.len();
                    if let Some(kept) = session.outgoing.kept() {
                        stored_messages += kept.waiting();
                        stored_bytes += kept.waiting_bytes();
                    }
                }
                Subscriber::Tap(_) | Subscriber::Counter(_) | Subscriber::Recorder(_) => {
                    subscriptions += 1;
                }
            }
        }
        let (retained, delayed) = (self.retained.len(), self.delays.len());
        Stats {
            connections,
            sessions,
            subscriptions,
            retained,
            delayed,
            stored_messages,
            stored_bytes,
            ..self.stats
        }
    }

    /// Messages that wait for clients, in queues or unacknowledged, or to be published later, and are
    /// not on disk.
    pub(crate) fn undelivered(&self) -> usize {
        let sessions = self.subscribers.values().map(|subscriber| match subscriber {
            Subscriber::Session(session) if !session.is_kept() => session.outgoing.len(),
            _ => 0,
        });
        let delayed = if self.is_kept { 0 } else { self.delays.len() };
        sessions.sum::<usize>() + delayed
    }

    /// The broker stops: nobody connects any more, and who is connected is sent away.
    pub(crate) fn close(&mut self, fx: &mut Effects) {
        self.closed = true;
        for subscriber in self.subscribers.values_mut() {
            fx.wakes.extend(match subscriber {
                Subscriber::Session(session) => session.link.as_mut().map(|link| link.call()),
                Subscriber::Tap(tap) => tap.wake(),
                Subscriber::Counter(_) | Subscriber::Recorder(_) => None,
            });
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// A connection, while its session has it.
    fn link(&mut self, peer: Peer) -> Option<&mut Link> {
        self.session(peer.session)?.link_mut(peer.link)
    }

    fn session(&mut self, key: Key) -> Option<&mut Session> {
        match self.subscribers.get_mut(key)? {
            Subscriber::Session(session) => Some(session),
            Subscriber::Tap(_) | Subscriber::Counter(_) | Subscriber::Recorder(_) => None,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
