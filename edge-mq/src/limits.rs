//! What the broker takes at most, and what happens beyond.

use std::time::Duration;

use crate::rate::Rate;

/// Every limit of a broker. Start from the default and change what you need:
///
/// ```
/// let mut limits = edge_mq::Limits::default();
/// limits.connections = 50;
/// limits.packet_bytes = 64 * 1024;
/// ```
///
/// The defaults fit a gateway with 256 MB of memory and some hundred devices.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Open connections, those included that have not sent CONNECT. One more is closed at once
    /// and counted.
    pub connections: usize,
    /// Open connections from one address, which is one of IPv4, or a /64 of IPv6: what one customer
    /// or one machine has. Behind a proxy that says for whom it connects, the client's address counts;
    /// who has none, on a Unix socket, is not counted. One more gets 0x97 (3.1.1: 3). `None`: as many
    /// as there may be in all.
    pub connections_per_address: Option<usize>,
    /// Connections that are let in within a second, wherever they come from. More get 0x9F (3.1.1: 3).
    /// Of those that this or the two others beside it refuse, ten in a second are told so; the others
    /// are closed at once. `None`: as many as come.
    pub connect_rate: Option<Rate>,
    /// Connections that are let in from one address within a second, likewise. They take nothing of
    /// `connect_rate` from the others if they come faster.
    pub connect_rate_per_address: Option<Rate>,
    /// How long a connection may take until its CONNECT is there, TLS and WebSocket included. Then
    /// it is closed.
    pub connect_within: Duration,
    /// Sessions, connected or not, in-process subscriptions included. A CONNECT beyond gets 0x97
    /// (3.1.1: server unavailable).
    pub sessions: usize,
    /// How long a session outlives its connection at most. A session of MQTT 3.1.1 without clean
    /// session lives as long; a longer time in a CONNECT of MQTT 5.0 is cut, and CONNACK says so.
    pub session_expiry: Duration,
    /// The longest keep alive. An MQTT 5.0 client with a longer one, or none, is told to use this,
    /// so that one whose machine is gone is noticed after one and a half times as long. MQTT 3.1.1
    /// has no word for it: its clients keep theirs, and who is silent for so long is probed by TCP.
    pub max_keep_alive: Duration,
    /// The largest packet a client may send. A larger one closes its connection (0x95).
    pub packet_bytes: usize,
    /// QoS 1 and 2 messages of one MQTT 5.0 client that may wait for our acknowledgement. One more
    /// closes its connection (0x93). No client is read from while as many of its messages wait for
    /// their commit; one of MQTT 3.1.1 cannot be told of the limit.
    pub receive_maximum: u16,
    /// Messages that one client may publish in a second, on average over the last few; two seconds'
    /// worth at once. More closes its connection (0x96). `None`: as many as it can.
    pub publish_rate: Option<u32>,
    /// Bytes of payload that one client may publish in a second, likewise.
    pub publish_bytes_rate: Option<u32>,
    /// Levels of a topic, or of a topic filter. A message beyond gets 0x90 in its PUBACK or PUBREC
    /// (3.1.1: closed), with QoS 0 it is dropped and counted; a SUBSCRIBE gets 0x8F (3.1.1: failure).
    pub topic_levels: usize,
    /// Bytes of a topic, or of a topic filter; beyond, the same.
    pub topic_bytes: usize,
    /// Topic aliases of one client, and as many towards it if it takes them. A higher one of its
    /// own closes its connection (0x94).
    pub topic_aliases: u16,
    /// QoS 1 and 2 messages sent to one client that it has not acknowledged; its own receive
    /// maximum may be lower. The others wait in its queue.
    pub inflight_messages: u16,
    /// Messages that wait in the queue of one session.
    pub queue_messages: usize,
    /// Bytes that wait in the queue of one session.
    pub queue_bytes: usize,
    /// Bytes that wait in all queues together. Half of it is for whoever needs it first, the other half
    /// is shared out equally, by the number of `sessions`: a few who do not read take no message from
    /// those who do. Beyond both, the new message is dropped and counted. With a database it stays on
    /// disk instead; a connected session that has nothing in memory may read 256 KiB all the same, so
    /// that it goes on.
    pub queue_bytes_total: usize,
    /// What happens to QoS 1 and 2 messages when the queue of a session is full. A QoS 0 message
    /// is dropped then, and always when the session is offline. All are counted.
    pub queue_when_full: WhenFull,
    /// Messages in the queue of one session on disk: with a database, the limits above are for what
    /// of it is in memory, too, and these for all of it.
    pub stored_queue_messages: u64,
    /// Bytes in the queue of one session on disk.
    pub stored_queue_bytes: u64,
    /// Bytes in all queues on disk together. Beyond, the new message is dropped and counted.
    pub stored_queue_bytes_total: u64,
    /// How long a message may lie in a queue on disk. What is older when its turn comes is dropped
    /// and counted.
    pub stored_queue_age: Duration,
    /// Subscriptions of one session. One more gets 0x97 in its SUBACK (3.1.1: failure).
    pub subscriptions: usize,
    /// Retained messages. One more is delivered, but not kept, and counted.
    pub retained_messages: usize,
    /// Bytes of retained messages. What does not fit is delivered, but not kept, and counted.
    pub retained_bytes: usize,
    /// How long a message to `$delayed/SECONDS/topic` may wait. A longer time gets 0x90 in its PUBACK
    /// or PUBREC (3.1.1: closed), with QoS 0 it is dropped; both are counted.
    pub max_delay: Duration,
    /// Messages that wait to be published later, of all publishers together. One more gets 0x97 in its
    /// PUBACK or PUBREC (3.1.1: closed), with QoS 0 it is dropped; both are counted. 0: nothing is
    /// published later.
    pub delayed_messages: usize,
    /// Bytes of those, which are in memory with a database, too. Beyond, the same.
    pub delayed_bytes: usize,
    /// Bytes of encoded packets that wait for one slow reader; the rest stays in its queue.
    pub write_buffer_bytes: usize,
    /// How long a reader may take nothing at all while packets wait for it. Then it is closed.
    pub write_within: Duration,
    /// Bytes of all messages that wait for their commit. Beyond, those who brought some of them are
    /// not read from; each of the others may still bring what one read takes.
    pub uncommitted_bytes: usize,
    /// What happens to what is to be stored when there is no space on the disk, or the disk budget of
    /// the database is used up.
    pub when_disk_full: WhenDiskFull,
}

