//! TLS and mutual TLS with certificates made here: who gets in, as whom, and how certificates, keys
//! and revocation lists change while connections go on.

#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/authority.rs"]
mod authority;
#[path = "support/device.rs"]
mod device;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use authority::{Authority, Issued};
use device::{Options, Route, Seen, VERSIONS, got};
use edge_mq::access::{
    AltName, Auth, AuthFuture, Certificate, Certificates, Denied, Login, Rule, Rules, User,
};
use edge_mq::{Broker, Listener, Pem, StartError, Tls, TlsBuilder, TlsError};
use rcgen::SanType;

fn settings(server: &Issued) -> TlsBuilder {
    Tls::builder(Pem::text(server.certificate.clone()), Pem::text(server.key.clone()))
}

fn here(tls: &Tls) -> Listener {
    Listener::tcp(([127, 0, 0, 1], 0)).tls(tls)
}

async fn start(listener: Listener) -> (Broker, SocketAddr) {
    let broker = Broker::builder().listen(listener).start().await.unwrap();
    let addr = broker.local_addr().unwrap();
    (broker, addr)
}

#[tokio::test]
async fn every_qos_passes_through_tls_and_large_messages_too() {
    let authority = Authority::new("ca");
    let (_broker, addr) = start(here(&settings(&authority.server()).build().unwrap())).await;
    for version in VERSIONS {
        let route = Route::tls(addr, authority.trusted(None));
        let mut device = Options::new(version, "device").connect(route).await;
        device.is_served().await;
        // More than one record, and more than the socket takes at once.
        let large = "x".repeat(8 * 1024);
        for _ in 0..500 {
            device.publish("self/device", 1, false, &large).await;
        }
        for _ in 0..500 {
            assert_eq!(device.message().await.payload.len(), large.len());
        }
        device.disconnect().await;
    }
}

#[tokio::test]
async fn client_that_trusts_another_authority_does_not_connect() {
    let (authority, other) = (Authority::new("ca"), Authority::new("other"));
    let (broker, addr) = start(here(&settings(&authority.server()).build().unwrap())).await;
    let route = Route::tls(addr, other.trusted(None));
    assert!(Options::new(VERSIONS[0], "device").is_refused(route).await);
    let route = Route::tls(addr, authority.trusted(None));
    let mut device = Options::new(VERSIONS[0], "device").connect(route).await;
    device.is_served().await;
    assert_eq!(broker.stats().failed_handshakes, 1);
}

/// Says who came in, and with what.
#[derive(Debug)]
struct Doorman(tokio::sync::mpsc::Sender<Login>);

impl Auth for Doorman {
    fn authenticate(&self, login: Login) -> AuthFuture<'_> {
        self.0.try_send(login).unwrap();
        Box::pin(async { Ok(User::anonymous()) })
    }

    fn may_stay(&self, _: &User) -> bool {
        true
    }
}

#[tokio::test]
async fn certificate_of_the_client_reaches_the_auth_with_its_names() {
    let authority = Authority::new("ca");
    let server = authority.server();
    let tls = settings(&server).client_ca(Pem::text(authority.pem())).build().unwrap();
    let (sender, mut logins) = tokio::sync::mpsc::channel(10);
    let (_broker, addr) = start(here(&tls).auth(Doorman(sender))).await;
    let names = [
        SanType::DnsName("sensor-1.edge".try_into().unwrap()),
        SanType::URI("spiffe://edge/sensor-1".try_into().unwrap()),
        SanType::Rfc822Name("sensor@edge.example".try_into().unwrap()),
        SanType::IpAddress([192, 0, 2, 7].into()),
    ];
    let client = authority.client_with("sensor-1", 7, names);
    let route = Route::tls(addr, authority.trusted(Some(&client)));
    let _device = Options::new(VERSIONS[1], "device").connect(route).await;
    let login = logins.recv().await.unwrap();
    let certificate = login.certificate.unwrap();
    assert_eq!(certificate.common_name().unwrap(), "sensor-1");
    let expected = [
        AltName::Dns("sensor-1.edge".parse().unwrap()),
        AltName::Uri("spiffe://edge/sensor-1".parse().unwrap()),
        AltName::Email("sensor@edge.example".parse().unwrap()),
        AltName::Ip([192, 0, 2, 7].into()),
    ];
    assert_eq!(certificate.alt_names(), expected);
    let again = Certificate::from_der(certificate.der().clone()).unwrap();
    assert_eq!(again, certificate);
    assert!(Certificate::from_der(certificate.der().slice(..100)).is_err());
    assert_eq!(login.address.unwrap().ip().to_string(), "127.0.0.1");
}

