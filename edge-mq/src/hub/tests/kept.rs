//! Sessions, queues, retained messages and wills that are stored: what is answered when, and what is
//! there after the power failed.

mod full;

use super::harness::*;
use crate::hub::Urgency;
use crate::packet::*;
use crate::session::Closing;

/// A broker whose commits end when the test says so.
fn slow() -> World {
    let mut world = World::keeping();
    world.is_eager = false;
    world
}

/// A client that has subscribed and gone, with these messages in its queue.
fn absent(world: &mut World, connect: Connect, qos_of_it: u8, payloads: impl Iterator<Item = u32>) {
    let client = world.subscriber(connect, "x", qos_of_it);
    world.cut(client);
    for payload in payloads {
        world.publish(message("x", &payload.to_string()).qos(qos(qos_of_it)));
    }
    world.commit_all();
}

#[test]
fn connack_of_a_stored_session_waits_until_it_is_stored() {
    let mut world = slow();
    let (client, answer) = world.try_connect(v5("a")).unwrap();
    assert_eq!(answer, "");
    world.commit();
    assert_eq!(world.poll(client), ["CONNACK 0"]);
    // One that ends with its connection has nothing to wait for.
    assert_eq!(world.try_connect(clean(v311("b"))).unwrap().1, "CONNACK 0");
    // Nor has one whose stored session is to be forgotten, but that has to be so before it is said.
    let (client, answer) = world.try_connect(clean(v311("a"))).unwrap();
    assert_eq!(answer, "");
    world.commit_all();
    assert_eq!(world.poll(client), ["CONNACK 0"]);
    assert_eq!(world.disk.sessions(), 0);
}

#[test]
fn session_that_cannot_be_stored_is_refused_and_a_stored_one_stays() {
    let mut world = slow();
    let (client, _) = world.try_connect(v5("a")).unwrap();
    world.end_commit(Err(ReasonCode::QUOTA_EXCEEDED));
    let (answer, end) = world.try_poll(client);
    assert_eq!(answer, ["CONNACK 0 97"]);
    assert_eq!(end, Err(Closing::Ended(ReasonCode::QUOTA_EXCEEDED)));
    world.cut(client);
    assert_eq!(world.hub.stats().sessions, 0);

    world.is_eager = true;
    absent(&mut world, v5("a"), 1, 1..=1);
    world.is_eager = false;
    let (client, _) = world.try_connect(v5("a")).unwrap();
    world.end_commit(Err(ReasonCode::QUOTA_EXCEEDED));
    assert_eq!(world.try_poll(client).0, ["CONNACK 0 97"]);
    world.cut(client);
    world.commit_all();
    let (client, _) = world.try_connect(v5("a")).unwrap();
    world.commit_all();
    assert_eq!(world.poll(client), ["CONNACK 1", "x=1 q1 #1"]);
}

#[test]
fn suback_and_unsuback_wait_until_they_are_stored() {
    let mut world = World::keeping();
    let client = world.connect(v5("a"));
    assert!(world.send(client, [subscribe(1, "x", 1)]).is_empty());
    world.commit();
    assert_eq!(world.poll(client), ["SUBACK 1 01"]);
    assert!(world.send(client, [unsubscribe(2, &["x"])]).is_empty());
    world.commit();
    assert_eq!(world.poll(client), ["UNSUBACK 2 00"]);
    // A filter that was not there changes nothing.
    assert_eq!(world.send(client, [unsubscribe(3, &["x"])]), ["UNSUBACK 3 11"]);
}

#[test]
fn subscription_that_cannot_be_stored_is_taken_back() {
    let mut world = World::keeping();
    let client = world.subscriber(v5("a"), "old", 1);
    let filters = subscribe_with(2, &[("old", 1), ("new", 1)], None, |_| {});
    assert!(world.send(client, [filters]).is_empty());
    world.end_commit(Err(ReasonCode::QUOTA_EXCEEDED));
    assert_eq!(world.poll(client), ["SUBACK 2 97 97"]);
    for topic in ["old", "new"] {
        world.publish(message(topic, "1").qos(qos(1)));
    }
    world.commit_all();
    assert_eq!(world.poll(client), ["old=1 q1 #1"]);
}

#[test]
fn message_reaches_stored_sessions_and_others_after_its_commit() {
    let mut world = World::keeping();
    let stored = world.subscriber(v5("stored"), "x", 1);
    let other = world.subscriber(clean(v311("other")), "x", 1);
    let client = world.connect(v5("a"));
    assert!(world.send(client, [send(1, 1, "x", "1")]).is_empty());
    assert!(world.poll(stored).is_empty() && world.poll(other).is_empty());
    world.commit();
    assert_eq!(world.poll(client), ["PUBACK 1"]);
    assert_eq!(world.poll(stored), ["x=1 q1 #1"]);
    assert_eq!(world.poll(other), ["x=1 q1 #1"]);
    // QoS 0, and what only others want, waits for nothing.
    world.send(client, [send(0, 0, "x", "2")]);
    assert_eq!(world.poll(stored), ["x=2"]);
    assert_eq!(world.send(client, [send(1, 2, "y", "")]), ["PUBACK 2"]);
}

