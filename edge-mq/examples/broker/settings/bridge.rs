//! Bridges to other brokers.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use edge_mq::bridge::{Bridge, InvalidBridge, Priority, Queue, Rule, Tls, WhenFull};
use edge_mq::packet::Version;
use edge_mq::{QoS, TopicFilter};

use super::super::mistakes::with_causes;
use super::section::Section;

const VERSIONS: &[(&str, Version)] = &[("5", Version::V5), ("3.1.1", Version::V311)];
const WHEN_FULL: &[(&str, WhenFull)] = &[
    ("drop oldest", WhenFull::DropOldest),
    ("drop new", WhenFull::DropNew),
    ("hold back", WhenFull::HoldBack),
];
const PRIORITIES: &[(&str, Priority)] =
    &[("high", Priority::High), ("normal", Priority::Normal), ("low", Priority::Low)];

/// Seconds; the broker would silently take the nearest of them.
const KEEP_ALIVE: RangeInclusive<u64> = 5..=u16::MAX as u64;

/// A bridge, and what tells it from what it was.
pub(crate) struct NamedBridge {
    pub(crate) name: String,
    pub(crate) bridge: Bridge,
    /// All that is said of it: the values in the file, and what is in the files that they name.
    pub(crate) said: String,
}

/// Without what is said of it, which has passwords and keys in it.
impl fmt::Debug for NamedBridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bridge.fmt(f)
    }
}

/// Those of a file; each name once.
pub(super) fn bridges(root: &Section<'_>) -> Vec<NamedBridge> {
    let mut bridges: Vec<NamedBridge> = Vec::new();
    for section in root.tables("bridge") {
        let Some(bridge) = take(&section) else { continue };
        if bridges.iter().any(|other| other.name == bridge.name) {
            section.wrong("name", format!("there is a bridge `{}` already", bridge.name));
        }
        bridges.push(bridge);
    }
    bridges
}

fn take(section: &Section<'_>) -> Option<NamedBridge> {
    let name: Option<String> = section.need("name", section.get("name"));
    let remotes: Option<Vec<String>> = section.need("remotes", section.get("remotes"));
    if remotes.as_ref().is_some_and(Vec::is_empty) {
        section.wrong("remotes", "`remotes` has one address at least");
    }
    let mut bridge = Bridge::new(name.clone().unwrap_or_else(|| "unnamed".to_owned()));
    bridge = remotes.into_iter().flatten().fold(bridge, Bridge::remote);
    bridge = identity(section, bridge);
    let mut said = section.said();
    if let Some(tls) = section.table("tls") {
        bridge = match certificates(&tls, &mut said) {
            Some(tls) => bridge.tls(tls),
            None => bridge,
        };
    }
    bridge = link(section, bridge).queue(queue(section));
    bridge = rules(section, "send").into_iter().fold(bridge, Bridge::send);
    bridge = rules(section, "receive").into_iter().fold(bridge, Bridge::receive);
    let has_rules = section.has("send") || section.has("receive");
    match bridge.check() {
        // What is missing was noted, and a rule that is wrong where it stands.
        Err(InvalidBridge::NoRemote) => {}
        Err(InvalidBridge::NoRule) if has_rules => {}
        Err(error) => section.wrong("name", with_causes(&error)),
        Ok(()) => {}
    }
    Some(NamedBridge { name: name?, bridge, said })
}

/// Who it is to the remote broker.
fn identity(section: &Section<'_>, mut bridge: Bridge) -> Bridge {
    if let Some(client_id) = section.get::<String>("client_id") {
        bridge = bridge.client_id(client_id);
    }
    match (section.get::<String>("user"), section.get::<String>("password")) {
        (Some(user), password) => bridge.credentials(user, password.unwrap_or_default()),
        (None, Some(_)) if !section.has("user") => {
            section.wrong("password", "`password` without `user`");
            bridge
        }
        (None, _) => bridge,
    }
}

