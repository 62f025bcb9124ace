//! What members of shared subscriptions left on disk goes to those who are there. A page of the disk
//! holds two messages.

use super::harness::*;
use crate::packet::*;
use crate::store::Page;

fn publish_all(world: &mut World, level: u8, payloads: std::ops::RangeInclusive<u32>) {
    for payload in payloads {
        world.publish(message("x/y", &payload.to_string()).qos(qos(level)));
    }
    world.commit_all();
}

fn member(world: &mut World, connect: Connect) -> Client {
    world.subscriber(connect, "$share/g/x/#", 2)
}

/// One who joins while others have left something. The commits that follow have not ended.
fn comes(world: &mut World, connect: Connect, group: &str) -> Client {
    let client = world.connect(connect);
    assert!(world.send(client, [subscribe(1, group, 2)]).is_empty());
    client
}

/// All messages that a client gets, with what is read and stored for that, without packet
/// identifiers.
fn got(world: &mut World, client: Client) -> Vec<String> {
    let mut got = Vec::new();
    loop {
        got.extend(world.poll(client));
        if world.held.is_empty() {
            got.retain(|shown| !shown.contains("ACK"));
            return got.iter().map(|shown| shown.split(" #").next().unwrap().to_owned()).collect();
        }
        world.commit_all();
    }
}

/// A member that is away, and has these messages as nobody else was there.
fn left_alone(world: &mut World, level: u8, payloads: std::ops::RangeInclusive<u32>) {
    let a = member(world, v5("a"));
    world.cut(a);
    publish_all(world, level, payloads);
}

#[test]
fn what_waits_for_a_member_that_is_away_goes_to_one_who_comes() {
    let mut world = World::keeping();
    left_alone(&mut world, 1, 1..=5);
    let b = comes(&mut world, v5("b"), "$share/g/x/#");
    let all: Vec<_> = (1..=5).map(|number| format!("x/y={number} q1")).collect();
    assert_eq!(got(&mut world, b), all);
    world.send(b, (1..=5).map(pub_ack));
    world.pass(1);
    world.commit_all();
    assert_eq!((world.disk.queued(), world.hub.stats().stored_messages), (0, 0));
    let a = world.connect(v5("a"));
    assert!(got(&mut world, a).is_empty());
    publish_all(&mut world, 1, 6..=7);
    assert_eq!(got(&mut world, a).len() + got(&mut world, b).len(), 2);
}

#[test]
fn lost_member_keeps_what_it_was_sent_and_what_is_its_own() {
    let mut world = World::keeping();
    let slow = asking(v5("slow"), Property::ReceiveMaximum(1.try_into().unwrap()));
    let a = member(&mut world, slow);
    world.send(a, [subscribe(2, "own", 2)]);
    world.commit_all();
    publish_all(&mut world, 2, 1..=1);
    assert_eq!(got(&mut world, a), ["x/y=1 q2"]);
    world.publish(message("own", "stays").qos(qos(1)));
    publish_all(&mut world, 2, 2..=4);
    let b = member(&mut world, v5("b"));
    assert!(got(&mut world, b).is_empty(), "its client is there");
    world.cut(a);
    assert_eq!(got(&mut world, b), ["x/y=2 q2", "x/y=3 q2", "x/y=4 q2"]);
    let a = world.connect(v5("slow"));
    assert_eq!(got(&mut world, a), ["x/y=1 q2", "own=stays q1"]);
}

#[test]
fn member_that_is_back_waits_for_the_end_of_a_division() {
    for is_stored in [true, false] {
        let mut world = World::keeping();
        left_alone(&mut world, 2, 1..=3);
        let b = comes(&mut world, v5("b"), "$share/g/x/#");
        world.commit();
        // The first page is on its way to b.
        world.is_eager = false;
        let a = world.connect(v5("a"));
        assert!(world.poll(a).is_empty());
        let outcome = if is_stored { Ok(()) } else { Err(ReasonCode::QUOTA_EXCEEDED) };
        world.end_commit(outcome);
        let (of_a, of_b) = (got(&mut world, a), got(&mut world, b));
        let all = ["x/y=1 q2", "x/y=2 q2", "x/y=3 q2"];
        let (for_b, for_a) = all.split_at(if is_stored { 2 } else { 0 });
        assert_eq!(of_a, for_a);
        assert_eq!(of_b, for_b);
    }
}

