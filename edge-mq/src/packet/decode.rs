//! From bytes to packets.

use bytes::{Buf, Bytes, BytesMut};

use super::property::Place;
use super::reader::{Reader, varint};
use super::{
    Ack, ConnAck, Connect, DecodeError, Delivery, Disconnect, Packet, PacketId, Properties,
    Property, Publish, QoS, ReasonCode, RetainHandling, SubAck, Subscribe, SubscribeOptions,
    Unsubscribe, Version, Will,
};
use crate::{TopicFilter, TopicName};

/// Takes packets out of a buffer as they become complete.
///
/// Strings and payloads share the buffer's bytes. After an error the connection is to be closed:
/// there is no way to find the next packet.
///
/// ```
/// use bytes::BytesMut;
/// use edge_mq::packet::{Decoder, Packet, Version};
///
/// let mut decoder = Decoder::new(Version::V311, 1024);
/// let mut buffer = BytesMut::from(&[0xC0, 0x00, 0xC0][..]);
/// assert_eq!(decoder.decode(&mut buffer)?, Some(Packet::PingReq));
/// assert_eq!(decoder.decode(&mut buffer)?, None);          // half a packet stays in the buffer
/// # Ok::<(), edge_mq::packet::DecodeError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Decoder {
    version: Option<Version>,
    limit_bytes: usize,
}

impl Decoder {
    /// For a connection whose version is known.
    pub fn new(version: Version, limit_bytes: usize) -> Decoder {
        Decoder { version: Some(version), limit_bytes }
    }

    /// For a server: the first packet has to be a CONNECT, which tells the version.
    pub fn accepting(limit_bytes: usize) -> Decoder {
        Decoder { version: None, limit_bytes }
    }

    /// The version, once it is known: after a CONNECT, even one that was refused behind it.
    pub fn version(&self) -> Option<Version> {
        self.version
    }

    /// The next packet; `None` while it is incomplete.
    ///
    /// # Errors
    /// When the bytes are no packet, as soon as that can be told.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Packet>, DecodeError> {
        let Some(&first) = buffer.first() else { return Ok(None) };
        if self.version.is_none() && first != 0x10 {
            return Err(DecodeError::Protocol("first packet is not CONNECT"));
        }
        let Some((len, width)) = varint(&buffer[1..])? else { return Ok(None) };
        let (head, len) = (1 + width, len as usize);
        if head + len > self.limit_bytes {
            let (bytes, limit_bytes) = (head + len, self.limit_bytes);
            return Err(DecodeError::TooLarge { bytes, limit_bytes });
        }
        if buffer.len() < head + len {
            return Ok(None);
        }
        buffer.advance(head);
        let body = buffer.split_to(len).freeze();
        self.packet(first, body).map(Some)
    }

    fn packet(&mut self, first: u8, body: Bytes) -> Result<Packet, DecodeError> {
        let mut body = Reader::new(body);
        let Some(version) = self.version else {
            let connect = connect(&mut body, &mut self.version)?;
            return Ok(Packet::Connect(Box::new(connect)));
        };
        let flags = first & 0x0F;
        if first >> 4 == 3 {
            return publish(flags, body, version).map(Packet::Publish);
        }
        // PUBREL, SUBSCRIBE and UNSUBSCRIBE carry 2, all others 0 (table 2-2).
        if flags != if matches!(first >> 4, 6 | 8 | 10) { 2 } else { 0 } {
            return Err(DecodeError::Malformed("reserved flags of the fixed header"));
        }
        let packet = match first >> 4 {
            1 => Packet::Connect(Box::new(connect(&mut body, &mut None)?)),
            2 => Packet::ConnAck(conn_ack(&mut body, version)?),
            4 => Packet::PubAck(ack(&mut body, version, PUBACK_CODES)?),
            5 => Packet::PubRec(ack(&mut body, version, PUBACK_CODES)?),
            6 => Packet::PubRel(ack(&mut body, version, PUBREL_CODES)?),
            7 => Packet::PubComp(ack(&mut body, version, PUBREL_CODES)?),
            8 => Packet::Subscribe(subscribe(&mut body, version)?),
            9 => Packet::SubAck(sub_ack(&mut body, version)?),
            10 => Packet::Unsubscribe(unsubscribe(&mut body, version)?),
            11 => Packet::UnsubAck(unsub_ack(&mut body, version)?),
            12 => Packet::PingReq,
            13 => Packet::PingResp,
            14 => Packet::Disconnect(disconnect(&mut body, version, Place::Disconnect)?),
            15 if version == Version::V5 => {
                Packet::Auth(disconnect(&mut body, version, Place::Auth)?)
            }
            _ => return Err(DecodeError::Malformed("unknown packet type")),
        };
        body.end()?;
        Ok(packet)
    }
}

