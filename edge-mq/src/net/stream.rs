//! The byte stream of one connection, whatever lies under it.
//!
//! An enum and no `dyn`: the bytes of a plain socket take one branch more, and no pointer. What is
//! large lies in a box, so that a plain connection keeps no memory for it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
#[cfg(feature = "tls")]
use tokio_rustls::server::TlsStream;

#[cfg(feature = "ws")]
use super::websocket::WebSocket;

/// What the operating system knows.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

/// A socket, or what a listener asks for on top of it.
#[derive(Debug)]
pub(super) enum Stream {
    Socket(Socket),
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream<Socket>>),
    #[cfg(feature = "ws")]
    WebSocket(Box<WebSocket>),
}

/// Calls a method of whatever stream this is.
macro_rules! of_socket {
    ($socket:expr, $stream:ident => $call:expr) => {
        match $socket {
            Socket::Tcp($stream) => $call,
            #[cfg(unix)]
            Socket::Unix($stream) => $call,
        }
    };
}

macro_rules! of_stream {
    ($any:expr, $stream:ident => $call:expr) => {
        match $any {
            Stream::Socket($stream) => $call,
            #[cfg(feature = "tls")]
            Stream::Tls($stream) => $call,
            #[cfg(feature = "ws")]
            Stream::WebSocket($stream) => $call,
        }
    };
}

impl Stream {
    /// Whether there may be something to read; above a plain socket only reading tells.
    pub(super) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Socket(socket) => {
                of_socket!(socket, stream => stream.poll_read_ready(context))
            }
            #[cfg(any(feature = "tls", feature = "ws"))]
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Whether there is a goodbye below that of MQTT.
    pub(super) fn has_goodbye(&self) -> bool {
        !matches!(self, Stream::Socket(_))
    }
}

macro_rules! delegate {
    ($type:ty, $of:ident) => {
        impl AsyncRead for $type {
            fn poll_read(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                $of!(self.get_mut(), stream => Pin::new(stream).poll_read(context, buffer))
            }
        }

        impl AsyncWrite for $type {
            fn poll_write(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                $of!(self.get_mut(), stream => Pin::new(stream).poll_write(context, bytes))
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                bytes: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                $of!(self.get_mut(), stream => Pin::new(stream).poll_write_vectored(context, bytes))
            }

            fn is_write_vectored(&self) -> bool {
                $of!(self, stream => stream.is_write_vectored())
            }

            fn poll_flush(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                $of!(self.get_mut(), stream => Pin::new(stream).poll_flush(context))
            }

            fn poll_shutdown(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                $of!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(context))
            }
        }
    };
}

delegate!(Socket, of_socket);
delegate!(Stream, of_stream);
