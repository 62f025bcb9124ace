//! Authentication in several steps, at CONNECT and again later, with a method of two rounds.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/raw.rs"]
mod raw;

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use edge_mq::access::{Auth, AuthFuture, Denied, Exchange, Login, Step, StepFuture, User};
use edge_mq::packet::{
    Connect, Disconnect, Packet, PacketSize, Properties, Property, ReasonCode, Version,
};
use edge_mq::{Broker, Listener, Text};
use raw::Raw;

/// The method `sum`: the client says who it is and has to add up two pairs of numbers.
#[derive(Debug)]
struct Sums;

#[derive(Debug)]
enum Round {
    Name,
    First(User),
    Second(User),
}

impl Exchange for Round {
    fn step(self: Box<Round>, data: Option<Bytes>) -> StepFuture {
        Box::pin(async move {
            let data = data.ok_or(Denied::Credentials)?;
            let challenge = |sum: &'static str, next| Step::Challenge {
                data: Bytes::from_static(sum.as_bytes()),
                next: Box::new(next),
            };
            match (*self, &data[..]) {
                (Round::Name, name) => {
                    let name = std::str::from_utf8(name).unwrap().parse().unwrap();
                    Ok(challenge("1+2", Round::First(User::named(name))))
                }
                (Round::First(user), b"3") => Ok(challenge("3+4", Round::Second(user))),
                (Round::Second(user), b"7") => Ok(Step::Done { user, data: Some("well".into()) }),
                _ => Err(Denied::Credentials),
            }
        })
    }
}

impl Auth for Sums {
    fn authenticate(&self, _: Login) -> AuthFuture<'_> {
        Box::pin(async { Err(Denied::NotAuthorized) })
    }

    fn exchange(&self, method: &str, _: &Login) -> Option<Box<dyn Exchange>> {
        (method == "sum").then(|| Box::new(Round::Name) as Box<dyn Exchange>)
    }

    fn may_stay(&self, user: &User) -> bool {
        user.name().is_none_or(|name| name.as_str() != "eve")
    }
}

async fn start() -> Broker {
    let builder = Broker::builder().auth(Sums).listen(([127, 0, 0, 1], 0).into());
    builder.start().await.unwrap()
}

fn properties(method: Option<&str>, data: &'static str) -> Properties {
    let method = method.map(|method| Property::AuthenticationMethod(method.parse().unwrap()));
    let data = Property::AuthenticationData(data.into());
    method.into_iter().chain([data]).collect()
}

fn connect(method: &str, data: &'static str) -> Packet {
    Packet::Connect(Box::new(Connect {
        version: Version::V5,
        client_id: Text::try_from("c").unwrap(),
        clean_start: false,
        keep_alive: 60,
        will: None,
        username: None,
        password: None,
        properties: properties(Some(method), data),
    }))
}

fn auth(code: ReasonCode, data: &'static str) -> Packet {
    Packet::Auth(Disconnect { code, properties: properties(Some("sum"), data) })
}

fn answer(data: &'static str) -> Packet {
    auth(ReasonCode::CONTINUE_AUTHENTICATION, data)
}

async fn say(client: &mut Raw, packets: impl IntoIterator<Item = Packet>) {
    let mut bytes = BytesMut::new();
    packets.into_iter().for_each(|packet| packet.encode(Version::V5, &mut bytes));
    client.send(&bytes).await;
}

/// Says each of these once the challenge before it is there; the last answer is for the caller.
async fn exchange(client: &mut Raw, packets: impl IntoIterator<Item = Packet>) -> Option<Packet> {
    let mut challenges = ["1+2", "3+4"].into_iter();
    let mut got = None;
    for packet in packets {
        if let Some(got) = got {
            assert_eq!(got, answer(challenges.next().unwrap()));
        }
        say(client, [packet]).await;
        got = Some(client.next().await?);
    }
    got
}

/// A client that got in as somebody.
async fn known(broker: &Broker, name: &'static str) -> Raw {
    known_at(broker.local_addr().unwrap(), name).await
}

async fn known_at(addr: SocketAddr, name: &'static str) -> Raw {
    let mut client = Raw::to(addr).await;
    let packets = [connect("sum", name), answer("3"), answer("7")];
    let Some(Packet::ConnAck(ack)) = exchange(&mut client, packets).await else { panic!("no ack") };
    assert_eq!(ack.code, ReasonCode::SUCCESS);
    let told: Vec<_> = ack.properties.iter().cloned().collect();
    let expected: Vec<_> = properties(Some("sum"), "well").iter().cloned().collect();
    assert_eq!(told[told.len() - 2..], expected);
    client
}

#[tokio::test]
async fn client_that_answers_each_challenge_is_let_in_as_who_it_proved_to_be() {
    let broker = start().await;
    let mut client = known(&broker, "ann").await;
    client.is_served().await;
    // The session is ann's.
    let mut other = Raw::open(&broker).await;
    let packets = [connect("sum", "bob"), answer("3"), answer("7")];
    let refused = exchange(&mut other, packets).await;
    assert!(
        matches!(&refused, Some(Packet::ConnAck(ack)) if ack.code.get() == 0x85),
        "{refused:?}"
    );
}

