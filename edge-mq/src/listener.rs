//! A way into the broker, as its user describes it.

use std::fmt;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::access::Auth;
#[cfg(feature = "tls")]
use crate::tls::Tls;

/// A way into a broker: where it listens, what lies between the socket and MQTT, and what holds for
/// those who come in by it. Where nothing is said, the broker's [`Limits`](crate::Limits) and `Auth`
/// hold.
///
/// A [`SocketAddr`], or what becomes one, is a listener of plain TCP.
///
/// ```
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// use edge_mq::{Broker, Listener};
/// let broker = Broker::builder().start().await?;
/// let plain = broker.listen(([127, 0, 0, 1], 0).into()).await?;
/// let small = Listener::tcp(([127, 0, 0, 1], 0)).connections(10).packet_bytes(4096);
/// let small = broker.listen(small).await?;
/// println!("listening on {plain} and {small}");
/// small.close().await;                          // whoever came in by it stays
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "a listener does nothing until a broker has it"]
pub struct Listener {
    pub(crate) place: Place,
    pub(crate) layers: Layers,
    pub(crate) connections: Option<usize>,
    pub(crate) packet_bytes: Option<usize>,
    pub(crate) connect_within: Option<Duration>,
    pub(crate) auth: Option<Arc<dyn Auth>>,
}

/// Where a listener listens.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    Tcp(SocketAddr),
    #[cfg(unix)]
    Unix {
        path: PathBuf,
        mode: Option<u32>,
    },
}

/// What lies between a socket and MQTT, from the socket on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layers {
    pub(crate) has_proxy: bool,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Tls>,
    /// WebSocket, and the origins of pages that may connect.
    #[cfg(feature = "ws")]
    pub(crate) websocket: Option<Vec<String>>,
}

impl Layers {
    /// Whether MQTT is what comes next, behind a proxy's header if there is one.
    pub(crate) fn is_plain(&self) -> bool {
        #[cfg(feature = "tls")]
        if self.tls.is_some() {
            return false;
        }
        #[cfg(feature = "ws")]
        if self.websocket.is_some() {
            return false;
        }
        true
    }

    /// What comes behind a proxy's header, by the scheme that a client's URL begins with.
    pub(crate) fn protocol(&self) -> &'static str {
        #[cfg(feature = "tls")]
        let has_tls = self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        let has_tls = false;
        #[cfg(feature = "ws")]
        let has_websocket = self.websocket.is_some();
        #[cfg(not(feature = "ws"))]
        let has_websocket = false;
        match (has_tls, has_websocket) {
            (false, false) => "mqtt",
            (true, false) => "mqtts",
            (false, true) => "ws",
            (true, true) => "wss",
        }
    }
}

impl Listener {
    /// Listens on a TCP port; 0 takes a free one.
    pub fn tcp(addr: impl Into<SocketAddr>) -> Listener {
        Listener::on(Place::Tcp(addr.into()))
    }

    /// Listens on a Unix socket, which only processes of this machine reach. A socket that is there
    /// and that nobody listens on is replaced. The file goes away with the listener.
    #[cfg(unix)]
    pub fn unix(path: impl Into<PathBuf>) -> Listener {
        Listener::on(Place::Unix { path: path.into(), mode: None })
    }

    fn on(place: Place) -> Listener {
        Listener {
            place,
            layers: Layers::default(),
            connections: None,
            packet_bytes: None,
            connect_within: None,
            auth: None,
        }
    }

    /// Who may connect to a Unix socket, as the permission bits of its file: 0o660 is the owner and
    /// the group. Without this the process's umask says it, and until it is set, which is a moment
    /// after the file is there; the permissions of its folder hold from the start. No other
    /// listener has a mode.
    #[cfg(unix)]
    pub fn mode(mut self, bits: u32) -> Listener {
        if let Place::Unix { mode, .. } = &mut self.place {
            *mode = Some(bits);
        }
        self
    }

    /// Takes TLS only; see [`Tls`].
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: &Tls) -> Listener {
        self.layers.tls = Some(tls.clone());
        self
    }

    /// Takes WebSocket only (MQTT 5.0 section 6), with TLS below it if there is
    /// [`Listener::tls`], at any path.
    ///
    /// A page in a browser gets in if it comes from the same host and port, or from one of
    /// [`Listener::origin`]: otherwise any page that somebody opens could reach a broker on the
    /// loopback interface. Programs that are no browsers send no origin, and get in.
    #[cfg(feature = "ws")]
    pub fn websocket(mut self) -> Listener {
        self.layers.websocket.get_or_insert_default();
        self
    }

    /// Takes WebSocket, from pages of this origin too, as `https://panel.example:8443`; `*` is
    /// any.
    #[cfg(feature = "ws")]
    pub fn origin(mut self, origin: impl Into<String>) -> Listener {
        self.layers.websocket.get_or_insert_default().push(origin.into());
        self
    }

    /// Takes connections of a proxy only, which says for whom it connects (PROXY protocol version
    /// 2, in front of everything else): `Login::address` is then the client's. Whoever reaches this
    /// listener is believed, so let nobody but the proxy reach it.
    pub fn proxy_protocol(mut self) -> Listener {
        self.layers.has_proxy = true;
        self
    }

    /// Open connections of this listener, beside
    /// [`Limits::connections`](crate::Limits::connections) of all. One more is closed at once and
    /// counted.
    pub fn connections(mut self, most: usize) -> Listener {
        self.connections = Some(most);
        self
    }

    /// The largest packet that a client may send, in place of
    /// [`Limits::packet_bytes`](crate::Limits::packet_bytes).
    pub fn packet_bytes(mut self, most: usize) -> Listener {
        self.packet_bytes = Some(most);
        self
    }

    /// How long a connection may take until its CONNECT is there, PROXY header, TLS and WebSocket
    /// included, in place of [`Limits::connect_within`](crate::Limits::connect_within).
    pub fn connect_within(mut self, time: Duration) -> Listener {
        self.connect_within = Some(time);
        self
    }

    /// Who may connect here, in place of the broker's own. To give those who come in by one
    /// listener other rights, put them into a group and name it in the rules. Users of one name are
    /// one user, whichever listener they come by.
    pub fn auth(mut self, auth: impl Auth) -> Listener {
        self.auth = Some(Arc::new(auth));
        self
    }
}

impl<T: Into<SocketAddr>> From<T> for Listener {
    fn from(addr: T) -> Listener {
        Listener::tcp(addr)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Tcp(addr) => addr.fmt(f),
            #[cfg(unix)]
            Place::Unix { path, .. } => path.display().fmt(f),
        }
    }
}