/// What CONNACK may say (section 3.2.2.2).
const CONNACK_CODES: &[u8] = &[
    0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97,
    0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F,
];
/// What PUBACK and PUBREC may say (section 3.4.2.1).
const PUBACK_CODES: &[u8] = &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
/// What PUBREL and PUBCOMP may say (section 3.6.2.1).
const PUBREL_CODES: &[u8] = &[0x00, 0x92];
/// What DISCONNECT may say (section 3.14.2.1).
const DISCONNECT_CODES: &[u8] = &[
    0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x95,
    0x96, 0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2,
];
/// What AUTH may say (section 3.15.2.1).
const AUTH_CODES: &[u8] = &[0x00, 0x18, 0x19];

fn properties(
    body: &mut Reader,
    version: Version,
    place: Place,
) -> Result<Properties, DecodeError> {
    match version {
        Version::V311 => Ok(Properties::new()),
        Version::V5 => Properties::decode(body, place),
    }
}

fn code(body: &mut Reader, allowed: &[u8]) -> Result<ReasonCode, DecodeError> {
    let code = body.u8()?;
    ReasonCode::from_code(code)
        .filter(|_| allowed.contains(&code))
        .ok_or(DecodeError::Malformed("reason code is not one of this packet"))
}

/// `told` gets the version as soon as it is read, so that a bad CONNECT can be answered.
fn connect(body: &mut Reader, told: &mut Option<Version>) -> Result<Connect, DecodeError> {
    if &body.binary()?[..] != b"MQTT" {
        return Err(DecodeError::Malformed("protocol name is not MQTT"));
    }
    let version = match body.u8()? {
        4 => Version::V311,
        5 => Version::V5,
        level => return Err(DecodeError::UnsupportedVersion(level)),
    };
    *told = Some(version);
    let flags = body.u8()?;
    if flags & 0x01 != 0 {
        return Err(DecodeError::Malformed("reserved connect flag is set"));
    }
    let keep_alive = body.u16()?;
    let properties = properties(body, version, Place::Connect)?;
    if properties.find(|p| matches!(p, Property::AuthenticationData(_)).then_some(())).is_some()
        && properties
            .find(|p| matches!(p, Property::AuthenticationMethod(_)).then_some(()))
            .is_none()
    {
        return Err(DecodeError::Protocol("authentication data without a method"));
    }
    let client_id = body.text()?;
    let will = will(body, flags, version)?;
    let (has_username, has_password) = (flags & 0x80 != 0, flags & 0x40 != 0);
    if has_password && !has_username && version == Version::V311 {
        return Err(DecodeError::Malformed("password without a user name"));
    }
    let username = if has_username { Some(body.text()?) } else { None };
    let password = if has_password { Some(body.binary()?) } else { None };
    body.end()?;
    let clean_start = flags & 0x02 != 0;
    Ok(Connect {
        version,
        client_id,
        clean_start,
        keep_alive,
        will,
        username,
        password,
        properties,
    })
}

