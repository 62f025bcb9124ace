//! What answers what: identifiers, acknowledgements at the right time and of the right kind, sizes
//! and reasons.

use std::num::NonZeroU16;
use std::time::Duration;

use super::harness::*;
use crate::packet::*;
use crate::session::{Closing, Outbound};

fn takes(bytes: u32) -> Property {
    Property::MaximumPacketSize(PacketSize::new(bytes).unwrap())
}

#[test]
fn every_request_is_answered_with_its_identifier() {
    let cases = |id: u16| {
        [
            (send(1, id, "x", ""), format!("PUBACK {id}")),
            (send(2, id, "x", ""), format!("PUBREC {id}")),
            (pub_rel(id), format!("PUBCOMP {id}")),
            (subscribe(id, "y", 1), format!("SUBACK {id} 01")),
            (unsubscribe(id, &["y"]), format!("UNSUBACK {id} 00")),
        ]
    };
    for connect in both("a") {
        for id in [1, 256, u16::MAX] {
            let mut world = World::new();
            let client = world.connect(connect.clone());
            for (packet, answer) in cases(id) {
                assert_eq!(world.send(client, [packet]), [answer]);
            }
            assert_eq!(world.send(client, [Packet::PingReq]), ["PingResp"]);
        }
    }
}

#[test]
fn qos_0_is_not_acknowledged() {
    for connect in both("a") {
        let mut world = World::new();
        let client = world.connect(connect);
        assert!(world.send(client, [send(0, 0, "x", "")]).is_empty());
    }
}

#[test]
fn message_waits_for_the_acknowledgement_of_its_qos() {
    let cases = [(1, pub_rec(1), "PUBREC of QoS 1"), (2, pub_ack(1), "PUBACK of QoS 2")];
    for (number, wrong, name) in cases {
        let mut world = World::new();
        let reader = world.subscriber(v5("reader"), "x", 2);
        world.publish(message("x", "1").qos(qos(number)));
        world.poll(reader);
        assert_eq!(world.breach(reader, wrong), ReasonCode::PROTOCOL_ERROR, "{name}");
        world.cut(reader);
        let reader = world.connect(v5("reader"));
        assert_eq!(world.poll(reader), [format!("x=1 q{number} #1 dup")], "{name}");
    }
}

#[test]
fn pubcomp_before_pubrec_ends_nothing() {
    let mut world = World::new();
    let reader = world.subscriber(v5("reader"), "x", 2);
    world.publish(message("x", "1").qos(qos(2)));
    world.poll(reader);
    assert!(world.send(reader, [pub_comp(1)]).is_empty());
    assert_eq!(world.hub.undelivered(), 1);
}

#[test]
fn qos_1_again_after_its_puback_is_another_message() {
    for connect in both("a") {
        let mut world = World::new();
        let reader = world.subscriber(v5("reader"), "x", 0);
        let client = world.connect(connect);
        let packets = [send(1, 7, "x", "1"), again(1, 7, "x", "2")];
        assert_eq!(world.send(client, packets), ["PUBACK 7", "PUBACK 7"]);
        assert_eq!(world.poll(reader), ["x=1", "x=2"]);
    }
}

#[test]
fn qos_2_again_after_a_refusal_is_another_message() {
    let mut world = World::journaling();
    let reader = world.subscriber(v5("reader"), "#", 0);
    let client = world.connect(v5("a"));
    world.send(client, [send(2, 7, "log/x", "1")]);
    world.end_commit(Err(ReasonCode::QUOTA_EXCEEDED));
    assert_eq!(world.poll(client), ["PUBREC 7 97"]);
    world.send(client, [send(2, 7, "log/x", "2")]);
    assert_eq!(world.commit(), ["log/x=2"]);
    assert_eq!(world.poll(client), ["PUBREC 7"]);
    assert_eq!(world.poll(reader), ["log/x=2"]);
}

#[test]
fn qos_2_runs_to_its_end_though_the_message_has_expired() {
    let mut world = World::new();
    let reader = world.subscriber(v5("reader"), "x", 2);
    let client = world.connect(v5("a"));
    let properties = Properties::new().with(Property::MessageExpiry(10));
    let expires = Packet::Publish(Publish { properties, ..publish(2, 1, "x", "1") });
    assert_eq!(world.send(client, [expires]), ["PUBREC 1"]);
    assert_eq!(world.poll(reader), ["x=1 q2 #1 10s"]);
    world.cut(reader);
    world.now += Duration::from_secs(20);
    // As a receiver, and as a sender that has begun.
    assert_eq!(world.send(client, [pub_rel(1)]), ["PUBCOMP 1"]);
    let reader = world.connect(v5("reader"));
    assert_eq!(world.poll(reader), ["x=1 q2 #1 dup 0s"]);
}

