//! rumqttc's client for MQTT 5.0.

use std::time::Duration;

use rumqttc::NetworkOptions;
use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::QoS as Q;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnectProperties, Filter, LastWill, Packet, PubAckReason, Publish, PublishProperties,
    RetainForwardRule, SubscribeReasonCode,
};
use rumqttc::v5::{AsyncClient, Event, MqttOptions};

use super::{
    Address, Answer, Arrival, CONNECT_SECONDS, Client, Events, Lost, Mapping, Message, Plan, QoS,
    Receipt, Seen, Terms, channel_room, lost,
};
use crate::limits::MAX_PACKET_BYTES;
use crate::packet::{Property, Text};

pub(super) fn client(plan: &Plan, address: &Address, packet_bytes: usize) -> (Client, Events) {
    let mut options = MqttOptions::new(&plan.client_id, &address.host, address.port);
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    let keeps_session = !plan.receive.is_empty();
    let expiry = u32::try_from(plan.session_expiry.as_secs()).unwrap_or(u32::MAX);
    options
        .set_connect_properties(ConnectProperties {
            session_expiry_interval: keeps_session.then_some(expiry),
            receive_maximum: Some(plan.in_flight),
            max_packet_size: u32::try_from(packet_bytes).ok().filter(|bytes| *bytes > 0),
            ..ConnectProperties::new()
        })
        .set_keep_alive(plan.keep_alive)
        .set_clean_start(!keeps_session)
        .set_manual_acks(true)
        .set_connection_timeout(CONNECT_SECONDS)
        .set_network_options(network)
        // One more than is used, as it takes no acknowledgement from us while all are in use.
        .set_outgoing_inflight_upper_limit(plan.in_flight.saturating_add(1));
    if let Some(credentials) = &plan.credentials {
        options.set_credentials(&credentials.user, &credentials.password);
    }
    if let Some(topic) = &plan.state_topic {
        options.set_last_will(LastWill::new(topic.as_str(), "0", Q::AtLeastOnce, true, None));
    }
    if let Some(tls) = &plan.tls {
        options.set_transport(tls.transport());
    }
    let (client, events) = AsyncClient::new(options, channel_room(plan));
    (Client::V5(client), Events::V5(Box::new(events)))
}

pub(super) fn publish(client: &AsyncClient, message: Message) -> Result<(), Lost> {
    let (topic, payload) = (message.topic().as_str(), message.payload().clone());
    let (qos, retain) = (of(message.published_qos()), message.is_retained());
    let properties = properties(&message);
    client.try_publish_with_properties(topic, qos, retain, payload, properties).map_err(lost)
}

pub(super) fn subscribe(client: &AsyncClient, rules: &[Mapping]) -> Result<(), Lost> {
    let filters = rules.iter().map(|rule| Filter {
        path: rule.filter.as_str().to_owned(),
        qos: of(rule.granted()),
        nolocal: true,
        preserve_retain: true,
        retain_forward_rule: RetainForwardRule::OnNewSubscribe,
    });
    client.try_subscribe_many(filters).map_err(lost)
}

pub(super) fn seen(event: Event) -> Seen {
    match event {
        Event::Outgoing(Outgoing::Publish(packet_id)) => Seen::Sent(packet_id),
        Event::Incoming(Packet::ConnAck(answer)) => Seen::Connected(terms(&answer)),
        Event::Incoming(Packet::PubAck(ack)) => Seen::Answered(ack.pkid, answer(ack.reason)),
        Event::Incoming(Packet::SubAck(ack)) => {
            let is_failure =
                |code: &&SubscribeReasonCode| !matches!(code, SubscribeReasonCode::Success(_));
            Seen::Subscribed { refused: ack.return_codes.iter().filter(is_failure).count() }
        }
        Event::Incoming(Packet::Publish(publish)) => Seen::Arrived(Box::new(Arrival {
            message: message(&publish),
            receipt: Receipt::V5(publish),
        })),
        Event::Incoming(_) | Event::Outgoing(_) => Seen::Alive,
    }
}

