//! A hub in virtual time, and packets that can be written and compared in a few characters.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;

use super::disk::Disk;
use super::start;
use crate::Message;
use crate::access::{GuardId, User};
use crate::hub::connect::Accepted;
use crate::hub::*;
use crate::packet::*;
use crate::session::OutboundPublish;

/// What one poll may give out, as in a connection with the default limits.
const BUDGET: usize = 256 * 1024;

/// A hub, the time, and commits that are under way until the test ends them.
pub(super) struct World {
    pub(super) hub: Hub,
    pub(super) now: Instant,
    pub(super) held: VecDeque<Vec<Deed>>,
    /// What was committed.
    pub(super) disk: Disk,
    /// Whether commits end before CONNECT is answered.
    pub(super) is_eager: bool,
}

/// One connection of a client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Client(pub(super) Peer);

impl World {
    pub(super) fn new() -> World {
        World::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut Limits)) -> World {
        let mut limits = Limits::default();
        change(&mut limits);
        let limits = limits.workable();
        World {
            hub: Hub::new(limits),
            now: start(),
            held: VecDeque::new(),
            disk: Disk::default(),
            is_eager: false,
        }
    }

    /// A hub that stores sessions and retained messages.
    pub(super) fn keeping() -> World {
        World::keeping_with(|_| {})
    }

    pub(super) fn keeping_with(change: impl FnOnce(&mut Limits)) -> World {
        let mut world = World::with(change);
        world.disk.page = 2;
        world.is_eager = true;
        world.restore();
        world
    }

    /// The power fails: what is not on disk is lost, and the broker is started again.
    pub(super) fn crash(&mut self) {
        self.held.clear();
        self.hub = Hub::new(self.hub.limits().clone());
        self.restore();
    }

    fn restore(&mut self) {
        let stored = self.disk.stored();
        self.act(|hub, now, fx| hub.restore(stored, now, fx));
    }

    /// A hub that journals all topics below `log/`.
    pub(super) fn journaling() -> World {
        let mut world = World::new();
        world.hub.add_rule(&filter("log/#"), 0);
        world
    }

    pub(super) fn act<T>(&mut self, act: impl FnOnce(&mut Hub, Instant, &mut Effects) -> T) -> T {
        let mut fx = Effects::default();
        let result = act(&mut self.hub, self.now, &mut fx);
        self.hold();
        result
    }

    /// Begins the commit of what waits for one.
    pub(super) fn hold(&mut self) {
        let group = self.hub.take_group(usize::MAX);
        if !group.is_empty() {
            self.held.push_back(group);
        }
    }

    pub(super) fn try_connect(&mut self, connect: Connect) -> Result<(Client, String), ReasonCode> {
        let user = connect.username.clone().map_or_else(User::anonymous, User::named);
        let entrance = self.entrance(user);
        let accepted = self.act(|hub, now, fx| hub.connect(connect, entrance, now, fx));
        let Accepted { peer, .. } = accepted?;
        let mut out = Vec::new();
        if self.is_eager {
            self.commit_all();
        }
        // No budget for messages, so that CONNACK comes alone.
        let polled = self.hub.poll(peer, self.now, 0, &mut out).unwrap();
        if let Some(request) = polled.read {
            self.load(peer, self.disk.read(&request));
        }
        Ok((Client(peer), out.iter().map(show).collect::<Vec<_>>().join("; ")))
    }

    /// Of somebody who comes in by a listener without limits of its own.
    pub(super) fn entrance(&self, user: User) -> Entrance {
        Entrance {
            user,
            guard: GuardId::BROKER,
            packet_bytes: self.hub.limits.packet_bytes,
            waker: Waker::noop().clone(),
        }
    }

    pub(super) fn connect(&mut self, connect: Connect) -> Client {
        self.try_connect(connect).unwrap().0
    }

    /// A connected client that subscribed to `filter`.
    pub(super) fn subscriber(&mut self, connect: Connect, filter: &str, qos: u8) -> Client {
        let client = self.connect(connect);
        let mut answer = self.send(client, [subscribe(1, filter, qos)]);
        if answer.is_empty() {
            self.commit_all();
            answer = self.poll(client);
        }
        assert_eq!(
            answer.first().map(String::as_str),
            Some(format!("SUBACK 1 {qos:02x}").as_str())
        );
        client
    }

    /// Sends packets in one go; gives what came back, and whether the connection goes on.
    pub(super) fn try_send(
        &mut self,
        client: Client,
        packets: impl IntoIterator<Item = Packet>,
    ) -> (Vec<String>, Result<(), Closing>) {
        let handled = self.act(|hub, now, fx| hub.handle(client.0, packets, now, fx));
        let (out, polled) = self.try_poll(client);
        (out, handled.and(polled))
    }

    pub(super) fn send(
        &mut self,
        client: Client,
        packets: impl IntoIterator<Item = Packet>,
    ) -> Vec<String> {
        let (out, result) = self.try_send(client, packets);
        assert_eq!(result, Ok(()), "after {out:?}");
        out
    }

    /// How a connection ends that sends this.
    pub(super) fn breach(&mut self, client: Client, packet: Packet) -> ReasonCode {
        match self.try_send(client, [packet]).1 {
            Err(Closing::Violation(code)) => code,
            other => panic!("no violation: {other:?}"),
        }
    }

    /// What a client gets, with what has to be read from disk for that.
    pub(super) fn try_poll(&mut self, client: Client) -> (Vec<String>, Result<(), Closing>) {
        let mut out = Vec::new();
        loop {
            let polled = self.hub.poll(client.0, self.now, BUDGET, &mut out);
            match polled {
                Ok(Polled { read: Some(request), .. }) => {
                    self.load(client.0, self.disk.read(&request));
                }
                other => return (out.iter().map(show).collect(), other.map(|_| ())),
            }
        }
    }

    /// Something was read from disk.
    pub(super) fn load(&mut self, peer: Peer, page: Page) {
        self.act(|hub, now, fx| hub.load(peer, page, now, fx));
    }

    /// Ends all commits.
    pub(super) fn commit_all(&mut self) {
        while !self.held.is_empty() {
            self.commit();
        }
    }

    pub(super) fn poll(&mut self, client: Client) -> Vec<String> {
        let (out, result) = self.try_poll(client);
        assert_eq!(result, Ok(()), "after {out:?}");
        out
    }

    /// The connection is lost without a word.
    pub(super) fn cut(&mut self, client: Client) {
        self.leave(client, &Closing::Goodbye { with_will: true });
    }

    pub(super) fn leave(&mut self, client: Client, closing: &Closing) {
        self.act(|hub, now, fx| hub.leave(client.0, closing, now, fx));
    }

    /// The client says DISCONNECT.
    pub(super) fn disconnect(&mut self, client: Client, disconnect: Disconnect) {
        let (_, closing) = self.try_send(client, [Packet::Disconnect(disconnect)]);
        self.leave(client, &closing.unwrap_err());
    }

    /// Seconds go by, and the broker looks at what is due.
    pub(super) fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.act(|hub, now, fx| hub.tick(now, fx));
    }

    /// The oldest commit ends. Gives what it held.
    pub(super) fn end_commit(&mut self, outcome: Result<(), ReasonCode>) -> Vec<String> {
        let group = self.held.pop_front().expect("a commit is under way");
        let held = group.iter().filter_map(Deed::stored).map(|message| {
            let payload = String::from_utf8_lossy(message.payload());
            format!("{}={payload}", message.topic())
        });
        let held = held.collect();
        let outcome = outcome.map_err(refused);
        if outcome.is_ok() {
            self.disk.commit(&group);
        }
        self.act(|hub, now, fx| hub.committed(group, &outcome, now, fx));
        held
    }

    pub(super) fn commit(&mut self) -> Vec<String> {
        self.end_commit(Ok(()))
    }

    /// The application publishes.
    pub(super) fn publish(&mut self, message: Message) {
        let publish = |hub: &mut Hub, now, fx: &mut Effects| {
            hub.publish_local(message, None, &Arc::default(), now, fx)
        };
        self.act(publish).unwrap();
    }
}

