//! One client's session: what it subscribed to, what it was sent, what it has sent; with the
//! connection that carries it now, if one does.
//!
//! A session decides and does nothing: packets and the time come in, and what to do comes out. It
//! never reads a clock and never sees a socket.

mod kept;
mod link;
mod outgoing;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::HashMap;

pub(crate) use link::{Admission, GivenAlias, Link, LinkId};
pub(crate) use outgoing::{Outgoing, Queued};
use thin_vec::ThinVec;

use crate::TopicFilter;
use crate::access::{Client, User};
use crate::limits::Limits;
use crate::message::{Message, Routed};
use crate::packet::{
    Ack, Delivery, Disconnect, Packet, PacketId, Property, Publish, QoS, ReasonCode, Subscribe,
    Text, Unsubscribe, Version,
};
use crate::rate::{Bucket, Rate};
use crate::stats::Stats;
use crate::store::{Presence, SessionNumber, SessionRow, StoredSession};

/// A client as the broker knows it.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) client_id: Text,
    /// Under which it is stored; `None` if nothing of it is.
    pub(crate) number: Option<SessionNumber>,
    /// Whether the store has it.
    pub(crate) is_stored: bool,
    /// Who was connected last; nobody else gets the session.
    pub(crate) user: User,
    /// With the QoS that was granted.
    pub(crate) subscriptions: BTreeMap<TopicFilter, QoS>,
    pub(crate) outgoing: Outgoing,
    pub(crate) link: Option<Link>,
    /// How long it outlives its connection.
    pub(crate) expiry: Duration,
    /// What is due while nobody is connected.
    pub(crate) parting: Option<Box<Parting>>,
    /// Messages and bytes that it may still publish, where that is limited. Kept over connections,
    /// so that coming back is no way around it.
    rates: Option<Box<[Option<Bucket>; 2]>>,
    /// Messages that came from the client.
    pub(crate) received_messages: u64,
    /// QoS 2 messages of the client that it has not released.
    received: HashMap<PacketId, Received>,
    /// What may be said once the store knows of it.
    promised: Promised,
}

/// Packets that are owed for those of the client that came just now.
#[derive(Debug, Default)]
pub(crate) struct Promised {
    /// PUBREL, for PUBREC.
    pub(crate) release: ThinVec<PacketId>,
    /// PUBCOMP, for PUBREL.
    pub(crate) complete: ThinVec<PacketId>,
}

impl Promised {
    pub(crate) fn is_empty(&self) -> bool {
        self.release.is_empty() && self.complete.is_empty()
    }
}

/// A session without a connection.
#[derive(Debug)]
pub(crate) struct Parting {
    pub(crate) will: Option<(Instant, Message)>,
    pub(crate) ends_at: Instant,
}

/// How far a QoS 2 message of the client has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Received {
    /// Its commit is under way. The same message again is no second one.
    Committing,
    /// PUBREC was sent, PUBREL is to come.
    Acknowledged,
    /// PUBREL came, and the store is told so.
    Releasing,
}

/// What the hub is to do for a packet.
#[derive(Debug)]
pub(crate) enum Step {
    /// The session did it alone.
    Done,
    /// Route or journal the message, then settle the receipt, if there is one.
    Publish(Message, Option<Receipt>),
    Subscribe(Subscribe),
    Unsubscribe(Unsubscribe),
}

/// Stands for an acknowledgement that is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) link: LinkId,
    pub(crate) delivery: Delivery,
}

/// Why a connection ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Closing {
    /// The client said so.
    Goodbye { with_will: bool },
    /// The client broke the rules.
    Violation(ReasonCode),
    /// The broker ends it, through no fault of the client.
    Ended(ReasonCode),
}

/// One packet to be sent.
#[derive(Debug)]
pub(crate) enum Outbound {
    Packet(Packet),
    Publish(OutboundPublish),
}

/// One message to be sent; the payload is shared with all who get it.
#[derive(Debug)]
pub(crate) struct OutboundPublish {
    pub(crate) routed: Arc<Routed>,
    pub(crate) delivery: Delivery,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    pub(crate) alias: Option<GivenAlias>,
    pub(crate) own_properties: Vec<Property>,
}

