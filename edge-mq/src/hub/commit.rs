//! What has to be on disk before it takes effect: noted in the order in which it came, committed in
//! groups, and done once the commit has ended.
//!
//! There is one such order for the whole broker. So the disk, the queues of sessions and the retained
//! messages agree on what came first, whoever sent it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::estate::Division;
use super::route::Match;
use super::{Effects, Hub, Peer, Subscriber};
use crate::TopicFilter;
use crate::arena::Key;
use crate::limits::WhenDiskFull;
use crate::message::Routed;
use crate::packet::{ConnAck, Packet, Properties, QoS, ReasonCode, SubAck};
use crate::session::{Admission, Promised, Receipt};
use crate::store::{Refused, Write};

/// Something that is to be stored, and what follows from it.
#[derive(Debug)]
pub(crate) struct Deed {
    pub(crate) writes: Vec<Write>,
    pub(crate) urgency: Urgency,
    then: Then,
    /// The connection that brought it.
    origin: Option<Peer>,
    /// About what it writes.
    bytes: usize,
}

/// How soon something has to be on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// Before anybody is told.
    Now,
    /// Before its publisher is told, unless the operator chose a time by which: a message that is
    /// not QoS 2, whose loss is all that its loss does.
    Acknowledged,
    /// Nobody waits for it: it may be lost when the power fails a moment later.
    Lazy,
}

/// What is done once it is stored.
#[derive(Debug)]
pub(super) enum Then {
    Nothing,
    Route(Delivery),
    /// The connection gets its CONNACK, and all that waits behind it.
    Accept,
    /// SUBACK or UNSUBACK. If it was not stored, these subscriptions are taken back.
    Answer(Box<Packet>, Vec<TopicFilter>),
    Keep(Promised),
    Divide(Box<Division>),
}

/// A message for those who wanted it when it came, and have no queue on disk.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) routed: Arc<Routed>,
    pub(super) matches: Vec<Match>,
    pub(super) publisher: Option<Key>,
    pub(super) receipt: Option<Receipt>,
    pub(super) reply: Option<Reply>,
}

/// Tells the application how it came out.
pub(crate) struct Reply(pub(crate) Box<dyn FnOnce(Result<(), Refused>) + Send>);

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply")
    }
}

/// Deeds that wait for their commit.
#[derive(Debug, Default)]
pub(super) struct Pending {
    deeds: Vec<Deed>,
    /// Those, and those whose commit is under way.
    count: usize,
    bytes: usize,
    /// Connections that are not read from until there is less of it.
    held_back: BTreeSet<Peer>,
    /// How many commits came one by one.
    lone: u8,
    /// Whether the connection commits that brought what is committed.
    is_led: bool,
}

/// After so many commits that came one by one, the next is made by the thread that brings it.
const LONE: u8 = 4;

impl Deed {
    /// Something for whose end the connection that brought it waits.
    pub(super) fn new(writes: Vec<Write>, then: Then, origin: Peer) -> Deed {
        let bytes = writes.len() * size_of::<Write>();
        Deed { writes, urgency: Urgency::Now, then, origin: Some(origin), bytes }
    }

    /// A part of a queue that is divided.
    pub(super) fn division(writes: Vec<Write>, division: Division) -> Deed {
        let bytes = division.bytes + writes.len() * size_of::<Write>();
        let then = Then::Divide(Box::new(division));
        // Whoever gets something of it may have had it when the power fails.
        Deed { writes, urgency: Urgency::Now, then, origin: None, bytes }
    }

    /// Something that nobody waits for.
    pub(crate) fn lazy(writes: Vec<Write>) -> Deed {
        let bytes = writes.len() * size_of::<Write>();
        Deed { writes, urgency: Urgency::Lazy, then: Then::Nothing, origin: None, bytes }
    }

    /// A message: routed and acknowledged once it is stored.
    pub(super) fn message(writes: Vec<Write>, delivery: Delivery, origin: Option<Peer>) -> Deed {
        // Each queue gets a copy of its own on disk.
        let copy_bytes = delivery.routed.message.cost_bytes() + size_of::<Write>();
        let bytes = copy_bytes * writes.len();
        let is_awaited = delivery.receipt.is_some() || delivery.reply.is_some();
        let is_due = || writes.iter().any(|write| matches!(write, Write::EndDelay(_)));
        let urgency = match delivery.routed.message.published_qos() {
            // What was received and what released has to be known, or later messages are lost, too;
            // and that it was published, or it is a second time.
            QoS::ExactlyOnce if is_awaited || is_due() => Urgency::Now,
            _ if !is_awaited => Urgency::Lazy,
            _ => Urgency::Acknowledged,
        };
        Deed { writes, urgency, then: Then::Route(delivery), origin, bytes }
    }

