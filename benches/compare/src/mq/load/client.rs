//! One MQTT connection of the load generator.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::TcpStream;

use crate::Result;
use crate::mq::packet::{self, Packet};
use crate::mq::traffic::Traffic;

/// How long a broker may take for CONNACK and SUBACK.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

pub(super) struct Client {
    socket: TcpStream,
    /// The beginning of a packet whose end has not come.
    rest: Vec<u8>,
    out: Vec<u8>,
    writable: bool,
}

impl Client {
    /// Connects and subscribes, both answered when this returns.
    pub(super) fn connect(
        broker: SocketAddr,
        number: usize,
        filter: Option<&str>,
        traffic: Traffic,
    ) -> Result<Client> {
        let Traffic { qos, is_kept, .. } = traffic;
        let mut socket = std::net::TcpStream::connect(broker)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(ANSWER_WITHIN))?;
        socket.write_all(&packet::connect(
            &format!("client-{number}"),
            is_kept && filter.is_some(),
        ))?;
        expect(&mut socket, packet::CONNACK)?;
        if let Some(filter) = filter {
            socket.write_all(&packet::subscribe(filter, qos))?;
            expect(&mut socket, packet::suback(qos))?;
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
            while let Some((packet, length)) = packet::take(unread) {
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

fn expect<const N: usize>(socket: &mut std::net::TcpStream, answer: [u8; N]) -> Result<()> {
    let mut got = [0; N];
    socket.read_exact(&mut got)?;
    if got == answer { Ok(()) } else { Err(format!("{got:x?} instead of {answer:x?}").into()) }
}
