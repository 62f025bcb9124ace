//! The codec: a table of packets read in both directions, a table of what is refused and why, and
//! properties over random packets: round trips, splits, mutations, two independent codecs.

mod cases;
mod peers;
mod strategy;

use bytes::BytesMut;
use proptest::prelude::*;

use super::*;
use cases::{good, refused};
use strategy::any_packet;

const LIMIT: usize = 64 * 1024;

fn decode(version: Version, bytes: &[u8]) -> Result<Option<Packet>, DecodeError> {
    Decoder::new(version, LIMIT).decode(&mut BytesMut::from(bytes))
}

fn encode(version: Version, packet: &Packet) -> BytesMut {
    let mut out = BytesMut::new();
    packet.encode(version, &mut out);
    out
}

#[test]
fn each_case_decodes_and_encodes() {
    for (name, version, bytes, packet) in good() {
        assert_eq!(decode(version, &bytes), Ok(Some(packet.clone())), "decode {name}");
        assert_eq!(&encode(version, &packet)[..], &bytes[..], "encode {name}");
    }
}

#[test]
fn each_case_decodes_however_it_is_split() {
    for (name, version, bytes, packet) in good() {
        for at in 0..bytes.len() {
            let mut decoder = Decoder::new(version, LIMIT);
            let mut buffer = BytesMut::from(&bytes[..at]);
            assert_eq!(decoder.decode(&mut buffer), Ok(None), "{name} at {at}");
            buffer.extend_from_slice(&bytes[at..]);
            buffer.extend_from_slice(&[0xC0]);
            assert_eq!(decoder.decode(&mut buffer), Ok(Some(packet.clone())), "{name} at {at}");
            assert_eq!(&buffer[..], [0xC0], "{name} at {at}");
        }
    }
}

#[test]
fn what_is_refused_has_the_reason_of_the_specification() {
    for (name, version, bytes, reason) in refused() {
        let error = decode(version, &bytes).expect_err(name);
        assert_eq!(error.reason(), reason, "{name}: {error}");
    }
}

#[test]
fn a_packet_that_ends_early_is_malformed() {
    for (name, version, bytes, _) in good() {
        // One byte less, in the body and in the length that the header tells. Payloads may have
        // any length, and so may lists, if an item is left; the length of no properties may be
        // left out behind a reason code.
        let body = bytes.len() - 2;
        let may_be_shorter = [3, 8, 9, 10, 11, 14].contains(&(bytes[0] >> 4)) || body > 127;
        if body == 0 || may_be_shorter {
            continue;
        }
        let mut short = bytes[..bytes.len() - 1].to_vec();
        short[1] -= 1;
        if let Ok(Some(packet)) = decode(version, &short) {
            assert_ne!(encode(version, &packet), bytes, "{name}");
        }
    }
}

#[test]
fn server_takes_nothing_before_connect() {
    let mut decoder = Decoder::accepting(LIMIT);
    let error = decoder.decode(&mut BytesMut::from(&[0xC0, 0][..])).unwrap_err();
    assert_eq!(error.reason(), ReasonCode::PROTOCOL_ERROR);
    // Before the length is there, so that nobody can keep us waiting with something else.
    assert!(decoder.decode(&mut BytesMut::from(&[0x30][..])).is_err());
}

#[test]
fn too_large_is_told_by_the_header_alone() {
    let mut decoder = Decoder::new(Version::V5, 100);
    let error = decoder.decode(&mut BytesMut::from(&[0x30, 0x80, 0x80, 0x01][..])).unwrap_err();
    assert_eq!(error, DecodeError::TooLarge { bytes: 16_388, limit_bytes: 100 });
}

#[test]
fn payload_shares_the_buffer() {
    let bytes = [0x30, 0x08, 0, 1, b'a', b'h', b'e', b'l', b'l', b'o'];
    let mut buffer = BytesMut::from(&bytes[..]);
    let range = buffer.as_ptr_range();
    let packet = Decoder::new(Version::V311, LIMIT).decode(&mut buffer).unwrap();
    let Some(Packet::Publish(publish)) = packet else { panic!("{packet:?}") };
    assert!(range.contains(&publish.payload.as_ptr()));
}

proptest! {
    #[test]
    fn round_trip((version, packet) in any_packet()) {
        let bytes = encode(version, &packet);
        prop_assert_eq!(decode(version, &bytes), Ok(Some(packet)));
    }

    #[test]
    fn garbage_never_panics(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        five in any::<bool>(),
    ) {
        let version = if five { Version::V5 } else { Version::V311 };
        drop(decode(version, &bytes));
        drop(Decoder::accepting(LIMIT).decode(&mut BytesMut::from(&bytes[..])));
    }

    /// What decodes after a mutation is a packet like any other.
    #[test]
    fn mutations_never_panic_and_what_decodes_encodes(
        (version, packet) in any_packet(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = encode(version, &packet);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(Some(packet)) = decode(version, &bytes) {
            let again = encode(version, &packet);
            prop_assert_eq!(decode(version, &again), Ok(Some(packet)));
        }
    }
}