/// What CONNACK says about the remote broker, and what it means if it does not (section 3.2.2.3).
fn terms(answer: &ConnAck) -> Terms {
    let properties = answer.properties.as_ref();
    let max_qos = properties.and_then(|properties| properties.max_qos);
    let packet_bytes = properties.and_then(|properties| properties.max_packet_size);
    Terms {
        session_present: answer.session_present,
        receive_maximum: properties.and_then(|p| p.receive_max).unwrap_or(u16::MAX),
        packet_bytes: packet_bytes.map_or(MAX_PACKET_BYTES, |bytes| bytes as usize),
        max_qos: max_qos.and_then(QoS::from_number).unwrap_or(QoS::ExactlyOnce),
        takes_retained: properties.and_then(|p| p.retain_available) != Some(0),
        keep_alive: properties
            .and_then(|properties| properties.server_keep_alive)
            .map(|seconds| Duration::from_secs(seconds.into())),
    }
}

fn answer(reason: PubAckReason) -> Answer {
    match reason {
        PubAckReason::Success | PubAckReason::NoMatchingSubscribers => Answer::Taken,
        PubAckReason::NotAuthorized
        | PubAckReason::TopicNameInvalid
        | PubAckReason::PayloadFormatInvalid => Answer::Refused,
        PubAckReason::UnspecifiedError
        | PubAckReason::ImplementationSpecificError
        | PubAckReason::PacketIdentifierInUse
        | PubAckReason::QuotaExceeded => Answer::NotNow,
    }
}

fn properties(message: &Message) -> PublishProperties {
    let mut properties = PublishProperties::default();
    for property in message.properties().iter() {
        match property {
            Property::PayloadIsUtf8(yes) => {
                properties.payload_format_indicator = Some(u8::from(*yes));
            }
            Property::MessageExpiry(seconds) => properties.message_expiry_interval = Some(*seconds),
            Property::ContentType(text) => properties.content_type = Some(text.to_string()),
            Property::ResponseTopic(topic) => properties.response_topic = Some(topic.to_string()),
            Property::CorrelationData(data) => properties.correlation_data = Some(data.clone()),
            Property::User(name, value) => {
                properties.user_properties.push((name.to_string(), value.to_string()));
            }
            _ => {}
        }
    }
    properties
}

/// The message of the remote broker; `None` if it is none that MQTT allows.
fn message(publish: &Publish) -> Option<Message> {
    let topic = Text::from_bytes(publish.topic.clone()).ok()?;
    let message = Message::new(crate::TopicName::from_text(topic).ok()?, publish.payload.clone())
        .qos(QoS::from_number(publish.qos as u8)?)
        .retain(publish.retain);
    let Some(properties) = &publish.properties else { return Some(message) };
    let text = |text: &String| text.as_str().parse::<Text>();
    let mut all = Vec::new();
    all.extend(properties.payload_format_indicator.map(|is| Property::PayloadIsUtf8(is == 1)));
    all.extend(properties.message_expiry_interval.map(Property::MessageExpiry));
    if let Some(content_type) = &properties.content_type {
        all.push(Property::ContentType(text(content_type).ok()?));
    }
    if let Some(topic) = &properties.response_topic {
        all.push(Property::ResponseTopic(text(topic).ok()?));
    }
    all.extend(properties.correlation_data.clone().map(Property::CorrelationData));
    for (name, value) in &properties.user_properties {
        all.push(Property::User(text(name).ok()?, text(value).ok()?));
    }
    Some(message.with_all(all))
}

fn of(qos: QoS) -> Q {
    match qos {
        QoS::AtMostOnce => Q::AtMostOnce,
        QoS::AtLeastOnce => Q::AtLeastOnce,
        QoS::ExactlyOnce => Q::ExactlyOnce,
    }
}
