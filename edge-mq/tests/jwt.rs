//! Users by token, with clients that we did not write and over raw sockets: who gets in, in which
//! groups, and when a token's time is over.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "tokens count by the clock on the wall")]
#[path = "support/device.rs"]
mod device;
#[path = "support/raw.rs"]
mod raw;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use device::{Options, Seen, VERSIONS, got};
use edge_mq::access::{Jwt, JwtKey, Rule, Rules};
use edge_mq::packet::{Connect, Disconnect, Packet, Property, Version};
use edge_mq::{Broker, Limits, ReasonCode};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use raw::Raw;
use serde_json::json;

const SECRET: &[u8] = &[7; 32];
const HOUR: u64 = 3600;
/// Long enough to get in with.
const BRIEF: u64 = 2;

/// A token of ann, of the crew, for so many seconds from now.
fn token(seconds: u64) -> &'static str {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let claims = json!({ "sub": "ann", "exp": now + seconds as f64, "groups": ["crew"] });
    let header = Header::new(Algorithm::HS256);
    // The clients of these tests want texts that last.
    encode(&header, &claims, &EncodingKey::from_secret(SECRET)).unwrap().leak()
}

fn users() -> Jwt {
    Jwt::new([JwtKey::hs256(SECRET).unwrap()]).leeway(Duration::ZERO)
}

async fn start(users: Jwt) -> Broker {
    let rules: Rules = [
        Rule::allow("of/%u").unwrap(),
        Rule::allow("crew/#").unwrap().group("crew".parse().unwrap()),
    ]
    .into();
    let mut limits = Limits::default();
    // Nothing else looks at a connection meanwhile.
    limits.write_within = Duration::from_secs(HOUR);
    let builder = Broker::builder().auth(users).acl(rules).limits(limits);
    builder.listen(([127, 0, 0, 1], 0).into()).start().await.unwrap()
}

#[tokio::test]
async fn token_says_who_a_client_is_and_in_which_groups() {
    let broker = start(users()).await;
    let addr = broker.local_addr().unwrap();
    for version in VERSIONS {
        let client = |name, token| Options::new(version, "client").user(name, token);
        assert!(Options::new(version, "client").is_refused(addr).await);
        assert!(client("ann", "correct horse").is_refused(addr).await);
        assert!(client("bob", token(HOUR)).is_refused(addr).await);
        let mut ann = client("ann", token(HOUR)).connect(addr).await;
        for topic in ["of/ann", "crew/x"] {
            ann.subscribe(topic, 1).await;
            ann.publish(topic, 0, false, "1").await;
            assert_eq!(ann.message().await, got(topic, "1", 0, false));
        }
        ann.disconnect().await;
    }
    assert_eq!(broker.stats().denied_logins, 6);
}

#[tokio::test]
async fn new_keys_let_others_in_and_send_nobody_away() {
    let users = users();
    let broker = start(users.clone()).await;
    let addr = broker.local_addr().unwrap();
    let mut early = Options::new(VERSIONS[0], "early").user("ann", token(HOUR)).connect(addr).await;
    users.set_keys([JwtKey::hs256(&[8; 32]).unwrap()]);
    assert!(Options::new(VERSIONS[0], "late").user("ann", token(HOUR)).is_refused(addr).await);
    broker.set_auth(users);
    early.subscribe("of/ann", 1).await;
    early.publish("of/ann", 0, false, "1").await;
    assert_eq!(early.message().await, got("of/ann", "1", 0, false));
}

#[tokio::test]
async fn connection_ends_with_its_token() {
    let broker = start(users()).await;
    let addr = broker.local_addr().unwrap();
    let mut old = Options::new(VERSIONS[0], "old").user("ann", token(BRIEF)).connect(addr).await;
    let new = shown(&broker, "new", token(BRIEF)).await;
    assert_eq!(new.disconnected().await, Some(ReasonCode::MAXIMUM_CONNECT_TIME));
    assert_eq!(old.next().await, Seen::Closed);
    assert_eq!(broker.stats().expired_logins, 2);
}

/// The properties of CONNECT and AUTH that show a token.
fn showing(token: &'static str) -> [Property; 2] {
    let method = Property::AuthenticationMethod("JWT".parse().unwrap());
    [method, Property::AuthenticationData(token.into())]
}

async fn say(client: &mut Raw, packet: Packet) {
    let mut bytes = BytesMut::new();
    packet.encode(Version::V5, &mut bytes);
    client.send(&bytes).await;
}

/// A client that is in by a token that it showed as authentication data.
async fn shown(broker: &Broker, client_id: &str, token: &'static str) -> Raw {
    let mut client = Raw::open(broker).await;
    let connect = Connect {
        version: Version::V5,
        client_id: client_id.parse().unwrap(),
        clean_start: true,
        keep_alive: 0,
        will: None,
        username: None,
        password: None,
        properties: showing(token).into_iter().collect(),
    };
    say(&mut client, Packet::Connect(Box::new(connect))).await;
    match client.next().await {
        Some(Packet::ConnAck(ack)) if ack.code == ReasonCode::SUCCESS => client,
        other => panic!("{other:?} in place of CONNACK"),
    }
}

async fn show_again(client: &mut Raw, token: &'static str) {
    let properties = showing(token).into_iter().collect();
    let auth = Disconnect { code: ReasonCode::REAUTHENTICATE, properties };
    say(client, Packet::Auth(auth)).await;
}

#[tokio::test]
async fn client_that_shows_a_new_token_stays_as_long_as_that_is_valid() {
    let broker = start(users()).await;
    let mut renewed = shown(&broker, "renewed", token(BRIEF)).await;
    show_again(&mut renewed, token(HOUR)).await;
    let answer = renewed.next().await;
    assert!(matches!(&answer, Some(Packet::Auth(auth)) if auth.code == ReasonCode::SUCCESS));
    // The time of the first one is over when one is that was made later.
    let other = shown(&broker, "other", token(BRIEF + 1)).await;
    assert_eq!(other.disconnected().await, Some(ReasonCode::MAXIMUM_CONNECT_TIME));
    renewed.send(&[0xC0, 0]).await;
    assert_eq!(renewed.next().await, Some(Packet::PingResp));
    // The last one counts, not the longest.
    show_again(&mut renewed, token(BRIEF)).await;
    assert!(matches!(renewed.next().await, Some(Packet::Auth(_))));
    assert_eq!(renewed.disconnected().await, Some(ReasonCode::MAXIMUM_CONNECT_TIME));
}

#[tokio::test]
async fn client_that_shows_a_wrong_token_later_is_sent_away() {
    let broker = start(users()).await;
    let mut client = shown(&broker, "c", token(HOUR)).await;
    show_again(&mut client, "no.token.atall").await;
    assert_eq!(client.disconnected().await, Some(ReasonCode::NOT_AUTHORIZED));
}

#[cfg(feature = "tls")]
#[test]
fn who_shows_no_certificate_may_authenticate_by_token_where_both_are_taken() {
    use edge_mq::access::{Auth, Certificates, Login};
    let login = Login::new("client".parse().unwrap());
    let alone = Certificates::by_common_name();
    assert!(alone.exchange("JWT", &login).is_none());
    let both = alone.or(users());
    assert!(both.exchange("JWT", &login).is_some());
    assert!(both.exchange("SCRAM-SHA-256", &login).is_none());
}
