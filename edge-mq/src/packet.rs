//! The packets of MQTT 3.1.1 and 5.0, as values; [`Decoder`] and [`Packet::encode`] turn them
//! from and into bytes.
//!
//! One set of types serves both versions: what only MQTT 5.0 has (properties, most reason codes)
//! is left out when a packet is encoded for MQTT 3.1.1. The codec is strict: what the
//! specification calls malformed is an error with the reason code that it names, never a guess
//! and never a panic.

mod decode;
mod encode;
mod error;
mod property;
mod reader;
mod reason;
mod text;

use std::num::NonZeroU16;

use bytes::Bytes;

pub use decode::Decoder;
pub(crate) use encode::PublishHead;
pub use error::DecodeError;
pub use property::{PacketSize, Properties, Property, SubscriptionId, TopicAlias};
pub use reason::ReasonCode;
pub use text::{InvalidText, Text};

use crate::{TopicFilter, TopicName};

/// The version of the protocol that a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// MQTT 3.1.1, protocol level 4.
    V311,
    /// MQTT 5.0, protocol level 5.
    V5,
}

/// How surely a message is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum QoS {
    /// QoS 0: once or not at all.
    #[default]
    AtMostOnce,
    /// QoS 1: once, and again when an acknowledgement is lost.
    AtLeastOnce,
    /// QoS 2: once.
    ExactlyOnce,
}

impl QoS {
    /// The number that MQTT gives it.
    pub fn get(self) -> u8 {
        match self {
            QoS::AtMostOnce => 0,
            QoS::AtLeastOnce => 1,
            QoS::ExactlyOnce => 2,
        }
    }

    pub(crate) fn from_number(number: u8) -> Option<QoS> {
        [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce].get(usize::from(number)).copied()
    }
}

/// Names a packet that waits for its acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(NonZeroU16);

impl PacketId {
    /// `None` for 0, which MQTT does not use.
    pub fn new(id: u16) -> Option<PacketId> {
        NonZeroU16::new(id).map(PacketId)
    }

    /// The number.
    pub fn get(self) -> u16 {
        self.0.get()
    }
}

/// One packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// The first packet of a client.
    Connect(Box<Connect>),
    /// The answer to CONNECT.
    ConnAck(ConnAck),
    /// A message.
    Publish(Publish),
    /// Acknowledges a QoS 1 message.
    PubAck(Ack),
    /// First answer to a QoS 2 message: it has been received.
    PubRec(Ack),
    /// Second step of QoS 2: the packet identifier may be released.
    PubRel(Ack),
    /// End of QoS 2.
    PubComp(Ack),
    /// Asks for messages.
    Subscribe(Subscribe),
    /// The answer to SUBSCRIBE.
    SubAck(SubAck),
    /// Ends subscriptions.
    Unsubscribe(Unsubscribe),
    /// The answer to UNSUBSCRIBE.
    UnsubAck(SubAck),
    /// Shows that the client lives.
    PingReq,
    /// The answer to PINGREQ.
    PingResp,
    /// The last packet of a connection.
    Disconnect(Disconnect),
    /// Part of an enhanced authentication (MQTT 5.0).
    Auth(Disconnect),
}

/// CONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// The version that the connection speaks from here on.
    pub version: Version,
    /// Empty: the server chooses.
    pub client_id: Text,
    /// "Clean session" in MQTT 3.1.1.
    pub clean_start: bool,
    /// In seconds; 0 for none.
    pub keep_alive: u16,
    /// What to publish when the client is lost.
    pub will: Option<Will>,
    /// Who connects.
    pub username: Option<Text>,
    /// How that is proved.
    pub password: Option<Bytes>,
    /// MQTT 5.0 only.
    pub properties: Properties,
}

impl Connect {
    /// The largest packet that the client takes (section 3.1.2.11.4).
    pub(crate) fn most_bytes(&self) -> Option<usize> {
        self.properties.find(|property| match property {
            Property::MaximumPacketSize(size) => usize::try_from(size.get()).ok(),
            _ => None,
        })
    }
}

