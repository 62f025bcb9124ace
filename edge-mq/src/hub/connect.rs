//! How sessions begin, are taken over, are left alone, and end.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::commit::{Deed, Then};
use super::route::From;
use super::{Effects, Hub, Peer, Subscriber};
use crate::TopicFilter;
use crate::access::{Client, GuardId, User};
use crate::arena::Key;
use crate::delayed;
use crate::message::Message;
use crate::packet::{
    ConnAck, Connect, Packet, PacketSize, Properties, Property, ReasonCode, Text, Version,
};
use crate::session::{Admission, Closing, Link, LinkId, Outgoing, Parting, Session};
use crate::store::{Presence, SessionRow, Stored};
use crate::store::{SessionNumber, Write};

/// What a client asks for.
struct Claim {
    client_id: Text,
    user: User,
    expiry: Duration,
    clean_start: bool,
    has_will: bool,
}

/// What it gets.
struct Claimed {
    key: Key,
    session_present: bool,
    /// Whether its CONNACK has to wait until that is stored.
    must_wait: bool,
}

/// What the shell knows of somebody who came in.
#[derive(Debug)]
pub(crate) struct Entrance {
    pub(crate) user: User,
    pub(crate) guard: GuardId,
    /// The largest packet that is taken from the client.
    pub(crate) packet_bytes: usize,
    pub(crate) waker: Waker,
}

/// A connection that has a session now. Its CONNACK is the first packet of [`Hub::poll`].
#[derive(Debug, Clone)]
pub(crate) struct Accepted {
    pub(crate) peer: Peer,
    pub(crate) client_id: Text,
    pub(crate) session_present: bool,
    /// When to ask [`Hub::keep_alive`] first.
    pub(crate) deadline: Option<Instant>,
}

impl Hub {
    /// Gives a connection its session, new or kept; or says why not.
    pub(crate) fn connect(
        &mut self,
        mut connect: Connect,
        entrance: Entrance,
        now: Instant,
        fx: &mut Effects,
    ) -> Result<Accepted, ReasonCode> {
        let Entrance { user, guard, packet_bytes, waker } = entrance;
        self.admit(&connect, &user)?;
        let assigned = connect.client_id.as_str().is_empty().then(|| self.free_client_id());
        let client_id = assigned.clone().unwrap_or_else(|| connect.client_id.detached());
        let asked = asked_expiry(&connect, self.limits.session_expiry);
        let expiry = asked.min(self.limits.session_expiry);
        let properties = match connect.version {
            Version::V5 => self.announce(
                &mut connect,
                assigned,
                packet_bytes,
                (expiry != asked).then_some(expiry),
            ),
            Version::V311 => Properties::new(),
        };
        let code = ReasonCode::SUCCESS;
        let mut answer = ConnAck { session_present: false, code, properties };
        let len = Packet::ConnAck(answer.clone()).encoded_len(connect.version);
        if connect.most_bytes().is_some_and(|most| len > most) {
            return Err(ReasonCode::PACKET_TOO_LARGE);
        }
        let claim = Claim {
            client_id: client_id.clone(),
            user,
            expiry,
            clean_start: connect.clean_start,
            has_will: connect.will.is_some(),
        };
        let Claimed { key, session_present, must_wait } = self.claim(claim, now, fx);
        answer.session_present = session_present;

        self.next_link += 1;
        let id = LinkId(self.next_link);
        let mut link = Link::new(id, guard, &mut connect, waker, &self.limits, now);
        link.control.push(Packet::ConnAck(answer));
        if must_wait {
            link.admission = Admission::Waiting;
        }
        let deadline = link.deadline();
        let session = self.session(key).expect("claimed above");
        let is_member = session.subscriptions.keys().any(TopicFilter::is_shared);
        session.link = Some(link);
        session.expiry = expiry;
        session.outgoing.restart();
        let peer = Peer { session: key, link: id };
        // Again what may have been refused: PUBREL must not go out before its PUBREC is on disk.
        let progress = session.outgoing.tell();
        let progress = progress.map(|progress| Write::Progress { owner: key, progress });
        let row = session.row().map(Write::Session);
        let mut writes: Vec<Write> = row.into_iter().chain(progress).collect();
        self.welcome(key, now, &mut writes, fx);
        if is_member {
            self.estates.look_again();
        }
        if must_wait {
            self.note(Deed::new(writes, Then::Accept, peer), fx);
        } else {
            self.note_lazily(writes, fx);
        }
        Ok(Accepted { peer, client_id, session_present, deadline })
    }

