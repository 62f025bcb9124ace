//! What the broker tells `tracing`: who comes, goes and is refused, when it begins and ends to refuse
//! what is to be stored, and that one event comes of one thing. Each test has a thread of its own, and
//! so has its broker, but for the thread that commits.

#![cfg(all(feature = "db", feature = "passwords"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/device.rs"]
mod device;
#[path = "support/disk.rs"]
mod disk;
#[path = "support/heard.rs"]
mod heard;
#[path = "support/raw.rs"]
mod raw;

use std::time::Duration;

use device::{Options, VERSIONS, Version};
use edge_mq::access::{Auth, AuthFuture, Login, Passwords, User, hash_password};
use edge_mq::{Broker, BrokerBuilder, Limits, ReasonCode, WhenDiskFull};
use heard::{Heard, all, all_of, listen, wait_for};
use raw::Raw;
use tracing::Level;
use tracing::subscriber::NoSubscriber;

async fn start(builder: BrokerBuilder) -> Broker {
    listen();
    builder.listen(([127, 0, 0, 1], 0).into()).start().await.unwrap()
}

fn is_about(client_id: &str, message: &str) -> impl Fn(&Heard) -> bool {
    move |heard: &Heard| {
        let is_it = heard.fields.get("client_id").is_some_and(|found| found == client_id);
        is_it && heard.message == message
    }
}

#[tokio::test]
async fn broker_tells_of_its_begin_its_listeners_and_its_end_once() {
    let broker = start(Broker::builder()).await;
    let started = all_of("broker started");
    assert_eq!(started.len(), 1);
    assert_eq!(started[0].field("is_stored"), "false");
    let listening = all_of("listening").remove(0);
    let address = broker.local_addr().unwrap().to_string();
    assert_eq!((listening.level, listening.field("address")), (Level::INFO, &*address));
    assert_eq!(listening.field("protocol"), "mqtt");
    let second = broker.listen(([127, 0, 0, 1], 0).into()).await.unwrap();
    second.close().await;
    assert_eq!(all_of("listener closed")[0].field("address"), second.to_string());
    let mut away =
        Options::new(Version::V5, "away").kept().connect(broker.local_addr().unwrap()).await;
    away.subscribe("a", 1).await;
    away.disconnect().await;
    let mut device = Options::new(Version::V5, "here").connect(broker.local_addr().unwrap()).await;
    device.publish("a", 1, false, "x").await;
    assert_eq!(device.acknowledgement().await, Ok(()));
    for _ in 0..2 {
        broker.shutdown(Duration::from_secs(60)).await.unwrap();
    }
    let stopped = all_of("broker stopped");
    assert_eq!(stopped.len(), 1);
    let left = ["connections", "uncommitted", "undelivered"].map(|name| stopped[0].field(name));
    assert_eq!((stopped[0].level, left), (Level::INFO, ["0", "0", "1"]));
}

#[tokio::test]
async fn who_comes_and_goes_is_told_with_name_address_and_reason() {
    let broker = start(Broker::builder()).await;
    let address = broker.local_addr().unwrap();
    for (version, spelled) in VERSIONS.into_iter().zip(["3.1.1", "5.0"]) {
        let name = format!("guest-{spelled}");
        let (came, went) =
            (is_about(&name, "client connected"), is_about(&name, "client disconnected"));
        for (visit, session_present) in [(1, "false"), (2, "true")] {
            let device = Options::new(version, &name).kept().connect(address).await;
            let event = wait_for(visit, &came).await;
            assert_eq!((event.level, event.field("version")), (Level::INFO, spelled));
            assert_eq!(event.field("session_present"), session_present);
            let from = event.field("address").to_owned();
            assert!(from.starts_with("127.0.0.1:"), "{from}");
            device.disconnect().await;
            let event = wait_for(visit, &went).await;
            assert_eq!((event.level, event.field("reason")), (Level::INFO, "client said goodbye"));
            assert_eq!((event.field("address"), event.field("version")), (&*from, spelled));
        }
        drop(Options::new(version, &name).connect(address).await);
        let reason = wait_for(3, &went).await.field("reason").to_owned();
        assert!(["client closed the connection", "connection is lost"].contains(&&*reason));
        let _first = Options::new(version, &name).connect(address).await;
        // Its session is gone when it hears of it.
        let _second = Options::new(version, &name).connect(address).await;
        assert_eq!(wait_for(4, &went).await.field("reason"), "0x8e SESSION_TAKEN_OVER");
        assert!(broker.disconnect(&name, ReasonCode::SERVER_BUSY));
        assert_eq!(wait_for(5, &went).await.field("reason"), "0x89 SERVER_BUSY");
    }
    let nameless = Raw::connect(&broker, b"").await;
    let is_named = |heard: &Heard| {
        let name = heard.fields.get("client_id");
        heard.message == "client connected" && name.is_some_and(|name| name.starts_with("edge-"))
    };
    wait_for(1, is_named).await;
    drop(nameless);
}