/// The message that the server publishes when it loses the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// Where to.
    pub topic: TopicName,
    /// What.
    pub payload: Bytes,
    /// How surely.
    pub qos: QoS,
    /// Whether it is kept for later subscribers.
    pub retain: bool,
    /// MQTT 5.0 only.
    pub properties: Properties,
}

/// CONNACK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnAck {
    /// Whether the server has a session of this client.
    pub session_present: bool,
    /// Accepted, or why not. MQTT 3.1.1 has five failures; others become "server unavailable".
    pub code: ReasonCode,
    /// MQTT 5.0 only.
    pub properties: Properties,
}

/// PUBLISH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Whether it may have been sent before.
    pub dup: bool,
    /// Whether it is, or shall be, a retained message.
    pub retain: bool,
    /// QoS and packet identifier.
    pub delivery: Delivery,
    /// `None` when a topic alias stands for it.
    pub topic: Option<TopicName>,
    /// MQTT 5.0 only.
    pub properties: Properties,
    /// The application's bytes.
    pub payload: Bytes,
}

/// QoS of a PUBLISH, with the packet identifier where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// QoS 0.
    AtMostOnce,
    /// QoS 1.
    AtLeastOnce(PacketId),
    /// QoS 2.
    ExactlyOnce(PacketId),
}

impl Delivery {
    /// The QoS alone.
    pub fn qos(self) -> QoS {
        match self {
            Delivery::AtMostOnce => QoS::AtMostOnce,
            Delivery::AtLeastOnce(_) => QoS::AtLeastOnce,
            Delivery::ExactlyOnce(_) => QoS::ExactlyOnce,
        }
    }

    /// The packet identifier, unless it is QoS 0.
    pub fn id(self) -> Option<PacketId> {
        match self {
            Delivery::AtMostOnce => None,
            Delivery::AtLeastOnce(id) | Delivery::ExactlyOnce(id) => Some(id),
        }
    }
}

/// PUBACK, PUBREC, PUBREL and PUBCOMP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// Of the PUBLISH.
    pub id: PacketId,
    /// MQTT 5.0 only; success in MQTT 3.1.1.
    pub code: ReasonCode,
    /// MQTT 5.0 only.
    pub properties: Properties,
}

impl Ack {
    /// Without properties.
    pub fn new(id: PacketId, code: ReasonCode) -> Ack {
        Ack { id, code, properties: Properties::default() }
    }
}

/// SUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// Comes back in the SUBACK.
    pub id: PacketId,
    /// At least one.
    pub filters: Vec<(TopicFilter, SubscribeOptions)>,
    /// MQTT 5.0 only.
    pub properties: Properties,
}

/// How a subscription wants its messages (MQTT 5.0 section 3.8.3.1). MQTT 3.1.1 has the QoS alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SubscribeOptions {
    /// Messages of a higher QoS are sent with this one.
    pub qos: QoS,
    /// Not the client's own messages.
    pub no_local: bool,
    /// Whether the retain flag stays as it was published.
    pub retain_as_published: bool,
    /// Which retained messages are sent at once.
    pub retain_handling: RetainHandling,
}

/// Which retained messages a new subscription gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RetainHandling {
    /// All that match.
    #[default]
    Send,
    /// All that match, unless the subscription existed.
    SendIfNew,
    /// None.
    Skip,
}

/// SUBACK and UNSUBACK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubAck {
    /// Of the SUBSCRIBE or UNSUBSCRIBE.
    pub id: PacketId,
    /// One for each filter, in order. An UNSUBACK of MQTT 3.1.1 has none.
    pub codes: Vec<ReasonCode>,
    /// MQTT 5.0 only.
    pub properties: Properties,
}

/// UNSUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsubscribe {
    /// Comes back in the UNSUBACK.
    pub id: PacketId,
    /// At least one.
    pub filters: Vec<TopicFilter>,
    /// MQTT 5.0 only.
    pub properties: Properties,
}

/// DISCONNECT and AUTH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disconnect {
    /// MQTT 5.0 only; success in MQTT 3.1.1.
    pub code: ReasonCode,
    /// MQTT 5.0 only.
    pub properties: Properties,
}

impl Disconnect {
    /// Without properties.
    pub fn new(code: ReasonCode) -> Disconnect {
        Disconnect { code, properties: Properties::default() }
    }
}

#[cfg(test)]
mod tests;
