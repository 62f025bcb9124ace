//! The few MQTT 3.1.1 packets that a load needs.

/// Bytes of each payload: publisher (4), number (8), and a filling.
const PAYLOAD_BYTES: usize = 64;
const FILLING: [u8; PAYLOAD_BYTES - NUMBERS_BYTES] = [0xa5; PAYLOAD_BYTES - NUMBERS_BYTES];
const NUMBERS_BYTES: usize = 12;

/// Seconds; longer than any run, and not 0, which rumqttd refuses.
const KEEP_ALIVE: u16 = 3600;

/// The answer to [`connect`] that we accept.
pub(super) const CONNACK: [u8; 4] = [0x20, 2, 0, 0];

/// CONNECT with a clean session, or with one that is kept when the connection ends.
pub(super) fn connect(client_id: &str, is_kept: bool) -> Vec<u8> {
    let mut body = b"\x00\x04MQTT\x04".to_vec();
    body.push(if is_kept { 0 } else { 2 });
    body.extend(KEEP_ALIVE.to_be_bytes());
    put_text(&mut body, client_id);
    packet(0x10, &body)
}

/// SUBSCRIBE to one filter.
pub(super) fn subscribe(filter: &str, qos: u8) -> Vec<u8> {
    let mut body = 1_u16.to_be_bytes().to_vec();
    put_text(&mut body, filter);
    body.push(qos);
    packet(0x82, &body)
}

/// The answer to [`subscribe`] that we accept.
pub(super) fn suback(qos: u8) -> [u8; 5] {
    [0x90, 3, 0, 1, qos]
}

/// The PUBLISH packets of one publisher: encoded once, as only two numbers change.
#[derive(Debug)]
pub(super) struct Publish {
    bytes: Vec<u8>,
    /// Where the packet identifier lies; QoS 0 has none.
    packet_id_at: Option<usize>,
}

impl Publish {
    pub(super) fn new(publisher: usize, qos: u8) -> Publish {
        let topic = format!("load/{publisher}");
        let mut body = Vec::new();
        put_text(&mut body, &topic);
        let packet_id_at = (qos > 0).then(|| {
            body.extend([0; 2]);
            // Behind the fixed header of two bytes.
            body.len()
        });
        body.extend(payload(publisher, 0));
        Publish { bytes: packet(0x30 | qos << 1, &body), packet_id_at }
    }

    /// Appends the packet of this message.
    pub(super) fn put(&mut self, out: &mut Vec<u8>, number: u64, packet_id: u16) {
        if let Some(place) = self.packet_id_at {
            self.bytes[place..place + 2].copy_from_slice(&packet_id.to_be_bytes());
        }
        let number_at = self.bytes.len() - FILLING.len() - 8;
        self.bytes[number_at..number_at + 8].copy_from_slice(&number.to_be_bytes());
        out.extend_from_slice(&self.bytes);
    }
}

/// The payload of a message.
pub(super) fn payload(publisher: usize, number: u64) -> [u8; PAYLOAD_BYTES] {
    let publisher = u32::try_from(publisher).expect("there are few publishers");
    let mut payload = [0; PAYLOAD_BYTES];
    payload[..4].copy_from_slice(&publisher.to_be_bytes());
    payload[4..NUMBERS_BYTES].copy_from_slice(&number.to_be_bytes());
    payload[NUMBERS_BYTES..].copy_from_slice(&FILLING);
    payload
}

/// What answers a PUBLISH, and what answers that (section 4.3), by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ack {
    Puback = 0x40,
    Pubrec = 0x50,
    Pubrel = 0x62,
    Pubcomp = 0x70,
}

impl Ack {
    const ALL: [Ack; 4] = [Ack::Puback, Ack::Pubrec, Ack::Pubrel, Ack::Pubcomp];

    /// Appends the packet.
    pub(super) fn put(self, out: &mut Vec<u8>, packet_id: u16) {
        let [high, low] = packet_id.to_be_bytes();
        out.extend([self as u8, 2, high, low]);
    }
}