    /// The message that is to be stored, if it is one.
    #[cfg(test)]
    pub(crate) fn stored(&self) -> Option<&crate::Message> {
        let is_delay = self.writes.iter().any(|write| matches!(write, Write::Delay(_)));
        match &self.then {
            Then::Route(delivery) if !is_delay => Some(&delivery.routed.message),
            _ => None,
        }
    }
}

impl Pending {
    /// Notes whether this group, and what came meanwhile, is the work of one.
    fn measure(&mut self, group: &[Deed]) {
        let is_waited_for = |deed: &&Deed| deed.urgency != Urgency::Lazy;
        let of_group = group.iter().filter(is_waited_for).count();
        let is_lone = of_group <= 1 && !self.deeds.iter().any(|deed| is_waited_for(&deed));
        self.lone = if is_lone { LONE.min(self.lone + 1) } else { 0 };
    }

    fn add(&mut self, deed: Deed) {
        self.count += 1;
        self.bytes += deed.bytes;
        self.deeds.push(deed);
    }

    /// What comes first, up to about so many bytes.
    fn take(&mut self, most_bytes: usize) -> Vec<Deed> {
        let mut bytes = 0;
        let mut fits = |deed: &Deed| {
            bytes += deed.bytes;
            bytes <= most_bytes
        };
        // One that is too large alone goes all the same: whether it fits is for the store to say.
        let count = self.deeds.iter().take_while(|deed| fits(deed)).count().max(1);
        match count >= self.deeds.len() {
            true => std::mem::take(&mut self.deeds),
            false => self.deeds.drain(..count).collect(),
        }
    }
}

impl Hub {
    /// Notes what is to be committed.
    pub(super) fn note(&mut self, deed: Deed, fx: &mut Effects) {
        if let Some(link) = deed.origin.and_then(|peer| self.link(peer)) {
            link.uncommitted += 1;
        }
        self.pending.add(deed);
        fx.commit = true;
    }

    /// Notes what nobody waits for, if there is something.
    pub(super) fn note_lazily(&mut self, writes: Vec<Write>, fx: &mut Effects) {
        if !writes.is_empty() {
            self.note(Deed::lazy(writes), fx);
        }
    }

    /// Has what was noted last on disk as soon as may be, though nobody waits for it.
    pub(super) fn hurry(&mut self, fx: &mut Effects) {
        let (writes, urgency, then) = (Vec::new(), Urgency::Now, Then::Nothing);
        self.note(Deed { writes, urgency, then, origin: None, bytes: 0 }, fx);
    }

    /// Takes what is to be committed next, up to about so many bytes; nothing while somebody else
    /// commits. It comes back through [`Hub::committed`], and no other group is committed meanwhile.
    pub(crate) fn take_group(&mut self, most_bytes: usize) -> Vec<Deed> {
        match self.pending.is_led {
            true => Vec::new(),
            false => self.pending.take(most_bytes),
        }
    }

    /// Takes what this connection has brought, to commit it itself, where commits come one by one:
    /// it need not wait for another thread to wake up, nor be woken by it. It comes back through
    /// [`Hub::end_lone`].
    pub(crate) fn take_lone(&mut self, peer: Peer) -> Vec<Deed> {
        let pending = &mut self.pending;
        let mut waited_for = pending.deeds.iter().filter(|deed| deed.urgency != Urgency::Lazy);
        let is_own = waited_for.next().is_some_and(|deed| deed.origin == Some(peer));
        let is_alone = is_own && waited_for.next().is_none() && pending.lone == LONE;
        let nobody_commits = pending.count == pending.deeds.len();
        if !is_alone || !nobody_commits {
            return Vec::new();
        }
        pending.is_led = true;
        std::mem::take(&mut pending.deeds)
    }

    /// Does what follows from a commit by the connection that brought the deeds. If it was refused,
    /// the thread that commits tries again, and knows what to do about it.
    pub(crate) fn end_lone(
        &mut self,
        mut group: Vec<Deed>,
        outcome: &Result<(), Refused>,
        now: Instant,
        fx: &mut Effects,
    ) {
        self.pending.is_led = false;
        match outcome {
            Ok(()) => self.committed(group, outcome, now, fx),
            Err(_) => {
                group.append(&mut self.pending.deeds);
                self.pending.deeds = group;
            }
        }
        // What came meanwhile had the thread look in vain.
        fx.commit |= !self.pending.deeds.is_empty();
    }

