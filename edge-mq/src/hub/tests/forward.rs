//! What of a message reaches its readers, and whom: flags, properties, topics to the byte, filters
//! that come and go.

use super::harness::*;
use crate::packet::*;
use crate::session::Outbound;

#[test]
fn dup_of_the_publisher_is_not_passed_on() {
    let mut world = World::new();
    let reader = world.subscriber(v5("reader"), "x", 2);
    let client = world.connect(v5("a"));
    world.send(client, [again(1, 1, "x", "1"), again(2, 2, "x", "2")]);
    assert_eq!(world.poll(reader), ["x=1 q1 #1", "x=2 q2 #2"]);
}

/// All that travels with a message, in an order of the publisher's own.
fn travelling() -> Vec<Property> {
    let user = |name: &str| Property::User("same".parse().unwrap(), name.parse().unwrap());
    vec![
        user("1"),
        Property::PayloadIsUtf8(true),
        Property::ContentType("text/plain".parse().unwrap()),
        user("2"),
        Property::ResponseTopic("answer/to".parse().unwrap()),
        Property::CorrelationData([0, 0xFF].to_vec().into()),
        user("0"),
        user("1"),
    ]
}

/// The properties of the one message that waits for a reader.
fn got(world: &mut World, reader: Client) -> Vec<Property> {
    let mut out = Vec::new();
    world.hub.poll(reader.0, world.now, 10_000, &mut out).unwrap();
    let publishes: Vec<_> = out
        .iter()
        .filter_map(|outbound| match outbound {
            Outbound::Publish(publish) => Some(publish),
            Outbound::Packet(_) => None,
        })
        .collect();
    let [publish] = &publishes[..] else { panic!("{out:?}") };
    publish.routed.message.properties().iter().cloned().collect()
}

#[test]
fn properties_arrive_unaltered_and_in_order_at_once_when_retained_and_in_a_will() {
    let mut world = World::new();
    let reader = world.subscriber(v5("reader"), "#", 0);
    let properties: Properties = travelling().into_iter().collect();
    let will = Will {
        topic: "will".parse().unwrap(),
        payload: "gone".into(),
        qos: QoS::AtMostOnce,
        retain: false,
        properties: properties.clone().with(Property::WillDelay(0)),
    };
    let client = world.connect(Connect { will: Some(will), ..v5("a") });
    let message = Publish { retain: true, properties, ..publish(0, 0, "x", "hi") };
    world.send(client, [Packet::Publish(message)]);
    assert_eq!(got(&mut world, reader), travelling(), "at once");
    let later = world.connect(v5("later"));
    let mut fx = crate::hub::Effects::default();
    world.hub.handle(later.0, [subscribe(1, "x", 0)], world.now, &mut fx).unwrap();
    assert_eq!(got(&mut world, later), travelling(), "retained");
    world.cut(client);
    assert_eq!(got(&mut world, reader), travelling(), "will");
}

#[test]
fn will_is_retained_only_if_it_says_so() {
    for (retain, kept) in [(false, 0), (true, 1)] {
        for connect in both("a") {
            let mut world = World::new();
            let (topic, payload) = ("will".parse().unwrap(), "gone".into());
            let properties = Properties::new();
            let will = Will { topic, payload, qos: QoS::AtMostOnce, retain, properties };
            let client = world.connect(Connect { will: Some(will), ..connect });
            world.cut(client);
            assert_eq!(world.hub.stats().retained, kept);
        }
    }
}

#[test]
fn client_without_will_leaves_none() {
    for connect in both("a") {
        let mut world = World::new();
        let reader = world.subscriber(v5("reader"), "#", 0);
        let client = world.connect(connect);
        world.cut(client);
        world.pass(100_000);
        assert!(world.poll(reader).is_empty());
    }
}

#[test]
fn topics_match_byte_by_byte() {
    // Composed and decomposed, a zero width no-break space, case, empty levels.
    let topics = ["\u{E9}", "e\u{301}", "\u{FEFF}a", "a", "A", "a/", "/a", "a//b", "a/b"];
    let mut world = World::new();
    let publisher = world.connect(v5("publisher"));
    for (number, wanted) in topics.iter().enumerate() {
        let reader = world.subscriber(v5(&number.to_string()), wanted, 0);
        for topic in topics {
            world.send(publisher, [retain(0, 0, topic, "1")]);
        }
        assert_eq!(world.poll(reader), [format!("{wanted}=1")]);
        // The same for messages that are retained.
        let again = world.send(reader, [subscribe(2, wanted, 0)]);
        assert_eq!(again, ["SUBACK 2 00".to_owned(), format!("{wanted}=1 retained")]);
    }
}

