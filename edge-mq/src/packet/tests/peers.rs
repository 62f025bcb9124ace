//! Two codecs that we did not write: `mqtt-proto` and `mqtt-protocol-core`.
//!
//! What we encode they decode, and what they encode from that we decode, to the same packet. Of
//! mutated packets they take more and less than we do; each such difference has its section of the
//! standard here.

use proptest::test_runner::RngSeed;

use super::*;

/// Properties in the order of their identifiers, for a codec that does not keep the order.
fn sorted(packet: Packet) -> Packet {
    let sort = |properties: &mut Properties| {
        let mut all: Vec<Property> = properties.iter().cloned().collect();
        all.sort_by_key(|property| {
            let mut bytes = BytesMut::new();
            property.encode(&mut bytes);
            bytes[0]
        });
        *properties = all.into_iter().collect();
    };
    let mut packet = packet;
    match &mut packet {
        Packet::Connect(connect) => {
            sort(&mut connect.properties);
            connect.will.iter_mut().for_each(|will| sort(&mut will.properties));
        }
        Packet::ConnAck(p) => sort(&mut p.properties),
        Packet::Publish(p) => sort(&mut p.properties),
        Packet::PubAck(p) | Packet::PubRec(p) | Packet::PubRel(p) | Packet::PubComp(p) => {
            sort(&mut p.properties);
        }
        Packet::Subscribe(p) => sort(&mut p.properties),
        Packet::SubAck(p) | Packet::UnsubAck(p) => sort(&mut p.properties),
        Packet::Unsubscribe(p) => sort(&mut p.properties),
        Packet::Disconnect(p) | Packet::Auth(p) => sort(&mut p.properties),
        Packet::PingReq | Packet::PingResp => {}
    }
    packet
}

const SEED: RngSeed = RngSeed::Fixed(1);

/// What a codec makes of the bytes of one packet: the bytes that it writes for it.
type Peer = fn(Version, &[u8]) -> Result<Vec<u8>, String>;

const PEERS: [(&str, Peer); 2] = [("mqtt-proto", proto), ("mqtt-protocol-core", core)];

fn proto(version: Version, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let other = match version {
        Version::V311 => {
            let packet = mqtt_proto::v3::Packet::decode(bytes).map_err(|e| e.to_string())?;
            let packet = packet.ok_or("incomplete")?;
            let mut bytes = packet.encode().map_err(|e| e.to_string())?.as_ref().to_vec();
            // mqtt-proto 0.4.0 writes the failure of a SUBACK as 3, which MQTT 3.1.1 does not know.
            let codes = if bytes[0] == 0x90 { &mut bytes[4..] } else { &mut [] };
            codes.iter_mut().filter(|code| **code == 3).for_each(|code| *code = 0x80);
            return Ok(bytes);
        }
        Version::V5 => {
            let packet = mqtt_proto::v5::Packet::decode(bytes).map_err(|e| e.to_string())?;
            packet.ok_or("incomplete")?.encode().map_err(|e| e.to_string())?
        }
    };
    Ok(other.as_ref().to_vec())
}

/// Has one parser for the body of each type; what is in front of it is ours.
fn core(version: Version, bytes: &[u8]) -> Result<Vec<u8>, String> {
    use mqtt_protocol_core::mqtt::packet::{v3_1_1, v5_0};

    let header = super::super::reader::varint(&bytes[1..]).map_err(|error| error.to_string())?;
    let (len, width) = header.ok_or("incomplete")?;
    let body = bytes.get(1 + width..1 + width + len as usize).ok_or("incomplete")?;
    macro_rules! parse {
        ($module:ident::$type:ident, $($argument:expr),+) => {{
            let parsed = $module::$type::parse($($argument),+);
            let parsed = parsed.map_err(|error| format!("{error:?}"))?;
            (parsed.0.to_continuous_buffer(), parsed.1)
        }};
    }
    let flags = bytes[0] & 0x0F;
    let (again, taken) = match (version, bytes[0] >> 4) {
        (Version::V311, 1) => parse!(v3_1_1::Connect, body),
        (Version::V311, 2) => parse!(v3_1_1::Connack, body),
        (Version::V311, 4) => parse!(v3_1_1::Puback, body),
        (Version::V311, 5) => parse!(v3_1_1::Pubrec, body),
        (Version::V311, 6) => parse!(v3_1_1::Pubrel, body),
        (Version::V311, 7) => parse!(v3_1_1::Pubcomp, body),
        (Version::V311, 8) => parse!(v3_1_1::Subscribe, body),
        (Version::V311, 9) => parse!(v3_1_1::Suback, body),
        (Version::V311, 10) => parse!(v3_1_1::Unsubscribe, body),
        (Version::V311, 11) => parse!(v3_1_1::Unsuback, body),
        (Version::V311, 12) => parse!(v3_1_1::Pingreq, body),
        (Version::V311, 13) => parse!(v3_1_1::Pingresp, body),
        (Version::V311, 14) => parse!(v3_1_1::Disconnect, body),
        (Version::V5, 1) => parse!(v5_0::Connect, body),
        (Version::V5, 2) => parse!(v5_0::Connack, body),
        (Version::V5, 4) => parse!(v5_0::Puback, body),
        (Version::V5, 5) => parse!(v5_0::Pubrec, body),
        (Version::V5, 6) => parse!(v5_0::Pubrel, body),
        (Version::V5, 7) => parse!(v5_0::Pubcomp, body),
        (Version::V5, 8) => parse!(v5_0::Subscribe, body),
        (Version::V5, 9) => parse!(v5_0::Suback, body),
        (Version::V5, 10) => parse!(v5_0::Unsubscribe, body),
        (Version::V5, 11) => parse!(v5_0::Unsuback, body),
        (Version::V5, 12) => parse!(v5_0::Pingreq, body),
        (Version::V5, 13) => parse!(v5_0::Pingresp, body),
        (Version::V5, 14) => parse!(v5_0::Disconnect, body),
        (Version::V5, 15) => parse!(v5_0::Auth, body),
        (Version::V311, 3) => parse!(v3_1_1::Publish, flags, body.into()),
        (Version::V5, 3) => parse!(v5_0::Publish, flags, body.into()),
        _ => return Err("unknown type".into()),
    };
    if taken == body.len() { Ok(again) } else { Err("goes on behind its last field".into()) }
}

