//! Shared subscriptions: of all clients that subscribed to a filter under one share name, one gets
//! each message (MQTT 5.0 section 4.8.2). MQTT 3.1.1 clients may use them, too.
//!
//! Members take turns. One that is connected and has nothing waiting goes before one whose queue
//! grows, and that before one that is offline, whose queue gets messages only while nobody is
//! connected. A member that loses its connection leaves what it was not sent to the others (from disk
//! by `hub/estate.rs`), and one whose session ends what it has not acknowledged, too, but for QoS 2:
//! that may have been received (MQTT-4.8.2-5).

use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

use super::allow::may_receive;
use super::route::{self, Match, Routing};
use super::{Effects, Hub, Subscriber, Subscription};
use crate::arena::Key;
use crate::packet::QoS;
use crate::session::Queued;
use crate::topic::Share;
use crate::{TopicFilter, TopicName};

/// Those who share the messages of a filter.
#[derive(Debug)]
pub(super) struct Group {
    /// `$share/`, the share name, and the filter.
    pub(super) name: Arc<TopicFilter>,
    members: Vec<Subscription>,
    /// Whose turn it is.
    next: Cell<usize>,
}

/// How ready a member is for a message; the least is the readiest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Readiness {
    Idle,
    Busy,
    Offline,
}

impl Readiness {
    pub(super) fn of(subscriber: Option<&Subscriber>) -> Readiness {
        match subscriber {
            Some(Subscriber::Session(session)) if session.link.is_some() => {
                if session.outgoing.is_waiting() { Readiness::Busy } else { Readiness::Idle }
            }
            _ => Readiness::Offline,
        }
    }
}

impl Group {
    /// The member that gets the next message; `None` of who may not get it. Asks all of them only
    /// where none is idle.
    pub(super) fn choose(
        &self,
        readiness: impl Fn(Key) -> Option<Readiness>,
    ) -> Option<&Subscription> {
        let mut best: Option<(Readiness, usize)> = None;
        let count = self.members.len();
        for turn in 0..count {
            let place = (self.next.get() + turn) % count;
            let Some(found) = readiness(self.members[place].subscriber) else { continue };
            if best.is_none_or(|(best, _)| found < best) {
                best = Some((found, place));
            }
            if found == Readiness::Idle {
                break;
            }
        }
        let (_, place) = best?;
        self.next.set(place + 1);
        self.members.get(place)
    }
}

impl Hub {
    pub(super) fn join(&mut self, name: &TopicFilter, filter: &TopicFilter, member: Subscription) {
        let group = self.shares.entry(
            filter,
            |group| *group.name == *name,
            || Group { name: Arc::new(name.clone()), members: Vec::new(), next: Cell::new(0) },
        );
        // Subscribing again replaces, in place, so that it is no way to get more than one's turn.
        match group.members.iter_mut().find(|old| old.subscriber == member.subscriber) {
            Some(old) => *old = member,
            None => group.members.push(member),
        }
        self.estates.look_again();
    }

    pub(super) fn leave_share(&mut self, name: &TopicFilter, subscriber: Key) {
        let Share::Of(filter) = name.share() else { return };
        let is_it = |group: &Group| *group.name == *name;
        // Taken out rather than looked up, so that the last member leaves nothing behind.
        let Some(mut group) = self.shares.remove(&filter, is_it) else { return };
        group.members.retain(|member| member.subscriber != subscriber);
        if !group.members.is_empty() {
            self.shares.insert(&filter, group, |_| false);
        }
    }

    /// Gives to other members what one of them left. Where there is none, it ends with the session.
    pub(super) fn hand_on(&mut self, left: Vec<Queued>, now: Instant, fx: &mut Effects) {
        for queued in left {
            if queued.routed.is_expired(now) {
                self.stats.dropped_expired += 1;
                continue;
            }
            let heir = queued.group.as_ref();
            let heir = heir.and_then(|name| self.heir(name, queued.routed.message.topic()));
            let Some(heir) = heir else { continue };
            let again = route::queued(&queued.routed, std::slice::from_ref(&heir));
            let mut writes = Vec::new();
            let is_stored =
                again.qos > QoS::AtMostOnce && self.place(heir.subscriber, again, &mut writes, fx);
            match is_stored {
                true => self.note_lazily(writes, fx),
                false => self.deliver(&mut Routing::new(queued.routed, None), &[heir], fx),
            }
        }
    }

    /// Who of a group gets a message instead of somebody who left.
    pub(super) fn heir(&self, name: &TopicFilter, topic: &TopicName) -> Option<Match> {
        let Share::Of(filter) = name.share() else { return None };
        let group = self.shares.get(&filter, |group| *group.name == *name)?;
        let (acl, subscribers) = (self.acl.as_ref(), &self.subscribers);
        let member = group.choose(|key| {
            may_receive(acl, subscribers, key, topic).then(|| Readiness::of(subscribers.get(key)))
        })?;
        Some(Match::of(member, Some(Arc::clone(&group.name))))
    }

    /// Has those who are connected get what a session without a connection was not sent.
    pub(super) fn hand_on_unsent(&mut self, key: Key, now: Instant, fx: &mut Effects) {
        let Some(session) = self.session(key) else { return };
        // For what is on disk see `hub/estate.rs`.
        if session.is_kept() || !session.subscriptions.keys().any(TopicFilter::is_shared) {
            return;
        }
        let groups = session.outgoing.groups();
        let served: Vec<_> = groups.into_iter().filter(|name| self.is_served(name)).collect();
        let Some(Subscriber::Session(session)) = self.subscribers.get_mut(key) else { return };
        let left = session.outgoing.take_of(&served, &mut self.stats);
        self.hand_on(left, now, fx);
    }

    /// Tells those of a group who are connected and have nothing to do.
    pub(super) fn wake_idle(&mut self, name: &TopicFilter, fx: &mut Effects) {
        let Share::Of(filter) = name.share() else { return };
        let Some(group) = self.shares.get(&filter, |group| *group.name == *name) else { return };
        for member in &group.members {
            let member = self.subscribers.get_mut(member.subscriber);
            if Readiness::of(member.as_deref()) == Readiness::Idle
                && let Some(Subscriber::Session(session)) = member
            {
                fx.wakes.extend(session.link.as_mut().and_then(|link| link.wake()));
            }
        }
    }

    /// Whether somebody of the group is connected.
    fn is_served(&self, name: &TopicFilter) -> bool {
        let Share::Of(filter) = name.share() else { return false };
        let group = self.shares.get(&filter, |group| *group.name == *name);
        let mut members = group.into_iter().flat_map(|group| &group.members);
        members.any(|member| {
            Readiness::of(self.subscribers.get(member.subscriber)) < Readiness::Offline
        })
    }
}
