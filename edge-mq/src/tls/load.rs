//! From PEM to what rustls works with.

use std::borrow::Cow;
use std::error::Error;
use std::fs;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, pem,
};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};

use super::{Pem, Source, TlsBuilder, TlsError};

const CERTIFICATE: &str = "certificate";
const KEY: &str = "private key";
const LIST: &str = "revocation list";

/// Reads everything anew.
pub(super) fn config(settings: &TlsBuilder) -> Result<Arc<ServerConfig>, TlsError> {
    // Not the one of the process: there may be none, or another.
    let provider = Arc::new(ring::default_provider());
    let chain: Vec<CertificateDer<'_>> = all(&settings.certificate, CERTIFICATE)?;
    let key = key(&settings.key, &provider)?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("ring has what these versions need");
    let builder = match verifier(settings, &provider)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let config = builder.with_single_cert(chain, key).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => TlsError::Mismatch {
            certificate: settings.certificate.to_string(),
            key: settings.key.to_string(),
        },
        error => settings.certificate.unusable(CERTIFICATE, error),
    })?;
    Ok(Arc::new(config))
}

/// What looks at the certificates of clients, if they are asked for.
fn verifier(
    settings: &TlsBuilder,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    let Some(ca) = &settings.client_ca else {
        return if settings.revoked.is_empty() { Ok(None) } else { Err(TlsError::NoClientCa) };
    };
    let mut roots = RootCertStore::empty();
    for root in all::<CertificateDer<'_>>(ca, CERTIFICATE)? {
        roots.add(root).map_err(|error| ca.unusable(CERTIFICATE, error))?;
    }
    let provider = Arc::clone(provider);
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    if settings.is_optional {
        builder = builder.allow_unauthenticated();
    }
    for pem in &settings.revoked {
        builder = builder.with_crls(all::<CertificateRevocationListDer<'_>>(pem, LIST)?);
        // Only to know whose error it is.
        builder.clone().build().map_err(|error| pem.unusable(LIST, error))?;
    }
    Ok(Some(builder.build().map_err(|error| ca.unusable(CERTIFICATE, error))?))
}

fn key(pem: &Pem, provider: &CryptoProvider) -> Result<PrivateKeyDer<'static>, TlsError> {
    let key = PrivateKeyDer::from_pem_slice(&pem.read()?).map_err(|error| match error {
        pem::Error::NoItemsFound => pem.missing(KEY),
        error => pem.unusable(KEY, error),
    })?;
    let loaded = provider.key_provider.load_private_key(key.clone_key());
    loaded.map_err(|error| pem.unusable(KEY, error))?;
    Ok(key)
}

/// All items of a kind; there is at least one.
fn all<T: PemObject>(pem: &Pem, wanted: &'static str) -> Result<Vec<T>, TlsError> {
    let items: Result<Vec<T>, _> = T::pem_slice_iter(&pem.read()?).collect();
    match items {
        Ok(items) if items.is_empty() => Err(pem.missing(wanted)),
        Ok(items) => Ok(items),
        Err(error) => Err(pem.unusable(wanted, error)),
    }
}

impl Pem {
    fn read(&self) -> Result<Cow<'_, [u8]>, TlsError> {
        match &self.0 {
            Source::Text(text) => Ok(text[..].into()),
            Source::File(path) => match fs::read(path) {
                Ok(text) => Ok(text.into()),
                Err(source) => Err(TlsError::Read { path: path.clone(), source }),
            },
        }
    }

    fn missing(&self, wanted: &'static str) -> TlsError {
        TlsError::Missing { place: self.to_string(), wanted }
    }

    fn unusable(
        &self,
        wanted: &'static str,
        error: impl Error + Send + Sync + 'static,
    ) -> TlsError {
        TlsError::Unusable { place: self.to_string(), wanted, source: Box::new(error) }
    }
}
