//! A message on its way through the broker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::TopicName;
use crate::packet::{
    Delivery, Properties, Property, Publish, PublishHead, QoS, Text, Version, Will,
};

/// What a queued message costs beside topic, payload and properties: its entry in the queue and
/// the shared record behind it.
const OVERHEAD_BYTES: usize = 160;

/// An application message. Cloning shares topic and payload.
///
/// ```
/// use edge_mq::{Message, QoS};
/// let message = Message::new("office/lab/climate".parse()?, r#"{"co2_ppm":749}"#)
///     .qos(QoS::AtLeastOnce)
///     .retain(true)
///     .content_type("application/json".parse()?)
///     .user_property("unit".parse()?, "ppm".parse()?);
/// assert_eq!(message.user_properties().count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Message {
    topic: TopicName,
    payload: Bytes,
    qos: QoS,
    retain: bool,
    /// Those that travel with the message, in the order of the publisher.
    properties: Properties,
}

impl Message {
    /// A QoS 0 message that is not retained.
    pub fn new(topic: TopicName, payload: impl Into<Bytes>) -> Message {
        let (payload, properties) = (payload.into(), Properties::new());
        Message { topic, payload, qos: QoS::AtMostOnce, retain: false, properties }
    }

    /// How surely it is delivered.
    pub fn qos(mut self, qos: QoS) -> Message {
        self.qos = qos;
        self
    }

    /// Whether it is kept for later subscribers of its topic.
    pub fn retain(mut self, retain: bool) -> Message {
        self.retain = retain;
        self
    }

    /// Marks the payload as UTF-8 text. MQTT 3.1.1 subscribers do not see this, nor any of the
    /// following.
    pub fn payload_is_utf8(self, yes: bool) -> Message {
        self.with(Property::PayloadIsUtf8(yes))
    }

    /// Not delivered any more after this time, which counts in whole seconds.
    pub fn expires_after(self, time: Duration) -> Message {
        self.with(Property::MessageExpiry(u32::try_from(time.as_secs()).unwrap_or(u32::MAX)))
    }

    /// What the payload is, usually a MIME type.
    pub fn content_type(self, content_type: Text) -> Message {
        self.with(Property::ContentType(content_type))
    }

    /// Where an answer should go.
    pub fn response_topic(self, topic: TopicName) -> Message {
        self.with(Property::ResponseTopic(topic.as_text().clone()))
    }

    /// What an answer should carry along; at most 65,535 bytes.
    pub fn correlation_data(self, data: impl Into<Bytes>) -> Message {
        self.with(Property::CorrelationData(data.into()))
    }

    /// Adds a name and a value. Order and repeats are kept.
    pub fn user_property(self, name: Text, value: Text) -> Message {
        self.with(Property::User(name, value))
    }

    /// Where it goes.
    pub fn topic(&self) -> &TopicName {
        &self.topic
    }

    /// The application's bytes.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The QoS it was published with.
    pub fn published_qos(&self) -> QoS {
        self.qos
    }

    /// On a message to be published: keep it. On one that arrives: it was kept.
    pub fn is_retained(&self) -> bool {
        self.retain
    }

    /// The MQTT 5.0 properties that travel with it.
    pub fn properties(&self) -> &Properties {
        &self.properties
    }

    /// The user properties in order.
    pub fn user_properties(&self) -> impl Iterator<Item = (&str, &str)> {
        self.properties.iter().filter_map(|property| match property {
            Property::User(name, value) => Some((name.as_str(), value.as_str())),
            _ => None,
        })
    }

    /// The same message, to another topic.
    pub fn with_topic(self, topic: TopicName) -> Message {
        Message { topic, ..self }
    }

    /// The message of a PUBLISH, whose topic alias has been resolved.
    pub(crate) fn from_publish(publish: Publish, topic: TopicName) -> Message {
        let mut properties = publish.properties;
        properties.retain(|property| {
            !matches!(property, Property::TopicAlias(_) | Property::SubscriptionId(_))
        });
        let (qos, retain) = (publish.delivery.qos(), publish.retain);
        Message { topic, payload: publish.payload, qos, retain, properties }
    }

    pub(crate) fn from_will(will: Will) -> Message {
        let Will { topic, payload, qos, retain, mut properties } = will;
        properties.retain(|property| !matches!(property, Property::WillDelay(_)));
        Message { topic, payload, qos, retain, properties }
    }

    /// Bytes of an MQTT 5.0 packet that carries it.
    pub(crate) fn encoded_bytes(&self) -> usize {
        let head = PublishHead {
            dup: false,
            retain: self.retain,
            delivery: Delivery::AtMostOnce,
            topic: self.topic.as_str(),
            properties: &self.properties,
            own_properties: &[],
        };
        head.packet_len(Version::V5, self.payload.len())
    }

    /// About how many bytes keeping it takes.
    pub(crate) fn cost_bytes(&self) -> usize {
        let properties = self.properties.iter().map(|p| size_of::<Property>() + p.encoded_len());
        let properties: usize = properties.sum();
        self.topic.as_str().len() + self.payload.len() + properties + OVERHEAD_BYTES
    }

    /// The same message in memory of its own. What is kept for long must not hold on to the read
    /// buffer that it came in, of which it may be a small part.
    pub(crate) fn detached(&self) -> Message {
        Message {
            topic: self.topic.detached(),
            payload: Bytes::copy_from_slice(&self.payload),
            properties: self.properties.iter().map(Property::detached).collect(),
            ..*self
        }
    }

    pub(crate) fn with_all(self, properties: impl IntoIterator<Item = Property>) -> Message {
        properties.into_iter().fold(self, Message::with)
    }

    fn with(mut self, property: Property) -> Message {
        self.properties = self.properties.with(property);
        self
    }
}

/// A message that was taken in, shared by all who receive it.
///
/// Usually one thread allocates it and another frees it. glibc does that without a lock up to a chunk
/// of 128 bytes, with its own word and the two counters of `Arc`; one word more cost a third of the
/// throughput of 50 publishers to one subscriber.
#[derive(Debug)]
pub(crate) struct Routed {
    pub(crate) message: Message,
    /// Since when it is not worth delivering.
    pub(crate) deadline: Option<Instant>,
}

#[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]
const _: () = assert!(size_of::<Routed>() + 3 * size_of::<usize>() <= 128);

impl Routed {
    pub(crate) fn new(mut message: Message, now: Instant) -> Arc<Routed> {
        let expiry = message.properties.find(|property| match property {
            Property::MessageExpiry(seconds) => Some(*seconds),
            _ => None,
        });
        // What is left of the time differs from receiver to receiver, so it is told apart.
        message.properties.retain(|property| !matches!(property, Property::MessageExpiry(_)));
        let deadline = expiry.and_then(|s| now.checked_add(Duration::from_secs(s.into())));
        Arc::new(Routed { message, deadline })
    }

    pub(crate) fn is_expired(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// What is left of its time, as the property that says so.
    pub(crate) fn expiry_left(&self, now: Instant) -> Option<Property> {
        let left = self.deadline?.saturating_duration_since(now).as_secs_f64().ceil();
        // At most the 32-bit number of seconds that came in.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Some(Property::MessageExpiry(left as u32))
    }
}
