//! Messages to `$delayed/SECONDS/topic`, from clients that we did not write: they come when they are
//! due, also when the broker was stopped meanwhile, and the application may send them, too.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/device.rs"]
mod device;

use std::time::Duration;

use device::{Device, Options, VERSIONS, Version, got};
use edge_mq::{Broker, BrokerBuilder, Limits, Message, PublishError, ReasonCode};

fn builder() -> BrokerBuilder {
    Broker::builder().listen(([127, 0, 0, 1], 0).into())
}

async fn connect(broker: &Broker, version: Version, name: &str) -> Device {
    Options::new(version, name).kept().connect(broker.local_addr().unwrap()).await
}

#[tokio::test]
async fn message_comes_a_second_later_behind_what_was_sent_after_it() {
    for version in VERSIONS {
        let broker = builder().start().await.unwrap();
        let mut reader = connect(&broker, version, "reader").await;
        reader.subscribe("x/#", 2).await;
        let mut device = connect(&broker, version, "device").await;
        for qos in [1, 2] {
            device.publish("$delayed/1/x/y", qos, false, "later").await;
            assert_eq!(device.acknowledgement().await, Ok(()));
        }
        device.publish("x/y", 0, false, "now").await;
        let expected = [("now", 0), ("later", 1), ("later", 2)];
        for (payload, qos) in expected {
            assert_eq!(reader.message().await, got("x/y", payload, qos, false));
        }
        assert_eq!(broker.stats().delayed, 0);
        broker.shutdown(Duration::from_secs(60)).await.unwrap();
    }
}

#[tokio::test]
async fn client_is_told_why_its_message_does_not_wait() {
    let mut limits = Limits::default();
    limits.delayed_messages = 1;
    let broker = builder().limits(limits).start().await.unwrap();
    let mut device = connect(&broker, Version::V5, "device").await;
    for (topic, outcome) in [
        ("$delayed/abc/x", Err("TopicNameInvalid".to_owned())),
        ("$delayed/60/x", Ok(())),
        ("$delayed/60/x", Err("QuotaExceeded".to_owned())),
        ("x", Ok(())),
    ] {
        device.publish(topic, 1, false, "1").await;
        assert_eq!(device.acknowledgement().await, outcome, "{topic}");
    }
    let stats = broker.stats();
    assert_eq!((stats.delayed, stats.delayed_refused, stats.refused_topics), (1, 1, 1));
    // Without a database, it is lost with the broker, which says so.
    drop(device);
    let left = broker.shutdown(Duration::from_secs(60)).await.unwrap();
    assert_eq!(left.undelivered, 1);
}

#[tokio::test]
async fn application_publishes_later_too() {
    let mut limits = Limits::default();
    limits.delayed_messages = 1;
    let broker = builder().limits(limits).start().await.unwrap();
    let local = broker.local();
    let mut reader = local.subscribe("x", 10).await.unwrap();
    let publish = |topic: &str| local.publish(Message::new(topic.parse().unwrap(), "1"));
    assert!(matches!(publish("$delayed/x").await, Err(PublishError::InvalidDelay)));
    publish("$delayed/1/x").await.unwrap();
    let full = publish("$delayed/1/x").await.unwrap_err();
    let PublishError::NotStored { reason, source } = &full else { panic!("{full}") };
    assert_eq!(*reason, ReasonCode::QUOTA_EXCEEDED);
    assert_eq!(source.to_string(), "1 messages wait to be published later");
    assert_eq!(reader.recv().await.unwrap().topic().as_str(), "x");
}

#[cfg(feature = "db")]
#[tokio::test]
async fn what_waited_when_the_broker_was_stopped_comes_when_it_is_back() {
    for version in VERSIONS {
        let dir = tempfile::tempdir().unwrap();
        let db = edge_db::Db::open(dir.path()).unwrap();
        let broker = builder().db(&db).start().await.unwrap();
        connect(&broker, version, "reader").await.subscribe("x", 2).await;
        let mut device = connect(&broker, version, "device").await;
        for (topic, payload) in
            [("$delayed/2/x", "2"), ("$delayed/1/x", "1"), ("$delayed/3600/x", "3")]
        {
            device.publish(topic, 2, false, payload).await;
            assert_eq!(device.acknowledgement().await, Ok(()));
        }
        drop(device);
        broker.shutdown(Duration::from_secs(60)).await.unwrap();
        drop(broker);
        let broker = builder().db(&db).start().await.unwrap();
        let mut reader = connect(&broker, version, "reader").await;
        for payload in ["1", "2"] {
            assert_eq!(reader.message().await, got("x", payload, 2, false));
        }
        assert_eq!(broker.stats().delayed, 1);
        drop(reader);
        broker.shutdown(Duration::from_secs(60)).await.unwrap();
    }
}
