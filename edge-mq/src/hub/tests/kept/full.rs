//! What a queue on disk gives up when it is full, and what of it is in memory at most.

use super::absent;
use crate::hub::tests::harness::*;
use crate::limits::WhenFull;
use crate::packet::*;
use crate::session::Closing;

/// A broker with these limits, and a client away that gets `x`.
fn limited(change: impl FnOnce(&mut crate::limits::Limits), online: bool) -> (World, Client) {
    let mut world = World::keeping_with(change);
    let client = world.subscriber(v5("a"), "x", 1);
    if !online {
        world.cut(client);
    }
    (world, client)
}

#[test]
fn full_queue_on_disk_gives_up_what_the_policy_says() {
    let cases = [
        (WhenFull::DropNewest, vec![1, 2, 3, 4]),
        (WhenFull::DropOldest, vec![3, 4, 5, 6]),
        (WhenFull::Disconnect, vec![1, 2, 3, 4]),
    ];
    for (policy, expected) in cases {
        let (mut world, _) = limited(
            |limits| (limits.stored_queue_messages, limits.queue_when_full) = (4, policy),
            false,
        );
        for payload in 1..=6 {
            world.publish(message("x", &payload.to_string()).qos(qos(1)));
            world.commit_all();
        }
        world.pass(1);
        world.commit_all();
        assert_eq!(world.disk.queued(), 4, "{policy:?}");
        assert_eq!(world.hub.stats().dropped_full, 2, "{policy:?}");
        world.crash();
        let client = world.connect(v5("a"));
        let expected: Vec<_> = expected.iter().map(|n| format!("x={n} q1 #{n}")).collect();
        assert_eq!(world.poll(client), expected, "{policy:?}");
    }
}

#[test]
fn bytes_on_disk_are_limited_for_one_session_and_for_all() {
    let one = message("x", "1").cost_bytes() as u64;
    for (of_one, of_all, expected) in [(one * 2, u64::MAX, 4), (u64::MAX, one * 3, 3)] {
        let (mut world, _) = limited(
            |limits| {
                limits.stored_queue_bytes = of_one;
                limits.stored_queue_bytes_total = of_all;
            },
            false,
        );
        absent(&mut world, v5("b"), 1, 1..=4);
        assert_eq!(world.disk.queued(), expected);
        assert_eq!(world.hub.stats().dropped_full, 8 - expected as u64);
    }
}

#[test]
fn slow_reader_is_disconnected_where_the_policy_says_so() {
    let (mut world, client) = limited(
        |limits| {
            (limits.stored_queue_messages, limits.queue_when_full) = (2, WhenFull::Disconnect);
        },
        true,
    );
    for payload in ["1", "2", "3"] {
        world.publish(message("x", payload).qos(qos(1)));
    }
    world.commit_all();
    let (got, end) = world.try_poll(client);
    assert_eq!(got, ["x=1 q1 #1", "x=2 q1 #2"]);
    assert_eq!(end, Err(Closing::Ended(ReasonCode::QUOTA_EXCEEDED)));
}

#[test]
fn what_is_read_while_the_oldest_are_dropped_comes_once() {
    let (mut world, _) = limited(
        |limits| {
            (limits.stored_queue_messages, limits.queue_when_full) = (4, WhenFull::DropOldest);
        },
        false,
    );
    let publish = |world: &mut World, payloads: std::ops::RangeInclusive<u32>| {
        for payload in payloads {
            world.publish(message("x", &payload.to_string()).qos(qos(1)));
        }
        world.commit_all();
    };
    publish(&mut world, 1..=4);
    world.disk.page = 1;
    let client = world.connect(v5("a"));
    world.disk.page = 4;
    let request = |world: &mut World| {
        world.hub.poll(client.0, world.now, 0, &mut Vec::new()).unwrap().read.unwrap()
    };
    let first = request(&mut world);
    let first = world.disk.read(&first);
    publish(&mut world, 5..=6);
    let second = request(&mut world);
    let second = world.disk.read(&second);
    assert_eq!((first.from, second.from), (1, 2));
    world.load(client.0, first);
    world.load(client.0, second);
    let expected = ["x=3 q1 #3", "x=4 q1 #4", "x=5 q1 #5", "x=6 q1 #6"];
    assert_eq!(world.poll(client), expected);
}

#[test]
fn retained_message_that_has_no_room_is_not_on_disk_either() {
    let (mut world, _) = limited(|limits| limits.retained_messages = 1, false);
    for topic in ["first", "second"] {
        world.publish(message(topic, "1").qos(qos(1)).retain(true));
        world.commit_all();
    }
    assert_eq!(world.hub.stats().retained_refused, 1);
    assert_eq!(world.disk.stored().retained.len(), 1);
}

#[test]
fn dropping_the_oldest_leaves_what_was_sent() {
    let (mut world, client) = limited(
        |limits| {
            limits.inflight_messages = 2;
            (limits.stored_queue_messages, limits.queue_when_full) = (4, WhenFull::DropOldest);
        },
        true,
    );
    for payload in 1..=6 {
        world.publish(message("x", &payload.to_string()).qos(qos(1)));
        world.commit_all();
        world.poll(client);
    }
    // 1 and 2 are with the client; 3 and 4 were given up for 5 and 6.
    world.cut(client);
    world.commit_all();
    let client = world.connect(v5("a"));
    assert_eq!(world.poll(client), ["x=1 q1 #1 dup", "x=2 q1 #2 dup"]);
    assert_eq!(world.send(client, [pub_ack(1), pub_ack(2)]), ["x=5 q1 #5", "x=6 q1 #6"]);
    world.send(client, [pub_ack(5), pub_ack(6)]);
    world.pass(1);
    world.commit_all();
    assert_eq!((world.disk.queued(), world.hub.stats().stored_bytes), (0, 0));
}

#[test]
fn parts_of_queues_stay_on_disk_while_all_have_enough_in_memory() {
    let one = message("x", "1").cost_bytes();
    let mut world = World::keeping_with(|limits| {
        (limits.queue_bytes_total, limits.inflight_messages) = (one * 2, 1);
    });
    for name in ["a", "b"] {
        absent(&mut world, v5(name), 1, 1..=6);
    }
    // Each has one part, of two messages, whatever the others have.
    let clients = ["a", "b"].map(|name| world.connect(v5(name)));
    for client in clients {
        assert_eq!(world.poll(client), ["x=1 q1 #1"]);
    }
    assert_eq!(world.hub.stats().queued_bytes, one * 4);
    // All comes, one part after the other.
    // One was there before the messages for the other.
    for (client, count) in clients.into_iter().zip([12, 6]) {
        for id in 1..count {
            assert_eq!(world.send(client, [pub_ack(id)]).len(), 1, "behind {id}");
        }
        assert!(world.send(client, [pub_ack(count)]).is_empty());
    }
}
