//! Shared subscriptions (MQTT 5.0 section 4.8.2): who of a group gets a message.

use super::harness::*;
use crate::packet::*;
use crate::session::Closing;

/// What was sent, without packet identifiers.
fn got(world: &mut World, client: Client) -> Vec<String> {
    let got = world.poll(client);
    got.iter().map(|shown| shown.split(" #").next().unwrap().to_owned()).collect()
}

fn publish_all(world: &mut World, level: u8, payloads: std::ops::RangeInclusive<u32>) {
    for payload in payloads {
        world.publish(message("x/y", &payload.to_string()).qos(qos(level)));
    }
}

/// Members of the group `g` of `x/#`.
fn members<const N: usize>(world: &mut World, names: [&str; N]) -> [Client; N] {
    names.map(|name| world.subscriber(v5(name), "$share/g/x/#", 2))
}

#[test]
fn members_take_turns_and_others_get_everything() {
    let mut world = World::new();
    let [a, b] = members(&mut world, ["a", "b"]);
    let old = world.subscriber(v311("old"), "$share/g/x/#", 0);
    let alone = world.subscriber(v5("alone"), "$share/other/x/#", 1);
    let all = world.subscriber(v5("all"), "x/#", 0);
    publish_all(&mut world, 1, 1..=6);
    assert_eq!(got(&mut world, a), ["x/y=1 q1", "x/y=4 q1"]);
    assert_eq!(got(&mut world, b), ["x/y=2 q1", "x/y=5 q1"]);
    assert_eq!(got(&mut world, old), ["x/y=3", "x/y=6"]);
    assert_eq!(got(&mut world, alone).len(), 6);
    assert_eq!(got(&mut world, all).len(), 6);
    assert_eq!(world.hub.stats().subscriptions, 5);
}

#[test]
fn own_subscription_and_shared_one_give_a_copy_each_with_its_identifier() {
    let mut world = World::new();
    let reader = world.connect(v5("reader"));
    world.send(
        reader,
        [
            subscribe_with(1, &[("x/y", 0)], Some(1), |_| {}),
            subscribe_with(2, &[("x/#", 0)], Some(2), |_| {}),
            subscribe_with(3, &[("$share/g/x/#", 0)], Some(3), |_| {}),
        ],
    );
    publish_all(&mut world, 0, 1..=1);
    let mut copies = world.poll(reader);
    copies.iter_mut().for_each(|copy| {
        let mut words: Vec<_> = copy.split(' ').collect();
        words.sort_unstable();
        *copy = words.join(" ");
    });
    assert_eq!(copies, ["sub1 sub2 x/y=1", "sub3 x/y=1"]);
}

#[test]
fn subscribing_again_replaces_and_takes_no_second_turn() {
    let mut world = World::new();
    let [a, b] = members(&mut world, ["a", "b"]);
    assert_eq!(world.send(a, [subscribe(9, "$share/g/x/#", 0)]), ["SUBACK 9 00"]);
    publish_all(&mut world, 1, 1..=4);
    assert_eq!(got(&mut world, a), ["x/y=1", "x/y=3"]);
    assert_eq!(got(&mut world, b), ["x/y=2 q1", "x/y=4 q1"]);
    assert_eq!(world.hub.stats().subscriptions, 2);
}

#[test]
fn member_that_leaves_gets_nothing_more() {
    let mut world = World::new();
    let [a, b] = members(&mut world, ["a", "b"]);
    assert_eq!(
        world.send(a, [unsubscribe(2, &["$share/g/x/#", "$share/h/x/#"])]),
        ["UNSUBACK 2 00 11"]
    );
    publish_all(&mut world, 0, 1..=2);
    assert_eq!(got(&mut world, b), ["x/y=1", "x/y=2"]);
    world.send(b, [unsubscribe(3, &["$share/g/x/#"])]);
    publish_all(&mut world, 0, 3..=3);
    assert!(world.poll(a).is_empty() && world.poll(b).is_empty());
    assert_eq!(world.hub.stats().subscriptions, 0);
}

#[test]
fn busy_member_is_passed_over() {
    let mut world = World::new();
    let slow = asking(v5("slow"), Property::ReceiveMaximum(1.try_into().unwrap()));
    let slow = world.subscriber(slow, "$share/g/x/#", 1);
    let [quick] = members(&mut world, ["quick"]);
    let mut read = Vec::new();
    for number in 1..=6 {
        publish_all(&mut world, 1, number..=number);
        read.extend(got(&mut world, quick));
        // It takes one and acknowledges nothing, so that a second one waits.
        world.poll(slow);
    }
    assert_eq!(read, ["x/y=2 q1", "x/y=4 q1", "x/y=5 q1", "x/y=6 q1"]);
}

