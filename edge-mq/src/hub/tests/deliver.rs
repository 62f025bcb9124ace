//! What goes out to a client: QoS, windows, sending again, expiry, sizes.

use std::num::NonZeroU16;
use std::time::Duration;

use super::harness::*;
use crate::packet::*;
use crate::session::Outbound;

fn receive_maximum(count: u16) -> Property {
    Property::ReceiveMaximum(NonZeroU16::new(count).unwrap())
}

fn packet_size(bytes: u32) -> Property {
    Property::MaximumPacketSize(PacketSize::new(bytes).unwrap())
}

/// The application publishes `x=1`, `x=2` and so on.
fn publish_all(world: &mut World, number: u8, payloads: impl IntoIterator<Item = u32>) {
    for payload in payloads {
        world.publish(message("x", &payload.to_string()).qos(qos(number)));
    }
}

#[test]
fn qos_is_the_lower_one_of_message_and_subscription() {
    for published in 0..3 {
        for granted in 0..3 {
            let mut world = World::new();
            let reader = world.subscriber(v5("reader"), "x", granted);
            publish_all(&mut world, published, [1]);
            let expected = match published.min(granted) {
                0 => "x=1".to_owned(),
                lower => format!("x=1 q{lower} #1"),
            };
            assert_eq!(world.poll(reader), [expected], "{published} to {granted}");
        }
    }
}

#[test]
fn qos_1_and_2_run_to_their_end() {
    let mut world = World::new();
    let reader = world.subscriber(v5("reader"), "x", 2);
    publish_all(&mut world, 1, [1]);
    publish_all(&mut world, 2, [2]);
    assert_eq!(world.poll(reader), ["x=1 q1 #1", "x=2 q2 #2"]);
    assert_eq!(world.hub.undelivered(), 2);
    assert!(world.send(reader, [pub_ack(1)]).is_empty());
    assert_eq!(world.send(reader, [pub_rec(2)]), ["PUBREL 2"]);
    assert_eq!(world.hub.undelivered(), 1);
    assert!(world.send(reader, [pub_comp(2)]).is_empty());
    assert_eq!((world.hub.undelivered(), world.hub.stats().queued_bytes), (0, 0));
}

#[test]
fn unacknowledged_goes_out_again_in_order_with_dup_after_reconnect() {
    for connect in both("reader") {
        let mut world = World::new();
        let reader = world.subscriber(connect.clone(), "x", 2);
        publish_all(&mut world, 2, 1..=4);
        world.poll(reader);
        // The second is through, the third is with the client, the others are not.
        world.send(reader, [pub_rec(2), pub_comp(2), pub_rec(3)]);
        world.cut(reader);
        publish_all(&mut world, 1, [5]);
        let reader = world.connect(connect);
        let again = ["x=1 q2 #1 dup", "PUBREL 3", "x=4 q2 #4 dup", "x=5 q1 #5"];
        assert_eq!(world.poll(reader), again);
        assert!(world.poll(reader).is_empty());
    }
}

#[test]
fn pubrec_for_an_unknown_message_gets_a_pubrel_that_says_so() {
    let mut world = World::new();
    let client = world.connect(v5("a"));
    assert_eq!(world.send(client, [pub_rec(9)]), ["PUBREL 9 92"]);
}

#[test]
fn pubrec_that_refuses_ends_the_message() {
    let mut world = World::new();
    let reader = world.subscriber(v5("reader"), "x", 2);
    publish_all(&mut world, 2, [1]);
    world.poll(reader);
    let refusal = Ack::new(id(1), ReasonCode::QUOTA_EXCEEDED);
    assert!(world.send(reader, [Packet::PubRec(refusal)]).is_empty());
    assert_eq!(world.hub.undelivered(), 0);
}

#[test]
fn window_of_the_client_holds_the_others_back() {
    let mut world = World::new();
    let reader = world.subscriber(asking(v5("reader"), receive_maximum(2)), "x", 2);
    publish_all(&mut world, 2, 1..=3);
    publish_all(&mut world, 0, [4]);
    assert_eq!(world.poll(reader), ["x=1 q2 #1", "x=2 q2 #2"]);
    // A QoS 2 message fills its place until PUBCOMP; nothing overtakes.
    assert_eq!(world.send(reader, [pub_rec(1)]), ["PUBREL 1"]);
    assert_eq!(world.send(reader, [pub_comp(1)]), ["x=3 q2 #3", "x=4"]);
}

