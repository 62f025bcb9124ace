//! Messages on their way to one client: the queue, and the window of those it has not
//! acknowledged.

mod stored;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::kept::Kept;
use super::link::Link;
use super::{Outbound, OutboundPublish};
use crate::TopicFilter;
use crate::limits::{Limits, MAX_PACKET_BYTES, WhenFull};
use crate::message::Routed;
use crate::packet::{Ack, Delivery, Packet, PacketId, Property, QoS, ReasonCode, SubscriptionId};
use crate::packet::{PublishHead, Version};
use crate::stats::Stats;

/// One message for one client.
#[derive(Debug, Clone)]
pub(crate) struct Queued {
    pub(crate) routed: Arc<Routed>,
    /// The lower one of message and subscription.
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// Of the subscriptions that matched.
    pub(crate) subscription_ids: Vec<SubscriptionId>,
    /// The name of the shared subscription, if it is one: another client may get it instead.
    pub(crate) group: Option<Arc<TopicFilter>>,
    /// Its place in a queue on disk; `None` if it is in memory only.
    pub(crate) serial: Option<u64>,
}

/// What waits for one client, in the order in which it is to be sent.
#[derive(Debug)]
pub(crate) struct Outgoing {
    queue: VecDeque<Queued>,
    /// Of `queue` and `inflight`.
    bytes: usize,
    /// In the order of the first sending, which is the order of serials and of sending again.
    inflight: VecDeque<Inflight>,
    /// How many at the front of `inflight` went out on this connection. The others, after a
    /// reconnect, are still to be sent again.
    sent: usize,
    /// Behind the serial of the last one that was sent.
    next_serial: u64,
    /// Messages that were sent, again or not.
    sent_messages: u64,
    /// What of it is on disk; `None` if the session ends with the process.
    kept: Option<Box<Kept>>,
}

#[derive(Debug)]
struct Inflight {
    /// Counts up without end; the packet identifier follows from it.
    serial: u64,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// PUBLISH was sent, PUBACK or PUBREC is to come.
    Publish(Queued),
    /// The same, but the message, of so many bytes, has to be read again before it can be sent again.
    OnDisk(usize),
    /// PUBREL was sent, PUBCOMP is to come.
    Release,
}

impl Inflight {
    fn is_on_disk(&self) -> bool {
        matches!(self.stage, Stage::OnDisk(_))
    }
}

/// Packet identifiers: 1 to 65,535.
const IDS: u64 = u16::MAX as u64;

fn packet_id(serial: u64) -> PacketId {
    let id = u16::try_from(serial % IDS + 1).expect("below 65,536");
    PacketId::new(id).expect("at least 1")
}

impl Outgoing {
    pub(crate) fn new() -> Outgoing {
        let (queue, inflight) = (VecDeque::new(), VecDeque::new());
        Outgoing {
            queue,
            bytes: 0,
            inflight,
            sent: 0,
            next_serial: 0,
            sent_messages: 0,
            kept: None,
        }
    }

    /// Messages in memory that the client has not got, or not acknowledged.
    pub(crate) fn len(&self) -> usize {
        self.queue.len() + self.inflight.len()
    }

    pub(crate) fn sent_messages(&self) -> u64 {
        self.sent_messages
    }

