//! One client that we did not write, rumqttc, for both versions of MQTT: its packets as plain
//! events, on a channel.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::net::SocketAddr;
use std::time::Duration;

use rumqttc::{TlsConfiguration, Transport, v5};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// When a test has failed. Nothing is asserted about time: it only ends what would wait for ever.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V311,
    V5,
}

pub(crate) const VERSIONS: [Version; 2] = [Version::V311, Version::V5];

/// Where a device finds the broker, and through what.
#[derive(Clone)]
pub(crate) struct Route {
    /// A host, a URL or a path.
    to: String,
    port: u16,
    transport: Transport,
}

impl From<SocketAddr> for Route {
    fn from(addr: SocketAddr) -> Route {
        Route { to: addr.ip().to_string(), port: addr.port(), transport: Transport::Tcp }
    }
}

impl Route {
    pub(crate) fn tls(addr: SocketAddr, tls: TlsConfiguration) -> Route {
        Route { transport: Transport::Tls(tls), ..addr.into() }
    }

    pub(crate) fn websocket(addr: SocketAddr) -> Route {
        Route { to: format!("ws://{addr}/mqtt"), transport: Transport::Ws, ..addr.into() }
    }

    pub(crate) fn websocket_tls(addr: SocketAddr, tls: TlsConfiguration) -> Route {
        Route { to: format!("wss://{addr}/mqtt"), transport: Transport::Wss(tls), ..addr.into() }
    }

    #[cfg(unix)]
    pub(crate) fn unix(path: &std::path::Path) -> Route {
        Route { to: path.to_str().unwrap().to_owned(), port: 0, transport: Transport::Unix }
    }
}

/// How a device connects.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) version: Version,
    pub(crate) name: String,
    /// Whether its session is to end with its connection.
    pub(crate) clean: bool,
    /// Topic and payload of its will.
    pub(crate) will: Option<(&'static str, &'static str)>,
    /// Name and password of its user.
    pub(crate) user: Option<(&'static str, &'static str)>,
}

/// What happened to a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    Connected {
        session_present: bool,
    },
    Subscribed,
    Got(Got),
    /// PUBACK or PUBCOMP; in MQTT 5.0 the name of the reason, if it is a failure.
    Acknowledged(Result<(), String>),
    Closed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) topic: String,
    pub(crate) payload: String,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
}

pub(crate) fn got(topic: &str, payload: &str, qos: u8, retain: bool) -> Got {
    Got { topic: topic.to_owned(), payload: payload.to_owned(), qos, retain }
}

enum Client {
    V311(rumqttc::AsyncClient),
    V5(v5::AsyncClient),
}

/// A connected client. Dropping it cuts its socket.
pub(crate) struct Device {
    name: String,
    client: Client,
    seen: mpsc::Receiver<Seen>,
    task: JoinHandle<()>,
    pub(crate) session_present: bool,
}

impl Options {
    pub(crate) fn new(version: Version, name: &str) -> Options {
        Options { version, name: name.to_owned(), clean: true, will: None, user: None }
    }

    pub(crate) fn kept(self) -> Options {
        Options { clean: false, ..self }
    }

    pub(crate) fn will(self, topic: &'static str, payload: &'static str) -> Options {
        Options { will: Some((topic, payload)), ..self }
    }

    pub(crate) fn user(self, name: &'static str, password: &'static str) -> Options {
        Options { user: Some((name, password)), ..self }
    }

    fn start(&self, route: Route) -> Device {
        let (sender, seen) = mpsc::channel(100_000);
        let (client, task) = match self.version {
            Version::V311 => self.start_v311(route, sender),
            Version::V5 => self.start_v5(route, sender),
        };
        let name = self.name.clone();
        Device { name, client, seen, task, session_present: false }
    }

    /// Whether the broker does not let it in.
    pub(crate) async fn is_refused(&self, route: impl Into<Route>) -> bool {
        self.start(route.into()).next().await == Seen::Closed
    }

    pub(crate) async fn connect(&self, route: impl Into<Route>) -> Device {
        let mut device = self.start(route.into());
        match device.next().await {
            Seen::Connected { session_present } => device.session_present = session_present,
            other => panic!("{other:?} before CONNACK"),
        }
        device
    }

    fn start_v311(&self, route: Route, sender: mpsc::Sender<Seen>) -> (Client, JoinHandle<()>) {
        let mut options = rumqttc::MqttOptions::new(&self.name, route.to, route.port);
        options.set_transport(route.transport);
        options.set_clean_session(self.clean);
        if let Some((name, password)) = self.user {
            options.set_credentials(name, password);
        }
        if let Some((topic, payload)) = self.will {
            let qos = rumqttc::QoS::AtLeastOnce;
            options.set_last_will(rumqttc::LastWill::new(topic, payload, qos, false));
        }
        let (client, mut events) = rumqttc::AsyncClient::new(options, 1000);
        let task = tokio::spawn(async move {
            loop {
                let seen = match events.poll().await {
                    Ok(rumqttc::Event::Incoming(packet)) => seen_v311(packet),
                    Ok(rumqttc::Event::Outgoing(_)) => None,
                    Err(_) => break,
                };
                if let Some(seen) = seen {
                    sender.send(seen).await.unwrap();
                }
            }
            sender.send(Seen::Closed).await.unwrap();
        });
        (Client::V311(client), task)
    }