#[test]
fn wildcards_do_not_match_topics_of_the_broker() {
    for filter in ["#", "+/x", "+/#"] {
        let mut world = World::new();
        let reader = world.subscriber(v5("reader"), filter, 0);
        world.publish(message("$SYS/x", "1").retain(true));
        world.publish(message("y/x", "1"));
        assert_eq!(world.poll(reader), ["y/x=1"], "{filter}");
        let again = world.send(reader, [subscribe(2, filter, 0)]);
        assert_eq!(again, ["SUBACK 2 00"], "{filter}");
    }
}

#[test]
fn unsubscribe_ends_the_very_filter_and_no_other_that_matches_the_same() {
    for connect in both("reader") {
        let mut world = World::new();
        let reader = world.subscriber(connect, "x/+", 0);
        world.send(reader, [unsubscribe(2, &["x/y", "x/#", "X/+"])]);
        world.publish(message("x/y", "1"));
        assert_eq!(world.poll(reader), ["x/y=1"]);
        world.send(reader, [unsubscribe(3, &["x/+"])]);
        world.publish(message("x/y", "2"));
        assert!(world.poll(reader).is_empty());
    }
}

#[test]
fn unsubscribe_leaves_what_was_sent_to_be_acknowledged() {
    let mut world = World::new();
    let reader = world.subscriber(v5("reader"), "x", 2);
    world.publish(message("x", "1").qos(qos(1)));
    world.publish(message("x", "2").qos(qos(2)));
    world.poll(reader);
    assert_eq!(world.send(reader, [unsubscribe(2, &["x"])]), ["UNSUBACK 2 00"]);
    world.cut(reader);
    let reader = world.connect(v5("reader"));
    assert_eq!(world.poll(reader), ["x=1 q1 #1 dup", "x=2 q2 #2 dup"]);
    assert_eq!(world.send(reader, [pub_ack(1), pub_rec(2), pub_comp(2)]), ["PUBREL 2"]);
    assert_eq!(world.hub.undelivered(), 0);
}

#[test]
fn subscribing_again_sends_what_is_retained_and_loses_nothing() {
    for connect in both("reader") {
        let mut world = World::new();
        world.publish(message("x", "kept").retain(true));
        let reader = world.subscriber(connect.clone(), "x", 1);
        world.cut(reader);
        world.publish(message("x", "1").qos(qos(1)));
        let reader = world.connect(connect);
        let got = world.send(reader, [subscribe(2, "x", 2)]);
        assert_eq!(got, ["SUBACK 2 02", "x=1 q1 #1", "x=kept retained"]);
        // And there is one subscription.
        world.publish(message("x", "2").qos(qos(2)));
        assert_eq!(world.poll(reader), ["x=2 q2 #2"]);
    }
}

#[test]
fn several_filters_are_as_several_packets() {
    for connect in both("reader") {
        let filters = [("x", 0), ("y", 1), ("x", 2)];
        let mut together = World::new();
        let one = together.connect(connect.clone());
        together.send(one, [subscribe_with(1, &filters, None, |_| {})]);
        let mut apart = World::new();
        let other = apart.connect(connect);
        for (filter, qos) in filters {
            apart.send(other, [subscribe(1, filter, qos)]);
        }
        for (world, client) in [(&mut together, one), (&mut apart, other)] {
            for topic in ["x", "y"] {
                world.publish(message(topic, "1").qos(qos(2)));
            }
            assert_eq!(world.poll(client), ["x=1 q2 #1", "y=1 q1 #2"]);
            world.send(client, [unsubscribe(2, &["x", "y"])]);
            world.publish(message("x", "1"));
            assert!(world.poll(client).is_empty());
        }
    }
}

#[test]
fn no_more_aliases_than_the_client_takes() {
    for (most, given) in [(None, 0), (Some(0), 0), (Some(2), 2), (Some(1000), 5)] {
        let mut world = World::with(|limits| limits.topic_aliases = 5);
        let connect = match most {
            Some(most) => asking(v5("reader"), Property::TopicAliasMaximum(most)),
            None => v5("reader"),
        };
        let reader = world.subscriber(connect, "#", 0);
        for number in 0..10 {
            world.publish(message(&format!("a/long/topic/{number}"), ""));
        }
        let mut out = Vec::new();
        world.hub.poll(reader.0, world.now, 100_000, &mut out).unwrap();
        let aliases = out.iter().filter_map(|outbound| match outbound {
            Outbound::Publish(publish) => publish.own_properties.iter().find_map(|p| match p {
                Property::TopicAlias(alias) => Some(alias.get()),
                _ => None,
            }),
            Outbound::Packet(_) => None,
        });
        assert_eq!(aliases.collect::<Vec<_>>(), (1..=given).collect::<Vec<_>>(), "{most:?}");
    }
}
