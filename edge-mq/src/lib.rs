// The examples of the README need the default features, and one of them bridges.
#![cfg_attr(
    all(feature = "db", feature = "passwords", feature = "tls", feature = "ws"),
    doc = include_str!("../README.md")
)]
#![cfg_attr(
    not(all(feature = "db", feature = "passwords", feature = "tls", feature = "ws")),
    doc = "An embeddable MQTT 3.1.1 and 5.0 broker."
)]
#![cfg_attr(not(feature = "db"), allow(dead_code, reason = "without a store, some serves nobody"))]

pub mod access;
mod arena;
#[cfg(feature = "bridge")]
pub mod bridge;
mod broker;
mod committer;
mod counter;
mod crowd;
#[cfg(feature = "db")]
mod db;
mod delayed;
mod events;
pub mod hooks;
mod hub;
mod limits;
mod listener;
mod listening;
mod local;
mod message;
mod net;
pub mod packet;
mod rate;
#[cfg(feature = "db")]
mod recording;
mod retain;
mod router;
mod session;
mod shared;
mod stats;
mod store;
mod sys;
#[cfg(feature = "tls")]
mod tls;
mod topic;

pub use broker::{Broker, BrokerBuilder, Left, ShutdownError, StartError};
pub use counter::{TopicCount, TopicCounter};
#[cfg(feature = "db")]
pub use db::{JournalError, JournalRule, StoredError};
pub use hub::{ClientInfo, ConnectionInfo};
pub use limits::{Limits, WhenDiskFull, WhenFull};
pub use listener::Listener;
pub use listening::Listening;
pub use local::{LocalClient, LocalSubscription, PublishError, SubscribeError};
pub use message::Message;
pub use packet::{QoS, ReasonCode, Text};
pub use rate::Rate;
#[cfg(feature = "db")]
pub use recording::Recording;
pub use stats::Stats;
#[cfg(feature = "tls")]
pub use tls::{Pem, Tls, TlsBuilder, TlsError};
pub use topic::{InvalidFilter, InvalidTopic, TopicFilter, TopicName};
