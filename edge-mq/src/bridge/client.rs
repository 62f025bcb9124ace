//! rumqttc's clients for both versions of MQTT, as one, and as little of them as a bridge needs.
//!
//! A client serves one connection. rumqttc would connect again by itself and send again what was not
//! acknowledged, but not in the order of the first time, so a [`Window`](super::window::Window) does
//! that with a new client.

mod v311;
mod v5;

use std::time::Duration;

use crate::Message;
use crate::packet::{QoS, Version};

use super::rule::Mapping;
use super::settings::{Address, Plan};

/// What a connection begins with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// Whether the remote broker still knows the subscriptions of the bridge.
    pub(super) session_present: bool,
    /// Messages that the remote broker takes without having acknowledged them.
    pub(super) receive_maximum: u16,
    pub(super) packet_bytes: usize,
    pub(super) max_qos: QoS,
    pub(super) takes_retained: bool,
    /// How often the remote broker wants to be pinged, if it says so.
    pub(super) keep_alive: Option<Duration>,
}

/// What happened to a connection.
#[derive(Debug)]
pub(super) enum Seen {
    Connected(Terms),
    /// The next message was sent, by this packet identifier; 0 for QoS 0.
    Sent(u16),
    Answered(u16, Answer),
    Arrived(Box<Arrival>),
    /// How many of the filters the remote broker has refused.
    Subscribed {
        refused: usize,
    },
    /// The link is alive.
    Alive,
}

/// What the remote broker says of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Taken,
    /// It will not take it another time either.
    Refused,
    /// It may take it another time.
    NotNow,
}

/// A message of the remote broker.
#[derive(Debug)]
pub(super) struct Arrival {
    /// `None` if no message here could be the same.
    pub(super) message: Option<Message>,
    pub(super) receipt: Receipt,
}

/// What is acknowledged.
#[derive(Debug)]
pub(super) enum Receipt {
    V311(rumqttc::Publish),
    V5(rumqttc::v5::mqttbytes::v5::Publish),
}

/// Why there is no connection, in words.
pub(super) type Lost = String;

/// The half that is told what to do. None of its calls waits: the channel behind it has room for all
/// that may be under way at once.
#[derive(Debug)]
pub(super) enum Client {
    V311(rumqttc::AsyncClient),
    V5(rumqttc::v5::AsyncClient),
}

/// The half that says what happened.
pub(super) enum Events {
    V311(Box<rumqttc::EventLoop>),
    V5(Box<rumqttc::v5::EventLoop>),
}

/// A client that connects when its events are asked for. By MQTT 5.0 it takes packets of so many
/// bytes.
pub(super) fn client(plan: &Plan, address: &Address, packet_bytes: usize) -> (Client, Events) {
    match plan.version {
        Version::V311 => v311::client(plan, address),
        Version::V5 => v5::client(plan, address, packet_bytes),
    }
}

/// Requests that may wait in the channel: messages in flight, an acknowledgement for each packet
/// identifier that MQTT has, and the few packets around them. It takes memory for what is in it.
fn channel_room(plan: &Plan) -> usize {
    usize::from(plan.in_flight) + usize::from(u16::MAX) + 16
}

/// How long connecting may take, in seconds.
const CONNECT_SECONDS: u64 = 10;

impl Client {
    pub(super) fn publish(&self, message: Message) -> Result<(), Lost> {
        match self {
            Client::V311(client) => v311::publish(client, message),
            Client::V5(client) => v5::publish(client, message),
        }
    }

    pub(super) fn subscribe(&self, rules: &[Mapping]) -> Result<(), Lost> {
        match self {
            Client::V311(client) => v311::subscribe(client, rules),
            Client::V5(client) => v5::subscribe(client, rules),
        }
    }

    pub(super) fn unsubscribe(&self, filter: &str) -> Result<(), Lost> {
        match self {
            Client::V311(client) => client.try_unsubscribe(filter).map_err(lost),
            Client::V5(client) => client.try_unsubscribe(filter).map_err(lost),
        }
    }

    pub(super) fn acknowledge(&self, receipt: &Receipt) -> Result<(), Lost> {
        match (self, receipt) {
            (Client::V311(client), Receipt::V311(publish)) => client.try_ack(publish).map_err(lost),
            (Client::V5(client), Receipt::V5(publish)) => client.try_ack(publish).map_err(lost),
            _ => unreachable!("a receipt goes back to the client that it came from"),
        }
    }

    pub(super) fn disconnect(&self) -> Result<(), Lost> {
        match self {
            Client::V311(client) => client.try_disconnect().map_err(lost),
            Client::V5(client) => client.try_disconnect().map_err(lost),
        }
    }
}

impl Events {
    /// The next thing that happened.
    ///
    /// # Cancel safety
    /// Not cancel safe: a packet may be lost with the future, and then so is the connection.
    pub(super) async fn next(&mut self) -> Result<Seen, Lost> {
        match self {
            Events::V311(events) => events.poll().await.map(v311::seen).map_err(lost),
            Events::V5(events) => events.poll().await.map(v5::seen).map_err(lost),
        }
    }
}

/// An error with its causes.
pub(super) fn lost(error: impl std::error::Error) -> Lost {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        // rumqttc's errors repeat their causes.
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
