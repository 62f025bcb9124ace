//! What comes from clients: QoS 2 that is sent again, receive maximum, topic aliases, keep alive,
//! and packets that break the rules.

use std::time::Duration;

use super::harness::*;
use crate::packet::*;
use crate::session::Closing;

#[test]
fn qos_2_again_while_its_commit_is_under_way_is_no_second_message() {
    let mut world = World::journaling();
    let client = world.connect(v5("a"));
    world.send(client, [send(2, 1, "log/x", "1")]);
    assert!(world.send(client, [again(2, 1, "log/x", "1")]).is_empty());
    world.cut(client);
    let client = world.connect(v5("a"));
    assert!(world.send(client, [again(2, 1, "log/x", "1")]).is_empty());
    assert_eq!(world.commit(), ["log/x=1"]);
    assert!(world.held.is_empty());
    // On the new connection, although the message came on the old one.
    assert_eq!(world.poll(client), ["PUBREC 1"]);
}

#[test]
fn qos_2_again_after_its_pubrec_was_lost_is_no_second_message() {
    for connect in both("a") {
        let mut world = World::journaling();
        let reader = world.subscriber(v5("reader"), "#", 2);
        let client = world.connect(connect.clone());
        world.send(client, [send(2, 1, "log/x", "1")]);
        world.cut(client);
        world.commit();
        let client = world.connect(connect);
        assert_eq!(world.send(client, [again(2, 1, "log/x", "1")]), ["PUBREC 1"]);
        assert_eq!(world.send(client, [pub_rel(1)]), ["PUBCOMP 1"]);
        assert!(world.held.is_empty());
        assert_eq!(world.poll(reader), ["log/x=1 q2 #1"]);
    }
}

#[test]
fn refused_qos_2_message_that_is_sent_again_is_refused_on_the_new_connection() {
    let mut world = World::journaling();
    let client = world.connect(v5("a"));
    world.send(client, [send(2, 1, "log/x", "1")]);
    world.cut(client);
    let client = world.connect(v5("a"));
    world.send(client, [again(2, 1, "log/x", "1")]);
    world.end_commit(Err(ReasonCode::QUOTA_EXCEEDED));
    assert_eq!(world.poll(client), ["PUBREC 1 97"]);
}

#[test]
fn released_identifier_stands_for_a_new_message() {
    let mut world = World::new();
    let reader = world.subscriber(v5("reader"), "#", 0);
    let client = world.connect(v5("a"));
    let packets = [send(2, 1, "x", "1"), pub_rel(1), send(2, 1, "x", "2")];
    assert_eq!(world.send(client, packets), ["PUBREC 1", "PUBCOMP 1", "PUBREC 1"]);
    assert_eq!(world.poll(reader), ["x=1", "x=2"]);
}

#[test]
fn clean_start_forgets_which_qos_2_messages_came() {
    let mut world = World::new();
    let reader = world.subscriber(v5("reader"), "#", 0);
    let client = world.connect(v5("a"));
    world.send(client, [send(2, 1, "x", "1")]);
    world.cut(client);
    let client = world.connect(clean(v5("a")));
    assert_eq!(world.send(client, [send(2, 1, "x", "2")]), ["PUBREC 1"]);
    assert_eq!(world.poll(reader), ["x=1", "x=2"]);
}

#[test]
fn pubrel_for_an_unknown_identifier_is_answered() {
    let mut world = World::new();
    let client = world.connect(v5("a"));
    assert_eq!(world.send(client, [pub_rel(9)]), ["PUBCOMP 9 92"]);
}

#[test]
fn pubrel_before_the_commit_is_a_protocol_error() {
    let mut world = World::journaling();
    let client = world.connect(v5("a"));
    world.send(client, [send(2, 1, "log/x", "1")]);
    assert_eq!(world.breach(client, pub_rel(1)), ReasonCode::PROTOCOL_ERROR);
}

#[test]
fn receive_maximum_counts_what_is_not_acknowledged_for_good() {
    let mut world = World::with(|limits| limits.receive_maximum = 2);
    world.hub.add_rule(&filter("log/#"), 0);
    let client = world.connect(v5("a"));
    // A QoS 2 message counts until its PUBREL, a QoS 1 message until its PUBACK.
    world.send(client, [send(2, 1, "x", ""), send(1, 2, "x", ""), send(1, 3, "log/x", "")]);
    world.commit();
    assert_eq!(world.poll(client), ["PUBACK 3"]);
    world.send(client, [send(2, 4, "x", ""), pub_rel(1), send(2, 5, "x", "")]);
    let breach = world.breach(client, send(1, 6, "x", ""));
    assert_eq!(breach, ReasonCode::RECEIVE_MAXIMUM_EXCEEDED);
}

#[test]
fn receive_maximum_counts_a_refused_message_no_more() {
    let mut world = World::with(|limits| limits.receive_maximum = 1);
    world.hub.add_rule(&filter("log/#"), 0);
    let client = world.connect(v5("a"));
    for packet_id in 1..4 {
        world.send(client, [send(2, packet_id, "log/x", "")]);
        world.end_commit(Err(ReasonCode::QUOTA_EXCEEDED));
        assert_eq!(world.poll(client), [format!("PUBREC {packet_id} 97")]);
    }
}

