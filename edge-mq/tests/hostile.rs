//! Clients that break the rules, over raw sockets: each loses its own connection, with the reason
//! code that the specification names, while a well-behaved client goes on being served. Memory
//! stays bounded for those who do not read, and those who do not speak are closed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[cfg(feature = "tls")]
#[path = "support/authority.rs"]
mod authority;
#[path = "support/raw.rs"]
mod raw;

use std::time::Duration;

use edge_mq::packet::Packet;
use edge_mq::{Broker, Limits, Listener, Message, QoS, ReasonCode};
#[cfg(feature = "tls")]
use edge_mq::{Pem, Tls};
use proptest::prelude::*;
use raw::Raw;
use tokio::time::timeout;

async fn start(change: impl FnOnce(&mut Limits)) -> Broker {
    let mut limits = Limits::default();
    change(&mut limits);
    let builder = Broker::builder().listen(([127, 0, 0, 1], 0).into()).limits(limits);
    builder.start().await.unwrap()
}

/// What a client sends after its CONNECT, where the specification says what is wrong with it
/// (MQTT 5.0 if not said otherwise), and the code that it gets.
fn breaches() -> Vec<(&'static str, &'static [u8], ReasonCode)> {
    let malformed = ReasonCode::MALFORMED_PACKET;
    let protocol = ReasonCode::PROTOCOL_ERROR;
    vec![
        ("2.1.2: packet type 0", b"\0\0", malformed),
        ("2.1.3: reserved flags of PINGREQ", b"\xC1\0", malformed),
        ("2.1.3: reserved flags of SUBSCRIBE", b"\x80\x07\0\x01\0\0\x01a\0", malformed),
        ("1.5.5: length of five bytes", b"\x30\xFF\xFF\xFF\xFF\x01", malformed),
        ("1.5.5: length in more bytes than it needs", b"\xC0\x80\0", malformed),
        ("2.2.1: packet identifier 0", b"\x32\x06\0\x01a\0\0\0", protocol),
        ("2.2.2.2: unknown property", b"\x30\x06\0\x01a\x02\x7D\0", malformed),
        ("2.2.2.2: property of another packet", b"\x30\x09\0\x01a\x05\x11\0\0\0\x01", malformed),
        ("3.1: second CONNECT", b"\x10\x0E\0\x04MQTT\x05\x02\0\0\0\0\x01x", protocol),
        ("3.3.1.1: QoS 0 sent again", b"\x38\x04\0\x01a\0", malformed),
        ("3.3.1.2: QoS 3", b"\x36\x06\0\x01a\0\x01\0", malformed),
        ("3.3.2.1: topic that is not UTF-8", b"\x30\x04\0\x01\xFF\0", malformed),
        ("3.3.2.1: topic with U+0000", b"\x30\x04\0\x01\0\0", malformed),
        ("3.3.2.1: topic with wildcard", b"\x30\x04\0\x01#\0", ReasonCode::TOPIC_NAME_INVALID),
        ("3.3.2.1: neither topic nor alias", b"\x30\x03\0\0\0", protocol),
        (
            "3.3.2.3.2: payload that is not the text it says",
            b"\x30\x07\0\x01a\x02\x01\x01\xFF",
            ReasonCode::PAYLOAD_FORMAT_INVALID,
        ),
        (
            "3.3.2.3.4: topic alias 0",
            b"\x30\x07\0\x01a\x03\x23\0\0",
            ReasonCode::TOPIC_ALIAS_INVALID,
        ),
        (
            "3.3.4: topic alias above the maximum",
            b"\x30\x07\0\x01a\x03\x23\x01\0",
            ReasonCode::TOPIC_ALIAS_INVALID,
        ),
        ("3.3.4: unknown topic alias", b"\x30\x06\0\0\x03\x23\0\x01", protocol),
        ("3.3.4: subscription identifier from a client", b"\x30\x06\0\x01a\x02\x0B\x01", protocol),
        ("3.4.2.1: PUBACK with another packet's reason", b"\x40\x03\0\x01\x8E", malformed),
        ("3.6.1: PUBREL without its flags", b"\x60\x02\0\x01", malformed),
        ("3.8.3: SUBSCRIBE without filter", b"\x82\x03\0\x01\0", protocol),
        ("3.8.3.1: subscription with QoS 3", b"\x82\x07\0\x01\0\0\x01a\x03", protocol),
        ("3.8.3.1: retain handling 3", b"\x82\x07\0\x01\0\0\x01a\x30", protocol),
        (
            "4.7.1: filter with a wildcard inside a level",
            b"\x82\x08\0\x01\0\0\x02a#\0",
            ReasonCode::TOPIC_FILTER_INVALID,
        ),
        ("3.10.3: UNSUBSCRIBE without filter", b"\xA2\x03\0\x01\0", protocol),
        ("3.9: SUBACK from a client", b"\x90\x04\0\x01\0\0", protocol),
        ("3.13: PINGRESP from a client", b"\xD0\0", protocol),
        ("3.14.2.1: DISCONNECT with another packet's reason", b"\xE0\x01\x01", malformed),
        ("3.14.2.2.2: session expiry after none", b"\xE0\x07\0\x05\x11\0\0\0\x01", protocol),
        ("3.15: AUTH without a method", b"\xF0\x02\x18\0", protocol),
        ("3.2.2.3.6: packet above the maximum", b"\x30\xFF\xFF\x7F", ReasonCode::PACKET_TOO_LARGE),
    ]
}