#[tokio::test]
async fn certificates_that_are_asked_for_are_needed_and_name_the_user() {
    let (authority, other) = (Authority::new("ca"), Authority::new("other"));
    let server = authority.server();
    let tls = settings(&server).client_ca(Pem::text(authority.pem())).build().unwrap();
    let rules: Rules = [Rule::allow("of/%u/#").unwrap()].into();
    let broker = Broker::builder().auth(Certificates::by_common_name()).acl(rules);
    // With an auth, it may listen where everybody reaches it.
    let anywhere = Listener::tcp(([0, 0, 0, 0], 0)).tls(&tls);
    let broker = broker.listen(anywhere).start().await.unwrap();
    let addr = SocketAddr::from(([127, 0, 0, 1], broker.local_addr().unwrap().port()));
    let route = |own: Option<&Issued>| Route::tls(addr, authority.trusted(own));
    let (ann, bob) = (authority.client("ann", 11), authority.client("bob", 12));
    for version in VERSIONS {
        let client = |name| Options::new(version, name);
        assert!(client("none").is_refused(route(None)).await);
        assert!(client("wrong").is_refused(route(Some(&other.client("ann", 11)))).await);
        // Neither is a server's certificate one of a client.
        assert!(client("server").is_refused(route(Some(&server))).await);
        let mut ann = client("a").connect(route(Some(&ann))).await;
        let mut bob = client("b").connect(route(Some(&bob))).await;
        ann.subscribe("of/ann/#", 1).await;
        ann.publish("of/ann/x", 1, false, "own").await;
        assert_eq!(ann.message().await, got("of/ann/x", "own", 1, false));
        // Who may not stay is sent away; a certificate that is still good does not help.
        broker.set_auth(Certificates::by_common_name().except("bob".parse().unwrap()));
        assert_eq!(bob.next().await, Seen::Closed);
        broker.set_auth(Certificates::by_common_name());
        ann.disconnect().await;
    }
    assert_eq!(broker.stats().failed_handshakes, 6);
}

#[tokio::test]
async fn asking_for_certificates_alone_opens_nothing_to_the_network() {
    let authority = Authority::new("ca");
    let tls = settings(&authority.server()).client_ca(Pem::text(authority.pem()));
    let anywhere = Listener::tcp(([0, 0, 0, 0], 0)).tls(&tls.build().unwrap());
    let error = Broker::builder().listen(anywhere.clone()).start().await.unwrap_err();
    assert!(matches!(error, StartError::Open { .. }), "{error}");
    let own = anywhere.auth(Certificates::by_common_name());
    assert!(Broker::builder().listen(own).start().await.is_ok());
}

#[cfg(feature = "passwords")]
#[tokio::test]
async fn optional_certificate_leaves_the_others_to_their_passwords() {
    use edge_mq::access::{Passwords, hash_password};
    let (authority, other) = (Authority::new("ca"), Authority::new("other"));
    let tls = settings(&authority.server()).client_ca(Pem::text(authority.pem())).optional();
    let hash = hash_password(b"one").unwrap();
    let users = || Passwords::new().user("ann".parse().unwrap(), &hash, []).unwrap();
    let auth = Certificates::by_common_name().or(users());
    let (broker, addr) = start(here(&tls.build().unwrap()).auth(auth)).await;
    let route = |own: Option<&Issued>| Route::tls(addr, authority.trusted(own));
    let client = |name| Options::new(VERSIONS[1], name);
    let sensor = authority.client("sensor", 5);
    let mut sensor = client("s").connect(route(Some(&sensor))).await;
    let mut ann = client("a").user("ann", "one").connect(route(None)).await;
    sensor.is_served().await;
    ann.is_served().await;
    assert!(client("e").is_refused(route(None)).await);
    assert!(client("w").is_refused(route(Some(&other.client("sensor", 5)))).await);
    // Of a listener's own auth the broker's says nothing.
    broker.set_auth(Certificates::by_common_name().except("sensor".parse().unwrap()));
    sensor.is_served().await;
    ann.is_served().await;
}