pub(super) fn refused(code: ReasonCode) -> Refused {
    Refused { code, cause: Arc::new(fmt::Error), is_selective: false, is_full: false }
}

/// A client of MQTT 5.0 whose session stays for 1,000 seconds.
pub(super) fn v5(client_id: &str) -> Connect {
    let properties = Properties::new().with(Property::SessionExpiry(1000));
    Connect { version: Version::V5, properties, ..v311(client_id) }
}

/// A client of MQTT 3.1.1 whose session stays.
pub(super) fn v311(client_id: &str) -> Connect {
    Connect {
        version: Version::V311,
        client_id: client_id.parse().unwrap(),
        clean_start: false,
        keep_alive: 60,
        will: None,
        username: None,
        password: None,
        properties: Properties::new(),
    }
}

pub(super) fn both(client_id: &str) -> [Connect; 2] {
    [v311(client_id), v5(client_id)]
}

pub(super) fn clean(connect: Connect) -> Connect {
    Connect { clean_start: true, ..connect }
}

/// With one more property.
pub(super) fn asking(connect: Connect, property: Property) -> Connect {
    let properties = connect.properties.with(property);
    Connect { properties, ..connect }
}

pub(super) fn filter(text: &str) -> crate::TopicFilter {
    text.parse().unwrap()
}