#[tokio::test]
async fn each_breach_closes_its_own_connection_with_its_reason() {
    let broker = start(|limits| limits.packet_bytes = 10_000).await;
    let mut witness = Raw::witness(&broker).await;
    for (name, bytes, code) in breaches() {
        let mut hostile = Raw::connect(&broker, b"h").await;
        hostile.send(bytes).await;
        assert_eq!(hostile.disconnected().await, Some(code), "{name}");
        witness.is_served().await;
    }
    let breaches = u64::try_from(breaches().len()).unwrap();
    assert_eq!(broker.stats().protocol_errors, breaches);
}

#[tokio::test]
async fn more_unacknowledged_messages_than_the_maximum_are_refused() {
    let broker = start(|limits| limits.receive_maximum = 2).await;
    let mut hostile = Raw::connect(&broker, b"h").await;
    for packet_id in 1..=3 {
        hostile.send(&[0x34, 6, 0, 1, b'a', 0, packet_id, 0]).await;
    }
    let code = Some(ReasonCode::RECEIVE_MAXIMUM_EXCEEDED);
    assert_eq!(hostile.disconnected().await, code);
}

/// Bytes in place of a CONNECT, and the code of the CONNACK, if there is one: clients that did
/// not name a version we speak could not read it (section 3.1.4 leaves it to the server).
fn bad_connects() -> Vec<(&'static str, &'static [u8], Option<ReasonCode>)> {
    let malformed = Some(ReasonCode::MALFORMED_PACKET);
    let protocol = Some(ReasonCode::PROTOCOL_ERROR);
    vec![
        ("3.1: PINGREQ first", b"\xC0\0", None),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: edge\r\n\r\n", None),
        ("TLS", b"\x16\x03\x01\x02\0\x01\0\x01\xFC\x03\x03", None),
        ("3.1.2.1: other protocol", b"\x10\x0D\0\x04MQTX\x05\x02\0\0\0\0\0", None),
        (
            "3.1.2.2: level 6",
            b"\x10\x0D\0\x04MQTT\x06\x02\0\0\0\0\0",
            Some(ReasonCode::UNSUPPORTED_PROTOCOL_VERSION),
        ),
        ("3.1.2.3: reserved flag", b"\x10\x0D\0\x04MQTT\x05\x03\0\0\0\0\0", malformed),
        ("3.1.2.6: QoS of no will", b"\x10\x0D\0\x04MQTT\x05\x0A\0\0\0\0\0", malformed),
        (
            "3.1.2.11: receive maximum 0",
            b"\x10\x10\0\x04MQTT\x05\x02\0\0\x03\x21\0\0\0\0",
            protocol,
        ),
        (
            "3.1.3.1: client identifier cut off",
            b"\x10\x0D\0\x04MQTT\x05\x02\0\0\0\0\x09",
            malformed,
        ),
        (
            "4.12: authentication method",
            b"\x10\x11\0\x04MQTT\x05\x02\0\0\x04\x15\0\x01m\0\0",
            Some(ReasonCode::BAD_AUTHENTICATION_METHOD),
        ),
        ("3.1.1, 3.1.2.3: reserved flag", b"\x10\x0C\0\x04MQTT\x04\x03\0\0\0\0", None),
    ]
}

