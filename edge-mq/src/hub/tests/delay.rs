//! Messages that are published later: when, as what, and how often, whatever the store says.

use std::sync::Arc;
use std::time::Duration;

use super::harness::*;
use crate::access::{Rule, Rules};
use crate::hooks::Rewrites;
use crate::hub::{Deed, Effects, Hub, Urgency};
use crate::packet::*;
use crate::session::Closing;
use crate::store::Refused;

/// Commits what was sent, and gives what comes back then.
fn ask(world: &mut World, client: Client, packet: Packet) -> Vec<String> {
    let answer = world.send(client, [packet]);
    let has_to_wait = world.disk.page > 0;
    // Nobody is told before the commit.
    assert!(answer.is_empty() || !has_to_wait, "{answer:?}");
    world.commit_all();
    answer.into_iter().chain(world.poll(client)).collect()
}

/// Seconds go by, and commits end.
fn pass(world: &mut World, seconds: u64) {
    world.pass(seconds);
    world.commit_all();
}

/// What was published and waits for its commit.
fn under_way(world: &World) -> Vec<String> {
    let messages = world.held.iter().flatten().filter_map(Deed::stored);
    messages.map(|message| String::from_utf8(message.payload().to_vec()).unwrap()).collect()
}

fn end_all(world: &mut World, refused: &Refused) {
    for _ in 0..world.held.len() {
        let group = world.held.pop_front().unwrap();
        let outcome = Err(refused.clone());
        world.act(|hub, now, fx| hub.committed(group, &outcome, now, fx));
    }
}

fn set_rules<const N: usize>(world: &mut World, rules: [Rule; N]) {
    world.hub.set_acl(Some(Arc::new(Rules::from(rules))), &mut Effects::default());
}

#[test]
fn message_comes_when_it_is_due_as_if_it_were_sent_then() {
    for mut world in [World::new(), World::keeping()] {
        for connect in both("a") {
            let reader = world.subscriber(v5("reader"), "x", 2);
            let client = world.connect(connect);
            world.send(client, [send(0, 0, "$delayed/5/x", "0")]);
            world.commit_all();
            assert_eq!(ask(&mut world, client, send(1, 1, "$delayed/5/x", "1")), ["PUBACK 1"]);
            assert_eq!(ask(&mut world, client, send(2, 2, "$delayed/5/x", "2")), ["PUBREC 2"]);
            ask(&mut world, client, pub_rel(2));
            // Its publisher need not be there.
            world.cut(client);
            pass(&mut world, 4);
            assert!(world.poll(reader).is_empty());
            assert_eq!((world.hub.stats().delayed, world.hub.stats().received % 3), (3, 0));
            pass(&mut world, 1);
            assert_eq!(world.poll(reader), ["x=0", "x=1 q1 #1", "x=2 q2 #2"]);
            assert_eq!((world.hub.stats().delayed, world.disk.delayed()), (0, 0));
            world.cut(reader);
            world.act(|hub, now, fx| hub.send_away("reader", ReasonCode::SUCCESS, true, now, fx));
            world.commit_all();
        }
    }
}

#[test]
fn properties_travel_and_its_expiry_begins_when_it_is_published() {
    for mut world in [World::new(), World::keeping()] {
        let reader = world.subscriber(v5("reader"), "#", 1);
        let client = world.connect(v5("a"));
        let publish = publish(1, 1, "$delayed/100/x", "1");
        let unit = Property::User("unit".parse().unwrap(), "ppm".parse().unwrap());
        let properties = publish.properties.clone().with(Property::MessageExpiry(10)).with(unit);
        let publish = Publish { retain: true, properties, ..publish };
        ask(&mut world, client, Packet::Publish(publish));
        pass(&mut world, 50);
        let is_kept = world.disk.page > 0;
        if is_kept {
            world.crash();
        }
        let reader = if is_kept { world.connect(v5("reader")) } else { reader };
        pass(&mut world, 50);
        pass(&mut world, 4);
        assert_eq!(world.poll(reader), ["x=1 q1 #1 6s"]);
        assert_eq!(world.hub.stats().retained, 1);
    }
}

#[test]
fn delay_of_nothing_is_none() {
    for mut world in [World::new(), World::keeping()] {
        let reader = world.subscriber(v5("reader"), "x", 1);
        let client = world.connect(v5("a"));
        assert_eq!(ask(&mut world, client, send(1, 1, "$delayed/0/x", "1")), ["PUBACK 1"]);
        assert_eq!(world.poll(reader), ["x=1 q1 #1"]);
        assert_eq!(world.hub.stats().delayed, 0);
    }
}

