//! Retained messages, as sessions see them.

use std::time::Duration;

use super::harness::*;
use crate::packet::{QoS, RetainHandling};

/// A hub in which `x` and `y/z` are retained.
fn retaining() -> (World, Client) {
    let mut world = World::new();
    let client = world.connect(v5("publisher"));
    world.send(client, [retain(1, 1, "x", "1"), retain(0, 0, "y/z", "2")]);
    (world, client)
}

#[test]
fn new_subscription_gets_what_was_retained_behind_its_suback() {
    for connect in both("reader") {
        let (mut world, _) = retaining();
        let reader = world.connect(connect);
        let got = world.send(reader, [subscribe(5, "#", 2)]);
        assert_eq!(got, ["SUBACK 5 02", "x=1 q1 #1 retained", "y/z=2 retained"]);
    }
}

#[test]
fn replaced_and_cleared_messages_are_not_sent() {
    let (mut world, client) = retaining();
    world.send(client, [retain(0, 0, "x", "new"), retain(0, 0, "y/z", "")]);
    let reader = world.connect(v5("reader"));
    assert_eq!(world.send(reader, [subscribe(1, "#", 0)]), ["SUBACK 1 00", "x=new retained"]);
    assert_eq!(world.hub.stats().retained, 1);
}

#[test]
fn empty_message_that_is_not_retained_clears_nothing() {
    let (mut world, client) = retaining();
    world.send(client, [send(0, 0, "x", "")]);
    let reader = world.connect(v5("reader"));
    assert_eq!(world.send(reader, [subscribe(1, "x", 0)]), ["SUBACK 1 00", "x=1 retained"]);
}

#[test]
fn clearing_message_reaches_subscribers_as_any_other() {
    let (mut world, client) = retaining();
    let reader = world.connect(v5("reader"));
    world.send(reader, [subscribe(1, "x", 0)]);
    world.send(client, [retain(0, 0, "x", "")]);
    assert_eq!(world.poll(reader), ["x="]);
}

#[test]
fn retain_handling_says_when_retained_messages_are_sent() {
    let cases = [
        (RetainHandling::Send, true, true),
        (RetainHandling::SendIfNew, true, false),
        (RetainHandling::Skip, false, false),
    ];
    for (handling, first, second) in cases {
        let (mut world, _) = retaining();
        let reader = world.connect(v5("reader"));
        for sent in [first, second] {
            let packet = subscribe_with(1, &[("x", 0)], None, |options| {
                options.retain_handling = handling;
            });
            assert_eq!(world.send(reader, [packet]).len(), 1 + usize::from(sent), "{handling:?}");
        }
    }
}

#[test]
fn retain_flag_of_a_live_message_stays_only_if_asked_for() {
    for (as_published, expected) in [(false, ["x=1", "x=2"]), (true, ["x=1 retained", "x=2"])] {
        let mut world = World::new();
        let client = world.connect(v5("publisher"));
        let reader = world.connect(v5("reader"));
        let packet = subscribe_with(1, &[("x", 0)], None, |options| {
            options.retain_as_published = as_published;
        });
        world.send(reader, [packet]);
        world.send(client, [retain(0, 0, "x", "1"), send(0, 0, "x", "2")]);
        assert_eq!(world.poll(reader), expected);
    }
}

#[test]
fn retained_message_carries_the_identifier_of_the_subscription() {
    let (mut world, _) = retaining();
    let reader = world.connect(v5("reader"));
    let packet = subscribe_with(1, &[("x", 0)], Some(7), |_| {});
    assert_eq!(world.send(reader, [packet]), ["SUBACK 1 00", "x=1 retained sub7"]);
}

#[test]
fn retained_message_expires() {
    let mut world = World::new();
    let expires = message("x", "1").retain(true).expires_after(Duration::from_secs(10));
    world.publish(expires);
    world.pass(4);
    let reader = world.connect(v5("reader"));
    assert_eq!(world.send(reader, [subscribe(1, "x", 0)]), ["SUBACK 1 00", "x=1 retained 6s"]);
    world.pass(6);
    assert_eq!(world.send(reader, [subscribe(2, "x", 0)]), ["SUBACK 2 00"]);
}

#[test]
fn retained_message_outlives_the_session_of_its_publisher() {
    let mut world = World::new();
    let client = world.connect(clean(v311("publisher")));
    world.send(client, [retain(0, 0, "x", "1")]);
    world.cut(client);
    assert_eq!(world.hub.stats().sessions, 0);
    let reader = world.connect(v5("reader"));
    assert_eq!(world.send(reader, [subscribe(1, "x", 0)]).len(), 2);
}

#[test]
fn message_beyond_the_limit_is_delivered_but_not_kept() {
    let mut world = World::with(|limits| limits.retained_messages = 1);
    let reader = world.subscriber(v5("reader"), "#", 0);
    let client = world.connect(v5("publisher"));
    world.send(client, [retain(0, 0, "x", "1"), retain(0, 0, "y", "2")]);
    assert_eq!(world.poll(reader), ["x=1", "y=2"]);
    let stats = world.hub.stats();
    assert_eq!((stats.retained, stats.retained_refused), (1, 1));
}

#[test]
fn all_of_many_retained_messages_are_sent() {
    let mut world = World::new();
    for number in 0..300 {
        let topic = format!("many/{number:03}");
        world.publish(message(&topic, "").retain(false));
        world.publish(message(&topic, "1").retain(true).qos(QoS::AtMostOnce));
    }
    let reader = world.connect(v5("reader"));
    assert_eq!(world.send(reader, [subscribe(1, "many/+", 0)]).len(), 301);
}
