//! Sessions: who gets one, how long it stays, who takes it over.

use super::harness::*;
use crate::access::User;
use crate::hub::Entrance;
use crate::packet::*;
use crate::session::Closing;

fn expiring(connect: Connect, seconds: u32) -> Connect {
    let properties = Properties::new().with(Property::SessionExpiry(seconds));
    Connect { properties, ..connect }
}

#[test]
fn session_is_present_if_it_was_kept() {
    let kept = "CONNACK 1";
    let new = "CONNACK 0";
    let cases = [
        ("3.1.1 and again", v311("a"), v311("a"), kept),
        ("3.1.1, clean now", v311("a"), clean(v311("a")), new),
        ("3.1.1, clean then", clean(v311("a")), v311("a"), new),
        ("5.0 and again", v5("a"), v5("a"), kept),
        ("5.0, clean now", v5("a"), clean(v5("a")), new),
        ("5.0, clean then, but to be kept", clean(v5("a")), v5("a"), kept),
        ("5.0 without expiry", expiring(v5("a"), 0), v5("a"), new),
        ("from 3.1.1 to 5.0", v311("a"), v5("a"), kept),
        ("another client", v5("a"), v5("b"), new),
    ];
    for (name, first, second, expected) in cases {
        let mut world = World::new();
        let (client, answer) = world.try_connect(first.clone()).unwrap();
        assert_eq!(answer, new, "{name}");
        world.send(client, [subscribe(1, "x", 1)]);
        world.cut(client);
        world.publish(message("x", "1").qos(qos(1)));
        let (client, answer) = world.try_connect(second.clone()).unwrap();
        assert_eq!(answer, expected, "{name}");
        let got = world.poll(client);
        assert_eq!(got.len(), usize::from(expected == kept), "{name}: {got:?}");
        // The same, when the first is still connected.
        let mut world = World::new();
        world.connect(first);
        assert_eq!(world.try_connect(second).unwrap().1, expected, "{name}, taken over");
    }
}

#[test]
fn session_ends_when_its_expiry_has_passed() {
    let mut world = World::new();
    let client = world.subscriber(expiring(v5("a"), 100), "x", 1);
    world.cut(client);
    world.publish(message("x", "1").qos(qos(1)));
    world.pass(99);
    assert_eq!(world.hub.stats().sessions, 1);
    world.pass(1);
    let stats = world.hub.stats();
    assert_eq!((stats.sessions, stats.subscriptions, stats.queued_bytes), (0, 0, 0));
    assert_eq!(world.try_connect(v5("a")).unwrap().1, "CONNACK 0");
}

#[test]
fn session_does_not_expire_while_it_is_connected() {
    let mut world = World::new();
    let client = world.connect(expiring(v5("a"), 100));
    world.cut(client);
    world.pass(99);
    let client = world.connect(expiring(v5("a"), 100));
    world.pass(10_000);
    assert_eq!(world.send(client, [Packet::PingReq]).len(), 1);
    world.cut(client);
    world.pass(99);
    assert_eq!(world.hub.stats().sessions, 1);
}

#[test]
fn session_stays_no_longer_than_the_limit() {
    for connect in [v311("a"), expiring(v5("a"), u32::MAX)] {
        let mut world = World::with(|l| l.session_expiry = std::time::Duration::from_secs(10));
        let client = world.connect(connect);
        world.cut(client);
        world.pass(9);
        assert_eq!(world.hub.stats().sessions, 1);
        world.pass(1);
        assert_eq!(world.hub.stats().sessions, 0);
    }
}

#[test]
fn limits_that_no_clock_holds_or_nothing_works_with_do_no_harm() {
    let mut world = World::with(|limits| {
        limits.session_expiry = std::time::Duration::MAX;
        limits.receive_maximum = 0;
        limits.inflight_messages = 0;
    });
    let client = world.subscriber(v311("a"), "x", 1);
    assert_eq!(world.send(client, [send(1, 1, "x", "1")]), ["PUBACK 1", "x=1 q1 #1"]);
    world.cut(client);
    world.pass(1_000_000);
    assert_eq!(world.hub.stats().sessions, 1);
}

#[test]
fn disconnect_changes_the_expiry() {
    let with_expiry = |seconds| Disconnect {
        code: ReasonCode::SUCCESS,
        properties: Properties::new().with(Property::SessionExpiry(seconds)),
    };
    let mut world = World::new();
    let client = world.connect(v5("a"));
    world.disconnect(client, with_expiry(0));
    assert_eq!(world.hub.stats().sessions, 0);

    let client = world.connect(v5("a"));
    world.disconnect(client, with_expiry(2000));
    world.pass(1999);
    assert_eq!(world.hub.stats().sessions, 1);

    // Section 3.14.2.2.2: a session that was to end with its connection cannot be kept after all.
    let client = world.connect(clean(expiring(v5("a"), 0)));
    let breach = world.breach(client, Packet::Disconnect(with_expiry(1)));
    assert_eq!(breach, ReasonCode::PROTOCOL_ERROR);
}

