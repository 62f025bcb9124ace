//! What a session knows about the connection that carries it. Gone with the connection.

use std::collections::VecDeque;
use std::task::Waker;
use std::time::{Duration, Instant};

use foldhash::HashMap;
use thin_vec::ThinVec;

use super::{Closing, Receipt};
use crate::TopicName;
use crate::access::GuardId;
use crate::limits::Limits;
use crate::message::Message;
use crate::packet::{
    Ack, Connect, Delivery, Packet, PacketId, Property, QoS, ReasonCode, SubAck, Text, TopicAlias,
    Version, Will,
};

/// Names one connection; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LinkId(pub(crate) u64);

/// The connection of a session.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) id: LinkId,
    /// Who let it in.
    pub(crate) guard: GuardId,
    pub(crate) version: Version,
    /// How many messages may be in flight to the client.
    pub(crate) window: usize,
    /// The largest packet that the client takes.
    pub(crate) max_packet_bytes: Option<usize>,
    pub(crate) will: Option<Box<LinkWill>>,
    /// Whether the client wants reasons for people (section 3.1.2.11.7).
    wants_reasons: bool,
    /// Packets that go out before any message. Bounded, as each answers a packet of the client,
    /// and those are not read while answers wait to be written.
    pub(crate) control: ThinVec<Packet>,
    pub(crate) admission: Admission,
    /// Why the broker wants to close the connection.
    pub(crate) end: Option<ReasonCode>,
    /// What came over it and waits for its commit.
    pub(crate) uncommitted: usize,
    /// Whether it is not read from until less of that waits, and is to be told.
    pub(crate) is_held_back: bool,
    waker: Waker,
    /// Whether the connection knows that there is something for it.
    awake: bool,
    keep_alive: Option<Duration>,
    last_packet: Instant,
    since: Instant,
    /// `None` as long as nobody uses one.
    aliases: Option<Box<Aliases>>,
    /// How many the client may use.
    most_taken: usize,
    /// How many of ours the client and we take.
    most_given: u16,
    /// Acknowledgements in the order in which they have to go out (section 4.6), each with its
    /// code once that is known.
    acks: VecDeque<(Delivery, Option<ReasonCode>)>,
    /// QoS 1 and 2 messages of the client that we have not acknowledged for good.
    unacknowledged: usize,
    receive_maximum: usize,
}

/// Whether something may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Not yet: CONNACK waits for its commit.
    Waiting,
    Granted,
    /// Nothing but a CONNACK that says so.
    Refused,
}

/// Stands for a topic towards the client (section 3.3.2.3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GivenAlias {
    pub(crate) alias: TopicAlias,
    /// Whether the client got it with the topic before, so that it may stand alone.
    pub(crate) is_known: bool,
}

/// Topic aliases of one connection.
#[derive(Debug, Default)]
struct Aliases {
    /// The client's, up to the highest that it used.
    taken: Vec<Option<TopicName>>,
    /// Ours.
    given: HashMap<TopicName, TopicAlias>,
}

/// What to publish when the connection is lost.
#[derive(Debug)]
pub(crate) struct LinkWill {
    pub(crate) message: Message,
    pub(crate) delay: Duration,
}

impl LinkWill {
    fn new(will: Will) -> LinkWill {
        let delay = will.properties.find(|property| match property {
            Property::WillDelay(seconds) => Some(Duration::from_secs(u64::from(*seconds))),
            _ => None,
        });
        // Kept as long as the connection lasts, so not in its read buffer.
        let message = Message::from_will(will).detached();
        LinkWill { message, delay: delay.unwrap_or_default() }
    }
}

