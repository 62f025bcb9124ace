//! Options that are limits.

use super::table::Table;
use super::{Fate, missing};

/// What mosquitto means by 0 where it has no limit: as many as MQTT can say, or none will ever have.
const NO_LIMIT: u64 = 1_000_000_000;
/// What a packet has beside its payload at most, if nobody does strange things: a topic.
const TOPIC_BYTES: u64 = 64 * 1024;

#[derive(Debug)]
pub(super) struct Limits {
    pub(super) table: Table,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { table: Table::new("[limits]") }
    }
}

impl Limits {
    pub(super) fn option(&mut self, option: &str, value: &str) -> Fate {
        let or = |none: u64| move |number: u64| if number == 0 { none } else { number }.to_string();
        let table = &mut self.table;
        match option {
            "max_keepalive" => table.number("max_keep_alive", value, |seconds| {
                format!("\"{} s\"", if seconds == 0 { 65_535 } else { seconds })
            }),
            "max_packet_size" => table.number("packet_bytes", value, or(NO_LIMIT)),
            "message_size_limit" if value == "0" => Fate::Needless("there is a limit of packets"),
            "message_size_limit" => table.number("packet_bytes", value, |bytes| {
                bytes.saturating_add(TOPIC_BYTES).to_string()
            }),
            "max_inflight_messages" => table.number("inflight_messages", value, or(65_535)),
            "max_queued_messages" => {
                table.number("queue_messages", value, or(NO_LIMIT));
                table.number("stored_queue_messages", value, or(NO_LIMIT))
            }
            "max_queued_bytes" if value == "0" => Fate::Needless("there is a limit of bytes"),
            "max_queued_bytes" => {
                table.number("queue_bytes", value, or(NO_LIMIT));
                table.number("stored_queue_bytes", value, or(NO_LIMIT))
            }
            "max_topic_alias" => table.number("topic_aliases", value, |count| count.to_string()),
            "global_max_connections" => table.number("connections", value, or(NO_LIMIT)),
            "persistent_client_expiration" => match time(value) {
                Some(time) => table.text("session_expiry", &time),
                None => missing("the value is no number of h, d, w, m or y"),
            },
            "retain_available" if value == "true" => Fate::Needless("it is"),
            "retain_available" => table.set("retained_messages", 0),
            "queue_qos0_messages" if value == "false" => Fate::Needless("they are not"),
            "queue_qos0_messages" => missing("QoS 0 is not queued for who is offline"),
            "max_inflight_bytes" | "memory_limit" => {
                missing("see queue_bytes_total and uncommitted_bytes in [limits]")
            }
            "upgrade_outgoing_qos" if value == "false" => Fate::Needless("it is not"),
            "upgrade_outgoing_qos" => missing("MQTT forbids it"),
            "allow_duplicate_messages" => Fate::Needless("MQTT says which copies a client gets"),
            _ => Fate::Foreign,
        }
    }
}

/// Hours, days, weeks, months and years; a month has 30 days, as in mosquitto, and a year 365.
fn time(text: &str) -> Option<String> {
    let unit_at = text.len().checked_sub(1)?;
    let (count, unit) = (text.get(..unit_at)?.parse::<u64>().ok()?, text.get(unit_at..)?);
    match unit {
        "h" => Some(format!("{count} h")),
        "d" => Some(format!("{count} days")),
        "w" => Some(format!("{} days", count.checked_mul(7)?)),
        "m" => Some(format!("{} days", count.checked_mul(30)?)),
        "y" => Some(format!("{} days", count.checked_mul(365)?)),
        _ => None,
    }
}