#[tokio::test]
async fn what_is_no_connect_gets_at_most_a_refusal() {
    let broker = start(|_| {}).await;
    let mut witness = Raw::witness(&broker).await;
    for (name, bytes, expected) in bad_connects() {
        let mut hostile = Raw::open(&broker).await;
        hostile.send(bytes).await;
        let code = match hostile.next().await {
            Some(Packet::ConnAck(ack)) => Some(ack.code),
            None => None,
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(code, expected, "{name}");
        assert_eq!(hostile.next().await, None, "{name}");
        witness.is_served().await;
    }
}

#[tokio::test]
async fn who_does_not_say_connect_in_time_is_closed() {
    let broker = start(|limits| limits.connect_within = Duration::from_millis(50)).await;
    for bytes in [&b""[..], b"\x10", b"\x10\x0E\0\x04MQTT\x05"] {
        let mut silent = Raw::open(&broker).await;
        silent.send(bytes).await;
        assert_eq!(silent.next().await, None);
    }
}

#[tokio::test]
async fn who_is_silent_beyond_its_keep_alive_is_closed() {
    let broker = start(|_| {}).await;
    let mut silent = Raw::open(&broker).await;
    silent.send(b"\x10\x0E\0\x04MQTT\x05\x02\0\x01\0\0\x01s").await;
    assert!(matches!(silent.next().await, Some(Packet::ConnAck(_))));
    assert_eq!(silent.disconnected().await, Some(ReasonCode::KEEP_ALIVE_TIMEOUT));
}

#[tokio::test]
async fn connection_above_the_limit_is_closed_at_once() {
    let broker = start(|limits| limits.connections = 1).await;
    let mut witness = Raw::witness(&broker).await;
    let mut surplus = Raw::open(&broker).await;
    assert_eq!(surplus.next().await, None);
    witness.is_served().await;
    assert_eq!(broker.stats().refused_connections, 1);
}

#[tokio::test]
async fn taken_over_connection_is_told_so() {
    let broker = start(|_| {}).await;
    let old = Raw::connect(&broker, b"same").await;
    let mut new = Raw::connect(&broker, b"same").await;
    assert_eq!(old.disconnected().await, Some(ReasonCode::SESSION_TAKEN_OVER));
    new.is_served().await;
}

#[tokio::test]
async fn who_says_all_at_once_and_goodbye_gets_its_answers() {
    let broker = start(|_| {}).await;
    let mut brief = Raw::open(&broker).await;
    let connect = b"\x10\x0E\0\x04MQTT\x05\x02\0\0\0\0\x01b";
    brief.send(&[&connect[..], b"\x32\x06\0\x01a\0\x07\0\xE0\0"].concat()).await;
    assert!(matches!(brief.next().await, Some(Packet::ConnAck(_))));
    assert!(matches!(brief.next().await, Some(Packet::PubAck(ack)) if ack.id.get() == 7));
    assert_eq!(brief.next().await, None);
}

/// More than the buffers of both sockets hold.
const FLOOD: usize = 64;

async fn flood(broker: &Broker, qos: QoS) {
    let local = broker.local();
    for _ in 0..FLOOD {
        let message = Message::new("flood".parse().unwrap(), vec![0; 512 * 1024]).qos(qos);
        local.publish(message).await.unwrap();
    }
}

#[tokio::test]
async fn who_never_reads_costs_no_more_than_its_queue() {
    let limit = 2 * 1024 * 1024;
    let broker = start(|limits| limits.queue_bytes = limit).await;
    let mut witness = Raw::witness(&broker).await;
    let mut slow = Raw::connect(&broker, b"slow").await;
    slow.subscribe("flood", 1).await;
    for (qos, name) in [(QoS::AtMostOnce, "QoS 0"), (QoS::AtLeastOnce, "QoS 1")] {
        flood(&broker, qos).await;
        let stats = broker.stats();
        assert!(stats.queued_bytes <= limit, "{name}: {stats:?}");
        let dropped = stats.dropped_qos0 + stats.dropped_full;
        assert!(dropped > 0, "{name}: {stats:?}");
        witness.is_served().await;
    }
    // What was kept is there for who reads in the end.
    assert!(matches!(slow.next().await, Some(Packet::Publish(_))));
}

#[tokio::test]
async fn who_takes_nothing_for_too_long_is_closed() {
    let broker = start(|limits| limits.write_within = Duration::from_millis(50)).await;
    let mut tap = broker.local().subscribe("will", 1).await.unwrap();
    let mut slow = Raw::open(&broker).await;
    slow.send(b"\x10\x18\0\x04MQTT\x05\x06\0\0\0\0\x01w\0\0\x04will\0\x01x").await;
    assert!(matches!(slow.next().await, Some(Packet::ConnAck(_))));
    slow.subscribe("flood", 0).await;
    flood(&broker, QoS::AtMostOnce).await;
    // Its will tells of its end.
    let will = timeout(raw::FOR_EVER, tap.recv()).await.expect("it is never closed");
    assert_eq!(will.unwrap().payload(), "x");
}

#[tokio::test]
async fn shutdown_does_not_wait_for_who_never_reads() {
    let broker = start(|limits| limits.write_within = Duration::from_secs(3600)).await;
    let mut witness = Raw::witness(&broker).await;
    let mut slow = Raw::connect(&broker, b"slow").await;
    slow.subscribe("flood", 0).await;
    flood(&broker, QoS::AtMostOnce).await;
    // While others are served, the sockets of the slow one fill up.
    for _ in 0..10 {
        witness.is_served().await;
    }
    let stopping = broker.shutdown(Duration::from_secs(3600));
    let left = timeout(raw::FOR_EVER, stopping).await.expect("it waits for ever").unwrap();
    assert_eq!(left.connections, 0);
}

fn garbage() -> impl Strategy<Value = Vec<u8>> {
    let packet = prop::sample::select(breaches()).prop_map(|(_, bytes, _)| bytes.to_vec());
    let mutated = (packet, any::<prop::sample::Index>(), any::<u8>());
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        mutated.prop_map(|(mut bytes, at, byte)| {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes
        }),
    ]
}