fn will(body: &mut Reader, flags: u8, version: Version) -> Result<Option<Will>, DecodeError> {
    if flags & 0x04 == 0 {
        return match flags & 0x38 {
            0 => Ok(None),
            _ => Err(DecodeError::Malformed("QoS or retain flag of a will that is not there")),
        };
    }
    let qos = QoS::from_number(flags >> 3 & 3).ok_or(DecodeError::Malformed("will has QoS 3"))?;
    let properties = properties(body, version, Place::Will)?;
    check_response_topic(&properties)?;
    let topic = TopicName::from_text(body.text()?)?;
    let payload = body.binary()?;
    check_payload(&properties, &payload)?;
    Ok(Some(Will { topic, payload, qos, retain: flags & 0x20 != 0, properties }))
}

fn conn_ack(body: &mut Reader, version: Version) -> Result<ConnAck, DecodeError> {
    let session_present = match body.u8()? {
        0 => false,
        1 => true,
        _ => return Err(DecodeError::Malformed("reserved CONNACK flags are set")),
    };
    let code = body.u8()?;
    let code = match version {
        Version::V311 => ReasonCode::from_connect_return_code(code),
        Version::V5 => ReasonCode::from_code(code).filter(|_| CONNACK_CODES.contains(&code)),
    };
    let code = code.ok_or(DecodeError::Malformed("reason code is not one of CONNACK"))?;
    Ok(ConnAck { session_present, code, properties: properties(body, version, Place::ConnAck)? })
}

fn publish(flags: u8, mut body: Reader, version: Version) -> Result<Publish, DecodeError> {
    let (dup, retain) = (flags & 0x08 != 0, flags & 0x01 != 0);
    let topic = body.text()?;
    let delivery = match flags >> 1 & 3 {
        0 if dup => return Err(DecodeError::Malformed("QoS 0 message is marked as sent again")),
        0 => Delivery::AtMostOnce,
        1 => Delivery::AtLeastOnce(body.packet_id()?),
        2 => Delivery::ExactlyOnce(body.packet_id()?),
        _ => return Err(DecodeError::Malformed("message has QoS 3")),
    };
    let properties = properties(&mut body, version, Place::Publish)?;
    let aliased = properties.find(|p| matches!(p, Property::TopicAlias(_)).then_some(())).is_some();
    let topic = match topic.as_str().is_empty() {
        true if aliased => None,
        true if version == Version::V5 => {
            return Err(DecodeError::Protocol("message has neither topic nor topic alias"));
        }
        _ => Some(TopicName::from_text(topic)?),
    };
    check_response_topic(&properties)?;
    let payload = body.rest();
    check_payload(&properties, &payload)?;
    Ok(Publish { dup, retain, delivery, topic, properties, payload })
}

impl Publish {
    /// The PUBLISH of MQTT 5.0 that these bytes are, as a store keeps it.
    pub(crate) fn from_bytes(bytes: Bytes) -> Result<Publish, DecodeError> {
        let mut reader = Reader::new(bytes);
        let first = reader.u8()?;
        let len = reader.varint()?;
        let body = reader.take(usize::try_from(len).unwrap_or(usize::MAX))?;
        match first >> 4 == 3 && reader.is_empty() {
            true => publish(first & 0x0F, Reader::new(body), Version::V5),
            false => Err(DecodeError::Malformed("it is not one PUBLISH")),
        }
    }
}

impl SubscribeOptions {
    /// As in a SUBSCRIBE of MQTT 5.0.
    pub(crate) fn from_byte(byte: u8) -> Result<SubscribeOptions, DecodeError> {
        subscribe_options(byte, Version::V5)
    }
}

/// Section 3.3.2.3.5: a response topic has no wildcards.
fn check_response_topic(properties: &Properties) -> Result<(), DecodeError> {
    let topic = properties.find(|property| match property {
        Property::ResponseTopic(topic) => Some(topic.clone()),
        _ => None,
    });
    topic.map_or(Ok(()), |topic| TopicName::from_text(topic).map(|_| ()).map_err(Into::into))
}

/// Section 3.3.2.3.2: a payload that says it is text has to be text.
fn check_payload(properties: &Properties, payload: &[u8]) -> Result<(), DecodeError> {
    let claims_text =
        properties.find(|p| matches!(p, Property::PayloadIsUtf8(true)).then_some(())).is_some();
    if claims_text && std::str::from_utf8(payload).is_err() {
        return Err(DecodeError::PayloadFormat);
    }
    Ok(())
}