impl Outbound {
    pub(crate) fn cost_bytes(&self) -> usize {
        match self {
            // Acknowledgements and the like.
            Outbound::Packet(_) => 8,
            Outbound::Publish(publish) => publish.routed.message.cost_bytes(),
        }
    }
}

impl Session {
    pub(crate) fn new(client_id: Text, user: User, expiry: Duration) -> Session {
        Session {
            client_id,
            number: None,
            is_stored: false,
            user,
            subscriptions: BTreeMap::new(),
            outgoing: Outgoing::new(),
            link: None,
            expiry,
            parting: None,
            rates: None,
            received_messages: 0,
            received: HashMap::default(),
            promised: Promised::default(),
        }
    }

    /// One as it was stored; its subscriptions are for the hub to restore.
    pub(crate) fn restored(stored: &StoredSession) -> Session {
        let row = &stored.row;
        let lost = matches!(row.presence, Presence::Connected { .. });
        let received = stored.received.iter().map(|id| (*id, Received::Acknowledged));
        Session {
            number: Some(row.number),
            is_stored: true,
            outgoing: Outgoing::restored(stored, lost),
            received: received.collect(),
            ..Session::new(row.client_id.clone(), row.user.clone(), row.expiry)
        }
    }

    /// What is stored of it; `None` if nothing is.
    pub(crate) fn row(&self) -> Option<SessionRow> {
        let will = |link: &Link| {
            let will = link.will.as_ref();
            will.map(|will| (will.delay, will.message.clone()))
        };
        let presence = match (&self.link, &self.parting) {
            (Some(link), _) => Presence::Connected { will: will(link) },
            (None, Some(parting)) => {
                Presence::Gone { ends_at: parting.ends_at, will: parting.will.clone() }
            }
            // Between the two, for as long as nobody looks.
            (None, None) => return None,
        };
        let (client_id, user) = (self.client_id.clone(), self.user.clone());
        Some(SessionRow { number: self.number?, client_id, user, expiry: self.expiry, presence })
    }

    /// Whether it outlives the process.
    pub(crate) fn is_kept(&self) -> bool {
        self.outgoing.kept().is_some()
    }

    /// What is owed for the packets that were handled, if it has to wait for the store.
    pub(crate) fn take_promised(&mut self) -> Option<Promised> {
        (!self.promised.is_empty()).then(|| std::mem::take(&mut self.promised))
    }

