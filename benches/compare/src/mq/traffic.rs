//! The kinds of traffic that brokers are compared by.

use super::generator::packet::{Codec, Version};
use super::generator::{SENT_BELOW, Traffic};

/// Many packets in each write. Far below any queue limit of the brokers, so that nothing need be
/// dropped.
const MANY: u64 = 200;
/// Messages that a client of a durable broker has in flight, as mosquitto's and Paho's by default.
const CLIENT_WINDOW: u64 = 20;
/// Of each message.
const PAYLOAD_BYTES: usize = 64;

/// So many publishers to one subscriber of all topics.
pub(super) const fn fan_in(qos: u8) -> Traffic {
    with(50, 1, qos)
}

/// The same from clients with as many messages in flight as mosquitto's and Paho's have by default.
pub(crate) const fn durable_fan_in() -> Traffic {
    Traffic { window: CLIENT_WINDOW, ..fan_in(1) }
}

/// One publisher to so many subscribers.
pub(super) const fn fan_out(qos: u8) -> Traffic {
    Traffic { window: 1_000, ..with(1, 50, qos) }
}

/// So many publishers, each to a subscriber of its own.
pub(super) const fn pairs(qos: u8) -> Traffic {
    with(50, 50, qos)
}

/// One publisher that nobody listens to, with one message at a time.
pub(super) const fn unheard(qos: u8) -> Traffic {
    Traffic { window: 1, ..with(1, 0, qos) }
}

/// Each publisher with a topic of its own.
const fn with(publishers: usize, subscribers: usize, qos: u8) -> Traffic {
    Traffic {
        publishers,
        subscribers,
        topics: publishers,
        qos,
        window: MANY,
        heard_below: SENT_BELOW,
        is_kept: false,
        version: Version::V311,
        payload_bytes: PAYLOAD_BYTES,
    }
}

/// The packets of all of it.
pub(super) fn codec() -> Codec {
    Codec::new(Version::V311, PAYLOAD_BYTES)
}