    /// What can be refused before anything changes.
    fn admit(&mut self, connect: &Connect, user: &User) -> Result<(), ReasonCode> {
        if self.closed {
            return Err(ReasonCode::SERVER_SHUTTING_DOWN);
        }
        let known = self.clients.get(connect.client_id.as_str()).copied();
        let owner = known.and_then(|key| self.session(key)).map(|session| session.user.name());
        if owner.is_some_and(|owner| owner != user.name()) {
            // What waits in a session is for its user alone.
            self.stats.denied_logins += 1;
            return Err(ReasonCode::CLIENT_IDENTIFIER_NOT_VALID);
        }
        if let Some(will) = &connect.will {
            let (_, topic) = self.real_topic(&will.topic)?;
            let client = Client { id: &connect.client_id, user };
            if self.acl.as_ref().is_some_and(|acl| !acl.may_publish(client, &topic)) {
                self.stats.denied += 1;
                return Err(ReasonCode::NOT_AUTHORIZED);
            }
        }
        // Section 3.1.3.1 of MQTT 3.1.1: nobody could come back to a session without a name.
        let nameless = connect.client_id.as_str().is_empty();
        if nameless && connect.version == Version::V311 && !connect.clean_start {
            return Err(ReasonCode::CLIENT_IDENTIFIER_NOT_VALID);
        }
        if !self.clients.contains_key(connect.client_id.as_str()) && self.is_full() {
            self.stats.refused_connections += 1;
            return Err(match connect.version {
                Version::V5 => ReasonCode::QUOTA_EXCEEDED,
                Version::V311 => ReasonCode::SERVER_UNAVAILABLE,
            });
        }
        Ok(())
    }

    pub(super) fn is_full(&self) -> bool {
        self.subscribers.len() >= self.limits.sessions
    }

    /// The session of this client, which from here on belongs to the caller alone.
    fn claim(&mut self, claim: Claim, now: Instant, fx: &mut Effects) -> Claimed {
        let mut ended_one = false;
        if let Some(&key) = self.clients.get(&claim.client_id) {
            let is_kept = self.session(key).is_some_and(|session| session.is_kept());
            // Whoever is connected loses the session; a session of no expiry ends with that.
            self.part(key, true, now, fx);
            if claim.clean_start {
                self.end(key, now, fx);
            }
            ended_one = is_kept;
        }
        if let Some(&key) = self.clients.get(&claim.client_id) {
            self.resume(key);
            if let Some(session) = self.session(key) {
                // Its groups may have changed.
                session.user = claim.user;
            }
            return Claimed { key, session_present: true, must_wait: ended_one };
        }
        let mut session = Session::new(claim.client_id.clone(), claim.user, claim.expiry);
        // Even of a session that ends with its connection, the will is kept: the power may fail.
        if self.is_kept && (!claim.expiry.is_zero() || claim.has_will) {
            let number = SessionNumber(self.next_session);
            self.next_session += 1;
            session.number = Some(number);
            if !claim.expiry.is_zero() {
                session.outgoing = Outgoing::kept_as(number);
            }
        }
        let must_wait = ended_one || session.is_kept();
        let key = self.subscribers.insert(Subscriber::Session(Box::new(session)));
        self.clients.insert(claim.client_id, key);
        Claimed { key, session_present: false, must_wait }
    }

    /// Takes in what a store has. Connections that were there have been lost by now.
    pub(crate) fn restore(&mut self, stored: Stored, now: Instant, fx: &mut Effects) {
        self.is_kept = true;
        self.next_session = stored.next_session;
        for routed in stored.retained {
            self.retain(&routed, now, fx);
        }
        self.delays.restore(stored.delayed, stored.next_delayed);
        for stored in stored.sessions {
            let session = Session::restored(&stored);
            let client_id = session.client_id.clone();
            let key = self.subscribers.insert(Subscriber::Session(Box::new(session)));
            self.clients.insert(client_id, key);
            for subscription in &stored.subscriptions {
                self.add_subscription(key, subscription);
            }
            self.restore_parting(key, stored.row, now);
            self.open_estate(key, fx);
        }
        // All sessions are there, so that they get the wills of others, and what is overdue.
        self.tick(now, fx);
    }

