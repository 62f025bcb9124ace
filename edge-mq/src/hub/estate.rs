//! What a member of shared subscriptions left on disk, and was not sent: others of its groups get it.
//!
//! Those who are connected and have nothing to do read its queue, a page at a time, and the messages
//! of a page go to whoever is readiest. One deed takes them out of the one queue and puts them into
//! the others, so that a crash neither loses nor doubles them. Should the member come back meanwhile,
//! nothing of its queue is read for it until that is stored.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use super::commit::Deed;
use super::route::{self, Match};
use super::share::Readiness;
use super::{Effects, Hub, Peer, Subscriber};
use crate::TopicFilter;
use crate::arena::Key;
use crate::message::Routed;
use crate::packet::QoS;
use crate::session::{Admission, Queued, Session};
use crate::store::{Page, PageRequest, SessionNumber, Write};

/// All queues on disk without a client of which others may have something.
#[derive(Debug, Default)]
pub(super) struct Estates {
    /// By whose they are.
    all: BTreeMap<Key, Estate>,
    /// Whose is on its way from the disk to this connection.
    readers: BTreeMap<Peer, Key>,
}

#[derive(Debug)]
struct Estate {
    number: SessionNumber,
    /// Before this serial, it was looked through.
    from: u64,
    /// Whether something of it was left, as nobody of its group was connected.
    has_rest: bool,
    reader: Option<Peer>,
}

/// A part of an estate on its way to others.
#[derive(Debug)]
pub(super) struct Division {
    owner: Key,
    reader: Peer,
    /// Of all messages that are taken out.
    pub(super) bytes: usize,
    /// The serials that were looked at, if nothing of them stays.
    all_of: Option<Range<u64>>,
    /// For those who have no queue on disk.
    deliveries: Vec<(Arc<Routed>, Match)>,
}

impl Division {
    fn new(owner: Key, reader: Peer) -> Division {
        Division { owner, reader, bytes: 0, all_of: None, deliveries: Vec::new() }
    }
}

impl Estates {
    /// Its client is back, or gone for good.
    pub(super) fn close(&mut self, owner: Key) {
        self.all.remove(&owner);
    }

    /// Somebody is there who may want what nobody wanted before.
    pub(super) fn look_again(&mut self) {
        for estate in self.all.values_mut().filter(|estate| estate.has_rest) {
            (estate.from, estate.has_rest) = (0, false);
        }
    }

    /// Whether a connection waits for a part of one.
    pub(super) fn is_read_by(&self, peer: Peer) -> bool {
        self.readers.contains_key(&peer)
    }

    /// A connection waits no more; for this one, if that is still open and nobody else's.
    pub(super) fn stop_reading(&mut self, peer: Peer) -> Option<Key> {
        let owner = self.readers.remove(&peer)?;
        let estate = self.all.get_mut(&owner).filter(|estate| estate.reader == Some(peer))?;
        estate.reader = None;
        Some(owner)
    }
}

impl Hub {
    /// A session without a connection may have something for others.
    pub(super) fn open_estate(&mut self, owner: Key, fx: &mut Effects) {
        let Some(session) = self.session(owner) else { return };
        if session.link.is_some() || session.outgoing.unsent().is_empty() {
            return;
        }
        let shared = session.subscriptions.keys().filter(|filter| filter.is_shared());
        let names: Vec<TopicFilter> = shared.cloned().collect();
        names.iter().for_each(|name| self.leave_to(name, owner, fx));
    }

    /// A session without a connection has something for this group.
    pub(super) fn leave_to(&mut self, name: &TopicFilter, owner: Key, fx: &mut Effects) {
        let kept = self.session(owner).and_then(|session| session.outgoing.kept());
        let Some(number) = kept.map(|kept| kept.number()) else { return };
        let estate = Estate { number, from: 0, has_rest: false, reader: None };
        self.estates.all.entry(owner).or_insert(estate);
        self.wake_idle(name, fx);
    }

    /// What somebody who has nothing to do may read of what others left. It looks at all estates.
    pub(super) fn read_estate(&mut self, peer: Peer) -> Option<PageRequest> {
        if self.estates.all.is_empty() || self.estates.is_read_by(peer) {
            return None;
        }
        let session = |key: Key| match self.subscribers.get(key) {
            Some(Subscriber::Session(session)) => Some(session),
            _ => None,
        };
        let heir = session(peer.session)?;
        let is_in = heir.link.as_ref().is_some_and(|link| link.admission == Admission::Granted);
        if heir.outgoing.is_waiting() || !is_in {
            return None;
        }
        let shared = heir.subscriptions.keys().filter(|filter| filter.is_shared());
        let names: Vec<&TopicFilter> = shared.collect();
        let is_for_it = |owner: &Session| {
            let is_divided = owner.outgoing.kept().is_none_or(|kept| kept.is_divided());
            !is_divided && names.iter().any(|name| owner.subscriptions.contains_key(*name))
        };
        let free = self.estates.all.iter_mut().filter(|(_, estate)| estate.reader.is_none());
        let mut wanted = free.filter_map(|(key, estate)| {
            let owner = session(*key).filter(|owner| is_for_it(owner))?;
            let unsent = owner.outgoing.unsent();
            let (from, to) = (unsent.start.max(estate.from), unsent.end);
            (from < to).then_some((*key, estate, from, to))
        });
        let (owner, estate, from, to) = wanted.next()?;
        estate.reader = Some(peer);
        let request = PageRequest { session: estate.number, from, to };
        self.estates.readers.insert(peer, owner);
        Some(request)
    }