#[test]
fn topic_that_asks_for_no_delay_is_refused_and_the_connection_goes_on() {
    let refused = ["$delayed/abc/x", "$delayed/5", "$delayed/5/", "$delayed/101/x", "$delayed//x"];
    for topic in refused {
        let mut world = World::with(|limits| limits.max_delay = Duration::from_secs(100));
        let client = world.connect(v5("a"));
        let sent = [send(0, 0, topic, ""), send(1, 1, topic, ""), send(2, 2, topic, "")];
        assert_eq!(world.send(client, sent), ["PUBACK 1 90", "PUBREC 2 90"], "{topic}");
        assert_eq!(world.send(client, [send(1, 1, "$delayed/100/x", "")]), ["PUBACK 1"]);
        assert_eq!((world.hub.stats().refused_topics, world.hub.stats().delayed), (3, 1));
        // MQTT 3.1.1 has no word for it.
        let client = world.connect(v311("b"));
        let end = world.try_send(client, [send(1, 1, topic, "")]).1;
        assert_eq!(end, Err(Closing::Ended(ReasonCode::TOPIC_NAME_INVALID)), "{topic}");
    }
}

#[test]
fn what_is_said_of_the_topic_behind_it_is_said_when_it_comes() {
    let mut world = World::with(|limits| limits.topic_levels = 3);
    let reader = world.subscriber(v5("reader"), "may/#", 1);
    set_rules(&mut world, [Rule::allow("may/#").unwrap()]);
    let client = world.connect(v5("a"));
    for (topic, answer) in [
        ("may/b/c", "PUBACK 1"),
        ("may/b/c/d", "PUBACK 1 90"),
        ("not/b", "PUBACK 1 87"),
        ("$SYS/x", "PUBACK 1 87"),
    ] {
        let packet = send(1, 1, &format!("$delayed/5/{topic}"), "1");
        assert_eq!(world.send(client, [packet]), [answer], "{topic}");
    }
    // It was allowed.
    set_rules(&mut world, [Rule::allow("may/#").unwrap().read()]);
    world.pass(5);
    assert_eq!(world.poll(reader), ["may/b/c=1 q1 #1"]);
}

#[test]
fn hook_sees_the_topic_behind_it_and_makes_none_of_its_own() {
    let mut world = World::new();
    let rewrites = Rewrites::new().rule("old/+", "new/{1}").unwrap();
    let rewrites = rewrites.rule("later/+", "$delayed/5/{1}").unwrap();
    world.hub.set_hooks(Some(Arc::new(rewrites)));
    let reader = world.subscriber(v5("reader"), "new/7", 0);
    let client = world.connect(v5("a"));
    let sent = [send(1, 1, "$delayed/5/old/7", "1"), send(1, 2, "later/x", "2")];
    assert_eq!(world.send(client, sent), ["PUBACK 1", "PUBACK 2 87"]);
    world.pass(5);
    assert_eq!(world.poll(reader), ["new/7=1"]);
}

#[test]
fn no_more_wait_than_may() {
    let one = message("x", "1").cost_bytes();
    for (messages, bytes) in [(2, usize::MAX / 2), (10, one * 2)] {
        let change = |limits: &mut crate::Limits| {
            (limits.delayed_messages, limits.delayed_bytes) = (messages, bytes);
        };
        for mut world in [World::with(change), World::keeping_with(change)] {
            let client = world.connect(v5("a"));
            let sent = (1..=3).map(|id| send(1, id, "$delayed/5/x", "1"));
            // Those on their way to the disk count.
            let mut answers = world.send(client, sent);
            world.commit_all();
            answers.extend(world.poll(client));
            answers.sort();
            assert_eq!(answers, ["PUBACK 1", "PUBACK 2", "PUBACK 3 97"]);
            world.send(client, [send(0, 0, "$delayed/5/x", "1")]);
            assert_eq!((world.hub.stats().delayed_refused, world.hub.stats().delayed), (2, 2));
            pass(&mut world, 5);
            assert_eq!(ask(&mut world, client, send(1, 1, "$delayed/5/x", "1")), ["PUBACK 1"]);
        }
    }
}

#[test]
fn message_that_was_not_stored_is_its_publishers_again() {
    let mut world = World::keeping_with(|limits| limits.delayed_messages = 1);
    let reader = world.subscriber(v5("reader"), "x", 1);
    let client = world.connect(v5("a"));
    world.send(client, [send(2, 1, "$delayed/5/x", "1")]);
    world.end_commit(Err(ReasonCode::QUOTA_EXCEEDED));
    assert_eq!(world.poll(client), ["PUBREC 1 97"]);
    assert_eq!((world.hub.stats().delayed, world.hub.stats().journal_refused), (0, 1));
    assert_eq!(ask(&mut world, client, send(2, 1, "$delayed/5/x", "2")), ["PUBREC 1"]);
    pass(&mut world, 5);
    assert_eq!(world.poll(reader), ["x=2 q1 #1"]);
}

