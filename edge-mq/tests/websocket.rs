//! MQTT over WebSocket, with and without TLS: by a client that we did not write, and frame by frame
//! as MQTT 5.0 section 6 has it.

#![cfg(feature = "ws")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#[cfg(feature = "tls")]
#[path = "support/authority.rs"]
mod authority;
#[path = "support/device.rs"]
mod device;

use std::io::Cursor;
use std::net::SocketAddr;

use bytes::{Buf, Bytes, BytesMut};
use device::{FOR_EVER, Options, Route, VERSIONS};
use edge_mq::access::{Auth, AuthFuture, Denied, Exchange, Login, Step, StepFuture, User};
use edge_mq::packet::{Decoder, Packet, Version};
use edge_mq::{Broker, Listener, ReasonCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};
use tungstenite::protocol::frame::{Frame, FrameHeader};

fn here() -> Listener {
    Listener::tcp(([127, 0, 0, 1], 0)).websocket()
}

async fn start(listener: Listener) -> (Broker, SocketAddr) {
    let broker = Broker::builder().listen(listener).start().await.unwrap();
    let addr = broker.local_addr().unwrap();
    (broker, addr)
}

#[tokio::test]
async fn every_qos_passes_through_websocket_and_large_messages_too() {
    let (_broker, addr) = start(here()).await;
    for version in VERSIONS {
        let mut device = Options::new(version, "device").connect(Route::websocket(addr)).await;
        device.is_served().await;
        // Frames of each length of a header.
        for len in [10, 1000, 9000] {
            device.publish("self/device", 1, false, &"x".repeat(len)).await;
            assert_eq!(device.message().await.payload.len(), len);
        }
        device.disconnect().await;
    }
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn every_qos_passes_through_websocket_over_tls() {
    use edge_mq::{Pem, Tls};
    let authority = authority::Authority::new("ca");
    let server = authority.server();
    let tls = Tls::builder(Pem::text(server.certificate), Pem::text(server.key)).build().unwrap();
    let (_broker, addr) = start(here().tls(&tls)).await;
    for version in VERSIONS {
        let route = Route::websocket_tls(addr, authority.trusted(None));
        let mut device = Options::new(version, "device").connect(route).await;
        device.is_served().await;
        device.disconnect().await;
    }
}

const REQUEST: &str = "GET /mqtt HTTP/1.1\r\nHost: edge\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";

/// MQTT 5.0, clean start, no keep alive, client identifier `w`.
const CONNECT: &[u8] = b"\x10\x0E\0\x04MQTT\x05\x02\0\0\0\0\x01w";

const SUBSCRIBE: &[u8] = b"\x82\x07\0\x01\0\0\x01a\0";

/// To `a`, with QoS 0.
const PUBLISH: &[u8] = b"\x30\x06\0\x01a\0hi";

/// A client that writes frames as they are and reads them.
struct Web {
    stream: TcpStream,
    buffer: BytesMut,
    /// Payloads of frames that are no packet yet.
    payload: BytesMut,
}

impl Web {
    /// Sends a request, and what is to come right behind it; returns the answer, too.
    async fn request(addr: SocketAddr, request: &str, behind: &[u8]) -> (Web, String) {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(&[request.as_bytes(), behind].concat()).await.unwrap();
        let (buffer, payload) = (BytesMut::new(), BytesMut::new());
        let mut web = Web { stream, buffer, payload };
        loop {
            let end = web.buffer.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                let answer = web.buffer.split_to(end + 4);
                return (web, String::from_utf8(answer.to_vec()).unwrap());
            }
            assert!(web.read().await, "closed without an answer");
        }
    }

    async fn open(addr: SocketAddr) -> Web {
        let (web, answer) = Web::request(addr, REQUEST, b"").await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        web
    }

    async fn connect(addr: SocketAddr) -> Web {
        let mut web = Web::open(addr).await;
        web.send(Data::Binary, true, CONNECT).await;
        assert!(matches!(web.packet().await, Some(Packet::ConnAck(_))));
        web
    }

    async fn read(&mut self) -> bool {
        let read = timeout(FOR_EVER, self.stream.read_buf(&mut self.buffer)).await;
        read.expect("nothing happened for ever").unwrap_or(0) > 0
    }

    async fn send(&mut self, opcode: Data, is_final: bool, payload: &[u8]) {
        let frame = Frame::message(payload.to_vec(), OpCode::Data(opcode), is_final);
        self.stream.write_all(&masked(frame)).await.unwrap();
    }

    async fn control(&mut self, frame: Frame) {
        self.stream.write_all(&masked(frame)).await.unwrap();
    }

    /// The next frame; `None` when the connection is closed.
    async fn frame(&mut self) -> Option<(OpCode, Vec<u8>)> {
        loop {
            let mut cursor = Cursor::new(&self.buffer[..]);
            if let Some((header, len)) = FrameHeader::parse(&mut cursor).unwrap() {
                assert!(header.is_final && header.mask.is_none());
                let head = usize::try_from(cursor.position()).unwrap();
                let len = usize::try_from(len).unwrap();
                if self.buffer.len() >= head + len {
                    self.buffer.advance(head);
                    return Some((header.opcode, self.buffer.split_to(len).to_vec()));
                }
            }
            if !self.read().await {
                return None;
            }
        }
    }

    /// The next packet; nothing but binary frames comes up to its end.
    async fn packet(&mut self) -> Option<Packet> {
        loop {
            let mut decoder = Decoder::new(Version::V5, 1024 * 1024);
            if let Some(packet) = decoder.decode(&mut self.payload).unwrap() {
                return Some(packet);
            }
            let (opcode, payload) = self.frame().await?;
            assert_eq!(opcode, OpCode::Data(Data::Binary));
            self.payload.extend_from_slice(&payload);
        }
    }

    /// The payload of the Close frame behind a DISCONNECT with this reason.
    async fn closed(&mut self, reason: ReasonCode) -> Option<Vec<u8>> {
        match self.packet().await {
            Some(Packet::Disconnect(disconnect)) => assert_eq!(disconnect.code, reason),
            other => panic!("{other:?} in place of DISCONNECT"),
        }
        let (opcode, payload) = self.frame().await?;
        assert_eq!(opcode, OpCode::Control(Control::Close));
        assert_eq!(self.frame().await, None);
        Some(payload)
    }
}

