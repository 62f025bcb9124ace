//! Limits of the queue of a session: what is dropped, and that it is counted.

use super::harness::*;
use crate::Limits;
use crate::limits::WhenFull;

/// A session that is offline, so that everything waits in its queue.
fn offline(change: impl FnOnce(&mut Limits)) -> World {
    let mut world = World::with(change);
    let reader = world.subscriber(v5("reader"), "#", 1);
    world.cut(reader);
    world
}

fn publish_all(world: &mut World, payloads: &[&str]) {
    for payload in payloads {
        world.publish(message("x", payload).qos(qos(1)));
    }
}

/// What the session gets when it is back, without packet identifiers.
fn kept(world: &mut World) -> Vec<String> {
    let reader = world.connect(v5("reader"));
    let got = world.poll(reader);
    got.iter().map(|shown| shown.split(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn full_queue_drops_the_newest_and_keeps_the_others() {
    let mut world = offline(|limits| limits.queue_messages = 2);
    publish_all(&mut world, &["1", "2", "3", "4"]);
    assert_eq!(world.hub.stats().dropped_full, 2);
    assert_eq!(kept(&mut world), ["x=1", "x=2"]);
}

#[test]
fn full_queue_drops_the_oldest_if_told_so() {
    let mut world = offline(|limits| {
        limits.queue_messages = 2;
        limits.queue_when_full = WhenFull::DropOldest;
    });
    publish_all(&mut world, &["1", "2", "3", "4"]);
    assert_eq!(world.hub.stats().dropped_full, 2);
    assert_eq!(kept(&mut world), ["x=3", "x=4"]);
}

#[test]
fn queue_is_full_by_bytes() {
    let one = message("x", "1").cost_bytes();
    for (policy, expected) in
        [(WhenFull::DropNewest, ["x=1", "x=2"]), (WhenFull::DropOldest, ["x=3", "x=4"])]
    {
        let mut world = offline(|limits| {
            limits.queue_bytes = 2 * one;
            limits.queue_when_full = policy;
        });
        publish_all(&mut world, &["1", "2", "3", "4"]);
        let stats = world.hub.stats();
        assert_eq!((stats.queued_bytes, stats.dropped_full), (2 * one, 2));
        assert_eq!(kept(&mut world), expected);
    }
}

#[test]
fn message_that_fits_no_queue_drops_nothing_but_itself() {
    let mut world = offline(|limits| {
        limits.queue_bytes = 1000;
        limits.queue_when_full = WhenFull::DropOldest;
    });
    publish_all(&mut world, &["1", "2", &"large".repeat(200)]);
    assert_eq!(world.hub.stats().dropped_full, 1);
    assert_eq!(kept(&mut world), ["x=1", "x=2"]);
}

#[test]
fn properties_count_as_bytes() {
    let mut world = offline(|limits| limits.queue_bytes = 1000);
    let long: crate::Text = "long".repeat(500).try_into().unwrap();
    let name: crate::Text = "name".parse().unwrap();
    world.publish(message("x", "1").qos(qos(1)).user_property(name, long));
    assert_eq!(world.hub.stats().dropped_full, 1);
}

#[test]
fn all_queues_together_have_a_limit() {
    let one = message("x", "1").cost_bytes();
    let mut world = World::with(|limits| limits.queue_bytes_total = 3 * one);
    for name in ["a", "b"] {
        let reader = world.subscriber(v5(name), "#", 1);
        world.cut(reader);
    }
    publish_all(&mut world, &["1", "2"]);
    let stats = world.hub.stats();
    assert_eq!((stats.queued_bytes, stats.dropped_full), (3 * one, 1));
    // A session that ends gives its bytes back.
    world.connect(clean(v5("a")));
    assert!(world.hub.stats().queued_bytes <= 2 * one);
}

#[test]
fn who_does_not_read_takes_no_message_from_those_who_do() {
    let one = message("x", "1").cost_bytes();
    let mut world = World::with(|limits| {
        (limits.sessions, limits.queue_bytes_total) = (4, 16 * one);
    });
    let idle = world.subscriber(v5("idle"), "y", 1);
    let reader = world.subscriber(v5("reader"), "x", 1);
    world.cut(idle);
    for _ in 0..10 {
        world.publish(message("y", "1").qos(qos(1)));
    }
    // Half of it all is for whoever comes first.
    assert_eq!(world.hub.stats().dropped_full, 2);
    for _ in 0..2 {
        // Two at once are its share, and no more.
        publish_all(&mut world, &["1", "2", "3"]);
        let got = world.poll(reader);
        assert_eq!(got.len(), 2, "{got:?}");
        let ids = got.iter().filter_map(|got| got.rsplit_once('#')?.1.parse().ok());
        world.send(reader, ids.map(pub_ack).collect::<Vec<_>>());
    }
    assert_eq!(world.hub.stats().dropped_full, 4);
}

#[test]
fn qos_0_is_dropped_when_the_session_is_offline_or_its_queue_full() {
    let mut world = World::with(|limits| {
        limits.queue_messages = 2;
        limits.queue_when_full = WhenFull::DropOldest;
    });
    let reader = world.subscriber(v5("reader"), "#", 1);
    publish_all(&mut world, &["1", "2"]);
    world.publish(message("x", "3"));
    assert_eq!(world.hub.stats().dropped_qos0, 1);
    assert_eq!(world.poll(reader), ["x=1 q1 #1", "x=2 q1 #2"]);
    world.cut(reader);
    world.publish(message("x", "4"));
    let stats = world.hub.stats();
    assert_eq!((stats.dropped_qos0, stats.dropped_full), (2, 0));
}

#[test]
fn publisher_is_told_when_a_queue_fills() {
    let mut world = World::with(|limits| limits.queue_messages = 8);
    world.subscriber(v5("reader"), "#", 1);
    let client = world.connect(v5("a"));
    let congested = (1..=4).map(|packet_id| {
        let mut fx = crate::hub::Effects::default();
        let packets = [send(1, packet_id, "x", "")];
        world.hub.handle(client.0, packets, world.now, &mut fx).unwrap();
        fx.congested
    });
    assert_eq!(congested.collect::<Vec<_>>(), [false, false, true, true]);
}

#[test]
fn what_waits_long_does_not_hold_on_to_the_buffer_it_came_in() {
    let mut world = offline(|_| {});
    let client = world.connect(v5("a"));
    let buffer = bytes::Bytes::from(vec![b'x'; 1000]);
    let range = buffer.as_ptr_range();
    let data = crate::packet::Property::CorrelationData(buffer.slice(5..9));
    let packet = crate::packet::Publish {
        payload: buffer.slice(1..5),
        properties: crate::packet::Properties::new().with(data),
        ..publish(1, 1, "x", "")
    };
    world.send(client, [crate::packet::Packet::Publish(packet)]);
    let reader = world.connect(v5("reader"));
    let mut out = Vec::new();
    world.hub.poll(reader.0, world.now, 1000, &mut out).unwrap();
    let Some(crate::session::Outbound::Publish(publish)) = out.last() else { panic!("{out:?}") };
    let message = &publish.routed.message;
    let data = message.properties().iter().next();
    let Some(crate::packet::Property::CorrelationData(data)) = data else { panic!("{data:?}") };
    assert!(!range.contains(&message.payload().as_ptr()) && !range.contains(&data.as_ptr()));
}
