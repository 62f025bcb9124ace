//! What hooks see and change, and what access control says of what they return.

use std::sync::Arc;

use parking_lot::Mutex;

use super::harness::*;
use crate::access::{self, Rule, Rules};
use crate::hooks::{Hooks, Rewrites};
use crate::hub::Effects;
use crate::packet::*;
use crate::session::Closing;
use crate::{Message, TopicFilter};

/// Subscribes everybody to `all` and `to/<client>`, refuses topics and filters below `no/`, swallows
/// those below `gone/`, and puts what is below `old/` below `new/`.
#[derive(Debug, Default)]
struct Watch {
    seen: Mutex<Vec<String>>,
}

fn renamed(topic: &str) -> String {
    topic.strip_prefix("old/").map_or_else(|| topic.to_owned(), |rest| format!("new/{rest}"))
}

impl Hooks for Watch {
    fn connected(&self, client: access::Client<'_>) -> Vec<(TopicFilter, QoS)> {
        self.seen.lock().push(format!("+{}", client.id.as_str()));
        let own = format!("to/{}", client.id.as_str());
        vec![(filter("all"), qos(1)), (filter(&own), qos(1))]
    }

    fn disconnected(&self, client: access::Client<'_>) {
        self.seen.lock().push(format!("-{}", client.id.as_str()));
    }

    fn subscribe(
        &self,
        _: access::Client<'_>,
        filter: TopicFilter,
    ) -> Result<TopicFilter, ReasonCode> {
        match filter.as_str().starts_with("no/") {
            true => Err(ReasonCode::QUOTA_EXCEEDED),
            false => Ok(renamed(filter.as_str()).parse().unwrap()),
        }
    }

    fn publish(
        &self,
        client: access::Client<'_>,
        message: Message,
    ) -> Result<Option<Message>, ReasonCode> {
        self.seen.lock().push(format!("{}>{}", client.id.as_str(), message.topic()));
        match message.topic().as_str().split_once('/') {
            Some(("no", _)) => Err(ReasonCode::PAYLOAD_FORMAT_INVALID),
            Some(("gone", _)) => Ok(None),
            _ => {
                let topic = renamed(message.topic().as_str()).parse().unwrap();
                Ok(Some(message.with_topic(topic)))
            }
        }
    }
}

fn watched(mut world: World) -> (World, Arc<Watch>) {
    let watch = Arc::new(Watch::default());
    world.hub.set_hooks(Some(Arc::clone(&watch) as Arc<dyn Hooks>));
    (world, watch)
}

#[test]
fn message_goes_on_as_the_hook_returns_it_or_not_at_all() {
    let (mut world, _) = watched(World::new());
    let reader = world.subscriber(v5("r"), "#", 2);
    let client = world.connect(v5("a"));
    let sent = [
        send(1, 1, "old/x", "1"),
        send(1, 2, "gone/x", "2"),
        send(2, 3, "gone/x", "3"),
        send(1, 4, "no/x", "4"),
        send(0, 0, "no/x", "5"),
        send(1, 5, "y", "6"),
    ];
    let acks = ["PUBACK 1", "PUBACK 2", "PUBREC 3", "PUBACK 4 99", "PUBACK 5"];
    assert_eq!(world.send(client, sent), acks);
    assert_eq!(world.poll(reader), ["new/x=1 q1 #1", "y=6 q1 #2"]);
    assert_eq!((world.hub.stats().withheld, world.hub.stats().denied), (2, 2));
    // Who cannot be told is sent away.
    let old = world.connect(v311("b"));
    let (_, end) = world.try_send(old, [send(1, 1, "no/x", "7")]);
    assert_eq!(end, Err(Closing::Ended(ReasonCode::PAYLOAD_FORMAT_INVALID)));
}

#[test]
fn access_control_is_asked_about_what_the_hook_returns() {
    let (mut world, _) = watched(World::new());
    let rules = Rules::from([Rule::allow("old/#").unwrap(), Rule::allow("to/#").unwrap()]);
    world.hub.set_acl(Some(Arc::new(rules)), &mut Effects::default());
    let client = world.connect(v5("a"));
    assert_eq!(world.send(client, [send(1, 1, "old/x", "1")]), ["PUBACK 1 87"]);
    assert_eq!(world.send(client, [subscribe(2, "old/x", 1)]), ["SUBACK 2 87"]);
    // `all` was not allowed either.
    assert_eq!(world.hub.stats().subscriptions, 1);
}

#[test]
fn subscription_is_to_the_filter_that_the_hook_returns_and_ends_under_the_first_name() {
    let (mut world, _) = watched(World::new());
    let client = world.connect(v5("a"));
    assert_eq!(world.send(client, [subscribe(1, "old/x", 0)]), ["SUBACK 1 00"]);
    assert_eq!(world.send(client, [subscribe(2, "no/x", 0)]), ["SUBACK 2 97"]);
    world.publish(Message::new("new/x".parse().unwrap(), "1"));
    assert_eq!(world.poll(client), ["new/x=1"]);
    assert_eq!(world.send(client, [unsubscribe(3, &["old/x"])]), ["UNSUBACK 3 00"]);
    world.publish(Message::new("new/x".parse().unwrap(), "2"));
    assert!(world.poll(client).is_empty());
}

#[test]
fn client_is_subscribed_without_asking_whenever_it_connects() {
    for world in [World::new(), World::keeping()] {
        let (mut world, watch) = watched(world);
        let will = Will {
            topic: "old/will".parse().unwrap(),
            payload: "bye".into(),
            qos: qos(0),
            retain: false,
            properties: Properties::new(),
        };
        world.publish(Message::new("all".parse().unwrap(), "kept").retain(true).qos(qos(1)));
        world.commit_all();
        let client = world.connect(Connect { will: Some(will), ..v5("a") });
        world.commit_all();
        assert_eq!(world.poll(client), ["all=kept q1 #1 retained"]);
        world.publish(Message::new("to/a".parse().unwrap(), "1").qos(qos(1)));
        world.commit_all();
        assert_eq!(world.poll(client), ["to/a=1 q1 #2"]);
        world.cut(client);
        assert_eq!(*watch.seen.lock(), ["+a", "-a", "a>old/will"]);
        // What it has already, it does not get again.
        let client = world.connect(v5("a"));
        world.commit_all();
        assert_eq!(world.poll(client), ["all=kept q1 #1 dup retained", "to/a=1 q1 #2 dup"]);
    }
}

#[test]
fn old_devices_speak_under_new_topics() {
    let mut world = World::new();
    let rewrites = Rewrites::new().rule("old/+/t", "new/{1}").unwrap();
    world.hub.set_hooks(Some(Arc::new(rewrites)));
    let reader = world.subscriber(v5("r"), "old/+/t", 0);
    let group = world.subscriber(v5("g"), "$share/g/old/7/t", 0);
    let device = world.connect(v5("a"));
    world.send(device, [send(0, 0, "old/7/t", "1"), send(0, 0, "old/7/u", "2")]);
    assert_eq!(world.poll(reader), ["new/7=1"]);
    assert_eq!(world.poll(group), ["new/7=1"]);
    // A topic that MQTT does not have is refused, not published.
    let empty = Rewrites::new().rule("a/#", "{1}").unwrap();
    world.hub.set_hooks(Some(Arc::new(empty)));
    assert_eq!(world.send(device, [send(1, 1, "a", "3")]), ["PUBACK 1 90"]);
}