#[test]
fn qos_2_that_is_sent_again_waits_once() {
    let mut world = World::keeping();
    world.subscriber(v5("reader"), "x", 2);
    let client = world.connect(v5("a"));
    ask(&mut world, client, send(2, 1, "$delayed/5/x", "1"));
    world.crash();
    let client = world.connect(v5("a"));
    assert_eq!(world.send(client, [again(2, 1, "$delayed/5/x", "1")]), ["PUBREC 1"]);
    let reader = world.connect(v5("reader"));
    pass(&mut world, 5);
    assert_eq!(world.poll(reader), ["x=1 q2 #1"]);
}

#[test]
fn after_a_restart_what_is_overdue_comes_at_once_by_its_time_and_the_rest_at_its_own() {
    let mut world = World::keeping();
    world.subscriber(v5("reader"), "x", 2);
    let client = world.connect(v5("a"));
    for (id, seconds) in [(1, 9), (2, 5), (3, 5), (4, 100), (5, 1)] {
        let topic = format!("$delayed/{seconds}/x");
        ask(&mut world, client, send(2, id, &topic, &id.to_string()));
    }
    world.now += Duration::from_secs(50);
    world.crash();
    let reader = world.connect(v5("reader"));
    let expected = ["x=5 q2 #1", "x=2 q2 #2", "x=3 q2 #3", "x=1 q2 #4"];
    assert_eq!(world.poll(reader), expected);
    pass(&mut world, 49);
    assert!(world.poll(reader).is_empty());
    pass(&mut world, 1);
    assert_eq!(world.poll(reader), ["x=4 q2 #5"]);
    // Nor does it come again.
    world.crash();
    assert_eq!((world.disk.delayed(), world.hub.stats().delayed), (0, 0));
}

#[test]
fn power_cut_before_its_commit_has_it_published_again_and_after_it_does_not() {
    for is_committed in [false, true] {
        let mut world = World::keeping();
        let reader = world.subscriber(v5("reader"), "x", 2);
        world.cut(reader);
        let client = world.connect(v5("a"));
        ask(&mut world, client, send(2, 1, "$delayed/5/x", "1"));
        world.pass(5);
        assert_eq!(under_way(&world), ["1"]);
        let deeds = world.held.iter().flatten().filter(|deed| deed.stored().is_some());
        // Else what was delivered would come a second time.
        assert!(deeds.into_iter().all(|deed| deed.urgency == Urgency::Now));
        if is_committed {
            world.commit_all();
        }
        world.crash();
        assert_eq!(under_way(&world).len(), usize::from(!is_committed));
        let reader = world.connect(v5("reader"));
        assert_eq!(world.poll(reader), ["x=1 q2 #1"]);
        pass(&mut world, 1000);
        assert_eq!(world.disk.delayed(), 0);
    }
}

#[test]
fn what_the_store_refuses_when_it_is_due_comes_later_in_its_order() {
    let mut world = World::keeping();
    let reader = world.subscriber(v5("reader"), "x", 1);
    let client = world.connect(v5("a"));
    for id in 1..=3 {
        ask(&mut world, client, send(1, id, "$delayed/5/x", &id.to_string()));
    }
    world.pass(5);
    assert_eq!(under_way(&world), ["1", "2", "3"]);
    end_all(&mut world, &refused(ReasonCode::QUOTA_EXCEEDED));
    for expected in [&["1"][..], &[], &["1"]] {
        assert!(world.poll(reader).is_empty());
        world.pass(1);
        assert_eq!(under_way(&world), expected);
        end_all(&mut world, &refused(ReasonCode::QUOTA_EXCEEDED));
    }
    let stats = world.hub.stats();
    assert_eq!((stats.delayed, world.disk.delayed(), stats.journal_refused), (3, 3, 0));
    pass(&mut world, 4);
    assert_eq!(under_way(&world).len(), 0);
    pass(&mut world, 1);
    let got = world.poll(reader);
    let payloads: Vec<_> = got.iter().map(|shown| &shown[..3]).collect();
    assert_eq!(payloads, ["x=1", "x=2", "x=3"]);
    assert_eq!((world.hub.stats().delayed, world.disk.delayed()), (0, 0));
}

#[test]
fn message_that_is_too_large_where_it_is_to_go_is_given_up() {
    let mut world = World::keeping();
    let client = world.connect(v5("a"));
    ask(&mut world, client, send(1, 1, "$delayed/5/x", "1"));
    world.pass(5);
    let code = ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR;
    end_all(&mut world, &Refused { is_selective: true, ..refused(code) });
    pass(&mut world, 0);
    assert_eq!((world.hub.stats().delayed, world.disk.delayed()), (0, 0));
    assert_eq!(world.hub.stats().journal_refused, 1);
}

