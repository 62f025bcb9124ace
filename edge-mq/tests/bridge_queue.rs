//! What waits for a link: on disk, bounded in bytes and age, with what happens beyond as the settings
//! say, by priority, and counted.

#![cfg(feature = "bridge")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/bridge.rs"]
mod support;

use std::time::Duration;

use edge_mq::bridge::{Bridge, Priority, Queue, Rule, WhenFull};
use edge_mq::packet::Version;
use edge_mq::{PublishError, QoS, ReasonCode};
use support::{Site, bridge_to, got, message, nobody, until};

/// A bridge that reaches nobody.
fn offline(queue: Queue) -> Bridge {
    Bridge::new("bridge")
        .remote(nobody().0)
        .retry(Duration::ZERO, Duration::from_millis(10))
        .queue(queue)
        .send(Rule::new("up/#".parse().unwrap()))
}

fn online(there: &Site, queue: Queue) -> Bridge {
    bridge_to(there, Version::V5).queue(queue).send(Rule::new("up/#".parse().unwrap()))
}

/// About 1000 bytes each in the queue.
async fn publish(here: &Site, numbers: std::ops::Range<u32>) -> Result<(), PublishError> {
    for number in numbers {
        let payload = format!("{number:0>980}");
        here.broker.local().publish(message("up/a", &payload, QoS::AtLeastOnce)).await?;
    }
    Ok(())
}

async fn numbers(there: &Site, here: &Site, bridge: Bridge) -> Vec<u32> {
    let mut sent = there.subscribe("up/#").await;
    here.broker.replace_bridge(bridge).await.unwrap();
    until(here, |status| status.connected && status.queued_messages == 0).await;
    there.publish(message("up/end", "0", QoS::AtLeastOnce)).await;
    let mut numbers = Vec::new();
    loop {
        let (topic, payload, _) = got(&mut sent).await;
        if topic == "up/end" {
            return numbers;
        }
        numbers.push(payload.parse().unwrap());
    }
}

