//! An MQTT 3.1.1 client in blocking code that keeps what a client has to keep between connections,
//! and can say what it was acknowledged and what it got when its broker dies.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use bytes::BytesMut;
use edge_mq::QoS;
use edge_mq::packet::{
    Ack, Connect, Decoder, Delivery, Packet, PacketId, Properties, Publish, ReasonCode, Subscribe,
    SubscribeOptions, Version,
};

/// What a client keeps.
#[derive(Debug)]
pub(crate) struct Talker {
    name: &'static str,
    /// In the order in which they were sent first.
    sending: VecDeque<Sending>,
    next_id: u16,
    /// Numbers that the broker took over, by QoS.
    pub(crate) acknowledged: Vec<(u8, u64)>,
    /// QoS and numbers, in the order in which they came.
    pub(crate) got: Vec<(u8, u64)>,
    unreleased: BTreeSet<PacketId>,
}

#[derive(Debug)]
struct Sending {
    publish: Publish,
    number: u64,
    /// PUBREC has come.
    is_received: bool,
}

/// A connection of a client.
pub(crate) struct Line<'a> {
    talker: &'a mut Talker,
    stream: TcpStream,
    decoder: Decoder,
    buffer: BytesMut,
    out: BytesMut,
}

fn ack(id: PacketId) -> Ack {
    Ack { id, code: ReasonCode::SUCCESS, properties: Properties::new() }
}

impl Talker {
    pub(crate) fn new(name: &'static str) -> Talker {
        Talker {
            name,
            sending: VecDeque::new(),
            next_id: 1,
            acknowledged: Vec::new(),
            got: Vec::new(),
            unreleased: BTreeSet::new(),
        }
    }

    /// Connects to its session, and sends again what was not acknowledged.
    pub(crate) fn connect(&mut self, broker: SocketAddr) -> io::Result<Line<'_>> {
        let stream = TcpStream::connect(broker)?;
        stream.set_nodelay(true)?;
        let decoder = Decoder::new(Version::V311, 1 << 20);
        let (buffer, out) = (BytesMut::new(), BytesMut::new());
        let mut line = Line { talker: self, stream, decoder, buffer, out };
        let connect = Connect {
            version: Version::V311,
            client_id: line.talker.name.parse().expect("a client identifier"),
            clean_start: false,
            keep_alive: 0,
            will: None,
            username: None,
            password: None,
            properties: Properties::new(),
        };
        line.push(&Packet::Connect(Box::new(connect)));
        line.flush()?;
        match line.next()? {
            Packet::ConnAck(ack) if ack.code == ReasonCode::SUCCESS => {}
            other => panic!("{other:?}"),
        }
        let again: Vec<Packet> = line.talker.sending.iter().map(Sending::again).collect();
        again.iter().for_each(|packet| line.push(packet));
        line.flush()?;
        Ok(line)
    }
}

impl Sending {
    fn id(&self) -> PacketId {
        match self.publish.delivery {
            Delivery::AtLeastOnce(id) | Delivery::ExactlyOnce(id) => id,
            Delivery::AtMostOnce => unreachable!("nothing is sent with QoS 0"),
        }
    }

    fn again(&self) -> Packet {
        match self.is_received {
            true => Packet::PubRel(ack(self.id())),
            false => Packet::Publish(Publish { dup: true, ..self.publish.clone() }),
        }
    }
}

