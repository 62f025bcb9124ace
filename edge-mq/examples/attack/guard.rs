//! The limits that the broker is attacked with, and what memory follows from them.

use std::time::Duration;

use edge_mq::{Limits, Rate};

/// What one read asks for, and an allocation for it.
const READ_BYTES: usize = 2 * 64 * 1024;

/// As a gateway may have them that is reached by strangers.
pub(crate) const GUARDED: &str = "guarded";

/// The limits of this name; any other name is for those that the broker has without a word.
pub(crate) fn limits(name: &str) -> Limits {
    let mut limits = Limits::default();
    if name == GUARDED {
        limits.connections_per_address = Some(50);
        limits.connect_rate_per_address = Some(Rate::per_second(5).burst(50));
        limits.connect_rate = Some(Rate::per_second(50).burst(200));
        limits.connect_within = Duration::from_secs(2);
        limits.publish_rate = Some(2_000);
        limits.publish_bytes_rate = Some(1024 * 1024);
        limits.packet_bytes = 64 * 1024;
        limits.queue_bytes = 1024 * 1024;
        limits.write_within = Duration::from_secs(5);
    }
    limits
}

/// What a broker without a database may hold beside what it has when it starts, with so many
/// connections of attackers: queues, retained and delayed messages, and for each connection one packet that
/// comes, one read, and what waits to be written. A quarter more for what an allocator does not give back.
pub(crate) fn most_bytes(limits: &Limits, connections: usize) -> usize {
    let connections = connections.min(limits.connections_per_address.unwrap_or(connections));
    let each = limits.packet_bytes + READ_BYTES + limits.write_buffer_bytes;
    let kept = limits.queue_bytes_total + limits.retained_bytes + limits.delayed_bytes;
    let all = kept + limits.uncommitted_bytes;
    (all + connections * each) / 4 * 5
}