#[test]
fn pubrels_go_out_in_the_order_of_the_pubrecs() {
    let mut world = World::new();
    let reader = world.subscriber(v5("reader"), "x", 2);
    (1..=3).for_each(|number| world.publish(message("x", &number.to_string()).qos(qos(2))));
    world.poll(reader);
    let answers = world.send(reader, [pub_rec(2), pub_rec(3), pub_rec(1)]);
    assert_eq!(answers, ["PUBREL 2", "PUBREL 3", "PUBREL 1"]);
}

#[test]
fn nothing_is_sent_again_while_the_connection_lasts() {
    let mut world = World::new();
    let reader = world.subscriber(v5("reader"), "x", 2);
    for number in 1..3 {
        world.publish(message("x", "1").qos(qos(number)));
    }
    assert_eq!(world.poll(reader).len(), 2);
    world.pass(100_000);
    assert_eq!(world.send(reader, [Packet::PingReq]), ["PingResp"]);
    assert_eq!(world.send(reader, [pub_rec(2)]), ["PUBREL 2"]);
    world.pass(100_000);
    assert!(world.poll(reader).is_empty());
}

#[test]
fn full_window_holds_back_no_answer() {
    let mut world = World::new();
    let one = Property::ReceiveMaximum(NonZeroU16::new(1).unwrap());
    let client = world.subscriber(asking(v5("a"), one), "x", 1);
    world.publish(message("x", "1").qos(qos(1)));
    world.publish(message("x", "2").qos(qos(1)));
    assert_eq!(world.poll(client), ["x=1 q1 #1"]);
    let packets = [
        send(1, 7, "y", ""),
        send(2, 8, "y", ""),
        pub_rel(8),
        subscribe(9, "z", 0),
        Packet::PingReq,
    ];
    let answers = ["PUBACK 7", "PUBREC 8", "PUBCOMP 8", "SUBACK 9 00", "PingResp"];
    assert_eq!(world.send(client, packets), answers);
}

#[test]
fn suback_larger_than_the_client_takes_ends_the_connection() {
    let mut world = World::new();
    let client = world.connect(asking(v5("a"), takes(20)));
    // Fixed header 2, identifier 2, properties 1, a code for each filter.
    let filters = |count| vec![("x", 0); count];
    assert_eq!(world.send(client, [subscribe_with(1, &filters(15), None, |_| {})]).len(), 1);
    let (out, closing) = world.try_send(client, [subscribe_with(1, &filters(16), None, |_| {})]);
    assert!(out.is_empty(), "{out:?}");
    assert_eq!(closing, Err(Closing::Ended(ReasonCode::PACKET_TOO_LARGE)));
}

/// The reason string of the SUBACK for a filter that is refused.
fn reason_of_refusal(connect: Connect) -> Option<String> {
    let mut world = World::new();
    let client = world.connect(connect);
    let mut fx = crate::hub::Effects::default();
    let packet = subscribe_with(1, &[("x", 0), ("$share//x", 0)], None, |_| {});
    world.hub.handle(client.0, [packet], world.now, &mut fx).unwrap();
    let mut out = Vec::new();
    world.hub.poll(client.0, world.now, 1000, &mut out).unwrap();
    let [Outbound::Packet(Packet::SubAck(ack))] = &out[..] else { panic!("{out:?}") };
    assert_eq!(ack.codes, [ReasonCode::SUCCESS, ReasonCode::TOPIC_FILTER_INVALID]);
    ack.properties.find(|property| match property {
        Property::ReasonString(reason) => Some(reason.as_str().to_owned()),
        _ => None,
    })
}

#[test]
fn suback_says_why_to_those_who_want_to_know_and_have_room_for_it() {
    let reason = Some("filter 2: it has no share name, or no filter behind it".to_owned());
    assert_eq!(reason_of_refusal(v5("a")), reason);
    assert_eq!(reason_of_refusal(asking(v5("a"), takes(100))), reason);
    assert_eq!(reason_of_refusal(asking(v5("a"), takes(30))), None);
    let not_wanted = Property::RequestProblemInformation(false);
    assert_eq!(reason_of_refusal(asking(v5("a"), not_wanted)), None);
}