#[tokio::test]
async fn full_queue_drops_the_oldest_and_counts_them() {
    let (here, there) = (Site::start().await, Site::start().await);
    let queue = Queue::new().max_bytes(20_000).when_full(WhenFull::DropOldest);
    here.broker.add_bridge(offline(queue)).await.unwrap();
    publish(&here, 0..100).await.unwrap();
    let status = until(&here, |_| true).await;
    assert_eq!(status.queued_messages + status.dropped.oldest, 100);
    assert!(status.queued_bytes <= 20_000 && status.dropped.oldest > 70, "{status:?}");
    assert!(status.oldest.is_some());
    let first = u32::try_from(status.dropped.oldest).unwrap();
    let crossed = numbers(&there, &here, online(&there, queue)).await;
    assert_eq!(crossed, (first..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn full_queue_drops_what_is_new_and_it_is_delivered_here_all_the_same() {
    let (here, there) = (Site::start().await, Site::start().await);
    let mut local = here.subscribe("up/#").await;
    let queue = Queue::new().max_bytes(20_000).when_full(WhenFull::DropNew);
    here.broker.add_bridge(offline(queue)).await.unwrap();
    publish(&here, 0..100).await.unwrap();
    let status = until(&here, |_| true).await;
    assert_eq!(status.queued_messages + status.dropped.new, 100);
    assert!(status.dropped.new > 50 && status.dropped.oldest == 0, "{status:?}");
    for _ in 0..100 {
        got(&mut local).await;
    }
    let crossed = numbers(&there, &here, online(&there, queue)).await;
    assert!(crossed.len() >= 20, "{crossed:?}");
    assert_eq!(crossed[..20], (0..20).collect::<Vec<_>>());
    assert_eq!(crossed.len() as u64, status.queued_messages);
    // There is room again, once the position is stored.
    let mut sent = there.subscribe("up/#").await;
    let before = until(&here, |_| true).await.sent;
    while until(&here, |_| true).await.sent == before {
        publish(&here, 1000..1001).await.unwrap();
    }
    assert!(got(&mut sent).await.1.ends_with("1000"));
}

#[tokio::test]
async fn full_queue_holds_back_publishers_and_takes_them_again_when_it_has_room() {
    let (here, there) = (Site::start().await, Site::start().await);
    let mut local = here.subscribe("up/#").await;
    let queue = Queue::new().max_bytes(20_000).when_full(WhenFull::HoldBack);
    here.broker.add_bridge(offline(queue)).await.unwrap();
    let refused = publish(&here, 0..100).await.unwrap_err();
    let PublishError::NotStored { reason, .. } = refused else { panic!("{refused}") };
    assert_eq!(reason, ReasonCode::QUOTA_EXCEEDED);
    let status = until(&here, |_| true).await;
    assert_eq!(status.dropped, Default::default());
    let waiting = u32::try_from(status.queued_messages).unwrap();
    assert!((10..=20).contains(&waiting), "{status:?}");
    let crossed = numbers(&there, &here, online(&there, queue)).await;
    assert_eq!(crossed, (0..waiting).collect::<Vec<_>>());
    // There is room again, once the position is stored.
    while publish(&here, 0..1).await.is_err() {}
    publish(&here, 1..5).await.unwrap();
    // What was refused was not delivered here either.
    for number in (0..waiting).chain(0..5) {
        assert_eq!(got(&mut local).await.1.parse::<u32>().unwrap(), number);
    }
}

#[tokio::test]
async fn what_has_waited_too_long_is_dropped_and_counted() {
    let here = Site::start().await;
    here.broker.add_bridge(offline(Queue::new().max_age(Duration::ZERO))).await.unwrap();
    publish(&here, 0..10).await.unwrap();
    let status = until(&here, |status| status.dropped.aged == 10).await;
    assert_eq!((status.queued_messages, status.oldest), (0, None));
    // Without that limit nothing goes, and what is removed is told.
    here.broker.replace_bridge(offline(Queue::new())).await.unwrap();
    publish(&here, 0..10).await.unwrap();
    assert_eq!(here.broker.remove_bridge("bridge").await.unwrap(), 10);
    here.broker.add_bridge(offline(Queue::new())).await.unwrap();
    let status = until(&here, |_| true).await;
    assert_eq!((status.queued_messages, status.dropped), (0, Default::default()));
}

#[tokio::test]
async fn what_is_urgent_does_not_wait_behind_a_backlog_and_each_topic_keeps_its_order() {
    let (here, there) = (Site::start().await, Site::start().await);
    let rules = |bridge: Bridge| {
        bridge
            .send(Rule::new("alarm/#".parse().unwrap()).priority(Priority::High))
            .send(Rule::new("#".parse().unwrap()))
    };
    let bridge = Bridge::new("bridge").remote(nobody().0);
    here.broker.add_bridge(rules(bridge)).await.unwrap();
    for number in 0..2000 {
        here.publish(message("data", &number.to_string(), QoS::AtLeastOnce)).await;
    }
    for number in 0..100 {
        here.publish(message("alarm/a", &number.to_string(), QoS::AtLeastOnce)).await;
    }
    let mut sent = there.subscribe("#").await;
    here.broker.replace_bridge(rules(bridge_to(&there, Version::V5))).await.unwrap();
    let (mut data, mut alarms) = (0, 0);
    while data < 2000 {
        let (topic, payload, _) = got(&mut sent).await;
        let count = if topic == "data" { &mut data } else { &mut alarms };
        assert_eq!(payload, count.to_string(), "{topic}");
        *count += 1;
        // 16 of 20 that are on their way are alarms, as long as there are any.
        assert!(alarms == 100 || data <= 50, "{data} were in front of {alarms} alarms");
    }
}

#[tokio::test]
async fn message_that_the_remote_broker_cannot_take_does_not_stop_those_behind_it() {
    let here = Site::start().await;
    let there = Site::start_with(|limits| limits.packet_bytes = 500).await;
    let mut sent = there.subscribe("up/#").await;
    here.broker.add_bridge(online(&there, Queue::new())).await.unwrap();
    // Some fit, some do not, whatever surrounds them.
    for bytes in 400..500 {
        here.publish(message("up/a", &"x".repeat(bytes), QoS::AtLeastOnce)).await;
    }
    here.publish(message("up/a", "end", QoS::AtLeastOnce)).await;
    let mut crossed = 0;
    while got(&mut sent).await.1 != "end" {
        crossed += 1;
    }
    let status = until(&here, |status| status.sent == crossed + 1).await;
    assert_eq!((status.dropped.too_large, status.connections), (100 - crossed, 1));
    assert!((50..100).contains(&crossed), "{crossed}");
}

#[tokio::test]
async fn remote_broker_that_is_full_gets_the_message_again_until_it_takes_it() {
    let (here, there) = (Site::start().await, Site::start().await);
    let log = there.db.log_with("full", edge_db::LogOptions::new().max_bytes(100)).unwrap();
    let cursor = log.cursor("reader").unwrap();
    there.broker.journal("up/#".parse().unwrap(), "full").await.unwrap();
    there.publish(message("up/a", &"x".repeat(60), QoS::AtLeastOnce)).await;
    let mut sent = there.subscribe("up/#").await;
    here.broker.add_bridge(online(&there, Queue::new())).await.unwrap();
    here.publish(message("up/a", "waits", QoS::AtLeastOnce)).await;
    let status = until(&here, |status| status.connections > 3).await;
    assert!(status.last_error.unwrap().contains("cannot take"));
    let mut batch = there.db.batch();
    batch.advance(&cursor, log.bounds().unwrap().end);
    batch.commit().unwrap();
    assert_eq!(got(&mut sent).await.1, "waits");
    assert_eq!(until(&here, |status| status.sent == 1).await.dropped, Default::default());
}