#[tokio::test]
async fn who_answers_wrongly_or_something_else_is_refused() {
    let wrong_method = Packet::Auth(Disconnect {
        code: ReasonCode::CONTINUE_AUTHENTICATION,
        properties: properties(Some("other"), "3"),
    });
    let cases = [
        ("no such method", vec![connect("other", "ann")], 0x8C),
        ("wrong at once", vec![connect("sum", "ann"), answer("4")], 0x86),
        ("wrong then", vec![connect("sum", "ann"), answer("3"), answer("8")], 0x86),
        ("another method", vec![connect("sum", "ann"), wrong_method], 0x82),
        ("not 0x18", vec![connect("sum", "ann"), auth(ReasonCode::REAUTHENTICATE, "3")], 0x82),
        ("no AUTH", vec![connect("sum", "ann"), Packet::PingReq], 0x82),
        ("may not stay", vec![connect("sum", "eve"), answer("3"), answer("7")], 0x87),
    ];
    let broker = start().await;
    for (name, packets, code) in cases {
        let mut client = Raw::open(&broker).await;
        match exchange(&mut client, packets).await {
            Some(Packet::ConnAck(ack)) => assert_eq!(ack.code.get(), code, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
        assert_eq!(client.next().await, None, "{name}");
    }
    assert_eq!(broker.stats().sessions, 0);
}

#[tokio::test]
async fn challenge_that_is_larger_than_the_client_takes_is_not_sent() {
    let broker = start().await;
    let Packet::Connect(mut connect) = connect("sum", "ann") else { unreachable!() };
    let size = Property::MaximumPacketSize(PacketSize::new(10).unwrap());
    connect.properties = connect.properties.with(size);
    let mut client = Raw::open(&broker).await;
    say(&mut client, [Packet::Connect(connect)]).await;
    match client.next().await {
        Some(Packet::ConnAck(ack)) => assert_eq!(ack.code, ReasonCode::PACKET_TOO_LARGE),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn client_may_authenticate_again_while_all_else_goes_on() {
    let broker = start().await;
    let mut client = known(&broker, "ann").await;
    for _ in 0..2 {
        say(&mut client, [auth(ReasonCode::REAUTHENTICATE, "ann")]).await;
        assert_eq!(client.next().await, Some(answer("1+2")));
        client.is_served().await;
        say(&mut client, [answer("3")]).await;
        assert_eq!(client.next().await, Some(answer("3+4")));
        say(&mut client, [answer("7")]).await;
        assert_eq!(client.next().await, Some(auth(ReasonCode::SUCCESS, "well")));
    }
    client.is_served().await;
}

#[tokio::test]
async fn who_fails_to_authenticate_again_is_sent_away() {
    let again = |name| auth(ReasonCode::REAUTHENTICATE, name);
    let cases = [
        ("wrong answer", vec![again("ann"), answer("4")], 0x87),
        ("somebody else", vec![again("bob"), answer("3"), answer("7")], 0x87),
        ("answer to nothing", vec![answer("3")], 0x82),
        ("from the beginning", vec![again("ann"), again("ann")], 0x82),
        (
            "no method",
            vec![Packet::Auth(Disconnect {
                code: ReasonCode::REAUTHENTICATE,
                properties: Properties::new(),
            })],
            0x82,
        ),
    ];
    let broker = start().await;
    for (name, packets, code) in cases {
        let mut client = known(&broker, "ann").await;
        match exchange(&mut client, packets).await {
            Some(Packet::Disconnect(disconnect)) => {
                assert_eq!(disconnect.code.get(), code, "{name}");
            }
            other => panic!("{name}: {other:?}"),
        }
        assert_eq!(client.next().await, None, "{name}");
    }
}

#[tokio::test]
async fn who_names_no_method_takes_no_part_in_an_exchange() {
    let broker = start().await;
    let mut client = Raw::open(&broker).await;
    client.send(b"\x10\x0E\0\x04MQTT\x05\x02\0\0\0\0\x01c").await;
    match client.next().await {
        Some(Packet::ConnAck(ack)) => {
            assert_eq!((ack.code, ack.properties), (ReasonCode::NOT_AUTHORIZED, Properties::new()));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(client.next().await, None);
}

/// Knows no method.
#[derive(Debug)]
struct Nobody;

impl Auth for Nobody {
    fn authenticate(&self, _: Login) -> AuthFuture<'_> {
        Box::pin(async { Err(Denied::NotAuthorized) })
    }

    fn may_stay(&self, _: &User) -> bool {
        false
    }
}

#[tokio::test]
async fn listener_with_an_auth_of_its_own_has_its_methods_then_and_later() {
    let broker = Broker::builder().auth(Nobody).listen(([127, 0, 0, 1], 0).into());
    let broker = broker.start().await.unwrap();
    let own = broker.listen(Listener::tcp(([127, 0, 0, 1], 0)).auth(Sums)).await.unwrap();
    let mut client = known_at(own.local_addr().unwrap(), "ann").await;
    let again = [auth(ReasonCode::REAUTHENTICATE, "ann"), answer("3"), answer("7")];
    let done = exchange(&mut client, again).await;
    assert_eq!(done, Some(auth(ReasonCode::SUCCESS, "well")));
    client.is_served().await;

    let mut stranger = Raw::open(&broker).await;
    match exchange(&mut stranger, [connect("sum", "ann")]).await {
        Some(Packet::ConnAck(ack)) => assert_eq!(ack.code, ReasonCode::BAD_AUTHENTICATION_METHOD),
        other => panic!("{other:?}"),
    }
}
