//! Packets that the specification allows, of every type and version. Names are few, so that clients
//! meet: they take over each other's sessions, match each other's filters, and reuse identifiers.

use bytes::Bytes;
use edge_mq::packet::{
    Ack, ConnAck, Connect, Delivery, Disconnect, Packet, PacketId, PacketSize, Properties,
    Property, Publish, QoS, ReasonCode, RetainHandling, SubAck, Subscribe, SubscribeOptions,
    SubscriptionId, TopicAlias, Unsubscribe, Version, Will,
};
use edge_mq::{Text, TopicFilter, TopicName};

use crate::chance::Chance;

/// Client identifiers: enough that not each connection is soon taken over by another one.
const CLIENTS: usize = 60;
const TOPICS: &[&str] = &[
    "a",
    "a/b",
    "a/b/c",
    "/",
    "$SYS/x",
    "$delayed/1/a/b",
    "$delayed/x",
    "ä/€/\u{FEFF}",
    "office/lab/climate",
];
const FILTERS: &[&str] = &[
    "#",
    "+",
    "a/#",
    "+/b",
    "a/+/c",
    "$SYS/#",
    "ä/+/\u{FEFF}",
    "$share/g/a/#",
    "$share/h/#",
    "$share//a",
    "office/lab/climate",
];
const QOS: &[QoS] = &[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// Makes one property.
type Kind = fn(&mut Chance) -> Property;

const MESSAGE: &[Kind] = &[
    |chance| Property::MessageExpiry(seconds(chance)),
    |_| Property::ContentType(text("text/plain")),
    |chance| Property::ResponseTopic(topic(chance).as_text().clone()),
    |chance| Property::CorrelationData(chance.bytes(12).into()),
];
const PUBLISH: &[Kind] =
    &[|chance| Property::TopicAlias(TopicAlias::new(nonzero(chance, 8)).expect("not 0"))];
const CONNECT: &[Kind] = &[
    |chance| Property::SessionExpiry(seconds(chance)),
    |chance| Property::ReceiveMaximum(nonzero(chance, 20).try_into().expect("not 0")),
    |chance| Property::TopicAliasMaximum(nonzero(chance, 20)),
    |chance| {
        let size = if chance.one_in(4) { nonzero(chance, 200).into() } else { u32::MAX };
        Property::MaximumPacketSize(PacketSize::new(size).expect("not 0"))
    },
    |chance| Property::RequestProblemInformation(chance.one_in(2)),
    |chance| Property::RequestResponseInformation(chance.one_in(2)),
];
const CONN_ACK: &[Kind] = &[
    |_| Property::AssignedClientId(text("assigned")),
    |chance| Property::ServerKeepAlive(nonzero(chance, 100)),
    |chance| Property::SharedSubscriptions(chance.one_in(2)),
    |_| Property::MaximumQoS(QoS::AtLeastOnce),
    |_| Property::ServerReference(text("elsewhere")),
];
const SUBSCRIBE: &[Kind] = &[|chance| {
    let id = u32::from(nonzero(chance, u16::MAX)) * 4096;
    Property::SubscriptionId(SubscriptionId::new(id).expect("in range"))
}];
const REASON: &[Kind] = &[|_| Property::ReasonString(text("because"))];
const AUTH: &[Kind] = &[|chance| Property::AuthenticationData(chance.bytes(12).into())];

fn text(text: &str) -> Text {
    text.parse().expect("an MQTT string")
}

fn client_id(chance: &mut Chance) -> Text {
    match chance.below(CLIENTS) {
        0 => text(""),
        number => text(&format!("ä{number}")),
    }
}

fn seconds(chance: &mut Chance) -> u32 {
    *chance.pick(&[0, 1, 5, u32::MAX])
}

fn nonzero(chance: &mut Chance, most: u16) -> u16 {
    u16::try_from(chance.below(most.into()) + 1).expect("at most `most`")
}

fn topic(chance: &mut Chance) -> TopicName {
    chance.pick(TOPICS).parse().expect("a topic")
}

fn filter(chance: &mut Chance) -> TopicFilter {
    chance.pick(FILTERS).parse().expect("a filter")
}

fn qos(chance: &mut Chance) -> QoS {
    *chance.pick(QOS)
}

fn packet_id(chance: &mut Chance) -> PacketId {
    PacketId::new(nonzero(chance, 12)).expect("not 0")
}

fn properties(chance: &mut Chance, version: Version, kinds: &[&[Kind]]) -> Properties {
    if version == Version::V311 {
        return Properties::new();
    }
    let mut properties = Properties::new();
    for kind in kinds.iter().copied().flatten() {
        if chance.one_in(3) {
            properties = properties.with(kind(chance));
        }
    }
    for _ in 0..chance.below(8).saturating_sub(5) {
        properties = properties.with(Property::User(text("name"), text("value")));
    }
    properties
}

/// What a client says first.
pub(crate) fn connect(chance: &mut Chance, version: Version) -> Connect {
    let will = chance.one_in(3).then(|| Will {
        topic: topic(chance),
        payload: chance.bytes(20).into(),
        qos: qos(chance),
        retain: chance.one_in(2),
        properties: properties(chance, version, &[MESSAGE]),
    });
    let username = chance.one_in(4).then(|| text("user"));
    let password = username.as_ref().map(|_| Bytes::from(chance.bytes(8)));
    Connect {
        version,
        client_id: client_id(chance),
        clean_start: chance.one_in(2),
        keep_alive: *chance.pick(&[0, 1, 60, u16::MAX]),
        will,
        username,
        password,
        properties: properties(chance, version, &[CONNECT]),
    }
}

fn publish(chance: &mut Chance, version: Version) -> Publish {
    let delivery = match qos(chance) {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        QoS::AtLeastOnce => Delivery::AtLeastOnce(packet_id(chance)),
        QoS::ExactlyOnce => Delivery::ExactlyOnce(packet_id(chance)),
    };
    // Some are longer than what is copied into the packets of a socket.
    let payload = if chance.one_in(64) { chance.bytes(4000) } else { chance.bytes(40) };
    let properties = properties(chance, version, &[MESSAGE, PUBLISH]);
    let has_alias = properties.iter().any(|found| matches!(found, Property::TopicAlias(_)));
    let topic = (!(has_alias && chance.one_in(200))).then(|| topic(chance));
    let dup = delivery != Delivery::AtMostOnce && chance.one_in(4);
    let retain = chance.one_in(4);
    Publish { dup, retain, delivery, topic, properties, payload: payload.into() }
}

fn ack(chance: &mut Chance, version: Version, failure: ReasonCode) -> Ack {
    let id = packet_id(chance);
    let fails = version == Version::V5 && chance.one_in(8);
    let code = if fails { failure } else { ReasonCode::SUCCESS };
    Ack { id, code, properties: properties(chance, version, &[REASON]) }
}

fn subscribe(chance: &mut Chance, version: Version) -> Subscribe {
    let filters = (0..=chance.below(3)).map(|_| {
        let mut options = SubscribeOptions { qos: qos(chance), ..SubscribeOptions::default() };
        if version == Version::V5 {
            // Not often: together with a shared subscription it ends the connection.
            options.no_local = chance.one_in(100);
            options.retain_as_published = chance.one_in(2);
            let all = [RetainHandling::Send, RetainHandling::SendIfNew, RetainHandling::Skip];
            options.retain_handling = *chance.pick(&all);
        }
        (filter(chance), options)
    });
    let filters = filters.collect();
    let properties = properties(chance, version, &[SUBSCRIBE]);
    Subscribe { id: packet_id(chance), filters, properties }
}

fn unsubscribe(chance: &mut Chance, version: Version) -> Unsubscribe {
    let filters = (0..=chance.below(3)).map(|_| filter(chance)).collect();
    let properties = properties(chance, version, &[]);
    Unsubscribe { id: packet_id(chance), filters, properties }
}

fn sub_ack(chance: &mut Chance, version: Version, codes: &[ReasonCode]) -> SubAck {
    let codes = (0..=chance.below(3)).map(|_| *chance.pick(codes)).collect();
    SubAck { id: packet_id(chance), codes, properties: properties(chance, version, &[REASON]) }
}

/// What a client may send once it is connected. Acknowledgements that nobody waits for, or of the
/// wrong kind, and DISCONNECT come only now and then: they may end the connection.
pub(crate) fn from_client(chance: &mut Chance, version: Version) -> Packet {
    match chance.below(1000) {
        0..600 => Packet::Publish(publish(chance, version)),
        600..720 => Packet::PubRel(ack(chance, version, ReasonCode::PACKET_IDENTIFIER_NOT_FOUND)),
        720..860 => Packet::Subscribe(subscribe(chance, version)),
        860..920 => Packet::Unsubscribe(unsubscribe(chance, version)),
        920..985 => Packet::PingReq,
        985..990 => Packet::PubAck(ack(chance, version, ReasonCode::QUOTA_EXCEEDED)),
        990..995 => Packet::PubRec(ack(chance, version, ReasonCode::QUOTA_EXCEEDED)),
        995..998 => Packet::PubComp(ack(chance, version, ReasonCode::PACKET_IDENTIFIER_NOT_FOUND)),
        _ => Packet::Disconnect(disconnect(chance, version, ReasonCode::DISCONNECT_WITH_WILL)),
    }
}

/// What a client answers to a packet of the server.
pub(crate) fn answer(packet: &Packet) -> Option<Packet> {
    let success = |id| Ack::new(id, ReasonCode::SUCCESS);
    match packet {
        Packet::Publish(publish) => match publish.delivery {
            Delivery::AtMostOnce => None,
            Delivery::AtLeastOnce(id) => Some(Packet::PubAck(success(id))),
            Delivery::ExactlyOnce(id) => Some(Packet::PubRec(success(id))),
        },
        Packet::PubRel(ack) => Some(Packet::PubComp(success(ack.id))),
        _ => None,
    }
}

fn disconnect(chance: &mut Chance, version: Version, other: ReasonCode) -> Disconnect {
    if version == Version::V311 {
        return Disconnect::new(ReasonCode::SUCCESS);
    }
    let code = if chance.one_in(2) { ReasonCode::SUCCESS } else { other };
    Disconnect { code, properties: properties(chance, version, &[REASON]) }
}

/// Any packet, those of servers included.
pub(crate) fn any(chance: &mut Chance, version: Version) -> Packet {
    match chance.below(13) {
        0 | 1 => Packet::Connect(Box::new(connect(chance, version))),
        2 => {
            let codes = [ReasonCode::SUCCESS, ReasonCode::NOT_AUTHORIZED];
            let (session_present, code) = (chance.one_in(2), *chance.pick(&codes));
            let properties = properties(chance, version, &[CONN_ACK, REASON]);
            Packet::ConnAck(ConnAck { session_present, code, properties })
        }
        3 => {
            let codes = [ReasonCode::SUCCESS, ReasonCode::GRANTED_QOS_2];
            Packet::SubAck(sub_ack(chance, version, &codes))
        }
        4 => {
            let codes = [ReasonCode::SUCCESS, ReasonCode::NO_SUBSCRIPTION_EXISTED];
            let mut ack = sub_ack(chance, version, &codes);
            if version == Version::V311 {
                ack.codes.clear();
            }
            Packet::UnsubAck(ack)
        }
        5 => Packet::PingResp,
        6 => Packet::Disconnect(disconnect(chance, version, ReasonCode::SERVER_SHUTTING_DOWN)),
        7 if version == Version::V5 => {
            let method = Property::AuthenticationMethod(text("method"));
            let properties = properties(chance, version, &[AUTH, REASON]).with(method);
            Packet::Auth(Disconnect { code: ReasonCode::CONTINUE_AUTHENTICATION, properties })
        }
        8 => {
            let not_found = ReasonCode::PACKET_IDENTIFIER_NOT_FOUND;
            let kinds = [
                Packet::PubAck(ack(chance, version, ReasonCode::QUOTA_EXCEEDED)),
                Packet::PubRec(ack(chance, version, ReasonCode::QUOTA_EXCEEDED)),
                Packet::PubRel(ack(chance, version, not_found)),
                Packet::PubComp(ack(chance, version, not_found)),
            ];
            chance.pick(&kinds).clone()
        }
        _ => from_client(chance, version),
    }
}