    /// Whether there is something that was not sent.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.queue.is_empty() || self.kept.as_deref().is_some_and(Kept::has_unread)
    }

    /// The shared subscriptions of which something was not sent.
    pub(crate) fn groups(&self) -> Vec<Arc<TopicFilter>> {
        let mut groups: Vec<Arc<TopicFilter>> = Vec::new();
        for group in self.queue.iter().filter_map(|queued| queued.group.as_ref()) {
            if !groups.contains(group) {
                groups.push(Arc::clone(group));
            }
        }
        groups
    }

    /// Takes out what of these shared subscriptions was not sent.
    pub(crate) fn take_of(
        &mut self,
        groups: &[Arc<TopicFilter>],
        stats: &mut Stats,
    ) -> Vec<Queued> {
        let is_of = |queued: &Queued| queued.group.as_ref().is_some_and(|of| groups.contains(of));
        let (taken, kept): (VecDeque<_>, _) =
            std::mem::take(&mut self.queue).into_iter().partition(is_of);
        self.queue = kept;
        taken.iter().for_each(|queued| self.freed(queued, stats));
        taken.into()
    }

    /// What others of shared subscriptions are to get when the session ends: what was not
    /// acknowledged, but no QoS 2 that was sent, which must not be received twice.
    pub(crate) fn left_to_others(&self) -> Vec<Queued> {
        let unacknowledged = self.inflight.iter().filter_map(|inflight| match &inflight.stage {
            Stage::Publish(queued) if queued.qos == QoS::AtLeastOnce => Some(queued),
            _ => None,
        });
        let all = unacknowledged.chain(&self.queue);
        all.filter(|queued| queued.group.is_some()).cloned().collect()
    }

    /// Whether the queue is so full that the publishers should give its reader time.
    pub(crate) fn is_congested(&self, limits: &Limits) -> bool {
        self.queue.len() > limits.queue_messages / 4 || self.bytes > limits.queue_bytes / 4
    }

    /// Takes a message, or drops it or older ones as the limits say.
    pub(crate) fn push(&mut self, queued: Queued, limits: &Limits, stats: &mut Stats) {
        let bytes = queued.routed.message.cost_bytes();
        let has_room = stats.queued_bytes + bytes <= limits.queue_bytes_common()
            || self.bytes + bytes <= limits.queue_bytes_share();
        if !has_room || !self.make_room(bytes, queued.qos, limits, stats) {
            return count_drop(queued.qos, stats);
        }
        self.take(queued, stats);
    }

    fn take(&mut self, queued: Queued, stats: &mut Stats) {
        let bytes = queued.routed.message.cost_bytes();
        self.bytes += bytes;
        stats.queued_bytes += bytes;
        self.queue.push_back(queued);
    }

    fn make_room(&mut self, bytes: usize, qos: QoS, limits: &Limits, stats: &mut Stats) -> bool {
        let fits = |this: &Outgoing| {
            this.queue.len() < limits.queue_messages && this.bytes + bytes <= limits.queue_bytes
        };
        // What would not even fit alone must not empty the queue first.
        let may_drop = limits.queue_when_full == WhenFull::DropOldest
            && qos > QoS::AtMostOnce
            && bytes <= limits.queue_bytes;
        while !fits(self) {
            if !may_drop {
                return false;
            }
            let Some(oldest) = self.queue.pop_front() else { return false };
            count_drop(oldest.qos, stats);
            self.freed(&oldest, stats);
        }
        true
    }

    /// Another connection carries the session from here on: all that was not acknowledged goes
    /// out again.
    pub(crate) fn restart(&mut self) {
        self.sent = 0;
    }

    /// Whether a message of this QoS waits under this identifier for its first acknowledgement.
    pub(crate) fn is_sent_as(&self, id: PacketId, qos: QoS) -> bool {
        let stage = self.position(id).map(|at| &self.inflight[at].stage);
        matches!(stage, Some(Stage::Publish(queued)) if queued.qos == qos)
    }

    /// PUBACK, or a PUBREC that refuses.
    pub(crate) fn finish(&mut self, id: PacketId, stats: &mut Stats) {
        self.remove(id, |inflight| !matches!(inflight.stage, Stage::Release), stats);
    }

    /// PUBREC: the message is with the client, only its identifier is still in use.
    pub(crate) fn release(&mut self, id: PacketId, stats: &mut Stats) -> bool {
        let Some(at) = self.position(id) else { return false };
        let stage = std::mem::replace(&mut self.inflight[at].stage, Stage::Release);
        self.ended(stage, stats);
        true
    }

    /// PUBCOMP.
    pub(crate) fn complete(&mut self, id: PacketId, stats: &mut Stats) {
        self.remove(id, |inflight| matches!(inflight.stage, Stage::Release), stats);
    }

    /// Forgets everything; the session ends.
    pub(crate) fn clear(&mut self, stats: &mut Stats) {
        stats.queued_bytes -= self.bytes;
        *self = Outgoing::new();
    }

    /// Gives out what may be sent now, until about `budget` bytes. Returns whether there is more.
    pub(crate) fn poll(
        &mut self,
        link: &mut Link,
        now: Instant,
        mut budget: usize,
        out: &mut Vec<Outbound>,
        stats: &mut Stats,
    ) -> bool {
        while budget > 0 {
            let next = match self.sent < self.inflight.len() {
                true if self.sent >= link.window => return false,
                // It has to be read first.
                true if self.lacks_next(stats) => return false,
                true => match self.resend(link, now, stats) {
                    Some(next) => next,
                    None => continue,
                },
                false => match self.next(link, now, stats) {
                    Some(next) => next,
                    None => return false,
                },
            };
            budget = budget.saturating_sub(next.cost_bytes());
            if let Outbound::Publish(publish) = &next {
                stats.sent += 1;
                stats.sent_bytes += publish.routed.message.payload().len() as u64;
                self.sent_messages += 1;
            }
            out.push(next);
        }
        true
    }

    /// Whether the next one to be sent again is still on disk. Those that are not there any more,
    /// because they were too old, are given up.
    fn lacks_next(&mut self, stats: &mut Stats) -> bool {
        let Some(kept) = &mut self.kept else { return false };
        while let Some(Inflight { serial, stage: Stage::OnDisk(bytes) }) =
            self.inflight.get(self.sent)
        {
            if !kept.is_past(*serial) {
                return true;
            }
            kept.done(*bytes);
            stats.dropped_expired += 1;
            self.inflight.remove(self.sent);
        }
        false
    }

    /// The next of those that an earlier connection left; `None` if this client does not take it
    /// any more, which counts as acknowledged (section 3.1.2.11.4).
    fn resend(&mut self, link: &mut Link, now: Instant, stats: &mut Stats) -> Option<Outbound> {
        let Inflight { serial, stage } = self.inflight.get(self.sent)?;
        let id = packet_id(*serial);
        let outbound = match stage {
            Stage::Release => Outbound::Packet(Packet::PubRel(Ack::new(id, ReasonCode::SUCCESS))),
            Stage::Publish(queued) => {
                let again = OutboundPublish { dup: true, ..publish(queued, id, link, now) };
                if !again.fits(link) {
                    stats.dropped_too_large += 1;
                    self.finish(id, stats);
                    return None;
                }
                link.give_alias(again.routed.message.topic(), again.alias);
                Outbound::Publish(again)
            }
            Stage::OnDisk(_) => return None,
        };
        self.sent += 1;
        Some(outbound)
    }

    fn next(&mut self, link: &mut Link, now: Instant, stats: &mut Stats) -> Option<Outbound> {
        loop {
            let front = self.queue.front()?;
            let is_blocked = self.sent >= link.window || self.is_taken(front.serial);
            if front.qos > QoS::AtMostOnce && is_blocked {
                return None;
            }
            let queued = self.queue.pop_front()?;
            let serial = queued.serial.unwrap_or_else(|| self.free_serial());
            if queued.routed.is_expired(now) {
                stats.dropped_expired += 1;
                self.pass_over(&queued, stats);
                continue;
            }
            let mut outbound = publish(&queued, packet_id(serial), link, now);
            if !outbound.fits(link) {
                stats.dropped_too_large += 1;
                self.pass_over(&queued, stats);
                continue;
            }
            link.give_alias(outbound.routed.message.topic(), outbound.alias);
            if queued.qos == QoS::AtMostOnce {
                self.freed(&queued, stats);
            } else {
                outbound.dup = self.kept.as_ref().is_some_and(|kept| kept.is_perhaps_sent(serial));
                self.inflight.push_back(Inflight { serial, stage: Stage::Publish(queued) });
                self.sent += 1;
                self.next_serial = serial + 1;
                if let Some(kept) = &mut self.kept {
                    kept.touch();
                }
            }
            return Some(Outbound::Publish(outbound));
        }
    }

    /// Whether the packet identifier of this serial stands for another message, 65,535 before it,
    /// that the client has not acknowledged. Then nothing goes out until it has.
    fn is_taken(&self, serial: Option<u64>) -> bool {
        let Some(oldest) = self.inflight.front() else { return false };
        serial.is_some_and(|serial| serial - oldest.serial >= IDS)
    }

    /// A message is not sent at all.
    fn pass_over(&mut self, queued: &Queued, stats: &mut Stats) {
        self.freed(queued, stats);
        if let (Some(kept), Some(serial)) = (&mut self.kept, queued.serial) {
            kept.done(queued.routed.message.cost_bytes());
            self.next_serial = serial + 1;
        }
    }

    /// The next serial whose packet identifier is free. Only when one has been in flight for a
    /// whole round of identifiers can that not be the very next.
    fn free_serial(&self) -> u64 {
        let mut serial = self.next_serial;
        let oldest = self.inflight.front().map_or(serial, |inflight| inflight.serial);
        while serial - oldest >= IDS && self.position(packet_id(serial)).is_some() {
            serial += 1;
        }
        serial
    }

    /// Where the message that the client knows under this identifier is.
    fn position(&self, id: PacketId) -> Option<usize> {
        let (oldest, newest) = (self.inflight.front()?.serial, self.inflight.back()?.serial);
        let behind = (u64::from(id.get()) - 1 + IDS - oldest % IDS) % IDS;
        // One, but for serials that were skipped because their identifiers were in use.
        let mut serials = (oldest + behind..=newest).step_by(usize::from(u16::MAX));
        serials.find_map(|serial| self.position_of(serial))
    }

    fn position_of(&self, serial: u64) -> Option<usize> {
        // There, if all up to it are still in flight, which is nearly always so.
        let guess = usize::try_from(serial - self.inflight.front()?.serial).ok()?;
        match self.inflight.get(guess) {
            Some(inflight) if inflight.serial == serial => Some(guess),
            _ => self.inflight.binary_search_by_key(&serial, |inflight| inflight.serial).ok(),
        }
    }

    fn remove(&mut self, id: PacketId, is: impl Fn(&Inflight) -> bool, stats: &mut Stats) {
        let Some(at) = self.position(id).filter(|at| is(&self.inflight[*at])) else { return };
        if at < self.sent {
            self.sent -= 1;
        }
        let removed = self.inflight.remove(at).expect("found above");
        self.ended(removed.stage, stats);
    }

    /// A stage of a message that was sent is over.
    fn ended(&mut self, stage: Stage, stats: &mut Stats) {
        let bytes = match stage {
            Stage::Publish(queued) => {
                self.freed(&queued, stats);
                queued.routed.message.cost_bytes()
            }
            Stage::OnDisk(bytes) => bytes,
            Stage::Release => 0,
        };
        if let Some(kept) = &mut self.kept {
            kept.done(bytes);
        }
    }

    fn freed(&mut self, queued: &Queued, stats: &mut Stats) {
        let bytes = queued.routed.message.cost_bytes();
        self.bytes -= bytes;
        stats.queued_bytes -= bytes;
    }
}