#[test]
fn refused_message_is_in_no_queue() {
    let mut world = World::keeping();
    let stored = world.subscriber(v5("stored"), "x", 1);
    let client = world.connect(v5("a"));
    world.send(client, [send(1, 1, "x", "1")]);
    world.end_commit(Err(ReasonCode::QUOTA_EXCEEDED));
    assert_eq!(world.poll(client), ["PUBACK 1 97"]);
    world.send(client, [send(1, 1, "x", "2")]);
    world.commit();
    assert_eq!(world.poll(stored), ["x=2 q1 #2"]);
}

#[test]
fn queue_is_on_disk_alone_while_its_client_is_away() {
    for connect in both("a") {
        let mut world = World::keeping();
        absent(&mut world, connect.clone(), 1, 1..=10);
        let stats = world.hub.stats();
        assert_eq!((stats.queued_bytes, stats.stored_messages), (0, 10));
        let client = world.connect(connect);
        let expected: Vec<_> = (1..=10).map(|n| format!("x={n} q1 #{n}")).collect();
        assert_eq!(world.poll(client), expected);
        world.send(client, (1..=10).map(pub_ack));
        world.pass(1);
        world.commit_all();
        assert_eq!((world.disk.queued(), world.hub.stats().stored_bytes), (0, 0));
    }
}

#[test]
fn session_goes_on_after_the_power_failed() {
    for connect in both("a") {
        let mut world = World::keeping();
        absent(&mut world, connect.clone(), 1, 1..=3);
        world.crash();
        world.publish(message("x", "4").qos(qos(1)));
        world.commit();
        let (client, answer) = world.try_connect(connect).unwrap();
        assert_eq!(answer, "CONNACK 1");
        assert_eq!(world.poll(client), ["x=1 q1 #1", "x=2 q1 #2", "x=3 q1 #3", "x=4 q1 #4"]);
    }
}

#[test]
fn what_may_have_been_sent_before_the_power_failed_is_marked() {
    let mut world = World::keeping();
    let client = world.subscriber(v5("a"), "x", 1);
    for payload in ["1", "2", "3"] {
        world.publish(message("x", payload).qos(qos(1)));
    }
    world.commit_all();
    assert_eq!(world.poll(client).len(), 3);
    world.send(client, [pub_ack(2)]);
    world.pass(1);
    world.commit_all();
    world.crash();
    let client = world.connect(v5("a"));
    assert_eq!(world.poll(client), ["x=1 q1 #1 dup", "x=3 q1 #3 dup"]);
}

#[test]
fn pubrel_waits_until_the_store_knows_that_the_client_has_the_message() {
    let mut world = World::keeping();
    let client = world.subscriber(v5("a"), "x", 2);
    world.publish(message("x", "1").qos(qos(2)));
    world.commit();
    assert_eq!(world.poll(client), ["x=1 q2 #1"]);
    assert!(world.send(client, [pub_rec(1)]).is_empty());
    // Nobody knows whether the client has it: it has to be sent again.
    world.held.clear();
    world.crash();
    let client = world.connect(v5("a"));
    assert_eq!(world.poll(client), ["x=1 q2 #1 dup"]);
    world.send(client, [pub_rec(1)]);
    world.commit();
    assert_eq!(world.poll(client), ["PUBREL 1"]);
    world.crash();
    let client = world.connect(v5("a"));
    assert_eq!(world.poll(client), ["PUBREL 1"]);
}

#[test]
fn pubrel_waits_even_if_the_store_refused_to_know_at_first() {
    let mut world = World::keeping();
    let client = world.subscriber(v5("a"), "x", 2);
    world.publish(message("x", "1").qos(qos(2)));
    world.commit();
    world.poll(client);
    world.send(client, [pub_rec(1)]);
    world.end_commit(Err(ReasonCode::QUOTA_EXCEEDED));
    let end = world.try_poll(client).1.unwrap_err();
    world.leave(client, &end);
    // What the store is told when the connection ends is refused, too.
    world.end_commit(Err(ReasonCode::QUOTA_EXCEEDED));
    let client = world.connect(v5("a"));
    assert_eq!(world.poll(client), ["PUBREL 1"]);
    world.crash();
    let client = world.connect(v5("a"));
    assert_eq!(world.poll(client), ["PUBREL 1"]);
}

