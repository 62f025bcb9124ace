//! The few MQTT 3.1.1 packets that a load needs.

/// Bytes of each payload: publisher (4), number (8), and a filling.
const PAYLOAD_BYTES: usize = 64;
const FILLING: [u8; PAYLOAD_BYTES - 12] = [0xa5; PAYLOAD_BYTES - 12];

/// Seconds; longer than any run, and not 0, which rumqttd refuses.
const KEEP_ALIVE: u16 = 3600;

/// The answer to [`connect`] that we accept.
pub(super) const CONNACK: [u8; 4] = [0x20, 2, 0, 0];

/// CONNECT with a clean session.
pub(super) fn connect(client_id: &str) -> Vec<u8> {
    let mut body = b"\x00\x04MQTT\x04\x02".to_vec();
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
        body.extend(u32::try_from(publisher).expect("there are few publishers").to_be_bytes());
        body.extend([0; 8]);
        body.extend(FILLING);
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

/// Appends a PUBACK.
pub(super) fn put_puback(out: &mut Vec<u8>, packet_id: u16) {
    let [high, low] = packet_id.to_be_bytes();
    out.extend([0x40, 2, high, low]);
}

/// What a broker sends while a load runs.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet {
    /// A message: who sent it and its number (`None` if it is not what we send), and the packet
    /// identifier if it is to be acknowledged.
    Publish {
        message: Option<(usize, u64)>,
        packet_id: Option<u16>,
    },
    Puback {
        packet_id: u16,
    },
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
    match first {
        0x40 => Some(Packet::Puback { packet_id: u16::from_be_bytes(body.try_into().ok()?) }),
        // QoS 0 or 1, neither retained nor sent again: we cause nothing else.
        0x30 | 0x32 => {
            let (topic_length, rest) = body.split_first_chunk()?;
            let mut rest = rest.get(usize::from(u16::from_be_bytes(*topic_length))..)?;
            let mut packet_id = None;
            if first == 0x32 {
                let (id, payload) = rest.split_first_chunk()?;
                packet_id = Some(u16::from_be_bytes(*id));
                rest = payload;
            }
            Some(Packet::Publish { message: message(rest), packet_id })
        }
        _ => None,
    }
}

fn message(payload: &[u8]) -> Option<(usize, u64)> {
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
        for (qos, packet_id) in [(0, None), (1, Some(513))] {
            let mut bytes = Vec::new();
            Publish::new(49, qos).put(&mut bytes, 1 << 40, 513);
            let whole = Packet::Publish { message: Some((49, 1 << 40)), packet_id };
            assert_eq!(take(&bytes), Some((whole, bytes.len())));
            assert!((0..bytes.len()).all(|end| take(&bytes[..end]).is_none()));
        }
    }

    #[test]
    fn damaged_payload_is_no_message_of_ours() {
        let mut bytes = Vec::new();
        Publish::new(1, 0).put(&mut bytes, 2, 0);
        *bytes.last_mut().unwrap() ^= 1;
        let damaged = Packet::Publish { message: None, packet_id: None };
        assert_eq!(take(&bytes), Some((damaged, bytes.len())));
    }

    #[test]
    fn pubacks_come_back() {
        let mut bytes = Vec::new();
        put_puback(&mut bytes, 258);
        assert_eq!(take(&bytes), Some((Packet::Puback { packet_id: 258 }, 4)));
        assert_eq!(take(&CONNACK), Some((Packet::Other(0x20), 4)));
    }
}
