//! What a broker with a database has acknowledged is in the Log: in order, with topic, client and
//! properties. Clients that we did not write publish over sockets, and the Log is read back.

#![cfg(feature = "db")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/device.rs"]
mod device;

use std::error::Error;
use std::time::Duration;

use device::{Device, Options, Seen, VERSIONS, Version};
use edge_db::{Db, Log, LogOptions, Record, Seq};
use edge_mq::{Broker, Left, Message, PublishError, QoS, ReasonCode};

async fn start(db: &Db) -> Broker {
    let builder = Broker::builder().listen(([127, 0, 0, 1], 0).into()).db(db);
    builder.start().await.unwrap()
}

async fn connect(broker: &Broker, version: Version, name: &str) -> Device {
    Options::new(version, name).connect(broker.local_addr().unwrap()).await
}

fn records(log: &Log) -> Vec<Record> {
    log.read(Seq::new(0), usize::MAX).unwrap().into_iter().collect()
}

fn payloads(log: &Log) -> Vec<String> {
    let text = |record: &Record| String::from_utf8(record.value().to_vec()).unwrap();
    records(log).iter().map(text).collect()
}

#[tokio::test]
async fn every_acknowledged_message_is_in_the_log_in_order_with_its_topic_and_headers() {
    for version in VERSIONS {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path()).unwrap();
        let broker = start(&db).await;
        broker.journal("office/+/climate".parse().unwrap(), "readings").await.unwrap();
        let mut device = connect(&broker, version, "sensor").await;
        for number in 0..500 {
            let qos = 1 + u8::try_from(number % 2).unwrap();
            device.publish("office/lab/climate", qos, false, &number.to_string()).await;
            device.publish("office/lab/noise", qos, false, "not journaled").await;
        }
        for _ in 0..1000 {
            assert_eq!(device.acknowledgement().await, Ok(()));
        }
        // All acknowledgements are there, so all must be in the Log, without any more waiting.
        let log = db.log("readings").unwrap();
        let expected: Vec<String> = (0..500).map(|number| number.to_string()).collect();
        assert_eq!(payloads(&log), expected);
        for (number, record) in records(&log).iter().enumerate() {
            assert_eq!(&record.key()[..], b"office/lab/climate");
            assert_eq!(&record.header("client").unwrap()[..], b"sensor");
            assert_eq!(record.header("qos").unwrap()[0] as usize, 1 + number % 2);
            assert!(record.header("retain").is_none());
        }
        assert_eq!(broker.stats().journaled, 500);
        broker.shutdown(Duration::from_secs(60)).await.unwrap();
    }
}

#[tokio::test]
async fn properties_of_a_message_are_headers_of_its_record() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let broker = start(&db).await;
    broker.journal("#".parse().unwrap(), "all").await.unwrap();
    let message = Message::new("x".parse().unwrap(), "1")
        .qos(QoS::ExactlyOnce)
        .retain(true)
        .payload_is_utf8(true)
        .expires_after(Duration::from_secs(0x0102_0304))
        .content_type("text/plain".parse().unwrap())
        .response_topic("answer".parse().unwrap())
        .correlation_data("42")
        .user_property("unit".parse().unwrap(), "ppm".parse().unwrap());
    broker.local().publish(message).await.unwrap();
    let record = &records(&db.log("all").unwrap())[0];
    let headers: Vec<(String, Vec<u8>)> =
        record.headers().map(|(name, value)| (String::from(name), value.to_vec())).collect();
    let expected = [
        ("qos", &[2][..]),
        ("retain", &[1]),
        ("expiry", &[1, 2, 3, 4]),
        ("utf8", &[1]),
        ("content-type", b"text/plain"),
        ("response-topic", b"answer"),
        ("correlation-data", b"42"),
        ("user.unit", b"ppm"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_vec()));
    assert_eq!(headers, expected);
}

/// A Log that takes nothing more, as a cursor keeps what is in it.
fn full_log(db: &Db) -> (Log, edge_db::Cursor) {
    let log = db.log_with("full", LogOptions::new().max_bytes(1000)).unwrap();
    let cursor = log.cursor("reader").unwrap();
    while log.append(edge_db::Entry::new("x")).is_ok() {}
    (log, cursor)
}

