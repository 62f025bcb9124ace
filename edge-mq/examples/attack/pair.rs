//! Two clients that keep the rules: one publishes 1,000 messages a second with QoS 1, the other gets
//! them. How long each took is what an attack on others must not change much.

#![allow(clippy::disallowed_methods, reason = "a measurement reads the clock")]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::wire;

/// From one message to the next.
const EVERY: Duration = Duration::from_millis(1);
/// Not that of the attackers.
const HERE: [u8; 4] = [127, 0, 0, 2];
/// A message that takes longer is lost.
const FOR_EVER: Duration = Duration::from_secs(60);

pub(crate) struct Pair {
    publisher: TcpStream,
    took: Receiver<Duration>,
    since: Instant,
    next_id: u16,
}

/// Of one measurement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Latency {
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

impl Pair {
    pub(crate) fn connect(broker: SocketAddr) -> io::Result<Pair> {
        let since = Instant::now();
        let mut subscriber = enter(broker, "subscriber")?;
        subscriber.write_all(&wire::subscribe("pair", 1))?;
        subscriber.read_exact(&mut [0; 5])?;
        let publisher = enter(broker, "publisher")?;
        let mut acknowledged = publisher.try_clone()?;
        thread::spawn(
            move || while acknowledged.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {},
        );
        // A full one would only let the subscriber read later.
        let (sender, took) = sync_channel(100_000);
        thread::spawn(move || {
            while let Ok(sent) = receive(&mut subscriber) {
                if sender.send((since + sent).elapsed()).is_err() {
                    return;
                }
            }
        });
        Ok(Pair { publisher, took, since, next_id: 0 })
    }

    /// Publishes for so long, and says how long the messages took from the time they were written.
    pub(crate) fn measure(&mut self, time: Duration) -> io::Result<Latency> {
        let start = Instant::now();
        let mut count = 0;
        while start.elapsed() < time {
            count += 1;
            thread::sleep((start + EVERY * count).saturating_duration_since(Instant::now()));
            self.next_id = self.next_id.checked_add(1).unwrap_or(1);
            let sent = u64::try_from(self.since.elapsed().as_nanos()).expect("some years");
            let message = wire::publish("pair", Some(self.next_id), &sent.to_be_bytes());
            self.publisher.write_all(&message)?;
        }
        let mut took = Vec::new();
        for _ in 0..count {
            let one = self.took.recv_timeout(FOR_EVER);
            took.push(one.map_err(|_| io::Error::other("a message of the pair is lost"))?);
        }
        took.sort();
        let at = |hundredths: usize| took[(took.len() * hundredths / 100).min(took.len() - 1)];
        Ok(Latency { p50: at(50), p99: at(99) })
    }
}

/// A message is 6 bytes of topic, 2 of identifier, 8 of payload. Gives when it was sent.
fn receive(subscriber: &mut TcpStream) -> io::Result<Duration> {
    let mut message = [0; 18];
    subscriber.read_exact(&mut message)?;
    let puback = [0x40, 2, message[8], message[9]];
    subscriber.write_all(&puback)?;
    let sent = message.last_chunk().expect("18 bytes hold 8");
    Ok(Duration::from_nanos(u64::from_be_bytes(*sent)))
}

fn enter(broker: SocketAddr, client_id: &str) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((HERE, 0)).into())?;
    socket.connect(&broker.into())?;
    let mut stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.write_all(&wire::connect(client_id))?;
    stream.read_exact(&mut [0; wire::ANSWER_BYTES])?;
    Ok(stream)
}
