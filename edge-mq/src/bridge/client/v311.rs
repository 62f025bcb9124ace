//! rumqttc's client for MQTT 3.1.1.

use rumqttc::{
    AsyncClient, Event, EventLoop, LastWill, MqttOptions, Outgoing, Packet, QoS as Q,
    SubscribeFilter, SubscribeReasonCode,
};

use super::{
    Address, Answer, Arrival, CONNECT_SECONDS, Client, Events, Lost, Mapping, Message, Plan, QoS,
    Receipt, Seen, Terms, channel_room, lost,
};
use crate::limits::MAX_PACKET_BYTES;

pub(super) fn client(plan: &Plan, address: &Address) -> (Client, Events) {
    let mut options = MqttOptions::new(&plan.client_id, &address.host, address.port);
    options
        .set_keep_alive(plan.keep_alive)
        .set_clean_session(plan.receive.is_empty())
        .set_manual_acks(true)
        .set_max_packet_size(MAX_PACKET_BYTES, MAX_PACKET_BYTES)
        // One more than is used, as it takes no acknowledgement from us while all are in use.
        .set_inflight(plan.in_flight.saturating_add(1));
    if let Some(credentials) = &plan.credentials {
        options.set_credentials(&credentials.user, &credentials.password);
    }
    if let Some(topic) = &plan.state_topic {
        options.set_last_will(LastWill::new(topic.as_str(), "0", Q::AtLeastOnce, true));
    }
    if let Some(tls) = &plan.tls {
        options.set_transport(tls.transport());
    }
    let (client, mut events): (AsyncClient, EventLoop) =
        AsyncClient::new(options, channel_room(plan));
    events.network_options.set_tcp_nodelay(true);
    events.network_options.set_connection_timeout(CONNECT_SECONDS);
    (Client::V311(client), Events::V311(Box::new(events)))
}

pub(super) fn publish(client: &AsyncClient, message: Message) -> Result<(), Lost> {
    let (topic, payload) = (message.topic().as_str(), message.payload().clone());
    client
        .try_publish(topic, of(message.published_qos()), message.is_retained(), payload)
        .map_err(lost)
}

pub(super) fn subscribe(client: &AsyncClient, rules: &[Mapping]) -> Result<(), Lost> {
    let filters = rules
        .iter()
        .map(|rule| SubscribeFilter::new(rule.filter.as_str().to_owned(), of(rule.granted())));
    client.try_subscribe_many(filters).map_err(lost)
}

pub(super) fn seen(event: Event) -> Seen {
    match event {
        Event::Outgoing(Outgoing::Publish(packet_id)) => Seen::Sent(packet_id),
        Event::Incoming(Packet::ConnAck(answer)) => Seen::Connected(Terms {
            session_present: answer.session_present,
            receive_maximum: u16::MAX,
            packet_bytes: MAX_PACKET_BYTES,
            max_qos: QoS::AtLeastOnce,
            takes_retained: true,
            keep_alive: None,
        }),
        Event::Incoming(Packet::PubAck(ack)) => Seen::Answered(ack.pkid, Answer::Taken),
        Event::Incoming(Packet::SubAck(ack)) => {
            let is_failure = |code: &&SubscribeReasonCode| **code == SubscribeReasonCode::Failure;
            Seen::Subscribed { refused: ack.return_codes.iter().filter(is_failure).count() }
        }
        Event::Incoming(Packet::Publish(publish)) => Seen::Arrived(Box::new(Arrival {
            message: publish.topic.as_str().try_into().ok().map(|topic| {
                Message::new(topic, publish.payload.clone())
                    .qos(QoS::from_number(publish.qos as u8).unwrap_or_default())
                    .retain(publish.retain)
            }),
            receipt: Receipt::V311(publish),
        })),
        Event::Incoming(_) | Event::Outgoing(_) => Seen::Alive,
    }
}

fn of(qos: QoS) -> Q {
    match qos {
        QoS::AtMostOnce => Q::AtMostOnce,
        QoS::AtLeastOnce => Q::AtLeastOnce,
        QoS::ExactlyOnce => Q::ExactlyOnce,
    }
}