#[tokio::test]
async fn who_came_while_nobody_listened_is_named_when_it_goes() {
    let broker = start(Broker::builder()).await;
    let device = {
        let _deaf = tracing::subscriber::set_default(NoSubscriber::new());
        Options::new(Version::V5, "early").connect(broker.local_addr().unwrap()).await
    };
    device.disconnect().await;
    let event = wait_for(1, is_about("early", "client disconnected")).await;
    assert!(!event.fields.contains_key("address"));
    assert!(!all().into_iter().any(|heard| is_about("early", "client connected")(&heard)));
}

#[tokio::test]
async fn denied_login_tells_the_user_and_never_the_password() {
    let hash = hash_password(b"t0p-s3cret").unwrap();
    let users = Passwords::new().user("ann".parse().unwrap(), &hash, []).unwrap();
    let broker = start(Broker::builder().auth(users)).await;
    let address = broker.local_addr().unwrap();
    for (version, name) in VERSIONS.into_iter().zip(["denied-3", "denied-5"]) {
        let wrong = Options::new(version, name).user("ann", "n0t-s3cret");
        assert!(wrong.is_refused(address).await);
        let event = wait_for(1, is_about(name, "login denied")).await;
        assert_eq!((event.level, event.field("username")), (Level::WARN, "ann"));
        assert_eq!(event.field("reason"), "0x86 BAD_USER_NAME_OR_PASSWORD");
        assert!(event.field("address").starts_with("127.0.0.1:"));
    }
    let right = Options::new(Version::V5, "mine").kept().user("ann", "t0p-s3cret");
    right.connect(address).await.disconnect().await;
    wait_for(1, is_about("mine", "client disconnected")).await;
    let told = format!("{:?}", all());
    assert!(!told.contains("s3cret") && !told.contains(hash.as_str()));
}

/// Another user than the one whose session it is.
#[derive(Debug)]
struct ByTurns(std::sync::atomic::AtomicUsize);

impl Auth for ByTurns {
    fn authenticate(&self, _: Login) -> AuthFuture<'_> {
        let turn = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Box::pin(async move {
            tracing::info!(target: "edge_mq", turn, "somebody is looked up");
            Ok(User::named(format!("user-{turn}").parse().unwrap()))
        })
    }

    fn may_stay(&self, _: &User) -> bool {
        true
    }
}

#[tokio::test]
async fn what_an_auth_tells_is_within_the_span_of_its_connection() {
    let broker = start(Broker::builder().auth(ByTurns(0.into()))).await;
    let address = broker.local_addr().unwrap();
    let _device = Options::new(Version::V5, "spanned").kept().connect(address).await;
    let event = all_of("somebody is looked up").remove(0);
    assert_eq!(event.around["client_id"], "spanned");
    assert!(event.around["address"].starts_with("127.0.0.1:"));
    // Once it is in, the span is over.
    let came = wait_for(1, is_about("spanned", "client connected")).await;
    assert_eq!(came.field("username"), "user-0");

    assert!(Options::new(Version::V5, "spanned").is_refused(address).await);
    let denied = wait_for(1, is_about("spanned", "login denied")).await;
    assert_eq!(denied.field("reason"), "0x85 CLIENT_IDENTIFIER_NOT_VALID");
    assert_eq!(denied.field("username"), "user-1");
}

