//! From packets to bytes.

use bytes::{BufMut, BytesMut};

use super::{
    Ack, ConnAck, Connect, Delivery, Disconnect, Packet, Properties, Property, Publish, ReasonCode,
    RetainHandling, SubAck, SubscribeOptions, Version, Will,
};

/// The longest remaining length that four bytes can say (section 1.5.5).
pub(super) const MAX_REMAINING_LENGTH: usize = 268_435_455;

impl Packet {
    /// Appends the packet's bytes.
    ///
    /// # Panics
    /// When the packet cannot be said in MQTT: longer than 268,435,455 bytes, or binary data
    /// longer than 65,535 bytes.
    pub fn encode(&self, version: Version, out: &mut BytesMut) {
        match self {
            Packet::Publish(publish) => encode_publish(publish, version, out),
            Packet::PubAck(ack) => encode_ack(0x40, ack, version, out),
            Packet::PubRec(ack) => encode_ack(0x50, ack, version, out),
            Packet::PubRel(ack) => encode_ack(0x62, ack, version, out),
            Packet::PubComp(ack) => encode_ack(0x70, ack, version, out),
            Packet::PingReq => out.put_slice(&[0xC0, 0]),
            Packet::PingResp => out.put_slice(&[0xD0, 0]),
            // The others are rare, so that their length is found by encoding them aside.
            packet => {
                let mut body = BytesMut::new();
                let first = packet.encode_body(version, &mut body);
                out.put_u8(first);
                put_varint(out, body.len());
                out.put_slice(&body);
            }
        }
    }

    /// Bytes of the whole packet. Encodes it aside.
    pub(crate) fn encoded_len(&self, version: Version) -> usize {
        let mut out = BytesMut::new();
        self.encode(version, &mut out);
        out.len()
    }

    fn encode_body(&self, version: Version, out: &mut BytesMut) -> u8 {
        match self {
            Packet::Connect(connect) => encode_connect(connect, out),
            Packet::ConnAck(ack) => encode_conn_ack(ack, version, out),
            Packet::Subscribe(subscribe) => {
                out.put_u16(subscribe.id.get());
                put_properties(&subscribe.properties, version, out);
                for (filter, options) in &subscribe.filters {
                    put_binary(out, filter.as_str().as_bytes());
                    out.put_u8(options_byte(*options, version));
                }
                0x82
            }
            Packet::Unsubscribe(unsubscribe) => {
                out.put_u16(unsubscribe.id.get());
                put_properties(&unsubscribe.properties, version, out);
                for filter in &unsubscribe.filters {
                    put_binary(out, filter.as_str().as_bytes());
                }
                0xA2
            }
            Packet::SubAck(ack) => encode_sub_ack(ack, version, out, 0x90),
            Packet::UnsubAck(ack) => encode_sub_ack(ack, version, out, 0xB0),
            Packet::Disconnect(disconnect) => encode_disconnect(disconnect, version, out, 0xE0),
            Packet::Auth(auth) => encode_disconnect(auth, version, out, 0xF0),
            _ => unreachable!("encoded without a body of its own"),
        }
    }
}

/// A PUBLISH without its payload, so that the payload can be shared between receivers while each
/// gets a head of its own.
pub(crate) struct PublishHead<'a> {
    pub(crate) dup: bool,
    pub(crate) retain: bool,
    pub(crate) delivery: Delivery,
    pub(crate) topic: &'a str,
    /// Those that the publisher sent.
    pub(crate) properties: &'a Properties,
    /// Those that differ from receiver to receiver.
    pub(crate) own_properties: &'a [Property],
}

impl PublishHead<'_> {
    /// Bytes behind the fixed header, payload included.
    fn remaining_len(&self, version: Version, payload_len: usize) -> usize {
        let id = if self.delivery == Delivery::AtMostOnce { 0 } else { 2 };
        let properties = match version {
            Version::V311 => 0,
            Version::V5 => varint_len(self.properties_len()) + self.properties_len(),
        };
        2 + self.topic.len() + id + properties + payload_len
    }

    fn properties_len(&self) -> usize {
        let own = self.own_properties.iter().map(Property::encoded_len);
        self.properties.encoded_len() + own.sum::<usize>()
    }

    /// Bytes of the whole packet.
    pub(crate) fn packet_len(&self, version: Version, payload_len: usize) -> usize {
        let remaining = self.remaining_len(version, payload_len);
        1 + varint_len(remaining) + remaining
    }

    /// Appends everything in front of the payload.
    pub(crate) fn encode(&self, version: Version, payload_len: usize, out: &mut BytesMut) {
        let qos = self.delivery.qos().get();
        out.put_u8(0x30 | u8::from(self.dup) << 3 | qos << 1 | u8::from(self.retain));
        put_varint(out, self.remaining_len(version, payload_len));
        put_binary(out, self.topic.as_bytes());
        if let Some(id) = self.delivery.id() {
            out.put_u16(id.get());
        }
        if version == Version::V5 {
            put_varint(out, self.properties_len());
            self.properties.iter().chain(self.own_properties).for_each(|p| p.encode(out));
        }
    }
}

