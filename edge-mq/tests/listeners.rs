//! Listeners: several at once, each with limits and rules of its own, opened and closed while the
//! broker runs; Unix sockets, and proxies that say for whom they connect.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/device.rs"]
mod device;
#[path = "support/raw.rs"]
mod raw;

use std::net::SocketAddr;
use std::time::Duration;

use device::{Options, Seen, VERSIONS};
use edge_mq::access::{Auth, AuthFuture, Denied, Login, User};
use edge_mq::packet::{Packet, Property};
use edge_mq::{Broker, Limits, Listener, ReasonCode};
use raw::Raw;
use tokio::sync::mpsc;

fn here() -> Listener {
    Listener::tcp(([127, 0, 0, 1], 0))
}

async fn open(broker: &Broker, listener: Listener) -> SocketAddr {
    broker.listen(listener).await.unwrap().local_addr().unwrap()
}

/// MQTT 5.0, clean start, no keep alive, client identifier `c`.
const CONNECT: &[u8] = b"\x10\x0E\0\x04MQTT\x05\x02\0\0\0\0\x01c";

#[tokio::test]
async fn each_listener_has_its_own_limits() {
    let broker = Broker::builder().listen(here()).start().await.unwrap();
    let narrow = open(&broker, here().connections(1).packet_bytes(100)).await;
    let wide = broker.local_addr().unwrap();
    // The packet size is told, and holds.
    let mut first = Raw::to(narrow).await;
    first.send(CONNECT).await;
    let Some(Packet::ConnAck(ack)) = first.next().await else { panic!("no CONNACK") };
    let told = ack.properties.iter().any(
        |property| matches!(property, Property::MaximumPacketSize(bytes) if bytes.get() == 100),
    );
    assert!(told, "{ack:?}");
    // There is room for one here, and for more elsewhere.
    assert_eq!(Raw::to(narrow).await.next().await, None);
    assert_eq!(broker.stats().refused_connections, 1);
    let mut elsewhere = Raw::to(wide).await;
    elsewhere.send(CONNECT).await;
    assert!(matches!(elsewhere.next().await, Some(Packet::ConnAck(_))));
    assert_eq!(first.disconnected().await, Some(ReasonCode::SESSION_TAKEN_OVER));
    elsewhere.send(&[&b"\x30\xC8\x01\0\x01a\0"[..], &[7; 196]].concat()).await;
    elsewhere.send(&[0xC0, 0]).await;
    assert_eq!(elsewhere.next().await, Some(Packet::PingResp));
    // Room that is given back is there again, once the broker has noticed.
    let mut again = loop {
        let mut again = Raw::to(narrow).await;
        again.try_send(CONNECT).await;
        match again.next().await {
            Some(_) => break again,
            None => tokio::task::yield_now().await,
        }
    };
    again.send(&[&b"\x30\xC8\x01\0\x01a\0"[..], &[7; 196]].concat()).await;
    assert_eq!(again.disconnected().await, Some(ReasonCode::PACKET_TOO_LARGE));
}

#[tokio::test]
async fn crowd_at_one_listener_keeps_nobody_out_of_another() {
    let mut limits = Limits::default();
    limits.connections = 2;
    let broker = Broker::builder().limits(limits).start().await.unwrap();
    let (crowded, other) = (open(&broker, here()).await, open(&broker, here()).await);
    // The broker runs in this thread, so that it accepts nobody before all are there.
    let crowd = [(); 2].map(|()| std::net::TcpStream::connect(crowded).unwrap());
    let one = std::net::TcpStream::connect(other).unwrap();
    one.set_nonblocking(true).unwrap();
    let mut one = Raw::on(tokio::net::TcpStream::from_std(one).unwrap());
    one.send(CONNECT).await;
    assert!(matches!(one.next().await, Some(Packet::ConnAck(_))));
    drop(crowd);
}

#[tokio::test]
async fn who_says_nothing_in_the_time_of_its_listener_is_closed() {
    let mut limits = Limits::default();
    limits.connect_within = raw::FOR_EVER;
    let broker = Broker::builder().limits(limits).listen(here()).start().await.unwrap();
    let mut patient = Raw::open(&broker).await;
    let brief = || here().connect_within(Duration::from_millis(50));
    let listeners = [
        brief(),
        brief().proxy_protocol(),
        #[cfg(feature = "ws")]
        brief().websocket(),
    ];
    for listener in listeners {
        let addr = open(&broker, listener).await;
        for bytes in [&b""[..], b"\r", b"G"] {
            let mut silent = Raw::to(addr).await;
            silent.send(bytes).await;
            assert_eq!(silent.next().await, None);
        }
    }
    patient.send(CONNECT).await;
    assert!(matches!(patient.next().await, Some(Packet::ConnAck(_))));
}

