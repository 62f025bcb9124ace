//! A disk without space, by the disk budget of the database: what is to be stored is refused, or waits
//! until there is space again, as configured. Clients that we did not write publish meanwhile.

#![cfg(feature = "db")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/device.rs"]
mod device;
#[path = "support/disk.rs"]
mod disk;

use std::time::Duration;

use device::{Device, Options, VERSIONS, Version, got};
use disk::{fill, make_room, open};
use edge_db::{Db, Entry, LogOptions, Seq};
use edge_mq::{Broker, Left, Limits, Message, PublishError, QoS, WhenDiskFull};

async fn start(db: &Db, when_disk_full: WhenDiskFull) -> Broker {
    let mut limits = Limits::default();
    limits.when_disk_full = when_disk_full;
    let builder = Broker::builder().listen(([127, 0, 0, 1], 0).into()).limits(limits).db(db);
    let broker = builder.start().await.unwrap();
    broker.journal("all/#".parse().unwrap(), "all").await.unwrap();
    broker
}

async fn connect(broker: &Broker, version: Version, name: &str) -> Device {
    Options::new(version, name).connect(broker.local_addr().unwrap()).await
}

async fn has_found_the_disk_full(broker: &Broker, times: u64) {
    while broker.stats().disk_full < times {
        tokio::task::yield_now().await;
    }
}

fn stored(db: &Db) -> usize {
    db.log("all").unwrap().read(Seq::new(0), usize::MAX).unwrap().len()
}

#[tokio::test]
async fn full_disk_is_waited_for_and_all_goes_on_when_there_is_space() {
    for (version, qos) in [(VERSIONS[0], 1), (VERSIONS[0], 2), (VERSIONS[1], 1), (VERSIONS[1], 2)] {
        let dir = tempfile::tempdir().unwrap();
        let (db, ballast) = open(dir.path());
        let broker = start(&db, WhenDiskFull::Wait).await;
        let reader = Options::new(version, "reader").kept();
        let mut reader = reader.connect(broker.local_addr().unwrap()).await;
        reader.subscribe("all/#", 1).await;
        let mut writers = Vec::new();
        for name in ["a", "b", "c"] {
            writers.push(connect(&broker, version, name).await);
        }
        fill(&db, &ballast);
        for (at, writer) in writers.iter().enumerate() {
            writer.publish("all/x", qos, false, &at.to_string()).await;
        }
        has_found_the_disk_full(&broker, 3).await;
        // Who wants nothing of the disk is served.
        connect(&broker, version, "other").await.is_served().await;
        assert_eq!((stored(&db), broker.stats().journal_refused), (0, 0));
        make_room(&db, &ballast);
        for writer in &mut writers {
            assert_eq!(writer.acknowledgement().await, Ok(()));
        }
        assert_eq!(stored(&db), 3);
        let mut seen = Vec::new();
        for _ in 0..3 {
            seen.push(reader.message().await);
        }
        seen.sort_by(|one, other| one.payload.cmp(&other.payload));
        let expected = ["0", "1", "2"].map(|payload| got("all/x", payload, 1, false));
        assert_eq!(seen, expected);
        assert_eq!(broker.stats().journal_refused, 0);
    }
}

#[tokio::test]
async fn full_disk_is_told_at_once_where_nothing_else_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let (db, ballast) = open(dir.path());
    let broker = start(&db, WhenDiskFull::default()).await;
    let mut writer = connect(&broker, Version::V5, "a").await;
    fill(&db, &ballast);
    for qos in [1, 2] {
        writer.publish("all/x", qos, false, "refused").await;
        assert_eq!(writer.acknowledgement().await, Err("QuotaExceeded".to_owned()));
    }
    make_room(&db, &ballast);
    // Room is known a little later.
    loop {
        writer.publish("all/x", 1, false, "taken").await;
        if writer.acknowledgement().await.is_ok() {
            break;
        }
    }
    assert_eq!(stored(&db), 1);
}

#[tokio::test]
async fn full_log_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let (db, _ballast) = open(dir.path());
    let log = db.log_with("full", LogOptions::new().max_bytes(1000)).unwrap();
    let cursor = log.cursor("reader").unwrap();
    while log.append(Entry::new("x")).is_ok() {}
    let broker = start(&db, WhenDiskFull::Wait).await;
    broker.journal("full/#".parse().unwrap(), "full").await.unwrap();
    let mut writer = connect(&broker, Version::V5, "a").await;
    writer.publish("full/x", 1, false, "refused").await;
    assert_eq!(writer.acknowledgement().await, Err("QuotaExceeded".to_owned()));
    assert_eq!(broker.stats().disk_full, 0);
    drop(cursor);
}

#[tokio::test]
async fn shutdown_does_not_wait_for_space_beyond_its_deadline() {
    let dir = tempfile::tempdir().unwrap();
    let (db, ballast) = open(dir.path());
    let broker = start(&db, WhenDiskFull::Wait).await;
    fill(&db, &ballast);
    let local = broker.local();
    let publish = tokio::spawn(async move {
        let message = Message::new("all/x".parse().unwrap(), "1").qos(QoS::AtLeastOnce);
        local.publish(message).await
    });
    has_found_the_disk_full(&broker, 1).await;
    let left = broker.shutdown(Duration::ZERO).await.unwrap();
    assert_ne!(left, Left::default());
    assert_eq!(left.uncommitted, 1);
    drop(broker);
    // The thread that waited is gone, and with it what it had.
    assert!(matches!(publish.await.unwrap(), Err(PublishError::Closed)));
    assert_eq!(stored(&db), 0);
}