#[tokio::test]
async fn full_log_is_told_to_v5_closes_v311_and_routes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let (log, cursor) = full_log(&db);
    let broker = start(&db).await;
    broker.journal("full/#".parse().unwrap(), "full").await.unwrap();
    let mut tap = broker.local().subscribe("#", 100).await.unwrap();
    let before = records(&log).len();

    let mut device = connect(&broker, Version::V5, "v5").await;
    for qos in [1, 2] {
        device.publish("full/x", qos, false, "refused").await;
        assert_eq!(device.acknowledgement().await, Err("QuotaExceeded".to_owned()));
    }
    for qos in [1, 2] {
        let mut device = connect(&broker, Version::V311, "v311").await;
        device.publish("full/x", qos, false, "refused").await;
        assert_eq!(device.next().await, Seen::Closed);
    }
    let message = Message::new("full/x".parse().unwrap(), "refused");
    let error = broker.local().publish(message).await.unwrap_err();
    assert!(error.source().unwrap().to_string().contains("full"), "{error:?}");
    let PublishError::NotStored { reason, .. } = error else { panic!("{error}") };
    assert_eq!(reason, ReasonCode::QUOTA_EXCEEDED);
    assert_eq!(broker.stats().journal_refused, 5);
    assert_eq!(records(&log).len(), before);

    // Once there is room, the same connection goes on.
    let mut batch = db.batch();
    batch.advance(&cursor, log.bounds().unwrap().end);
    batch.commit().unwrap();
    device.publish("full/x", 1, false, "taken").await;
    assert_eq!(device.acknowledgement().await, Ok(()));
    // The first that anybody gets.
    assert_eq!(tap.recv().await.unwrap().payload(), "taken");
    assert_eq!(payloads(&log).last().map(String::as_str), Some("taken"));
}

#[tokio::test]
async fn journal_rules_survive_a_restart_and_can_be_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let broker = start(&db).await;
    for (filter, log) in [("a/#", "one"), ("a/+", "two"), ("b", "two"), ("b", "two")] {
        broker.journal(filter.parse().unwrap(), log).await.unwrap();
    }
    assert!(broker.unjournal("a/+".parse().unwrap(), "two").await.unwrap());
    assert!(!broker.unjournal("a/+".parse().unwrap(), "two").await.unwrap());
    let rules = broker.journal_rules();
    broker.shutdown(Duration::from_secs(60)).await.unwrap();
    drop(broker);
    db.shutdown(Duration::from_secs(60)).unwrap();
    drop(db);

    let db = Db::open(dir.path()).unwrap();
    let broker = start(&db).await;
    assert_eq!(broker.journal_rules(), rules);
    let shown: Vec<_> =
        rules.iter().map(|rule| (rule.filter.as_str(), rule.log.as_str())).collect();
    assert_eq!(shown, [("a/#", "one"), ("b", "two")]);
    let mut device = connect(&broker, Version::V5, "device").await;
    for topic in ["a/x", "b"] {
        device.publish(topic, 1, false, topic).await;
        assert_eq!(device.acknowledgement().await, Ok(()));
    }
    assert_eq!(payloads(&db.log("one").unwrap()), ["a/x"]);
    assert_eq!(payloads(&db.log("two").unwrap()), ["b"]);
}

#[tokio::test]
async fn shutdown_under_load_keeps_order_and_all_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let broker = start(&db).await;
    broker.journal("#".parse().unwrap(), "all").await.unwrap();
    let mut device = connect(&broker, Version::V5, "device").await;
    for number in 0..500 {
        device.publish("x", 1, false, &number.to_string()).await;
    }
    // Some are through, the others are anywhere between here and the disk.
    let mut acknowledged = 0;
    while acknowledged < 50 {
        device.acknowledgement().await.unwrap();
        acknowledged += 1;
    }
    let left = broker.shutdown(Duration::from_secs(60)).await.unwrap();
    assert_eq!(left, Left::default());
    loop {
        match device.next().await {
            Seen::Acknowledged(outcome) => {
                outcome.unwrap();
                acknowledged += 1;
            }
            Seen::Closed => break,
            other => panic!("{other:?}"),
        }
    }
    // rumqttc forgets what it read together with the DISCONNECT, so it may know of fewer.
    let stored = payloads(&db.log("all").unwrap());
    let expected: Vec<String> = (0..stored.len()).map(|number| number.to_string()).collect();
    assert_eq!(stored, expected);
    assert!((acknowledged..=500).contains(&stored.len()), "{acknowledged}, {}", stored.len());
}