    fn restore_parting(&mut self, key: Key, row: SessionRow, now: Instant) {
        let parting = match row.presence {
            Presence::Gone { ends_at, will } => Parting { will, ends_at },
            Presence::Connected { will } => {
                let will = will.map(|(delay, message)| (now + delay.min(row.expiry), message));
                Parting { will, ends_at: now + row.expiry }
            }
        };
        self.deadlines.insert((parting.next(), key));
        self.session(key).expect("restored just now").parting = Some(Box::new(parting));
    }

    fn free_client_id(&self) -> Text {
        // Not to be guessed, so that nobody takes over a nameless client by accident or on purpose.
        let random = || RandomState::new().build_hasher().finish();
        loop {
            let id = format!("edge-{:016x}{:016x}", random(), random());
            let id = Text::try_from(id).expect("hexadecimal digits are an MQTT string");
            if !self.clients.contains_key(&id) {
                return id;
            }
        }
    }

    /// What CONNACK says about the server (section 3.2.2.3), and how the client authenticated. A
    /// keep alive that is too long is replaced.
    fn announce(
        &self,
        connect: &mut Connect,
        assigned: Option<Text>,
        packet_bytes: usize,
        expiry: Option<Duration>,
    ) -> Properties {
        let limits = &self.limits;
        let longest = u16::try_from(limits.max_keep_alive.as_secs()).unwrap_or(u16::MAX);
        let is_too_long = !(1..=longest).contains(&connect.keep_alive);
        if is_too_long {
            connect.keep_alive = longest;
        }
        let receive_maximum = std::num::NonZeroU16::new(limits.receive_maximum);
        let packet_bytes = u32::try_from(packet_bytes).ok().and_then(PacketSize::new);
        let expiry = expiry.and_then(|expiry| u32::try_from(expiry.as_secs()).ok());
        let properties = [
            expiry.map(Property::SessionExpiry),
            receive_maximum.map(Property::ReceiveMaximum),
            packet_bytes.map(Property::MaximumPacketSize),
            assigned.map(Property::AssignedClientId),
            Some(Property::TopicAliasMaximum(limits.topic_aliases)),
            is_too_long.then_some(Property::ServerKeepAlive(longest)),
        ];
        let authentication = connect.properties.iter().filter(|property| {
            matches!(property, Property::AuthenticationMethod(_) | Property::AuthenticationData(_))
        });
        properties.into_iter().flatten().chain(authentication.cloned()).collect()
    }

    /// A connection ends.
    pub(crate) fn leave(&mut self, peer: Peer, closing: &Closing, now: Instant, fx: &mut Effects) {
        if let Closing::Violation(_) = closing {
            self.stats.protocol_errors += 1;
        }
        let with_will = *closing != Closing::Goodbye { with_will: false };
        let session = self.session(peer.session);
        if session.is_some_and(|session| session.link_mut(peer.link).is_some()) {
            self.part(peer.session, with_will, now, fx);
        }
    }

    /// Takes the connection from a session, which then waits for the next one or ends.
    fn part(&mut self, key: Key, with_will: bool, now: Instant, fx: &mut Effects) {
        let longest = self.limits.session_expiry;
        let Some(session) = self.session(key) else { return };
        let Some(mut link) = session.link.take() else { return };
        fx.wakes.push(link.call());
        let peer = Peer { session: key, link: link.id };
        self.see_off(key);
        let Some(session) = self.session(key) else { return };
        let expiry = session.expiry.min(longest);
        let ends_at = now + expiry;
        // The client took it back: a power cut is not to publish it after all.
        let is_revoked = link.will.is_some() && !with_will && session.number.is_some();
        let will = link.will.take().filter(|_| with_will).map(|will| {
            let delay = will.delay.min(expiry);
            (now + delay, will.message)
        });
        session.parting = Some(Box::new(Parting { will, ends_at }));
        self.estates.stop_reading(peer);
        if ends_at > now {
            self.hand_on_unsent(key, now, fx);
            self.park(key, fx);
            self.open_estate(key, fx);
        }
        self.parting_due(key, now, fx);
        if is_revoked {
            self.hurry(fx);
        }
    }