pub(super) fn id(id: u16) -> PacketId {
    PacketId::new(id).unwrap()
}

pub(super) fn qos(number: u8) -> QoS {
    QoS::from_number(number).unwrap()
}

/// A PUBLISH with this QoS and packet identifier.
pub(super) fn publish(qos: u8, packet_id: u16, topic: &str, payload: &str) -> Publish {
    let delivery = match qos {
        0 => Delivery::AtMostOnce,
        1 => Delivery::AtLeastOnce(id(packet_id)),
        _ => Delivery::ExactlyOnce(id(packet_id)),
    };
    let topic = (!topic.is_empty()).then(|| topic.parse().unwrap());
    let payload = Bytes::copy_from_slice(payload.as_bytes());
    let properties = Properties::new();
    Publish { dup: false, retain: false, delivery, topic, properties, payload }
}

pub(super) fn send(qos: u8, packet_id: u16, topic: &str, payload: &str) -> Packet {
    Packet::Publish(publish(qos, packet_id, topic, payload))
}

pub(super) fn again(qos: u8, packet_id: u16, topic: &str, payload: &str) -> Packet {
    Packet::Publish(Publish { dup: true, ..publish(qos, packet_id, topic, payload) })
}

pub(super) fn retain(qos: u8, packet_id: u16, topic: &str, payload: &str) -> Packet {
    Packet::Publish(Publish { retain: true, ..publish(qos, packet_id, topic, payload) })
}

pub(super) fn subscribe(packet_id: u16, filter: &str, qos: u8) -> Packet {
    subscribe_with(packet_id, &[(filter, qos)], None, |_| {})
}

pub(super) fn subscribe_with(
    packet_id: u16,
    filters: &[(&str, u8)],
    subscription_id: Option<u32>,
    change: impl Fn(&mut SubscribeOptions),
) -> Packet {
    let filters = filters.iter().map(|(text, number)| {
        let mut options = SubscribeOptions { qos: qos(*number), ..SubscribeOptions::default() };
        change(&mut options);
        (filter(text), options)
    });
    let subscription_id = subscription_id.and_then(SubscriptionId::new);
    let properties = subscription_id.map(Property::SubscriptionId).into_iter().collect();
    Packet::Subscribe(Subscribe { id: id(packet_id), filters: filters.collect(), properties })
}

