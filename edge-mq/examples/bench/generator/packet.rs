//! The few packets of MQTT 3.1.1 and 5.0 that a load needs.

/// Of each payload: publisher (4), number (8), and when it was sent, or should have been (8).
pub(crate) const NUMBERS_BYTES: usize = 20;
/// What fills it up.
const FILLING: u8 = 0xa5;

/// Seconds; longer than any run, and not 0, which rumqttd refuses.
const KEEP_ALIVE: u16 = 3600;

/// The answer to [`Codec::connect`] of MQTT 3.1.1 that we accept.
pub(crate) const CONNACK: [u8; 4] = [0x20, 2, 0, 0];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V311,
    V5,
}

/// User name and password.
pub(crate) type Credentials<'a> = (&'a str, &'a str);

/// Packets of one version, with payloads of one size.
#[derive(Debug, Clone)]
pub(crate) struct Codec {
    version: Version,
    filling: Vec<u8>,
}

/// What is in a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) publisher: usize,
    pub(crate) number: u64,
    /// Nanoseconds after the generator began.
    pub(crate) time: u64,
}

/// The PUBLISH packets of one publisher: encoded once, as only numbers change.
#[derive(Debug)]
pub(crate) struct Publish {
    bytes: Vec<u8>,
    /// Where the packet identifier lies; QoS 0 has none.
    packet_id_at: Option<usize>,
    payload_at: usize,
}

/// What answers a PUBLISH, and what answers that (section 4.3), by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ack {
    Puback = 0x40,
    Pubrec = 0x50,
    Pubrel = 0x62,
    Pubcomp = 0x70,
}

/// What a broker sends while a load runs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    /// A message; `None` if it is not one that we send. The packet identifier is 0 with QoS 0.
    Publish {
        message: Option<Message>,
        qos: u8,
        packet_id: u16,
    },
    Ack(Ack, u16),
    /// Anything else, failures too, by its first byte and what is behind its length, up to three
    /// bytes of it.
    Other(u8, [u8; 3]),
}

impl Codec {
    /// Payloads have so many bytes, but at least those of their numbers.
    pub(crate) fn new(version: Version, payload_bytes: usize) -> Codec {
        Codec { version, filling: vec![FILLING; payload_bytes.saturating_sub(NUMBERS_BYTES)] }
    }

    /// CONNECT with a clean session, or with one that is kept when the connection ends.
    pub(crate) fn connect(
        &self,
        client_id: &str,
        is_kept: bool,
        credentials: Option<Credentials<'_>>,
    ) -> Vec<u8> {
        let level = if self.version == Version::V5 { 5 } else { 4 };
        let flags = if is_kept { 0 } else { 2 } | if credentials.is_some() { 0xC0 } else { 0 };
        let mut body = b"\x00\x04MQTT".to_vec();
        body.extend([level, flags]);
        body.extend(KEEP_ALIVE.to_be_bytes());
        match self.version {
            Version::V311 => {}
            // Session expiry interval: never.
            Version::V5 if is_kept => body.extend([5, 0x11, 0xFF, 0xFF, 0xFF, 0xFF]),
            Version::V5 => body.push(0),
        }
        put_text(&mut body, client_id);
        if let Some((user, password)) = credentials {
            put_text(&mut body, user);
            put_text(&mut body, password);
        }
        packet(0x10, &body)
    }

    /// SUBSCRIBE to these filters.
    pub(crate) fn subscribe(&self, filters: &[String], qos: u8) -> Vec<u8> {
        let mut body = 1_u16.to_be_bytes().to_vec();
        self.put_no_properties(&mut body);
        for filter in filters {
            put_text(&mut body, filter);
            body.push(qos);
        }
        packet(0x82, &body)
    }

    pub(crate) fn publish(&self, topic: &str, publisher: usize, qos: u8) -> Publish {
        let mut body = Vec::new();
        put_text(&mut body, topic);
        let id_at = body.len();
        if qos > 0 {
            body.extend([0; 2]);
        }
        self.put_no_properties(&mut body);
        let payload = self.payload(Message { publisher, number: 0, time: 0 });
        let payload_from_end = payload.len();
        body.extend(payload);
        let bytes = packet(0x30 | qos << 1, &body);
        let head = bytes.len() - body.len();
        let packet_id_at = (qos > 0).then_some(head + id_at);
        let payload_at = bytes.len() - payload_from_end;
        Publish { bytes, packet_id_at, payload_at }
    }