    /// A part of an estate cannot be read: what is in it waits for its own client. Whether it was one.
    pub(crate) fn give_up_estate(&mut self, peer: Peer) -> bool {
        let is_one = self.estates.is_read_by(peer);
        self.estates.stop_reading(peer).into_iter().for_each(|owner| self.estates.close(owner));
        is_one
    }

    /// Gives the messages of a page to members who are connected.
    pub(super) fn divide(&mut self, reader: Peer, page: Page, now: Instant, fx: &mut Effects) {
        let Some(owner) = self.estates.stop_reading(reader) else { return };
        let mut division = Division::new(owner, reader);
        let (mut serials, mut writes) = (Vec::new(), Vec::new());
        let (mut has_rest, count) = (false, page.messages.len());
        for queued in page.messages {
            let (serial, is_shared) = (queued.serial, queued.group.is_some());
            if self.was_perhaps_sent(owner, &queued) {
                continue;
            }
            match self.give(queued, now, &mut writes, &mut division) {
                true => serials.extend(serial),
                false => has_rest |= is_shared,
            }
        }
        if let Some(estate) = self.estates.all.get_mut(&owner) {
            estate.from = page.next;
            estate.has_rest |= has_rest;
        }
        if serials.is_empty() {
            return;
        }
        if serials.len() == count && page.too_old == 0 {
            division.all_of = Some(page.from..page.next);
        }
        writes.push(Write::Take(page.session, serials));
        self.set_divided(owner, true);
        self.note(Deed::division(writes, division), fx);
    }

    /// Whether its client may have a message that must not be received twice (MQTT-4.8.2-4).
    fn was_perhaps_sent(&mut self, owner: Key, queued: &Queued) -> bool {
        let kept = self.session(owner).and_then(|session| session.outgoing.kept());
        let was_there =
            kept.zip(queued.serial).is_some_and(|(kept, serial)| kept.was_there(serial));
        was_there && queued.qos == QoS::ExactlyOnce
    }

    /// Finds somebody for a message. Whether the one who has it needs it no more.
    fn give(
        &mut self,
        queued: Queued,
        now: Instant,
        writes: &mut Vec<Write>,
        division: &mut Division,
    ) -> bool {
        let heir = queued.group.as_ref();
        let heir = heir.and_then(|name| self.heir(name, queued.routed.message.topic()));
        let is_there = |heir: &Match| {
            Readiness::of(self.subscribers.get(heir.subscriber)) < Readiness::Offline
        };
        let Some(heir) = heir.filter(is_there) else { return false };
        division.bytes += queued.routed.message.cost_bytes();
        if queued.routed.is_expired(now) {
            self.stats.dropped_expired += 1;
            return true;
        }
        let again = route::queued(&queued.routed, std::slice::from_ref(&heir));
        // Past the limits of queues on disk, which hold no more of it then than before.
        if again.qos == QoS::AtMostOnce || !self.append_to(heir.subscriber, again, writes) {
            division.deliveries.push((queued.routed, heir));
        }
        true
    }

    /// Those who were to get something have it, or nothing has changed.
    pub(super) fn divided(&mut self, division: Division, is_stored: bool, fx: &mut Effects) {
        let Division { owner, reader, bytes, all_of, deliveries } = division;
        self.set_divided(owner, false);
        if is_stored {
            let session = self.session(owner);
            session
                .into_iter()
                .for_each(|session| session.outgoing.hand_over(bytes, all_of.clone()));
            self.untold.insert(owner);
            for (routed, heir) in deliveries {
                self.route(routed, None, &mut vec![heir], fx);
            }
        }
        // The next page may be read, or the rest by its own client.
        for key in [reader.session, owner] {
            let link = self.session(key).and_then(|session| session.link.as_mut());
            fx.wakes.extend(link.and_then(|link| link.wake()));
        }
    }

    fn set_divided(&mut self, owner: Key, is_divided: bool) {
        let kept = self.session(owner).and_then(|session| session.outgoing.kept_mut());
        kept.into_iter().for_each(|kept| kept.set_divided(is_divided));
    }
}