#[tokio::test]
async fn garbage_is_told_with_what_is_wrong_with_it() {
    let broker = start(Broker::builder()).await;
    let mut raw = Raw::open(&broker).await;
    raw.send(b"GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(raw.next().await, None);
    let event = all_of("protocol error").remove(0);
    assert_eq!((event.level, event.fields.contains_key("client_id")), (Level::WARN, false));
    assert!(event.field("error").starts_with("protocol error: "), "{event:?}");
    assert!(event.field("address").starts_with("127.0.0.1:"));

    let mut raw = Raw::connect(&broker, b"garbler").await;
    raw.send(&[0x36, 2, 0, 0]).await;
    raw.disconnected().await;
    let event = wait_for(1, is_about("garbler", "protocol error")).await;
    assert_eq!(event.field("error"), "malformed packet: message has QoS 3");
    let event = wait_for(1, is_about("garbler", "client disconnected")).await;
    assert_eq!(event.field("reason"), "0x81 MALFORMED_PACKET");
}

#[tokio::test]
async fn refusals_by_limits_are_for_those_who_look_closely() {
    let mut limits = Limits::default();
    limits.connections = 1;
    let broker = start(Broker::builder().limits(limits)).await;
    let _first = Raw::connect(&broker, b"first").await;
    assert_eq!(Raw::open(&broker).await.next().await, None);
    let event = all_of("connection refused").remove(0);
    assert_eq!((event.level, event.field("reason")), (Level::DEBUG, "too many connections"));
}

/// Tests that fill one count what is told of it, one after the other.
static DISK: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test]
async fn full_disk_is_told_when_it_begins_and_when_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let (db, ballast) = disk::open(dir.path());
    let mut limits = Limits::default();
    limits.when_disk_full = WhenDiskFull::Wait;
    let broker = start(Broker::builder().limits(limits).db(&db)).await;
    broker.journal("all/#".parse().unwrap(), "all").await.unwrap();
    let mut writer = Raw::connect(&broker, b"writer").await;
    let _turn = DISK.lock().await;
    let told = |message: &str| all().iter().filter(|heard| heard.message == message).count();
    let earlier = [told("disk is full"), told("commits succeed again")];
    let count = |message| told(message) - earlier[usize::from(message != "disk is full")];
    for round in 1..=2 {
        disk::fill(&db, &ballast);
        let before = broker.stats().disk_full;
        writer.send(b"\x32\x0A\0\x05all/x\0\x01\0").await;
        while broker.stats().disk_full < before + 3 {
            tokio::task::yield_now().await;
        }
        assert_eq!((count("disk is full"), count("commits succeed again")), (round, round - 1));
        disk::make_room(&db, &ballast);
        assert!(writer.next().await.is_some());
        let end =
            wait_for(earlier[1] + round, |heard| heard.message == "commits succeed again").await;
        assert_eq!((count("disk is full"), end.level), (round, Level::INFO));
        assert!(end.field("refused").parse::<u64>().unwrap() >= 3);
    }
    let begin = wait_for(1, |heard| heard.message == "disk is full").await;
    assert_eq!(begin.level, Level::ERROR);
    assert!(begin.field("error").contains("disk budget is used up"), "{begin:?}");
}

/// Each message is a commit of its own here, which the thread of its connection may do.
#[tokio::test(flavor = "multi_thread")]
async fn lone_publisher_ends_what_its_refused_message_began() {
    let dir = tempfile::tempdir().unwrap();
    let (db, ballast) = disk::open(dir.path());
    let broker = start(Broker::builder().db(&db)).await;
    broker.journal("all/#".parse().unwrap(), "all").await.unwrap();
    let mut writer = Raw::connect(&broker, b"lone").await;
    let message = b"\x32\x0A\0\x05all/x\0\x01\0";
    for _ in 0..20 {
        writer.send(message).await;
        assert!(writer.next().await.is_some());
    }
    let _turn = DISK.lock().await;
    let ends = || all().iter().filter(|heard| heard.message == "commits succeed again").count();
    let before = ends();
    disk::fill(&db, &ballast);
    writer.send(message).await;
    assert!(writer.next().await.is_some());
    assert_eq!(ends(), before);
    disk::make_room(&db, &ballast);
    // Room is known a little later.
    while disk::add(&db, &ballast, 0).is_err() {
        db.checkpoint().unwrap();
    }
    writer.send(message).await;
    assert!(writer.next().await.is_some());
    assert_eq!(ends(), before + 1);
}

#[tokio::test]
async fn message_for_a_full_log_is_told_and_the_disk_is_not_blamed() {
    let dir = tempfile::tempdir().unwrap();
    let (db, _ballast) = disk::open(dir.path());
    let log = db.log_with("brim", edge_db::LogOptions::new().max_bytes(1000)).unwrap();
    let _cursor = log.cursor("reader").unwrap();
    while log.append(edge_db::Entry::new("x")).is_ok() {}
    let broker = start(Broker::builder().db(&db)).await;
    broker.journal("brim/#".parse().unwrap(), "brim").await.unwrap();
    let writer = Options::new(Version::V5, "brimmer").connect(broker.local_addr().unwrap()).await;
    writer.publish("brim/x", 1, false, "refused").await;
    let event = wait_for(1, |heard| heard.message == "message not stored").await;
    assert_eq!(event.level, Level::WARN);
    assert!(event.field("error").contains("brim"), "{event:?}");
    assert!(!all().iter().any(|heard| heard.message == "commits fail"));
}