/// The longest packet that MQTT can say: four bytes of length (section 2.1.4) and a header of five.
pub(crate) const MAX_PACKET_BYTES: usize = 268_435_455 + 5;

/// Longer than any connection or session: what MQTT 5.0 can say of a session's expiry.
const LONGEST: Duration = Duration::from_secs(u32::MAX as u64);

/// What the two bytes of a keep alive can say.
const LONGEST_KEEP_ALIVE: Duration = Duration::from_secs(u16::MAX as u64);

impl Limits {
    /// Whether a topic or topic filter is not too long.
    pub(crate) fn allow_topic(&self, topic: &str) -> bool {
        let levels = || topic.bytes().filter(|byte| *byte == b'/').count() + 1;
        topic.len() <= self.topic_bytes && levels() <= self.topic_levels
    }

    /// Bytes that each session may have in its queue however much waits in all.
    pub(crate) fn queue_bytes_share(&self) -> usize {
        self.queue_bytes_total / 2 / self.sessions.max(1)
    }

    /// Bytes in all queues up to which each may have more than its share. Who has its share only may
    /// come behind that, so that all together never have more than the total.
    pub(crate) fn queue_bytes_common(&self) -> usize {
        self.queue_bytes_total - self.queue_bytes_share() * self.sessions
    }

    /// Without values that MQTT cannot say, a clock cannot hold, or nothing could work with: a
    /// limit of 0 in flight would be a standstill, so it means 1.
    pub(crate) fn workable(self) -> Limits {
        Limits {
            session_expiry: self.session_expiry.min(LONGEST),
            max_delay: self.max_delay.min(LONGEST),
            max_keep_alive: self.max_keep_alive.clamp(Duration::from_secs(1), LONGEST_KEEP_ALIVE),
            write_within: self.write_within.min(LONGEST),
            packet_bytes: self.packet_bytes.min(MAX_PACKET_BYTES),
            receive_maximum: self.receive_maximum.max(1),
            inflight_messages: self.inflight_messages.max(1),
            write_buffer_bytes: self.write_buffer_bytes.max(1),
            ..self
        }
    }
}

/// What a full queue of a session does with a QoS 1 or 2 message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum WhenFull {
    /// The new message is dropped.
    #[default]
    DropNewest,
    /// The message that has waited longest is dropped; on disk, one in sixteen of those that wait.
    DropOldest,
    /// The new message is dropped, and the client is disconnected (0x97) if it is there: a reader
    /// that is too slow finds out.
    Disconnect,
}

/// What a full disk does with what is to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum WhenDiskFull {
    /// It is refused: PUBACK and PUBREC say 0x97, connections of MQTT 3.1.1 are closed.
    #[default]
    Refuse,
    /// It waits until there is space, and with it all that is to be stored behind it; nothing is
    /// acknowledged meanwhile, and nothing is refused that would not be refused without. Clients are
    /// held back as [`Limits::uncommitted_bytes`] says; when twice as much waits, because ever others
    /// bring some, what has waited longest is refused. What would make room by itself, as the end of a
    /// session does, waits too: space has to come from elsewhere.
    Wait,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 10_000,
            connections_per_address: None,
            connect_rate: None,
            connect_rate_per_address: None,
            connect_within: Duration::from_secs(10),
            sessions: 10_000,
            session_expiry: Duration::from_secs(7 * 24 * 3600),
            max_keep_alive: Duration::from_secs(3600),
            packet_bytes: 1024 * 1024,
            receive_maximum: 1024,
            publish_rate: None,
            publish_bytes_rate: None,
            topic_levels: 64,
            topic_bytes: 4096,
            topic_aliases: 32,
            inflight_messages: 1024,
            queue_messages: 100_000,
            queue_bytes: 16 * 1024 * 1024,
            queue_bytes_total: 64 * 1024 * 1024,
            queue_when_full: WhenFull::default(),
            stored_queue_messages: 1_000_000,
            stored_queue_bytes: 256 * 1024 * 1024,
            stored_queue_bytes_total: 1024 * 1024 * 1024,
            stored_queue_age: Duration::from_secs(7 * 24 * 3600),
            subscriptions: 1_000,
            retained_messages: 10_000,
            retained_bytes: 16 * 1024 * 1024,
            // What EMQX takes.
            max_delay: Duration::from_secs(42_949_670),
            delayed_messages: 10_000,
            delayed_bytes: 16 * 1024 * 1024,
            write_buffer_bytes: 256 * 1024,
            write_within: Duration::from_secs(30),
            uncommitted_bytes: 16 * 1024 * 1024,
            when_disk_full: WhenDiskFull::default(),
        }
    }
}