    pub(crate) fn payload(&self, message: Message) -> Vec<u8> {
        let publisher = u32::try_from(message.publisher).expect("there are few publishers");
        let mut payload = publisher.to_be_bytes().to_vec();
        payload.extend(message.number.to_be_bytes());
        payload.extend(message.time.to_be_bytes());
        payload.extend(&self.filling);
        payload
    }

    /// What is in a payload; `None` if it is not one of ours.
    pub(crate) fn message(&self, payload: &[u8]) -> Option<Message> {
        let (publisher, rest) = payload.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (time, filling) = rest.split_first_chunk()?;
        let publisher = usize::try_from(u32::from_be_bytes(*publisher)).ok()?;
        let (number, time) = (u64::from_be_bytes(*number), u64::from_be_bytes(*time));
        (filling == self.filling).then_some(Message { publisher, number, time })
    }

    /// The packet at the beginning of `bytes` and its length; `None` until it is complete.
    pub(crate) fn take(&self, bytes: &[u8]) -> Option<(Packet, usize)> {
        let (first, body, length) = split(bytes)?;
        let packet = self.parse(first, body).unwrap_or_else(|| {
            let mut seen = [0; 3];
            seen.iter_mut().zip(body).for_each(|(seen, byte)| *seen = *byte);
            Packet::Other(first, seen)
        });
        Some((packet, length))
    }

    fn parse(&self, first: u8, body: &[u8]) -> Option<Packet> {
        // Neither retained nor sent again: we cause nothing else.
        if let 0x30 | 0x32 | 0x34 = first {
            let qos = first >> 1 & 3;
            let (topic_length, rest) = body.split_first_chunk()?;
            let mut rest = rest.get(usize::from(u16::from_be_bytes(*topic_length))..)?;
            let mut packet_id = 0;
            if qos > 0 {
                let (id, behind) = rest.split_first_chunk()?;
                packet_id = u16::from_be_bytes(*id);
                rest = behind;
            }
            let payload = self.behind_properties(rest)?;
            return Some(Packet::Publish { message: self.message(payload), qos, packet_id });
        }
        let ack = Ack::ALL.into_iter().find(|ack| *ack as u8 == first)?;
        let (packet_id, behind) = body.split_first_chunk()?;
        // MQTT 5.0 may give a reason, which is a failure from 0x80 on.
        let is_success = match (self.version, behind) {
            (_, []) => true,
            (Version::V311, _) => false,
            (Version::V5, [reason, ..]) => *reason < 0x80,
        };
        is_success.then(|| Packet::Ack(ack, u16::from_be_bytes(*packet_id)))
    }

    /// Whether this is the answer to [`Codec::connect`] that we accept.
    pub(crate) fn is_connack(&self, first: u8, body: &[u8]) -> bool {
        first == 0x20 && body.get(..2) == Some(&[0, 0])
    }

    /// Whether all of so many subscriptions are granted with this QoS.
    pub(crate) fn is_suback(&self, first: u8, body: &[u8], count: usize, qos: u8) -> bool {
        let codes = body.get(2..).and_then(|rest| self.behind_properties(rest));
        first == 0x90
            && codes
                .is_some_and(|codes| codes.len() == count && codes.iter().all(|code| *code == qos))
    }

    fn behind_properties<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        match self.version {
            Version::V311 => Some(bytes),
            Version::V5 => {
                let (length, used) = number(bytes)?;
                bytes.get(used + length..)
            }
        }
    }

    fn put_no_properties(&self, out: &mut Vec<u8>) {
        if self.version == Version::V5 {
            out.push(0);
        }
    }
}

impl Publish {
    /// Appends the packet of this message.
    pub(crate) fn put(&mut self, out: &mut Vec<u8>, number: u64, time: u64, packet_id: u16) {
        if let Some(place) = self.packet_id_at {
            self.bytes[place..place + 2].copy_from_slice(&packet_id.to_be_bytes());
        }
        let number_at = self.payload_at + 4;
        self.bytes[number_at..number_at + 8].copy_from_slice(&number.to_be_bytes());
        self.bytes[number_at + 8..number_at + 16].copy_from_slice(&time.to_be_bytes());
        out.extend_from_slice(&self.bytes);
    }
}

impl Ack {
    const ALL: [Ack; 4] = [Ack::Puback, Ack::Pubrec, Ack::Pubrel, Ack::Pubcomp];

    /// Appends the packet.
    pub(crate) fn put(self, out: &mut Vec<u8>, packet_id: u16) {
        let [high, low] = packet_id.to_be_bytes();
        out.extend([self as u8, 2, high, low]);
    }
}