#[test]
fn window_of_the_broker_holds_the_others_back() {
    let mut world = World::with(|limits| limits.inflight_messages = 2);
    let reader = world.subscriber(v311("reader"), "x", 1);
    publish_all(&mut world, 1, 1..=4);
    assert_eq!(world.poll(reader), ["x=1 q1 #1", "x=2 q1 #2"]);
    assert_eq!(world.send(reader, [pub_ack(2), pub_ack(1)]), ["x=3 q1 #3", "x=4 q1 #4"]);
}

#[test]
fn smaller_window_after_reconnect_holds_for_what_goes_out_again() {
    let mut world = World::new();
    let reader = world.subscriber(v5("reader"), "x", 1);
    publish_all(&mut world, 1, 1..=3);
    world.poll(reader);
    world.cut(reader);
    let reader = world.connect(asking(v5("reader"), receive_maximum(1)));
    assert_eq!(world.poll(reader), ["x=1 q1 #1 dup"]);
    assert_eq!(world.send(reader, [pub_ack(1)]), ["x=2 q1 #2 dup"]);
    assert_eq!(world.send(reader, [pub_ack(2)]), ["x=3 q1 #3 dup"]);
    publish_all(&mut world, 1, [4]);
    assert_eq!(world.send(reader, [pub_ack(3)]), ["x=4 q1 #4"]);
}

#[test]
fn packet_identifier_in_use_is_not_given_out_twice() {
    let mut world = World::new();
    let reader = world.subscriber(v5("reader"), "x", 1);
    publish_all(&mut world, 1, [0]);
    assert_eq!(world.poll(reader), ["x=0 q1 #1"]);
    for number in 1..=65_534_u32 {
        publish_all(&mut world, 1, [number]);
        let packet_id = u16::try_from(number + 1).unwrap();
        assert_eq!(world.poll(reader), [format!("x={number} q1 #{packet_id}")]);
        world.send(reader, [pub_ack(packet_id)]);
    }
    // The identifiers begin anew; the first one still waits.
    publish_all(&mut world, 1, [65_535]);
    assert_eq!(world.poll(reader), ["x=65535 q1 #2"]);
    // Each is found under its own.
    world.send(reader, [pub_ack(2)]);
    assert_eq!(world.hub.undelivered(), 1);
    world.send(reader, [pub_ack(1)]);
    assert_eq!(world.hub.undelivered(), 0);
}

#[test]
fn message_larger_than_the_client_takes_is_dropped_and_counted() {
    let mut world = World::new();
    let reader = world.subscriber(asking(v5("reader"), packet_size(20)), "x", 1);
    // Fixed header 2, topic 3, packet identifier 2, properties 1, payload 12.
    for (number, length) in [(1, 12), (1, 13), (0, 14), (0, 15)] {
        world.publish(message("x", &"x".repeat(length)).qos(qos(number)));
    }
    let fits = [format!("x={} q1 #1", "x".repeat(12)), format!("x={}", "x".repeat(14))];
    assert_eq!(world.poll(reader), fits);
    assert_eq!(world.hub.stats().dropped_too_large, 2);
}

#[test]
fn message_that_the_next_connection_does_not_take_is_not_sent_again() {
    let mut world = World::new();
    let reader = world.subscriber(v5("reader"), "x", 1);
    world.publish(message("x", "larger than 20").qos(qos(1)));
    world.publish(message("x", "1").qos(qos(1)));
    world.poll(reader);
    world.cut(reader);
    let reader = world.connect(asking(v5("reader"), packet_size(20)));
    assert_eq!(world.poll(reader), ["x=1 q1 #2 dup"]);
    let stats = world.hub.stats();
    assert_eq!((stats.dropped_too_large, world.hub.undelivered()), (1, 1));
    world.send(reader, [pub_ack(2)]);
    assert_eq!(world.hub.stats().queued_bytes, 0);
}

#[test]
fn expired_message_is_not_sent_and_the_time_left_is_told() {
    let mut world = World::new();
    let reader = world.subscriber(v5("reader"), "x", 1);
    world.cut(reader);
    for (payload, seconds) in [("1", 10), ("2", 20)] {
        let expires = Duration::from_secs(seconds);
        world.publish(message("x", payload).qos(qos(1)).expires_after(expires));
    }
    world.pass(10);
    let reader = world.connect(v5("reader"));
    assert_eq!(world.poll(reader), ["x=2 q1 #1 10s"]);
    let stats = world.hub.stats();
    assert_eq!(stats.dropped_expired, 1);
}

