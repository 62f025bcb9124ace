//! Packets of MQTT 3.1.1, as bytes.

pub(crate) const DISCONNECT: &[u8] = &[0xE0, 0];
pub(crate) const PINGREQ: &[u8] = &[0xC0, 0];
/// Bytes of a CONNACK, and of a PUBACK.
pub(crate) const ANSWER_BYTES: usize = 4;

/// Of a client whose session ends with its connection, without keep alive.
pub(crate) fn connect(client_id: &str) -> Vec<u8> {
    packet(0x10, &[b"\0\x04MQTT\x04\x02\0\0", &text(client_id)[..]].concat())
}

pub(crate) fn subscribe(filter: &str, qos: u8) -> Vec<u8> {
    packet(0x82, &[&[0, 1], &text(filter)[..], &[qos]].concat())
}

/// With an identifier it is QoS 1, without one QoS 0.
pub(crate) fn publish(topic: &str, id: Option<u16>, payload: &[u8]) -> Vec<u8> {
    let first = if id.is_some() { 0x32 } else { 0x30 };
    let id = id.map(u16::to_be_bytes);
    let id = id.as_ref().map_or(&[][..], |id| id);
    packet(first, &[&text(topic)[..], id, payload].concat())
}

fn text(text: &str) -> Vec<u8> {
    let len = u16::try_from(text.len()).expect("a short text");
    [&len.to_be_bytes(), text.as_bytes()].concat()
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut rest = body.len();
    loop {
        let low = u8::try_from(rest & 0x7F).expect("seven bits");
        rest >>= 7;
        packet.push(if rest > 0 { low | 0x80 } else { low });
        if rest == 0 {
            break;
        }
    }
    packet.extend_from_slice(body);
    packet
}