/// What one of them takes and we refuse: why we do, and where the standard (5.0) says so.
const THEY_TAKE: &[(&str, &str)] = &[
    ("string is not UTF-8 or has U+0000", "1.5.4: they take U+0000"),
    ("length is longer than it needs to be", "1.5.5: of properties"),
    // mqtt-protocol-core's parsers get no header but that of PUBLISH.
    ("reserved flags of the fixed header", "2.1.3"),
    ("packet ends inside a field", "2.1.4: mqtt-proto reads beyond the packet's length"),
    ("packet goes on behind its last field", "2.1.4: mqtt-proto stops before it"),
    ("packet identifier is 0", "2.2.1"),
    ("reserved connect flag is set", "3.1.2.3"),
    ("will has QoS 3", "3.1.2.6"),
    ("QoS or retain flag of a will that is not there", "3.1.2.6, 3.1.2.7"),
    ("password without a user name", "3.1.2.9 of MQTT 3.1.1"),
    ("reserved CONNACK flags are set", "3.2.2.1"),
    ("QoS 0 message is marked as sent again", "3.3.1.1"),
    ("invalid topic name", "3.3.2.1: wildcards, and an empty one in MQTT 3.1.1"),
    ("message has neither topic nor topic alias", "3.3.2.1"),
    ("payload is not the UTF-8 text that it says it is", "3.3.2.3.2"),
    ("reserved bits of subscription options", "3.8.3.1"),
    ("no topic filter", "3.9.3, 3.11.3: an answer to no filter"),
    ("invalid topic filter", "4.7.1: a wildcard that shares its level"),
];

/// What we take and a peer refuses: nothing but this, which our random packets leave out. A CONNECT
/// may name the other version, which our decoder sees to. `mqtt-protocol-core` wants a user name with each password in MQTT 5.0, too; section 3.1.2.9 says
/// that there need be none.
fn is_taken_by(name: &str, version: Version, packet: &Packet) -> bool {
    match packet {
        Packet::Connect(connect) if connect.version != version => false,
        Packet::Connect(connect) if name == "mqtt-protocol-core" => {
            connect.password.is_none() || connect.username.is_some()
        }
        _ => true,
    }
}

/// The one packet at the front, as far as its header says.
fn one_packet(bytes: &[u8]) -> &[u8] {
    match super::super::reader::varint(&bytes[1..]) {
        Ok(Some((len, width))) => bytes.get(..1 + width + len as usize).unwrap_or(bytes),
        _ => bytes,
    }
}

proptest! {
    // The same packets each time: what somebody else's codec takes is no reason to fail one day.
    #![proptest_config(ProptestConfig { cases: 1000, rng_seed: SEED, ..ProptestConfig::default() })]

    #[test]
    fn independent_codecs_read_what_we_write_and_write_what_we_read(
        (version, packet) in any_packet(),
    ) {
        let bytes = encode(version, &packet);
        for (name, peer) in PEERS {
            let theirs = peer(version, &bytes);
            let theirs = theirs.unwrap_or_else(|error| panic!("{name}: {error}: {packet:?}"));
            let back = decode(version, &theirs).map(|packet| packet.map(sorted));
            prop_assert_eq!(back, Ok(Some(sorted(packet.clone()))), "{}", name);
        }
        // The one that keeps the order of properties writes the very same bytes.
        prop_assert_eq!(core(version, &bytes), Ok(bytes.to_vec()));
    }

    #[test]
    fn independent_codecs_refuse_what_we_refuse_but_where_the_standard_tells_why(
        (version, packet) in any_packet(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..3),
    ) {
        let mut bytes = encode(version, &packet);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let bytes = one_packet(&bytes);
        for (name, peer) in PEERS {
            match (decode(version, bytes), peer(version, bytes)) {
                // They have no limit.
                (Ok(None) | Err(DecodeError::TooLarge { .. }), _) | (Err(_), Err(_)) => {}
                (Ok(Some(ours)), Ok(theirs)) => {
                    let theirs = decode(version, &theirs).map(|packet| packet.map(sorted));
                    prop_assert_eq!(theirs, Ok(Some(sorted(ours))), "{}", name);
                }
                (Ok(Some(ours)), Err(error)) => {
                    prop_assert!(!is_taken_by(name, version, &ours), "{}: {}: {:?}", name, error, ours);
                }
                (Err(error), Ok(_)) => {
                    let error = error.to_string();
                    let mut known = THEY_TAKE.iter();
                    let why = known.find(|(reason, _)| error.ends_with(reason));
                    prop_assert!(why.is_some(), "{} takes {:02x?}: {}", name, bytes, error);
                }
            }
        }
    }
}
