//! What a bridge is to do, and what follows from it.

use std::time::Duration;

use super::error::InvalidBridge;
use super::rule::{Mapping, Rule};
use super::tls::Tls;
use crate::TopicName;
use crate::packet::{Text, Version};

/// Below this, a ping would be most of what the link carries.
const LEAST_KEEP_ALIVE: Duration = Duration::from_secs(5);
/// The longest that MQTT can say.
const MOST_KEEP_ALIVE: Duration = Duration::from_secs(u16::MAX as u64);

/// What a full queue of a bridge does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum WhenFull {
    /// What has waited longest is dropped and counted.
    #[default]
    DropOldest,
    /// What comes is not queued, and counted. It is stored by journal rules and delivered here all
    /// the same.
    DropNew,
    /// What comes is refused, so that its publisher keeps it: MQTT 5.0 gets 0x97, the connection of
    /// a client of MQTT 3.1.1 is closed. It is not delivered here either.
    HoldBack,
}

/// How much may wait for a link, and for how long. Each [`Priority`](super::Priority) has as much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Queue {
    pub(super) max_bytes: u64,
    pub(super) max_age: Option<Duration>,
    pub(super) when_full: WhenFull,
}

impl Queue {
    /// 256 MiB, of any age, [`WhenFull::DropOldest`].
    pub fn new() -> Queue {
        Queue { max_bytes: 256 << 20, max_age: None, when_full: WhenFull::DropOldest }
    }

    /// Bytes that may wait: of each message its topic, payload, properties and the client identifier
    /// of its publisher, and some 20 more. What one commit brings may overshoot it.
    pub fn max_bytes(mut self, bytes: u64) -> Queue {
        self.max_bytes = bytes;
        self
    }

    /// What has waited for longer is dropped and counted, whatever happens when it is full.
    pub fn max_age(mut self, age: Duration) -> Queue {
        self.max_age = Some(age);
        self
    }

    /// What happens beyond [`Queue::max_bytes`].
    pub fn when_full(mut self, policy: WhenFull) -> Queue {
        self.when_full = policy;
        self
    }
}

impl Default for Queue {
    fn default() -> Queue {
        Queue::new()
    }
}

/// Settings of a bridge to another broker; see [the module](super) for what it promises.
///
/// They are not kept over a restart, as they may hold secrets: add the bridge each time the broker
/// starts, before it listens. Its queue is kept, under its name.
#[derive(Debug, Clone)]
#[must_use = "settings do nothing until they are given to `Broker::add_bridge`"]
pub struct Bridge {
    name: String,
    remotes: Vec<String>,
    client_id: Option<String>,
    credentials: Option<Credentials>,
    tls: Option<Tls>,
    version: Version,
    send: Vec<Rule>,
    receive: Vec<Rule>,
    queue: Queue,
    keep_alive: Duration,
    session_expiry: Duration,
    in_flight: u16,
    retry: (Duration, Duration),
    try_first_each: Duration,
    packet_bytes: usize,
    state_topic: Option<String>,
}

impl Bridge {
    /// A bridge that speaks MQTT 5.0, pings after 60 seconds, tries again after 1 to 60 seconds, has
    /// 100 messages in flight, and keeps its session at the remote broker for 7 days. The name is
    /// its client identifier, and that of its queue.
    pub fn new(name: impl Into<String>) -> Bridge {
        Bridge {
            name: name.into(),
            remotes: Vec::new(),
            client_id: None,
            credentials: None,
            tls: None,
            version: Version::V5,
            send: Vec::new(),
            receive: Vec::new(),
            queue: Queue::new(),
            keep_alive: Duration::from_secs(60),
            session_expiry: Duration::from_secs(7 * 24 * 3600),
            in_flight: 100,
            retry: (Duration::from_secs(1), Duration::from_secs(60)),
            try_first_each: Duration::from_secs(30),
            packet_bytes: crate::limits::MAX_PACKET_BYTES,
            state_topic: None,
        }
    }

    /// One more address of the remote broker, as `host:port`. They are tried in this order. While
    /// it is connected to another one, the first is tried now and then, and taken once it answers.
    pub fn remote(mut self, address: impl Into<String>) -> Bridge {
        self.remotes.push(address.into());
        self
    }

