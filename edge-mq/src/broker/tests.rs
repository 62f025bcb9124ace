//! The broker over real sockets, with a journal whose commits end when the test says so.

#![allow(clippy::disallowed_methods, reason = "a shell: it brings the hub the time")]

use std::future::Future;
use std::task::Context;
use std::time::Instant;

use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

use super::builder::{Doors, Stores, serve};
use super::*;
use crate::hub::Deed;
use crate::limits::{Limits, WhenDiskFull};
use crate::packet::{Decoder, Packet, QoS, ReasonCode, Version};
use crate::store::{PageFuture, PageRequest, Refused, Store, Stored};
use crate::{Message, PublishError};

/// How a commit ends.
type End = oneshot::Sender<Result<(), Refused>>;

/// Hands each commit to the test: its payloads, and what ends it.
#[derive(Debug)]
struct HeldBack(Mutex<mpsc::Sender<(Vec<String>, End)>>);

impl Store for HeldBack {
    fn commit(&self, group: &[Deed]) -> Result<(), Refused> {
        let payloads = group.iter().filter_map(Deed::stored);
        let payloads = payloads.map(|m| String::from_utf8_lossy(m.payload()).into_owned());
        let (end, ended) = oneshot::channel();
        let commit = (payloads.collect(), end);
        self.0.lock().try_send(commit).expect("the test has room for its commits");
        // A test that is over ends no more commits.
        ended.blocking_recv().unwrap_or_else(|_| Err(given_up(false, false)))
    }

    fn read(self: Arc<Self>, request: PageRequest) -> PageFuture {
        unreachable!("no session is stored that could ask for {request:?}")
    }
}

/// A refusal, perhaps for what only some of the group wants, perhaps because the disk is full.
fn given_up(is_selective: bool, is_full: bool) -> Refused {
    let cause = Arc::new(std::fmt::Error);
    Refused { code: ReasonCode::QUOTA_EXCEEDED, cause, is_selective, is_full }
}

type Commits = mpsc::Receiver<(Vec<String>, End)>;

/// A broker that journals everything.
async fn start(limits: Limits) -> (Broker, Commits) {
    let mut hub = Hub::new(limits.workable());
    hub.add_rule(&"#".parse().unwrap(), 0);
    start_with(hub).await
}

async fn start_with(hub: Hub) -> (Broker, Commits) {
    let (sender, commits) = mpsc::channel(100);
    let limits = hub.limits().clone();
    let stores = Stores {
        store: Some(Arc::new(HeldBack(Mutex::new(sender)))),
        #[cfg(feature = "db")]
        db: None,
    };
    let doors = Doors { listen: vec![([127, 0, 0, 1], 0).into()], ..Doors::default() };
    let broker = serve(doors, hub, limits, stores).await.unwrap();
    (broker, commits)
}

struct Client {
    stream: TcpStream,
    decoder: Decoder,
    buffer: BytesMut,
}

impl Client {
    /// Connects with MQTT 5.0 and waits for CONNACK.
    async fn connect(broker: &Broker) -> Client {
        Client::connect_as(broker, b'c').await
    }