#[test]
fn power_cut_leaves_each_message_with_one_of_them() {
    for is_stored in [true, false] {
        let mut world = World::keeping();
        left_alone(&mut world, 2, 1..=2);
        comes(&mut world, v5("b"), "$share/g/x/#");
        world.commit();
        assert_eq!(world.held.len(), 1);
        if is_stored {
            world.commit();
        }
        world.crash();
        assert_eq!(world.disk.queued(), 2);
        // Who is here first gets what it has, and what the other one surely was not sent.
        let a = world.connect(v5("a"));
        assert_eq!(got(&mut world, a).len(), if is_stored { 0 } else { 2 });
    }
}

#[test]
fn what_may_have_been_sent_before_a_power_cut_waits_for_its_member() {
    // MQTT-4.8.2-4.
    let mut world = World::keeping();
    let a = member(&mut world, v5("a"));
    publish_all(&mut world, 2, 1..=1);
    assert_eq!(world.poll(a), ["x/y=1 q2 #1"]);
    world.crash();
    let b = comes(&mut world, v5("b"), "$share/g/x/#");
    assert!(got(&mut world, b).is_empty());
    // The store knows no better once a was there and got nothing, but QoS 1 may come twice.
    let a = world.connect(v5("a"));
    world.cut(b);
    world.cut(a);
    publish_all(&mut world, 1, 2..=3);
    world.crash();
    let b = world.connect(v5("b"));
    let mut of_b = got(&mut world, b);
    of_b.sort();
    assert_eq!(of_b, ["x/y=2 q1", "x/y=3 q1"]);
    let a = world.connect(v5("a"));
    assert_eq!(got(&mut world, a), ["x/y=1 q2"]);
}

/// Takes what there is, and begins to read more.
fn reads(world: &mut World, client: Client) -> Page {
    let polled = world.hub.poll(client.0, world.now, 1000, &mut Vec::new()).unwrap();
    world.disk.read(&polled.read.expect("there is more to be read"))
}

#[test]
fn reader_that_goes_leaves_the_estate_to_others() {
    let mut world = World::keeping();
    left_alone(&mut world, 1, 1..=4);
    let b = comes(&mut world, v5("b"), "$share/g/x/#");
    world.commit_all();
    let page = reads(&mut world, b);
    world.cut(b);
    // Too late.
    world.load(b.0, page);
    let c = comes(&mut world, v5("c"), "$share/g/x/#");
    assert_eq!(got(&mut world, c), ["x/y=3 q1", "x/y=4 q1"]);
}

#[test]
fn member_without_a_queue_on_disk_gets_it_once_it_is_taken_out() {
    let mut world = World::keeping();
    left_alone(&mut world, 1, 1..=2);
    let brief = Connect { properties: Properties::new(), ..v5("brief") };
    let brief = world.connect(brief);
    assert_eq!(world.send(brief, [subscribe(1, "$share/g/x/#", 2)]), ["SUBACK 1 02"]);
    assert!(world.poll(brief).is_empty(), "not before it is taken out");
    assert_eq!(got(&mut world, brief), ["x/y=1 q1", "x/y=2 q1"]);
    assert_eq!(world.disk.queued(), 0);
}

#[test]
fn group_of_which_nobody_is_there_waits_until_somebody_is() {
    let mut world = World::keeping();
    let a = member(&mut world, v5("a"));
    world.send(a, [subscribe(2, "$share/h/z", 1)]);
    world.commit_all();
    world.cut(a);
    world.publish(message("z", "later").qos(qos(1)));
    publish_all(&mut world, 1, 1..=3);
    let b = comes(&mut world, v5("b"), "$share/g/x/#");
    assert_eq!(got(&mut world, b), ["x/y=1 q1", "x/y=2 q1", "x/y=3 q1"]);
    let c = comes(&mut world, v5("c"), "$share/h/z");
    assert_eq!(got(&mut world, c), ["z=later q1"]);
}

#[test]
fn estate_that_cannot_be_read_waits_for_its_client() {
    let mut world = World::keeping();
    left_alone(&mut world, 1, 1..=3);
    let b = comes(&mut world, v5("b"), "$share/g/x/#");
    world.commit_all();
    reads(&mut world, b);
    assert!(world.hub.give_up_estate(b.0));
    assert!(!world.hub.give_up_estate(b.0), "what is its own it needs");
    assert!(got(&mut world, b).is_empty());
    let a = world.connect(v5("a"));
    assert_eq!(got(&mut world, a), ["x/y=3 q1"]);
}
