//! A message in bytes: the PUBLISH of MQTT 5.0 that would carry it.

use bytes::{Bytes, BytesMut};

use crate::message::Message;
use crate::packet::{
    DecodeError, Delivery, PacketId, Property, Publish, PublishHead, QoS, SubscriptionId, Version,
};

/// Appends a message, with the identifiers of the subscriptions that it is for.
pub(super) fn encode(message: &Message, ids: &[SubscriptionId], out: &mut BytesMut) {
    let id = PacketId::new(1).expect("1 is not 0");
    let own: Vec<_> = ids.iter().copied().map(Property::SubscriptionId).collect();
    let head = PublishHead {
        dup: false,
        retain: message.is_retained(),
        // Which identifier it is has no meaning here.
        delivery: match message.published_qos() {
            QoS::AtMostOnce => Delivery::AtMostOnce,
            QoS::AtLeastOnce => Delivery::AtLeastOnce(id),
            QoS::ExactlyOnce => Delivery::ExactlyOnce(id),
        },
        topic: message.topic().as_str(),
        properties: message.properties(),
        own_properties: &own,
    };
    head.encode(Version::V5, message.payload().len(), out);
    out.extend_from_slice(message.payload());
}

pub(super) fn bytes(message: &Message) -> Vec<u8> {
    let mut out = BytesMut::new();
    encode(message, &[], &mut out);
    out.into()
}

/// The message that these bytes are, sharing them, and the identifiers of its subscriptions.
pub(super) fn decode(bytes: Bytes) -> Result<(Message, Vec<SubscriptionId>), DecodeError> {
    let mut publish = Publish::from_bytes(bytes)?;
    let topic = publish.topic.take().ok_or(DecodeError::Malformed("message has no topic"))?;
    let ids = publish.properties.iter().filter_map(|property| match property {
        Property::SubscriptionId(id) => Some(*id),
        _ => None,
    });
    let ids = ids.collect();
    Ok((Message::from_publish(publish, topic), ids))
}