#[test]
fn takeover_ends_the_older_connection_and_leaves_the_newer_alone() {
    for connect in both("a") {
        let mut world = World::new();
        let old = world.subscriber(connect.clone(), "x", 1);
        let new = world.connect(connect);
        let taken = Closing::Ended(ReasonCode::SESSION_TAKEN_OVER);
        assert_eq!(world.try_poll(old).1, Err(taken.clone()));
        assert_eq!(world.try_send(old, [send(1, 1, "x", "old")]).1, Err(taken.clone()));
        assert_eq!(world.hub.keep_alive(old.0, world.now), Err(taken.clone()));
        world.leave(old, &taken);
        world.publish(message("x", "1").qos(qos(1)));
        assert_eq!(world.poll(new), ["x=1 q1 #1"]);
        assert_eq!(world.hub.stats().connections, 1);
    }
}

#[test]
fn older_connection_is_woken_even_if_it_was_before() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    struct Count(AtomicUsize);
    impl std::task::Wake for Count {
        fn wake(self: Arc<Count>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let mut world = World::new();
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let mut fx = crate::hub::Effects::default();
    let waker = Arc::clone(&count).into();
    let entrance = Entrance { waker, ..world.entrance(User::anonymous()) };
    let old = world.hub.connect(v5("a"), entrance, world.now, &mut fx).unwrap().peer;
    world.send(Client(old), [subscribe(1, "x", 0)]);
    for _ in 0..3 {
        let message = message("x", "1");
        world.hub.publish_local(message, None, &Arc::default(), world.now, &mut fx).unwrap();
    }
    // It was told once, and has not asked yet.
    assert_eq!(fx.wakes.len(), 1);
    let entrance = world.entrance(User::anonymous());
    world.hub.connect(v5("a"), entrance, world.now, &mut fx).unwrap();
    fx.wakes.drain(..).for_each(std::task::Waker::wake);
    assert_eq!(count.0.load(Ordering::Relaxed), 2);
}

#[test]
fn nameless_client_gets_a_name_that_is_told_to_v5() {
    let mut world = World::new();
    for connect in [clean(v311("")), clean(v5("")), v5("")] {
        assert_eq!(world.try_connect(connect).unwrap().1, "CONNACK 0");
    }
    assert_eq!(world.hub.stats().sessions, 3);
    // Section 3.1.3.1 of MQTT 3.1.1: not without clean session.
    let refused = world.try_connect(v311("")).unwrap_err();
    assert_eq!(refused, ReasonCode::CLIENT_IDENTIFIER_NOT_VALID);
}

#[test]
fn connack_tells_what_the_broker_takes() {
    let mut world = World::with(|limits| {
        limits.receive_maximum = 7;
        limits.packet_bytes = 1000;
        limits.topic_aliases = 3;
        limits.session_expiry = std::time::Duration::from_secs(10);
    });
    let mut fx = crate::hub::Effects::default();
    let entrance = world.entrance(User::anonymous());
    let peer = world.hub.connect(v5(""), entrance, world.now, &mut fx).unwrap().peer;
    let mut out = Vec::new();
    world.hub.poll(peer, world.now, 0, &mut out).unwrap();
    let [crate::session::Outbound::Packet(Packet::ConnAck(ack))] = &out[..] else {
        panic!("{out:?}");
    };
    let mut told = ack.properties.clone();
    told.retain(|property| !matches!(property, Property::AssignedClientId(_)));
    assert_eq!(told.iter().count() + 1, ack.properties.iter().count());
    let expected = [
        Property::SessionExpiry(10),
        Property::ReceiveMaximum(7.try_into().unwrap()),
        Property::MaximumPacketSize(PacketSize::new(1000).unwrap()),
        Property::TopicAliasMaximum(3),
    ];
    assert_eq!(told, expected.into_iter().collect());
}

#[test]
fn connect_that_is_refused_changes_nothing() {
    let mut world = World::with(|limits| limits.sessions = 1);
    let client = world.connect(v5("a"));
    let cases =
        [(v5("b"), ReasonCode::QUOTA_EXCEEDED), (v311("b"), ReasonCode::SERVER_UNAVAILABLE)];
    for (connect, code) in cases {
        assert_eq!(world.try_connect(connect).unwrap_err(), code);
    }
    assert_eq!(world.hub.stats().refused_connections, 2);
    assert!(world.poll(client).is_empty());
    // The session that is there may be taken over.
    world.connect(v5("a"));
}

#[test]
fn closed_broker_sends_everybody_away() {
    let mut world = World::new();
    let client = world.connect(v5("a"));
    world.hub.close(&mut crate::hub::Effects::default());
    let closing = world.try_poll(client).1;
    assert_eq!(closing, Err(Closing::Ended(ReasonCode::SERVER_SHUTTING_DOWN)));
    assert_eq!(world.hub.ended(client.0), closing);
    assert_eq!(world.try_connect(v5("b")).unwrap_err(), ReasonCode::SERVER_SHUTTING_DOWN);
}
