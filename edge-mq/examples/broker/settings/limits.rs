//! The limits, by the names of [`Limits`].

use std::time::Duration;

use edge_mq::{Limits, Rate, WhenDiskFull, WhenFull};

use super::section::Section;

const WHEN_FULL: &[(&str, WhenFull)] = &[
    ("drop newest", WhenFull::DropNewest),
    ("drop oldest", WhenFull::DropOldest),
    ("disconnect", WhenFull::Disconnect),
];

const WHEN_DISK_FULL: &[(&str, WhenDiskFull)] =
    &[("refuse", WhenDiskFull::Refuse), ("wait", WhenDiskFull::Wait)];

/// What the two bytes of a keep alive can say.
const LONGEST_KEEP_ALIVE: Duration = Duration::from_secs(u16::MAX as u64);
/// What MQTT 5.0 can say of the expiry of a session; nothing else waits longer.
const LONGEST_EXPIRY: Duration = Duration::from_secs(u32::MAX as u64);

pub(super) fn limits(section: Option<&Section<'_>>) -> Limits {
    let mut limits = Limits::default();
    let Some(section) = section else { return limits };
    section.set("connections", &mut limits.connections);
    limits.connections_per_address = section.get("connections_per_address");
    limits.connect_rate = section.get("connect_rate").map(Rate::per_second);
    limits.connect_rate_per_address = section.get("connect_rate_per_address").map(Rate::per_second);
    section.set("connect_within", &mut limits.connect_within);
    section.set("sessions", &mut limits.sessions);
    section.set("session_expiry", &mut limits.session_expiry);
    section.set("max_keep_alive", &mut limits.max_keep_alive);
    section.set_bytes("packet_bytes", &mut limits.packet_bytes);
    section.set("receive_maximum", &mut limits.receive_maximum);
    limits.publish_rate = section.get("publish_rate");
    limits.publish_bytes_rate = section.bytes("publish_bytes_rate");
    section.set("topic_levels", &mut limits.topic_levels);
    section.set_bytes("topic_bytes", &mut limits.topic_bytes);
    section.set("topic_aliases", &mut limits.topic_aliases);
    section.set("inflight_messages", &mut limits.inflight_messages);
    section.set("queue_messages", &mut limits.queue_messages);
    section.set_bytes("queue_bytes", &mut limits.queue_bytes);
    section.set_bytes("queue_bytes_total", &mut limits.queue_bytes_total);
    if let Some(policy) = section.word("queue_when_full", WHEN_FULL) {
        limits.queue_when_full = policy;
    }
    section.set("stored_queue_messages", &mut limits.stored_queue_messages);
    section.set_bytes("stored_queue_bytes", &mut limits.stored_queue_bytes);
    section.set_bytes("stored_queue_bytes_total", &mut limits.stored_queue_bytes_total);
    section.set("stored_queue_age", &mut limits.stored_queue_age);
    section.set("subscriptions", &mut limits.subscriptions);
    section.set("retained_messages", &mut limits.retained_messages);
    section.set_bytes("retained_bytes", &mut limits.retained_bytes);
    section.set("max_delay", &mut limits.max_delay);
    section.set("delayed_messages", &mut limits.delayed_messages);
    section.set_bytes("delayed_bytes", &mut limits.delayed_bytes);
    section.set_bytes("write_buffer_bytes", &mut limits.write_buffer_bytes);
    section.set("write_within", &mut limits.write_within);
    section.set_bytes("uncommitted_bytes", &mut limits.uncommitted_bytes);
    if let Some(policy) = section.word("when_disk_full", WHEN_DISK_FULL) {
        limits.when_disk_full = policy;
    }
    check(section, &limits);
    limits
}

/// What the broker would silently replace by something that it can work with.
fn check(section: &Section<'_>, limits: &Limits) {
    for (key, value) in [
        ("receive_maximum", limits.receive_maximum),
        ("inflight_messages", limits.inflight_messages),
    ] {
        if value == 0 {
            section.wrong(key, format!("`{key}` is 1 at least: with 0 nothing would move"));
        }
    }
    let keep_alive = limits.max_keep_alive;
    if !(Duration::from_secs(1)..=LONGEST_KEEP_ALIVE).contains(&keep_alive) {
        section.wrong("max_keep_alive", "`max_keep_alive` is from 1 s to 65535 s");
    }
    for (key, value) in [("session_expiry", limits.session_expiry), ("max_delay", limits.max_delay)]
    {
        if value > LONGEST_EXPIRY {
            section.wrong(key, format!("`{key}` is up to 4294967295 s"));
        }
    }
}