#[test]
fn message_for_a_full_log_waits_alone() {
    let mut world = World::keeping();
    let reader = world.subscriber(v5("reader"), "x", 0);
    let client = world.connect(v5("a"));
    ask(&mut world, client, send(1, 1, "$delayed/5/log/x", "1"));
    ask(&mut world, client, send(1, 2, "$delayed/6/x", "2"));
    world.pass(5);
    end_all(&mut world, &Refused { is_selective: true, ..refused(ReasonCode::QUOTA_EXCEEDED) });
    pass(&mut world, 1);
    assert_eq!(world.poll(reader), ["x=2"]);
    assert_eq!((world.hub.stats().delayed, world.disk.delayed()), (0, 0));
}

#[test]
fn log_has_the_client_that_published_it_though_that_is_gone() {
    let mut world = World::journaling();
    let reader = world.subscriber(v5("reader"), "log/#", 1);
    let client = world.connect(clean(v311("a")));
    assert_eq!(world.send(client, [send(1, 1, "$delayed/5/log/x", "1")]), ["PUBACK 1"]);
    world.act(|hub, now, fx| hub.send_away("a", ReasonCode::SUCCESS, true, now, fx));
    world.cut(client);
    world.pass(5);
    assert_eq!(appended(&world), (vec![0], Some("a".to_owned())));
    world.commit();
    assert_eq!(world.poll(reader), ["log/x=1 q1 #1"]);
}

#[test]
fn publisher_that_wants_none_of_its_own_gets_none_later_either() {
    let mut world = World::new();
    let client = world.connect(v5("a"));
    world.send(client, [subscribe_with(1, &[("x", 1)], None, |options| options.no_local = true)]);
    world.send(client, [send(1, 1, "$delayed/5/x", "1")]);
    world.publish(message("$delayed/5/x", "2"));
    world.pass(5);
    assert_eq!(world.poll(client), ["x=2"]);
}

fn with_will(connect: Connect, topic: &str) -> Connect {
    let topic = topic.parse().unwrap();
    let (payload, properties) = ("gone".into(), Properties::new());
    let will = Will { topic, payload, qos: QoS::AtLeastOnce, retain: false, properties };
    Connect { will: Some(will), ..connect }
}

#[test]
fn will_may_be_published_later_though_the_power_fails_meanwhile() {
    for connect in both("a").into_iter().chain([clean(v5("a"))]) {
        let mut world = World::keeping();
        world.subscriber(v5("reader"), "will", 1);
        let client = world.connect(with_will(connect, "$delayed/5/will"));
        world.cut(client);
        world.commit_all();
        assert_eq!((world.hub.stats().delayed, world.disk.delayed()), (1, 1));
        world.crash();
        let reader = world.connect(v5("reader"));
        pass(&mut world, 4);
        assert!(world.poll(reader).is_empty());
        pass(&mut world, 1);
        assert_eq!(world.poll(reader), ["will=gone q1 #1"]);
    }
}

#[test]
fn will_that_asks_for_no_delay_or_may_not_be_is_refused_when_its_client_connects() {
    let mut world = World::new();
    set_rules(&mut world, [Rule::allow("may/#").unwrap()]);
    for (topic, expected) in [
        ("$delayed/5/may/x", None),
        ("$delayed/5/not/x", Some(ReasonCode::NOT_AUTHORIZED)),
        ("$delayed/x", Some(ReasonCode::TOPIC_NAME_INVALID)),
    ] {
        let connected = world.try_connect(with_will(v5("a"), topic));
        assert_eq!(connected.err(), expected, "{topic}");
    }
    assert_eq!((world.hub.stats().denied, world.hub.stats().refused_topics), (1, 1));
}

#[test]
fn application_is_told_why_its_message_does_not_wait() {
    let mut world = World::with(|limits| limits.delayed_messages = 1);
    let mut publish = |topic: &str| {
        let message = message(topic, "1");
        let publish = |hub: &mut Hub, now, fx: &mut Effects| {
            hub.publish_local(message, None, &Arc::default(), now, fx)
        };
        world.act(publish)
    };
    assert_eq!(publish("$delayed/x/y"), Err(ReasonCode::TOPIC_NAME_INVALID));
    assert_eq!(publish("$delayed/5/y"), Ok(()));
    assert_eq!(publish("$delayed/5/y"), Err(ReasonCode::QUOTA_EXCEEDED));
    // Without a store, these are lost.
    assert_eq!(world.hub.undelivered(), 1);
}