fn masked(mut frame: Frame) -> Vec<u8> {
    frame.header_mut().mask = Some([0xDE, 0xAD, 0xBE, 0xEF]);
    let mut bytes = Vec::new();
    frame.format(&mut bytes).unwrap();
    bytes
}

#[tokio::test]
async fn packets_may_span_frames_and_frames_hold_several() {
    let (_broker, addr) = start(here()).await;
    let mut web = Web::open(addr).await;
    // MQTT-6.0.0-2: borders of packets and frames have nothing to do with each other.
    for (at, byte) in CONNECT.iter().enumerate() {
        let opcode = if at == 0 { Data::Binary } else { Data::Continue };
        web.send(opcode, at + 1 == CONNECT.len(), &[*byte]).await;
    }
    assert!(matches!(web.packet().await, Some(Packet::ConnAck(_))));
    let (start, end) = PUBLISH.split_at(3);
    web.send(Data::Binary, true, &[SUBSCRIBE, PUBLISH, start].concat()).await;
    assert!(matches!(web.packet().await, Some(Packet::SubAck(_))));
    assert!(matches!(web.packet().await, Some(Packet::Publish(_))));
    web.send(Data::Binary, true, end).await;
    assert!(matches!(web.packet().await, Some(Packet::Publish(_))));
}

#[tokio::test]
async fn what_comes_right_behind_the_request_counts() {
    let (_broker, addr) = start(here()).await;
    let early = masked(Frame::message(CONNECT.to_vec(), OpCode::Data(Data::Binary), true));
    let (mut web, answer) = Web::request(addr, REQUEST, &early).await;
    assert!(answer.contains("\r\nSec-WebSocket-Protocol: mqtt\r\n"), "{answer}");
    assert!(matches!(web.packet().await, Some(Packet::ConnAck(_))));
}

/// Has everybody answer one question.
#[derive(Debug)]
struct Question;

impl Auth for Question {
    fn authenticate(&self, _: Login) -> AuthFuture<'_> {
        Box::pin(async { Err(Denied::NotAuthorized) })
    }

    fn exchange(&self, _: &str, _: &Login) -> Option<Box<dyn Exchange>> {
        Some(Box::new(Question))
    }

    fn may_stay(&self, _: &User) -> bool {
        true
    }
}

impl Exchange for Question {
    fn step(self: Box<Question>, data: Option<Bytes>) -> StepFuture {
        Box::pin(async {
            Ok(match data {
                None => Step::Challenge { data: "why?".into(), next: self },
                data => Step::Done { user: User::anonymous(), data },
            })
        })
    }
}

#[tokio::test]
async fn authentication_in_several_steps_passes_through_frames() {
    let (_broker, addr) = start(here().auth(Question)).await;
    let mut web = Web::open(addr).await;
    let connect = b"\x10\x12\0\x04MQTT\x05\x02\0\0\x04\x15\0\x01q\0\x01w";
    web.send(Data::Binary, true, connect).await;
    let challenge = web.packet().await;
    assert!(matches!(challenge, Some(Packet::Auth(_))), "{challenge:?}");
    let answer = b"\xF0\x0A\x18\x08\x15\0\x01q\x16\0\x01a";
    web.send(Data::Binary, true, answer).await;
    let ack = web.packet().await;
    assert!(matches!(ack, Some(Packet::ConnAck(_))), "{ack:?}");
}

#[tokio::test]
async fn ping_gets_its_pong_and_close_its_close() {
    let (broker, addr) = start(here()).await;
    let mut will = broker.local().subscribe("will", 1).await.unwrap();
    let mut web = Web::open(addr).await;
    let connect = b"\x10\x18\0\x04MQTT\x05\x06\0\0\0\0\x01w\0\0\x04will\0\x01x";
    web.send(Data::Binary, true, connect).await;
    assert!(matches!(web.packet().await, Some(Packet::ConnAck(_))));
    web.control(Frame::ping(b"are you there".to_vec())).await;
    let pong = (OpCode::Control(Control::Pong), b"are you there".to_vec());
    assert_eq!(web.frame().await, Some(pong));
    web.control(Frame::close(None)).await;
    let close = (OpCode::Control(Control::Close), vec![0x03, 0xE8]);
    assert_eq!(web.frame().await, Some(close));
    assert_eq!(web.frame().await, None);
    // No DISCONNECT came, so this is no end that the client wanted.
    assert_eq!(will.recv().await.unwrap().payload(), "x");
}