#[test]
fn what_the_store_refused_to_forget_is_told_again() {
    let mut world = World::keeping();
    let client = world.subscriber(v5("a"), "x", 1);
    world.publish(message("x", "1").qos(qos(1)));
    world.commit();
    world.poll(client);
    world.send(client, [pub_ack(1)]);
    world.pass(1);
    world.end_commit(Err(ReasonCode::QUOTA_EXCEEDED));
    assert_eq!(world.disk.queued(), 1);
    world.pass(1);
    world.commit_all();
    assert_eq!(world.disk.queued(), 0);
}

#[test]
fn message_that_expired_in_its_queue_leaves_the_disk() {
    let mut world = World::keeping();
    let client = world.subscriber(v5("a"), "x", 1);
    world.cut(client);
    let brief = message("x", "1").qos(qos(1)).expires_after(std::time::Duration::from_secs(5));
    world.publish(brief);
    world.commit_all();
    world.pass(5);
    let client = world.connect(v5("a"));
    assert!(world.poll(client).is_empty());
    world.pass(1);
    world.commit_all();
    let stats = world.hub.stats();
    assert_eq!((world.disk.queued(), stats.stored_bytes, stats.dropped_expired), (0, 0, 1));
}

#[test]
fn identifier_is_not_used_again_before_its_message_is_acknowledged() {
    let mut world = World::keeping();
    let client = world.subscriber(v5("a"), "x", 1);
    let mut sent = Vec::new();
    // The first is never acknowledged; 65,535 come after it.
    for round in 0..66 {
        for _ in 0..1000 {
            world.publish(message("x", "").qos(qos(1)));
        }
        world.commit_all();
        sent = world.poll(client);
        let acks = (0..1000u32).map(|at| (round * 1000 + at) % 65_535 + 1);
        let acks = acks.filter(|id| *id != 1).map(|id| pub_ack(u16::try_from(id).unwrap()));
        sent.extend(world.send(client, acks));
    }
    assert_eq!(sent.last().unwrap(), "x= q1 #65535");
    assert!(world.send(client, [pub_ack(1)])[0].starts_with("x= q1 #1"));
}

#[test]
fn pubcomp_waits_until_the_store_has_forgotten_the_message() {
    let mut world = World::keeping();
    let client = world.connect(v5("a"));
    world.send(client, [send(2, 1, "x", "1")]);
    world.commit();
    assert_eq!(world.poll(client), ["PUBREC 1"]);
    world.crash();
    let client = world.connect(v5("a"));
    assert_eq!(world.send(client, [again(2, 1, "x", "1")]), ["PUBREC 1"]);
    assert!(world.send(client, [pub_rel(1)]).is_empty());
    world.commit();
    assert_eq!(world.poll(client), ["PUBCOMP 1"]);
    world.crash();
    let client = world.connect(v5("a"));
    // Another message under the same identifier.
    world.send(client, [send(2, 1, "x", "2")]);
    assert_eq!(world.commit(), ["x=2"]);
}

#[test]
fn subscriptions_come_back_with_their_options() {
    let mut world = World::keeping();
    let client = world.connect(v5("a"));
    let options = |options: &mut SubscribeOptions| {
        (options.no_local, options.retain_as_published) = (true, true);
    };
    world.send(client, [subscribe_with(1, &[("x/#", 1), ("y", 1)], Some(7), options)]);
    world.send(client, [unsubscribe(2, &["y"])]);
    world.commit_all();
    world.crash();
    let client = world.connect(v5("a"));
    let other = world.connect(v5("b"));
    assert_eq!(world.send(client, [send(1, 1, "x/own", "")]), ["PUBACK 1"]);
    world.send(other, [retain(1, 1, "x/other", "1"), send(1, 2, "y", "")]);
    world.commit_all();
    assert_eq!(world.poll(client), ["x/other=1 q1 #1 retained sub7"]);
}

#[test]
fn retained_messages_come_back_as_they_were_last_acknowledged() {
    let mut world = World::keeping();
    let client = world.connect(clean(v5("a")));
    world.send(client, [retain(1, 1, "x", "1"), retain(0, 0, "y", "1"), retain(1, 2, "z", "1")]);
    world.commit_all();
    world.send(client, [retain(1, 3, "x", "2"), retain(1, 4, "z", "")]);
    world.commit_all();
    world.send(client, [retain(1, 5, "x", "lost")]);
    world.crash();
    let reader = world.connect(clean(v311("reader")));
    let got = world.send(reader, [subscribe(1, "#", 0)]);
    assert_eq!(got, ["SUBACK 1 00", "x=2 retained", "y=1 retained"]);
}

