//! What the broker keeps over a restart, as it sees it. The feature `db` has the store that writes to
//! edge-db, tests have others.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::access::User;
use crate::arena::Key;
use crate::delayed::Delayed;
use crate::hub::Deed;
use crate::message::{Message, Routed};
use crate::packet::{PacketId, ReasonCode, SubscribeOptions, SubscriptionId, Text};
use crate::session::Queued;
use crate::{TopicFilter, TopicName};

/// Makes deeds durable, and gives back what waits on disk.
pub(crate) trait Store: std::fmt::Debug + Send + Sync {
    /// Stores all of a group or nothing; returns once it is on disk. A group in which nothing is
    /// urgent may get there a little later. Called from one thread, which may wait.
    fn commit(&self, group: &[Deed]) -> Result<(), Refused>;

    /// Reads a part of a session's queue.
    fn read(self: Arc<Self>, request: PageRequest) -> PageFuture;
}

/// The answer of [`Store::read`], later.
pub(crate) type PageFuture = Pin<Box<dyn Future<Output = Result<Page, Refused>> + Send>>;

/// Why a commit stored nothing, or nothing could be read.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    /// What MQTT 5.0 clients are told.
    pub(crate) code: ReasonCode,
    pub(crate) cause: Arc<dyn std::error::Error + Send + Sync>,
    /// Whether it is for what some deed wants, so that others may be stored without that one.
    pub(crate) is_selective: bool,
    /// Whether it is for want of space on the disk, which there may be again.
    pub(crate) is_full: bool,
}

/// Names a stored session; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SessionNumber(pub(crate) u64);

/// A session as it is stored, without its subscriptions and its queue.
#[derive(Debug, Clone)]
pub(crate) struct SessionRow {
    pub(crate) number: SessionNumber,
    pub(crate) client_id: Text,
    pub(crate) user: User,
    /// How long it outlives its connection.
    pub(crate) expiry: Duration,
    pub(crate) presence: Presence,
}

/// Whether a client is there.
#[derive(Debug, Clone)]
pub(crate) enum Presence {
    /// With what is to be published, and how long after, when it is lost.
    Connected {
        will: Option<(Duration, Message)>,
    },
    Gone {
        ends_at: Instant,
        will: Option<(Instant, Message)>,
    },
}

/// How far a client has come with its queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) session: SessionNumber,
    /// What begins here and ends at `floor` is wanted no more; what was before is gone already.
    pub(crate) gone_to: u64,
    pub(crate) floor: u64,
    /// Behind the last one that was sent.
    pub(crate) sent: u64,
    /// Bytes of all messages of this queue that ever came to their end.
    pub(crate) done_bytes: u64,
    /// Those of the sent ones that have not come to their end, and whether all but the
    /// client's last word was heard (PUBREL was sent).
    pub(crate) unfinished: Vec<(u64, bool)>,
}

impl Progress {
    /// Of a queue of which nothing was sent yet.
    pub(crate) fn none(session: SessionNumber) -> Progress {
        Progress { session, gone_to: 0, floor: 0, sent: 0, done_bytes: 0, unfinished: Vec::new() }
    }
}

/// Which part of a queue is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PageRequest {
    pub(crate) session: SessionNumber,
    /// From this serial on.
    pub(crate) from: u64,
    /// Up to before this one.
    pub(crate) to: u64,
}

/// A part of a queue.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) session: SessionNumber,
    pub(crate) from: u64,
    /// Where the next part begins.
    pub(crate) next: u64,
    /// Bytes of all messages that ever came, up to there; `None` if nothing was found.
    pub(crate) bytes_after: Option<u64>,
    pub(crate) messages: Vec<Queued>,
    /// Messages that had waited too long.
    pub(crate) too_old: u64,
}

/// Everything that a store has but the messages in queues.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    /// Behind all numbers that anything was ever stored under and is still there.
    pub(crate) next_session: u64,
    pub(crate) sessions: Vec<StoredSession>,
    pub(crate) retained: Vec<Arc<Routed>>,
    /// In the order in which they are due; and behind all their numbers.
    pub(crate) delayed: Vec<Delayed>,
    pub(crate) next_delayed: u64,
}

/// One session of a store.
#[derive(Debug)]
pub(crate) struct StoredSession {
    pub(crate) row: SessionRow,
    pub(crate) subscriptions: Vec<StoredSubscription>,
    /// QoS 2 messages of the client that it has not released.
    pub(crate) received: Vec<PacketId>,
    /// `None` if nothing was sent yet.
    pub(crate) progress: Option<Progress>,
    /// Behind the last message of the queue, and the bytes of all that ever came.
    pub(crate) end: u64,
    pub(crate) came_bytes: u64,
}

/// One subscription of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredSubscription {
    pub(crate) filter: TopicFilter,
    pub(crate) options: SubscribeOptions,
    pub(crate) id: Option<SubscriptionId>,
}

/// One thing to be stored.
#[derive(Debug)]
pub(crate) enum Write {
    /// A message, at the end of a Log. The client is `None` for one of the application itself.
    Append {
        log: LogSlot,
        routed: Arc<Routed>,
        client: Option<Text>,
    },
    /// A message, at the end of a queue, where so many bytes came before it. The owner is what the
    /// hub calls the session.
    Queue {
        session: SessionNumber,
        owner: Key,
        bytes_before: u64,
        queued: Queued,
    },
    /// In place of the one that its topic had.
    Retain(Arc<Routed>),
    Unretain(TopicName),
    /// A message that is published later.
    Delay(Arc<Delayed>),
    /// It is published now.
    EndDelay(Arc<Delayed>),
    /// In place of what was stored of it.
    Session(SessionRow),
    /// With all that belongs to it.
    EndSession(SessionNumber),
    Subscribe(SessionNumber, StoredSubscription),
    Unsubscribe(SessionNumber, TopicFilter),
    /// The owner is what the hub calls the session.
    Progress {
        owner: Key,
        progress: Progress,
    },
    /// Messages of these serials are wanted no more, as far as no others are stored with them.
    Drop(SessionNumber, Range<u64>),
    /// Messages of these serials, in their order, are in other queues now, or are sent.
    Take(SessionNumber, Vec<u64>),
    /// A QoS 2 message of the client came.
    Received(SessionNumber, PacketId),
    /// The client will not send it again.
    Released(SessionNumber, PacketId),
}

/// Names a Log that journal rules write to; the store gives it out.
pub(crate) type LogSlot = u32;

impl Write {
    /// The message in it, if it has one.
    pub(crate) fn message(&self) -> Option<&Message> {
        match self {
            Write::Append { routed, .. } | Write::Retain(routed) => Some(&routed.message),
            Write::Queue { queued, .. } => Some(&queued.routed.message),
            Write::Delay(delayed) => Some(&delayed.message),
            _ => None,
        }
    }
}
