//! Clients over loopback sockets that send mutated packets to a whole broker: sessions, queues,
//! wills, shared subscriptions and retained messages of few clients and topics, under limits that
//! are reached. What the broker answers has to decode, and one client that keeps the rules has to be
//! served all along.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use edge_mq::packet::{Decoder, Packet, Version};
use edge_mq::{Broker, Limits, LocalSubscription, Message, Stats};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::chance::Chance;
use crate::codec::encoded;
use crate::mutate::mutate;
use crate::packets;

/// Clients at once.
const CLIENTS: usize = 8;
/// Packets of one connection at most: a mutated one most often ends it.
const STREAM: usize = 400;
/// Answers of a client that wait to be written.
const ANSWERS: usize = 64;
/// Of so many packets one is mutated.
const MUTATED: usize = 400;
/// When the broker counts as hung. Nothing else depends on the time.
const FOR_EVER: Duration = Duration::from_secs(120);

/// A broker, and the client that keeps the rules.
pub(crate) struct Victim {
    broker: Broker,
    addr: SocketAddr,
    witness: LocalSubscription,
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.packet_bytes = 8 * 1024;
    limits.sessions = 50;
    limits.session_expiry = Duration::from_secs(3);
    limits.receive_maximum = 200;
    limits.inflight_messages = 16;
    limits.topic_aliases = 8;
    limits.subscriptions = 8;
    limits.queue_messages = 100;
    limits.queue_bytes = 64 * 1024;
    limits.queue_bytes_total = 256 * 1024;
    limits.retained_messages = 5;
    limits.write_buffer_bytes = 16 * 1024;
    limits
}

impl Victim {
    pub(crate) async fn start() -> Victim {
        let builder = Broker::builder().listen(([127, 0, 0, 1], 0).into()).limits(limits());
        let broker = builder.start().await.expect("a broker on loopback");
        let addr = broker.local_addr().expect("it listens");
        let witness = broker.local().subscribe("witness/#", 10).await.expect("it is the first");
        Victim { broker, addr, witness }
    }

    /// Sends about `count` packets; gives how many it were.
    pub(crate) async fn batch(&mut self, chance: &mut Chance, count: usize) -> usize {
        let mut sent = 0;
        let mut clients = JoinSet::new();
        while sent < count || !clients.is_empty() {
            while sent < count && clients.len() < CLIENTS {
                let stream = Stream::new(chance);
                sent += stream.packets.len();
                clients.spawn(run(self.addr, stream, chance.number()));
            }
            if let Some(ended) = clients.join_next().await {
                ended.expect("a client fails by panicking");
            }
            self.check().await;
        }
        sent
    }

    /// The rules hold for the others, and the limits for all.
    async fn check(&mut self) {
        let message = Message::new("witness/is/served".parse().expect("a topic"), "hi");
        self.broker.local().publish(message).await.expect("the broker runs");
        let got = timeout(FOR_EVER, self.witness.recv()).await.expect("the broker hangs");
        assert_eq!(got.expect("the broker runs").payload(), "hi");
        let (stats, limits) = (self.broker.stats(), limits());
        assert!(stats.queued_bytes <= limits.queue_bytes_total, "{stats:?}");
        assert!(stats.retained <= limits.retained_messages, "{stats:?}");
        assert!(stats.sessions <= limits.sessions, "{stats:?}");
        let subscriptions = limits.sessions * limits.subscriptions + 1;
        assert!(stats.subscriptions <= subscriptions, "{stats:?}");
    }

    /// What it has counted.
    pub(crate) fn stats(&self) -> Stats {
        self.broker.stats()
    }

    /// Nobody is left behind.
    pub(crate) async fn stop(self) {
        let stopping = self.broker.shutdown(FOR_EVER);
        let left = timeout(FOR_EVER, stopping).await.expect("the broker hangs").expect("it runs");
        assert_eq!((left.connections, left.uncommitted), (0, 0), "{left:?}");
    }
}

/// What one client sends.
struct Stream {
    version: Version,
    packets: Vec<Vec<u8>>,
    /// Whether the CONNECT was mutated, so that nobody knows which version the answers have.
    is_unclear: bool,
}

impl Stream {
    fn new(chance: &mut Chance) -> Stream {
        let version = if chance.one_in(2) { Version::V311 } else { Version::V5 };
        let first = Packet::Connect(Box::new(packets::connect(chance, version)));
        let mut packets = vec![encoded(&first, version)];
        for _ in 0..chance.below(STREAM) {
            packets.push(encoded(&packets::from_client(chance, version), version));
        }
        let mut is_unclear = false;
        for (at, packet) in packets.iter_mut().enumerate() {
            if chance.one_in(MUTATED) {
                is_unclear |= at == 0;
                let other = encoded(&packets::any(chance, version), version);
                mutate(chance, packet, &other);
            }
        }
        Stream { version, packets, is_unclear }
    }
}

async fn run(addr: SocketAddr, stream: Stream, seed: u64) {
    let mut socket = TcpStream::connect(addr).await.expect("the broker accepts");
    let (mut reader, mut writer) = socket.split();
    let (answers, owed) = mpsc::channel(ANSWERS);
    let write = async move {
        // Both ways end with the connection, whichever end closes it.
        drop(write(&mut writer, &stream.packets, owed, Chance::new(seed)).await);
        drop(writer.shutdown().await);
    };
    let read = read(&mut reader, stream.version, stream.is_unclear, answers);
    timeout(FOR_EVER, async { tokio::join!(write, read) }).await.expect("the broker hangs");
}

/// Writes packets, and answers between them, in pieces that end anywhere.
async fn write(
    writer: &mut WriteHalf<'_>,
    packets: &[Vec<u8>],
    mut owed: mpsc::Receiver<Vec<u8>>,
    mut chance: Chance,
) -> io::Result<()> {
    let mut bytes = Vec::new();
    for packet in packets {
        while let Ok(answer) = owed.try_recv() {
            bytes.extend_from_slice(&answer);
        }
        bytes.extend_from_slice(packet);
        if chance.one_in(8) {
            let piece = bytes.len().min(1 + chance.below(bytes.len()));
            writer.write_all(&bytes[..piece]).await?;
            bytes.drain(..piece);
            // The broker gets a turn to answer.
            tokio::task::yield_now().await;
        }
    }
    writer.write_all(&bytes).await
}

/// Reads what the broker says, which has to be packets, and answers it.
async fn read(
    reader: &mut ReadHalf<'_>,
    version: Version,
    is_unclear: bool,
    answers: mpsc::Sender<Vec<u8>>,
) {
    let mut decoder = Decoder::new(version, usize::MAX);
    let mut buffer = BytesMut::new();
    while reader.read_buf(&mut buffer).await.is_ok_and(|read| read > 0) {
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(packet)) => {
                    let answer = packets::answer(&packet).map(|packet| encoded(&packet, version));
                    // A client that has too much to say leaves some out.
                    answer.into_iter().for_each(|answer| drop(answers.try_send(answer)));
                }
                Ok(None) => break,
                Err(_) if is_unclear => break,
                Err(error) => panic!("the broker answered {buffer:?}: {error}"),
            }
        }
    }
}
