//! The broker serves clients that we did not write: rumqttc, in MQTT 3.1.1 and 5.0, over sockets
//! on the loopback interface, every version and QoS to every other.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/device.rs"]
mod device;

use std::net::SocketAddr;
use std::time::Duration;

use device::{Got, Options, Seen, VERSIONS, got};
use edge_mq::{Broker, Message, QoS};

async fn start() -> (Broker, SocketAddr) {
    let broker = Broker::builder().listen(([127, 0, 0, 1], 0).into()).start().await.unwrap();
    let addr = broker.local_addr().unwrap();
    (broker, addr)
}

#[tokio::test]
async fn every_qos_reaches_every_version_in_order() {
    let (broker, addr) = start().await;
    for from in VERSIONS {
        for to in VERSIONS {
            for granted in 0..3 {
                let mut reader = Options::new(to, "reader").connect(addr).await;
                reader.subscribe("office/#", granted).await;
                let mut writer = Options::new(from, "writer").connect(addr).await;
                let mut expected = Vec::new();
                for number in 0..30_u8 {
                    let payload = number.to_string();
                    writer.publish("office/lab", number % 3, false, &payload).await;
                    expected.push(got("office/lab", &payload, granted.min(number % 3), false));
                }
                let mut received: Vec<Got> = Vec::new();
                while received.len() < expected.len() {
                    received.push(reader.message().await);
                }
                assert_eq!(received, expected, "{from:?} to {to:?} with QoS {granted}");
                for _ in 0..20 {
                    assert_eq!(writer.acknowledgement().await, Ok(()));
                }
            }
        }
    }
    broker.shutdown(Duration::from_secs(60)).await.unwrap();
}

#[tokio::test]
async fn retained_message_reaches_a_later_subscriber_until_it_is_cleared() {
    let (_broker, addr) = start().await;
    for version in VERSIONS {
        let mut writer = Options::new(version, "writer").connect(addr).await;
        writer.publish("office/lab", 1, true, "old").await;
        writer.publish("office/lab", 1, true, "new").await;
        writer.publish("office/hall", 1, true, "gone").await;
        writer.publish("office/hall", 1, true, "").await;
        for _ in 0..4 {
            assert_eq!(writer.acknowledgement().await, Ok(()));
        }
        let mut reader = Options::new(version, "reader").connect(addr).await;
        reader.subscribe("office/#", 1).await;
        assert_eq!(reader.message().await, got("office/lab", "new", 1, true));
        writer.publish("office/end", 0, false, "live").await;
        assert_eq!(reader.message().await, got("office/end", "live", 0, false));
    }
}

#[tokio::test]
async fn will_is_published_when_the_socket_is_cut_and_not_after_disconnect() {
    let (_broker, addr) = start().await;
    for version in VERSIONS {
        let mut reader = Options::new(version, "reader").connect(addr).await;
        reader.subscribe("will/#", 1).await;
        let polite = Options::new(version, "polite").will("will/polite", "gone");
        polite.connect(addr).await.disconnect().await;
        let lost = Options::new(version, "lost").will("will/lost", "gone");
        drop(lost.connect(addr).await);
        assert_eq!(reader.message().await, got("will/lost", "gone", 1, false));
    }
}

#[tokio::test]
async fn session_that_is_kept_gets_what_came_meanwhile() {
    let (broker, addr) = start().await;
    for version in VERSIONS {
        let options = Options::new(version, "kept").kept();
        let mut device = options.connect(addr).await;
        assert!(!device.session_present);
        device.subscribe("office/#", 2).await;
        device.disconnect().await;
        let local = broker.local();
        for (payload, qos) in [("1", QoS::AtLeastOnce), ("2", QoS::ExactlyOnce)] {
            let message = Message::new("office/lab".parse().unwrap(), payload).qos(qos);
            local.publish(message).await.unwrap();
        }
        let mut device = options.connect(addr).await;
        assert!(device.session_present);
        assert_eq!(device.message().await, got("office/lab", "1", 1, false));
        assert_eq!(device.message().await, got("office/lab", "2", 2, false));
        drop(device);
        // Clean start ends the session.
        assert!(!Options::new(version, "kept").connect(addr).await.session_present);
    }
}

#[tokio::test]
async fn newer_connection_of_a_client_takes_over() {
    let (_broker, addr) = start().await;
    for version in VERSIONS {
        let options = Options::new(version, "same");
        let mut old = options.connect(addr).await;
        let mut new = options.connect(addr).await;
        while old.next().await != Seen::Closed {}
        new.subscribe("x", 0).await;
        new.publish("x", 0, false, "1").await;
        assert_eq!(new.message().await, got("x", "1", 0, false));
    }
}

#[tokio::test]
async fn local_client_and_devices_reach_each_other() {
    let (broker, addr) = start().await;
    let local = broker.local();
    let mut tap = local.subscribe("up/#", 10).await.unwrap();
    let mut device = Options::new(device::Version::V5, "device").connect(addr).await;
    device.subscribe("down/#", 1).await;
    device.publish("up/1", 1, false, "hello").await;
    let message = tap.recv().await.unwrap();
    assert_eq!((message.topic().as_str(), &message.payload()[..]), ("up/1", &b"hello"[..]));
    assert_eq!(message.published_qos(), QoS::AtLeastOnce);
    local.publish(Message::new("down/1".parse().unwrap(), "hello")).await.unwrap();
    assert_eq!(device.message().await, got("down/1", "hello", 0, false));
}

#[tokio::test]
async fn broker_listens_once_it_is_told_and_on_several_addresses() {
    let broker = Broker::builder().start().await.unwrap();
    assert_eq!(broker.local_addr(), None);
    let first = broker.listen(([127, 0, 0, 1], 0).into()).await.unwrap();
    let second = broker.listen(([127, 0, 0, 1], 0).into()).await.unwrap();
    let (first, second) = (first.local_addr().unwrap(), second.local_addr().unwrap());
    assert_eq!(broker.local_addr(), Some(first));
    let mut reader = Options::new(VERSIONS[0], "reader").connect(first).await;
    reader.subscribe("office/#", 0).await;
    let writer = Options::new(VERSIONS[1], "writer").connect(second).await;
    writer.publish("office/lab", 0, false, "21").await;
    assert_eq!(reader.message().await, got("office/lab", "21", 0, false));

    let taken = broker.listen(first.into()).await.unwrap_err().to_string();
    assert_eq!(taken, format!("cannot listen on {first}"));
    broker.shutdown(Duration::from_secs(60)).await.unwrap();
    let late = broker.listen(first.into()).await.unwrap_err().to_string();
    assert_eq!(late, "broker is closed");
}