pub(super) fn unsubscribe(packet_id: u16, filters: &[&str]) -> Packet {
    let (id, properties) = (id(packet_id), Properties::new());
    let filters = filters.iter().map(|text| filter(text)).collect();
    Packet::Unsubscribe(Unsubscribe { id, filters, properties })
}

pub(super) fn ack(packet_id: u16) -> Ack {
    Ack::new(id(packet_id), ReasonCode::SUCCESS)
}

pub(super) fn pub_ack(packet_id: u16) -> Packet {
    Packet::PubAck(ack(packet_id))
}

pub(super) fn pub_rec(packet_id: u16) -> Packet {
    Packet::PubRec(ack(packet_id))
}

pub(super) fn pub_rel(packet_id: u16) -> Packet {
    Packet::PubRel(ack(packet_id))
}

pub(super) fn pub_comp(packet_id: u16) -> Packet {
    Packet::PubComp(ack(packet_id))
}

pub(super) fn message(topic: &str, payload: &str) -> Message {
    Message::new(topic.parse().unwrap(), payload.to_owned())
}

/// The Logs that the first deed that waits goes to, and its client.
pub(super) fn appended(world: &World) -> (Vec<LogSlot>, Option<String>) {
    let mut client = None;
    let logs = world.held[0][0].writes.iter().filter_map(|write| match write {
        Write::Append { log, client: from, .. } => {
            client = from.as_ref().map(ToString::to_string);
            Some(*log)
        }
        _ => None,
    });
    let mut logs: Vec<_> = logs.collect();
    logs.sort_unstable();
    (logs, client)
}

/// A packet in a few characters: `PUBACK 1`, `PUBACK 1 97`, `a/b=hi q1 #1 dup`.
pub(super) fn show(outbound: &Outbound) -> String {
    match outbound {
        Outbound::Publish(publish) => show_publish(publish),
        Outbound::Packet(packet) => match packet {
            Packet::ConnAck(ack) => {
                format!("CONNACK {}{}", u8::from(ack.session_present), failure(ack.code))
            }
            Packet::PubAck(ack) => show_ack("PUBACK", ack),
            Packet::PubRec(ack) => show_ack("PUBREC", ack),
            Packet::PubRel(ack) => show_ack("PUBREL", ack),
            Packet::PubComp(ack) => show_ack("PUBCOMP", ack),
            Packet::SubAck(ack) => show_codes("SUBACK", ack),
            Packet::UnsubAck(ack) => show_codes("UNSUBACK", ack),
            other => format!("{other:?}"),
        },
    }
}

fn failure(code: ReasonCode) -> String {
    if code == ReasonCode::SUCCESS { String::new() } else { format!(" {:02x}", code.get()) }
}

fn show_ack(name: &str, ack: &Ack) -> String {
    format!("{name} {}{}", ack.id.get(), failure(ack.code))
}

fn show_codes(name: &str, ack: &SubAck) -> String {
    let codes = ack.codes.iter().map(|code| format!(" {:02x}", code.get()));
    format!("{name} {}{}", ack.id.get(), codes.collect::<String>())
}

fn show_publish(publish: &OutboundPublish) -> String {
    let message = &publish.routed.message;
    let payload = String::from_utf8_lossy(message.payload());
    let mut shown = format!("{}={payload}", message.topic());
    if let Some(id) = publish.delivery.id() {
        write!(shown, " q{} #{}", publish.delivery.qos().get(), id.get()).unwrap();
    }
    for (flag, name) in [(publish.dup, " dup"), (publish.retain, " retained")] {
        shown.push_str(if flag { name } else { "" });
    }
    for property in &publish.own_properties {
        match property {
            Property::SubscriptionId(id) => write!(shown, " sub{}", id.get()).unwrap(),
            Property::MessageExpiry(seconds) => write!(shown, " {seconds}s").unwrap(),
            other => write!(shown, " {other:?}").unwrap(),
        }
    }
    shown
}
