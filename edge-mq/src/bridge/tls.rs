//! How a bridge knows its remote broker, and shows who it is.

use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// TLS 1.2 or 1.3 towards a remote broker, whose certificate must bear the host of its address.
///
/// ```no_run
/// use edge_mq::bridge::{Bridge, Rule, Tls};
/// let authority = std::fs::read("authority.pem")?;
/// let bridge = Bridge::new("cloud").remote("broker.example:8883").tls(Tls::trusting(&authority)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The text is no PEM, or has something else in it.
    #[error("cannot read the {what}")]
    Pem {
        /// Certificate or key.
        what: &'static str,
        /// What is wrong.
        source: pem::Error,
    },
    /// There is no certificate in it.
    #[error("there is no certificate to trust")]
    NothingTrusted,
    /// A certificate is malformed, or does not belong to its key.
    #[error("cannot use the certificate")]
    Certificate(#[from] rustls::Error),
    /// The roots of the system cannot be read.
    #[error("cannot read the certificates that the system trusts: {reason}")]
    System {
        /// What the system said.
        reason: String,
    },
}

impl Tls {
    /// Trusts brokers whose certificates these authorities have signed (PEM).
    ///
    /// # Errors
    /// When there is no such certificate.
    pub fn trusting(authorities: &[u8]) -> Result<Tls, TlsError> {
        Tls::new(certificates(authorities)?, None)
    }

    /// Trusts whom the operating system trusts.
    ///
    /// # Errors
    /// When the system has no list of them.
    pub fn trusting_system() -> Result<Tls, TlsError> {
        Tls::new(system_roots()?, None)
    }

    /// [`Tls::trusting`], and shows this certificate with its chain, by this key (PEM).
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub fn with_certificate(authorities: &[u8], chain: &[u8], key: &[u8]) -> Result<Tls, TlsError> {
        let key = PrivateKeyDer::from_pem_slice(key);
        let key = key.map_err(|source| TlsError::Pem { what: "private key", source })?;
        Tls::new(certificates(authorities)?, Some((certificates(chain)?, key)))
    }

    fn new(
        authorities: Vec<CertificateDer<'static>>,
        own: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    ) -> Result<Tls, TlsError> {
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            roots.add(authority)?;
        }
        if roots.is_empty() {
            return Err(TlsError::NothingTrusted);
        }
        // Named, so that it does not depend on what else is in the program.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let config = match own {
            Some((chain, key)) => config.with_client_auth_cert(chain, key)?,
            None => config.with_no_client_auth(),
        };
        Ok(Tls { config: Arc::new(config) })
    }

    pub(super) fn transport(&self) -> rumqttc::Transport {
        let config = rumqttc::TlsConfiguration::Rustls(Arc::clone(&self.config));
        rumqttc::Transport::tls_with_config(config)
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    certificates.map_err(|source| TlsError::Pem { what: "certificate", source })
}

fn system_roots() -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let reason = found.errors.first().map_or("there are none".to_owned(), |e| e.to_string());
        return Err(TlsError::System { reason });
    }
    Ok(found.certs)
}