fn count_drop(qos: QoS, stats: &mut Stats) {
    match qos {
        QoS::AtMostOnce => stats.dropped_qos0 += 1,
        _ => stats.dropped_full += 1,
    }
}

fn publish(queued: &Queued, id: PacketId, link: &Link, now: Instant) -> OutboundPublish {
    let delivery = match queued.qos {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        QoS::AtLeastOnce => Delivery::AtLeastOnce(id),
        QoS::ExactlyOnce => Delivery::ExactlyOnce(id),
    };
    let alias = link.alias_of(queued.routed.message.topic());
    let mut own_properties = Vec::new();
    own_properties.extend(alias.map(|given| Property::TopicAlias(given.alias)));
    if link.version == Version::V5 {
        own_properties.extend(queued.routed.expiry_left(now));
        own_properties
            .extend(queued.subscription_ids.iter().copied().map(Property::SubscriptionId));
    }
    let (routed, retain) = (Arc::clone(&queued.routed), queued.retain);
    OutboundPublish { routed, delivery, retain, dup: false, alias, own_properties }
}

impl OutboundPublish {
    pub(crate) fn head(&self) -> PublishHead<'_> {
        let is_known = self.alias.is_some_and(|given| given.is_known);
        let topic = self.routed.message.topic().as_str();
        PublishHead {
            dup: self.dup,
            retain: self.retain,
            delivery: self.delivery,
            topic: if is_known { "" } else { topic },
            properties: self.routed.message.properties(),
            own_properties: &self.own_properties,
        }
    }

    fn fits(&self, link: &Link) -> bool {
        // A head of our own may make the longest of packets longer than MQTT can say.
        let limit = link.max_packet_bytes.unwrap_or(MAX_PACKET_BYTES).min(MAX_PACKET_BYTES);
        self.head().packet_len(link.version, self.routed.message.payload().len()) <= limit
    }
}
