//! Why bytes are no packet.

use super::ReasonCode;

/// Why a packet was not decoded. The connection that sent it has to be closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes do not follow the format.
    #[error("malformed packet: {0}")]
    Malformed(&'static str),
    /// The format is followed, but the specification forbids the content.
    #[error("protocol error: {0}")]
    Protocol(&'static str),
    /// The topic is empty or has a wildcard.
    #[error("invalid topic name")]
    TopicName(#[from] crate::InvalidTopic),
    /// The filter breaks the rules for wildcards.
    #[error("invalid topic filter")]
    TopicFilter(#[from] crate::InvalidFilter),
    /// Topic alias 0.
    #[error("topic alias is 0")]
    TopicAlias,
    /// The payload says it is UTF-8 and is not.
    #[error("payload is not the UTF-8 text that it says it is")]
    PayloadFormat,
    /// The packet is longer than the receiver takes.
    #[error("packet of {bytes} bytes is larger than {limit_bytes}")]
    TooLarge {
        /// How long it would be.
        bytes: usize,
        /// What is allowed.
        limit_bytes: usize,
    },
    /// The CONNECT is for another version of MQTT.
    #[error("MQTT protocol level {0} is not supported")]
    UnsupportedVersion(u8),
}

impl DecodeError {
    /// What a DISCONNECT or CONNACK says about it.
    pub fn reason(&self) -> ReasonCode {
        match self {
            DecodeError::Malformed(_) => ReasonCode::MALFORMED_PACKET,
            DecodeError::Protocol(_) => ReasonCode::PROTOCOL_ERROR,
            DecodeError::TopicName(_) => ReasonCode::TOPIC_NAME_INVALID,
            DecodeError::TopicFilter(_) => ReasonCode::TOPIC_FILTER_INVALID,
            DecodeError::TopicAlias => ReasonCode::TOPIC_ALIAS_INVALID,
            DecodeError::PayloadFormat => ReasonCode::PAYLOAD_FORMAT_INVALID,
            DecodeError::TooLarge { .. } => ReasonCode::PACKET_TOO_LARGE,
            DecodeError::UnsupportedVersion(_) => ReasonCode::UNSUPPORTED_PROTOCOL_VERSION,
        }
    }
}
