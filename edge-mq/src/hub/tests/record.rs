//! Messages handed over to a recorder of the application.

use std::sync::Arc;

use parking_lot::Mutex;

use super::harness::*;
use crate::arena::Key;

type Taken = Arc<Mutex<Vec<String>>>;

fn record(world: &mut World, filters: &[&str]) -> (Key, Taken) {
    let taken = Taken::default();
    let into = Arc::clone(&taken);
    let take = Arc::new(move |routed: &crate::message::Routed, client: Option<&crate::Text>| {
        let (message, client) = (&routed.message, client.map_or("-", |client| client.as_str()));
        let payload = String::from_utf8_lossy(message.payload()).into_owned();
        into.lock().push(format!("{}={payload} {client}", message.topic()));
    });
    let key = world.hub.record(take);
    filters.iter().for_each(|text| world.hub.add_recorded(key, filter(text)));
    (key, taken)
}

fn drain(taken: &Taken) -> Vec<String> {
    std::mem::take(&mut taken.lock())
}

#[test]
fn each_message_is_taken_once_by_all_filters_from_when_they_are_added_on() {
    let mut world = World::new();
    world.publish(message("a/x", "0").retain(true));
    let (key, taken) = record(&mut world, &["a/+", "+/x", "a/+"]);
    for (topic, payload) in [("a/x", "1"), ("a/y", "2"), ("b/x", "3"), ("b/y", "4")] {
        world.publish(message(topic, payload));
    }
    assert_eq!(drain(&taken), ["a/x=1 -", "a/y=2 -", "b/x=3 -"]);
    world.hub.remove_recorded(key, &filter("a/+"));
    world.publish(message("a/x", "5"));
    world.publish(message("a/y", "6"));
    assert_eq!(drain(&taken), ["a/x=5 -"]);
    world.hub.end_recorder(key);
    world.publish(message("a/x", "7"));
    assert!(drain(&taken).is_empty());
    assert_eq!(world.hub.stats().subscriptions, 0);
}

#[test]
fn message_that_is_to_be_stored_is_taken_once_it_is_and_names_its_client() {
    let mut world = World::journaling();
    let (_, taken) = record(&mut world, &["log/#"]);
    let press = world.connect(v5("press"));
    world.send(press, [send(0, 1, "log/x", "1")]);
    assert!(drain(&taken).is_empty());
    world.commit();
    assert_eq!(drain(&taken), ["log/x=1 press"]);
}

#[test]
fn sessions_keep_nobody_from_recording() {
    let mut world = World::with(|limits| limits.sessions = 1);
    world.connect(v5("press"));
    let (_, taken) = record(&mut world, &["x"]);
    world.publish(message("x", "1"));
    assert_eq!(drain(&taken), ["x=1 -"]);
}