    /// Lets go of what is on disk anyway, and has the store know how far the client came.
    fn park(&mut self, key: Key, fx: &mut Effects) {
        let Some(Subscriber::Session(session)) = self.subscribers.get_mut(key) else { return };
        session.outgoing.park(&mut self.stats);
        let progress =
            session.outgoing.tell().map(|progress| Write::Progress { owner: key, progress });
        let row = session.row().map(Write::Session);
        let writes: Vec<Write> = row.into_iter().chain(progress).collect();
        self.note_lazily(writes, fx);
    }

    /// Does what is due for a session without a connection, and notes when to look again.
    fn parting_due(&mut self, key: Key, now: Instant, fx: &mut Effects) {
        let Some(session) = self.session(key) else { return };
        let Some(parting) = session.parting.as_mut() else { return };
        if parting.ends_at <= now {
            self.stats.expired_sessions += u64::from(!session.expiry.is_zero());
            return self.end(key, now, fx);
        }
        let will = parting.will.take_if(|(due, _)| *due <= now);
        let next = parting.next();
        // Whoever has published it, knows it no more: in one commit.
        let row = session.row().map(Write::Session);
        self.deadlines.insert((next, key));
        if let Some((_, message)) = will {
            self.publish_will(key, message, row.into_iter().collect(), now, fx);
        }
    }

    fn resume(&mut self, key: Key) {
        self.estates.close(key);
        let Some(session) = self.session(key) else { return };
        // With the parting goes a will that was delayed: the client is back (section 3.1.3.2.2).
        if let Some(parting) = session.parting.take() {
            self.deadlines.remove(&(parting.next(), key));
        }
    }

    /// Forgets a session. A will that still waits is published first.
    pub(super) fn end(&mut self, key: Key, now: Instant, fx: &mut Effects) {
        let Some(session) = self.session(key) else { return };
        let writes: Vec<Write> = session.number.map(Write::EndSession).into_iter().collect();
        let parting = session.parting.take();
        if let Some(parting) = &parting {
            self.deadlines.remove(&(parting.next(), key));
        }
        match parting.and_then(|parting| parting.will) {
            Some((_, message)) => self.publish_will(key, message, writes, now, fx),
            None => self.note_lazily(writes, fx),
        }
        let Some(Subscriber::Session(mut session)) = self.subscribers.remove(key) else { return };
        self.clients.remove(&session.client_id);
        self.estates.close(key);
        let left = session.outgoing.left_to_others();
        session.outgoing.clear(&mut self.stats);
        for filter in session.subscriptions.keys() {
            self.forget_subscription(filter, key);
        }
        self.hand_on(left, now, fx);
    }

    /// Publishes a will. What is to be stored with it is stored in any case.
    fn publish_will(
        &mut self,
        key: Key,
        message: Message,
        writes: Vec<Write>,
        now: Instant,
        fx: &mut Effects,
    ) {
        // It was allowed when the client connected; that may be long ago.
        if delayed::is_for_later(message.topic()) {
            // There is nobody to be told.
            self.publish_later(message, From::Will(key, writes), None, now, fx).ok();
            return;
        }
        match self.screen(key, message) {
            Ok(Some(message)) => self.publish(message, From::Will(key, writes), None, now, fx),
            Ok(None) | Err(_) => self.note_lazily(writes, fx),
        }
    }

    /// Does what is due by now: delayed wills, the end of sessions, and messages for later.
    pub(crate) fn tick(&mut self, now: Instant, fx: &mut Effects) {
        while let Some(&(due, key)) = self.deadlines.first()
            && due <= now
        {
            self.deadlines.pop_first();
            self.parting_due(key, now, fx);
        }
        self.publish_due(now, fx);
        self.tell_all(fx);
        if self.is_kept {
            self.stored_bytes = self.stats().stored_bytes;
        }
        self.tell_sys(now, fx);
    }
}

/// What the client asks for; MQTT 3.1.1 knows only "with the connection" and "for ever".
fn asked_expiry(connect: &Connect, longest: Duration) -> Duration {
    let asked = connect.properties.find(|property| match property {
        Property::SessionExpiry(seconds) => Some(Duration::from_secs(u64::from(*seconds))),
        _ => None,
    });
    match connect.version {
        Version::V311 if !connect.clean_start => longest,
        _ => asked.unwrap_or_default(),
    }
}
