//! What access control refuses, and how a client is told.

use super::harness::*;
use crate::access::{GuardId, Rule, Rules, User};
use crate::hub::{Effects, Hub};
use crate::packet::*;
use crate::session::Closing;
use std::sync::Arc;

fn set(hub: &mut Hub, rules: impl Into<Rules>) {
    hub.set_acl(Some(Arc::new(rules.into())), &mut Effects::default());
}

/// Everybody may do everything below `x/`, but receive nothing below `x/secret/`.
fn world() -> World {
    let mut world = World::new();
    let secret = Rule::deny("x/secret/#").unwrap().read();
    set(&mut world.hub, [secret, Rule::allow("x/#").unwrap()]);
    world
}

fn named(connect: Connect, user: &str) -> Connect {
    Connect { username: Some(user.parse().unwrap()), ..connect }
}

fn will(topic: &str) -> Option<Will> {
    let (topic, properties) = (topic.parse().unwrap(), Properties::new());
    Some(Will { topic, payload: "gone".into(), qos: qos(0), retain: false, properties })
}

#[test]
fn message_that_is_not_allowed_is_refused_and_goes_nowhere() {
    let mut world = world();
    let all = world.connect(v5("all"));
    world.send(all, [subscribe(1, "x/#", 2)]);
    let client = world.connect(v5("a"));
    assert_eq!(
        world.send(client, [send(0, 0, "y", "0"), send(1, 1, "y", "1"), send(2, 2, "y", "2")]),
        ["PUBACK 1 87", "PUBREC 2 87"]
    );
    // Its identifier is free again.
    assert_eq!(world.send(client, [send(2, 2, "x", "3")]), ["PUBREC 2"]);
    assert_eq!(world.poll(all), ["x=3 q2 #1"]);
    assert_eq!(world.hub.stats().denied, 3);
}

#[test]
fn client_that_cannot_be_told_is_not_told_a_lie() {
    // MQTT-3.3.5-2: acknowledge it, or close the connection.
    let mut world = world();
    let client = world.connect(v311("a"));
    assert!(world.send(client, [send(0, 0, "y", "0")]).is_empty());
    let (out, end) = world.try_send(client, [send(1, 1, "y", "1")]);
    assert!(out.is_empty(), "{out:?}");
    assert_eq!(end, Err(Closing::Ended(ReasonCode::NOT_AUTHORIZED)));
}

#[test]
fn subscription_that_is_not_allowed_is_refused_alone() {
    let mut world = world();
    for connect in both("a") {
        let client = world.connect(connect);
        let filters = [("x/a", 1), ("y", 1), ("#", 1), ("$share/g/x", 0), ("$share/g/y", 0)];
        let packet = subscribe_with(1, &filters, None, |_| {});
        assert_eq!(world.send(client, [packet]), ["SUBACK 1 01 87 87 00 87"]);
    }
    assert_eq!(world.hub.stats().subscriptions, 2);
}

#[test]
fn filter_that_matches_more_brings_only_what_may_be_seen() {
    let mut world = world();
    world.publish(message("x/secret/kept", "old").retain(true));
    world.publish(message("x/kept", "old").retain(true));
    let client = world.subscriber(v5("a"), "x/#", 0);
    assert_eq!(world.poll(client), Vec::<String>::new());
    let [shared] = [world.subscriber(v5("b"), "$share/g/x/#", 0)];
    world.publish(message("x/secret/new", "1"));
    world.publish(message("x/new", "2"));
    assert_eq!(world.poll(client), ["x/new=2"]);
    assert_eq!(world.poll(shared), ["x/new=2"]);
}

