//! A bridge by TLS: it talks to whom its authority has signed and to nobody else, and shows its own
//! certificate where that is asked for.

#![cfg(feature = "bridge")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "support/bridge.rs"]
mod support;

use std::net::SocketAddr;
use std::sync::Arc;

use edge_mq::bridge::{Bridge, Rule, Tls, TlsError};
use edge_mq::packet::Version;
use edge_mq::{Message, QoS};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use support::{Site, VERSIONS, bridge_to, got, message, until};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Who signs certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// Certificate and key for this name, both PEM.
    fn sign(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }
}

/// TLS in front of a broker, which asks clients for a certificate if an authority is given.
async fn tls_to(
    target: SocketAddr,
    server: (String, String),
    clients: Option<&Authority>,
) -> String {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = match clients {
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            config.with_client_cert_verifier(verifier.build().unwrap())
        }
        None => config.with_no_client_auth(),
    };
    let (certificate, key) = server;
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let acceptor =
        TlsAcceptor::from(Arc::new(config.with_single_cert(vec![certificate], key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut client = acceptor.accept(socket).await?;
                let mut broker = TcpStream::connect(target).await?;
                tokio::io::copy_bidirectional(&mut client, &mut broker).await
            });
        }
    });
    format!("localhost:{port}")
}

fn bridge(remote: String, tls: Tls, version: Version) -> Bridge {
    let rule = Rule::new("up".parse().unwrap());
    Bridge::new("bridge").remote(remote).tls(tls).version(version).send(rule)
}

fn hello() -> Message {
    message("up", "hello", QoS::AtLeastOnce)
}

#[tokio::test]
async fn bridge_talks_by_tls_to_whom_its_authority_has_signed() {
    let authority = Authority::new();
    for version in VERSIONS {
        let (here, there) = (Site::start().await, Site::start().await);
        let remote = tls_to(there.socket(), authority.sign("localhost"), None).await;
        let mut sent = there.subscribe("up").await;
        let tls = Tls::trusting(authority.pem().as_bytes()).unwrap();
        here.broker.add_bridge(bridge(remote, tls, version)).await.unwrap();
        here.publish(hello()).await;
        assert_eq!(got(&mut sent).await.1, "hello");
    }
}

#[tokio::test]
async fn bridge_sends_nothing_to_anybody_else() {
    let (authority, other) = (Authority::new(), Authority::new());
    for version in VERSIONS {
        let there = Site::start().await;
        let wrong = [
            (other.sign("localhost"), "certificate"),
            (authority.sign("somewhere.else"), "certificate"),
        ];
        for (server, reason) in wrong {
            let here = Site::start().await;
            let remote = tls_to(there.socket(), server, None).await;
            let tls = Tls::trusting(authority.pem().as_bytes()).unwrap();
            here.broker.add_bridge(bridge(remote, tls, version)).await.unwrap();
            let status = until(&here, |status| status.last_error.is_some()).await;
            assert!(status.last_error.as_ref().unwrap().contains(reason), "{status:?}");
            assert!(!status.connected);
        }
        // Nor to somebody who does not speak it.
        let here = Site::start().await;
        let tls = Tls::trusting(authority.pem().as_bytes()).unwrap();
        let plain = bridge_to(&there, version).tls(tls).send(Rule::new("up".parse().unwrap()));
        here.broker.add_bridge(plain).await.unwrap();
        until(&here, |status| status.last_error.is_some()).await;
        assert_eq!(there.stats().sessions, 0);
    }
}

#[tokio::test]
async fn bridge_shows_its_certificate() {
    let authority = Authority::new();
    let (here, there) = (Site::start().await, Site::start().await);
    let server = authority.sign("localhost");
    let remote = tls_to(there.socket(), server, Some(&authority)).await;
    let without = Tls::trusting(authority.pem().as_bytes()).unwrap();
    here.broker.add_bridge(bridge(remote.clone(), without, Version::V5)).await.unwrap();
    here.publish(hello()).await;
    let status = until(&here, |status| status.last_error.is_some()).await;
    assert!(!status.connected, "{status:?}");
    let mut sent = there.subscribe("up").await;
    let (chain, key) = authority.sign("gateway");
    let authorities = authority.pem();
    let tls = Tls::with_certificate(authorities.as_bytes(), chain.as_bytes(), key.as_bytes());
    here.broker.replace_bridge(bridge(remote, tls.unwrap(), Version::V5)).await.unwrap();
    assert_eq!(got(&mut sent).await.1, "hello");
}

#[test]
fn what_is_no_certificate_is_told() {
    let authority = Authority::new();
    let pem = authority.pem();
    assert!(matches!(Tls::trusting(b"nothing"), Err(TlsError::NothingTrusted)));
    let broken = Tls::trusting(b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n");
    assert!(matches!(broken, Err(TlsError::Certificate(_))), "{broken:?}");
    let (chain, _) = authority.sign("gateway");
    let (_, key) = authority.sign("other");
    let no_key = Tls::with_certificate(pem.as_bytes(), chain.as_bytes(), b"nothing");
    assert!(matches!(no_key, Err(TlsError::Pem { what: "private key", .. })), "{no_key:?}");
    let wrong = Tls::with_certificate(pem.as_bytes(), chain.as_bytes(), key.as_bytes());
    assert!(matches!(wrong, Err(TlsError::Certificate(_))), "{wrong:?}");
}
