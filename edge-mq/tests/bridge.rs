//! A bridge carries messages to another broker and back, in both versions of MQTT: which topics,
//! QoS, flags and properties they have there, and that none comes back or circulates. The other
//! broker is one of ours, over sockets.

#![cfg(feature = "bridge")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/bridge.rs"]
mod support;

use std::net::SocketAddr;
use std::time::Duration;

use edge_mq::bridge::{Bridge, BridgeError, InvalidBridge, Rule};
use edge_mq::packet::Version;
use edge_mq::{Listener, Message, QoS};
use support::{Site, VERSIONS, bridge_to, got, message, until};

#[tokio::test]
async fn messages_cross_in_both_directions_with_topic_qos_and_retain_flag() {
    for version in VERSIONS {
        let (here, there) = (Site::start().await, Site::start().await);
        // What is retained there comes with the subscription.
        there.publish(message("site/down/old", "kept", QoS::AtLeastOnce).retain(true)).await;
        let mut sent = there.subscribe("site/#").await;
        let mut received = here.subscribe("down/#").await;
        let bridge = bridge_to(&there, version)
            .send(Rule::new("up/#".parse().unwrap()).remote_prefix("site/"))
            .receive(Rule::new("down/#".parse().unwrap()).remote_prefix("site/"));
        here.broker.add_bridge(bridge).await.unwrap();

        assert_eq!(got(&mut received).await, ("down/old".into(), "kept".into(), QoS::AtLeastOnce));
        assert_eq!(got(&mut sent).await.0, "site/down/old");
        for (number, qos) in
            [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce].into_iter().enumerate()
        {
            let crossed = qos.min(QoS::AtLeastOnce);
            let number = number.to_string();
            here.publish(message("up/a", &number, qos)).await;
            assert_eq!(got(&mut sent).await, ("site/up/a".into(), number.clone(), crossed));
            there.publish(message("site/down/a", &number, qos)).await;
            assert_eq!(got(&mut received).await, ("down/a".into(), number, crossed));
            assert_eq!(got(&mut sent).await.0, "site/down/a");
        }
        here.publish(message("up/state", "on", QoS::AtLeastOnce).retain(true)).await;
        assert_eq!(got(&mut sent).await.0, "site/up/state");
        let mut kept = there.subscribe("site/up/#").await;
        assert!(kept.recv().await.unwrap().is_retained());

        let status = until(&here, |status| status.sent == 4 && status.received == 4).await;
        assert!(status.connected);
        assert_eq!((status.queued_messages, status.dropped), Default::default());
        assert_eq!((status.connections, there.stats().connections), (1, 1));
    }
}

#[tokio::test]
async fn properties_of_mqtt_5_cross_and_a_message_that_expired_does_not() {
    let (here, there) = (Site::start().await, Site::start().await);
    let mut sent = there.subscribe("#").await;
    let all = Rule::new("#".parse().unwrap());
    // What is queued first waits until the address is known.
    let (nowhere, _socket) = support::nobody();
    let bridge = Bridge::new("bridge").retry(Duration::ZERO, Duration::ZERO);
    here.broker.add_bridge(bridge.clone().remote(nowhere).send(all.clone())).await.unwrap();
    let text = |text: &str| text.parse().unwrap();
    let dead = message("dead", "x", QoS::AtLeastOnce).expires_after(Duration::ZERO);
    here.publish(dead).await;
    let full = message("full", "x", QoS::AtLeastOnce)
        .payload_is_utf8(true)
        .expires_after(Duration::from_secs(1000))
        .content_type(text("text/plain"))
        .response_topic("answer".parse().unwrap())
        .correlation_data("42")
        .user_property(text("unit"), text("ppm"));
    here.publish(full.clone()).await;
    let bridge = bridge.remote(there.addr()).client_id("gateway").send(all);
    here.broker.replace_bridge(bridge).await.unwrap();

    let arrived = sent.recv().await.unwrap();
    assert_eq!(arrived.topic().as_str(), "full");
    let expected = full.user_property(text("edge-bridge"), text("gateway"));
    let sorted = |message: &Message| {
        let properties = message.properties().iter().map(|property| format!("{property:?}"));
        let mut properties: Vec<String> = properties
            // Some of its time has passed.
            .filter(|property| !property.starts_with("MessageExpiry"))
            .collect();
        properties.sort();
        properties
    };
    assert_eq!(sorted(&arrived), sorted(&expected));
    until(&here, |status| status.dropped.expired == 1).await;
}