#[test]
fn messages_wait_for_the_group_only_while_nobody_is_connected() {
    let mut world = World::new();
    let [a, b] = members(&mut world, ["a", "b"]);
    world.cut(a);
    publish_all(&mut world, 1, 1..=2);
    assert_eq!(got(&mut world, b), ["x/y=1 q1", "x/y=2 q1"]);
    world.cut(b);
    publish_all(&mut world, 0, 3..=3);
    assert_eq!(world.hub.stats().dropped_qos0, 1);
    publish_all(&mut world, 1, 4..=5);
    let (a, b) = (world.connect(v5("a")), world.connect(v5("b")));
    let mut all = got(&mut world, a);
    all.extend(got(&mut world, b));
    all.retain(|shown| !shown.ends_with("1 q1") && !shown.ends_with("2 q1"));
    all.sort();
    assert_eq!(all, ["x/y=4 q1", "x/y=5 q1"]);
}

#[test]
fn what_a_lost_member_was_not_sent_goes_to_the_others_at_once() {
    let mut world = World::new();
    let [a, b] = members(&mut world, ["a", "b"]);
    world.send(a, [subscribe(2, "own", 1)]);
    world.publish(message("own", "stays").qos(qos(1)));
    publish_all(&mut world, 2, 1..=1);
    publish_all(&mut world, 2, 2..=3);
    assert_eq!(got(&mut world, b).len(), 3 - 1);
    world.cut(a);
    assert_eq!(got(&mut world, b), ["x/y=2 q2"]);
    let a = world.connect(v5("a"));
    assert_eq!(got(&mut world, a), ["own=stays q1"]);
}

#[test]
fn session_that_ends_leaves_what_it_did_not_acknowledge_but_for_qos_2() {
    let mut world = World::new();
    let [a] = members(&mut world, ["a"]);
    publish_all(&mut world, 1, 1..=1);
    publish_all(&mut world, 2, 2..=2);
    assert_eq!(world.poll(a), ["x/y=1 q1 #1", "x/y=2 q2 #2"]);
    world.cut(a);
    publish_all(&mut world, 2, 3..=3);
    let [b] = members(&mut world, ["b"]);
    assert!(world.poll(b).is_empty(), "its session may come back");
    world.pass(1001);
    // As messages that it has not seen; 2 may have been received by the other one.
    assert_eq!(world.poll(b), ["x/y=1 q1 #1", "x/y=3 q2 #2"]);
}

#[test]
fn qos_2_that_was_sent_waits_for_its_member() {
    // MQTT-4.8.2-4.
    let mut world = World::new();
    let [a, b] = members(&mut world, ["a", "b"]);
    publish_all(&mut world, 2, 1..=1);
    assert_eq!(world.poll(a), ["x/y=1 q2 #1"]);
    world.cut(a);
    world.pass(999);
    assert!(world.poll(b).is_empty());
    let a = world.connect(v5("a"));
    assert_eq!(world.poll(a), ["x/y=1 q2 #1 dup"]);
}

#[test]
fn session_that_ends_with_its_connection_leaves_its_messages_in_order() {
    let mut world = World::new();
    let brief = Connect { properties: Properties::new(), ..v5("brief") };
    let brief = world.subscriber(brief, "$share/g/x/#", 1);
    publish_all(&mut world, 1, 1..=2);
    world.poll(brief);
    publish_all(&mut world, 1, 3..=3);
    let [stays] = members(&mut world, ["stays"]);
    world.cut(brief);
    assert_eq!(got(&mut world, stays), ["x/y=1 q1", "x/y=2 q1", "x/y=3 q1"]);
}

#[test]
fn refused_message_goes_to_nobody_else() {
    // MQTT-4.8.2-6.
    let mut world = World::new();
    let [a, b] = members(&mut world, ["a", "b"]);
    publish_all(&mut world, 1, 1..=1);
    world.poll(a);
    world.send(a, [Packet::PubAck(Ack::new(id(1), ReasonCode::UNSPECIFIED_ERROR))]);
    world.cut(a);
    world.pass(1001);
    assert!(world.poll(b).is_empty());
}

#[test]
fn retained_messages_are_for_no_group() {
    let mut world = World::new();
    world.publish(message("x/y", "kept").retain(true));
    let [a] = members(&mut world, ["a"]);
    assert!(world.poll(a).is_empty());
}

#[test]
fn share_needs_a_name_and_a_filter() {
    let mut world = World::new();
    let client = world.connect(v5("a"));
    let filters = ["$share/g", "$share//x", "$share/+/x", "$share/#", "$share/g/", "$share/"];
    for filter in filters {
        assert_eq!(world.send(client, [subscribe(1, filter, 0)]), ["SUBACK 1 8f"], "{filter}");
    }
    for filter in ["$share/g/#", "$share/g//", "$share/g/$share/h/x", "$share"] {
        assert_eq!(world.send(client, [subscribe(1, filter, 0)]), ["SUBACK 1 00"], "{filter}");
    }
}

#[test]
fn no_local_on_a_shared_subscription_is_a_protocol_error() {
    // MQTT-3.8.3-4.
    let mut world = World::new();
    let client = world.connect(v5("a"));
    let packet = subscribe_with(1, &[("y", 0), ("$share/g/x", 0)], None, |o| o.no_local = true);
    let (out, closing) = world.try_send(client, [packet]);
    assert!(out.is_empty(), "{out:?}");
    assert_eq!(closing, Err(Closing::Violation(ReasonCode::PROTOCOL_ERROR)));
}
