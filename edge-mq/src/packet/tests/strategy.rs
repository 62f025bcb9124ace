//! Random packets that the specification allows.

use std::num::NonZeroU16;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

fn text() -> impl Strategy<Value = Text> {
    "[a-zäß€/ ]{0,12}".prop_map(|text| text.parse().unwrap())
}

fn topic() -> impl Strategy<Value = TopicName> {
    "[a-zäß€/]{1,12}".prop_map(|text| text.parse().unwrap())
}

fn filter() -> impl Strategy<Value = TopicFilter> {
    prop_oneof![
        "[a-z/]{1,8}",
        "[a-z]{1,3}/\\+/[a-z]{1,3}",
        "[a-z]{0,3}/#",
        Just("#".to_owned()),
        Just("+".to_owned()),
    ]
    .prop_map(|text| text.parse().unwrap())
}

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..300).prop_map(Bytes::from)
}

fn short_bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..20).prop_map(Bytes::from)
}

fn qos() -> impl Strategy<Value = QoS> {
    prop::sample::select(vec![QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce])
}

fn packet_id() -> impl Strategy<Value = PacketId> {
    (1..=u16::MAX).prop_map(|id| PacketId::new(id).unwrap())
}

/// Any of the first, each at most once, then user properties.
fn properties(each: Vec<BoxedStrategy<Property>>) -> impl Strategy<Value = Properties> {
    let each: Vec<_> = each.into_iter().map(option::of).collect();
    (each, vec((text(), text()), 0..3)).prop_map(|(each, user)| {
        let user = user.into_iter().map(|(name, value)| Property::User(name, value));
        each.into_iter().flatten().chain(user).collect()
    })
}

fn of(version: Version, each: Vec<BoxedStrategy<Property>>) -> BoxedStrategy<Properties> {
    match version {
        Version::V311 => Just(Properties::new()).boxed(),
        Version::V5 => properties(each).boxed(),
    }
}

fn message_properties() -> Vec<BoxedStrategy<Property>> {
    vec![
        any::<u32>().prop_map(Property::MessageExpiry).boxed(),
        text().prop_map(Property::ContentType).boxed(),
        topic().prop_map(|topic| Property::ResponseTopic(topic.as_text().clone())).boxed(),
        short_bytes().prop_map(Property::CorrelationData).boxed(),
    ]
}

fn will(version: Version) -> impl Strategy<Value = Will> {
    let mut each = message_properties();
    each.push(any::<u32>().prop_map(Property::WillDelay).boxed());
    (topic(), short_bytes(), qos(), any::<bool>(), of(version, each)).prop_map(
        |(topic, payload, qos, retain, properties)| Will {
            topic,
            payload,
            qos,
            retain,
            properties,
        },
    )
}

fn connect(version: Version) -> impl Strategy<Value = Packet> {
    let each = vec![
        any::<u32>().prop_map(Property::SessionExpiry).boxed(),
        any::<NonZeroU16>().prop_map(Property::ReceiveMaximum).boxed(),
        any::<u16>().prop_map(Property::TopicAliasMaximum).boxed(),
        (1..=u32::MAX)
            .prop_map(|size| Property::MaximumPacketSize(PacketSize::new(size).unwrap()))
            .boxed(),
        any::<bool>().prop_map(Property::RequestProblemInformation).boxed(),
        any::<bool>().prop_map(Property::RequestResponseInformation).boxed(),
        text().prop_map(Property::AuthenticationMethod).boxed(),
    ];
    let login = option::of((text(), option::of(short_bytes())));
    let fields = (text(), any::<bool>(), any::<u16>(), option::of(will(version)), login);
    (fields, of(version, each)).prop_map(move |(fields, properties)| {
        let (client_id, clean_start, keep_alive, will, login) = fields;
        let (username, password) = login.map_or((None, None), |(u, p)| (Some(u), p));
        Packet::Connect(Box::new(Connect {
            version,
            client_id,
            clean_start,
            keep_alive,
            will,
            username,
            password,
            properties,
        }))
    })
}