    /// Who it is to the remote broker, which must know nobody else by this identifier. It also marks
    /// what has crossed, see [`Bridge::send`].
    pub fn client_id(mut self, client_id: impl Into<String>) -> Bridge {
        self.client_id = Some(client_id.into());
        self
    }

    /// User name and password for the remote broker.
    pub fn credentials(mut self, user: impl Into<String>, password: impl Into<String>) -> Bridge {
        self.credentials = Some(Credentials { user: user.into(), password: password.into() });
        self
    }

    /// Connects by TLS.
    pub fn tls(mut self, tls: Tls) -> Bridge {
        self.tls = Some(tls);
        self
    }

    /// The version of MQTT that it speaks. By 3.1.1 no properties cross, and the remote broker
    /// cannot be asked not to send back what it got; see the table of the README.
    pub fn version(mut self, version: Version) -> Bridge {
        self.version = version;
        self
    }

    /// Sends what this rule matches here, but for what the bridge has received itself. In both
    /// directions a message gets its client identifier as one more user property `edge-bridge`, and
    /// one that has it already does not cross again.
    pub fn send(mut self, rule: Rule) -> Bridge {
        self.send.push(rule);
        self
    }

    /// Receives what this rule matches at the remote broker.
    pub fn receive(mut self, rule: Rule) -> Bridge {
        self.receive.push(rule);
        self
    }

    /// What waits for the link.
    pub fn queue(mut self, queue: Queue) -> Bridge {
        self.queue = queue;
        self
    }

    /// How long the link may be silent before it is tested; 5 seconds at least. One that does not
    /// answer is given up after twice as long.
    pub fn keep_alive(mut self, time: Duration) -> Bridge {
        self.keep_alive = time.clamp(LEAST_KEEP_ALIVE, MOST_KEEP_ALIVE);
        self
    }

    /// How long the remote broker is to keep for the bridge what it cannot send: in whole seconds,
    /// by MQTT 5.0; a broker of MQTT 3.1.1 decides by itself. Only a bridge that receives has a
    /// session there.
    pub fn session_expiry(mut self, time: Duration) -> Bridge {
        self.session_expiry = time;
        self
    }

    /// Messages on the way that are not acknowledged, in each direction; 1 at least. As many may
    /// arrive twice after a cut.
    pub fn in_flight(mut self, messages: u16) -> Bridge {
        self.in_flight = messages.max(1);
        self
    }

    /// How long it waits after all addresses have failed: at first and at most. The time doubles
    /// with each round, and a random half of it is left out, so that not all come back at once.
    pub fn retry(mut self, first: Duration, most: Duration) -> Bridge {
        self.retry = (first, most.max(first));
        self
    }

    /// How often the first address is tried while the bridge is connected to another one, in whole
    /// seconds; 30 without this call.
    pub fn try_first_each(mut self, time: Duration) -> Bridge {
        self.try_first_each = time;
        self
    }

    /// The largest packet that the remote broker takes, if it speaks MQTT 3.1.1 and cannot say so.
    /// A larger message would end the connection again and again; it is dropped and counted.
    pub fn max_packet_bytes(mut self, bytes: usize) -> Bridge {
        self.packet_bytes = bytes.min(crate::limits::MAX_PACKET_BYTES);
        self
    }

    /// Publishes `1` to this topic of the remote broker while connected and `0` afterwards, retained.
    pub fn remote_state_topic(mut self, topic: impl Into<String>) -> Bridge {
        self.state_topic = Some(topic.into());
        self
    }

