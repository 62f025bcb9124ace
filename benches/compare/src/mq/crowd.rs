//! Many connections that do nothing.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::generator::packet::CONNACK;
use super::traffic::codec;
use crate::Result;

/// Connections that wait for their CONNACK at once: enough to keep any broker busy, and far below
/// what it may leave waiting in its backlog.
const AT_ONCE: usize = 128;
/// How long a broker may accept nobody.
const PATIENCE: Duration = Duration::from_secs(10);
/// Files that are open besides connections.
const SPARE_FILES: u64 = 100;

/// Clients that have connected, and stay.
pub(super) struct Crowd {
    poll: Poll,
    events: Events,
    broker: SocketAddr,
    members: Vec<Member>,
    accepted: usize,
}

struct Member {
    socket: TcpStream,
    has_asked: bool,
}

impl Crowd {
    /// Nobody yet; this process, and the brokers it starts from here on, may have so many.
    pub(super) fn allow(count: usize) -> Result<()> {
        open_files(count as u64 + SPARE_FILES)
    }

    pub(super) fn new(broker: SocketAddr) -> Result<Crowd> {
        let (poll, events) = (Poll::new()?, Events::with_capacity(256));
        Ok(Crowd { poll, events, broker, members: Vec::new(), accepted: 0 })
    }

    /// Connects so many; all are accepted when this returns.
    pub(super) fn connect(&mut self, count: usize) -> Result<()> {
        let mut progress = Instant::now();
        while self.accepted < count {
            while self.members.len() < count && self.members.len() - self.accepted < AT_ONCE {
                self.begin()?;
            }
            let before = self.accepted;
            self.wait(PATIENCE)?;
            if self.accepted > before {
                progress = Instant::now();
            }
            if progress.elapsed() >= PATIENCE {
                return Err(format!("{} of {count} were accepted, then none", self.accepted).into());
            }
        }
        Ok(())
    }

    /// Whether all are still connected.
    pub(super) fn check(&mut self) -> Result<()> {
        self.wait(Duration::ZERO)
    }

    fn begin(&mut self) -> Result<()> {
        let mut socket = TcpStream::connect(self.broker).map_err(|error| match error.kind() {
            io::ErrorKind::AddrNotAvailable => {
                let count = self.members.len();
                format!("no port is free after {count}: widen net.ipv4.ip_local_port_range")
            }
            _ => error.to_string(),
        })?;
        let token = Token(self.members.len());
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut socket, token, interest)?;
        self.members.push(Member { socket, has_asked: false });
        Ok(())
    }

    /// Does what the sockets are ready for.
    fn wait(&mut self, time: Duration) -> Result<()> {
        self.poll.poll(&mut self.events, Some(time))?;
        for event in &self.events {
            let number = event.token().0;
            let answered = self.members[number].on_event(event, number);
            self.accepted += usize::from(answered.map_err(|error| format!("{number}: {error}"))?);
        }
        Ok(())
    }
}

impl Member {
    /// Whether it was accepted by this.
    fn on_event(&mut self, event: &Event, number: usize) -> Result<bool> {
        if event.is_writable() && !self.has_asked {
            self.has_asked = true;
            // An empty socket takes all of so little.
            self.socket.write_all(&codec().connect(&format!("idle-{number}"), false, None))?;
        }
        if !event.is_readable() {
            return Ok(false);
        }
        let mut answer = [0; CONNACK.len()];
        match self.socket.read(&mut answer) {
            Ok(_) if answer == CONNACK => Ok(true),
            Ok(0) => Err("the broker closed the connection".into()),
            Ok(bytes) => Err(format!("{:x?} instead of CONNACK", &answer[..bytes]).into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// Raises the limit of open files where it is lower.
fn open_files(needed: u64) -> Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let Some(allowed) = current.filter(|allowed| *allowed < needed) else { return Ok(()) };
    let maximum = maximum.map(|maximum| maximum.max(needed));
    setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum }).map_err(|error| {
        format!(
            "{needed} open files are needed and {allowed} allowed, which this user cannot raise \
             ({error}): ask for `ulimit -n {needed}`"
        )
        .into()
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Accepts one connection, reads its CONNECT and answers with this.
    fn answer_one(answer: &'static [u8]) -> Result<()> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let broker = std::thread::spawn(move || {
            let mut socket = listener.accept().unwrap().0;
            socket.read_exact(&mut [0; 14]).unwrap();
            socket.write_all(answer).unwrap();
        });
        let connected = Crowd::new(address)?.connect(1);
        broker.join().unwrap();
        connected
    }

    #[test]
    fn only_connack_is_accepted() {
        answer_one(&CONNACK).unwrap();
        assert!(answer_one(&[0x20, 2, 0, 3]).is_err());
        assert!(answer_one(&[]).is_err());
    }

    #[test]
    fn files_beyond_the_limit_are_refused_with_a_way_out() {
        open_files(1).unwrap();
        let error = open_files(u64::MAX - 1).unwrap_err().to_string();
        assert!(error.contains("`ulimit -n"), "{error}");
    }
}