#[test]
fn share_passes_over_who_may_not_see_the_message() {
    let mut world = World::new();
    let rules = [
        Rule::allow("x/#").unwrap().client("b".parse().unwrap()),
        Rule::deny("x/secret").unwrap().read(),
        Rule::allow("x/#").unwrap(),
    ];
    set(&mut world.hub, rules);
    let [a, b] = ["a", "b"].map(|name| world.subscriber(v5(name), "$share/g/x/#", 0));
    for number in 1..=3 {
        world.publish(message("x/secret", &number.to_string()));
    }
    assert!(world.poll(a).is_empty());
    assert_eq!(world.poll(b).len(), 3);
}

#[test]
fn will_that_is_not_allowed_refuses_the_connection() {
    let mut world = world();
    let refused = Connect { will: will("y"), ..v5("a") };
    assert_eq!(world.try_connect(refused).unwrap_err(), ReasonCode::NOT_AUTHORIZED);
    let allowed = Connect { will: will("x"), ..v5("a") };
    assert!(world.try_connect(allowed).is_ok());
}

#[test]
fn will_that_is_no_longer_allowed_is_not_published() {
    let mut world = world();
    let all = world.subscriber(v5("all"), "x/#", 0);
    let client = world.connect(Connect { will: will("x/gone"), ..v5("a") });
    let other = world.connect(Connect { will: will("x/other"), ..v5("b") });
    set(&mut world.hub, [Rule::deny("x/gone").unwrap(), Rule::allow("x/#").unwrap()]);
    world.cut(client);
    world.cut(other);
    assert_eq!(world.poll(all), ["x/other=gone"]);
    assert_eq!(world.hub.stats().denied, 1);
}

#[test]
fn session_is_for_the_user_who_made_it() {
    let mut world = World::new();
    let ann = world.subscriber(named(v5("phone"), "ann"), "x", 1);
    for other in [named(v5("phone"), "bob"), v5("phone"), clean(named(v5("phone"), "bob"))] {
        let refused = world.try_connect(other).unwrap_err();
        assert_eq!(refused, ReasonCode::CLIENT_IDENTIFIER_NOT_VALID);
    }
    assert_eq!(world.hub.ended(ann.0), Ok(()), "nobody took it over");
    let (_, answer) = world.try_connect(named(v5("phone"), "ann")).unwrap();
    assert_eq!(answer, "CONNACK 1");
}

#[test]
fn rules_that_change_end_subscriptions_and_no_connection() {
    let mut world = world();
    let client = world.subscriber(v5("a"), "x/a", 0);
    world.send(client, [subscribe(2, "x/b", 0), subscribe(3, "$share/g/x/a", 0)]);
    set(&mut world.hub, [Rule::allow("x/b").unwrap()]);
    assert_eq!(world.hub.stats().subscriptions, 1);
    world.publish(message("x/a", "1"));
    world.publish(message("x/b", "2"));
    assert_eq!(world.poll(client), ["x/b=2"]);
    assert_eq!(world.send(client, [send(1, 1, "x/a", "3")]), ["PUBACK 1 87"]);
    assert_eq!(world.send(client, [unsubscribe(4, &["x/a", "x/b"])]), ["UNSUBACK 4 11 00"]);
}

#[test]
fn users_who_may_not_stay_are_sent_away() {
    let mut world = World::new();
    let ann = world.connect(named(v5("a"), "ann"));
    let bob = world.connect(named(v5("b"), "bob"));
    let mut fx = Effects::default();
    let ann_only = |user: &User| user.name().is_some_and(|name| name.as_str() == "ann");
    world.hub.dismiss(GuardId::BROKER, ann_only, &mut fx);
    assert_eq!(fx.wakes.len(), 1);
    assert_eq!(world.hub.ended(ann.0), Ok(()));
    let end = Err(Closing::Ended(ReasonCode::NOT_AUTHORIZED));
    assert_eq!(world.hub.ended(bob.0), end);
    // Who came in past another guard is no matter of this one.
    world.hub.dismiss(GuardId(1), |_| false, &mut fx);
    assert_eq!(world.hub.ended(ann.0), Ok(()));
}
