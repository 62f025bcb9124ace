//! Sockets that are listened on.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};

use tokio::net::TcpListener;
#[cfg(unix)]
pub(super) use unix::UnixSocket;

use super::stream::Socket;
use crate::listener::Place;

#[cfg(unix)]
mod unix;

/// Dropping it closes it.
#[derive(Debug)]
pub(crate) enum Bound {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixSocket),
}

impl Bound {
    pub(crate) async fn bind(place: &Place) -> io::Result<Bound> {
        match place {
            Place::Tcp(addr) => Ok(Bound::Tcp(TcpListener::bind(addr).await?)),
            #[cfg(unix)]
            Place::Unix { path, mode } => {
                Ok(Bound::Unix(UnixSocket::bind(path.clone(), *mode).await?))
            }
        }
    }

    /// Where it listens, if that is an address of IP.
    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Bound::Tcp(listener) => listener.local_addr().ok(),
            #[cfg(unix)]
            Bound::Unix(_) => None,
        }
    }

    /// The next connection, and where it comes from.
    pub(super) fn poll_accept(
        &self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<(Socket, Option<SocketAddr>)>> {
        Poll::Ready(match self {
            Bound::Tcp(listener) => {
                let (stream, from) = ready!(listener.poll_accept(context))?;
                // Acknowledgements are small and somebody waits for them. A socket that refuses is
                // slower.
                drop(stream.set_nodelay(true));
                Ok((Socket::Tcp(stream), Some(from)))
            }
            #[cfg(unix)]
            Bound::Unix(socket) => Ok((Socket::Unix(ready!(socket.poll_accept(context))?), None)),
        })
    }
}