#[tokio::test]
async fn what_is_in_force_from_now_on_is_told() {
    let broker = start(Broker::builder().auth(Passwords::new())).await;
    broker.set_auth(Passwords::new());
    broker.set_acl(edge_mq::access::Rules::default());
    let own = edge_mq::Listener::tcp(([127, 0, 0, 1], 0)).auth(Passwords::new());
    let own = broker.listen(own).await.unwrap();
    assert!(own.set_auth(Passwords::new()));
    let users = all_of("users replaced");
    assert_eq!((users.len(), users[0].fields.contains_key("address")), (2, false));
    assert_eq!(users[1].field("address"), own.to_string());
    assert_eq!(all_of("rules replaced").len(), 1);
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn certificates_that_are_read_again_are_told_and_why_they_are_not() {
    listen();
    let made = rcgen::generate_simple_self_signed(["gateway".to_owned()]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gateway.pem");
    std::fs::write(&file, made.cert.pem()).unwrap();
    let key = edge_mq::Pem::text(made.signing_key.serialize_pem());
    let tls = edge_mq::Tls::builder(edge_mq::Pem::file(&file), key).build().unwrap();
    tls.reload().unwrap();
    std::fs::write(&file, "nothing").unwrap();
    tls.reload().unwrap_err();
    let (done, failed) =
        (all_of("certificate reloaded").remove(0), all_of("certificate not reloaded").remove(0));
    assert_eq!((done.level, failed.level), (Level::INFO, Level::ERROR));
    assert_eq!(done.field("certificate"), file.display().to_string());
    assert!(failed.field("error").contains("holds no certificate"), "{failed:?}");
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn failed_handshake_is_told() {
    let made = rcgen::generate_simple_self_signed(["gateway".to_owned()]).unwrap();
    let (pem, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let tls = edge_mq::Tls::builder(edge_mq::Pem::text(pem), edge_mq::Pem::text(key));
    let listener = edge_mq::Listener::tcp(([127, 0, 0, 1], 0)).tls(&tls.build().unwrap());
    listen();
    let broker = Broker::builder().listen(listener).start().await.unwrap();
    assert_eq!(all_of("listening")[0].field("protocol"), "mqtts");
    let mut raw = Raw::open(&broker).await;
    raw.send(b"\x10\x0D\0\x04MQTT\x05\x02\0\0\0\0\0").await;
    let event = wait_for(1, |heard| heard.message == "handshake failed").await;
    assert_eq!(event.level, Level::WARN);
    assert!(!event.field("error").is_empty());
}

#[cfg(feature = "bridge")]
#[tokio::test]
async fn bridge_that_finds_nobody_is_told_once_and_when_it_is_connected() {
    use edge_mq::bridge::{Bridge, Rule};
    let dir = tempfile::tempdir().unwrap();
    let db = edge_db::Db::open(dir.path()).unwrap();
    let broker = start(Broker::builder().db(&db)).await;
    // A port that is nobody's.
    let remote = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let bridge = Bridge::new("cloud")
        .remote(remote.to_string())
        .send(Rule::new("a".parse().unwrap()))
        .retry(Duration::from_millis(1), Duration::from_millis(1));
    broker.add_bridge(bridge).await.unwrap();
    wait_for(4, |heard| heard.message == "bridge lost").await;
    let lost = all_of("bridge lost");
    assert_eq!((lost[0].field("bridge"), lost[0].field("remote")), ("cloud", &*remote.to_string()));
    let levels: Vec<_> = lost.iter().map(|heard| heard.level).take(4).collect();
    assert_eq!(levels, [Level::WARN, Level::DEBUG, Level::DEBUG, Level::DEBUG]);
    let cloud = Broker::builder().listen(remote.into()).start().await.unwrap();
    let event = wait_for(1, |heard| heard.message == "bridge connected").await;
    assert_eq!((event.level, event.field("bridge")), (Level::INFO, "cloud"));
    let seen = all_of("bridge lost").len();
    cloud.shutdown(Duration::from_secs(60)).await.unwrap();
    wait_for(seen + 1, |heard| heard.message == "bridge lost").await;
    assert_eq!(all_of("bridge lost")[seen].level, Level::WARN);
}
