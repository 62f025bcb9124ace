//! Reason codes (MQTT 5.0 section 2.4) and what they are in MQTT 3.1.1.

use std::fmt;

/// Why something went as it did. Codes from 0x80 on are failures.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReasonCode(u8);

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        impl ReasonCode {
            $($(#[$doc])* pub const $name: ReasonCode = ReasonCode($code);)*
        }

        fn name(code: u8) -> Option<&'static str> {
            match code {
                $($code => Some(stringify!($name)),)*
                _ => None,
            }
        }
    };
}

reasons! {
    /// Done; also "normal disconnection" and "granted QoS 0".
    SUCCESS = 0x00;
    /// Subscribed with at most QoS 1.
    GRANTED_QOS_1 = 0x01;
    /// Subscribed with at most QoS 2.
    GRANTED_QOS_2 = 0x02;
    /// The client goes and wants its will published.
    DISCONNECT_WITH_WILL = 0x04;
    /// Nobody subscribes to the topic.
    NO_MATCHING_SUBSCRIBERS = 0x10;
    /// There was no such subscription.
    NO_SUBSCRIPTION_EXISTED = 0x11;
    /// Authentication goes on.
    CONTINUE_AUTHENTICATION = 0x18;
    /// The client authenticates again.
    REAUTHENTICATE = 0x19;
    /// No other code fits.
    UNSPECIFIED_ERROR = 0x80;
    /// The packet does not follow the format.
    MALFORMED_PACKET = 0x81;
    /// The packet is not allowed here.
    PROTOCOL_ERROR = 0x82;
    /// Right by the specification, but not taken by this server.
    IMPLEMENTATION_SPECIFIC_ERROR = 0x83;
    /// The server speaks MQTT 3.1.1 and 5.0.
    UNSUPPORTED_PROTOCOL_VERSION = 0x84;
    /// The client identifier is not allowed.
    CLIENT_IDENTIFIER_NOT_VALID = 0x85;
    /// Wrong user name or password.
    BAD_USER_NAME_OR_PASSWORD = 0x86;
    /// The client may not do this.
    NOT_AUTHORIZED = 0x87;
    /// The server cannot serve now.
    SERVER_UNAVAILABLE = 0x88;
    /// The server has too much to do.
    SERVER_BUSY = 0x89;
    /// The client is banned.
    BANNED = 0x8A;
    /// The server stops.
    SERVER_SHUTTING_DOWN = 0x8B;
    /// The authentication method is not supported.
    BAD_AUTHENTICATION_METHOD = 0x8C;
    /// Nothing came for one and a half times the keep alive.
    KEEP_ALIVE_TIMEOUT = 0x8D;
    /// Another connection uses this client identifier now.
    SESSION_TAKEN_OVER = 0x8E;
    /// The topic filter is not taken.
    TOPIC_FILTER_INVALID = 0x8F;
    /// The topic name is not taken.
    TOPIC_NAME_INVALID = 0x90;
    /// The packet identifier is in use.
    PACKET_IDENTIFIER_IN_USE = 0x91;
    /// There is no such packet identifier.
    PACKET_IDENTIFIER_NOT_FOUND = 0x92;
    /// More unacknowledged messages than the receive maximum allows.
    RECEIVE_MAXIMUM_EXCEEDED = 0x93;
    /// Topic alias 0 or above the maximum.
    TOPIC_ALIAS_INVALID = 0x94;
    /// The packet is larger than the maximum packet size.
    PACKET_TOO_LARGE = 0x95;
    /// Messages come too fast.
    MESSAGE_RATE_TOO_HIGH = 0x96;
    /// A limit of the server is reached.
    QUOTA_EXCEEDED = 0x97;
    /// Closed by an operator.
    ADMINISTRATIVE_ACTION = 0x98;
    /// The payload is not in the format that it says.
    PAYLOAD_FORMAT_INVALID = 0x99;
    /// The server keeps no retained messages.
    RETAIN_NOT_SUPPORTED = 0x9A;
    /// The server does not support this QoS.
    QOS_NOT_SUPPORTED = 0x9B;
    /// Use another server for now.
    USE_ANOTHER_SERVER = 0x9C;
    /// The server has moved.
    SERVER_MOVED = 0x9D;
    /// The server has no shared subscriptions.
    SHARED_SUBSCRIPTIONS_NOT_SUPPORTED = 0x9E;
    /// Connections come too fast.
    CONNECTION_RATE_EXCEEDED = 0x9F;
    /// Longer than a connection may last.
    MAXIMUM_CONNECT_TIME = 0xA0;
    /// The server has no subscription identifiers.
    SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED = 0xA1;
    /// The server has no wildcard subscriptions.
    WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED = 0xA2;
}

/// CONNACK return codes of MQTT 3.1.1 (section 3.2.2.3), from 1 on.
const CONNECT_RETURN_CODES: [ReasonCode; 5] = [
    ReasonCode::UNSUPPORTED_PROTOCOL_VERSION,
    ReasonCode::CLIENT_IDENTIFIER_NOT_VALID,
    ReasonCode::SERVER_UNAVAILABLE,
    ReasonCode::BAD_USER_NAME_OR_PASSWORD,
    ReasonCode::NOT_AUTHORIZED,
];

impl ReasonCode {
    /// The code as it stands in a packet.
    pub fn get(self) -> u8 {
        self.0
    }

    /// Whether it tells of a failure.
    pub fn is_error(self) -> bool {
        self.0 >= 0x80
    }

    /// The reason for this code; `None` if the specification does not know it.
    pub(crate) fn from_code(code: u8) -> Option<ReasonCode> {
        name(code).map(|_| ReasonCode(code))
    }

    /// The nearest CONNACK return code of MQTT 3.1.1; "server unavailable" for what it cannot say.
    pub(crate) fn connect_return_code(self) -> u8 {
        if self == ReasonCode::SUCCESS {
            return 0;
        }
        let at = CONNECT_RETURN_CODES.iter().position(|reason| *reason == self).unwrap_or(2);
        u8::try_from(at + 1).expect("there are five return codes")
    }

    pub(crate) fn from_connect_return_code(code: u8) -> Option<ReasonCode> {
        match code {
            0 => Some(ReasonCode::SUCCESS),
            code => CONNECT_RETURN_CODES.get(usize::from(code) - 1).copied(),
        }
    }
}

impl fmt::Debug for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#04x} {}", self.0, name(self.0).unwrap_or("?"))
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