    /// How much waits for its commit, or for the end of one.
    pub(crate) fn uncommitted(&self) -> usize {
        self.pending.count
    }

    /// The disk is full. Whether what waits for its commit may go on waiting until it is not.
    pub(crate) fn may_wait_for_space(&mut self) -> bool {
        self.stats.disk_full += 1;
        let most_bytes = self.limits.uncommitted_bytes.saturating_mul(2);
        self.limits.when_disk_full == WhenDiskFull::Wait && self.pending.bytes <= most_bytes
    }

    /// Does what follows from a commit: these deeds are on disk, or were refused for a reason.
    pub(crate) fn committed(
        &mut self,
        group: Vec<Deed>,
        outcome: &Result<(), Refused>,
        now: Instant,
        fx: &mut Effects,
    ) {
        self.pending.measure(&group);
        for Deed { writes, then, origin, bytes, .. } in group {
            self.pending.count -= 1;
            self.pending.bytes -= bytes;
            match outcome {
                Ok(()) => writes.into_iter().for_each(|write| self.stored(write, now, fx)),
                Err(refused) => {
                    self.count_refused(&writes, &then);
                    writes.into_iter().for_each(|write| self.not_stored(write, refused, now, fx));
                }
            }
            self.follow(then, origin, outcome, fx);
            if let Some(link) = origin.and_then(|peer| self.link(peer)) {
                link.uncommitted -= 1;
                fx.wakes.extend(link.is_held_back.then(|| link.wake()).flatten());
            }
        }
        self.let_read(fx);
    }

    /// Something is on disk: so it is true.
    fn stored(&mut self, write: Write, now: Instant, fx: &mut Effects) {
        match write {
            Write::Append { .. } => self.stats.journaled += 1,
            Write::Retain(routed) => self.retain(&routed, now, fx),
            Write::Queue { owner, queued, .. } => {
                let Some(Subscriber::Session(session)) = self.subscribers.get_mut(owner) else {
                    return;
                };
                let (limits, stats) = (&self.limits, &mut self.stats);
                let left = queued.group.clone().filter(|_| session.link.is_none());
                session.outgoing.arrive(queued, session.link.is_some(), limits, stats);
                if let Some(name) = left {
                    self.leave_to(&name, owner, fx);
                } else if let Some(link) = &mut session.link {
                    fx.wakes.extend(link.wake());
                    fx.congested |= session.outgoing.is_congested(limits);
                }
            }
            Write::Delay(delayed) => self.delays.add(delayed),
            Write::EndDelay(delayed) => self.delays.end(&delayed),
            // These were true before: the store was told.
            Write::Unretain(_)
            | Write::Session(_)
            | Write::EndSession(_)
            | Write::Subscribe(..)
            | Write::Unsubscribe(..)
            | Write::Progress { .. }
            | Write::Drop(..)
            | Write::Take(..)
            | Write::Received(..)
            | Write::Released(..) => {}
        }
    }

    /// A message that is tried again is not lost.
    fn count_refused(&mut self, writes: &[Write], then: &Then) {
        let is_put_back = writes.iter().any(|write| matches!(write, Write::EndDelay(_)));
        self.stats.journal_refused += u64::from(matches!(then, Then::Route(_)) && !is_put_back);
    }

    /// Something is not on disk; what was told to the store is to be told again.
    fn not_stored(&mut self, write: Write, refused: &Refused, now: Instant, fx: &mut Effects) {
        match write {
            Write::Progress { owner, progress } => {
                let kept = self.session(owner).and_then(|session| session.outgoing.kept_mut());
                kept.into_iter().for_each(|kept| kept.untell(&progress));
                self.untold.insert(owner);
            }
            Write::Delay(delayed) => self.delays.forget(&delayed),
            Write::EndDelay(delayed) => self.put_back(delayed, refused, now, fx),
            _ => {}
        }
    }

    fn follow(
        &mut self,
        then: Then,
        origin: Option<Peer>,
        outcome: &Result<(), Refused>,
        fx: &mut Effects,
    ) {
        let refused = outcome.as_ref().err().map(|refused| refused.code);
        match then {
            Then::Nothing => {}
            Then::Route(delivery) => self.delivered(delivery, outcome, fx),
            Then::Accept => self.accept(origin, refused, fx),
            Then::Divide(division) => self.divided(*division, refused.is_none(), fx),
            Then::Answer(packet, undo) => self.answer(origin, *packet, undo, refused, fx),
            Then::Keep(promised) => {
                let Some(peer) = origin else { return };
                let Some(session) = self.session(peer.session) else { return };
                match refused {
                    // It asks again when it is back.
                    Some(code) => self.dismiss_one(peer, code, fx),
                    None => {
                        session.keep_promises(&promised, peer.link);
                        fx.wakes.extend(session.link.as_mut().and_then(|link| link.wake()));
                    }
                }
            }
        }
    }