#[tokio::test]
async fn rule_in_both_directions_brings_nothing_back() {
    for version in VERSIONS {
        let (here, there) = (Site::start().await, Site::start().await);
        there.publish(message("kept", "x", QoS::AtLeastOnce).retain(true)).await;
        let (mut here_seen, mut there_seen) =
            (here.subscribe("#").await, there.subscribe("a/#").await);
        let all = || Rule::new("#".parse().unwrap());
        let bridge = bridge_to(&there, version).send(all()).receive(all());
        here.broker.add_bridge(bridge).await.unwrap();
        assert_eq!(got(&mut here_seen).await.0, "kept");
        // The same payload again and again, as a sensor whose value does not change.
        for number in 0..20 {
            here.publish(message("a/here", "same", QoS::AtLeastOnce)).await;
            there.publish(message("a/there", "same", QoS::AtLeastOnce)).await;
            here.publish(message("a/here", &number.to_string(), QoS::AtLeastOnce)).await;
        }
        for site in [&mut here_seen, &mut there_seen] {
            let mut topics = Vec::new();
            while topics.len() < 60 {
                topics.push(got(site).await.0);
            }
            assert_eq!(topics.iter().filter(|topic| *topic == "a/there").count(), 20);
        }
        // What came back would be here before this.
        there.publish(message("a/end", "", QoS::AtLeastOnce)).await;
        assert_eq!(got(&mut here_seen).await.0, "a/end");
        assert_eq!(got(&mut there_seen).await.0, "a/end");
        // Nothing but its own messages went out; those a broker of MQTT 3.1.1 has sent back.
        let status = until(&here, |status| status.queued_messages == 0).await;
        let back = if version == Version::V5 { 0 } else { 40 };
        assert_eq!((status.sent, status.dropped.looped), (40, back));
    }
}

#[tokio::test]
async fn two_bridges_between_two_brokers_let_no_message_circulate() {
    let (here, there) = (Site::start().await, Site::start().await);
    let all = || Rule::new("a/#".parse().unwrap());
    let to = |site: &Site, id: &str| bridge_to(site, Version::V5).client_id(id);
    let bridge = to(&there, "here").send(all()).receive(all());
    here.broker.add_bridge(bridge).await.unwrap();
    let bridge = to(&here, "there").send(all()).receive(all());
    there.broker.add_bridge(bridge).await.unwrap();
    until(&here, |status| status.connected).await;
    until(&there, |status| status.connected).await;
    for number in 0..20 {
        here.publish(message("a/here", &number.to_string(), QoS::AtLeastOnce)).await;
        there.publish(message("a/there", &number.to_string(), QoS::AtLeastOnce)).await;
    }
    // Each message has gone its way and come to an end when all queues are empty and the counts
    // do not change any more: every message crosses each bridge at most once in each direction.
    for site in [&here, &there] {
        let status = until(site, |status| status.dropped.looped >= 20).await;
        assert!(status.sent <= 40 && status.received <= 40, "{status:?}");
    }
}