#[tokio::test]
async fn text_and_broken_frames_close_the_connection_and_say_why() {
    let (broker, addr) = start(here()).await;
    let mut witness = Options::new(VERSIONS[1], "witness").connect(Route::websocket(addr)).await;
    // MQTT-6.0.0-1.
    let mut web = Web::connect(addr).await;
    web.send(Data::Text, true, PUBLISH).await;
    assert_eq!(web.closed(ReasonCode::PROTOCOL_ERROR).await, Some(vec![0x03, 0xEB]));
    witness.is_served().await;
    // Not masked.
    let mut web = Web::connect(addr).await;
    web.stream.write_all(b"\x82\x02\xC0\0").await.unwrap();
    assert_eq!(web.closed(ReasonCode::PROTOCOL_ERROR).await, Some(vec![0x03, 0xEA]));
    witness.is_served().await;
    assert_eq!(broker.stats().protocol_errors, 2);
}

#[tokio::test]
async fn shutdown_says_goodbye_in_both_protocols() {
    let (broker, addr) = start(here()).await;
    let mut web = Web::connect(addr).await;
    let stopping = tokio::spawn(async move { broker.shutdown(FOR_EVER).await.unwrap() });
    let reason = web.closed(ReasonCode::SERVER_SHUTTING_DOWN).await;
    assert_eq!(reason, Some(vec![0x03, 0xE9]));
    drop(web);
    assert_eq!(stopping.await.unwrap().connections, 0);
}

#[tokio::test]
async fn request_without_mqtt_or_from_a_foreign_page_is_refused() {
    let (broker, addr) = start(here()).await;
    let plain = "GET / HTTP/1.1\r\nHost: edge\r\n\r\n".to_owned();
    let origin = "Sec-WebSocket-Version: 13\r\nOrigin: https://elsewhere.example";
    let cases = [
        (plain, "HTTP/1.1 400 "),
        // MQTT-6.0.0-3.
        (REQUEST.replace("mqtt\r\n", "amqp\r\n"), "HTTP/1.1 400 "),
        (REQUEST.replace(": 13", ": 8"), "HTTP/1.1 426 "),
        (REQUEST.replace("Sec-WebSocket-Version: 13", origin), "HTTP/1.1 403 "),
        (format!("GET / HTTP/1.1\r\nCookie: {}", "x".repeat(9000)), "HTTP/1.1 431 "),
    ];
    for (request, expected) in &cases {
        let (mut web, answer) = Web::request(addr, request, b"").await;
        assert!(answer.starts_with(expected), "{expected}: {answer}");
        while web.read().await {}
    }
    assert_eq!(broker.stats().failed_handshakes, cases.len() as u64);
    let foreign = REQUEST.replace("Sec-WebSocket-Version: 13", origin);
    let (_broker, addr) = start(here().origin("https://elsewhere.example")).await;
    let (_, answer) = Web::request(addr, &foreign, b"").await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
}

#[tokio::test]
async fn reader_that_takes_nothing_is_written_whole_frames_once_it_does() {
    let (broker, addr) = start(here()).await;
    let mut web = Web::connect(addr).await;
    web.send(Data::Binary, true, SUBSCRIBE).await;
    assert!(matches!(web.packet().await, Some(Packet::SubAck(_))));
    let local = broker.local();
    // More than both sockets hold, some in slices of their own and some copied among others.
    for number in 0..2000_u32 {
        let len = if number % 2 == 0 { 10_000 } else { 100 };
        let payload = [&number.to_be_bytes()[..], &vec![7; len]].concat();
        let message = edge_mq::Message::new("a".parse().unwrap(), payload);
        local.publish(message.qos(edge_mq::QoS::AtMostOnce)).await.unwrap();
    }
    // A ping in the middle is answered between two frames.
    web.control(Frame::ping(b"?".to_vec())).await;
    let (mut bytes, mut pongs, mut next) = (BytesMut::new(), 0, 0);
    let mut decoder = Decoder::new(Version::V5, 1024 * 1024);
    while next < 2000 || pongs == 0 {
        match web.frame().await.expect("closed before all was there") {
            (OpCode::Data(Data::Binary), payload) => bytes.extend_from_slice(&payload),
            (OpCode::Control(Control::Pong), _) => pongs += 1,
            other => panic!("{other:?}"),
        }
        while let Some(packet) = decoder.decode(&mut bytes).unwrap() {
            let Packet::Publish(publish) = packet else { panic!("{packet:?}") };
            assert_eq!(publish.payload[..4], u32::to_be_bytes(next));
            next += 1;
        }
    }
    assert_eq!(pongs, 1);
}