impl Link {
    pub(crate) fn new(
        id: LinkId,
        guard: GuardId,
        connect: &mut Connect,
        waker: Waker,
        limits: &Limits,
        now: Instant,
    ) -> Link {
        let receive_maximum = connect.properties.find(|property| match property {
            Property::ReceiveMaximum(count) => Some(count.get()),
            _ => None,
        });
        let most_aliases = connect.properties.find(|property| match property {
            Property::TopicAliasMaximum(count) => Some(*count),
            _ => None,
        });
        let no_reasons = connect.properties.find(|property| match property {
            Property::RequestProblemInformation(false) => Some(()),
            _ => None,
        });
        let keep_alive = u64::from(connect.keep_alive);
        Link {
            id,
            guard,
            version: connect.version,
            window: receive_maximum.unwrap_or(u16::MAX).min(limits.inflight_messages).into(),
            max_packet_bytes: connect.most_bytes(),
            wants_reasons: connect.version == Version::V5 && no_reasons.is_none(),
            will: connect.will.take().map(|will| Box::new(LinkWill::new(will))),
            control: ThinVec::new(),
            admission: Admission::Granted,
            end: None,
            uncommitted: 0,
            is_held_back: false,
            waker,
            awake: false,
            // One and a half times (section 3.1.2.10); 0 turns it off.
            keep_alive: (keep_alive > 0).then(|| Duration::from_millis(keep_alive * 1500)),
            last_packet: now,
            since: now,
            aliases: None,
            most_taken: limits.topic_aliases.into(),
            most_given: most_aliases.unwrap_or_default().min(limits.topic_aliases),
            acks: VecDeque::new(),
            unacknowledged: 0,
            receive_maximum: limits.receive_maximum.into(),
        }
    }

    /// The connection handles packets, or asks for some: it needs no waking until it is done.
    pub(crate) fn set_awake(&mut self, awake: bool) {
        self.awake = awake;
    }

    /// The waker of the connection, unless it was woken already.
    pub(crate) fn wake(&mut self) -> Option<Waker> {
        let asleep = !std::mem::replace(&mut self.awake, true);
        asleep.then(|| self.waker.clone())
    }

    /// Its waker in any case: the end of a connection has to reach even one that was woken, and
    /// has not asked for more because its client reads too slowly.
    pub(crate) fn call(&mut self) -> Waker {
        self.awake = true;
        self.waker.clone()
    }

    /// Queues an answer. One that is larger than the client takes must not be sent, and the client
    /// would wait for it in vain, so the connection ends (MQTT-3.1.2-24).
    pub(crate) fn answer(&mut self, packet: Packet) {
        if self.takes(&packet) {
            self.control.push(packet);
        } else {
            self.end = Some(ReasonCode::PACKET_TOO_LARGE);
        }
    }

    /// Adds a reason for people, where the client wants it and has room for it.
    pub(crate) fn explain(&self, answer: SubAck, reason: &str) -> SubAck {
        let Ok(reason) = reason.parse::<Text>() else { return answer };
        let properties = answer.properties.clone().with(Property::ReasonString(reason));
        let explained = SubAck { properties, ..answer.clone() };
        let fits = self.takes(&Packet::SubAck(explained.clone()));
        if self.wants_reasons && fits { explained } else { answer }
    }

    fn takes(&self, packet: &Packet) -> bool {
        let Some(limit) = self.max_packet_bytes else { return true };
        match packet {
            Packet::PubAck(ack)
            | Packet::PubRec(ack)
            | Packet::PubRel(ack)
            | Packet::PubComp(ack)
                // Five bytes at most, and the shortest CONNACK has had as many.
                if ack.properties.is_empty() =>
            {
                true
            }
            packet => packet.encoded_len(self.version) <= limit,
        }
    }

    pub(crate) fn heard(&mut self, now: Instant) {
        self.last_packet = now;
    }

    pub(crate) fn last_heard(&self) -> Instant {
        self.last_packet
    }

    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// What the client asked for.
    pub(crate) fn keep_alive(&self) -> Option<Duration> {
        // Kept with its grace.
        Some(self.keep_alive? * 2 / 3)
    }