fn conn_ack(version: Version) -> impl Strategy<Value = Packet> {
    let codes = match version {
        Version::V311 => vec![
            ReasonCode::SUCCESS,
            ReasonCode::NOT_AUTHORIZED,
            ReasonCode::SERVER_UNAVAILABLE,
            ReasonCode::CLIENT_IDENTIFIER_NOT_VALID,
        ],
        Version::V5 => vec![
            ReasonCode::SUCCESS,
            ReasonCode::QUOTA_EXCEEDED,
            ReasonCode::BAD_AUTHENTICATION_METHOD,
        ],
    };
    let each = vec![
        any::<u32>().prop_map(Property::SessionExpiry).boxed(),
        any::<NonZeroU16>().prop_map(Property::ReceiveMaximum).boxed(),
        any::<bool>().prop_map(Property::RetainAvailable).boxed(),
        any::<u16>().prop_map(Property::TopicAliasMaximum).boxed(),
        any::<bool>().prop_map(Property::WildcardSubscriptions).boxed(),
        any::<bool>().prop_map(Property::SubscriptionIds).boxed(),
        text().prop_map(Property::ResponseInformation).boxed(),
        text().prop_map(Property::ServerReference).boxed(),
        text().prop_map(Property::AssignedClientId).boxed(),
        any::<u16>().prop_map(Property::ServerKeepAlive).boxed(),
        any::<bool>().prop_map(Property::SharedSubscriptions).boxed(),
        text().prop_map(Property::ReasonString).boxed(),
        Just(Property::MaximumQoS(QoS::AtLeastOnce)).boxed(),
    ];
    (any::<bool>(), prop::sample::select(codes), of(version, each)).prop_map(
        |(present, code, properties)| {
            let session_present = present && code == ReasonCode::SUCCESS;
            Packet::ConnAck(ConnAck { session_present, code, properties })
        },
    )
}

fn publish(version: Version) -> impl Strategy<Value = Packet> {
    let mut each = message_properties();
    each.push(
        (1..=u16::MAX).prop_map(|a| Property::TopicAlias(TopicAlias::new(a).unwrap())).boxed(),
    );
    each.push(
        (1..=268_435_455u32)
            .prop_map(|id| Property::SubscriptionId(SubscriptionId::new(id).unwrap()))
            .boxed(),
    );
    let flags = (any::<bool>(), any::<bool>(), qos(), packet_id());
    (flags, topic(), of(version, each), bytes()).prop_map(
        |((dup, retain, qos, id), topic, properties, payload)| {
            let delivery = match qos {
                QoS::AtMostOnce => Delivery::AtMostOnce,
                QoS::AtLeastOnce => Delivery::AtLeastOnce(id),
                QoS::ExactlyOnce => Delivery::ExactlyOnce(id),
            };
            let dup = dup && qos != QoS::AtMostOnce;
            let topic = Some(topic);
            Packet::Publish(Publish { dup, retain, delivery, topic, properties, payload })
        },
    )
}

fn ack(version: Version) -> impl Strategy<Value = Packet> {
    let each = vec![text().prop_map(Property::ReasonString).boxed()];
    (0..4, packet_id(), any::<bool>(), of(version, each)).prop_map(
        move |(kind, id, fails, properties)| {
            let failure = match kind {
                0 | 1 => ReasonCode::QUOTA_EXCEEDED,
                _ => ReasonCode::PACKET_IDENTIFIER_NOT_FOUND,
            };
            let fails = fails && version == Version::V5;
            let code = if fails { failure } else { ReasonCode::SUCCESS };
            let ack = Ack { id, code, properties };
            match kind {
                0 => Packet::PubAck(ack),
                1 => Packet::PubRec(ack),
                2 => Packet::PubRel(ack),
                _ => Packet::PubComp(ack),
            }
        },
    )
}