    /// Whom access control asks about.
    pub(crate) fn client(&self) -> Client<'_> {
        Client { id: &self.client_id, user: &self.user }
    }

    /// The connection, if it is still this one.
    pub(crate) fn link_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.link.as_mut().filter(|link| link.id == id)
    }

    /// Handles one packet of the connection.
    pub(crate) fn handle(&mut self, packet: Packet, stats: &mut Stats) -> Result<Step, Closing> {
        let Some(link) = self.link.as_mut() else { return Ok(Step::Done) };
        match packet {
            Packet::Publish(publish) => return self.publish(publish, stats),
            Packet::PubAck(ack) if self.outgoing.is_sent_as(ack.id, QoS::ExactlyOnce) => {
                return Err(Closing::Violation(ReasonCode::PROTOCOL_ERROR));
            }
            Packet::PubRec(ack) if self.outgoing.is_sent_as(ack.id, QoS::AtLeastOnce) => {
                return Err(Closing::Violation(ReasonCode::PROTOCOL_ERROR));
            }
            Packet::PubAck(ack) => self.outgoing.finish(ack.id, stats),
            Packet::PubRec(ack) if ack.code.is_error() => self.outgoing.finish(ack.id, stats),
            Packet::PubRec(ack) => {
                let known = self.outgoing.release(ack.id, stats);
                match known && self.outgoing.kept().is_some() {
                    // Once the client has it, the message must never be sent again.
                    true => self.promised.release.push(ack.id),
                    false => link.answer(Packet::PubRel(Ack::new(ack.id, found(known)))),
                }
            }
            Packet::PubComp(ack) => self.outgoing.complete(ack.id, stats),
            Packet::PubRel(ack) => self.pub_rel(ack.id)?,
            Packet::Subscribe(subscribe) => {
                let mut filters = subscribe.filters.iter();
                if filters.any(|(filter, options)| options.no_local && filter.is_shared()) {
                    // MQTT-3.8.3-4.
                    return Err(Closing::Violation(ReasonCode::PROTOCOL_ERROR));
                }
                return Ok(Step::Subscribe(subscribe));
            }
            Packet::Unsubscribe(unsubscribe) => return Ok(Step::Unsubscribe(unsubscribe)),
            Packet::PingReq => link.answer(Packet::PingResp),
            Packet::Disconnect(disconnect) => return Err(self.goodbye(&disconnect)),
            // Only servers send these, or the client has no business with them now.
            Packet::Connect(_)
            | Packet::ConnAck(_)
            | Packet::SubAck(_)
            | Packet::UnsubAck(_)
            | Packet::PingResp
            | Packet::Auth(_) => return Err(Closing::Violation(ReasonCode::PROTOCOL_ERROR)),
        }
        Ok(Step::Done)
    }

    fn publish(&mut self, mut publish: Publish, stats: &mut Stats) -> Result<Step, Closing> {
        let Some(link) = self.link.as_mut() else { return Ok(Step::Done) };
        let properties = &publish.properties;
        if properties.iter().any(|property| matches!(property, Property::SubscriptionId(_))) {
            // Only servers put one into a PUBLISH (section 3.3.4).
            return Err(Closing::Violation(ReasonCode::PROTOCOL_ERROR));
        }
        let alias = properties.find(|property| match property {
            Property::TopicAlias(alias) => Some(alias.get()),
            _ => None,
        });
        let topic = link.resolve(publish.topic.take(), alias)?;
        let receipt = match publish.delivery {
            Delivery::AtMostOnce => None,
            delivery @ Delivery::AtLeastOnce(_) => Some(link.hold(delivery)?),
            delivery @ Delivery::ExactlyOnce(id) => {
                let Some(receipt) = self.first_time(id, delivery)? else { return Ok(Step::Done) };
                Some(receipt)
            }
        };
        stats.received += 1;
        stats.received_bytes += publish.payload.len() as u64;
        self.received_messages += 1;
        Ok(Step::Publish(Message::from_publish(publish, topic), receipt))
    }

    /// Whether the client may publish a message of so many bytes now.
    pub(crate) fn is_within_rates(&mut self, bytes: usize, limits: &Limits, now: Instant) -> bool {
        let rates = [(limits.publish_rate, 1), (limits.publish_bytes_rate, bytes)];
        if rates.iter().all(|(rate, _)| rate.is_none()) {
            return true;
        }
        let mut is_within = true;
        for (bucket, (rate, amount)) in self.rates.get_or_insert_default().iter_mut().zip(rates) {
            let Some(rate) = rate.map(Rate::per_second) else { continue };
            let bucket = bucket.get_or_insert_with(|| Bucket::new(rate, now));
            is_within &= bucket.take(amount, rate, now);
        }
        is_within
    }

    /// A receipt, if this QoS 2 message did not come before.
    fn first_time(&mut self, id: PacketId, delivery: Delivery) -> Result<Option<Receipt>, Closing> {
        let Some(link) = self.link.as_mut() else { return Ok(None) };
        match self.received.get(&id) {
            None => {
                let receipt = link.hold(delivery)?;
                self.received.insert(id, Received::Committing);
                Ok(Some(receipt))
            }
            // Its PUBREC comes with the commit: on this connection, even if the message came
            // first on another.
            Some(Received::Committing) => {
                if !link.is_holding(delivery) {
                    link.hold(delivery)?;
                }
                Ok(None)
            }
            Some(Received::Acknowledged | Received::Releasing) => {
                link.hold(delivery)?;
                link.settle(delivery, ReasonCode::SUCCESS);
                Ok(None)
            }
        }
    }

    fn pub_rel(&mut self, id: PacketId) -> Result<(), Closing> {
        let Some(link) = self.link.as_mut() else { return Ok(()) };
        if self.received.get(&id) == Some(&Received::Committing) {
            // It was not acknowledged, so there is nothing to release.
            return Err(Closing::Violation(ReasonCode::PROTOCOL_ERROR));
        }
        if self.outgoing.kept().is_some() && self.received.contains_key(&id) {
            // Once the client has its PUBCOMP, the identifier stands for another message.
            self.received.insert(id, Received::Releasing);
            self.promised.complete.push(id);
            return Ok(());
        }
        let known = self.received.remove(&id).is_some();
        link.complete(id, found(known));
        Ok(())
    }

    /// The store knows of what was promised.
    pub(crate) fn keep_promises(&mut self, promised: &Promised, link: LinkId) {
        for id in &promised.complete {
            self.received.remove(id);
        }
        // Another connection asks for all of this anew.
        let Some(link) = self.link_mut(link) else { return };
        for id in &promised.release {
            link.answer(Packet::PubRel(Ack::new(*id, ReasonCode::SUCCESS)));
        }
        promised.complete.iter().for_each(|id| link.complete(*id, ReasonCode::SUCCESS));
    }

    /// What a receipt stands for was done, or refused. Returns whether the connection has to be
    /// closed: MQTT 3.1.1 cannot say that a message was refused.
    pub(crate) fn settle(&mut self, receipt: Receipt, code: ReasonCode) -> bool {
        let exactly_once = match receipt.delivery {
            Delivery::ExactlyOnce(id) if code.is_error() => self.received.remove(&id).is_some(),
            Delivery::ExactlyOnce(id) => {
                self.received.insert(id, Received::Acknowledged);
                true
            }
            _ => false,
        };
        let Some(link) = self.link.as_mut() else { return false };
        // A QoS 1 message that came on an earlier connection will be sent again, and be
        // acknowledged then; a second acknowledgement could meet another message.
        if receipt.link != link.id && !exactly_once {
            return false;
        }
        if code.is_error() && link.version == Version::V311 {
            return true;
        }
        link.settle(receipt.delivery, code);
        false
    }

    fn goodbye(&mut self, disconnect: &Disconnect) -> Closing {
        let expiry = disconnect.properties.find(|property| match property {
            Property::SessionExpiry(seconds) => Some(*seconds),
            _ => None,
        });
        if let Some(seconds) = expiry {
            // Section 3.14.2.2.2: a session that was to end with its connection stays so.
            if self.expiry.is_zero() && seconds > 0 {
                return Closing::Violation(ReasonCode::PROTOCOL_ERROR);
            }
            self.expiry = Duration::from_secs(seconds.into());
        }
        Closing::Goodbye { with_will: disconnect.code != ReasonCode::SUCCESS }
    }

    /// Gives out what may be sent now. Returns whether there is more behind the budget.
    pub(crate) fn poll(
        &mut self,
        now: Instant,
        budget: usize,
        out: &mut Vec<Outbound>,
        stats: &mut Stats,
    ) -> bool {
        let Some(link) = self.link.as_mut() else { return false };
        if link.admission == Admission::Waiting {
            return false;
        }
        // Taken whole where it is small, so that an idle connection keeps no room for it.
        match link.control.capacity() {
            0..=8 => {
                out.extend(std::mem::take(&mut link.control).into_iter().map(Outbound::Packet))
            }
            _ => out.extend(link.control.drain(..).map(Outbound::Packet)),
        }
        if link.admission == Admission::Refused {
            return false;
        }
        self.outgoing.poll(link, now, budget, out, stats)
    }
}

fn found(known: bool) -> ReasonCode {
    if known { ReasonCode::SUCCESS } else { ReasonCode::PACKET_IDENTIFIER_NOT_FOUND }
}

impl Parting {
    /// When something is due next.
    pub(crate) fn next(&self) -> Instant {
        self.will.as_ref().map_or(self.ends_at, |(due, _)| self.ends_at.min(*due))
    }
}