impl Line<'_> {
    pub(crate) fn subscribe(&mut self, filter: &str) -> io::Result<()> {
        let options = SubscribeOptions { qos: QoS::ExactlyOnce, ..SubscribeOptions::default() };
        let filters = vec![(filter.parse().expect("a filter"), options)];
        let id = PacketId::new(1).expect("not 0");
        let properties = Properties::new();
        self.push(&Packet::Subscribe(Subscribe { id, filters, properties }));
        self.flush()?;
        loop {
            match self.next()? {
                Packet::SubAck(ack) => {
                    assert!(!ack.codes[0].is_error(), "{ack:?}");
                    return Ok(());
                }
                packet => self.answer(packet),
            }
        }
    }

    /// How many messages are under way.
    pub(crate) fn under_way(&self) -> usize {
        self.talker.sending.len()
    }

    /// Begins to publish a number.
    pub(crate) fn publish(&mut self, topic: &str, qos: u8, retain: bool, number: u64) {
        let id = loop {
            let id = PacketId::new(self.talker.next_id).expect("1 to 60,000");
            self.talker.next_id = self.talker.next_id % 60_000 + 1;
            if self.talker.sending.iter().all(|sending| sending.id() != id) {
                break id;
            }
        };
        let delivery = if qos == 1 { Delivery::AtLeastOnce(id) } else { Delivery::ExactlyOnce(id) };
        let publish = Publish {
            dup: false,
            retain,
            delivery,
            topic: Some(topic.parse().expect("a topic")),
            properties: Properties::new(),
            payload: number.to_string().into(),
        };
        self.push(&Packet::Publish(publish.clone()));
        self.talker.sending.push_back(Sending { publish, number, is_received: false });
    }

    /// Sends what was begun, waits for at least one packet, and answers all that came.
    pub(crate) fn exchange(&mut self) -> io::Result<()> {
        self.flush()?;
        let mut packet = Some(self.next()?);
        while let Some(one) = packet {
            self.answer(one);
            packet = self.decoder.decode(&mut self.buffer).expect("the broker speaks MQTT");
        }
        self.flush()
    }

    fn answer(&mut self, packet: Packet) {
        match packet {
            Packet::Publish(Publish { delivery, payload, .. }) => self.message(delivery, &payload),
            Packet::PubRel(released) => {
                self.talker.unreleased.remove(&released.id);
                self.push(&Packet::PubComp(ack(released.id)));
            }
            Packet::PubAck(Ack { id, .. }) => self.took_over(id, true),
            Packet::PubRec(Ack { id, .. }) => {
                self.took_over(id, false);
                self.push(&Packet::PubRel(ack(id)));
            }
            Packet::PubComp(Ack { id, .. }) => {
                self.talker.sending.retain(|sending| sending.id() != id);
            }
            other => panic!("{other:?}"),
        }
    }

    fn took_over(&mut self, id: PacketId, is_end: bool) {
        let at = self.talker.sending.iter().position(|sending| sending.id() == id);
        let at = at.expect("it is under way");
        let sending = &mut self.talker.sending[at];
        if !std::mem::replace(&mut sending.is_received, true) {
            self.talker.acknowledged.push((sending.publish.delivery.qos().get(), sending.number));
        }
        if is_end {
            self.talker.sending.remove(at);
        }
    }

    fn message(&mut self, delivery: Delivery, payload: &[u8]) {
        let number = std::str::from_utf8(payload).ok().and_then(|text| text.parse().ok());
        let number = number.expect("payloads are numbers");
        match delivery {
            Delivery::AtMostOnce => self.talker.got.push((0, number)),
            Delivery::AtLeastOnce(id) => {
                self.talker.got.push((1, number));
                self.push(&Packet::PubAck(ack(id)));
            }
            Delivery::ExactlyOnce(id) => {
                if self.talker.unreleased.insert(id) {
                    self.talker.got.push((2, number));
                }
                self.push(&Packet::PubRec(ack(id)));
            }
        }
    }

    pub(crate) fn got(&self) -> &[(u8, u64)] {
        &self.talker.got
    }

    pub(crate) fn acknowledged(&self) -> usize {
        self.talker.acknowledged.len()
    }

    fn push(&mut self, packet: &Packet) {
        packet.encode(Version::V311, &mut self.out);
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }

    fn next(&mut self) -> io::Result<Packet> {
        let mut bytes = [0; 64 * 1024];
        loop {
            let packet = self.decoder.decode(&mut self.buffer).expect("the broker speaks MQTT");
            if let Some(packet) = packet {
                return Ok(packet);
            }
            match self.stream.read(&mut bytes)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.buffer.extend_from_slice(&bytes[..count]),
            }
        }
    }
}
