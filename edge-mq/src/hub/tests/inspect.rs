//! What the application sees of clients, how it sends them away, and what the broker says of itself.

use std::time::Duration;

use super::harness::*;
use crate::packet::*;
use crate::session::Closing;

fn send_away(world: &mut World, client_id: &str, with_session: bool) -> bool {
    let reason = ReasonCode::ADMINISTRATIVE_ACTION;
    world.act(|hub, now, fx| hub.send_away(client_id, reason, with_session, now, fx))
}

#[test]
fn clients_are_told_with_what_they_did() {
    let mut world = World::new();
    let reader = world.subscriber(v5("reader"), "x/#", 1);
    let publisher = world.connect(v311("publisher"));
    world.send(publisher, [send(1, 1, "x/1", "a"), send(0, 0, "x/2", "b"), send(1, 2, "y", "")]);
    assert_eq!(world.poll(reader).len(), 2);
    world.cut(publisher);
    world.now += Duration::from_secs(5);
    let clients = world.hub.clients(world.now);
    let names: Vec<_> = clients.iter().map(|client| client.client_id.as_str()).collect();
    assert_eq!(names, ["publisher", "reader"]);
    let [publisher, reader] = &clients[..] else { panic!("{clients:?}") };
    assert_eq!((publisher.received, publisher.sent, publisher.connection.clone()), (3, 0, None));
    assert_eq!((reader.received, reader.sent, reader.queued_messages), (0, 2, 1));
    assert_eq!(reader.subscriptions, [(filter("x/#"), qos(1))]);
    let connection = reader.connection.as_ref().unwrap();
    assert_eq!(connection.version, Version::V5);
    assert_eq!(connection.keep_alive, Some(Duration::from_secs(60)));
    assert_eq!(connection.silent, Duration::from_secs(5));
    assert_eq!(world.hub.client("reader", world.now).as_ref(), Some(reader));
    assert_eq!(world.hub.client("nobody", world.now), None);
}

#[test]
fn client_that_is_sent_away_keeps_its_session() {
    let mut world = World::new();
    let client = world.subscriber(v5("a"), "x", 1);
    assert!(!send_away(&mut world, "nobody", false));
    assert!(send_away(&mut world, "a", false));
    let end = world.try_poll(client).1.unwrap_err();
    assert_eq!(end, Closing::Ended(ReasonCode::ADMINISTRATIVE_ACTION));
    world.leave(client, &end);
    assert!(!send_away(&mut world, "a", false));
    assert_eq!(world.try_connect(v5("a")).unwrap().1, "CONNACK 1");
}

#[test]
fn session_that_is_ended_is_gone_whether_its_client_is_there_or_not() {
    for is_there in [true, false] {
        let mut world = World::keeping();
        let client = world.subscriber(v5("a"), "x", 1);
        if !is_there {
            world.cut(client);
        }
        assert!(send_away(&mut world, "a", true));
        if is_there {
            let end = world.try_poll(client).1.unwrap_err();
            world.leave(client, &end);
        }
        world.commit_all();
        assert_eq!((world.disk.sessions(), world.hub.stats().sessions), (0, 0));
        assert_eq!(world.try_connect(v5("a")).unwrap().1, "CONNACK 0");
    }
}

#[test]
fn broker_tells_of_itself_what_is_new_and_keeps_it_in_memory_alone() {
    let mut world = World::keeping();
    world.hub.set_sys(Duration::from_secs(10), world.now);
    world.pass(1);
    let reader = world.connect(clean(v311("reader")));
    let got = world.send(reader, [subscribe(1, "$SYS/broker/clients/connected", 0)]);
    assert_eq!(got, ["SUBACK 1 00", "$SYS/broker/clients/connected=0 retained"]);
    world.pass(9);
    assert!(world.poll(reader).is_empty());
    world.pass(1);
    assert_eq!(world.poll(reader), ["$SYS/broker/clients/connected=1"]);
    world.pass(10);
    assert!(world.poll(reader).is_empty());
    world.commit_all();
    world.crash();
    assert_eq!(world.hub.stats().retained, 0);
}

#[test]
fn clients_do_not_speak_for_the_broker() {
    let mut world = World::new();
    let reader = world.subscriber(v5("reader"), "$SYS/#", 0);
    let client = world.connect(v5("a"));
    let answer = world.send(client, [send(1, 1, "$SYS/broker/version", "mine")]);
    assert_eq!(answer, ["PUBACK 1 87"]);
    assert!(world.poll(reader).is_empty());
}
