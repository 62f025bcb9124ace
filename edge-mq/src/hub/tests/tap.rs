//! In-process subscriptions: bounded, oldest dropped and counted.

use std::task::{Poll, Waker};
use std::time::Duration;

use super::harness::*;
use crate::arena::Key;
use crate::hub::TapRefused;

fn next(world: &mut World, tap: Key) -> Option<String> {
    match world.hub.poll_tap(tap, Waker::noop(), world.now) {
        Poll::Ready(message) => message.map(|message| {
            let retained = if message.is_retained() { " retained" } else { "" };
            let payload = String::from_utf8_lossy(message.payload()).into_owned();
            format!("{}={payload}{retained}", message.topic())
        }),
        Poll::Pending => Some("nothing yet".to_owned()),
    }
}

fn drain(world: &mut World, tap: Key) -> Vec<String> {
    let all = std::iter::from_fn(|| next(world, tap));
    all.take_while(|shown| shown != "nothing yet").collect()
}

#[test]
fn full_tap_drops_the_oldest_and_counts() {
    let mut world = World::new();
    let tap = world.hub.tap(filter("#"), 2, world.now).unwrap();
    for payload in ["1", "2", "3", "4"] {
        world.publish(message("x", payload));
    }
    assert_eq!(drain(&mut world, tap), ["x=3", "x=4"]);
    assert_eq!((world.hub.tap_dropped(tap), world.hub.stats().dropped_full), (2, 2));
}

#[test]
fn tap_begins_with_what_is_retained_and_goes_on_with_what_comes() {
    let mut world = World::new();
    world.publish(message("x", "1").retain(true));
    let tap = world.hub.tap(filter("x"), 10, world.now).unwrap();
    world.publish(message("x", "2").retain(true));
    world.publish(message("y", "3"));
    assert_eq!(drain(&mut world, tap), ["x=1 retained", "x=2"]);
}

#[test]
fn tap_gets_journaled_messages_after_their_commit() {
    let mut world = World::journaling();
    let tap = world.hub.tap(filter("#"), 10, world.now).unwrap();
    world.publish(message("log/x", "1").qos(qos(1)));
    assert!(drain(&mut world, tap).is_empty());
    world.commit();
    assert_eq!(drain(&mut world, tap), ["log/x=1"]);
}

#[test]
fn expired_message_is_not_received() {
    let mut world = World::new();
    let tap = world.hub.tap(filter("x"), 10, world.now).unwrap();
    world.publish(message("x", "1").expires_after(Duration::from_secs(5)));
    world.publish(message("x", "2"));
    world.pass(5);
    assert_eq!(drain(&mut world, tap), ["x=2"]);
    assert_eq!(world.hub.stats().dropped_expired, 1);
}

#[test]
fn ended_tap_gets_nothing_and_closed_broker_ends_it_behind_its_messages() {
    let mut world = World::new();
    let ended = world.hub.tap(filter("x"), 10, world.now).unwrap();
    let open = world.hub.tap(filter("x"), 10, world.now).unwrap();
    world.hub.end_tap(ended);
    world.publish(message("x", "1"));
    assert_eq!((next(&mut world, ended), world.hub.stats().subscriptions), (None, 1));
    world.hub.close(&mut crate::hub::Effects::default());
    assert_eq!(next(&mut world, open).as_deref(), Some("x=1"));
    assert_eq!(next(&mut world, open), None);
    assert_eq!(world.hub.tap(filter("x"), 10, world.now), Err(TapRefused::Closed));
}

#[test]
fn taps_count_as_sessions() {
    let mut world = World::with(|limits| limits.sessions = 1);
    let tap = world.hub.tap(filter("x"), 10, world.now).unwrap();
    assert_eq!(world.hub.tap(filter("x"), 10, world.now), Err(TapRefused::Full));
    assert!(world.try_connect(v5("a")).is_err());
    world.hub.end_tap(tap);
    assert!(world.try_connect(v5("a")).is_ok());
}