fn ack(body: &mut Reader, version: Version, allowed: &[u8]) -> Result<Ack, DecodeError> {
    let id = body.packet_id()?;
    let mut ack = Ack::new(id, ReasonCode::SUCCESS);
    if version == Version::V5 && !body.is_empty() {
        ack.code = code(body, allowed)?;
        if !body.is_empty() {
            ack.properties = Properties::decode(body, Place::Ack)?;
        }
    }
    Ok(ack)
}

/// The filters of a SUBSCRIBE or UNSUBSCRIBE: at least one.
fn filters<T>(
    body: &mut Reader,
    item: impl Fn(&mut Reader) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let mut filters = Vec::new();
    while !body.is_empty() {
        filters.push(item(body)?);
    }
    if filters.is_empty() { Err(DecodeError::Protocol("no topic filter")) } else { Ok(filters) }
}

fn subscribe(body: &mut Reader, version: Version) -> Result<Subscribe, DecodeError> {
    let id = body.packet_id()?;
    let properties = properties(body, version, Place::Subscribe)?;
    let filters = filters(body, |body| {
        let filter = TopicFilter::from_text(body.text()?)?;
        Ok((filter, subscribe_options(body.u8()?, version)?))
    })?;
    Ok(Subscribe { id, filters, properties })
}

fn subscribe_options(byte: u8, version: Version) -> Result<SubscribeOptions, DecodeError> {
    let reserved = if version == Version::V5 { 0xC0 } else { 0xFC };
    if byte & reserved != 0 {
        return Err(DecodeError::Malformed("reserved bits of subscription options"));
    }
    let qos = QoS::from_number(byte & 3).ok_or(DecodeError::Protocol("subscription has QoS 3"))?;
    let retain_handling = match byte >> 4 & 3 {
        0 => RetainHandling::Send,
        1 => RetainHandling::SendIfNew,
        2 => RetainHandling::Skip,
        _ => return Err(DecodeError::Protocol("retain handling is 3")),
    };
    let (no_local, retain_as_published) = (byte & 4 != 0, byte & 8 != 0);
    Ok(SubscribeOptions { qos, no_local, retain_as_published, retain_handling })
}

fn sub_ack(body: &mut Reader, version: Version) -> Result<SubAck, DecodeError> {
    let id = body.packet_id()?;
    let properties = properties(body, version, Place::SubAck)?;
    let allowed: &[u8] = match version {
        Version::V311 => &[0x00, 0x01, 0x02, 0x80],
        Version::V5 => &[0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2],
    };
    let codes = filters(body, |body| code(body, allowed))?;
    Ok(SubAck { id, codes, properties })
}

fn unsubscribe(body: &mut Reader, version: Version) -> Result<Unsubscribe, DecodeError> {
    let id = body.packet_id()?;
    let properties = properties(body, version, Place::Unsubscribe)?;
    let filters = filters(body, |body| Ok(TopicFilter::from_text(body.text()?)?))?;
    Ok(Unsubscribe { id, filters, properties })
}

fn unsub_ack(body: &mut Reader, version: Version) -> Result<SubAck, DecodeError> {
    let id: PacketId = body.packet_id()?;
    let properties = properties(body, version, Place::SubAck)?;
    let codes = match version {
        Version::V311 => Vec::new(),
        Version::V5 => {
            filters(body, |body| code(body, &[0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91]))?
        }
    };
    Ok(SubAck { id, codes, properties })
}

fn disconnect(
    body: &mut Reader,
    version: Version,
    place: Place,
) -> Result<Disconnect, DecodeError> {
    let mut disconnect = Disconnect::new(ReasonCode::SUCCESS);
    if version == Version::V5 && !body.is_empty() {
        let allowed = if matches!(place, Place::Auth) { AUTH_CODES } else { DISCONNECT_CODES };
        disconnect.code = code(body, allowed)?;
        if !body.is_empty() {
            disconnect.properties = Properties::decode(body, place)?;
        }
    }
    Ok(disconnect)
}
