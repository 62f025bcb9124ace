//! TLS: whose certificate is shown, and whose are asked for.

mod error;
mod load;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
pub use error::TlsError;
use parking_lot::{Mutex, RwLock};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

use crate::access::Certificate;
use crate::events;

/// TLS 1.2 and 1.3 for [`Listener::tls`](crate::Listener::tls), by rustls. Clones are handles of the
/// same; one may serve several listeners.
///
/// With [`TlsBuilder::client_ca`] it is mutual TLS. That a client shows a certificate says no more
/// than that its CA signed it: who it is and whether it may come in, an
/// [`Auth`](crate::access::Auth) says, as [`Certificates`](crate::access::Certificates) does. Without one, a listener that asks
/// for certificates is open to everybody all the same, so it listens on the loopback interface only.
///
/// ```no_run
/// use edge_mq::{Pem, Tls};
/// let tls = Tls::builder(Pem::file("gateway.pem"), Pem::file("gateway.key"))
///     .client_ca(Pem::file("devices-ca.pem"))
///     .revoked(Pem::file("revoked.pem"))
///     .build()?;
/// // The files have changed: from the next connection on.
/// tls.reload()?;
/// # Ok::<(), edge_mq::TlsError>(())
/// ```
#[derive(Clone)]
pub struct Tls {
    inner: Arc<Inner>,
}

struct Inner {
    /// What is in force was made of this.
    settings: Mutex<TlsBuilder>,
    config: RwLock<Arc<ServerConfig>>,
}

/// Settings of [`Tls`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it is built"]
pub struct TlsBuilder {
    certificate: Pem,
    key: Pem,
    client_ca: Option<Pem>,
    is_optional: bool,
    revoked: Vec<Pem>,
}

/// Text in PEM: a file, read again by [`Tls::reload`], or the text itself. `Debug` does not show it.
#[derive(Clone)]
pub struct Pem(Source);

#[derive(Clone)]
enum Source {
    File(PathBuf),
    Text(Bytes),
}

impl Pem {
    /// What is in a file.
    pub fn file(path: impl Into<PathBuf>) -> Pem {
        Pem(Source::File(path.into()))
    }

    /// The text itself.
    pub fn text(text: impl Into<Bytes>) -> Pem {
        Pem(Source::Text(text.into()))
    }
}

impl fmt::Display for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::File(path) => path.display().fmt(f),
            Source::Text(_) => f.write_str("given text"),
        }
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pem({self})")
    }
}

impl Tls {
    /// Shows this certificate, with those behind it up to the CA, and has its key: PKCS#8, PKCS#1 or
    /// SEC1, not encrypted.
    pub fn builder(certificate: Pem, key: Pem) -> TlsBuilder {
        TlsBuilder { certificate, key, client_ca: None, is_optional: false, revoked: Vec::new() }
    }

    /// Reads the files again. From the next connection on they are in force; connections that are
    /// there go on, and sessions of the old files are not resumed. Blocks for the reading.
    ///
    /// # Errors
    /// When a file is missing or of no use. What was in force stays so.
    pub fn reload(&self) -> Result<(), TlsError> {
        let settings = self.inner.settings.lock();
        self.put_in_force(&settings)
    }

    /// Puts other settings in force, as [`Tls::reload`] does.
    ///
    /// # Errors
    /// When a file is missing or of no use. What was in force stays so.
    pub fn replace(&self, with: TlsBuilder) -> Result<(), TlsError> {
        let mut settings = self.inner.settings.lock();
        self.put_in_force(&with)?;
        *settings = with;
        Ok(())
    }

    fn put_in_force(&self, settings: &TlsBuilder) -> Result<(), TlsError> {
        let loaded = load::config(settings).map(|config| *self.inner.config.write() = config);
        events::certificates(&settings.certificate, loaded.as_ref().copied());
        loaded
    }

    /// Shakes hands with a client; gives its certificate, if it has shown one.
    pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        socket: S,
    ) -> io::Result<(TlsStream<S>, Option<Certificate>)> {
        let config = Arc::clone(&self.inner.config.read());
        let stream = TlsAcceptor::from(config).accept(socket).await?;
        let chain = stream.get_ref().1.peer_certificates();
        let own = chain.and_then(|chain| chain.first());
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        let certificate = own.map(|own| Certificate::from_der(own.to_vec()).map_err(invalid));
        Ok((stream, certificate.transpose()?))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tls").field(&*self.inner.settings.lock()).finish()
    }
}

impl TlsBuilder {
    /// Asks clients for a certificate that one of these CAs has signed. Who has none is refused.
    pub fn client_ca(mut self, certificates: Pem) -> TlsBuilder {
        self.client_ca = Some(certificates);
        self
    }

    /// Lets clients in that show no certificate; one that is of no use is refused all the same.
    pub fn optional(mut self) -> TlsBuilder {
        self.is_optional = true;
        self
    }

    /// Refuses the certificates of clients that these lists name; any number of lists, which are
    /// looked at together. Once there is one, each certificate of a client's chain needs a list of
    /// its issuer's, or it is refused. A list whose time is over still holds: a gateway that cannot
    /// fetch a new one goes on with the old.
    pub fn revoked(mut self, lists: Pem) -> TlsBuilder {
        self.revoked.push(lists);
        self
    }

    /// Reads all files. Blocks for it.
    ///
    /// # Errors
    /// When a file is missing or of no use.
    pub fn build(self) -> Result<Tls, TlsError> {
        let config = RwLock::new(load::config(&self)?);
        Ok(Tls { inner: Arc::new(Inner { settings: Mutex::new(self), config }) })
    }
}