#[test]
fn what_the_broker_says_of_itself_is_retained_while_it_runs() {
    let mut world = World::keeping();
    for topic in ["$SYS/state", "x"] {
        world.publish(message(topic, "1").qos(qos(1)).retain(true));
    }
    world.commit_all();
    let reader = world.connect(clean(v311("reader")));
    let got = world.send(reader, [subscribe(1, "$SYS/#", 0)]);
    assert_eq!(got, ["SUBACK 1 00", "$SYS/state=1 retained"]);
    world.crash();
    let reader = world.connect(clean(v311("reader")));
    let got = world.send(reader, [subscribe(1, "$SYS/#", 0), subscribe(2, "#", 0)]);
    assert_eq!(got, ["SUBACK 1 00", "SUBACK 2 00", "x=1 retained"]);
}

#[test]
fn retained_messages_of_a_new_subscription_are_in_its_queue() {
    let mut world = World::keeping();
    world.publish(message("x", "1").qos(qos(1)).retain(true));
    world.commit_all();
    let client = world.connect(v5("a"));
    world.send(client, [subscribe(1, "x", 1)]);
    world.commit();
    world.crash();
    let client = world.connect(v5("a"));
    assert_eq!(world.poll(client), ["x=1 q1 #1 dup retained"]);
}

#[test]
fn will_is_published_when_the_power_failed_under_its_client() {
    for (connect, delay) in [(v5("a"), 0), (v5("a"), 10), (clean(v311("a")), 0)] {
        let mut world = World::keeping();
        let reader = world.subscriber(v5("reader"), "will", 1);
        world.cut(reader);
        let client = world.connect(willing(connect.clone(), delay));
        assert!(world.poll(client).is_empty());
        world.commit_all();
        world.crash();
        world.commit_all();
        world.pass(u64::from(delay));
        world.commit_all();
        let reader = world.connect(v5("reader"));
        assert_eq!(world.poll(reader), ["will=gone q1 #1"], "{connect:?} {delay}");
        // Once.
        world.crash();
        world.pass(100);
        world.commit_all();
        let reader = world.connect(v5("reader"));
        assert_eq!(world.poll(reader), ["will=gone q1 #1 dup"]);
    }
}

#[test]
fn will_that_is_taken_back_is_forgotten_as_soon_as_may_be() {
    let is_urgent = |world: &World| world.held[0].iter().any(|deed| deed.urgency == Urgency::Now);
    for connect in [v5("a"), clean(v311("a"))] {
        let mut world = World::keeping();
        let client = world.connect(willing(connect.clone(), 10));
        world.disconnect(client, Disconnect::new(ReasonCode::SUCCESS));
        assert!(is_urgent(&world), "{connect:?}");
        world.commit_all();
        // Nobody is hurt by the loss of an end without a will, or of one that publishes it.
        let client = world.connect(connect);
        world.disconnect(client, Disconnect::new(ReasonCode::SUCCESS));
        assert!(world.held.is_empty() || !is_urgent(&world));
        let client = world.connect(willing(v5("b"), 10));
        world.commit_all();
        world.cut(client);
        assert!(!is_urgent(&world));
    }
}

#[test]
fn delayed_will_survives_and_a_client_that_is_back_takes_it_away() {
    let mut world = World::keeping();
    let reader = world.subscriber(v5("reader"), "will", 1);
    let client = world.connect(willing(v5("a"), 10));
    world.cut(client);
    world.commit_all();
    world.crash();
    let client = world.connect(v5("a"));
    world.pass(20);
    world.commit_all();
    let reader = Some(reader).map(|_| world.connect(v5("reader"))).unwrap();
    assert!(world.poll(reader).is_empty());
    world.disconnect(client, Disconnect::new(ReasonCode::SUCCESS));
}

fn willing(connect: Connect, delay: u32) -> Connect {
    let properties = match connect.version {
        Version::V5 => Properties::new().with(Property::WillDelay(delay)),
        Version::V311 => Properties::new(),
    };
    let (topic, payload) = ("will".parse().unwrap(), "gone".into());
    let will = Will { topic, payload, qos: qos(1), retain: false, properties };
    Connect { will: Some(will), ..connect }
}

#[test]
fn connection_that_the_power_cut_leaves_no_session_that_was_to_end_with_it() {
    let mut world = World::keeping();
    world.connect(clean(willing(v311("a"), 0)));
    world.commit_all();
    world.crash();
    assert_eq!(world.hub.stats().sessions, 0);
    assert_eq!(world.try_connect(v311("a")).unwrap().1, "CONNACK 0");
}

#[test]
fn session_ends_for_good_when_its_time_has_passed() {
    let mut world = World::keeping();
    absent(&mut world, v5("a"), 1, 1..=3);
    world.crash();
    world.pass(1000);
    world.commit_all();
    assert_eq!((world.disk.sessions(), world.hub.stats().sessions), (0, 0));
    assert_eq!(world.try_connect(v5("a")).unwrap().1, "CONNACK 0");
}
