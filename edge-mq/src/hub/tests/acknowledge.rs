//! When a message of a client is acknowledged, in which order, and what a refused commit does.

use super::harness::*;
use crate::hub::{Deed, Effects};
use crate::packet::{Publish, ReasonCode};
use crate::session::Closing;

#[test]
fn journaled_message_is_acknowledged_and_routed_only_after_its_commit() {
    for connect in both("a") {
        for (qos, answer) in [(1, "PUBACK 7"), (2, "PUBREC 7")] {
            let mut world = World::journaling();
            let reader = world.subscriber(v5("reader"), "#", 0);
            let client = world.connect(connect.clone());
            assert!(world.send(client, [send(qos, 7, "log/x", "1")]).is_empty());
            assert!(world.poll(reader).is_empty());
            assert_eq!(world.commit(), ["log/x=1"]);
            assert_eq!(world.poll(client), [answer]);
            assert_eq!(world.poll(reader), ["log/x=1"]);
            assert!(world.held.is_empty());
            assert_eq!(world.hub.stats().journaled, 1);
        }
    }
}

#[test]
fn message_that_no_rule_matches_is_acknowledged_at_once() {
    let mut world = World::journaling();
    let client = world.connect(v5("a"));
    let packets = [send(0, 0, "x", "0"), send(1, 1, "x", "1"), send(2, 2, "x", "2")];
    assert_eq!(world.send(client, packets), ["PUBACK 1", "PUBREC 2"]);
    assert!(world.held.is_empty());
}

#[test]
fn acknowledgements_go_out_in_the_order_of_the_messages() {
    let mut world = World::journaling();
    let client = world.connect(v5("a"));
    // The second and the fourth could be acknowledged at once.
    assert!(world.send(client, [send(1, 1, "log/x", ""), send(1, 2, "x", "")]).is_empty());
    assert!(world.send(client, [send(2, 3, "log/x", ""), send(2, 4, "x", "")]).is_empty());
    world.commit();
    assert_eq!(world.poll(client), ["PUBACK 1", "PUBACK 2"]);
    world.commit();
    assert_eq!(world.poll(client), ["PUBREC 3", "PUBREC 4"]);
}

#[test]
fn later_commit_does_not_acknowledge_ahead_of_an_earlier_one() {
    let mut world = World::journaling();
    let client = world.connect(v311("a"));
    world.send(client, [send(1, 1, "log/x", "1")]);
    world.send(client, [send(1, 2, "log/x", "2")]);
    world.held.swap(0, 1);
    assert_eq!(world.commit(), ["log/x=2"]);
    assert!(world.poll(client).is_empty());
    assert_eq!(world.commit(), ["log/x=1"]);
    assert_eq!(world.poll(client), ["PUBACK 1", "PUBACK 2"]);
}

/// Brings a message whose commit does not begin yet.
fn bring(world: &mut World, client: Client, id: u16) {
    let packets = [send(1, id, "log/x", "")];
    world.hub.handle(client.0, packets, world.now, &mut Effects::default()).unwrap();
}

/// What this client's message has its connection commit.
fn lone(world: &mut World, client: Client, id: u16) -> Vec<Deed> {
    bring(world, client, id);
    world.hub.take_lone(client.0)
}

#[test]
fn connection_commits_itself_what_comes_alone() {
    let mut world = World::journaling();
    let [client, other] = ["a", "b"].map(|name| world.connect(v5(name)));
    for id in 1..=4 {
        assert!(lone(&mut world, client, id).is_empty());
        world.hold();
        world.commit();
    }
    world.poll(client);
    assert!(lone(&mut world, other, 1).len() == 1, "it was nobody else's turn");
    // What comes meanwhile waits for the thread, and that for the end of this.
    assert!(lone(&mut world, client, 5).is_empty());
    assert!(world.hub.take_group(usize::MAX).is_empty());
}

#[test]
fn what_two_brought_is_for_the_thread() {
    let mut world = World::journaling();
    let [client, other] = ["a", "b"].map(|name| world.connect(v5(name)));
    for id in 1..=4 {
        world.send(client, [send(1, id, "log/x", "")]);
        world.commit();
    }
    world.poll(client);
    bring(&mut world, other, 1);
    assert!(lone(&mut world, client, 5).is_empty());
    world.hold();
    world.commit();
    // From here on it takes four again.
    assert!(lone(&mut world, client, 6).is_empty());
}

#[test]
fn lone_commit_that_is_refused_goes_to_the_thread() {
    let mut world = World::journaling();
    let client = world.connect(v5("a"));
    for id in 1..=4 {
        world.send(client, [send(1, id, "log/x", "")]);
        world.commit();
    }
    world.poll(client);
    let group = lone(&mut world, client, 5);
    let refused = Err(refused(ReasonCode::QUOTA_EXCEEDED));
    world.act(|hub, now, fx| hub.end_lone(group, &refused, now, fx));
    assert!(world.poll(client).is_empty());
    world.commit();
    assert_eq!(world.poll(client), ["PUBACK 5"]);
}