    fn start_v5(&self, route: Route, sender: mpsc::Sender<Seen>) -> (Client, JoinHandle<()>) {
        let mut options = v5::MqttOptions::new(&self.name, route.to, route.port);
        options.set_transport(route.transport);
        options.set_clean_start(self.clean);
        options.set_session_expiry_interval((!self.clean).then_some(3600));
        if let Some((name, password)) = self.user {
            options.set_credentials(name, password);
        }
        if let Some((topic, payload)) = self.will {
            let qos = v5::mqttbytes::QoS::AtLeastOnce;
            let will = v5::mqttbytes::v5::LastWill::new(topic, payload, qos, false, None);
            options.set_last_will(will);
        }
        let (client, mut events) = v5::AsyncClient::new(options, 1000);
        let task = tokio::spawn(async move {
            loop {
                let seen = match events.poll().await {
                    Ok(v5::Event::Incoming(packet)) => seen_v5(packet),
                    Ok(v5::Event::Outgoing(_)) => None,
                    Err(_) => break,
                };
                if let Some(seen) = seen {
                    sender.send(seen).await.unwrap();
                }
            }
            sender.send(Seen::Closed).await.unwrap();
        });
        (Client::V5(client), task)
    }
}

fn seen_v311(packet: rumqttc::Packet) -> Option<Seen> {
    use rumqttc::Packet;
    Some(match packet {
        Packet::ConnAck(ack) => Seen::Connected { session_present: ack.session_present },
        Packet::SubAck(_) => Seen::Subscribed,
        Packet::PubAck(_) | Packet::PubComp(_) => Seen::Acknowledged(Ok(())),
        Packet::Publish(publish) => Seen::Got(Got {
            topic: publish.topic,
            payload: String::from_utf8(publish.payload.to_vec()).unwrap(),
            qos: publish.qos as u8,
            retain: publish.retain,
        }),
        _ => return None,
    })
}

fn seen_v5(packet: v5::mqttbytes::v5::Packet) -> Option<Seen> {
    use v5::mqttbytes::v5::{Packet, PubAckReason, PubRecReason};
    Some(match packet {
        Packet::ConnAck(ack) => Seen::Connected { session_present: ack.session_present },
        Packet::SubAck(_) => Seen::Subscribed,
        Packet::PubAck(ack) => Seen::Acknowledged(match ack.reason {
            PubAckReason::Success => Ok(()),
            reason => Err(format!("{reason:?}")),
        }),
        Packet::PubRec(ack) if ack.reason != PubRecReason::Success => {
            Seen::Acknowledged(Err(format!("{:?}", ack.reason)))
        }
        Packet::PubComp(_) => Seen::Acknowledged(Ok(())),
        Packet::Publish(publish) => Seen::Got(Got {
            topic: String::from_utf8(publish.topic.to_vec()).unwrap(),
            payload: String::from_utf8(publish.payload.to_vec()).unwrap(),
            qos: publish.qos as u8,
            retain: publish.retain,
        }),
        _ => return None,
    })
}

impl Device {
    pub(crate) async fn publish(&self, topic: &str, qos: u8, retain: bool, payload: &str) {
        match &self.client {
            Client::V311(client) => {
                let qos = rumqttc::qos(qos).unwrap();
                client.publish(topic, qos, retain, payload).await.unwrap();
            }
            Client::V5(client) => {
                let qos = v5::mqttbytes::qos(qos).unwrap();
                client.publish(topic, qos, retain, payload.to_owned()).await.unwrap();
            }
        }
    }

    /// Returns when the SUBACK is there.
    pub(crate) async fn subscribe(&mut self, filter: &str, qos: u8) {
        match &self.client {
            Client::V311(client) => {
                client.subscribe(filter, rumqttc::qos(qos).unwrap()).await.unwrap();
            }
            Client::V5(client) => {
                client.subscribe(filter, v5::mqttbytes::qos(qos).unwrap()).await.unwrap();
            }
        }
        assert_eq!(self.next().await, Seen::Subscribed);
    }

    /// Sends itself a message of each QoS.
    pub(crate) async fn is_served(&mut self) {
        let own = format!("self/{}", self.name);
        self.subscribe(&own, 2).await;
        for qos in 0..3 {
            self.publish(&own, qos, false, "hi").await;
            let (mut is_there, mut is_acknowledged) = (false, qos == 0);
            while !(is_there && is_acknowledged) {
                match self.next().await {
                    Seen::Got(message) => {
                        assert_eq!(message, got(&own, "hi", qos, false));
                        is_there = true;
                    }
                    Seen::Acknowledged(outcome) => {
                        assert_eq!(outcome, Ok(()));
                        is_acknowledged = true;
                    }
                    other => panic!("{other:?} in place of a message of its own"),
                }
            }
        }
    }

    /// Says DISCONNECT, and waits until the broker has closed the connection.
    pub(crate) async fn disconnect(mut self) {
        match &self.client {
            Client::V311(client) => client.disconnect().await.unwrap(),
            Client::V5(client) => client.disconnect().await.unwrap(),
        }
        while self.next().await != Seen::Closed {}
    }

    pub(crate) async fn next(&mut self) -> Seen {
        let next = tokio::time::timeout(FOR_EVER, self.seen.recv()).await;
        next.expect("nothing happened for ever").expect("the connection is closed")
    }

    /// The next message, whatever else is seen before it.
    pub(crate) async fn message(&mut self) -> Got {
        loop {
            match self.next().await {
                Seen::Got(got) => return got,
                Seen::Closed => panic!("closed instead of a message"),
                _ => {}
            }
        }
    }

    /// The outcome of the next QoS 1 or 2 message of its own.
    pub(crate) async fn acknowledgement(&mut self) -> Result<(), String> {
        loop {
            match self.next().await {
                Seen::Acknowledged(outcome) => return outcome,
                Seen::Closed => panic!("closed instead of an acknowledgement"),
                _ => {}
            }
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.task.abort();
    }
}
