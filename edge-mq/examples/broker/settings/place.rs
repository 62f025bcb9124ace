//! Where a listener listens.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
#[cfg(unix)]
use std::path::PathBuf;

use edge_mq::Listener;

use super::section::Section;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// MQTT's own, without TLS.
const PORT: u16 = 1883;

/// An address and port, or a path.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Place {
    Tcp(SocketAddr),
    #[cfg(unix)]
    Unix {
        path: PathBuf,
        mode: Option<u32>,
    },
}

impl Place {
    pub(super) fn take(section: &Section<'_>) -> Option<Place> {
        let port: Option<u16> = section.get("port");
        let address = section.parsed("bind_address", str::parse::<IpAddr>);
        let path = section.path("unix");
        let mode = section.parsed("mode", |mode| u32::from_str_radix(mode, 8));
        if section.has("unix") {
            for key in ["port", "bind_address"] {
                if section.has(key) {
                    section.wrong(key, format!("`{key}` and `unix` are two listeners"));
                }
            }
            return Place::unix(section, path?, mode);
        }
        if section.has("mode") {
            section.wrong("mode", "`mode` is of the file of a Unix socket: set `unix`");
        }
        if section.has("bind_address") && address.is_none() {
            return None;
        }
        Some(Place::Tcp((address.unwrap_or(LOOPBACK), port.unwrap_or(PORT)).into()))
    }

    #[cfg(unix)]
    fn unix(_: &Section<'_>, path: PathBuf, mode: Option<u32>) -> Option<Place> {
        Some(Place::Unix { path, mode })
    }

    #[cfg(not(unix))]
    fn unix(section: &Section<'_>, _: std::path::PathBuf, _: Option<u32>) -> Option<Place> {
        section.wrong("unix", "there are no Unix sockets on this system");
        None
    }

    pub(super) fn is_local(&self) -> bool {
        match self {
            Place::Tcp(address) => address.ip().is_loopback(),
            #[cfg(unix)]
            Place::Unix { .. } => true,
        }
    }

    /// Does nothing to what has no port.
    pub(super) fn set_port(&mut self, port: u16) {
        if let Place::Tcp(address) = self {
            address.set_port(port);
        }
    }

    pub(super) fn listener(&self) -> Listener {
        match self {
            Place::Tcp(address) => Listener::tcp(*address),
            #[cfg(unix)]
            Place::Unix { path, mode } => {
                let listener = Listener::unix(path);
                mode.iter().fold(listener, |listener, mode| listener.mode(*mode))
            }
        }
    }

    /// Whether both cannot listen at once. `::` takes IPv4, too.
    pub(super) fn is_in_the_way_of(&self, other: &Place) -> bool {
        match (self, other) {
            (Place::Tcp(one), Place::Tcp(other)) => {
                let (a, b) = (one.ip(), other.ip());
                let is_all = |ip: IpAddr| {
                    ip.is_unspecified() && (ip.is_ipv6() || a.is_ipv4() == b.is_ipv4())
                };
                let is_same = a == b || is_all(a) || is_all(b);
                one.port() == other.port() && one.port() != 0 && is_same
            }
            #[cfg(unix)]
            (Place::Unix { path, .. }, Place::Unix { path: other, .. }) => path == other,
            #[cfg(unix)]
            _ => false,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Tcp(address) => address.fmt(f),
            #[cfg(unix)]
            Place::Unix { path, .. } => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_port_has_one_listener_at_each_address() {
        for (one, other, expected) in [
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "127.0.0.1:2", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("127.0.0.1:1", "127.0.0.2:1", false),
            ("127.0.0.1:1", "0.0.0.0:1", true),
            ("[::]:1", "0.0.0.0:1", true),
            ("[::]:1", "127.0.0.1:1", true),
            ("[::1]:1", "0.0.0.0:1", false),
            ("[::1]:1", "[::]:1", true),
        ] {
            let [a, b] = [one, other].map(|place| Place::Tcp(place.parse().unwrap()));
            assert_eq!(a.is_in_the_way_of(&b), expected, "{one} {other}");
            assert_eq!(b.is_in_the_way_of(&a), expected, "{other} {one}");
        }
    }
}
