//! A client that writes bytes as they are and reads packets.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use edge_mq::packet::{Decoder, Packet, Version};
use edge_mq::{Broker, ReasonCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// When a test has failed. Nothing is asserted about time: it only ends what would wait for ever.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(60);

pub(crate) struct Raw {
    stream: TcpStream,
    decoder: Decoder,
    buffer: BytesMut,
}

impl Raw {
    pub(crate) async fn open(broker: &Broker) -> Raw {
        Raw::to(broker.local_addr().unwrap()).await
    }

    pub(crate) async fn to(addr: SocketAddr) -> Raw {
        Raw::on(TcpStream::connect(addr).await.unwrap())
    }

    pub(crate) fn on(stream: TcpStream) -> Raw {
        stream.set_nodelay(true).unwrap();
        let decoder = Decoder::new(Version::V5, 10 * 1024 * 1024);
        Raw { stream, decoder, buffer: BytesMut::new() }
    }

    /// A client of MQTT 5.0 without keep alive, whose session ends with its connection.
    pub(crate) async fn connect(broker: &Broker, name: &[u8]) -> Raw {
        let mut raw = Raw::open(broker).await;
        let len = u8::try_from(name.len()).unwrap();
        raw.send(&[0x10, 13 + len]).await;
        raw.send(b"\0\x04MQTT\x05\x02\0\0\0\0").await;
        raw.send(&[len]).await;
        raw.send(name).await;
        match raw.next().await {
            Some(Packet::ConnAck(ack)) if ack.code == ReasonCode::SUCCESS => raw,
            other => panic!("{other:?} in place of CONNACK"),
        }
    }

    /// A client that keeps the rules, and gets what it publishes.
    pub(crate) async fn witness(broker: &Broker) -> Raw {
        let mut witness = Raw::connect(broker, b"witness").await;
        witness.is_served().await;
        witness
    }

    /// Subscribes anew and publishes, and waits for what comes back.
    pub(crate) async fn is_served(&mut self) {
        self.subscribe("witness", 0).await;
        self.send(b"\x30\x0C\0\x07witness\0hi").await;
        match self.next().await {
            Some(Packet::Publish(publish)) => assert_eq!(publish.payload, "hi"),
            other => panic!("{other:?} in place of a message"),
        }
    }

    pub(crate) async fn subscribe(&mut self, filter: &str, qos: u8) {
        let len = u8::try_from(filter.len()).unwrap();
        self.send(&[0x82, 6 + len, 0, 1, 0, 0, len]).await;
        self.send(filter.as_bytes()).await;
        self.send(&[qos]).await;
        assert!(matches!(self.next().await, Some(Packet::SubAck(_))));
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The broker may have closed the connection already.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) {
        drop(self.stream.write_all(bytes).await);
    }

    /// The next bytes, of whatever version, in front of any packet that was read.
    pub(crate) async fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let read = timeout(FOR_EVER, self.stream.read_exact(&mut bytes)).await;
        read.expect("nothing happened for ever").unwrap();
        bytes
    }

    /// The next packet; `None` when the connection is closed, one way or the other.
    pub(crate) async fn next(&mut self) -> Option<Packet> {
        loop {
            if let Some(packet) = self.decoder.decode(&mut self.buffer).unwrap() {
                return Some(packet);
            }
            let read = timeout(FOR_EVER, self.stream.read_buf(&mut self.buffer)).await;
            if read.expect("nothing happened for ever").unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// The reason of the DISCONNECT that ends the connection, with nothing behind it.
    pub(crate) async fn disconnected(mut self) -> Option<ReasonCode> {
        let mut reason = None;
        while let Some(packet) = self.next().await {
            assert_eq!(reason, None, "{packet:?} came behind DISCONNECT");
            if let Packet::Disconnect(disconnect) = packet {
                reason = Some(disconnect.code);
            }
        }
        reason
    }
}