#[tokio::test]
async fn certificates_say_who_gets_in_by_which_name() {
    let authority = Authority::new("ca");
    let login = |names: Vec<SanType>| {
        let issued = match <[SanType; 1]>::try_from(names) {
            Ok(one) => authority.client_with("common", 1, one),
            Err(names) if names.is_empty() => authority.client("common", 1),
            Err(names) => authority.client_with("common", 1, <[_; 2]>::try_from(names).unwrap()),
        };
        let der = rcgen_der(&issued);
        let mut login = Login::new("c".parse().unwrap());
        login.certificate = Some(Certificate::from_der(der).unwrap());
        login
    };
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let uri = |name: &str| SanType::URI(name.try_into().unwrap());
    let user = |name: &str| {
        Ok(User::named(name.parse().unwrap()).in_group("certificate".parse().unwrap()))
    };
    let none = Err(Denied::NotAuthorized);
    let cases = [
        (Certificates::by_common_name(), login(vec![dns("d")]), user("common")),
        (Certificates::by_dns_name(), login(vec![dns("d"), uri("u:u")]), user("d")),
        (Certificates::by_uri(), login(vec![dns("d"), uri("u:u")]), user("u:u")),
        (Certificates::by_email(), login(vec![dns("d")]), none.clone()),
        (Certificates::by_dns_name(), login(vec![]), none.clone()),
        (Certificates::by_dns_name(), login(vec![dns("d"), dns("e")]), none.clone()),
        (
            Certificates::by_common_name().except("common".parse().unwrap()),
            login(vec![]),
            none.clone(),
        ),
        (Certificates::by_common_name(), Login::new("c".parse().unwrap()), none),
    ];
    for (auth, login, expected) in cases {
        assert_eq!(auth.authenticate(login.clone()).await, expected, "{auth:?} {login:?}");
    }
}

fn rcgen_der(issued: &Issued) -> Vec<u8> {
    use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject};
    CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap().to_vec()
}

#[tokio::test]
async fn revoked_client_is_refused_from_the_reload_on_and_others_are_not() {
    let authority = Authority::new("ca");
    let (lost, kept) = (authority.client("lost", 21), authority.client("kept", 22));
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("revoked.pem");
    fs::write(&list, authority.revoking(&[])).unwrap();
    let tls = settings(&authority.server())
        .client_ca(Pem::text(authority.pem()))
        .revoked(Pem::file(&list))
        .build()
        .unwrap();
    let (_broker, addr) = start(here(&tls)).await;
    let route = |own: &Issued| Route::tls(addr, authority.trusted(Some(own)));
    let connected = Options::new(VERSIONS[1], "connected");
    let mut connected = connected.connect(route(&lost)).await;
    fs::write(&list, authority.revoking(&[&lost])).unwrap();
    // The same configuration of the client, so that it could resume its session.
    let again = route(&lost);
    Options::new(VERSIONS[1], "again").connect(again.clone()).await.disconnect().await;
    tls.reload().unwrap();
    assert!(Options::new(VERSIONS[1], "again").is_refused(again).await);
    assert!(Options::new(VERSIONS[1], "lost").is_refused(route(&lost)).await);
    let mut other = Options::new(VERSIONS[1], "kept").connect(route(&kept)).await;
    other.is_served().await;
    connected.is_served().await;
    // A list of somebody else's covers nobody here.
    fs::write(&list, Authority::new("other").revoking(&[])).unwrap();
    tls.reload().unwrap();
    assert!(Options::new(VERSIONS[1], "kept").is_refused(route(&kept)).await);
}

