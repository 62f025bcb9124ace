//! Conversations to the byte: what a client sends in one go, and all that comes back until the
//! connection is closed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/raw.rs"]
mod raw;

use std::time::Duration;

use edge_mq::packet::{Packet, Property};
use edge_mq::{Broker, Limits, ReasonCode};
use raw::Raw;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

async fn start(change: impl FnOnce(&mut Limits)) -> Broker {
    let mut limits = Limits::default();
    change(&mut limits);
    let builder = Broker::builder().listen(([127, 0, 0, 1], 0).into()).limits(limits);
    builder.start().await.unwrap()
}

/// All that comes back. The client goes on listening, so it is the broker that closes.
async fn answer(broker: &Broker, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(broker.local_addr().unwrap()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A broker that closes with bytes of ours unread may end the connection abruptly.
    let read = timeout(raw::FOR_EVER, stream.read_to_end(&mut answer)).await;
    drop(read.expect("the broker does not close"));
    answer
}

/// MQTT 3.1.1, clean session, client identifier `c`.
const CONNECT_311: &[u8] = b"\x10\x0D\0\x04MQTT\x04\x02\0\0\0\x01c";
const CONNACK_311: &[u8] = b"\x20\x02\0\0";

type Conversation = (&'static str, &'static [&'static [u8]], &'static [&'static [u8]]);

/// Of MQTT 3.1.1: section, what is sent, and what comes back.
const OF_311: &[Conversation] = &[
    (
        "3.12: ping, then goodbye, which is not answered",
        &[CONNECT_311, b"\xC0\0\xC0\0\xE0\0"],
        &[CONNACK_311, b"\xD0\0\xD0\0"],
    ),
    (
        "4.3: each QoS",
        &[
            CONNECT_311,
            b"\x30\x03\0\x01x\x32\x05\0\x01x\0\x07\x34\x05\0\x01x\0\x08\x62\x02\0\x08\xE0\0",
        ],
        &[CONNACK_311, b"\x40\x02\0\x07\x50\x02\0\x08\x70\x02\0\x08"],
    ),
    (
        "3.8 to 3.11: filters, one without a name for its share",
        &[CONNECT_311, b"\x82\x11\x01\0\0\x01x\x02\0\x08$share/x\0\xA2\x05\x01\x01\0\x01z\xE0\0"],
        &[CONNACK_311, b"\x90\x04\x01\0\x02\x80\xB0\x02\x01\x01"],
    ),
    ("3.1.2.1: another protocol", &[b"\x10\x0D\0\x04MQTX\x04\x02\0\0\0\x01c"], &[]),
    ("3.1.2.2: level 3", &[b"\x10\x0D\0\x04MQTT\x03\x02\0\0\0\x01c"], &[b"\x20\x02\0\x01"]),
    ("3.1.2.3: reserved flag", &[b"\x10\x0D\0\x04MQTT\x04\x03\0\0\0\x01c"], &[]),
    (
        "3.1.3.1: no client identifier, and a session that is to stay",
        &[b"\x10\x0C\0\x04MQTT\x04\0\0\0\0\0"],
        &[b"\x20\x02\0\x02"],
    ),
    ("3.1.4: CONNECT that ends early", &[b"\x10\x0C\0\x04MQTT\x04\x02\0\0\0\x01"], &[]),
    ("3.1.0: CONNECT again", &[CONNECT_311, CONNECT_311, b"\xC0\0"], &[CONNACK_311]),
    ("3.1.0: something else first", &[b"\xC0\0"], &[]),
    ("3.14: nothing is handled behind it", &[CONNECT_311, b"\xE0\0\xC0\0"], &[CONNACK_311]),
    ("3.14.1: reserved bits", &[CONNECT_311, b"\xE1\0"], &[CONNACK_311]),
    ("2.2.2: reserved flags", &[CONNECT_311, b"\xC1\0\xC0\0"], &[CONNACK_311]),
    ("3.3.1.2: QoS 3", &[CONNECT_311, b"\x36\x05\0\x01x\0\x07"], &[CONNACK_311]),
    ("1.5.3: what is no UTF-8", &[CONNECT_311, b"\x30\x05\0\x03\xED\xA0\x80"], &[CONNACK_311]),
    ("1.5.3: U+0000", &[CONNECT_311, b"\x30\x03\0\x01\0"], &[CONNACK_311]),
    ("4.7.1: wildcard in a topic", &[CONNECT_311, b"\x30\x03\0\x01+"], &[CONNACK_311]),
    ("4.7.3: empty topic", &[CONNECT_311, b"\x30\x02\0\0"], &[CONNACK_311]),
    ("3.6.1: flags of PUBREL", &[CONNECT_311, b"\x60\x02\0\x01"], &[CONNACK_311]),
    ("3.8.1: flags of SUBSCRIBE", &[CONNECT_311, b"\x80\x06\0\x01\0\x01x\0"], &[CONNACK_311]),
    ("3.8.3: no filter", &[CONNECT_311, b"\x82\x02\0\x01"], &[CONNACK_311]),
    ("3.8.3: reserved bits", &[CONNECT_311, b"\x82\x06\0\x01\0\x01x\x04"], &[CONNACK_311]),
    ("3.8.3: QoS 3", &[CONNECT_311, b"\x82\x06\0\x01\0\x01x\x03"], &[CONNACK_311]),
    ("4.7.1: bad filter", &[CONNECT_311, b"\x82\x07\0\x01\0\x02x#\0"], &[CONNACK_311]),
    ("3.10.1: flags of UNSUBSCRIBE", &[CONNECT_311, b"\xA0\x05\0\x01\0\x01x"], &[CONNACK_311]),
    ("3.10.3: no filter", &[CONNECT_311, b"\xA2\x02\0\x01"], &[CONNACK_311]),
];

#[tokio::test]
async fn answers_of_v311_to_the_byte() {
    let broker = start(|_| {}).await;
    for (name, sent, expected) in OF_311 {
        assert_eq!(answer(&broker, &sent.concat()).await, expected.concat(), "{name}");
    }
}

/// MQTT 5.0, clean start, client identifier `c`.
const CONNECT_5: &[u8] = b"\x10\x0E\0\x04MQTT\x05\x02\0\x09\0\0\x01c";
/// Receive maximum 1024, packets of 1 MiB, 32 topic aliases.
const CONNACK_5: &[u8] = b"\x20\x0E\0\0\x0B\x21\x04\0\x27\0\x10\0\0\x22\0\x20";

const OF_5: &[Conversation] = &[
    (
        "3.12: ping, then goodbye, which is not answered",
        &[CONNECT_5, b"\xC0\0\xE0\0"],
        &[CONNACK_5, b"\xD0\0"],
    ),
    (
        "4.3: each QoS",
        &[
            CONNECT_5,
            b"\x30\x04\0\x01x\0\x32\x06\0\x01x\0\x07\0\x34\x06\0\x01x\0\x08\0\x62\x02\0\x08\xE0\0",
        ],
        &[CONNACK_5, b"\x40\x02\0\x07\x50\x02\0\x08\x70\x02\0\x08"],
    ),
    (
        "3.8 to 3.11: filters, one without a name for its share, a reason that is not wanted",
        &[
            b"\x10\x10\0\x04MQTT\x05\x02\0\x09\x02\x17\0\0\x01c",
            b"\x82\x12\x01\0\0\0\x01x\x02\0\x08$share/x\0\xA2\x06\x01\x01\0\0\x01z\xE0\0",
        ],
        &[CONNACK_5, b"\x90\x05\x01\0\0\x02\x8F\xB0\x04\x01\x01\0\x11"],
    ),
    ("3.1.2.2: level 6", &[b"\x10\x0D\0\x04MQTT\x06\x02\0\0\0\0\0"], &[b"\x20\x03\0\x84\0"]),
    ("3.1.2.3: reserved flag", &[b"\x10\x0D\0\x04MQTT\x05\x03\0\0\0\0\0"], &[b"\x20\x03\0\x81\0"]),
    (
        "2.2.2.2: a property of another packet, though its value is wrong, too",
        &[b"\x10\x10\0\x04MQTT\x05\x02\0\0\x03\x23\0\0\0\0"],
        &[b"\x20\x03\0\x81\0"],
    ),
    (
        "3.1.2.11.4: not even CONNACK has room",
        &[b"\x10\x13\0\x04MQTT\x05\x02\0\x09\x05\x27\0\0\0\x0F\0\x01c"],
        &[b"\x20\x03\0\x95\0"],
    ),
    (
        "3.1.2.11.4: nor its refusal",
        &[b"\x10\x13\0\x04MQTT\x05\x02\0\x09\x05\x27\0\0\0\x04\0\x01c"],
        &[],
    ),
    ("3.1.0: CONNECT again", &[CONNECT_5, CONNECT_5, b"\xC0\0"], &[CONNACK_5, b"\xE0\x02\x82\0"]),
    ("3.1.0: something else first", &[b"\xC0\0"], &[]),
    ("3.14: nothing is handled behind it", &[CONNECT_5, b"\xE0\0\xC0\0"], &[CONNACK_5]),
    (
        "3.14.1: reserved bits, and the reason in words",
        &[CONNECT_5, b"\xE1\0"],
        &[
            CONNACK_5,
            b"\xE0\x39\x81\x37\x1F\0\x34malformed packet: reserved flags of the fixed header",
        ],
    ),
    (
        "3.14.2.2.3: no room for words",
        &[b"\x10\x13\0\x04MQTT\x05\x02\0\x09\x05\x27\0\0\0\x20\0\x01c", b"\xE1\0"],
        &[CONNACK_5, b"\xE0\x02\x81\0"],
    ),
];

#[tokio::test]
async fn answers_of_v5_to_the_byte() {
    let broker = start(|_| {}).await;
    for (name, sent, expected) in OF_5 {
        assert_eq!(answer(&broker, &sent.concat()).await, expected.concat(), "{name}");
    }
}

#[tokio::test]
async fn nothing_behind_a_refused_connect_is_handled() {
    let broker = start(|_| {}).await;
    // Behind each: a retained message.
    let connects: [&[u8]; 3] = [
        b"\x10\x0C\0\x04MQTT\x04\0\0\0\0\0\x31\x03\0\x01x",
        b"\x10\x11\0\x04MQTT\x05\x02\0\0\x04\x15\0\x01m\0\0\x31\x04\0\x01x\0",
        b"\x10\x0D\0\x04MQTT\x05\x03\0\0\0\0\0\x31\x04\0\x01x\0",
    ];
    for bytes in connects {
        assert_eq!(answer(&broker, bytes).await.first(), Some(&0x20));
    }
    assert_eq!((broker.stats().received, broker.stats().sessions), (0, 0));
}

/// To the broker a client whose machine is gone is one that says nothing more and never closes.
#[tokio::test]
async fn client_that_is_gone_without_a_word_is_noticed_and_leaves_its_will() {
    let broker = start(|limits| limits.max_keep_alive = Duration::from_secs(1)).await;
    // A keep alive of its own, and none, where the broker asks for one.
    for keep_alive in [1, 0] {
        let mut tap = broker.local().subscribe("will", 1).await.unwrap();
        let mut gone = Raw::open(&broker).await;
        gone.send(b"\x10\x18\0\x04MQTT\x05\x06\0").await;
        gone.send(&[keep_alive]).await;
        gone.send(b"\0\0\x01g\0\0\x04will\0\x01x").await;
        let Some(Packet::ConnAck(ack)) = gone.next().await else { panic!("no CONNACK") };
        let asked = ack.properties.iter().any(|p| matches!(p, Property::ServerKeepAlive(1)));
        assert_eq!(asked, keep_alive == 0);
        let will = timeout(raw::FOR_EVER, tap.recv()).await.expect("nobody notices");
        assert_eq!(will.unwrap().payload(), "x");
        assert_eq!(gone.disconnected().await, Some(ReasonCode::KEEP_ALIVE_TIMEOUT));
    }
    assert_eq!(broker.stats().keep_alive_timeouts, 2);
}
