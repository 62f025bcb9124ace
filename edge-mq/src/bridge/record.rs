//! A message as it stands in the queue, and as it crosses.

use std::time::Duration;

use edge_db::{Record, Time};

use super::client::Terms;
use super::rule::{Mapping, Priority, deciding};
use crate::delayed;
use crate::packet::{Property, QoS, Text};
use crate::{Message, TopicName};

/// What the size of a message does not have in it: its packet identifier, and perhaps one more byte
/// for the length.
const PACKET_ID_BYTES: usize = 3;

/// The user property that says which bridges a message has crossed.
const CROSSED: &str = "edge-bridge";

/// The same as a header of a record.
const CROSSED_HEADER: &str = "user.edge-bridge";

/// Why a message of the queue does not cross.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stays {
    /// It has crossed this bridge already.
    Loop,
    /// Its own expiry has passed.
    Expired,
    /// The remote broker takes no message so large.
    TooLarge,
    /// No rule is about it, or it has no topic on the other side.
    Unwanted,
    /// A rule in front of those of this queue has it cross from another one.
    Elsewhere,
}

/// What of a bridge decides over a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Crossing<'a> {
    pub(super) rules: &'a [Mapping],
    pub(super) client_id: &'a str,
    pub(super) terms: &'a Terms,
    /// The largest packet, by the settings.
    pub(super) packet_bytes: usize,
}

impl Crossing<'_> {
    /// The message to send for a record of the queue of this priority.
    pub(super) fn message(
        &self,
        record: &Record,
        from: Priority,
        now: Time,
    ) -> Result<Message, Stays> {
        let is_own = |(name, value): (&str, bytes::Bytes)| {
            name == CROSSED_HEADER && value == self.client_id.as_bytes()
        };
        if record.headers().any(is_own) {
            return Err(Stays::Loop);
        }
        let topic = Text::from_bytes(record.key().clone()).ok();
        let topic = topic.and_then(|topic| TopicName::from_text(topic).ok());
        let topic = topic.ok_or(Stays::Unwanted)?;
        let rule = deciding(self.rules, &topic).ok_or(Stays::Unwanted)?;
        // A rule of this queue matches it too, so both queues have it. What no rule of this queue
        // matches has waited since before the rules were changed, and waits here alone.
        let here = |rule: &&Mapping| rule.priority == from && rule.matches(&topic);
        if rule.priority != from && self.rules.iter().any(|rule| here(&rule)) {
            return Err(Stays::Elsewhere);
        }
        let qos = record.header("qos").and_then(|qos| QoS::from_number(*qos.first()?));
        let qos = rule.qos(qos.unwrap_or_default()).min(self.terms.max_qos);
        let retain = rule.keeps(record.header("retain").is_some()) && self.terms.takes_retained;
        let message =
            Message::new(rule.topic(&topic).ok_or(Stays::Unwanted)?, record.value().clone());
        let message = message.qos(qos).retain(retain).with_all(properties(record, now)?);
        let message = mark(message, self.client_id).ok_or(Stays::Unwanted)?;
        if message.encoded_bytes() + PACKET_ID_BYTES
            > self.terms.packet_bytes.min(self.packet_bytes)
        {
            return Err(Stays::TooLarge);
        }
        Ok(message)
    }
}

fn properties(record: &Record, now: Time) -> Result<Vec<Property>, Stays> {
    let mut properties = Vec::new();
    for (name, value) in record.headers() {
        let text = |value| Text::from_bytes(value).ok();
        properties.extend(match name {
            "expiry" => Some(Property::MessageExpiry(left(record.time(), &value, now)?)),
            "utf8" => Some(Property::PayloadIsUtf8(value.first() == Some(&1))),
            "content-type" => text(value).map(Property::ContentType),
            "response-topic" => text(value).map(Property::ResponseTopic),
            "correlation-data" => Some(Property::CorrelationData(value)),
            _ => name
                .strip_prefix("user.")
                .and_then(|name| Some(Property::User(name.parse().ok()?, text(value)?))),
        });
    }
    Ok(properties)
}

/// What is left of the time for which a message is worth delivering, in seconds.
fn left(since: Time, seconds: &[u8], now: Time) -> Result<u32, Stays> {
    let seconds = seconds.try_into().map(u32::from_be_bytes).unwrap_or(u32::MAX);
    let waited =
        Duration::from_micros(now.micros().saturating_sub(since.micros()).try_into().unwrap_or(0));
    let left = Duration::from_secs(seconds.into()).saturating_sub(waited);
    if left.is_zero() {
        return Err(Stays::Expired);
    }
    let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    Ok(u32::try_from(seconds).unwrap_or(u32::MAX))
}

/// The message to publish here for one of the remote broker; `None` if no rule is about it, or it has
/// no topic here.
pub(super) fn received(rules: &[Mapping], message: &Message, client_id: &str) -> Option<Message> {
    let rule = deciding(rules, message.topic())?;
    let topic = rule.topic(message.topic())?;
    if topic.as_str().starts_with("$SYS/") || delayed::is_for_later(&topic) {
        // The broker alone speaks for itself (section 4.7.2). What waited would be sent back over the
        // bridge, as nobody remembers by then where it came from.
        return None;
    }
    let received = Message::new(topic, message.payload().clone())
        .qos(message.published_qos())
        .retain(rule.keeps(message.is_retained()))
        .with_all(message.properties().iter().cloned());
    mark(received, client_id)
}

/// The message, saying that it has crossed the bridge of this client identifier.
fn mark(message: Message, client_id: &str) -> Option<Message> {
    Some(message.user_property(CROSSED.parse().ok()?, client_id.parse().ok()?))
}

/// Whether a message says that it has crossed the bridge of this client identifier.
pub(super) fn has_crossed(message: &Message, client_id: &str) -> bool {
    message.user_properties().any(|(name, value)| name == CROSSED && value == client_id)
}

#[cfg(test)]
mod tests {
    use super::super::rule::Rule;
    use super::*;

    fn got(topic: &str, rule: Rule) -> Option<Message> {
        let rules = [Mapping::receiving(rule).unwrap()];
        received(&rules, &Message::new(topic.parse().unwrap(), "1").retain(true), "gateway")
    }

    #[test]
    fn what_is_received_has_its_topic_here_and_says_where_it_came_over() {
        let rule = || Rule::new("a/#".parse().unwrap()).remote_prefix("there/");
        let message = got("there/a/b", rule()).unwrap();
        assert_eq!(message.topic().as_str(), "a/b");
        assert!(message.is_retained() && has_crossed(&message, "gateway"));
        assert!(!has_crossed(&message, "other"));
        assert!(!got("there/a/b", rule().retain(false)).unwrap().is_retained());
        assert!(got("a/b", rule()).is_none());
    }

    #[test]
    fn remote_broker_does_not_speak_for_this_one() {
        let all = || Rule::new("#".parse().unwrap());
        assert!(got("broker/uptime", all().local_prefix("$SYS/")).is_none());
        assert!(got("broker/uptime", all().local_prefix("there/")).is_some());
        let theirs = Rule::new("$SYS/#".parse().unwrap());
        assert!(got("$SYS/broker/uptime", theirs.clone()).is_none());
        assert!(got("$SYS/broker/uptime", theirs.local_prefix("there/")).is_some());
        // Nor does it have this one wait.
        assert!(got("5/x", all().local_prefix("$delayed/")).is_none());
    }
}