#[tokio::test]
async fn new_files_are_shown_from_the_reload_on_and_bad_ones_never() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = (dir.path().join("server.pem"), dir.path().join("server.key"));
    write(&certificate, &key, &old.server());
    let tls = Tls::builder(Pem::file(&certificate), Pem::file(&key)).build().unwrap();
    let (_broker, addr) = start(here(&tls)).await;
    let trusting = |authority: &Authority| Route::tls(addr, authority.trusted(None));
    let client = |name| Options::new(VERSIONS[0], name);
    let mut first = client("first").connect(trusting(&old)).await;
    first.is_served().await;

    // The certificate is there before its key: neither is in force.
    let next = new.server();
    fs::write(&certificate, &next.certificate).unwrap();
    let error = tls.reload().unwrap_err();
    assert!(matches!(error, TlsError::Mismatch { .. }), "{error:?}");
    assert!(error.to_string().contains("server.key"), "{error}");
    client("still").connect(trusting(&old)).await.disconnect().await;

    fs::write(&key, &next.key).unwrap();
    tls.reload().unwrap();
    assert!(client("late").is_refused(trusting(&old)).await);
    let mut second = client("second").connect(trusting(&new)).await;
    second.is_served().await;
    first.is_served().await;

    tls.replace(settings(&old.server())).unwrap();
    client("back").connect(trusting(&old)).await.disconnect().await;
}

fn write(certificate: &Path, key: &Path, issued: &Issued) {
    fs::write(certificate, &issued.certificate).unwrap();
    fs::write(key, &issued.key).unwrap();
}

#[test]
fn error_says_which_file_is_wrong_and_how() {
    let authority = Authority::new("ca");
    let server = authority.server();
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        Pem::file(path)
    };
    let good = || file("good.pem", &server.certificate);
    let key = || file("good.key", &server.key);
    let ca = || file("ca.pem", &authority.pem());
    let broken = "-----BEGIN CERTIFICATE-----\nbm8gY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n";
    let broken_key = "-----BEGIN PRIVATE KEY-----\nbm8ga2V5\n-----END PRIVATE KEY-----\n";
    let broken_list = "-----BEGIN X509 CRL-----\nbm8gbGlzdA==\n-----END X509 CRL-----\n";
    let missing = Pem::file(dir.path().join("missing.pem"));
    let cases = [
        (Tls::builder(missing.clone(), key()), "cannot read ", "missing.pem"),
        (Tls::builder(good(), missing), "cannot read ", "missing.pem"),
        (Tls::builder(file("empty.pem", ""), key()), "no certificate", "empty.pem"),
        (Tls::builder(key(), key()), "no certificate", "good.key"),
        (Tls::builder(good(), good()), "no private key", "good.pem"),
        (Tls::builder(file("broken.pem", broken), key()), "cannot be used", "broken.pem"),
        (Tls::builder(good(), file("broken.key", broken_key)), "cannot be used", "broken.key"),
        (
            Tls::builder(good(), file("other.key", &authority.server().key)),
            "is not that of the certificate",
            "other.key",
        ),
        (Tls::builder(good(), key()).client_ca(key()), "no certificate", "good.key"),
        (
            Tls::builder(good(), key()).client_ca(file("broken.pem", broken)),
            "cannot be used",
            "broken.pem",
        ),
        (Tls::builder(good(), key()).client_ca(ca()).revoked(ca()), "no revocation list", "ca.pem"),
        (
            Tls::builder(good(), key()).client_ca(ca()).revoked(file("broken.crl", broken_list)),
            "cannot be used",
            "broken.crl",
        ),
        (
            Tls::builder(good(), key()).revoked(file("a.crl", &authority.revoking(&[]))),
            "no CA of clients",
            "",
        ),
    ];
    for (settings, what, place) in cases {
        let error = settings.build().unwrap_err().to_string();
        assert!(error.contains(what) && error.contains(place), "{what}, {place}: {error}");
    }
    let shown = format!("{:?}", settings(&server));
    assert!(!shown.contains("PRIVATE"), "{shown}");
}