#[tokio::test]
async fn first_rule_that_matches_decides_and_a_message_crosses_once() {
    use edge_mq::bridge::Priority;
    let (here, there) = (Site::start().await, Site::start().await);
    let mut sent = there.subscribe("#").await;
    let rule = |filter: &str, prefix: &str| {
        Rule::new(filter.parse().unwrap()).remote_prefix(prefix.to_owned())
    };
    let bridge = bridge_to(&there, Version::V5)
        .send(rule("a/alarm/#", "1/").priority(Priority::High))
        .send(rule("a/+/quiet", "2/").at_most(QoS::AtMostOnce).retain(false))
        .send(rule("a/#", "3/").priority(Priority::Low).at_least(QoS::AtLeastOnce));
    here.broker.add_bridge(bridge).await.unwrap();
    for topic in ["a/alarm/quiet", "a/x/quiet", "a/x/y", "b"] {
        here.publish(message(topic, "", QoS::AtMostOnce)).await;
    }
    let mut crossed = [got(&mut sent).await, got(&mut sent).await, got(&mut sent).await];
    crossed.sort();
    let expected = [
        ("1/a/alarm/quiet".to_owned(), String::new(), QoS::AtMostOnce),
        ("2/a/x/quiet".to_owned(), String::new(), QoS::AtMostOnce),
        ("3/a/x/y".to_owned(), String::new(), QoS::AtLeastOnce),
    ];
    assert_eq!(crossed, expected);
    let status = until(&here, |status| status.queued_messages == 0).await;
    assert_eq!((status.sent, status.dropped), (3, Default::default()));
}

#[tokio::test]
async fn bridges_are_added_changed_and_removed_while_the_broker_runs() {
    let (here, there) = (Site::start().await, Site::start().await);
    let mut sent = there.subscribe("#").await;
    let rule = |filter: &str| Rule::new(filter.parse().unwrap());
    let bridge = || bridge_to(&there, Version::V5);
    here.broker.add_bridge(bridge().send(rule("a")).receive(rule("down/old"))).await.unwrap();
    let twice = here.broker.add_bridge(bridge().send(rule("b"))).await;
    assert!(matches!(twice, Err(BridgeError::Exists { .. })), "{twice:?}");
    let second = Bridge::new("second").remote(there.addr()).send(rule("second"));
    here.broker.add_bridge(second).await.unwrap();
    let names: Vec<_> =
        here.broker.bridges().await.unwrap().into_iter().map(|status| status.name).collect();
    assert_eq!(names, ["bridge", "second"]);
    assert!(here.broker.journal_rules().is_empty());
    for topic in ["a", "b", "second"] {
        here.publish(message(topic, "", QoS::AtLeastOnce)).await;
    }
    let mut topics = [got(&mut sent).await.0, got(&mut sent).await.0];
    topics.sort();
    assert_eq!(topics, ["a", "second"]);

    let mut received = here.subscribe("down/#").await;
    there.publish(message("down/new", "kept", QoS::AtLeastOnce).retain(true)).await;
    assert_eq!(got(&mut sent).await.0, "down/new");
    let changed = bridge().send(rule("b")).receive(rule("down/new"));
    here.broker.replace_bridge(changed).await.unwrap();
    assert_eq!(got(&mut received).await.0, "down/new");
    for topic in ["a", "b"] {
        here.publish(message(topic, "", QoS::AtLeastOnce)).await;
    }
    assert_eq!(got(&mut sent).await.0, "b");
    // The old subscription has ended, though the session is the same.
    there.publish(message("down/old", "", QoS::AtLeastOnce)).await;
    there.publish(message("down/new", "end", QoS::AtLeastOnce)).await;
    assert_eq!(got(&mut received).await.1, "end");
    let status = until(&here, |status| status.name == "bridge").await;
    assert_eq!(status.dropped, Default::default());

    assert_eq!(here.broker.remove_bridge("bridge").await.unwrap(), 0);
    let gone = here.broker.remove_bridge("bridge").await;
    assert!(matches!(gone, Err(BridgeError::Unknown { .. })), "{gone:?}");
    let unknown = here.broker.replace_bridge(bridge().send(rule("a"))).await;
    assert!(matches!(unknown, Err(BridgeError::Unknown { .. })), "{unknown:?}");
    let nameless = Bridge::new("a/b").remote(there.addr()).send(rule("a"));
    let invalid = here.broker.add_bridge(nameless).await.unwrap_err();
    let expected = InvalidBridge::Name;
    assert!(matches!(invalid, BridgeError::Invalid { source, .. } if source == expected));
    here.publish(message("b", "", QoS::AtLeastOnce)).await;
    here.publish(message("second", "end", QoS::AtLeastOnce)).await;
    while got(&mut sent).await != ("second".into(), "end".into(), QoS::AtLeastOnce) {}
}