/// What a broker sends while a load runs.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet {
    /// A message: who sent it and its number (`None` if it is not what we send). The packet
    /// identifier is 0 with QoS 0.
    Publish {
        message: Option<(usize, u64)>,
        qos: u8,
        packet_id: u16,
    },
    Ack(Ack, u16),
    /// Anything else, by its first byte.
    Other(u8),
}

/// The packet at the beginning of `bytes` and its length; `None` until it is complete.
pub(super) fn take(bytes: &[u8]) -> Option<(Packet, usize)> {
    let (&first, rest) = bytes.split_first()?;
    let (mut length, mut used) = (0_usize, 1);
    for (place, byte) in rest.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * place);
        used += 1;
        if byte & 0x80 == 0 {
            let body = bytes.get(used..used + length)?;
            return Some((parse(first, body).unwrap_or(Packet::Other(first)), used + length));
        }
    }
    None
}

fn parse(first: u8, body: &[u8]) -> Option<Packet> {
    // Neither retained nor sent again: we cause nothing else.
    if let 0x30 | 0x32 | 0x34 = first {
        let qos = first >> 1 & 3;
        let (topic_length, rest) = body.split_first_chunk()?;
        let mut rest = rest.get(usize::from(u16::from_be_bytes(*topic_length))..)?;
        let mut packet_id = 0;
        if qos > 0 {
            let (id, payload) = rest.split_first_chunk()?;
            packet_id = u16::from_be_bytes(*id);
            rest = payload;
        }
        return Some(Packet::Publish { message: message(rest), qos, packet_id });
    }
    let ack = Ack::ALL.into_iter().find(|ack| *ack as u8 == first)?;
    Some(Packet::Ack(ack, u16::from_be_bytes(body.try_into().ok()?)))
}

/// The publisher and the number in a payload; `None` if it is not one of ours.
pub(super) fn message(payload: &[u8]) -> Option<(usize, u64)> {
    let (publisher, rest) = payload.split_first_chunk()?;
    let (number, filling) = rest.split_first_chunk()?;
    let publisher = usize::try_from(u32::from_be_bytes(*publisher)).ok()?;
    (filling == FILLING).then(|| (publisher, u64::from_be_bytes(*number)))
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first, small(body.len())];
    packet.extend(body);
    packet
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend([0, small(text.len())]);
    out.extend(text.as_bytes());
}

/// A length that takes one byte.
fn small(length: usize) -> u8 {
    assert!(length < 0x80, "our packets are short");
    u8::try_from(length).expect("below 128")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishes_come_back_whole_and_only_when_complete() {
        for (qos, packet_id) in [(0, 0), (1, 513), (2, 513)] {
            let mut bytes = Vec::new();
            Publish::new(49, qos).put(&mut bytes, 1 << 40, 513);
            let whole = Packet::Publish { message: Some((49, 1 << 40)), qos, packet_id };
            assert_eq!(take(&bytes), Some((whole, bytes.len())));
            assert!((0..bytes.len()).all(|end| take(&bytes[..end]).is_none()));
        }
    }

    #[test]
    fn damaged_payload_is_no_message_of_ours() {
        let mut bytes = Vec::new();
        Publish::new(1, 0).put(&mut bytes, 2, 0);
        *bytes.last_mut().unwrap() ^= 1;
        let damaged = Packet::Publish { message: None, qos: 0, packet_id: 0 };
        assert_eq!(take(&bytes), Some((damaged, bytes.len())));
    }

    #[test]
    fn acknowledgements_come_back() {
        for ack in Ack::ALL {
            let mut bytes = Vec::new();
            ack.put(&mut bytes, 258);
            assert_eq!(take(&bytes), Some((Packet::Ack(ack, 258), 4)));
        }
        assert_eq!(take(&CONNACK), Some((Packet::Other(0x20), 4)));
    }
}
