//! Messages counted by topic.

use super::harness::*;
use crate::hub::count::Count;
use crate::{Message, TopicFilter};

fn counts(world: &World, key: crate::arena::Key) -> (Vec<String>, Count) {
    let (counts, others) = world.hub.counts(key);
    let shown = counts.iter().map(|c| format!("{}: {} of {} bytes", c.topic, c.messages, c.bytes));
    let mut shown: Vec<String> = shown.collect();
    shown.sort();
    (shown, others)
}

#[test]
fn each_topic_is_counted_up_to_the_limit_and_the_others_together() {
    let mut world = World::new();
    let all: TopicFilter = filter("x/#");
    let key = world.hub.count(all, 2).unwrap();
    for (topic, payload) in
        [("x/a", "1"), ("x/b", "22"), ("x/c", "333"), ("x/a", "4444"), ("y", "")]
    {
        world.publish(Message::new(topic.parse().unwrap(), payload));
    }
    let others = Count { messages: 1, bytes: 3 };
    let topics = ["x/a: 2 of 5 bytes".to_owned(), "x/b: 1 of 2 bytes".to_owned()];
    assert_eq!(counts(&world, key), (topics.to_vec(), others));
    // Nobody is subscribed any more.
    world.hub.end_count(key);
    world.publish(Message::new("x/a".parse().unwrap(), "5"));
    assert_eq!(counts(&world, key), (Vec::new(), Count::default()));
    assert_eq!(world.hub.stats().subscriptions, 0);
}

#[test]
fn message_that_is_to_be_stored_counts_once_it_is() {
    let mut world = World::journaling();
    let key = world.hub.count(filter("log/x"), 9).unwrap();
    world.publish(Message::new("log/x".parse().unwrap(), "1"));
    assert_eq!(counts(&world, key).0, [""; 0]);
    world.commit();
    assert_eq!(counts(&world, key).0, ["log/x: 1 of 1 bytes"]);
}

#[test]
fn counters_count_among_the_sessions() {
    let mut world = World::with(|limits| limits.sessions = 1);
    assert!(world.hub.count(filter("x"), 1).is_some());
    assert!(world.hub.count(filter("x"), 1).is_none());
}