#[tokio::test]
async fn state_is_on_topics_of_both_brokers() {
    for version in VERSIONS {
        let (here, there) = (Site::start().await, Site::start().await);
        let mut state = here.subscribe("$SYS/broker/connection/bridge/state").await;
        let mut queue = here.subscribe("$SYS/broker/bridge/bridge/queue/#").await;
        let mut remote = there.subscribe("state/gateway").await;
        let bridge = bridge_to(&there, version)
            .remote_state_topic("state/gateway")
            .send(Rule::new("a".parse().unwrap()));
        here.broker.add_bridge(bridge).await.unwrap();
        assert_eq!([got(&mut state).await.1, got(&mut state).await.1], ["0", "1"]);
        assert_eq!(got(&mut remote).await.1, "1");
        for what in ["messages", "bytes", "age"] {
            let expected = format!("$SYS/broker/bridge/bridge/queue/{what}");
            let (topic, payload, _) = got(&mut queue).await;
            assert_eq!((topic, payload), (expected, "0".to_owned()));
        }
        here.broker.remove_bridge("bridge").await.unwrap();
        assert_eq!(got(&mut remote).await.1, "0");
        assert_eq!([got(&mut state).await.1, got(&mut state).await.1], ["0", ""]);

        // Cut off, the remote broker says it for the bridge.
        let cutter = support::cutter::Cutter::start(there.socket(), 1, 0, 1).await;
        let bridge = Bridge::new("bridge")
            .version(version)
            .remote(cutter.addr.to_string())
            .remote_state_topic("state/gateway")
            .send(Rule::new("a".parse().unwrap()));
        here.broker.add_bridge(bridge).await.unwrap();
        assert_eq!(got(&mut remote).await.1, "1");
        drop(cutter);
        assert_eq!(got(&mut remote).await.1, "0");
    }
}

#[tokio::test]
async fn bridge_ends_with_its_broker() {
    for is_shut_down in [true, false] {
        let (here, there) = (Site::start().await, Site::start().await);
        let mut state = there.subscribe("state").await;
        let bridge = bridge_to(&there, Version::V5)
            .remote_state_topic("state")
            .send(Rule::new("a".parse().unwrap()));
        here.broker.add_bridge(bridge.clone()).await.unwrap();
        assert_eq!(got(&mut state).await.1, "1");
        if is_shut_down {
            here.broker.shutdown(Duration::from_secs(60)).await.unwrap();
            let closed = here.broker.add_bridge(bridge).await;
            assert!(matches!(closed, Err(BridgeError::Closed)), "{closed:?}");
        } else {
            let Site { broker, .. } = here;
            drop(broker);
        }
        assert_eq!(got(&mut state).await.1, "0");
        while there.stats().connections > 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn addresses_are_tried_in_order_and_the_first_is_taken_again() {
    let (here, there) = (Site::start().await, Site::start().await);
    let (nowhere, socket) = support::nobody();
    let bridge = Bridge::new("bridge")
        .remote(nowhere.clone())
        .remote(there.addr())
        .retry(Duration::ZERO, Duration::ZERO)
        .try_first_each(Duration::ZERO)
        .send(Rule::new("a".parse().unwrap()));
    here.broker.add_bridge(bridge).await.unwrap();
    let status = until(&here, |status| status.connected).await;
    assert_eq!(status.remote, Some(there.addr()));
    assert!(status.last_error.is_some());
    // Somebody answers there now.
    drop(socket);
    there.broker.listen(Listener::tcp(nowhere.parse::<SocketAddr>().unwrap())).await.unwrap();
    until(&here, |status| status.connected && status.remote.as_ref() == Some(&nowhere)).await;
}