/// How it holds the connection.
fn link(section: &Section<'_>, mut bridge: Bridge) -> Bridge {
    if let Some(version) = section.word("version", VERSIONS) {
        bridge = bridge.version(version);
    }
    if let Some(time) = section.get::<Duration>("keep_alive") {
        if !KEEP_ALIVE.contains(&time.as_secs()) {
            section.wrong("keep_alive", "`keep_alive` is from 5 s to 65535 s");
        }
        bridge = bridge.keep_alive(time);
    }
    if let Some(time) = section.get("session_expiry") {
        bridge = bridge.session_expiry(time);
    }
    if let Some(messages) = section.get("in_flight") {
        if messages == 0 {
            section.wrong("in_flight", "`in_flight` is 1 at least: with 0 nothing would move");
        }
        bridge = bridge.in_flight(messages);
    }
    let retry = (section.get("retry_first"), section.get("retry_most"));
    if retry.0.is_some() || retry.1.is_some() {
        let first = retry.0.unwrap_or(Duration::from_secs(1));
        bridge = bridge.retry(first, retry.1.unwrap_or(Duration::from_secs(60)));
    }
    if let Some(time) = section.get("try_first_each") {
        bridge = bridge.try_first_each(time);
    }
    if let Some(bytes) = section.bytes("max_packet_bytes") {
        bridge = bridge.max_packet_bytes(bytes);
    }
    if let Some(topic) = section.get::<String>("state_topic") {
        bridge = bridge.remote_state_topic(topic);
    }
    bridge
}

fn queue(section: &Section<'_>) -> Queue {
    let mut queue = Queue::new();
    if let Some(bytes) = section.bytes("queue_bytes") {
        queue = queue.max_bytes(bytes);
    }
    if let Some(age) = section.get("queue_age") {
        queue = queue.max_age(age);
    }
    if let Some(policy) = section.word("queue_when_full", WHEN_FULL) {
        queue = queue.when_full(policy);
    }
    queue
}

fn rules(section: &Section<'_>, key: &'static str) -> Vec<Rule> {
    section.tables(key).iter().filter_map(rule).collect()
}

fn rule(section: &Section<'_>) -> Option<Rule> {
    let filter = section.parsed("filter", str::parse::<TopicFilter>);
    let filter = section.need("filter", filter);
    let local_prefix: String = section.get("local_prefix").unwrap_or_default();
    let remote_prefix: String = section.get("remote_prefix").unwrap_or_default();
    let at_least = section.get("at_least").and_then(|level: u16| qos(section, "at_least", level));
    let at_most = section.get("at_most").and_then(|level: u16| qos(section, "at_most", level));
    let retain = section.get("retain").unwrap_or(true);
    let priority = section.word("priority", PRIORITIES).unwrap_or_default();
    let mut rule = Rule::new(filter?)
        .local_prefix(local_prefix)
        .remote_prefix(remote_prefix)
        .retain(retain)
        .priority(priority);
    if let Some(qos) = at_least {
        rule = rule.at_least(qos);
    }
    if let Some(qos) = at_most {
        rule = rule.at_most(qos);
    }
    // Alone on a bridge that is right but for it.
    let tried = Bridge::new("bridge").remote("localhost:1883").send(rule.clone()).check();
    tried.map_err(|error| section.wrong("filter", with_causes(&error))).ok()?;
    Some(rule)
}

fn qos(section: &Section<'_>, key: &'static str, level: u16) -> Option<QoS> {
    match level {
        0 => Some(QoS::AtMostOnce),
        1 => Some(QoS::AtLeastOnce),
        _ => {
            section.wrong(key, format!("`{key}` is 0 or 1: a bridge sends QoS 2 as 1"));
            None
        }
    }
}

/// Adds to `said` what is in the files.
fn certificates(section: &Section<'_>, said: &mut String) -> Option<Tls> {
    let mut read = |key| {
        let (_, content) = section.file(key)?;
        said.push_str(&String::from_utf8_lossy(&content));
        Some(content)
    };
    let (trusted, certificate, key) = (read("trusted"), read("certificate"), read("key"));
    let is_missing = |key, content: &Option<Vec<u8>>| section.has(key) && content.is_none();
    if is_missing("trusted", &trusted)
        || is_missing("certificate", &certificate)
        || is_missing("key", &key)
    {
        return None;
    }
    let tls = match (trusted, certificate, key) {
        (Some(trusted), None, None) => Tls::trusting(&trusted),
        (None, None, None) => Tls::trusting_system(),
        (Some(trusted), Some(chain), Some(key)) => Tls::with_certificate(&trusted, &chain, &key),
        _ => {
            section.wrong("certificate", "`certificate`, `key` and `trusted` go together");
            return None;
        }
    };
    tls.map_err(|error| section.wrong("trusted", with_causes(&error))).ok()
}
