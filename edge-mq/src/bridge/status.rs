//! What a bridge says of itself: to the application, and on topics.

use std::sync::Arc;
use std::time::Duration;

use edge_db::Time;
use parking_lot::Mutex;

use super::queue::{Lane, Position};
use super::record::Stays;
use crate::db::{JournalError, blocking};
use crate::shared::Shared;
use crate::{LocalClient, Message};

/// A bridge as it is now; from [`Broker::bridges`](crate::Broker::bridges). Counts begin when the
/// bridge is added or changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct BridgeStatus {
    /// Its name.
    pub name: String,
    /// Whether the remote broker has accepted it.
    pub connected: bool,
    /// The address that it is connected to, or has tried last.
    pub remote: Option<String>,
    /// Messages that wait or are on their way.
    pub queued_messages: u64,
    /// Their bytes on disk. What was just acknowledged may still be counted.
    pub queued_bytes: u64,
    /// How long the oldest of them has waited.
    pub oldest: Option<Duration>,
    /// Messages that the remote broker has acknowledged, or that were sent with QoS 0.
    pub sent: u64,
    /// Messages of the remote broker that were published here.
    pub received: u64,
    /// Times that it was connected.
    pub connections: u64,
    /// Messages that did not cross.
    pub dropped: Dropped,
    /// What ended the last connection, or attempt to connect.
    pub last_error: Option<String>,
}

/// Messages that did not cross a bridge, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Dropped {
    /// The oldest of a full queue ([`WhenFull::DropOldest`](super::WhenFull::DropOldest)).
    pub oldest: u64,
    /// Came to a full queue ([`WhenFull::DropNew`](super::WhenFull::DropNew)).
    pub new: u64,
    /// Waited longer than [`Queue::max_age`](super::Queue::max_age).
    pub aged: u64,
    /// Their own expiry passed while they waited.
    pub expired: u64,
    /// Larger than the remote broker takes, or this one.
    pub too_large: u64,
    /// The remote broker does not take them, whenever they are sent.
    pub refused: u64,
    /// Had crossed the bridge before, in either direction.
    pub looped: u64,
    /// No rule is about them, or their topic is none on the other side.
    pub unwanted: u64,
}

/// What the task of a bridge counts, and others look at.
#[derive(Debug, Default)]
pub(super) struct Counts {
    counted: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    status: BridgeStatus,
    /// Where each queue stands.
    positions: Vec<Position>,
    /// What each of them had missed before.
    left_out_before: Vec<u64>,
}

impl Counts {
    /// Begins to count.
    pub(super) fn new(
        name: &str,
        lanes: &[Lane],
        positions: impl Iterator<Item = Position>,
        shared: &Shared,
    ) -> Counts {
        let left_out_before =
            lanes.iter().map(|lane| shared.hub(|hub| hub.left_out().messages(lane.slot))).collect();
        let status = BridgeStatus { name: name.to_owned(), ..BridgeStatus::default() };
        let counted = Counted { status, positions: positions.collect(), left_out_before };
        Counts { counted: Mutex::new(counted) }
    }

    pub(super) fn name(&self) -> String {
        self.counted.lock().status.name.clone()
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut BridgeStatus)) {
        change(&mut self.counted.lock().status);
    }

    pub(super) fn dropped(&self, change: impl FnOnce(&mut Dropped)) {
        self.update(|status| change(&mut status.dropped));
    }

    pub(super) fn stays(&self, why: Stays) {
        self.dropped(|dropped| match why {
            Stays::Loop => dropped.looped += 1,
            Stays::Expired => dropped.expired += 1,
            Stays::TooLarge => dropped.too_large += 1,
            Stays::Unwanted => dropped.unwanted += 1,
            Stays::Elsewhere => {}
        });
    }

    pub(super) fn stand_at(&self, positions: impl Iterator<Item = Position>) {
        let mut counted = self.counted.lock();
        counted.positions.iter_mut().zip(positions).for_each(|(at, position)| *at = position);
    }

    /// All of it, with what the queues hold.
    pub(super) async fn status(
        self: Arc<Counts>,
        lanes: Vec<Lane>,
        shared: &Shared,
    ) -> Result<BridgeStatus, JournalError> {
        let left_out: Vec<u64> =
            lanes.iter().map(|lane| shared.hub(|hub| hub.left_out().messages(lane.slot))).collect();
        blocking(move || {
            let states = lanes.iter().map(|lane| Ok(lane.log.state()?));
            let states = states.collect::<Result<Vec<_>, JournalError>>()?;
            // After the states, so that what is dropped meanwhile is not counted twice.
            let (mut status, positions, left_out_before) = {
                let counted = self.counted.lock();
                let before = counted.left_out_before.clone();
                (counted.status.clone(), counted.positions.clone(), before)
            };
            let mut oldest: Option<Time> = None;
            for (place, (lane, state)) in lanes.iter().zip(states).enumerate() {
                let Position { next, unsettled } = positions[place];
                let waiting = state.next.since(unsettled.max(state.first));
                status.queued_messages += waiting;
                // The task has not come to these yet.
                status.dropped.oldest += state.first.since(next);
                status.dropped.new += left_out[place].saturating_sub(left_out_before[place]);
                if waiting > 0 {
                    status.queued_bytes += state.bytes;
                    let first = lane.log.read(unsettled, 1)?;
                    oldest = oldest.into_iter().chain(first.iter().map(|first| first.time())).min();
                }
            }
            let waited = oldest.map(|oldest| Time::now().micros().saturating_sub(oldest.micros()));
            status.oldest =
                waited.map(|micros| Duration::from_micros(micros.max(0).unsigned_abs()));
            Ok(status)
        })
        .await
    }
}

/// What a bridge publishes about itself here, retained.
#[derive(Debug)]
pub(super) struct StatusTopics {
    name: String,
    local: LocalClient,
    connected: Option<bool>,
    /// What was published last: messages, bytes, seconds.
    queue: Option<[u64; 3]>,
}

impl StatusTopics {
    pub(super) fn new(name: &str, local: LocalClient) -> StatusTopics {
        StatusTopics { name: name.to_owned(), local, connected: None, queue: None }
    }

    pub(super) async fn connected(&mut self, connected: bool) {
        if self.connected.replace(connected) == Some(connected) {
            return;
        }
        let state = u64::from(connected).to_string();
        self.publish(format!("$SYS/broker/connection/{}/state", self.name), state).await;
    }

    pub(super) async fn queue(&mut self, status: &BridgeStatus) {
        let age = status.oldest.map_or(0, |oldest| oldest.as_secs());
        let now = [status.queued_messages, status.queued_bytes, age];
        let before = self.queue.replace(now);
        for (place, what) in ["messages", "bytes", "age"].into_iter().enumerate() {
            if before.is_none_or(|before| before[place] != now[place]) {
                let topic = format!("$SYS/broker/bridge/{}/queue/{what}", self.name);
                self.publish(topic, now[place].to_string()).await;
            }
        }
    }

    /// The bridge is gone.
    pub(super) async fn clear(&self) {
        self.publish(format!("$SYS/broker/connection/{}/state", self.name), String::new()).await;
        for what in ["messages", "bytes", "age"] {
            let topic = format!("$SYS/broker/bridge/{}/queue/{what}", self.name);
            self.publish(topic, String::new()).await;
        }
    }

    async fn publish(&self, topic: String, payload: String) {
        let topic = topic.try_into().expect("the name of a bridge was checked");
        let published = self.local.publish(Message::new(topic, payload).retain(true)).await;
        // Who wants to know has the application; a closed broker has no readers.
        drop(published);
    }
}