fn encode_publish(publish: &Publish, version: Version, out: &mut BytesMut) {
    let head = PublishHead {
        dup: publish.dup,
        retain: publish.retain,
        delivery: publish.delivery,
        topic: publish.topic.as_ref().map_or("", |topic| topic.as_str()),
        properties: &publish.properties,
        own_properties: &[],
    };
    head.encode(version, publish.payload.len(), out);
    out.put_slice(&publish.payload);
}

/// Appends a PUBACK, PUBREC, PUBREL or PUBCOMP.
fn encode_ack(first: u8, ack: &Ack, version: Version, out: &mut BytesMut) {
    out.put_u8(first);
    let [high, low] = ack.id.get().to_be_bytes();
    if version == Version::V311 || ack.code == ReasonCode::SUCCESS && ack.properties.is_empty() {
        out.put_slice(&[2, high, low]);
    } else if ack.properties.is_empty() {
        out.put_slice(&[3, high, low, ack.code.get()]);
    } else {
        let properties = ack.properties.encoded_len();
        put_varint(out, 3 + varint_len(properties) + properties);
        out.put_slice(&[high, low, ack.code.get()]);
        ack.properties.encode(out);
    }
}

fn encode_connect(connect: &Connect, out: &mut BytesMut) -> u8 {
    put_binary(out, b"MQTT");
    out.put_u8(if connect.version == Version::V311 { 4 } else { 5 });
    let will = connect.will.as_ref();
    let will_flags = will.map_or(0, |w| 0x04 | w.qos.get() << 3 | u8::from(w.retain) << 5);
    let username = u8::from(connect.username.is_some()) << 7;
    let password = u8::from(connect.password.is_some()) << 6;
    out.put_u8(u8::from(connect.clean_start) << 1 | will_flags | username | password);
    out.put_u16(connect.keep_alive);
    put_properties(&connect.properties, connect.version, out);
    put_binary(out, connect.client_id.as_str().as_bytes());
    if let Some(Will { topic, payload, properties, .. }) = will {
        put_properties(properties, connect.version, out);
        put_binary(out, topic.as_str().as_bytes());
        put_binary(out, payload);
    }
    if let Some(username) = &connect.username {
        put_binary(out, username.as_str().as_bytes());
    }
    if let Some(password) = &connect.password {
        put_binary(out, password);
    }
    0x10
}

fn encode_conn_ack(ack: &ConnAck, version: Version, out: &mut BytesMut) -> u8 {
    out.put_u8(u8::from(ack.session_present));
    out.put_u8(match version {
        Version::V311 => ack.code.connect_return_code(),
        Version::V5 => ack.code.get(),
    });
    put_properties(&ack.properties, version, out);
    0x20
}

fn encode_sub_ack(ack: &SubAck, version: Version, out: &mut BytesMut, first: u8) -> u8 {
    out.put_u16(ack.id.get());
    put_properties(&ack.properties, version, out);
    match version {
        Version::V5 => ack.codes.iter().for_each(|code| out.put_u8(code.get())),
        // An UNSUBACK of MQTT 3.1.1 has no payload, a SUBACK has one code for all failures.
        Version::V311 if first == 0xB0 => {}
        Version::V311 => {
            let codes =
                ack.codes.iter().map(|code| if code.is_error() { 0x80 } else { code.get() });
            codes.for_each(|code| out.put_u8(code));
        }
    }
    first
}

fn encode_disconnect(
    disconnect: &Disconnect,
    version: Version,
    out: &mut BytesMut,
    first: u8,
) -> u8 {
    let plain = disconnect.code == ReasonCode::SUCCESS && disconnect.properties.is_empty();
    if version == Version::V5 && !plain {
        out.put_u8(disconnect.code.get());
        disconnect.properties.encode(out);
    }
    first
}

impl SubscribeOptions {
    /// As in a SUBSCRIBE of MQTT 5.0.
    pub(crate) fn to_byte(self) -> u8 {
        options_byte(self, Version::V5)
    }
}

fn options_byte(options: SubscribeOptions, version: Version) -> u8 {
    if version == Version::V311 {
        return options.qos.get();
    }
    let handling = match options.retain_handling {
        RetainHandling::Send => 0,
        RetainHandling::SendIfNew => 1,
        RetainHandling::Skip => 2,
    };
    let retain_as_published = u8::from(options.retain_as_published) << 3;
    options.qos.get() | u8::from(options.no_local) << 2 | retain_as_published | handling << 4
}

fn put_properties(properties: &Properties, version: Version, out: &mut BytesMut) {
    if version == Version::V5 {
        properties.encode(out);
    }
}

pub(super) fn put_binary(out: &mut BytesMut, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).expect("MQTT allows 65,535 bytes here");
    out.put_u16(len);
    out.put_slice(bytes);
}

pub(super) fn varint_len(value: usize) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}

pub(super) fn put_varint(out: &mut BytesMut, value: usize) {
    assert!(value <= MAX_REMAINING_LENGTH, "MQTT allows no packet of {value} bytes");
    let mut rest = value;
    loop {
        let low = u8::try_from(rest & 0x7F).expect("seven bits fit a byte");
        rest >>= 7;
        if rest == 0 {
            return out.put_u8(low);
        }
        out.put_u8(low | 0x80);
    }
}
