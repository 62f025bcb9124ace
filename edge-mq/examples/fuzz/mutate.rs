//! What goes wrong with packets.

use crate::chance::Chance;

/// Changes a packet in one to three places; half of the time its length is put right again, so that
/// what lies behind the header is read.
pub(crate) fn mutate(chance: &mut Chance, packet: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..=chance.below(3) {
        mutate_once(chance, packet, other);
    }
    if chance.one_in(2) {
        put_length_right(packet);
    }
}

fn mutate_once(chance: &mut Chance, packet: &mut Vec<u8>, other: &[u8]) {
    let at = chance.below(packet.len());
    match chance.below(9) {
        0 if !packet.is_empty() => packet[at] ^= 1 << chance.below(8),
        1 if !packet.is_empty() => packet[at] = chance.byte(),
        2 => packet.truncate(at),
        3 => {
            let end = at + chance.below(packet.len() - at + 1);
            packet.extend_from_within(at..end);
        }
        4 if packet.len() > 1 => packet[1] = chance.byte(),
        5 => drop(packet.splice(at..at, chance.bytes(4))),
        6 => {
            let end = at + chance.below(packet.len() - at + 1);
            packet.drain(at..end);
        }
        7 => {
            packet.truncate(at);
            packet.extend_from_slice(&other[chance.below(other.len())..]);
        }
        // A length in more bytes than it needs, or in too many.
        _ if packet.len() > 1 => {
            let last = packet[1] & 0x7F;
            let long = [packet[1] | 0x80, 0x80, 0x80, 0x80, last];
            let from = chance.below(4);
            packet.splice(1..2, long[from..].iter().copied());
        }
        _ => {}
    }
}

/// Says in the header how long the rest is.
fn put_length_right(packet: &mut Vec<u8>) {
    let Some(lengths) = packet.get(1..) else { return };
    let width = lengths.iter().take(4).position(|byte| byte & 0x80 == 0).map_or(0, |at| at + 1);
    let mut rest = lengths.len() - width;
    let mut length = Vec::new();
    loop {
        let low = u8::try_from(rest & 0x7F).expect("seven bits");
        rest >>= 7;
        length.push(if rest > 0 { low | 0x80 } else { low });
        if rest == 0 {
            break;
        }
    }
    packet.splice(1..1 + width, length);
}
