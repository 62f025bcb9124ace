//! Limits at the door, over real sockets: connections from one address, and how fast they come. Who
//! is refused is told so by its CONNACK, unless there are many; the others are served meanwhile.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/raw.rs"]
mod raw;

use std::net::SocketAddr;

use edge_mq::packet::Packet;
use edge_mq::{Broker, Limits, Listener, Rate, ReasonCode};
use raw::Raw;
use tokio::net::TcpSocket;

async fn start(change: impl FnOnce(&mut Limits)) -> Broker {
    let mut limits = Limits::default();
    change(&mut limits);
    let builder = Broker::builder().listen(([127, 0, 0, 1], 0).into()).limits(limits);
    builder.start().await.unwrap()
}

/// MQTT 5.0 without a client identifier.
const CONNECT: &[u8] = b"\x10\x0D\0\x04MQTT\x05\x02\0\0\0\0\0";

/// A connection from 127.0.0.`last`.
async fn from(broker: &Broker, last: u8) -> Raw {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, last], 0).into()).unwrap();
    Raw::on(socket.connect(broker.local_addr().unwrap()).await.unwrap())
}

/// What its CONNACK says; `None` if it is closed without one.
async fn enter(raw: &mut Raw) -> Option<ReasonCode> {
    raw.try_send(CONNECT).await;
    match raw.next().await {
        Some(Packet::ConnAck(ack)) => Some(ack.code),
        None => None,
        other => panic!("{other:?} in place of CONNACK"),
    }
}

const IN: Option<ReasonCode> = Some(ReasonCode::SUCCESS);

#[tokio::test]
async fn one_address_has_so_many_connections_and_others_have_theirs() {
    let broker = start(|limits| limits.connections_per_address = Some(2)).await;
    let mut first = [from(&broker, 1).await, from(&broker, 1).await];
    for raw in &mut first {
        assert_eq!(enter(raw).await, IN);
    }
    let mut surplus = from(&broker, 1).await;
    assert_eq!(enter(&mut surplus).await, Some(ReasonCode::QUOTA_EXCEEDED));
    assert_eq!(surplus.next().await, None);
    let mut other = from(&broker, 2).await;
    assert_eq!(enter(&mut other).await, IN);
    assert_eq!(broker.stats().refused_connections, 1);
    drop(first);
    // There is room again, once the broker has noticed.
    while enter(&mut from(&broker, 1).await).await != IN {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn connection_that_says_nothing_has_its_place_too() {
    let broker = start(|limits| limits.connections_per_address = Some(1)).await;
    let silent = from(&broker, 1).await;
    while broker.stats().refused_connections == 0 {
        enter(&mut from(&broker, 1).await).await;
    }
    drop(silent);
    while enter(&mut from(&broker, 1).await).await != IN {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn who_connects_too_fast_is_told_so_in_its_own_words() {
    // One a second would not do: the test may take its time.
    let none = Rate::per_second(0).burst(1);
    let broker = start(|limits| limits.connect_rate_per_address = Some(none)).await;
    let mut first = from(&broker, 1).await;
    assert_eq!(enter(&mut first).await, IN);
    let mut second = from(&broker, 1).await;
    assert_eq!(enter(&mut second).await, Some(ReasonCode::CONNECTION_RATE_EXCEEDED));
    // MQTT 3.1.1 has no word for it: server unavailable.
    let mut old = from(&broker, 1).await;
    old.send(b"\x10\x0D\0\x04MQTT\x04\x02\0\0\0\x01o").await;
    assert_eq!(old.bytes(4).await, [0x20, 2, 0, 3]);
    assert_eq!(enter(&mut from(&broker, 2).await).await, IN);
    let stats = broker.stats();
    assert_eq!((stats.connect_rate_exceeded, stats.refused_connections), (2, 0));
    first.is_served().await;
}

#[tokio::test]
async fn storm_is_closed_almost_without_a_word_while_others_are_served() {
    let none = Rate::per_second(0).burst(2);
    let broker = start(|limits| limits.connect_rate = Some(none)).await;
    let mut witness = Raw::witness(&broker).await;
    assert_eq!(enter(&mut from(&broker, 1).await).await, IN);
    let mut told = 0;
    for last in 1..=200 {
        told += u64::from(enter(&mut from(&broker, last).await).await.is_some());
    }
    witness.is_served().await;
    assert!((1..200).contains(&told), "{told}");
    assert_eq!(broker.stats().connect_rate_exceeded, 200);
}

/// The header of PROXY protocol version 2, for a client at this address.
fn header(client: [u8; 4]) -> Vec<u8> {
    let fixed = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C";
    [&fixed[..], &client, &[10, 0, 0, 1, 0x30, 0x39, 7, 0x5B]].concat()
}

#[tokio::test]
async fn behind_a_proxy_the_addresses_of_its_clients_count() {
    let broker = start(|limits| limits.connections_per_address = Some(1)).await;
    let proxied = Listener::tcp(([127, 0, 0, 1], 0)).proxy_protocol();
    let addr: SocketAddr = broker.listen(proxied).await.unwrap().local_addr().unwrap();
    let mut connections = Vec::new();
    let refused = Some(ReasonCode::QUOTA_EXCEEDED);
    let (one, other) = ([203, 0, 113, 1], [203, 0, 113, 2]);
    for (client, expected) in [(one, IN), (other, IN), (one, refused)] {
        let mut raw = Raw::to(addr).await;
        raw.send(&header(client)).await;
        assert_eq!(enter(&mut raw).await, expected, "{client:?}");
        connections.push(raw);
    }
}
