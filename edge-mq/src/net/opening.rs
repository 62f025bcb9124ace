//! From an accepted socket to bytes of MQTT: what the listener asks for in front of them.

use std::io;
use std::net::SocketAddr;

use super::proxy::{self, Source};
use super::stream::{Socket, Stream};
#[cfg(feature = "ws")]
use super::websocket;
#[cfg(feature = "tls")]
use crate::access::Certificate;
use crate::listener::Layers;

/// A connection on which MQTT may begin.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) stream: Stream,
    pub(super) address: Option<SocketAddr>,
    #[cfg(feature = "tls")]
    pub(super) certificate: Option<Certificate>,
}

impl Opened {
    fn plain(socket: Socket, address: Option<SocketAddr>) -> Opened {
        Opened {
            stream: Stream::Socket(socket),
            address,
            #[cfg(feature = "tls")]
            certificate: None,
        }
    }
}

/// Where a connection comes from, as a proxy says if there has to be one.
pub(super) async fn address(
    socket: &mut Socket,
    address: Option<SocketAddr>,
    layers: &Layers,
) -> io::Result<Option<SocketAddr>> {
    if !layers.has_proxy {
        return Ok(address);
    }
    // In a box, as a plain connection shall not keep room for it.
    Ok(match Box::pin(proxy::read(socket)).await? {
        Source::Proxy => address,
        Source::Client(client) => Some(client),
        // Not that of the proxy: it is trusted with more than its clients are.
        Source::Unknown => None,
    })
}

/// Takes away the layers behind that; whoever wants a limit of time sets it.
pub(super) async fn open(
    socket: Socket,
    address: Option<SocketAddr>,
    layers: &Layers,
) -> io::Result<Opened> {
    match layers.is_plain() {
        true => Ok(Opened::plain(socket, address)),
        // In a box, likewise.
        false => Box::pin(open_layers(socket, address, layers)).await,
    }
}

async fn open_layers(
    socket: Socket,
    address: Option<SocketAddr>,
    #[cfg_attr(not(any(feature = "tls", feature = "ws")), expect(unused_variables))]
    layers: &Layers,
) -> io::Result<Opened> {
    #[cfg(feature = "tls")]
    let opened = match &layers.tls {
        Some(tls) => {
            let (stream, certificate) = tls.accept(socket).await?;
            Opened { stream: Stream::Tls(Box::new(stream)), address, certificate }
        }
        None => Opened::plain(socket, address),
    };
    #[cfg(not(feature = "tls"))]
    let opened = Opened::plain(socket, address);
    #[cfg(feature = "ws")]
    if let Some(origins) = &layers.websocket {
        let stream = websocket::upgrade(opened.stream, origins).await?;
        return Ok(Opened { stream: Stream::WebSocket(Box::new(stream)), ..opened });
    }
    Ok(opened)
}