    fn delivered(&mut self, delivery: Delivery, outcome: &Result<(), Refused>, fx: &mut Effects) {
        let Delivery { routed, mut matches, publisher, receipt, reply } = delivery;
        let code = match outcome {
            Ok(()) => {
                self.route(routed, publisher, &mut matches, fx);
                ReasonCode::SUCCESS
            }
            Err(refused) => refused.code,
        };
        self.settle(publisher, receipt, code, fx);
        fx.replies.extend(reply.map(|reply| (reply, outcome.clone())));
    }

    fn accept(&mut self, origin: Option<Peer>, refused: Option<ReasonCode>, fx: &mut Effects) {
        let Some(peer) = origin else { return };
        let Some(session) = self.session(peer.session) else { return };
        let Some(link) = session.link_mut(peer.link) else { return };
        link.admission = if refused.is_some() { Admission::Refused } else { Admission::Granted };
        if refused.is_none() {
            session.is_stored = true;
        } else if !session.is_stored {
            // What is not on disk does not outlive its connection.
            session.expiry = Duration::ZERO;
        }
        if let Some(code) = refused
            && let Some(link) = &mut session.link
        {
            let (session_present, properties) = (false, Properties::new());
            let answer = Packet::ConnAck(ConnAck { session_present, code, properties });
            link.control = [answer].into_iter().collect();
            link.end = Some(code);
        }
        fx.wakes.extend(session.link.as_mut().map(|link| link.call()));
    }

    /// Sends the answer to a SUBSCRIBE or UNSUBSCRIBE.
    pub(super) fn answer(
        &mut self,
        to: Option<Peer>,
        mut packet: Packet,
        undo: Vec<TopicFilter>,
        refused: Option<ReasonCode>,
        fx: &mut Effects,
    ) {
        let Some(peer) = to else { return };
        if let Some(code) = refused {
            if let Packet::SubAck(SubAck { codes, .. }) | Packet::UnsubAck(SubAck { codes, .. }) =
                &mut packet
            {
                codes.iter_mut().filter(|old| !old.is_error()).for_each(|old| *old = code);
            }
            for filter in undo {
                self.session(peer.session).map(|session| session.subscriptions.remove(&filter));
                self.forget_subscription(&filter, peer.session);
            }
        }
        if let Some(link) = self.link(peer) {
            link.answer(packet);
            fx.wakes.extend(link.wake());
        }
    }

    /// Ends a connection.
    pub(super) fn dismiss_one(&mut self, peer: Peer, code: ReasonCode, fx: &mut Effects) {
        if let Some(link) = self.link(peer) {
            link.end = Some(code);
            fx.wakes.push(link.call());
        }
    }

    /// Whether a connection may be read from: not while too much of its own waits for the disk,
    /// nor while some of its own waits behind too much of all. It is woken when that changes.
    pub(super) fn may_read(&mut self, peer: Peer) -> bool {
        let limit = self.limits.receive_maximum;
        let is_behind = !self.is_committing_little();
        let Some(link) = self.link(peer) else { return false };
        let of_all = is_behind && link.uncommitted > 0;
        link.is_held_back = link.uncommitted >= limit.into() || of_all;
        let may_read = !link.is_held_back;
        if of_all {
            self.pending.held_back.insert(peer);
        }
        may_read
    }

    /// Whether something that a connection brought waits for its commit; it is woken each time that
    /// less does.
    pub(crate) fn is_committing(&mut self, peer: Peer) -> bool {
        let Some(link) = self.link(peer) else { return false };
        link.set_awake(false);
        link.is_held_back = link.uncommitted > 0;
        link.is_held_back
    }

    /// Whether no more waits for its commit than is taken.
    pub(super) fn is_committing_little(&self) -> bool {
        self.pending.bytes <= self.limits.uncommitted_bytes
    }

    fn let_read(&mut self, fx: &mut Effects) {
        if !self.is_committing_little() {
            return;
        }
        for peer in std::mem::take(&mut self.pending.held_back) {
            let link = self.link(peer);
            fx.wakes.extend(link.and_then(|link| link.wake()));
        }
    }
}