/// First byte and body of the packet at the beginning, and its length; `None` until it is complete.
pub(crate) fn split(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (&first, rest) = bytes.split_first()?;
    let (length, used) = number(rest)?;
    let end = 1 + used + length;
    Some((first, bytes.get(1 + used..end)?, end))
}

/// A number of up to four bytes, and how many they are (section 1.5.5 of MQTT 5.0).
fn number(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut number = 0;
    for (place, byte) in bytes.iter().take(4).enumerate() {
        number |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((number, place + 1));
        }
    }
    None
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut length = body.len();
    loop {
        let low = u8::try_from(length & 0x7f).expect("seven bits");
        length >>= 7;
        packet.push(low | if length > 0 { 0x80 } else { 0 });
        if length == 0 {
            break;
        }
    }
    packet.extend(body);
    packet
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).expect("our texts are short");
    out.extend(length.to_be_bytes());
    out.extend(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSIONS: [Version; 2] = [Version::V311, Version::V5];

    #[test]
    fn publishes_come_back_whole_and_only_when_complete() {
        for (version, bytes) in VERSIONS.into_iter().flat_map(|v| [(v, 20), (v, 64), (v, 70_000)]) {
            for (qos, packet_id) in [(0, 0), (1, 513), (2, 513)] {
                let codec = Codec::new(version, bytes);
                let mut out = Vec::new();
                codec.publish("load/4", 49, qos).put(&mut out, 1 << 40, 7, 513);
                let message = Some(Message { publisher: 49, number: 1 << 40, time: 7 });
                let whole = Packet::Publish { message, qos, packet_id };
                assert_eq!(codec.take(&out), Some((whole, out.len())));
                assert!((0..out.len().min(200)).all(|end| codec.take(&out[..end]).is_none()));
                assert!(codec.take(&out[..out.len() - 1]).is_none());
            }
        }
    }

    #[test]
    fn damaged_payload_is_no_message_of_ours() {
        let codec = Codec::new(Version::V311, 64);
        let mut bytes = Vec::new();
        codec.publish("load/1", 1, 0).put(&mut bytes, 2, 0, 0);
        *bytes.last_mut().unwrap() ^= 1;
        let damaged = Packet::Publish { message: None, qos: 0, packet_id: 0 };
        assert_eq!(codec.take(&bytes), Some((damaged, bytes.len())));
        // Nor is a shorter one.
        let payload =
            Codec::new(Version::V311, 63).payload(Message { publisher: 1, number: 2, time: 0 });
        assert_eq!(codec.message(&payload), None);
    }

    #[test]
    fn acknowledgements_come_back_and_failures_are_none() {
        let codec = VERSIONS.map(|version| Codec::new(version, 64));
        for ack in Ack::ALL {
            let mut bytes = Vec::new();
            ack.put(&mut bytes, 258);
            for codec in &codec {
                assert_eq!(codec.take(&bytes), Some((Packet::Ack(ack, 258), 4)));
            }
        }
        let [_, v5] = codec;
        // No matching subscribers is a success, quota exceeded is not.
        assert_eq!(v5.take(&[0x40, 3, 0, 1, 0x10]), Some((Packet::Ack(Ack::Puback, 1), 5)));
        assert_eq!(v5.take(&[0x40, 3, 0, 1, 0x97]), Some((Packet::Other(0x40, [0, 1, 0x97]), 5)));
        assert_eq!(v5.take(&[0xE0, 1, 0x8B]), Some((Packet::Other(0xE0, [0x8B, 0, 0]), 3)));
    }

    #[test]
    fn answers_to_connect_and_subscribe_are_looked_at() {
        let [v311, v5] = VERSIONS.map(|version| Codec::new(version, 64));
        assert!(v311.is_connack(0x20, &CONNACK[2..]));
        assert!(!v311.is_connack(0x20, &[0, 5]) && !v311.is_connack(0x30, &[0, 0]));
        assert!(v5.is_connack(0x20, &[0, 0, 3, 0x21, 0, 10]));
        assert!(!v5.is_connack(0x20, &[0, 0x87, 0]));
        assert!(v311.is_suback(0x90, &[0, 1, 1, 1], 2, 1));
        assert!(!v311.is_suback(0x90, &[0, 1, 1, 0x80], 2, 1));
        assert!(!v311.is_suback(0x90, &[0, 1, 1], 2, 1));
        assert!(v5.is_suback(0x90, &[0, 1, 0, 2], 1, 2));
        assert!(!v5.is_suback(0x90, &[0, 1, 0, 1], 1, 2));
    }
}
