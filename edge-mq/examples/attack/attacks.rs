//! Clients that do what they can to harm the others.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::BytesMut;
use edge_mq::packet::Version;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::chance::Chance;
use crate::mutate::mutate;
use crate::{packets, wire};

/// From one byte of a crawler to its next.
const CRAWL: Duration = Duration::from_millis(100);
/// Where all but the storm of many addresses come from.
const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// Messages of a flood that are written at once.
const BATCH: u16 = 500;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attack {
    /// Publishes as fast as it can.
    Flood { qos: u8 },
    /// Says CONNECT, or a large PUBLISH, byte by byte.
    Crawl,
    /// Subscribes to everything, reads nothing, and floods.
    NeverReads,
    /// Connects and disconnects.
    Storm { addresses: u16 },
    /// Random bytes, and packets that are almost right.
    Garbage,
}

pub(crate) const ALL: [(&str, Attack); 7] = [
    ("flood, QoS 0", Attack::Flood { qos: 0 }),
    ("flood, QoS 1", Attack::Flood { qos: 1 }),
    ("crawl", Attack::Crawl),
    ("never reads", Attack::NeverReads),
    ("storm", Attack::Storm { addresses: 1 }),
    ("storm of many", Attack::Storm { addresses: 10_000 }),
    ("garbage", Attack::Garbage),
];

impl Attack {
    /// How many connections it has at once, if it gets them.
    pub(crate) fn connections(self) -> usize {
        match self {
            Attack::Flood { .. } => 4,
            Attack::Crawl => 200,
            Attack::NeverReads => 12,
            Attack::Storm { .. } | Attack::Garbage => 16,
        }
    }

    /// Goes on until it is dropped, whatever the broker does.
    pub(crate) async fn run(self, broker: SocketAddr) {
        let mut clients = JoinSet::new();
        for number in 0..self.connections() {
            clients.spawn(async move {
                let mut chance = Chance::new(number as u64);
                loop {
                    let ended = self.client(broker, number, &mut chance).await;
                    // Those that are no storm do not become one when they are refused.
                    if ended.is_err() && !matches!(self, Attack::Storm { .. }) {
                        sleep(CRAWL).await;
                    }
                }
            });
        }
        while clients.join_next().await.is_some() {}
    }

    async fn client(
        self,
        broker: SocketAddr,
        number: usize,
        chance: &mut Chance,
    ) -> io::Result<()> {
        match self {
            Attack::Flood { qos } => flood(broker, qos, 64).await,
            Attack::Crawl if number.is_multiple_of(2) => {
                crawl(open(broker, HERE).await?, connect()).await
            }
            Attack::Crawl => {
                let message = wire::publish("flood", None, &[7; 60_000]);
                let mut socket = enter(broker).await?;
                socket.write_all(&message[..message.len() / 2]).await?;
                crawl(socket, message[message.len() / 2..].to_vec()).await
            }
            Attack::NeverReads if number.is_multiple_of(4) => flood(broker, 1, 1024).await,
            Attack::NeverReads => never_read(broker, u8::from(number.is_multiple_of(2))).await,
            Attack::Storm { addresses } => storm(broker, addresses, chance).await,
            Attack::Garbage => garbage(broker, chance).await,
        }
    }
}

fn connect() -> Vec<u8> {
    wire::connect("")
}

/// A connection that goes away without leaving a trace in the tables of the kernel, which has only
/// so many ports.
async fn open(broker: SocketAddr, from: Ipv4Addr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_zero_linger()?;
    socket.bind((from, 0).into())?;
    socket.connect(broker).await
}

/// A client of MQTT.
async fn enter(broker: SocketAddr) -> io::Result<TcpStream> {
    let mut socket = open(broker, HERE).await?;
    socket.write_all(&connect()).await?;
    let mut answer = [0; wire::ANSWER_BYTES];
    socket.read_exact(&mut answer).await?;
    match answer[3] {
        0 => Ok(socket),
        _ => Err(io::ErrorKind::PermissionDenied.into()),
    }
}

async fn flood(broker: SocketAddr, qos: u8, payload_bytes: usize) -> io::Result<()> {
    let payload = vec![7; payload_bytes];
    let ids = (1..=BATCH).map(|id| (qos > 0).then_some(id));
    let batch: Vec<u8> = ids.flat_map(|id| wire::publish("flood", id, &payload)).collect();
    let mut socket = enter(broker).await?;
    let mut acknowledgements = vec![0; if qos > 0 { BATCH.into() } else { 0 } * wire::ANSWER_BYTES];
    loop {
        socket.write_all(&batch).await?;
        socket.read_exact(&mut acknowledgements).await?;
    }
}

async fn crawl(mut socket: TcpStream, bytes: Vec<u8>) -> io::Result<()> {
    for byte in bytes {
        socket.write_all(&[byte]).await?;
        sleep(CRAWL).await;
    }
    Ok(())
}

async fn never_read(broker: SocketAddr, qos: u8) -> io::Result<()> {
    let mut socket = enter(broker).await?;
    socket.write_all(&wire::subscribe("#", qos)).await?;
    loop {
        // To notice that it was closed.
        socket.write_all(wire::PINGREQ).await?;
        sleep(CRAWL).await;
    }
}

async fn storm(broker: SocketAddr, addresses: u16, chance: &mut Chance) -> io::Result<()> {
    let from = match addresses {
        1 => HERE,
        _ => {
            let number =
                u16::try_from(chance.below(addresses.into())).expect("below a number of 16 bits");
            let [high, low] = number.to_be_bytes();
            Ipv4Addr::new(127, 1, high, low)
        }
    };
    let mut socket = open(broker, from).await?;
    socket.write_all(&[&connect()[..], wire::DISCONNECT].concat()).await?;
    while socket.read(&mut [0; 64]).await? > 0 {}
    Ok(())
}

async fn garbage(broker: SocketAddr, chance: &mut Chance) -> io::Result<()> {
    let mut socket = match chance.one_in(2) {
        true => enter(broker).await?,
        false => open(broker, HERE).await?,
    };
    for _ in 0..chance.below(10) {
        let mut piece = BytesMut::new();
        packets::any(chance, Version::V311).encode(Version::V311, &mut piece);
        let mut piece = piece.to_vec();
        match chance.one_in(4) {
            true => piece = chance.bytes(500),
            false => mutate(chance, &mut piece, b"\xC0\0"),
        }
        socket.write_all(&piece).await?;
    }
    // What was taken for the beginning of a packet is not waited for.
    drop(timeout(CRAWL, socket.read(&mut [0; 64])).await);
    Ok(())
}
