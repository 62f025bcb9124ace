//! CONNECT and its answer: client identifiers, keep alive, sizes, who authenticated how.

use std::time::Duration;

use super::harness::*;
use crate::access::User;
use crate::hub::Effects;
use crate::packet::*;
use crate::session::{Closing, Outbound};

/// What CONNACK says about the broker.
fn announced(world: &mut World, connect: Connect) -> (Client, Properties) {
    let (entrance, mut fx) = (world.entrance(User::anonymous()), Effects::default());
    let accepted = world.hub.connect(connect, entrance, world.now, &mut fx);
    let peer = accepted.unwrap().peer;
    let mut out = Vec::new();
    world.hub.poll(peer, world.now, 0, &mut out).unwrap();
    let [Outbound::Packet(Packet::ConnAck(ack))] = &out[..] else { panic!("{out:?}") };
    (Client(peer), ack.properties.clone())
}

fn server_keep_alive(properties: &Properties) -> Option<u16> {
    properties.find(|property| match property {
        Property::ServerKeepAlive(seconds) => Some(*seconds),
        _ => None,
    })
}

/// After how many seconds of silence a client is lost.
fn patience(world: &mut World, client: Client) -> Option<Duration> {
    let deadline = world.hub.keep_alive(client.0, world.now).unwrap();
    deadline.map(|deadline| deadline - world.now)
}

#[test]
fn keep_alive_that_is_too_long_or_absent_is_replaced_and_connack_says_so() {
    for asked in [0, 101, u16::MAX] {
        let mut world = World::with(|limits| limits.max_keep_alive = Duration::from_secs(100));
        let (client, told) = announced(&mut world, Connect { keep_alive: asked, ..v5("a") });
        assert_eq!(server_keep_alive(&told), Some(100), "asked for {asked}");
        assert_eq!(patience(&mut world, client), Some(Duration::from_secs(150)));
    }
}

#[test]
fn keep_alive_within_the_limit_is_the_client_s() {
    let mut world = World::with(|limits| limits.max_keep_alive = Duration::from_secs(100));
    let (client, told) = announced(&mut world, Connect { keep_alive: 100, ..v5("a") });
    assert_eq!(server_keep_alive(&told), None);
    assert_eq!(patience(&mut world, client), Some(Duration::from_secs(150)));
}

#[test]
fn v311_keeps_its_keep_alive_as_it_cannot_be_told_another() {
    for (asked, patient) in [(0, None), (1000, Some(Duration::from_secs(1500)))] {
        let mut world = World::with(|limits| limits.max_keep_alive = Duration::from_secs(100));
        let (client, told) = announced(&mut world, Connect { keep_alive: asked, ..v311("a") });
        assert!(told.is_empty());
        assert_eq!(patience(&mut world, client), patient);
    }
}

#[test]
fn identifiers_of_23_letters_and_any_others_are_taken() {
    let long = "ä€ /+#".repeat(1000);
    for id in ["0123456789abcdefghijklm", "nopqrstuvwxyzABCDEFGHIJ", "KLMNOPQRSTUVWXYZ", &long] {
        for connect in both(id) {
            let mut world = World::new();
            assert_eq!(world.try_connect(connect.clone()).unwrap().1, "CONNACK 0", "{id}");
            assert_eq!(world.try_connect(connect).unwrap().1, "CONNACK 1", "{id}");
        }
    }
}

#[test]
fn assigned_identifier_is_a_new_one_and_names_the_session() {
    let mut world = World::new();
    let names = [v5(""), v5("")].map(|connect| {
        let (client, told) = announced(&mut world, connect);
        world.cut(client);
        told.find(|property| match property {
            Property::AssignedClientId(id) => Some(id.clone()),
            _ => None,
        })
    });
    let [Some(first), Some(second)] = names else { panic!("{names:?}") };
    assert_ne!(first, second);
    assert_eq!(world.try_connect(v5(first.as_str())).unwrap().1, "CONNACK 1");
    // Nobody is told a name who has one.
    let (_, told) = announced(&mut world, v5(second.as_str()));
    assert!(!told.iter().any(|property| matches!(property, Property::AssignedClientId(_))));
}

#[test]
fn connack_larger_than_the_client_takes_refuses_the_connection_and_changes_nothing() {
    let takes =
        |bytes| asking(v5("a"), Property::MaximumPacketSize(PacketSize::new(bytes).unwrap()));
    let mut world = World::new();
    let refused = world.try_connect(takes(10)).unwrap_err();
    assert_eq!(refused, ReasonCode::PACKET_TOO_LARGE);
    assert_eq!(world.hub.stats().sessions, 0);
    world.connect(takes(20));
}

#[test]
fn connack_tells_the_method_by_which_a_client_authenticated_and_no_other() {
    let method = Property::AuthenticationMethod("m".parse().unwrap());
    let data = Property::AuthenticationData("done".into());
    let mut world = World::new();
    let connect = asking(asking(v5("a"), method.clone()), data.clone());
    let (_, told) = announced(&mut world, connect);
    let told: Vec<_> = told.iter().cloned().collect();
    assert_eq!(told[told.len() - 2..], [method, data]);
    let (_, told) = announced(&mut world, v5("b"));
    assert!(!told.iter().any(|p| matches!(p, Property::AuthenticationMethod(_))));
}

#[test]
fn client_that_authenticates_again_stays_who_it_was() {
    let ann = || User::named("ann".parse().unwrap());
    let auth = || Packet::Auth(Disconnect::new(ReasonCode::SUCCESS));
    let mut world = World::new();
    let client = world.connect(Connect { username: Some("ann".parse().unwrap()), ..v5("a") });
    let crew = ann().in_group("crew".parse().unwrap());
    assert_eq!(world.hub.reauthenticate(client.0, auth(), Some(crew)), Ok(()));
    assert_eq!(world.poll(client).len(), 1);
    for other in [User::anonymous(), User::named("bob".parse().unwrap())] {
        let result = world.hub.reauthenticate(client.0, auth(), Some(other));
        assert_eq!(result, Err(ReasonCode::NOT_AUTHORIZED));
    }
    assert!(world.poll(client).is_empty());
}

#[test]
fn auth_without_a_method_is_a_protocol_error() {
    let mut world = World::new();
    let client = world.connect(v5("a"));
    let auth = Packet::Auth(Disconnect::new(ReasonCode::REAUTHENTICATE));
    let (out, closing) = world.try_send(client, [auth]);
    assert!(out.is_empty(), "{out:?}");
    assert_eq!(closing, Err(Closing::Violation(ReasonCode::PROTOCOL_ERROR)));
}
