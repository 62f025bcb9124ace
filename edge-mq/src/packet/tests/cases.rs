//! Packets byte by byte.

use super::*;

type Case<T> = (&'static str, Version, Vec<u8>, T);

fn id(id: u16) -> PacketId {
    PacketId::new(id).unwrap()
}

fn text(text: &str) -> Text {
    text.parse().unwrap()
}

fn connect(version: Version) -> Connect {
    Connect {
        version,
        client_id: text("c"),
        clean_start: true,
        keep_alive: 60,
        will: None,
        username: None,
        password: None,
        properties: Properties::new(),
    }
}

fn publish(delivery: Delivery) -> Publish {
    Publish {
        dup: false,
        retain: false,
        delivery,
        topic: Some("a/b".parse().unwrap()),
        properties: Properties::new(),
        payload: Bytes::from_static(b"hi"),
    }
}

/// Packets as they have to be written, to the byte.
pub(super) fn good() -> Vec<Case<Packet>> {
    use Version::{V5, V311};
    let none = Properties::new;
    let full_connect = Connect {
        clean_start: false,
        will: Some(Will {
            topic: "w".parse().unwrap(),
            payload: Bytes::from_static(b"x"),
            qos: QoS::ExactlyOnce,
            retain: true,
            properties: none(),
        }),
        username: Some(text("u")),
        password: Some(Bytes::from_static(&[0xFF, 0])),
        ..connect(V311)
    };
    let options = SubscribeOptions {
        qos: QoS::AtLeastOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::Skip,
    };
    let subscribe = |options| Subscribe {
        id: id(10),
        filters: vec![("a/#".parse().unwrap(), options)],
        properties: none(),
    };
    let qos_1 = SubscribeOptions { qos: QoS::AtLeastOnce, ..SubscribeOptions::default() };
    let sub_ack =
        |codes: &[ReasonCode]| SubAck { id: id(10), codes: codes.to_vec(), properties: none() };
    let refused_ack = Ack {
        id: id(1),
        code: ReasonCode::QUOTA_EXCEEDED,
        properties: none().with(Property::ReasonString(text("no"))),
    };
    vec![
        (
            "CONNECT 3.1.1",
            V311,
            b"\x10\x0D\0\x04MQTT\x04\x02\0\x3C\0\x01c".to_vec(),
            Packet::Connect(Box::new(connect(V311))),
        ),
        (
            "CONNECT 3.1.1 with everything",
            V311,
            b"\x10\x1A\0\x04MQTT\x04\xF4\0\x3C\0\x01c\0\x01w\0\x01x\0\x01u\0\x02\xFF\0".to_vec(),
            Packet::Connect(Box::new(full_connect)),
        ),
        (
            "CONNECT 5.0",
            V5,
            b"\x10\x13\0\x04MQTT\x05\x02\0\x3C\x05\x11\0\0\0\x0A\0\x01c".to_vec(),
            Packet::Connect(Box::new(Connect {
                properties: none().with(Property::SessionExpiry(10)),
                ..connect(V5)
            })),
        ),
        (
            "CONNACK 3.1.1",
            V311,
            b"\x20\x02\x01\0".to_vec(),
            Packet::ConnAck(ConnAck {
                session_present: true,
                code: ReasonCode::SUCCESS,
                properties: none(),
            }),
        ),
        (
            "CONNACK 5.0 refused",
            V5,
            b"\x20\x03\0\x8C\0".to_vec(),
            Packet::ConnAck(ConnAck {
                session_present: false,
                code: ReasonCode::BAD_AUTHENTICATION_METHOD,
                properties: none(),
            }),
        ),
        (
            "PUBLISH QoS 0",
            V311,
            b"\x30\x07\0\x03a/bhi".to_vec(),
            Packet::Publish(publish(Delivery::AtMostOnce)),
        ),
        (
            "PUBLISH QoS 2, again, retained",
            V311,
            b"\x3D\x09\0\x03a/b\0\x07hi".to_vec(),
            Packet::Publish(Publish {
                dup: true,
                retain: true,
                ..publish(Delivery::ExactlyOnce(id(7)))
            }),
        ),
        (
            "PUBLISH 5.0 with an alias alone",
            V5,
            b"\x32\x0A\0\0\0\x07\x03\x23\0\x01hi".to_vec(),
            Packet::Publish(Publish {
                topic: None,
                properties: none().with(Property::TopicAlias(TopicAlias::new(1).unwrap())),
                ..publish(Delivery::AtLeastOnce(id(7)))
            }),
        ),
        (
            "PUBLISH 5.0 with user properties",
            V5,
            b"\x30\x16\0\x03a/b\x0E\x26\0\x01k\0\x01v\x26\0\x01k\0\x01whi".to_vec(),
            Packet::Publish(Publish {
                properties: none()
                    .with(Property::User(text("k"), text("v")))
                    .with(Property::User(text("k"), text("w"))),
                ..publish(Delivery::AtMostOnce)
            }),
        ),
        (
            "PUBACK 3.1.1",
            V311,
            b"\x40\x02\x01\0".to_vec(),
            Packet::PubAck(Ack::new(id(256), ReasonCode::SUCCESS)),
        ),
        (
            "PUBACK 5.0, short",
            V5,
            b"\x40\x02\x01\0".to_vec(),
            Packet::PubAck(Ack::new(id(256), ReasonCode::SUCCESS)),
        ),
        (
            "PUBREC 5.0 with reason",
            V5,
            b"\x50\x03\0\x01\x97".to_vec(),
            Packet::PubRec(Ack::new(id(1), ReasonCode::QUOTA_EXCEEDED)),
        ),
        (
            "PUBREC 5.0 with reason string",
            V5,
            b"\x50\x09\0\x01\x97\x05\x1F\0\x02no".to_vec(),
            Packet::PubRec(refused_ack),
        ),
        (
            "PUBREL",
            V311,
            b"\x62\x02\0\x01".to_vec(),
            Packet::PubRel(Ack::new(id(1), ReasonCode::SUCCESS)),
        ),
        (
            "PUBCOMP 5.0 not found",
            V5,
            b"\x70\x03\0\x01\x92".to_vec(),
            Packet::PubComp(Ack::new(id(1), ReasonCode::PACKET_IDENTIFIER_NOT_FOUND)),
        ),
        (
            "SUBSCRIBE 3.1.1",
            V311,
            b"\x82\x08\0\x0A\0\x03a/#\x01".to_vec(),
            Packet::Subscribe(subscribe(qos_1)),
        ),
        (
            "SUBSCRIBE 5.0",
            V5,
            b"\x82\x09\0\x0A\0\0\x03a/#\x2D".to_vec(),
            Packet::Subscribe(subscribe(options)),
        ),
        (
            "SUBACK 3.1.1",
            V311,
            b"\x90\x04\0\x0A\x02\x80".to_vec(),
            Packet::SubAck(sub_ack(&[ReasonCode::GRANTED_QOS_2, ReasonCode::UNSPECIFIED_ERROR])),
        ),
        (
            "SUBACK 5.0",
            V5,
            b"\x90\x04\0\x0A\0\x9E".to_vec(),
            Packet::SubAck(sub_ack(&[ReasonCode::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED])),
        ),
        (
            "UNSUBSCRIBE 3.1.1",
            V311,
            b"\xA2\x05\0\x0A\0\x01a".to_vec(),
            Packet::Unsubscribe(Unsubscribe {
                id: id(10),
                filters: vec!["a".parse().unwrap()],
                properties: none(),
            }),
        ),
        ("UNSUBACK 3.1.1", V311, b"\xB0\x02\0\x0A".to_vec(), Packet::UnsubAck(sub_ack(&[]))),
        (
            "UNSUBACK 5.0",
            V5,
            b"\xB0\x04\0\x0A\0\x11".to_vec(),
            Packet::UnsubAck(sub_ack(&[ReasonCode::NO_SUBSCRIPTION_EXISTED])),
        ),
        ("PINGREQ", V311, b"\xC0\0".to_vec(), Packet::PingReq),
        ("PINGRESP", V5, b"\xD0\0".to_vec(), Packet::PingResp),
        (
            "DISCONNECT",
            V311,
            b"\xE0\0".to_vec(),
            Packet::Disconnect(Disconnect::new(ReasonCode::SUCCESS)),
        ),
        (
            "DISCONNECT 5.0 taken over",
            V5,
            b"\xE0\x02\x8E\0".to_vec(),
            Packet::Disconnect(Disconnect::new(ReasonCode::SESSION_TAKEN_OVER)),
        ),
        (
            "AUTH 5.0",
            V5,
            b"\xF0\x06\x18\x04\x15\0\x01m".to_vec(),
            Packet::Auth(Disconnect {
                code: ReasonCode::CONTINUE_AUTHENTICATION,
                properties: none().with(Property::AuthenticationMethod(text("m"))),
            }),
        ),
    ]
}

/// Bytes that have to be refused, and the reason that the specification names.
pub(super) fn refused() -> Vec<Case<ReasonCode>> {
    use Version::{V5, V311};
    let malformed = ReasonCode::MALFORMED_PACKET;
    let protocol = ReasonCode::PROTOCOL_ERROR;
    let cases: Vec<(&'static str, Version, &'static [u8], ReasonCode)> = vec![
        ("packet type 0", V5, b"\0\0", malformed),
        ("AUTH in 3.1.1", V311, b"\xF0\0", malformed),
        ("length of five bytes", V5, b"\x30\xFF\xFF\xFF\xFF\x01", malformed),
        ("length longer than it needs", V5, b"\xC0\x80\0", malformed),
        ("PINGREQ with flags", V5, b"\xC1\0", malformed),
        ("PINGREQ with a body", V5, b"\xC0\x01\0", malformed),
        ("PUBREL without flags", V5, b"\x60\x02\0\x01", malformed),
        ("SUBSCRIBE without flags", V5, b"\x80\x09\0\x0A\0\0\x03a/#\0", malformed),
        ("other protocol", V311, b"\x10\x0D\0\x04MQTX\x04\x02\0\x3C\0\x01c", malformed),
        (
            "protocol level 3",
            V311,
            b"\x10\x0D\0\x04MQTT\x03\x02\0\x3C\0\x01c",
            ReasonCode::UNSUPPORTED_PROTOCOL_VERSION,
        ),
        ("reserved connect flag", V311, b"\x10\x0D\0\x04MQTT\x04\x03\0\x3C\0\x01c", malformed),
        ("will QoS without will", V311, b"\x10\x0D\0\x04MQTT\x04\x0A\0\x3C\0\x01c", malformed),
        ("will QoS 3", V311, b"\x10\x13\0\x04MQTT\x04\x1E\0\x3C\0\x01c\0\x01w\0\x01x", malformed),
        (
            "password without user name in 3.1.1",
            V311,
            b"\x10\x10\0\x04MQTT\x04\x42\0\x3C\0\x01c\0\x01p",
            malformed,
        ),
        ("bytes behind CONNECT", V311, b"\x10\x0E\0\x04MQTT\x04\x02\0\x3C\0\x01c!", malformed),
        (
            "client id of other bytes",
            V311,
            b"\x10\x0D\0\x04MQTT\x04\x02\0\x3C\0\x01\xFF",
            malformed,
        ),
        ("client id with NUL", V311, b"\x10\x0D\0\x04MQTT\x04\x02\0\x3C\0\x01\0", malformed),
        ("receive maximum 0", V5, b"\x10\x11\0\x04MQTT\x05\x02\0\x3C\x03\x21\0\0\0\x01c", protocol),
        (
            "session expiry twice",
            V5,
            b"\x10\x18\0\x04MQTT\x05\x02\0\x3C\x0A\x11\0\0\0\x0A\x11\0\0\0\x0A\0\x01c",
            protocol,
        ),
        (
            "topic alias in CONNECT",
            V5,
            b"\x10\x11\0\x04MQTT\x05\x02\0\x3C\x03\x23\0\x01\0\x01c",
            malformed,
        ),
        (
            // Not 0x94, which a CONNACK cannot say.
            "topic alias 0 in CONNECT",
            V5,
            b"\x10\x11\0\x04MQTT\x05\x02\0\x3C\x03\x23\0\0\0\x01c",
            malformed,
        ),
        (
            "authentication data without method",
            V5,
            b"\x10\x12\0\x04MQTT\x05\x02\0\x3C\x04\x16\0\x01x\0\x01c",
            protocol,
        ),
        (
            "properties longer than the packet",
            V5,
            b"\x10\x0E\0\x04MQTT\x05\x02\0\x3C\x7F\0\x01c",
            malformed,
        ),
        ("will retain without will", V311, b"\x10\x0D\0\x04MQTT\x04\x22\0\x3C\0\x01c", malformed),
        ("will that is not there", V311, b"\x10\x0D\0\x04MQTT\x04\x06\0\x3C\0\x01c", malformed),
        (
            "will that is not announced",
            V311,
            b"\x10\x13\0\x04MQTT\x04\x02\0\x3C\0\x01c\0\x01w\0\x01x",
            malformed,
        ),
        (
            "will topic of other bytes",
            V5,
            b"\x10\x15\0\x04MQTT\x05\x06\0\x3C\0\0\x01c\0\0\x01\xFF\0\x01x",
            malformed,
        ),
        (
            "user name that is not there",
            V5,
            b"\x10\x0E\0\x04MQTT\x05\x82\0\x3C\0\0\x01c",
            malformed,
        ),
        (
            "user name that is not announced",
            V5,
            b"\x10\x11\0\x04MQTT\x05\x02\0\x3C\0\0\x01c\0\x01u",
            malformed,
        ),
        (
            "user name of other bytes",
            V5,
            b"\x10\x11\0\x04MQTT\x05\x82\0\x3C\0\0\x01c\0\x01\xFF",
            malformed,
        ),
        ("password that is not there", V5, b"\x10\x0E\0\x04MQTT\x05\x42\0\x3C\0\0\x01c", malformed),
        (
            "password that is not announced",
            V5,
            b"\x10\x14\0\x04MQTT\x05\x82\0\x3C\0\0\x01c\0\x01u\0\x01p",
            malformed,
        ),
        ("unknown property", V5, b"\x30\x06\0\x01a\x02\x7D\0", malformed),
        ("property cut off", V5, b"\x30\x06\0\x01a\x02\x02\0", malformed),
        ("user property, name", V5, b"\x30\x0B\0\x01a\x07\x26\0\x01\xFF\0\x01v", malformed),
        ("user property, value", V5, b"\x30\x0B\0\x01a\x07\x26\0\x01n\0\x01\0", malformed),
        ("response topic of other bytes", V5, b"\x30\x08\0\x01a\x04\x08\0\x01\xFF", malformed),
        ("content type of other bytes", V5, b"\x30\x08\0\x01a\x04\x03\0\x01\xFF", malformed),
        ("payload format 2", V5, b"\x30\x06\0\x01a\x02\x01\x02", protocol),
        (
            "payload that says it is text",
            V5,
            b"\x30\x07\0\x01a\x02\x01\x01\xFF",
            ReasonCode::PAYLOAD_FORMAT_INVALID,
        ),
        ("topic alias 0", V5, b"\x30\x07\0\x01a\x03\x23\0\0", ReasonCode::TOPIC_ALIAS_INVALID),
        ("neither topic nor alias", V5, b"\x30\x03\0\0\0", protocol),
        ("empty topic in 3.1.1", V311, b"\x30\x02\0\0", ReasonCode::TOPIC_NAME_INVALID),
        ("wildcard in topic", V5, b"\x30\x04\0\x01#\0", ReasonCode::TOPIC_NAME_INVALID),
        ("NUL in topic", V5, b"\x30\x04\0\x01\0\0", malformed),
        (
            "wildcard in response topic",
            V5,
            b"\x30\x08\0\x01a\x04\x08\0\x01+",
            ReasonCode::TOPIC_NAME_INVALID,
        ),
        ("QoS 3", V5, b"\x36\x06\0\x01a\0\x01\0", malformed),
        ("QoS 0 sent again", V5, b"\x38\x04\0\x01a\0", malformed),
        ("packet id 0", V5, b"\x32\x06\0\x01a\0\0\0", protocol),
        ("topic longer than the packet", V5, b"\x30\x03\0\x09a", malformed),
        ("CONNACK with a reason of DISCONNECT", V5, b"\x20\x03\0\x8D\0", malformed),
        ("PUBACK with an unknown reason", V5, b"\x40\x03\0\x01\x01", malformed),
        ("PUBREL with a reason of PUBACK", V5, b"\x62\x03\0\x01\x97", malformed),
        ("PUBACK of 3.1.1 with a reason", V311, b"\x40\x03\0\x01\0", malformed),
        ("SUBSCRIBE to nothing", V5, b"\x82\x03\0\x0A\0", protocol),
        ("reserved bits of 3.1.1 options", V311, b"\x82\x06\0\x0A\0\x01a\x04", malformed),
        ("reserved bits of 5.0 options", V5, b"\x82\x07\0\x0A\0\0\x01a\x40", malformed),
        ("subscription with QoS 3", V5, b"\x82\x07\0\x0A\0\0\x01a\x03", protocol),
        ("retain handling 3", V5, b"\x82\x07\0\x0A\0\0\x01a\x30", protocol),
        ("subscription identifier 0", V5, b"\x82\x09\0\x0A\x02\x0B\0\0\x01a\0", protocol),
        ("filter of other bytes", V5, b"\x82\x07\0\x0A\0\0\x01\xFF\0", malformed),
        ("bad filter", V5, b"\x82\x08\0\x0A\0\0\x02#a\0", ReasonCode::TOPIC_FILTER_INVALID),
        ("empty filter", V311, b"\x82\x05\0\x0A\0\0\0", ReasonCode::TOPIC_FILTER_INVALID),
        ("UNSUBSCRIBE with other bytes", V311, b"\xA2\x05\0\x0A\0\x01\xFF", malformed),
        ("UNSUBSCRIBE without flags", V311, b"\xA0\x05\0\x0A\0\x01a", malformed),
        ("UNSUBSCRIBE from nothing", V311, b"\xA2\x02\0\x0A", protocol),
        ("AUTH with flags", V5, b"\xF2\0", malformed),
        ("AUTH with a reason of DISCONNECT", V5, b"\xF0\x02\x8E\0", malformed),
        ("DISCONNECT with an unknown reason", V5, b"\xE0\x01\x01", malformed),
        ("DISCONNECT of 3.1.1 with a reason", V311, b"\xE0\x01\0", malformed),
    ];
    cases
        .into_iter()
        .map(|(name, version, bytes, code)| (name, version, bytes.to_vec(), code))
        .collect()
}
