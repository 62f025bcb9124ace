//! Limits of what one client may ask for, and how it is told.

use super::harness::*;
use crate::packet::*;
use crate::session::Closing;

const TOO_FAST: Result<(), Closing> = Err(Closing::Ended(ReasonCode::MESSAGE_RATE_TOO_HIGH));

#[test]
fn client_that_publishes_too_fast_is_disconnected_and_has_to_wait_when_it_is_back() {
    let mut world = World::with(|limits| limits.publish_rate = Some(10));
    let client = world.connect(v5("a"));
    world.send(client, (1..=20).map(|id| send(1, id, "x", "")));
    let (answers, end) = world.try_send(client, [send(1, 21, "x", "")]);
    assert_eq!((answers.len(), end), (0, TOO_FAST));
    world.cut(client);
    let client = world.connect(v5("a"));
    assert_eq!(world.try_send(client, [send(1, 1, "x", "")]).1, TOO_FAST);
    world.cut(client);
    world.pass(1);
    let client = world.connect(v5("a"));
    assert_eq!(world.send(client, (1..=10).map(|id| send(1, id, "x", ""))).len(), 10);
    assert_eq!(world.try_send(client, [send(0, 0, "x", "")]).1, TOO_FAST);
    // Nobody else is concerned.
    let other = world.connect(v5("b"));
    assert_eq!(world.send(other, [send(1, 1, "x", "")]), ["PUBACK 1"]);
    assert_eq!(world.hub.stats().rate_exceeded, 3);
}

#[test]
fn bytes_are_limited_too_and_one_large_message_has_its_turn() {
    let mut world = World::with(|limits| limits.publish_bytes_rate = Some(100));
    let client = world.connect(v311("a"));
    let large = "x".repeat(500);
    world.send(client, [send(0, 0, "x", &large)]);
    assert_eq!(world.try_send(client, [send(0, 0, "x", "y")]).1, TOO_FAST);
    world.cut(client);
    // 500 bytes were taken of 200: three seconds are owed.
    for (seconds, expected) in [(3, TOO_FAST), (1, Ok(()))] {
        world.pass(seconds);
        let client = world.connect(v311("a"));
        assert_eq!(world.try_send(client, [send(0, 0, "x", "y")]).1, expected);
        world.cut(client);
    }
}

#[test]
fn long_topics_and_filters_are_refused() {
    let mut world = World::with(|limits| (limits.topic_levels, limits.topic_bytes) = (3, 10));
    let reader = world.subscriber(v5("reader"), "#", 0);
    let client = world.connect(v5("a"));
    for (topic, is_allowed) in
        [("a/b/c", true), ("a/b/c/d", false), ("0123456789", true), ("0123456789a", false)]
    {
        let code = if is_allowed { "" } else { " 90" };
        assert_eq!(
            world.send(client, [send(1, 1, topic, "")]),
            [format!("PUBACK 1{code}")],
            "{topic}"
        );
        world.send(client, [send(0, 0, topic, "")]);
        assert_eq!(world.poll(reader).len(), if is_allowed { 2 } else { 0 }, "{topic}");
        let code = if is_allowed { "00" } else { "8f" };
        let answer = world.send(client, [subscribe(2, topic, 0)]);
        assert_eq!(answer, [format!("SUBACK 2 {code}")], "{topic}");
        world.send(client, [unsubscribe(3, &[topic])]);
    }
    assert_eq!(world.hub.stats().refused_topics, 6);
    // MQTT 3.1.1 has no word for it.
    let client = world.connect(v311("b"));
    let end = world.try_send(client, [send(1, 1, "a/b/c/d", "")]).1;
    assert_eq!(end, Err(Closing::Ended(ReasonCode::TOPIC_NAME_INVALID)));
}