#[test]
fn v311_gets_no_properties_of_its_own() {
    let mut world = World::new();
    let reader = world.subscriber(v311("reader"), "x", 0);
    world.publish(message("x", "1").expires_after(Duration::from_secs(10)));
    assert_eq!(world.poll(reader), ["x=1"]);
}

#[test]
fn properties_of_the_publisher_reach_the_reader_without_the_alias() {
    let mut world = World::new();
    let reader = world.connect(v5("reader"));
    world.send(reader, [subscribe(1, "x", 0)]);
    let client = world.connect(v5("a"));
    let user = Property::User("k".parse().unwrap(), "v".parse().unwrap());
    let kind = Property::ContentType("text/plain".parse().unwrap());
    let sent = Properties::new()
        .with(user.clone())
        .with(Property::TopicAlias(TopicAlias::new(1).unwrap()))
        .with(kind.clone());
    world.send(client, [Packet::Publish(Publish { properties: sent, ..publish(0, 0, "x", "") })]);
    let mut out = Vec::new();
    world.hub.poll(reader.0, world.now, 1000, &mut out).unwrap();
    let [crate::session::Outbound::Publish(publish)] = &out[..] else { panic!("{out:?}") };
    let properties: Vec<_> = publish.routed.message.properties().iter().cloned().collect();
    assert_eq!(properties, [user, kind]);
}

#[test]
fn budget_ends_a_poll_that_has_more() {
    let mut world = World::new();
    let reader = world.subscriber(v5("reader"), "x", 0);
    publish_all(&mut world, 0, 1..=3);
    for left in [true, true, true, false] {
        let mut out = Vec::new();
        let polled = world.hub.poll(reader.0, world.now, 1, &mut out).unwrap();
        assert_eq!(polled.more, left);
        assert_eq!(out.len(), usize::from(left));
    }
}

#[test]
fn topic_alias_stands_for_a_long_topic_once_it_was_given() {
    let mut world = World::with(|limits| limits.topic_aliases = 2);
    let asks = asking(v5("reader"), Property::TopicAliasMaximum(10));
    let reader = world.subscriber(asks, "#", 1);
    let topics = ["office/lab", "x", "office/hall", "office/lab", "office/roof", "office/hall"];
    for topic in topics {
        world.publish(message(topic, "").qos(qos(1)));
    }
    let mut out = Vec::new();
    world.hub.poll(reader.0, world.now, usize::MAX, &mut out).unwrap();
    let heads = out.iter().map(|outbound| match outbound {
        Outbound::Publish(publish) => {
            let alias = publish.own_properties.iter().find_map(|property| match property {
                Property::TopicAlias(alias) => Some(alias.get()),
                _ => None,
            });
            (publish.head().topic, alias)
        }
        other => panic!("{other:?}"),
    });
    let expected = [
        ("office/lab", Some(1)),
        ("x", None),
        ("office/hall", Some(2)),
        ("", Some(1)),
        // No alias is left for it.
        ("office/roof", None),
        ("", Some(2)),
    ];
    assert_eq!(heads.collect::<Vec<_>>(), expected);
    // Another connection knows none of them.
    world.cut(reader);
    let reader = world.connect(v5("reader"));
    let again = world.poll(reader);
    assert!(again.iter().all(|shown| !shown.contains("Alias")), "{again:?}");
    assert!(again[3].starts_with("office/lab= q1"), "{again:?}");
}

#[test]
fn message_that_is_too_large_gives_no_alias() {
    let mut world = World::new();
    let asks = asking(v5("reader"), Property::TopicAliasMaximum(10));
    let asks = asking(asks, Property::MaximumPacketSize(PacketSize::new(40).unwrap()));
    let reader = world.subscriber(asks, "#", 0);
    world.publish(message("office/lab", &"large".repeat(10)));
    world.publish(message("office/lab", "small"));
    let mut out = Vec::new();
    world.hub.poll(reader.0, world.now, usize::MAX, &mut out).unwrap();
    let [Outbound::Publish(small)] = &out[..] else { panic!("{out:?}") };
    assert_eq!(small.head().topic, "office/lab");
}
