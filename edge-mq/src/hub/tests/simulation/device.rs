//! A client of the simulation, which keeps to the rules for what has to be sent again.

use std::collections::{BTreeSet, VecDeque};

use crate::hub::tests::harness::*;
use crate::packet::{Connect, Delivery, Packet, Publish};

/// A connection with what is on its way in both directions.
pub(super) struct Line {
    pub(super) client: Client,
    pub(super) up: VecDeque<Packet>,
    pub(super) down: VecDeque<Packet>,
}

/// A message that a device wants to get rid of.
pub(super) struct Sending {
    pub(super) id: u16,
    pub(super) qos: u8,
    pub(super) payload: String,
    /// PUBREC has come.
    pub(super) received: bool,
}

/// A client: publishes numbered messages, and notes what it gets.
pub(super) struct Device {
    pub(super) name: String,
    pub(super) connect: Connect,
    /// Where to it publishes.
    topic: &'static str,
    pub(super) line: Option<Line>,
    pub(super) sending: VecDeque<Sending>,
    pub(super) published: usize,
    pub(super) acknowledged: Vec<(u8, String)>,
    pub(super) refused: Vec<(u8, String)>,
    pub(super) got: Vec<(u8, String)>,
    /// QoS 2 messages to this client that the broker has not released.
    pub(super) unreleased: BTreeSet<u16>,
    /// Whether the broker said that it has a session.
    pub(super) is_known: bool,
}

impl Line {
    pub(super) fn new(client: Client) -> Line {
        Line { client, up: VecDeque::new(), down: VecDeque::new() }
    }
}

impl Device {
    pub(super) fn new(name: &str, connect: Connect, topic: &'static str) -> Device {
        Device {
            name: name.to_owned(),
            connect,
            topic,
            line: None,
            sending: VecDeque::new(),
            published: 0,
            acknowledged: Vec::new(),
            refused: Vec::new(),
            got: Vec::new(),
            unreleased: BTreeSet::new(),
            is_known: false,
        }
    }

    pub(super) fn publish(&mut self, qos: u8) {
        let id = (1..).find(|id| self.sending.iter().all(|sending| sending.id != *id)).unwrap();
        let payload = format!("{}:{:04}", self.name, self.published);
        self.published += 1;
        let packet = send(qos, id, self.topic, &payload);
        self.sending.push_back(Sending { id, qos, payload, received: false });
        self.line.as_mut().unwrap().up.push_back(packet);
    }

    /// Sends again, in order, what an earlier connection left.
    pub(super) fn resume(&mut self) {
        let line = self.line.as_mut().unwrap();
        for Sending { id, qos, payload, received } in &self.sending {
            line.up.push_back(match received {
                true => pub_rel(*id),
                false => again(*qos, *id, self.topic, payload),
            });
        }
    }

    pub(super) fn done(&mut self, id: u16) -> (u8, String) {
        let at = self.sending.iter().position(|sending| sending.id == id).unwrap();
        let sending = self.sending.remove(at).unwrap();
        (sending.qos, sending.payload)
    }

    /// What the client answers to the next packet that comes.
    pub(super) fn receive(&mut self) {
        let packet = self.line.as_mut().unwrap().down.pop_front().unwrap();
        let answer = match packet {
            Packet::Publish(Publish { delivery, payload, .. }) => self.message(delivery, &payload),
            Packet::PubRel(ack) => {
                self.unreleased.remove(&ack.id.get());
                Some(pub_comp(ack.id.get()))
            }
            Packet::PubAck(ack) | Packet::PubRec(ack) if ack.code.is_error() => {
                let refused = self.done(ack.id.get());
                self.refused.push(refused);
                None
            }
            Packet::PubAck(ack) => {
                let acknowledged = self.done(ack.id.get());
                self.acknowledged.push(acknowledged);
                None
            }
            Packet::PubRec(ack) => self.pub_rec(ack.id.get()),
            Packet::PubComp(ack) => {
                self.done(ack.id.get());
                None
            }
            Packet::ConnAck(ack) if ack.code.is_error() => None,
            Packet::ConnAck(ack) => {
                assert!(ack.session_present || !self.is_known, "{} lost its session", self.name);
                self.is_known = true;
                None
            }
            Packet::SubAck(_) => None,
            other => panic!("{other:?}"),
        };
        self.line.as_mut().unwrap().up.extend(answer);
    }

    pub(super) fn message(&mut self, delivery: Delivery, payload: &[u8]) -> Option<Packet> {
        let payload = String::from_utf8(payload.to_vec()).unwrap();
        let id = delivery.id().unwrap().get();
        let qos = delivery.qos().get();
        if qos == 1 || self.unreleased.insert(id) {
            self.got.push((qos, payload));
        }
        Some(if qos == 1 { pub_ack(id) } else { pub_rec(id) })
    }

    pub(super) fn pub_rec(&mut self, id: u16) -> Option<Packet> {
        let sending = self.sending.iter_mut().find(|sending| sending.id == id).unwrap();
        if !sending.received {
            sending.received = true;
            self.acknowledged.push((sending.qos, sending.payload.clone()));
        }
        Some(pub_rel(id))
    }
}