fn subscribe(version: Version) -> impl Strategy<Value = Packet> {
    let handling = prop::sample::select(vec![
        RetainHandling::Send,
        RetainHandling::SendIfNew,
        RetainHandling::Skip,
    ]);
    let options = (qos(), any::<bool>(), any::<bool>(), handling).prop_map(
        move |(qos, no_local, retain_as_published, retain_handling)| match version {
            Version::V311 => SubscribeOptions { qos, ..SubscribeOptions::default() },
            Version::V5 => SubscribeOptions { qos, no_local, retain_as_published, retain_handling },
        },
    );
    let id = (1..=268_435_455u32)
        .prop_map(|id| Property::SubscriptionId(SubscriptionId::new(id).unwrap()));
    (packet_id(), vec((filter(), options), 1..4), of(version, vec![id.boxed()])).prop_map(
        |(id, filters, properties)| Packet::Subscribe(Subscribe { id, filters, properties }),
    )
}

fn unsubscribe(version: Version) -> impl Strategy<Value = Packet> {
    (packet_id(), vec(filter(), 1..4), of(version, vec![])).prop_map(|(id, filters, properties)| {
        Packet::Unsubscribe(Unsubscribe { id, filters, properties })
    })
}

fn sub_ack(version: Version) -> impl Strategy<Value = Packet> {
    let codes = prop::sample::select(vec![
        ReasonCode::SUCCESS,
        ReasonCode::GRANTED_QOS_2,
        ReasonCode::UNSPECIFIED_ERROR,
    ]);
    let each = vec![text().prop_map(Property::ReasonString).boxed()];
    (packet_id(), vec(codes, 1..4), of(version, each))
        .prop_map(|(id, codes, properties)| Packet::SubAck(SubAck { id, codes, properties }))
}

fn unsub_ack(version: Version) -> impl Strategy<Value = Packet> {
    let codes = vec![ReasonCode::SUCCESS, ReasonCode::NO_SUBSCRIPTION_EXISTED];
    let codes = vec(prop::sample::select(codes), 1..4);
    (packet_id(), codes, of(version, vec![])).prop_map(move |(id, codes, properties)| {
        let codes = if version == Version::V5 { codes } else { Vec::new() };
        Packet::UnsubAck(SubAck { id, codes, properties })
    })
}

fn disconnect(version: Version) -> BoxedStrategy<Packet> {
    if version == Version::V311 {
        return Just(Packet::Disconnect(Disconnect::new(ReasonCode::SUCCESS))).boxed();
    }
    let codes = vec![ReasonCode::SUCCESS, ReasonCode::SESSION_TAKEN_OVER];
    let each = vec![
        any::<u32>().prop_map(Property::SessionExpiry).boxed(),
        text().prop_map(Property::ReasonString).boxed(),
    ];
    (prop::sample::select(codes), of(version, each))
        .prop_map(|(code, properties)| Packet::Disconnect(Disconnect { code, properties }))
        .boxed()
}

fn auth() -> impl Strategy<Value = Packet> {
    let codes =
        vec![ReasonCode::SUCCESS, ReasonCode::CONTINUE_AUTHENTICATION, ReasonCode::REAUTHENTICATE];
    let each = vec![
        short_bytes().prop_map(Property::AuthenticationData).boxed(),
        text().prop_map(Property::ReasonString).boxed(),
    ];
    (prop::sample::select(codes), text(), properties(each)).prop_map(|(code, method, others)| {
        let method = Property::AuthenticationMethod(method);
        let properties = [method].into_iter().chain(others.iter().cloned()).collect();
        Packet::Auth(Disconnect { code, properties })
    })
}

fn packet(version: Version) -> impl Strategy<Value = Packet> {
    prop_oneof![
        1 => connect(version),
        1 => conn_ack(version),
        3 => publish(version),
        1 => ack(version),
        1 => subscribe(version),
        1 => unsubscribe(version),
        1 => sub_ack(version),
        1 => unsub_ack(version),
        1 => Just(Packet::PingReq),
        1 => Just(Packet::PingResp),
        1 => disconnect(version),
        1 => if version == Version::V5 { auth().boxed() } else { disconnect(version) },
    ]
}

pub(super) fn any_packet() -> impl Strategy<Value = (Version, Packet)> {
    prop::sample::select(vec![Version::V311, Version::V5])
        .prop_flat_map(|version| (Just(version), packet(version)))
}