#[tokio::test]
async fn closed_listener_lets_nobody_in_and_its_connections_go_on() {
    let broker = Broker::builder().start().await.unwrap();
    let first = broker.listen(here()).await.unwrap();
    let second = open(&broker, here()).await;
    let addr = first.local_addr().unwrap();
    assert_eq!(first.to_string(), addr.to_string());
    let mut device = Options::new(VERSIONS[0], "device").connect(addr).await;
    first.close().await;
    assert!(Options::new(VERSIONS[0], "late").is_refused(addr).await);
    device.is_served().await;
    let mut other = Options::new(VERSIONS[0], "other").connect(second).await;
    other.is_served().await;
    // The port is free for another one.
    assert_eq!(open(&broker, addr.into()).await, addr);
    Options::new(VERSIONS[0], "late").connect(addr).await.is_served().await;
    first.close().await;
    Options::new(VERSIONS[0], "late").connect(addr).await.is_served().await;
    broker.shutdown(raw::FOR_EVER).await.unwrap();
    first.close().await;
}

/// Lets one user name in, without a password, and tells of all who try.
#[derive(Debug)]
struct Only(&'static str, mpsc::Sender<Login>);

impl Only {
    fn named(name: &'static str) -> (Only, mpsc::Receiver<Login>) {
        let (sender, logins) = mpsc::channel(100);
        (Only(name, sender), logins)
    }
}

impl Auth for Only {
    fn authenticate(&self, login: Login) -> AuthFuture<'_> {
        let name = login.username.clone().filter(|name| name.as_str() == self.0);
        self.1.try_send(login).ok();
        Box::pin(async { name.map(User::named).ok_or(Denied::Credentials) })
    }

    fn may_stay(&self, user: &User) -> bool {
        user.name().is_some_and(|name| name.as_str() == self.0)
    }
}

#[tokio::test]
async fn listener_with_an_auth_of_its_own_asks_and_obeys_no_other() {
    let broker = Broker::builder().auth(Only::named("ann").0).listen(here());
    let broker = broker.start().await.unwrap();
    let common = broker.local_addr().unwrap();
    // It may stand in the open: who comes in here is asked, too.
    let own = Listener::tcp(([0, 0, 0, 0], 0)).auth(Only::named("bob").0);
    let own = broker.listen(own).await.unwrap();
    let port = own.local_addr().unwrap().port();
    let here = SocketAddr::from(([127, 0, 0, 1], port));
    let client = |id, name| Options::new(VERSIONS[1], id).user(name, "");
    assert!(client("a", "ann").is_refused(here).await);
    assert!(client("b", "bob").is_refused(common).await);
    let mut ann = client("a", "ann").connect(common).await;
    let mut bob = client("b", "bob").connect(here).await;
    broker.set_auth(Only::named("eve").0);
    assert_eq!(ann.next().await, Seen::Closed);
    bob.is_served().await;
    assert!(own.set_auth(Only::named("eve").0));
    assert_eq!(bob.next().await, Seen::Closed);
    client("e", "eve").connect(here).await.is_served().await;
    let without = broker.listen(self::here()).await.unwrap();
    assert!(!without.set_auth(Only::named("ann").0), "it has the broker's");
    assert!(client("a", "ann").is_refused(without.local_addr().unwrap()).await);
}

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// `PROXY` or `LOCAL`, the family, and what is behind the length.
fn header(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &len, body].concat()
}