/// Bytes with which something may begin, and others.
fn beginnings() -> impl Strategy<Value = Vec<u8>> {
    let known = [
        &b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C\x01\x02\x03\x04\x05\x06\x07\x08\0\x01\0\x02"[..],
        b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xFC\x03\x03",
        b"\x10\x0E\0\x04MQTT\x05\x02\0\0\0\0\x01g",
        b"\x82\x8E\0\0\0\0\x10\x0C\0\x04MQTT\x05\x02\0\0\0\0\0",
    ];
    let known = prop::sample::select(known.map(<[u8]>::to_vec).to_vec());
    let mutated = (known.clone(), any::<prop::sample::Index>(), any::<u8>());
    prop_oneof![
        known,
        mutated.prop_map(|(mut bytes, at, byte)| {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes
        }),
        prop::collection::vec(any::<u8>(), 0..100),
    ]
}

/// Listeners of each kind.
fn listeners() -> Vec<Listener> {
    let here = || Listener::tcp(([127, 0, 0, 1], 0)).connect_within(Duration::from_secs(1));
    vec![
        here().proxy_protocol(),
        #[cfg(feature = "ws")]
        here().websocket(),
        #[cfg(feature = "ws")]
        here().websocket().proxy_protocol(),
        #[cfg(feature = "tls")]
        here().tls(&tls()),
        #[cfg(feature = "tls")]
        here().tls(&tls()).proxy_protocol(),
    ]
}

#[cfg(feature = "tls")]
fn tls() -> Tls {
    let server = authority::Authority::new("ca").server();
    Tls::builder(Pem::text(server.certificate), Pem::text(server.key)).build().unwrap()
}

#[test]
fn garbage_at_any_kind_of_listener_costs_its_connection_alone() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let broker = runtime.block_on(start(|_| {}));
    let open = |listener| runtime.block_on(broker.listen(listener)).unwrap().local_addr().unwrap();
    let addrs: Vec<_> = listeners().into_iter().map(open).collect();
    let witness = std::cell::RefCell::new(runtime.block_on(Raw::witness(&broker)));
    let pieces = prop::collection::vec(beginnings(), 1..4);
    proptest!(|(pieces in pieces, at: prop::sample::Index)| {
        let mut witness = witness.borrow_mut();
        runtime.block_on(async {
            let mut hostile = Raw::to(addrs[at.index(addrs.len())]).await;
            for piece in &pieces {
                hostile.try_send(piece).await;
            }
            witness.is_served().await;
        });
    });
    let left = runtime.block_on(broker.shutdown(Duration::from_secs(60))).unwrap();
    assert_eq!(left.connections, 0);
}

async fn send_garbage(broker: &Broker, witness: &mut Raw, pieces: &[Vec<u8>], connected: bool) {
    let mut hostile = match connected {
        true => Raw::connect(broker, b"h").await,
        false => Raw::open(broker).await,
    };
    for piece in pieces {
        hostile.try_send(piece).await;
    }
    witness.is_served().await;
}

#[test]
fn garbage_stops_nobody_else() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let broker = runtime.block_on(start(|_| {}));
    let witness = std::cell::RefCell::new(runtime.block_on(Raw::witness(&broker)));
    let pieces = prop::collection::vec(garbage(), 1..6);
    proptest!(|(pieces in pieces, connected: bool)| {
        let mut witness = witness.borrow_mut();
        runtime.block_on(send_garbage(&broker, &mut witness, &pieces, connected));
    });
    let left = runtime.block_on(broker.shutdown(Duration::from_secs(60))).unwrap();
    assert_eq!(left.connections, 0);
}