    async fn open(broker: &Broker) -> Client {
        let stream = TcpStream::connect(broker.local_addr().unwrap()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let decoder = Decoder::new(Version::V5, 1024);
        Client { stream, decoder, buffer: BytesMut::new() }
    }

    async fn connect_as(broker: &Broker, name: u8) -> Client {
        let mut client = Client::open(broker).await;
        client.send(b"\x10\x0E\0\x04MQTT\x05\x02\0\0\0\0\x01").await;
        client.send(&[name]).await;
        assert!(matches!(client.next().await, Some(Packet::ConnAck(_))));
        client
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Publishes with QoS 1; the payload is the packet identifier as a digit.
    async fn publish(&mut self, packet_id: u8) {
        self.send(&[0x32, 7, 0, 1, b'x', 0, packet_id, 0, b'0' + packet_id]).await;
    }

    /// The next packet; `None` when the connection is closed.
    async fn next(&mut self) -> Option<Packet> {
        loop {
            if let Some(packet) = self.decoder.decode(&mut self.buffer).unwrap() {
                return Some(packet);
            }
            if self.stream.read_buf(&mut self.buffer).await.unwrap() == 0 {
                return None;
            }
        }
    }

    /// Identifiers of PUBACKs up to the DISCONNECT, and what that says.
    async fn rest(mut self) -> (Vec<u16>, Option<ReasonCode>) {
        let mut acknowledged = Vec::new();
        let mut reason = None;
        while let Some(packet) = self.next().await {
            match packet {
                Packet::PubAck(ack) => acknowledged.push(ack.id.get()),
                Packet::Disconnect(disconnect) => reason = Some(disconnect.code),
                other => panic!("{other:?}"),
            }
        }
        (acknowledged, reason)
    }
}

#[tokio::test]
async fn puback_waits_for_the_commit_while_the_connection_goes_on() {
    let (broker, mut commits) = start(Limits::default()).await;
    let mut client = Client::connect(&broker).await;
    client.publish(1).await;
    let (payloads, end) = commits.recv().await.unwrap();
    assert_eq!(payloads, ["1"]);
    // PINGREQ behind it is answered first: the PUBACK waits, the connection does not.
    client.send(&[0xC0, 0]).await;
    assert_eq!(client.next().await, Some(Packet::PingResp));
    end.send(Ok(())).unwrap();
    assert!(matches!(client.next().await, Some(Packet::PubAck(_))));
}

#[tokio::test]
async fn shutdown_waits_for_commits_and_acknowledges_them() {
    let (broker, mut commits) = start(Limits::default()).await;
    let mut client = Client::connect(&broker).await;
    client.publish(1).await;
    let (_, first) = commits.recv().await.unwrap();
    client.publish(2).await;
    // Behind it, so that the broker has both.
    client.send(&[0xC0, 0]).await;
    assert_eq!(client.next().await, Some(Packet::PingResp));
    let stopping = tokio::spawn({
        let broker = broker.clone();
        async move { broker.shutdown(Duration::from_secs(60)).await.unwrap() }
    });
    // The broker is closed once it refuses this.
    let local = broker.local();
    while local.subscribe("x", 1).await.is_ok() {
        tokio::task::yield_now().await;
    }
    first.send(Ok(())).unwrap();
    let (_, second) = commits.recv().await.unwrap();
    second.send(Ok(())).unwrap();
    let (acknowledged, reason) = client.rest().await;
    assert_eq!((acknowledged, reason), (vec![1, 2], Some(ReasonCode::SERVER_SHUTTING_DOWN)));
    assert_eq!(stopping.await.unwrap(), Left::default());
}

#[tokio::test]
async fn shutdown_tells_what_was_not_committed_by_its_deadline() {
    let (broker, mut commits) = start(Limits::default()).await;
    let mut client = Client::connect(&broker).await;
    client.publish(1).await;
    let held = commits.recv().await.unwrap();
    let left = broker.shutdown(Duration::ZERO).await.unwrap();
    assert_eq!((left.connections, left.uncommitted, left.undelivered), (1, 1, 0));
    assert!(client.rest().await.0.is_empty());
    drop(held);
}

#[tokio::test]
async fn shutdown_does_not_wait_for_who_has_not_said_anything() {
    let limits = Limits { connect_within: Duration::from_secs(3600), ..Limits::default() };
    let (broker, _commits) = start(limits).await;
    let mut silent = TcpStream::connect(broker.local_addr().unwrap()).await.unwrap();
    // Accepted, as this one came later.
    let client = Client::connect(&broker).await;
    drop(client);
    let stopping = broker.shutdown(Duration::from_secs(3600));
    let left = timeout(Duration::from_secs(60), stopping).await.expect("waits for ever").unwrap();
    assert_eq!(left, Left::default());
    assert_eq!(silent.read(&mut [0; 16]).await.unwrap(), 0);
    // Again is harmless.
    assert_eq!(broker.shutdown(Duration::ZERO).await.unwrap(), Left::default());
}

#[tokio::test]
async fn connection_is_not_read_from_while_the_disk_is_behind() {
    let limits = Limits { uncommitted_bytes: 0, ..Limits::default() };
    let (broker, mut commits) = start(limits).await;
    let mut client = Client::connect(&broker).await;
    client.publish(1).await;
    let (_, first) = commits.recv().await.unwrap();
    for packet_id in 2..=5 {
        client.publish(packet_id).await;
    }
    // A connection that came later is served, so the broker had its time.
    let other = Client::connect_as(&broker, b'o').await;
    assert_eq!(broker.stats().received, 1);
    drop(other);
    first.send(Ok(())).unwrap();
    let (payloads, second) = commits.recv().await.unwrap();
    assert_eq!(payloads.first().map(String::as_str), Some("2"));
    drop(second);
}

#[tokio::test]
async fn what_comes_during_a_commit_is_one_group_and_half_of_it_is_tried_where_some_is_refused() {
    let (broker, mut commits) = start(Limits::default()).await;
    let mut client = Client::connect(&broker).await;
    client.publish(1).await;
    let (_, first) = commits.recv().await.unwrap();
    for packet_id in 2..=5 {
        client.publish(packet_id).await;
    }
    client.send(&[0xC0, 0]).await;
    assert_eq!(client.next().await, Some(Packet::PingResp));
    first.send(Ok(())).unwrap();
    // The third is what the store does not take.
    let tried = ["2345", "23", "2", "3", "45"];
    for expected in tried {
        let (payloads, end) = commits.recv().await.unwrap();
        assert_eq!(payloads.concat(), expected);
        let takes = !expected.contains('3');
        end.send(if takes { Ok(()) } else { Err(given_up(true, false)) }).unwrap();
    }
    for packet_id in 1..=5 {
        let Some(Packet::PubAck(ack)) = client.next().await else { panic!("no PUBACK") };
        let code = if packet_id == 3 { ReasonCode::QUOTA_EXCEEDED } else { ReasonCode::SUCCESS };
        assert_eq!((ack.id.get(), ack.code), (packet_id, code));
    }
}

fn waiting(uncommitted_bytes: usize) -> Limits {
    Limits { when_disk_full: WhenDiskFull::Wait, uncommitted_bytes, ..Limits::default() }
}

#[tokio::test]
async fn group_that_the_full_disk_refuses_is_tried_again_in_front_of_all_others() {
    let (broker, mut commits) = start(waiting(1024)).await;
    let mut client = Client::connect(&broker).await;
    client.publish(1).await;
    let (_, first) = commits.recv().await.unwrap();
    for packet_id in 2..=3 {
        client.publish(packet_id).await;
    }
    client.send(&[0xC0, 0]).await;
    assert_eq!(client.next().await, Some(Packet::PingResp));
    first.send(Err(given_up(false, true))).unwrap();
    // Once because the disk is full, then because a budget is used up, which may be for some alone.
    let tried = [("1", true, true), ("1", false, false), ("23", true, true), ("2", true, true)];
    for (expected, is_selective, is_full) in tried {
        let (payloads, end) = commits.recv().await.unwrap();
        assert_eq!(payloads.concat(), expected);
        let outcome = if is_full { Err(given_up(is_selective, true)) } else { Ok(()) };
        end.send(outcome).unwrap();
    }
    for expected in ["2", "3"] {
        let (payloads, end) = commits.recv().await.unwrap();
        assert_eq!(payloads.concat(), expected);
        end.send(Ok(())).unwrap();
    }
    for packet_id in 1..=3 {
        let Some(Packet::PubAck(ack)) = client.next().await else { panic!("no PUBACK") };
        assert_eq!((ack.id.get(), ack.code), (packet_id, ReasonCode::SUCCESS));
    }
    assert_eq!(broker.stats().disk_full, 3);
}

#[tokio::test]
async fn what_is_refused_for_another_reason_or_too_much_to_wait_is_refused_at_once() {
    for (uncommitted_bytes, is_full) in [(1024, false), (0, true)] {
        let (broker, mut commits) = start(waiting(uncommitted_bytes)).await;
        let mut client = Client::connect(&broker).await;
        client.publish(1).await;
        let (_, end) = commits.recv().await.unwrap();
        end.send(Err(given_up(true, is_full))).unwrap();
        let Some(Packet::PubAck(ack)) = client.next().await else { panic!("no PUBACK") };
        assert_eq!(ack.code, ReasonCode::QUOTA_EXCEEDED);
    }
}

#[tokio::test]
async fn nothing_is_said_before_connack_though_the_connection_ends_before_its_commit() {
    // MQTT-3.14.0-1.
    let mut hub = Hub::new(Limits::default().workable());
    hub.restore(Stored::default(), Instant::now(), &mut Effects::default());
    let (broker, mut commits) = start_with(hub).await;
    let mut client = Client::open(&broker).await;
    // MQTT 5.0 with a session that stays for a second, whose commit comes before CONNACK.
    client.send(b"\x10\x13\0\x04MQTT\x05\0\0\0\x05\x11\0\0\0\x01\0\x01c").await;
    let (_, end) = commits.recv().await.unwrap();
    // PUBREL with the flags of PUBREC.
    client.send(&[0x60, 2, 0, 1]).await;
    assert_eq!(client.rest().await, (Vec::new(), None));
    assert_eq!(broker.stats().protocol_errors, 1);
    drop(end);
}

#[tokio::test]
async fn dropped_publish_of_a_local_client_is_stored_in_its_place() {
    let (broker, mut commits) = start(Limits::default()).await;
    let local = broker.local();
    let message = |payload: &str| Message::new("x".parse().unwrap(), payload.to_owned());
    for payload in ["1", "2", "3"] {
        let mut publish = Box::pin(local.publish(message(payload).qos(QoS::AtLeastOnce)));
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(publish.as_mut().poll(&mut context).is_pending());
        drop(publish);
        let (payloads, end) = commits.recv().await.unwrap();
        assert_eq!(payloads, [payload]);
        end.send(Ok(())).unwrap();
    }
    let left = broker.shutdown(Duration::from_secs(60)).await.unwrap();
    assert_eq!((left, broker.stats().journaled), (Left::default(), 3));
    let refused = local.publish(message("4")).await;
    assert!(matches!(refused, Err(PublishError::Closed)));
}

#[tokio::test]
async fn dropping_the_last_handle_cuts_connections_and_ends_local_subscriptions() {
    let (broker, _commits) = start(Limits::default()).await;
    let mut local = broker.local().subscribe("#", 1).await.unwrap();
    let client = Client::connect(&broker).await;
    drop(broker);
    assert!(local.recv().await.is_none());
    assert!(client.rest().await.0.is_empty());
}

#[tokio::test]
async fn busiest_topics_come_first() {
    let broker = Broker::builder().start().await.unwrap();
    let counter = broker.count_topics("x/#", 2).unwrap();
    for topic in ["x/a", "x/b", "x/b", "x/c", "y"] {
        broker.local().publish(Message::new(topic.parse().unwrap(), "1")).await.unwrap();
    }
    let counts =
        counter.counts().into_iter().map(|count| (count.topic.to_string(), count.messages));
    assert_eq!(counts.collect::<Vec<_>>(), [("x/b".to_owned(), 2), ("x/a".to_owned(), 1)]);
    assert_eq!(counter.others(), (1, 1));
    assert!(matches!(broker.count_topics("$share/g/x", 2), Err(SubscribeError::Shared)));
    broker.shutdown(Duration::from_secs(5)).await.unwrap();
    assert!(matches!(broker.count_topics("x", 2), Err(SubscribeError::Closed)));
}