    /// When the client counts as lost, if it keeps silent.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.last_packet.checked_add(self.keep_alive?)
    }

    /// The topic of a PUBLISH, from its topic alias if it has one (section 3.3.4).
    pub(crate) fn resolve(
        &mut self,
        topic: Option<TopicName>,
        alias: Option<u16>,
    ) -> Result<TopicName, Closing> {
        let invalid = Closing::Violation(ReasonCode::TOPIC_ALIAS_INVALID);
        let Some(alias) = alias else {
            return topic.ok_or(Closing::Violation(ReasonCode::PROTOCOL_ERROR));
        };
        let place = usize::from(alias) - 1;
        if place >= self.most_taken {
            return Err(invalid);
        }
        let taken = &mut self.aliases.get_or_insert_default().taken;
        if place >= taken.len() {
            taken.resize(place + 1, None);
        }
        let known = &mut taken[place];
        match topic {
            Some(topic) => {
                *known = Some(topic.detached());
                Ok(topic)
            }
            None => known.clone().ok_or(Closing::Violation(ReasonCode::PROTOCOL_ERROR)),
        }
    }

    /// The alias under which the client gets a topic, if it takes one for it.
    pub(crate) fn alias_of(&self, topic: &TopicName) -> Option<GivenAlias> {
        /// An alias takes three bytes, and is given with the topic once.
        const SHORTEST_TOPIC: usize = 8;
        if self.most_given == 0 || topic.as_str().len() < SHORTEST_TOPIC {
            return None;
        }
        let given = self.aliases.as_ref().map(|aliases| &aliases.given);
        if let Some(alias) = given.and_then(|given| given.get(topic)) {
            return Some(GivenAlias { alias: *alias, is_known: true });
        }
        let next = u16::try_from(given.map_or(0, HashMap::len) + 1).ok();
        let alias = next.filter(|next| *next <= self.most_given).and_then(TopicAlias::new)?;
        Some(GivenAlias { alias, is_known: false })
    }

    /// A message with this alias goes out.
    pub(crate) fn give_alias(&mut self, topic: &TopicName, given: Option<GivenAlias>) {
        if let Some(GivenAlias { alias, is_known: false }) = given {
            let aliases = self.aliases.get_or_insert_default();
            aliases.given.insert(topic.detached(), alias);
        }
    }

    /// Reserves the place of an acknowledgement.
    pub(crate) fn hold(&mut self, delivery: Delivery) -> Result<Receipt, Closing> {
        if self.version == Version::V5 && self.unacknowledged >= self.receive_maximum {
            return Err(Closing::Violation(ReasonCode::RECEIVE_MAXIMUM_EXCEEDED));
        }
        self.unacknowledged += 1;
        self.acks.push_back((delivery, None));
        Ok(Receipt { link: self.id, delivery })
    }

    pub(crate) fn is_holding(&self, delivery: Delivery) -> bool {
        self.acks.iter().any(|(held, code)| *held == delivery && code.is_none())
    }

    /// An acknowledgement may go out, once those before it may.
    pub(crate) fn settle(&mut self, delivery: Delivery, code: ReasonCode) {
        let mut waiting = self.acks.iter_mut();
        if let Some(ack) = waiting.find(|(held, done)| *held == delivery && done.is_none()) {
            ack.1 = Some(code);
        }
        while let Some((delivery, Some(code))) = self.acks.front().copied() {
            self.acks.pop_front();
            self.acknowledge(delivery, code);
        }
    }

    fn acknowledge(&mut self, delivery: Delivery, code: ReasonCode) {
        let Some(id) = delivery.id() else { return };
        let ack = Ack::new(id, code);
        let ends = delivery.qos() == QoS::AtLeastOnce || code.is_error();
        if ends {
            self.unacknowledged = self.unacknowledged.saturating_sub(1);
        }
        self.answer(match delivery.qos() {
            QoS::ExactlyOnce => Packet::PubRec(ack),
            _ => Packet::PubAck(ack),
        });
    }

    /// PUBREL came: the end of a QoS 2 message.
    pub(crate) fn complete(&mut self, id: PacketId, code: ReasonCode) {
        self.unacknowledged = self.unacknowledged.saturating_sub(1);
        self.answer(Packet::PubComp(Ack::new(id, code)));
    }
}
