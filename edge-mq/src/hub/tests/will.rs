//! Wills: when they are published, and when not.

use super::harness::*;
use crate::packet::*;
use crate::session::Closing;

fn with_will(connect: Connect, delay: u32) -> Connect {
    let properties = match connect.version {
        Version::V5 => Properties::new().with(Property::WillDelay(delay)),
        Version::V311 => Properties::new(),
    };
    let will = Will {
        topic: "will".parse().unwrap(),
        payload: "gone".into(),
        qos: QoS::AtLeastOnce,
        retain: true,
        properties,
    };
    Connect { will: Some(will), ..connect }
}

fn watched() -> (World, Client) {
    let mut world = World::new();
    let reader = world.subscriber(v5("reader"), "will", 0);
    (world, reader)
}

#[test]
fn will_is_published_when_the_connection_is_lost() {
    for connect in both("a").into_iter().chain(both("a").map(clean)) {
        let (mut world, reader) = watched();
        let client = world.connect(with_will(connect, 0));
        world.cut(client);
        assert_eq!(world.poll(reader), ["will=gone"]);
        assert_eq!(world.hub.stats().retained, 1);
    }
}

#[test]
fn every_end_but_a_normal_disconnect_publishes_the_will() {
    let cases = [
        (Closing::Goodbye { with_will: false }, false),
        (Closing::Goodbye { with_will: true }, true),
        (Closing::Violation(ReasonCode::PROTOCOL_ERROR), true),
        (Closing::Ended(ReasonCode::KEEP_ALIVE_TIMEOUT), true),
        (Closing::Ended(ReasonCode::SERVER_SHUTTING_DOWN), true),
    ];
    for (closing, published) in cases {
        let (mut world, reader) = watched();
        let client = world.connect(with_will(v5("a"), 0));
        world.leave(client, &closing);
        assert_eq!(world.poll(reader).len(), usize::from(published), "{closing:?}");
        // Neither then nor later.
        world.pass(10_000);
        assert!(world.poll(reader).is_empty(), "{closing:?}");
    }
}

#[test]
fn normal_disconnect_drops_the_will_and_other_reasons_keep_it() {
    let cases = [
        (ReasonCode::SUCCESS, 0),
        (ReasonCode::DISCONNECT_WITH_WILL, 1),
        (ReasonCode::UNSPECIFIED_ERROR, 1),
    ];
    for (code, published) in cases {
        let (mut world, reader) = watched();
        let client = world.connect(with_will(v5("a"), 0));
        world.disconnect(client, Disconnect::new(code));
        assert_eq!(world.poll(reader).len(), published, "{code:?}");
    }
}

#[test]
fn delayed_will_is_published_after_its_delay() {
    let (mut world, reader) = watched();
    let client = world.connect(with_will(v5("a"), 60));
    world.cut(client);
    world.pass(59);
    assert!(world.poll(reader).is_empty());
    world.pass(1);
    assert_eq!(world.poll(reader), ["will=gone"]);
    assert_eq!(world.hub.stats().sessions, 2);
}

#[test]
fn delayed_will_is_dropped_when_the_client_is_back_in_time() {
    let (mut world, reader) = watched();
    let client = world.connect(with_will(v5("a"), 60));
    world.cut(client);
    world.pass(59);
    let client = world.connect(v5("a"));
    world.pass(10_000);
    world.cut(client);
    world.pass(10_000);
    assert!(world.poll(reader).is_empty());
}

#[test]
fn end_of_the_session_does_not_wait_for_the_delay() {
    let (mut world, reader) = watched();
    // Section 3.1.3.2.2: the delay or the end of the session, whichever is first.
    let client = world.connect(with_will(v5("a"), 5_000));
    world.cut(client);
    world.pass(999);
    assert!(world.poll(reader).is_empty());
    world.pass(1);
    assert_eq!(world.poll(reader), ["will=gone"]);
    assert_eq!(world.hub.stats().sessions, 1);
}

#[test]
fn clean_start_ends_the_session_and_publishes_the_delayed_will() {
    let (mut world, reader) = watched();
    let client = world.connect(with_will(v5("a"), 60));
    world.cut(client);
    world.connect(clean(v5("a")));
    assert_eq!(world.poll(reader), ["will=gone"]);
}

#[test]
fn takeover_publishes_the_will_unless_it_is_delayed() {
    for (delay, published) in [(0, 1), (60, 0)] {
        let (mut world, reader) = watched();
        world.connect(with_will(v5("a"), delay));
        world.connect(v5("a"));
        world.pass(10_000);
        assert_eq!(world.poll(reader).len(), published, "delay {delay}");
    }
}

#[test]
fn will_on_a_journaled_topic_waits_for_its_commit() {
    let (mut world, reader) = watched();
    world.hub.add_rule(&filter("will"), 0);
    let client = world.connect(with_will(v311("a"), 0));
    world.cut(client);
    assert!(world.poll(reader).is_empty());
    assert_eq!(appended(&world), (vec![0], Some("a".to_owned())));
    assert_eq!(world.commit(), ["will=gone"]);
    assert_eq!(world.poll(reader), ["will=gone"]);
}