#[test]
fn refused_commit_is_told_to_v5_and_routes_nothing() {
    let mut world = World::journaling();
    let reader = world.subscriber(v5("reader"), "#", 0);
    let client = world.connect(v5("a"));
    world.send(
        client,
        [send(1, 1, "log/x", ""), send(2, 2, "log/x", ""), retain(0, 0, "log/x", "")],
    );
    world.end_commit(Err(ReasonCode::QUOTA_EXCEEDED));
    assert_eq!(world.poll(client), ["PUBACK 1 97", "PUBREC 2 97"]);
    assert!(world.poll(reader).is_empty());
    let stats = world.hub.stats();
    assert_eq!((stats.journal_refused, stats.journaled, stats.retained), (3, 0, 0));
    // The refusal ends the QoS 2 message: its identifier may stand for a new one.
    assert!(world.send(client, [send(2, 2, "log/x", "new")]).is_empty());
    assert_eq!(world.commit(), ["log/x=new"]);
    assert_eq!(world.poll(client), ["PUBREC 2"]);
    assert_eq!(world.poll(reader), ["log/x=new"]);
}

#[test]
fn refused_commit_closes_v311_which_sends_again() {
    for qos in [1, 2] {
        let mut world = World::journaling();
        let client = world.connect(v311("a"));
        world.send(client, [send(qos, 1, "log/x", "1"), send(1, 2, "x", "2")]);
        world.end_commit(Err(ReasonCode::QUOTA_EXCEEDED));
        let (out, closing) = world.try_poll(client);
        assert!(out.is_empty(), "{out:?}");
        assert_eq!(closing, Err(Closing::Ended(ReasonCode::QUOTA_EXCEEDED)));
        world.leave(client, &closing.unwrap_err());

        let client = world.connect(v311("a"));
        assert!(world.send(client, [again(qos, 1, "log/x", "1")]).is_empty());
        assert_eq!(world.commit(), ["log/x=1"]);
        assert_eq!(world.poll(client), [if qos == 1 { "PUBACK 1" } else { "PUBREC 1" }]);
    }
}

#[test]
fn refused_qos_0_message_closes_nobody() {
    let mut world = World::journaling();
    let client = world.connect(v311("a"));
    world.send(client, [send(0, 0, "log/x", "")]);
    world.end_commit(Err(ReasonCode::QUOTA_EXCEEDED));
    assert!(world.poll(client).is_empty());
    assert_eq!(world.hub.stats().journal_refused, 1);
}

#[test]
fn message_goes_once_into_each_log_of_its_rules() {
    let mut world = World::new();
    for (rule, log) in [("a/#", 0), ("a/+", 0), ("a/b", 1), ("c", 2)] {
        world.hub.add_rule(&filter(rule), log);
    }
    let client = world.connect(v5("a"));
    world.send(client, [send(1, 1, "a/b", "")]);
    assert_eq!(appended(&world), (vec![0, 1], Some("a".to_owned())));
    world.commit();
    assert_eq!(world.hub.stats().journaled, 2);

    world.hub.remove_rule(&filter("a/b"), 1);
    world.send(client, [send(1, 2, "a/b", "")]);
    assert_eq!(appended(&world).0, [0]);
}

#[test]
fn qos_1_of_an_earlier_connection_is_not_acknowledged_on_the_next() {
    let mut world = World::journaling();
    let client = world.connect(v5("a"));
    world.send(client, [send(1, 1, "log/x", "1")]);
    world.cut(client);
    let client = world.connect(v5("a"));
    // The new connection uses the identifier for another message, still under way.
    world.send(client, [send(1, 1, "log/x", "2")]);
    world.commit();
    assert!(world.poll(client).is_empty());
    world.commit();
    assert_eq!(world.poll(client), ["PUBACK 1"]);
}

#[test]
fn commit_of_a_session_that_is_gone_is_still_routed() {
    let mut world = World::journaling();
    let reader = world.subscriber(v5("reader"), "#", 0);
    let client = world.connect(clean(v311("a")));
    world.send(client, [send(2, 1, "log/x", "1")]);
    world.cut(client);
    world.connect(clean(v311("a")));
    world.commit();
    assert_eq!(world.poll(reader), ["log/x=1"]);
}

#[test]
fn journaled_message_keeps_its_flags_until_it_is_routed() {
    let mut world = World::journaling();
    let client = world.connect(v5("a"));
    let packet = Publish { retain: true, ..publish(1, 1, "log/x", "1") };
    world.send(client, [crate::packet::Packet::Publish(packet)]);
    assert_eq!(world.hub.stats().retained, 0);
    world.commit();
    assert_eq!(world.hub.stats().retained, 1);
}