#[tokio::test]
async fn address_that_a_proxy_tells_reaches_the_auth() {
    let (auth, mut logins) = Only::named("nobody");
    let broker = Broker::builder().auth(auth).start().await.unwrap();
    let addr = open(&broker, here().proxy_protocol()).await;
    let v4 = [203, 0, 113, 9, 10, 0, 0, 1, 0x30, 0x39, 7, 0x5B];
    let mut v6 = [0; 36];
    v6[..4].copy_from_slice(&[0x20, 0x01, 0x0D, 0xB8]);
    v6[15] = 9;
    v6[32..34].copy_from_slice(&[0x30, 0x39]);
    // Alpn, and what TLS the proxy took off.
    let more = [&v4[..], b"\x01\0\x04mqtt\x20\0\x05\x01\0\0\0\0"].concat();
    let cases = [
        (header(0x21, 0x11, &v4), Some("203.0.113.9:12345")),
        (header(0x21, 0x11, &more), Some("203.0.113.9:12345")),
        (header(0x21, 0x21, &v6), Some("[2001:db8::9]:12345")),
        (header(0x21, 0x00, b""), None),
        (header(0x21, 0x31, &[0; 216]), None),
    ];
    for (bytes, expected) in cases {
        let mut client = Raw::to(addr).await;
        client.send(&[&bytes[..], CONNECT].concat()).await;
        assert!(matches!(client.next().await, Some(Packet::ConnAck(_))));
        let address = logins.recv().await.unwrap().address;
        assert_eq!(address, expected.map(|text| text.parse().unwrap()), "{bytes:?}");
    }
    // The proxy itself has its own address.
    let mut proxy = Raw::to(addr).await;
    proxy.send(&[&header(0x20, 0, b"")[..], CONNECT].concat()).await;
    let own = logins.recv().await.unwrap().address;
    assert_eq!(own.unwrap().ip().to_string(), "127.0.0.1");
    // No other listener believes it.
    let plain = open(&broker, here()).await;
    let mut liar = Raw::to(plain).await;
    liar.send(&[&header(0x21, 0x11, &v4)[..], CONNECT].concat()).await;
    assert_eq!(liar.next().await, None);
}

#[tokio::test]
async fn connection_without_a_whole_header_is_closed() {
    let broker = Broker::builder().start().await.unwrap();
    let brief = here().proxy_protocol().connect_within(Duration::from_millis(50));
    let addr = open(&broker, brief).await;
    let cases = [
        CONNECT.to_vec(),
        b"PROXY TCP4 203.0.113.9 10.0.0.1 12345 1883\r\n".to_vec(),
        header(0x21, 0x21, &[0; 12]),
        header(0x21, 0x12, &[0; 12]),
        header(0x2F, 0x11, &[0; 12]),
    ];
    for bytes in &cases {
        let mut client = Raw::to(addr).await;
        client.send(&[&bytes[..], CONNECT].concat()).await;
        assert_eq!(client.next().await, None, "{bytes:?}");
    }
    assert_eq!(broker.stats().failed_handshakes, cases.len() as u64);
    // Not all of it comes: closed when the time is up.
    let mut client = Raw::to(addr).await;
    client.send(&header(0x21, 0x11, &[0; 12])[..20]).await;
    assert_eq!(client.next().await, None);
    assert_eq!(broker.stats().protocol_errors, 0);
}

#[cfg(unix)]
mod unix {
    use std::fs;
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};
    use std::os::unix::net::UnixListener;

    use device::Route;

    use super::*;

    #[tokio::test]
    async fn unix_socket_serves_with_the_mode_that_it_was_given_and_goes_away() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mqtt.sock");
        // Without an auth: only this machine reaches it.
        let broker = Broker::builder().listen(Listener::unix(&path).mode(0o620));
        let broker = broker.start().await.unwrap();
        assert_eq!(broker.local_addr(), None);
        let file = fs::symlink_metadata(&path).unwrap();
        assert!(file.file_type().is_socket());
        assert_eq!(file.permissions().mode() & 0o777, 0o620);
        for version in VERSIONS {
            let route = Route::unix(&path);
            Options::new(version, "device").connect(route).await.is_served().await;
        }
        broker.shutdown(raw::FOR_EVER).await.unwrap();
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn socket_that_nobody_listens_on_is_replaced_and_no_other_file() {
        let dir = tempfile::tempdir().unwrap();
        let (path, file) = (dir.path().join("mqtt.sock"), dir.path().join("file"));
        let broker = Broker::builder().start().await.unwrap();
        // What a process leaves that was killed.
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let listening = broker.listen(Listener::unix(&path)).await.unwrap();
        assert_eq!(listening.to_string(), path.display().to_string());
        Options::new(VERSIONS[0], "a").connect(Route::unix(&path)).await.is_served().await;
        // Somebody listens now.
        let error = broker.listen(Listener::unix(&path)).await.unwrap_err();
        assert!(error.to_string().contains("mqtt.sock"), "{error}");
        Options::new(VERSIONS[0], "b").connect(Route::unix(&path)).await.is_served().await;
        fs::write(&file, "precious").unwrap();
        assert!(broker.listen(Listener::unix(&file)).await.is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
        // Nor is a file taken away that has come in its place.
        fs::remove_file(&path).unwrap();
        fs::write(&path, "another").unwrap();
        listening.close().await;
        assert_eq!(fs::read_to_string(&path).unwrap(), "another");
    }
}
