//! Who gets in, and who may do what, with a client that we did not write.

#![cfg(feature = "passwords")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/device.rs"]
mod device;

use device::{Options, Seen, VERSIONS, got};
use edge_mq::access::{Passwords, Rule, Rules, hash_password};
use edge_mq::{Broker, BrokerBuilder, Listener, Message, StartError};

/// Of ann, in the group `crew`, and bob; their passwords are `one` and `two`.
fn users(names: &[&str]) -> Passwords {
    let mut users = Passwords::new();
    for (name, password, group) in [("ann", "one", Some("crew")), ("bob", "two", None)] {
        if names.contains(&name) {
            let hash = hash_password(password.as_bytes()).unwrap();
            let groups = group.map(|group| group.parse().unwrap());
            users = users.user(name.parse().unwrap(), &hash, groups).unwrap();
        }
    }
    users
}

fn rules() -> Rules {
    let crew = |rule: Rule| rule.group("crew".parse().unwrap());
    [
        crew(Rule::allow("#").unwrap()),
        Rule::allow("of/%u/%c").unwrap(),
        Rule::allow("news").unwrap().read(),
    ]
    .into()
}

fn here() -> BrokerBuilder {
    Broker::builder().listen(([127, 0, 0, 1], 0).into())
}

#[tokio::test]
async fn only_who_has_the_password_gets_in() {
    let broker = here().auth(users(&["ann"])).start().await.unwrap();
    let addr = broker.local_addr().unwrap();
    for version in VERSIONS {
        let client = || Options::new(version, "client");
        assert!(client().is_refused(addr).await);
        assert!(client().user("ann", "two").is_refused(addr).await);
        assert!(client().user("eve", "one").is_refused(addr).await);
        client().user("ann", "one").connect(addr).await.disconnect().await;
    }
    assert_eq!(broker.stats().denied_logins, 6);
    broker.set_auth(users(&["ann"]).anonymous(true));
    Options::new(VERSIONS[0], "guest").connect(addr).await.disconnect().await;
}

#[tokio::test]
async fn user_who_is_removed_is_sent_away_and_others_stay() {
    let broker = here().auth(users(&["ann", "bob"])).start().await.unwrap();
    let addr = broker.local_addr().unwrap();
    for version in VERSIONS {
        let mut ann = Options::new(version, "a").user("ann", "one").connect(addr).await;
        let mut bob = Options::new(version, "b").user("bob", "two").connect(addr).await;
        broker.set_auth(users(&["ann"]));
        assert_eq!(bob.next().await, Seen::Closed);
        ann.subscribe("x", 0).await;
        ann.publish("x", 0, false, "still here").await;
        assert_eq!(ann.message().await, got("x", "still here", 0, false));
        broker.set_auth(users(&["ann", "bob"]));
    }
}

#[tokio::test]
async fn each_does_what_its_rules_allow() {
    let broker = here().auth(users(&["ann", "bob"])).acl(rules()).start().await.unwrap();
    let addr = broker.local_addr().unwrap();
    for version in VERSIONS {
        let mut ann = Options::new(version, "a").user("ann", "one").connect(addr).await;
        let mut bob = Options::new(version, "b").user("bob", "two").connect(addr).await;
        ann.subscribe("of/#", 1).await;
        bob.subscribe("news", 1).await;
        bob.publish("of/bob/b", 1, false, "own").await;
        assert_eq!(bob.acknowledgement().await, Ok(()));
        assert_eq!(ann.message().await, got("of/bob/b", "own", 1, false));
        ann.publish("news", 1, false, "from the crew").await;
        assert_eq!(bob.message().await, got("news", "from the crew", 1, false));
        // MQTT 5.0 says what is wrong, 3.1.1 can only close.
        bob.publish("news", 1, false, "forged").await;
        match version {
            device::Version::V5 => {
                assert_eq!(bob.acknowledgement().await, Err("NotAuthorized".to_owned()));
            }
            device::Version::V311 => assert_eq!(bob.next().await, Seen::Closed),
        }
    }
    // The application may do everything.
    let local = broker.local();
    local.publish(Message::new("anything".parse().unwrap(), "")).await.unwrap();
    assert_eq!(broker.stats().denied, 2);
}

#[tokio::test]
async fn broker_without_authentication_is_not_open_to_the_network() {
    let anywhere = ([0, 0, 0, 0], 0).into();
    let error = Broker::builder().listen(Listener::tcp(anywhere)).start().await.unwrap_err();
    assert!(matches!(error, StartError::Open { addr } if addr == anywhere), "{error}");
    assert!(error.to_string().contains("0.0.0.0:0"), "{error}");
}