    /// Whether it can be as it is set; [`Broker::add_bridge`](crate::Broker::add_bridge) does this,
    /// too.
    ///
    /// # Errors
    /// What is wrong, the first of it.
    pub fn check(&self) -> Result<(), InvalidBridge> {
        self.clone().plan().map(drop)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The settings, checked.
    pub(super) fn plan(self) -> Result<Plan, InvalidBridge> {
        let of_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if !(1..=64).contains(&self.name.len()) || !self.name.chars().all(of_name) {
            return Err(InvalidBridge::Name);
        }
        let client_id = self.client_id.unwrap_or_else(|| self.name.clone());
        if client_id.is_empty() || client_id.parse::<Text>().is_err() {
            return Err(InvalidBridge::ClientId);
        }
        if self.remotes.is_empty() {
            return Err(InvalidBridge::NoRemote);
        }
        if self.send.is_empty() && self.receive.is_empty() {
            return Err(InvalidBridge::NoRule);
        }
        let state_topic = self.state_topic.map(|topic| {
            TopicName::try_from(topic.clone())
                .map_err(|source| InvalidBridge::StateTopic { topic, source })
        });
        Ok(Plan {
            remotes: self
                .remotes
                .iter()
                .map(|address| address.parse())
                .collect::<Result<_, _>>()?,
            client_id,
            credentials: self.credentials,
            tls: self.tls,
            version: self.version,
            send: self.send.into_iter().map(Mapping::sending).collect::<Result<_, _>>()?,
            receive: self.receive.into_iter().map(Mapping::receiving).collect::<Result<_, _>>()?,
            queue: self.queue,
            keep_alive: self.keep_alive,
            session_expiry: self.session_expiry,
            in_flight: self.in_flight,
            retry: self.retry,
            try_first_each: self.try_first_each,
            packet_bytes: self.packet_bytes,
            state_topic: state_topic.transpose()?,
            name: self.name,
        })
    }
}

/// A user's name and password. Does not show the password.
#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) user: String,
    pub(super) password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Where a broker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
}

impl std::str::FromStr for Address {
    type Err = InvalidBridge;

    fn from_str(address: &str) -> Result<Address, InvalidBridge> {
        let parts = address.rsplit_once(':').and_then(|(host, port)| {
            let is_host = !host.is_empty() && (!host.contains(':') || host.starts_with('['));
            is_host.then(|| Some(Address { host: host.to_owned(), port: port.parse().ok()? }))?
        });
        parts.ok_or_else(|| InvalidBridge::Remote { address: address.to_owned() })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// The settings of a bridge, checked.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) name: String,
    pub(super) remotes: Vec<Address>,
    pub(super) client_id: String,
    pub(super) credentials: Option<Credentials>,
    pub(super) tls: Option<Tls>,
    pub(super) version: Version,
    pub(super) send: Vec<Mapping>,
    pub(super) receive: Vec<Mapping>,
    pub(super) queue: Queue,
    pub(super) keep_alive: Duration,
    pub(super) session_expiry: Duration,
    pub(super) in_flight: u16,
    pub(super) retry: (Duration, Duration),
    pub(super) try_first_each: Duration,
    pub(super) packet_bytes: usize,
    pub(super) state_topic: Option<TopicName>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bridge() -> Bridge {
        Bridge::new("cloud").remote("localhost:1883").send(Rule::new("#".parse().unwrap()))
    }

    #[test]
    fn settings_that_mean_nothing_are_refused() {
        let all = || "#".parse().unwrap();
        let refused = [
            (Bridge { name: "a/b".to_owned(), ..bridge() }, InvalidBridge::Name),
            (Bridge { name: String::new(), ..bridge() }, InvalidBridge::Name),
            (bridge().client_id(""), InvalidBridge::ClientId),
            (bridge().client_id("a\0"), InvalidBridge::ClientId),
            (Bridge::new("cloud").send(Rule::new(all())), InvalidBridge::NoRemote),
            (Bridge::new("cloud").remote("localhost:1883"), InvalidBridge::NoRule),
        ];
        assert_eq!(bridge().check(), Ok(()));
        for (settings, expected) in refused {
            assert_eq!(settings.check(), Err(expected.clone()));
            assert_eq!(settings.plan().unwrap_err(), expected);
        }
        for address in ["localhost", ":1883", "localhost:", "localhost:70000", "::1:1883"] {
            assert!(bridge().remote(address).plan().is_err(), "{address}");
        }
        assert!(bridge().remote("[::1]:1883").plan().is_ok());
        assert!(bridge().remote_state_topic("a/#").plan().is_err());
    }

    #[test]
    fn password_is_not_shown() {
        let shown = format!("{:?}", bridge().credentials("ann", "secret").plan().unwrap());
        assert!(shown.contains("ann") && !shown.contains("secret"));
    }
}
