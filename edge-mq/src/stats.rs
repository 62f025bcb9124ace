//! What the broker counts.

/// Counts since the broker started, and what there is now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Clients connected now.
    pub connections: usize,
    /// Sessions now, connected or not.
    pub sessions: usize,
    /// Subscriptions now, in-process ones included.
    pub subscriptions: usize,
    /// Retained messages now.
    pub retained: usize,
    /// Messages now that wait to be published later.
    pub delayed: usize,
    /// Bytes in the queues of all sessions now, as far as they are in memory.
    pub queued_bytes: usize,
    /// Messages in the queues of all sessions on disk now. Those that a commit refused count until
    /// the queue has moved on.
    pub stored_messages: u64,
    /// Bytes of those.
    pub stored_bytes: u64,
    /// Messages taken from clients, in-process ones included.
    pub received: u64,
    /// Bytes of their payloads.
    pub received_bytes: u64,
    /// Messages given to the connections of clients, and to in-process subscriptions.
    pub sent: u64,
    /// Bytes of their payloads.
    pub sent_bytes: u64,
    /// Sessions whose time had passed.
    pub expired_sessions: u64,
    /// Messages that a commit made durable, once for each journal rule.
    pub journaled: u64,
    /// Messages that should have been stored, in a Log, a queue or as retained, and were not: the Log or
    /// the disk is full, or the store failed. They reached nobody.
    pub journal_refused: u64,
    /// Times that something could not be stored because the disk was full, each further attempt
    /// included.
    pub disk_full: u64,
    /// QoS 0 messages that a full queue, or an offline session, did not take.
    pub dropped_qos0: u64,
    /// QoS 1 and 2 messages that a full queue did not take, or gave up for a newer one.
    pub dropped_full: u64,
    /// Messages whose expiry passed before they were sent.
    pub dropped_expired: u64,
    /// Messages larger than their receiver takes.
    pub dropped_too_large: u64,
    /// Retained messages that were delivered, but did not fit into what is kept.
    pub retained_refused: u64,
    /// Messages to `$delayed/..` that were refused because too many waited.
    pub delayed_refused: u64,
    /// Connections closed because the number of connections, in all, of one listener or from one
    /// address, or of sessions was reached.
    pub refused_connections: u64,
    /// Connections closed because they came too fast, in all or from one address.
    pub connect_rate_exceeded: u64,
    /// Connections closed because of what came in front of MQTT: PROXY header, TLS or WebSocket.
    pub failed_handshakes: u64,
    /// Connections refused by authentication.
    pub denied_logins: u64,
    /// Connections closed because the token of their client had expired.
    pub expired_logins: u64,
    /// Connections closed because the client published too fast.
    pub rate_exceeded: u64,
    /// Messages and subscriptions with a topic or filter longer than is taken, and messages and wills
    /// to `$delayed/..` without a topic behind it or for later than is taken.
    pub refused_topics: u64,
    /// Messages and subscriptions of clients that access control, or a hook, refused.
    pub denied: u64,
    /// Messages of clients that a hook kept back.
    pub withheld: u64,
    /// Connections closed because of what the client sent.
    pub protocol_errors: u64,
    /// Connections closed because nothing came within one and a half times the keep alive.
    pub keep_alive_timeouts: u64,
}
