//! One MQTT connection of the load generator.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::TcpStream;

use super::Result;
use super::packet::{Codec, Credentials, Packet, split};

/// How long a broker may take for CONNACK and SUBACK.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// More than any answer to CONNECT or SUBSCRIBE has.
const ANSWER_BYTES: usize = 64 * 1024;

/// The broker under load, and who we are to it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Broker<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) credentials: Option<Credentials<'a>>,
}

pub(super) struct Client {
    socket: TcpStream,
    /// The beginning of a packet whose end has not come.
    rest: Vec<u8>,
    out: Vec<u8>,
    writable: bool,
}

impl Client {
    /// Connects and subscribes, both answered when this returns. A publisher has no filters.
    pub(super) fn connect(
        broker: Broker<'_>,
        number: usize,
        codec: &Codec,
        is_kept: bool,
        (filters, qos): (&[String], u8),
    ) -> Result<Client> {
        let mut socket = std::net::TcpStream::connect(broker.address)
            .map_err(|error| format!("cannot connect to {}: {error}", broker.address))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(ANSWER_WITHIN))?;
        let client_id = format!("load-{}-{number}", std::process::id());
        socket.write_all(&codec.connect(&client_id, is_kept, broker.credentials))?;
        let (first, body) = answer(&mut socket)?;
        if !codec.is_connack(first, &body) {
            return Err(format!("{first:#x} {body:x?} instead of a CONNACK that lets us in").into());
        }
        if !filters.is_empty() {
            socket.write_all(&codec.subscribe(filters, qos))?;
            let (first, body) = answer(&mut socket)?;
            if !codec.is_suback(first, &body, filters.len(), qos) {
                let wanted = format!("a SUBACK with QoS {qos}");
                return Err(format!("{first:#x} {body:x?} instead of {wanted}").into());
            }
        }
        socket.set_nonblocking(true)?;
        let socket = TcpStream::from_std(socket);
        Ok(Client { socket, rest: Vec::new(), out: Vec::new(), writable: true })
    }

    pub(super) fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// What is written with the next [`Client::flush`].
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// The socket takes bytes again.
    pub(super) fn may_write(&mut self) {
        self.writable = true;
    }

    /// Writes what it can.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let mut written = 0;
        while self.writable && written < self.out.len() {
            match self.socket.write(&self.out[written..]) {
                Ok(bytes) => written += bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) => return Err(error),
            }
        }
        self.out.drain(..written);
        Ok(())
    }

    /// Reads all there is and hands each packet to `got`, with where to put answers.
    pub(super) fn read(
        &mut self,
        codec: &Codec,
        buffer: &mut [u8],
        mut got: impl FnMut(Packet, &mut Vec<u8>),
    ) -> io::Result<()> {
        loop {
            let begun = self.rest.len();
            let bytes = match self.socket.read(&mut buffer[begun..]) {
                Ok(0) => return Err(io::Error::other("the broker closed a connection")),
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            // Less than there was room for is all there is; more makes an event of its own.
            let is_last = begun + bytes < buffer.len();
            buffer[..begun].copy_from_slice(&self.rest);
            let mut unread = &buffer[..begun + bytes];
            while let Some((packet, length)) = codec.take(unread) {
                got(packet, &mut self.out);
                unread = &unread[length..];
            }
            self.rest.clear();
            self.rest.extend_from_slice(unread);
            if is_last {
                return Ok(());
            }
        }
    }
}

/// First byte and body of the next packet, and nothing behind it.
fn answer(socket: &mut std::net::TcpStream) -> Result<(u8, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some((first, body, _)) = split(&bytes) {
            return Ok((first, body.to_vec()));
        }
        let mut byte = [0];
        socket
            .read_exact(&mut byte)
            .map_err(|error| format!("no answer of the broker: {error}"))?;
        bytes.extend(byte);
        if bytes.len() > ANSWER_BYTES {
            return Err("an answer of the broker without an end".into());
        }
    }
}
