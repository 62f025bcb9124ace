//! Properties of MQTT 5.0 (section 2.2.2): which there are, where they may stand, how often.

use std::num::{NonZeroU16, NonZeroU32};

use bytes::{BufMut, Bytes, BytesMut};
use thin_vec::ThinVec;

use super::encode::{put_binary, put_varint, varint_len};
use super::reader::Reader;
use super::{DecodeError, QoS, Text};

/// The properties of one packet, in the order in which they came.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Properties(ThinVec<Property>);

/// Where properties stand. Each is one bit of a property's row in the table below.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Connect = 1,
    ConnAck = 1 << 1,
    Publish = 1 << 2,
    Will = 1 << 3,
    Ack = 1 << 4,
    Subscribe = 1 << 5,
    SubAck = 1 << 6,
    Unsubscribe = 1 << 7,
    Disconnect = 1 << 8,
    Auth = 1 << 9,
}

macro_rules! properties {
    ($($(#[$doc:meta])* $name:ident($($kind:ident),+) = $id:literal in $($place:ident)|+;)*) => {
        /// One property.
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Property {
            $($(#[$doc])* $name($($kind),+),)*
        }

        impl Property {
            fn id(&self) -> u8 {
                match self {
                    $(Property::$name(..) => $id,)*
                }
            }

            fn decode(id: u32, place: Place, reader: &mut Reader) -> Result<Property, DecodeError> {
                let places = match id {
                    $($id => $(Place::$place as u16)|+,)*
                    _ => return Err(DecodeError::Malformed("unknown property")),
                };
                // Before its value is read, whose errors may be none of this packet's.
                if places & place as u16 == 0 {
                    return Err(DecodeError::Malformed("property is not one of this packet"));
                }
                match id {
                    $($id => Ok(Property::$name($(<$kind as Value>::read(reader)?),+)),)*
                    _ => unreachable!("unknown ones have been refused"),
                }
            }
        }
    };
}

properties! {
    /// Whether the payload is UTF-8 text.
    PayloadIsUtf8(bool) = 0x01 in Publish | Will;
    /// Seconds for which the message is worth delivering.
    MessageExpiry(u32) = 0x02 in Publish | Will;
    /// What the payload is.
    ContentType(Text) = 0x03 in Publish | Will;
    /// Where an answer should go.
    ResponseTopic(Text) = 0x08 in Publish | Will;
    /// What an answer should carry along.
    CorrelationData(Bytes) = 0x09 in Publish | Will;
    /// Which subscription matched.
    SubscriptionId(SubscriptionId) = 0x0B in Publish | Subscribe;
    /// Seconds for which the session outlives its connection; `u32::MAX` for ever.
    SessionExpiry(u32) = 0x11 in Connect | ConnAck | Disconnect;
    /// The client identifier that the server chose.
    AssignedClientId(Text) = 0x12 in ConnAck;
    /// Keep alive that the server wants, in seconds.
    ServerKeepAlive(u16) = 0x13 in ConnAck;
    /// How the client authenticates.
    AuthenticationMethod(Text) = 0x15 in Connect | ConnAck | Auth;
    /// Data of the authentication method.
    AuthenticationData(Bytes) = 0x16 in Connect | ConnAck | Auth;
    /// Whether the client wants reason strings.
    RequestProblemInformation(bool) = 0x17 in Connect;
    /// Seconds between the loss of the client and its will.
    WillDelay(u32) = 0x18 in Will;
    /// Whether the client wants response information.
    RequestResponseInformation(bool) = 0x19 in Connect;
    /// What response topics may be made of.
    ResponseInformation(Text) = 0x1A in ConnAck;
    /// Another server to use.
    ServerReference(Text) = 0x1C in ConnAck | Disconnect;
    /// The reason, for people.
    ReasonString(Text) = 0x1F in ConnAck | Ack | SubAck | Disconnect | Auth;
    /// How many QoS 1 and 2 messages the sender takes at once.
    ReceiveMaximum(NonZeroU16) = 0x21 in Connect | ConnAck;
    /// How many topic aliases the sender takes.
    TopicAliasMaximum(u16) = 0x22 in Connect | ConnAck;
    /// Stands for the topic.
    TopicAlias(TopicAlias) = 0x23 in Publish;
    /// The highest QoS that the server takes, if that is not 2.
    MaximumQoS(QoS) = 0x24 in ConnAck;
    /// Whether the server keeps retained messages.
    RetainAvailable(bool) = 0x25 in ConnAck;
    /// A name and a value of the application. May stand anywhere, more than once.
    User(Text, Text) = 0x26 in Connect | ConnAck | Publish | Will | Ack | Subscribe | SubAck
        | Unsubscribe | Disconnect | Auth;
    /// The largest packet that the sender takes.
    MaximumPacketSize(PacketSize) = 0x27 in Connect | ConnAck;
    /// Whether filters may have wildcards.
    WildcardSubscriptions(bool) = 0x28 in ConnAck;
    /// Whether the server takes subscription identifiers.
    SubscriptionIds(bool) = 0x29 in ConnAck;
    /// Whether the server has shared subscriptions.
    SharedSubscriptions(bool) = 0x2A in ConnAck;
}

/// A subscription identifier: 1 to 268,435,455.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(u32);

impl SubscriptionId {
    /// `None` if the number is out of range.
    pub fn new(id: u32) -> Option<SubscriptionId> {
        (1..=268_435_455).contains(&id).then_some(SubscriptionId(id))
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }
}

/// A topic alias; not 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicAlias(NonZeroU16);

impl TopicAlias {
    /// `None` for 0.
    pub fn new(alias: u16) -> Option<TopicAlias> {
        NonZeroU16::new(alias).map(TopicAlias)
    }

    /// The number.
    pub fn get(self) -> u16 {
        self.0.get()
    }
}

/// A maximum packet size in bytes; not 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketSize(NonZeroU32);

impl PacketSize {
    /// `None` for 0.
    pub fn new(bytes: u32) -> Option<PacketSize> {
        NonZeroU32::new(bytes).map(PacketSize)
    }

    /// The size in bytes.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl Properties {
    /// No properties.
    pub const fn new() -> Properties {
        Properties(ThinVec::new())
    }

    /// Adds a property behind the others. What may stand where, and how often, is checked by the
    /// receiver.
    #[must_use]
    pub fn with(mut self, property: Property) -> Properties {
        self.0.push(property);
        self
    }

    /// The properties in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Property> {
        self.0.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn retain(&mut self, keep: impl FnMut(&Property) -> bool) {
        self.0.retain(keep);
    }

    /// The first value that `pick` finds.
    pub(crate) fn find<'a, T>(&'a self, pick: impl FnMut(&'a Property) -> Option<T>) -> Option<T> {
        self.0.iter().find_map(pick)
    }

    /// Bytes of the properties themselves, without the length in front of them.
    pub(super) fn encoded_len(&self) -> usize {
        self.0.iter().map(Property::encoded_len).sum()
    }

    pub(super) fn encode(&self, out: &mut BytesMut) {
        put_varint(out, self.encoded_len());
        self.iter().for_each(|property| property.encode(out));
    }

    pub(super) fn decode(reader: &mut Reader, place: Place) -> Result<Properties, DecodeError> {
        let len = reader.varint()? as usize;
        let mut reader = Reader::new(reader.take(len)?);
        let mut properties = ThinVec::new();
        let mut seen = 0u64;
        while !reader.is_empty() {
            let property = Property::decode(reader.varint()?, place, &mut reader)?;
            let bit = 1u64 << property.id();
            if seen & bit != 0 && !property.may_repeat(place) {
                return Err(DecodeError::Protocol("property stands twice"));
            }
            seen |= bit;
            properties.push(property);
        }
        Ok(Properties(properties))
    }
}

impl<'a> IntoIterator for &'a Properties {
    type Item = &'a Property;
    type IntoIter = std::slice::Iter<'a, Property>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromIterator<Property> for Properties {
    fn from_iter<I: IntoIterator<Item = Property>>(properties: I) -> Properties {
        Properties(properties.into_iter().collect())
    }
}

impl Property {
    fn may_repeat(&self, place: Place) -> bool {
        match self {
            Property::User(..) => true,
            Property::SubscriptionId(_) => matches!(place, Place::Publish),
            _ => false,
        }
    }

    /// The same property in memory of its own, of those that travel with messages.
    pub(crate) fn detached(&self) -> Property {
        use Property as P;
        match self {
            P::ContentType(text) => P::ContentType(text.detached()),
            P::ResponseTopic(topic) => P::ResponseTopic(topic.detached()),
            P::CorrelationData(data) => P::CorrelationData(Bytes::copy_from_slice(data)),
            P::User(name, value) => P::User(name.detached(), value.detached()),
            other => other.clone(),
        }
    }

    pub(crate) fn encoded_len(&self) -> usize {
        use Property as P;
        1 + match self {
            P::PayloadIsUtf8(_)
            | P::RequestProblemInformation(_)
            | P::RequestResponseInformation(_)
            | P::MaximumQoS(_)
            | P::RetainAvailable(_)
            | P::WildcardSubscriptions(_)
            | P::SubscriptionIds(_)
            | P::SharedSubscriptions(_) => 1,
            P::ServerKeepAlive(_)
            | P::ReceiveMaximum(_)
            | P::TopicAliasMaximum(_)
            | P::TopicAlias(_) => 2,
            P::MessageExpiry(_)
            | P::SessionExpiry(_)
            | P::WillDelay(_)
            | P::MaximumPacketSize(_) => 4,
            P::SubscriptionId(id) => varint_len(id.get() as usize),
            P::ContentType(text)
            | P::ResponseTopic(text)
            | P::AssignedClientId(text)
            | P::AuthenticationMethod(text)
            | P::ResponseInformation(text)
            | P::ServerReference(text)
            | P::ReasonString(text) => 2 + text.as_str().len(),
            P::CorrelationData(data) | P::AuthenticationData(data) => 2 + data.len(),
            P::User(name, value) => 4 + name.as_str().len() + value.as_str().len(),
        }
    }

    pub(super) fn encode(&self, out: &mut BytesMut) {
        use Property as P;
        out.put_u8(self.id());
        match self {
            P::PayloadIsUtf8(yes)
            | P::RequestProblemInformation(yes)
            | P::RequestResponseInformation(yes)
            | P::RetainAvailable(yes)
            | P::WildcardSubscriptions(yes)
            | P::SubscriptionIds(yes)
            | P::SharedSubscriptions(yes) => out.put_u8(u8::from(*yes)),
            P::MaximumQoS(qos) => out.put_u8(qos.get()),
            P::ReceiveMaximum(value) => out.put_u16(value.get()),
            P::TopicAlias(alias) => out.put_u16(alias.get()),
            P::ServerKeepAlive(value) | P::TopicAliasMaximum(value) => out.put_u16(*value),
            P::MessageExpiry(value) | P::SessionExpiry(value) | P::WillDelay(value) => {
                out.put_u32(*value);
            }
            P::MaximumPacketSize(size) => out.put_u32(size.get()),
            P::SubscriptionId(id) => put_varint(out, id.get() as usize),
            P::ContentType(text)
            | P::ResponseTopic(text)
            | P::AssignedClientId(text)
            | P::AuthenticationMethod(text)
            | P::ResponseInformation(text)
            | P::ServerReference(text)
            | P::ReasonString(text) => put_binary(out, text.as_str().as_bytes()),
            P::CorrelationData(data) | P::AuthenticationData(data) => put_binary(out, data),
            P::User(name, value) => {
                put_binary(out, name.as_str().as_bytes());
                put_binary(out, value.as_str().as_bytes());
            }
        }
    }
}

/// How the value of a property is read; its type says what is allowed.
trait Value: Sized {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError>;
}

macro_rules! value {
    ($kind:ty, $reader:ident => $read:expr) => {
        impl Value for $kind {
            fn read($reader: &mut Reader) -> Result<$kind, DecodeError> {
                $read
            }
        }
    };
}

value!(u16, reader => reader.u16());
value!(u32, reader => reader.u32());
value!(Text, reader => reader.text());
value!(Bytes, reader => reader.binary());
value!(bool, reader => match reader.u8()? {
    0 => Ok(false),
    1 => Ok(true),
    _ => Err(DecodeError::Protocol("property is neither 0 nor 1")),
});
value!(NonZeroU16, reader => {
    NonZeroU16::new(reader.u16()?).ok_or(DecodeError::Protocol("receive maximum is 0"))
});
value!(TopicAlias, reader => TopicAlias::new(reader.u16()?).ok_or(DecodeError::TopicAlias));
value!(PacketSize, reader => {
    PacketSize::new(reader.u32()?).ok_or(DecodeError::Protocol("maximum packet size is 0"))
});
value!(SubscriptionId, reader => {
    SubscriptionId::new(reader.varint()?)
        .ok_or(DecodeError::Protocol("subscription identifier is 0"))
});
value!(QoS, reader => match reader.u8()? {
    0 => Ok(QoS::AtMostOnce),
    1 => Ok(QoS::AtLeastOnce),
    _ => Err(DecodeError::Protocol("maximum QoS is neither 0 nor 1")),
});