#[test]
fn v311_knows_no_receive_maximum() {
    let mut world = World::with(|limits| limits.receive_maximum = 1);
    let client = world.connect(v311("a"));
    let packets = (1..4).map(|packet_id| send(2, packet_id, "x", ""));
    assert_eq!(world.send(client, packets), ["PUBREC 1", "PUBREC 2", "PUBREC 3"]);
}

fn aliased(topic: &str, alias: u16, payload: &str) -> Packet {
    let alias = Property::TopicAlias(TopicAlias::new(alias).unwrap());
    let properties = Properties::new().with(alias);
    Packet::Publish(Publish { properties, ..publish(0, 0, topic, payload) })
}

#[test]
fn topic_alias_stands_for_the_topic_it_was_given_last() {
    let mut world = World::with(|limits| limits.topic_aliases = 2);
    let reader = world.subscriber(v5("reader"), "#", 0);
    let client = world.connect(v5("a"));
    let packets = [
        aliased("x", 1, "1"),
        aliased("y", 2, "2"),
        aliased("", 1, "3"),
        aliased("z", 1, "4"),
        aliased("", 1, "5"),
        aliased("", 2, "6"),
    ];
    world.send(client, packets);
    assert_eq!(world.poll(reader), ["x=1", "y=2", "x=3", "z=4", "z=5", "y=6"]);
}

/// Section 3.3.4.
#[test]
fn topic_alias_that_is_wrong_closes_the_connection() {
    let cases = [
        (aliased("x", 3, ""), ReasonCode::TOPIC_ALIAS_INVALID, "above the maximum"),
        (aliased("", 3, ""), ReasonCode::TOPIC_ALIAS_INVALID, "above the maximum, no topic"),
        (aliased("", 1, ""), ReasonCode::PROTOCOL_ERROR, "unknown"),
    ];
    for (packet, code, name) in cases {
        let mut world = World::with(|limits| limits.topic_aliases = 2);
        let client = world.connect(v5("a"));
        assert_eq!(world.breach(client, packet), code, "{name}");
    }
}

#[test]
fn topic_alias_ends_with_its_connection() {
    let mut world = World::new();
    let client = world.connect(v5("a"));
    world.send(client, [aliased("x", 1, "")]);
    world.cut(client);
    let client = world.connect(v5("a"));
    assert_eq!(world.breach(client, aliased("", 1, "")), ReasonCode::PROTOCOL_ERROR);
}

#[test]
fn packets_that_only_servers_send_are_protocol_errors() {
    let code = ReasonCode::SUCCESS;
    let properties = Properties::new;
    let answer = SubAck { id: id(1), codes: vec![code], properties: properties() };
    let subscription = Property::SubscriptionId(SubscriptionId::new(1).unwrap());
    let packets = [
        Packet::Connect(Box::new(v5("a"))),
        Packet::ConnAck(ConnAck { session_present: false, code, properties: properties() }),
        Packet::SubAck(answer.clone()),
        Packet::UnsubAck(answer),
        Packet::PingResp,
        Packet::Auth(Disconnect::new(ReasonCode::CONTINUE_AUTHENTICATION)),
        Packet::Publish(Publish {
            properties: properties().with(subscription),
            ..publish(0, 0, "x", "")
        }),
    ];
    for packet in packets {
        let mut world = World::new();
        let client = world.connect(v5("a"));
        let breach = world.breach(client, packet.clone());
        assert_eq!(breach, ReasonCode::PROTOCOL_ERROR, "{packet:?}");
        world.leave(client, &Closing::Violation(breach));
        assert_eq!(world.hub.stats().protocol_errors, 1);
    }
}

#[test]
fn nothing_behind_a_violation_is_handled_and_what_was_before_it_is() {
    let mut world = World::new();
    let reader = world.subscriber(v5("reader"), "#", 0);
    let client = world.connect(v5("a"));
    let packets = [send(1, 1, "x", "1"), Packet::PingResp, send(1, 2, "x", "2")];
    let (out, closing) = world.try_send(client, packets);
    assert_eq!(out, ["PUBACK 1"]);
    assert_eq!(closing, Err(Closing::Violation(ReasonCode::PROTOCOL_ERROR)));
    assert_eq!(world.poll(reader), ["x=1"]);
}

#[test]
fn silent_client_is_lost_after_one_and_a_half_keep_alives() {
    let mut world = World::new();
    let client = world.connect(Connect { keep_alive: 10, ..v5("a") });
    let begin = world.now;
    let due = |world: &mut World, after: u64| {
        let now = begin + Duration::from_secs(after);
        world.hub.keep_alive(client.0, now)
    };
    assert_eq!(due(&mut world, 14), Ok(Some(begin + Duration::from_secs(15))));
    world.now = begin + Duration::from_secs(14);
    world.send(client, [Packet::PingReq]);
    assert_eq!(due(&mut world, 15), Ok(Some(begin + Duration::from_secs(29))));
    let lost = Err(Closing::Ended(ReasonCode::KEEP_ALIVE_TIMEOUT));
    assert_eq!(due(&mut world, 29), lost);
    assert_eq!(world.hub.stats().keep_alive_timeouts, 1);
}

#[test]
fn keep_alive_0_never_ends() {
    let mut world = World::new();
    let client = world.connect(Connect { keep_alive: 0, ..v311("a") });
    world.pass(1_000_000);
    assert_eq!(world.hub.keep_alive(client.0, world.now), Ok(None));
}
